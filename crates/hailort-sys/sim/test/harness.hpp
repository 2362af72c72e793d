// What the tests of shim and simulator share.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <sys/mman.h>
#include <unistd.h>

#include "hailort_shim.h"

extern "C" int64_t hailo_sim_counter(const char *name);

namespace test {

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            std::exit(1); \
        } \
    } while (false)

#define CHECK_EQUAL(left, right) \
    do { \
        const auto l = (left); \
        const auto r = (right); \
        if (!(l == r)) { \
            std::fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #left, (long long)l, (long long)r); \
            std::exit(1); \
        } \
    } while (false)

using Handle = hailort_shim_handle;

inline std::string folder, models;

// Replaces the control file, as everybody should: by rename.
inline void control(const std::string &lines)
{
    const auto path = folder + "/control", next = path + ".new";
    std::FILE *const file = std::fopen(next.c_str(), "w");
    CHECK(file);
    std::fputs(lines.c_str(), file);
    std::fclose(file);
    CHECK(std::rename(next.c_str(), path.c_str()) == 0);
}

inline hailort_shim_vdevice_params any(uint32_t devices = 1)
{
    return { nullptr, nullptr, devices, 1 };
}

inline Handle open_vdevice(const hailort_shim_vdevice_params &params = any())
{
    Handle vdevice = 0;
    CHECK_EQUAL(hailort_shim_vdevice_open(&params, &vdevice), 0);
    return vdevice;
}

inline int32_t try_vdevice(const hailort_shim_vdevice_params &params = any())
{
    Handle vdevice = 0;
    const int32_t status = hailort_shim_vdevice_open(&params, &vdevice);
    CHECK(status != 0 || hailort_shim_vdevice_close(vdevice) == 0);
    return status;
}

inline const char *architecture = "hailo8";

inline std::string hef(const std::string &tower, const std::string &bundle = "demo", const std::string &arch = architecture)
{
    return models + "/" + bundle + "/" + tower + "-" + arch + ".hef";
}

inline Handle open_model(Handle vdevice, const std::string &path, uint16_t batch = 8,
    int32_t output = HAILORT_SHIM_FORMAT_FLOAT32, int32_t input = HAILORT_SHIM_FORMAT_AUTO)
{
    Handle model = 0;
    CHECK_EQUAL(hailort_shim_model_open(vdevice, path.c_str(), &model), 0);
    CHECK_EQUAL(hailort_shim_model_set_batch_size(model, batch), 0);
    CHECK_EQUAL(hailort_shim_model_set_format(model, HAILORT_SHIM_OUTPUT, 0, output), 0);
    if (input != HAILORT_SHIM_FORMAT_AUTO) {
        CHECK_EQUAL(hailort_shim_model_set_format(model, HAILORT_SHIM_INPUT, 0, input), 0);
    }
    CHECK_EQUAL(hailort_shim_model_configure(model), 0);
    return model;
}

// Whole pages.
class Buffer {
public:
    explicit Buffer(size_t size = 0) : size(size)
    {
        if (size > 0) {
            const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
            data = static_cast<uint8_t *>(std::aligned_alloc(page, (size + page - 1) / page * page));
            std::memset(data, 0, size);
        }
    }
    Buffer(Buffer &&other) noexcept : size(other.size), data(other.data) { other.data = nullptr; }
    Buffer &operator=(Buffer &&) = delete;
    ~Buffer() { std::free(data); }

    const float *floats() const { return reinterpret_cast<const float *>(data); }

    size_t size;
    uint8_t *data = nullptr;
};

// Frames, their buffers, and what became of them. Must outlive the callback.
class Job {
public:
    Job(Handle model, uint32_t frames, uint32_t seed = 1) : model(model), frames(frames)
    {
        hailort_shim_stream input = {}, output = {};
        CHECK_EQUAL(hailort_shim_model_stream(model, HAILORT_SHIM_INPUT, 0, &input), 0);
        CHECK_EQUAL(hailort_shim_model_stream(model, HAILORT_SHIM_OUTPUT, 0, &output), 0);
        for (uint32_t frame = 0; frame < frames; frame++) {
            inputs.emplace_back(input.frame_size);
            outputs.emplace_back(output.frame_size);
            // For floats, small ones.
            uint32_t state = seed * 1000 + frame;
            for (size_t index = 0; index < input.frame_size; index++) {
                state = state * 1664525 + 1013904223;
                inputs.back().data[index] = input.format_type == HAILORT_SHIM_FORMAT_FLOAT32 && index % 4 == 3
                    ? 0x3c
                    : static_cast<uint8_t>(state >> 24);
            }
        }
        for (uint32_t frame = 0; frame < frames; frame++) {
            buffers.push_back({ inputs[frame].data, inputs[frame].size });
            buffers.push_back({ outputs[frame].data, outputs[frame].size });
        }
    }

    int32_t submit()
    {
        submitter = std::this_thread::get_id();
        return hailort_shim_model_submit(
            model, buffers.data(), static_cast<uint32_t>(buffers.size()), frames, &Job::called_back, this);
    }

    // Waits for the callback.
    int32_t wait()
    {
        std::unique_lock<std::mutex> lock(mutex);
        CHECK(changed.wait_for(lock, std::chrono::seconds(30), [this] { return calls > 0; }));
        CHECK_EQUAL(calls, 1);
        return status;
    }

    int32_t run()
    {
        const int32_t refused = submit();
        return refused != 0 ? refused : wait();
    }

    int calls_so_far()
    {
        const std::lock_guard<std::mutex> lock(mutex);
        return calls;
    }

    const Handle model;
    const uint32_t frames;
    std::vector<Buffer> inputs, outputs;
    std::vector<hailort_shim_buffer> buffers;
    std::thread::id submitter, caller;

private:
    static void called_back(void *context, int32_t status)
    {
        auto *const job = static_cast<Job *>(context);
        const std::lock_guard<std::mutex> lock(job->mutex);
        job->calls++;
        job->status = status;
        job->caller = std::this_thread::get_id();
        job->changed.notify_all();
    }

    std::mutex mutex;
    std::condition_variable changed;
    int calls = 0;
    int32_t status = -100;
};

inline int32_t close_model(Handle model) { return hailort_shim_model_close(model); }
inline int32_t close_vdevice(Handle vdevice) { return hailort_shim_vdevice_close(vdevice); }

// Nothing is left, in the shim or behind it.
inline void check_nothing_left()
{
    CHECK_EQUAL(hailort_shim_open_handles(), 0u);
    for (const char *const name : { "vdevices", "infer_models", "configured_models", "threads" }) {
        CHECK_EQUAL(hailo_sim_counter(name), 0);
    }
}

} // namespace test
