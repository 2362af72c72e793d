// Tests of the shim over the simulated HailoRT.
//
//   check FOLDER MODELS [TEST…]    FOLDER for the control file, which HAILO_SIM_CONTROL names; MODELS with the
//                                  bundles demo and timed (without networks)
#include <algorithm>
#include <atomic>
#include <cmath>
#include <fstream>
#include <map>
#include <memory>
#include <set>

#include <dirent.h>
#include <sys/wait.h>

#include "harness.hpp"

namespace test {

namespace {

constexpr bool IS_5 = HAILORT_MAJOR_VERSION >= 5;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool SANITIZED = true;
#else
constexpr bool SANITIZED = false;
#endif

enum { OPEN_FILE = 13, FILE_OPERATION = 14, ABORTED = 63, CLOSED = 62, BUSY = 73, NO_DEVICE = 74, DRIVER = 76 };

void write_file(const std::string &path, const std::string &content)
{
    std::ofstream(path, std::ios::binary) << content;
}

std::string read_file(const std::string &path)
{
    std::ifstream file(path, std::ios::binary);
    return { std::istreambuf_iterator<char>(file), {} };
}

size_t entries(const char *path)
{
    DIR *const dir = opendir(path);
    size_t count = 0;
    while (readdir(dir)) {
        count++;
    }
    closedir(dir);
    return count;
}

long resident_kib()
{
    long total = 0, resident = 0;
    std::ifstream("/proc/self/statm") >> total >> resident;
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

// A vdevice with a timed model on it.
struct Setup {
    Handle vdevice = open_vdevice();
    Handle model;

    explicit Setup(uint16_t batch = 4, const char *tower = "image") : model(open_model(vdevice, hef(tower, "timed"), batch))
    {
    }

    void close()
    {
        CHECK_EQUAL(close_model(model), 0);
        CHECK_EQUAL(close_vdevice(vdevice), 0);
    }
};

// Until the fault of the control file has caught so many more frames.
class Stuck {
public:
    void wait_for(int64_t frames) const
    {
        while (hailo_sim_counter("stuck_frames") < before + frames) {
            std::this_thread::yield();
        }
    }

private:
    const int64_t before = hailo_sim_counter("stuck_frames");
};

const std::string FAST = "image_us 1000 2000\ntext_us 1000 2000\n";
// Longer than any test: what does not wait for it must not take so long.
const std::string SLOW = "image_us 60000000 60000000\ntext_us 60000000 60000000\n";

void versions()
{
    hailort_shim_version version = {};
    CHECK_EQUAL(hailort_shim_abi(), HAILORT_SHIM_ABI);
    CHECK_EQUAL(hailort_shim_built_for(&version), 0);
    CHECK_EQUAL(version.major, uint32_t(HAILORT_MAJOR_VERSION));
    CHECK_EQUAL(hailort_shim_library_version(&version), 0);
    CHECK_EQUAL(version.minor, uint32_t(HAILORT_MINOR_VERSION));
    CHECK_EQUAL(hailort_shim_built_for(nullptr), HAILORT_SHIM_INVALID_ARGUMENT);
    CHECK_EQUAL(hailort_shim_library_version(nullptr), HAILORT_SHIM_INVALID_ARGUMENT);
    CHECK(std::string(hailort_shim_status_message(74)) == "HAILO_OUT_OF_PHYSICAL_DEVICES");
    for (int32_t status = -4; status < 0; status++) {
        CHECK(hailort_shim_status_message(status));
    }
    CHECK(!hailort_shim_status_message(-5));
    CHECK(!hailort_shim_status_message(1000));
    CHECK((hailort_shim_status_message(96) != nullptr) == IS_5);
}

void devices()
{
    control("devices 2\nfirmware 4.5.6\nserial HLDDLBB012345678\nboard A board whose name fills it all.\n");
    hailort_shim_device_id ids[4];
    uint32_t count = 0;
    CHECK_EQUAL(hailort_shim_scan(nullptr, 0, &count), 0);
    CHECK_EQUAL(count, 2u);
    std::memset(ids, 'x', sizeof(ids));
    CHECK_EQUAL(hailort_shim_scan(ids, 1, &count), 0);
    CHECK_EQUAL(count, 2u);
    CHECK(std::string(ids[0].id) == "0000:01:00.0" && ids[1].id[0] == 'x');
    CHECK_EQUAL(hailort_shim_scan(ids, 4, &count), 0);
    CHECK(std::string(ids[1].id) == "0001:01:00.0");
    CHECK_EQUAL(hailort_shim_scan(nullptr, 1, &count), HAILORT_SHIM_INVALID_ARGUMENT);
    CHECK_EQUAL(hailort_shim_scan(ids, 4, nullptr), HAILORT_SHIM_INVALID_ARGUMENT);

    hailort_shim_identity identity = {};
    CHECK_EQUAL(hailort_shim_identify(ids[1].id, &identity), 0);
    CHECK(std::string(identity.device_id) == ids[1].id);
    // HailoRT's texts without a NUL.
    CHECK(std::string(identity.serial_number) == "HLDDLBB012345671");
    CHECK(std::string(identity.board_name) == "A board whose name fills it all.");
    CHECK_EQUAL(identity.firmware.revision, 6u);
    CHECK_EQUAL(identity.architecture, IS_5 ? HAILORT_SHIM_ARCHITECTURE_HAILO10H : HAILORT_SHIM_ARCHITECTURE_HAILO8);
    CHECK_EQUAL(hailort_shim_identify("nowhere", &identity), 2);
    CHECK_EQUAL(hailort_shim_identify(nullptr, &identity), HAILORT_SHIM_INVALID_ARGUMENT);
    CHECK_EQUAL(hailort_shim_identify(ids[0].id, nullptr), HAILORT_SHIM_INVALID_ARGUMENT);

    control("devices 0\n");
    CHECK_EQUAL(hailort_shim_scan(ids, 4, &count), 0);
    CHECK_EQUAL(count, 0u);
    CHECK_EQUAL(try_vdevice(), NO_DEVICE);
}

void opening()
{
    const char *const second[] = { "0001:01:00.0" }, *const unknown[] = { "0009:01:00.0" };
    const std::string long_id(100, 'x');
    const char *const too_long[] = { long_id.c_str() }, *const null[] = { nullptr };
    control("devices 2\n");
    const auto named = [](const char *const *ids) { return hailort_shim_vdevice_params{ nullptr, ids, 1, 1 }; };

    const auto vdevice = open_vdevice(named(second));
    hailort_shim_identity identity = {};
    CHECK_EQUAL(hailort_shim_vdevice_identify(vdevice, 0, &identity), 0);
    CHECK(std::string(identity.device_id) == second[0]);
    CHECK_EQUAL(hailort_shim_vdevice_identify(vdevice, 1, &identity), HAILORT_SHIM_INVALID_ARGUMENT);
    CHECK_EQUAL(hailort_shim_vdevice_identify(vdevice, 0, nullptr), HAILORT_SHIM_INVALID_ARGUMENT);
    uint32_t count = 0;
    CHECK_EQUAL(hailort_shim_vdevice_device_count(vdevice, &count), 0);
    CHECK_EQUAL(count, 1u);
    CHECK_EQUAL(hailort_shim_vdevice_device_count(vdevice, nullptr), HAILORT_SHIM_INVALID_ARGUMENT);

    CHECK_EQUAL(try_vdevice(named(second)), BUSY);
    const auto other = open_vdevice();
    CHECK_EQUAL(try_vdevice(), NO_DEVICE);
    CHECK_EQUAL(close_vdevice(other), 0);
    CHECK_EQUAL(close_vdevice(vdevice), 0);

    CHECK_EQUAL(try_vdevice(named(unknown)), 2);
    CHECK_EQUAL(try_vdevice(named(too_long)), HAILORT_SHIM_INVALID_ARGUMENT);
    CHECK_EQUAL(try_vdevice(named(null)), HAILORT_SHIM_INVALID_ARGUMENT);
    CHECK_EQUAL(try_vdevice(any(0)), HAILORT_SHIM_INVALID_ARGUMENT);
    CHECK_EQUAL(try_vdevice({ nullptr, nullptr, 1, 2 }), HAILORT_SHIM_INVALID_ARGUMENT);
    CHECK_EQUAL(try_vdevice({ nullptr, nullptr, 1, 0 }), 0);
    Handle ignored = 0;
    CHECK_EQUAL(hailort_shim_vdevice_open(nullptr, &ignored), HAILORT_SHIM_INVALID_ARGUMENT);
    const auto one = any();
    CHECK_EQUAL(hailort_shim_vdevice_open(&one, nullptr), HAILORT_SHIM_INVALID_ARGUMENT);

    control("devices 2\nheld all\n");
    CHECK_EQUAL(try_vdevice(), NO_DEVICE);
    CHECK_EQUAL(try_vdevice(named(second)), BUSY);
    control("devices 2\nheld 0\n");
    CHECK_EQUAL(try_vdevice(), 0);
    control("driver 4.0.0\n");
    CHECK_EQUAL(try_vdevice(), DRIVER);
    control("architecture hailo10h\n");
    CHECK_EQUAL(try_vdevice(), IS_5 ? 0 : 79);

    // Only a Hailo-8 shares work between devices.
    control("devices 2\narchitecture hailo8\n");
    CHECK_EQUAL(try_vdevice(any(2)), 0);
    CHECK_EQUAL(try_vdevice(any(3)), NO_DEVICE);
    control("devices 2\narchitecture hailo8l\n");
    CHECK_EQUAL(try_vdevice(any(2)), 6);
    for (const char *const call : { "create_vdevice" }) {
        control(std::string("fail_call ") + call + " 8\n");
        CHECK_EQUAL(try_vdevice(), 8);
    }
}

void groups()
{
    control("");
    const hailort_shim_vdevice_params shared = { "clip", nullptr, 1, 1 };
    const auto first = open_vdevice(shared), second = open_vdevice(shared);
    CHECK_EQUAL(try_vdevice({ "other", nullptr, 1, 1 }), NO_DEVICE);
    CHECK_EQUAL(try_vdevice({ "clip", nullptr, 2, 1 }), 6);
    const auto one = open_model(first, hef("image", "timed")), two = open_model(second, hef("text", "timed"));
    CHECK_EQUAL(close_vdevice(first), 0);
    CHECK_EQUAL(Job(one, 1).run(), 0);
    CHECK_EQUAL(Job(two, 1).run(), 0);
    CHECK_EQUAL(close_model(one), 0);
    CHECK_EQUAL(close_vdevice(second), 0);
    // The model has kept it.
    CHECK_EQUAL(try_vdevice(), NO_DEVICE);
    CHECK_EQUAL(close_model(two), 0);
    CHECK_EQUAL(try_vdevice(), 0);
}

// Another process holds the device, and can be found by the file that it has open.
void processes()
{
    control("node " + folder + "/node\n");
    const auto vdevice = open_vdevice();
    const pid_t child = fork();
    if (child == 0) {
        execl("/proc/self/exe", "check", folder.c_str(), models.c_str(), "--try-vdevice", nullptr);
        _exit(99);
    }
    int result = 0;
    CHECK(waitpid(child, &result, 0) == child);
    CHECK_EQUAL(WEXITSTATUS(result), NO_DEVICE);
    bool found = false;
    for (int file = 3; file < 100; file++) {
        char target[512] = "";
        if (readlink(("/proc/self/fd/" + std::to_string(file)).c_str(), target, sizeof(target) - 1) > 0) {
            found = found || target == folder + "/node0";
        }
    }
    CHECK(found);
    CHECK_EQUAL(close_vdevice(vdevice), 0);
}

void health()
{
    const auto read = [](const std::string &lines, int32_t expected) {
        control(lines);
        const auto vdevice = open_vdevice();
        hailort_shim_health health = {};
        const auto status = hailort_shim_vdevice_health(vdevice, 0, &health);
        CHECK_EQUAL(status, expected);
        CHECK_EQUAL(hailort_shim_vdevice_health(vdevice, 1, &health), HAILORT_SHIM_INVALID_ARGUMENT);
        CHECK_EQUAL(hailort_shim_vdevice_health(vdevice, 0, nullptr), HAILORT_SHIM_INVALID_ARGUMENT);
        CHECK_EQUAL(close_vdevice(vdevice), 0);
        return health;
    };
    const std::string eight = "architecture hailo8\n";
    CHECK_EQUAL(read(eight + "temperature 61.5\n", 0).temperature, 61.5f);
    CHECK_EQUAL(read(eight, 0).throttling, 0);
    CHECK_EQUAL(read(eight + "throttling 0\n", 0).throttling, 1);
    CHECK_EQUAL(read(eight + "throttling 3\n", 0).throttling, 1);
    CHECK_EQUAL(read(eight + "overcurrent 1\n", 0).throttling, 1);
    CHECK_EQUAL(read(eight + "throttling none\n", 0).throttling, -1);
    CHECK_EQUAL(read(eight + "fail_call health 18\n", 0).throttling, -1);
    CHECK(std::isnan(read(eight + "temperature none\n", 0).temperature));
    (void)read(eight + "fail_call temperature 36\n", 36);
    (void)read(eight + "throw temperature\n", HAILORT_SHIM_EXCEPTION);
    if (IS_5) {
        CHECK_EQUAL(read("architecture hailo10h\n", 0).throttling, -1);
    }
}

void streams()
{
    control("");
    const auto vdevice = open_vdevice();
    Handle model = 0;
    CHECK_EQUAL(hailort_shim_model_open(vdevice, hef("text").c_str(), &model), 0);
    uint32_t count = 0;
    CHECK_EQUAL(hailort_shim_model_stream_count(model, HAILORT_SHIM_INPUT, &count), 0);
    CHECK_EQUAL(count, 1u);
    hailort_shim_stream stream = {};
    CHECK_EQUAL(hailort_shim_model_stream(model, HAILORT_SHIM_INPUT, 0, &stream), 0);
    CHECK(std::string(stream.name) == "demo_text_encoder/input_layer1");
    CHECK(stream.height == 1 && stream.width == 77 && stream.channels == 128 && stream.quantization_count == 1);
    CHECK_EQUAL(stream.format_type, HAILORT_SHIM_FORMAT_UINT16);
    CHECK_EQUAL(stream.frame_size, 77u * 128 * 2);
    CHECK_EQUAL(hailort_shim_model_set_format(model, HAILORT_SHIM_INPUT, 0, HAILORT_SHIM_FORMAT_FLOAT32), 0);
    CHECK_EQUAL(hailort_shim_model_stream(model, HAILORT_SHIM_INPUT, 0, &stream), 0);
    CHECK_EQUAL(stream.frame_size, 77u * 128 * 4);
    CHECK_EQUAL(hailort_shim_model_stream(model, HAILORT_SHIM_OUTPUT, 0, &stream), 0);
    CHECK(std::string(stream.name) == "demo_text_encoder/normalization25");
    CHECK_EQUAL(stream.format_type, HAILORT_SHIM_FORMAT_UINT8);

    // Out of range, and out of order.
    constexpr int32_t WRONG = HAILORT_SHIM_INVALID_ARGUMENT;
    CHECK_EQUAL(hailort_shim_model_stream_count(model, 2, &count), WRONG);
    CHECK_EQUAL(hailort_shim_model_stream_count(model, 0, nullptr), WRONG);
    CHECK_EQUAL(hailort_shim_model_stream(model, 0, 1, &stream), WRONG);
    CHECK_EQUAL(hailort_shim_model_stream(model, 0, 0, nullptr), WRONG);
    CHECK_EQUAL(hailort_shim_model_set_format(model, 0, 0, 4), WRONG);
    CHECK_EQUAL(hailort_shim_model_set_format(model, 0, 0, -1), WRONG);
    CHECK_EQUAL(hailort_shim_model_set_format(model, -1, 0, 1), WRONG);
    hailort_shim_buffer buffer = {};
    const auto ignore = [](void *, int32_t) {};
    CHECK_EQUAL(hailort_shim_model_queue_size(model, &count), WRONG);
    CHECK_EQUAL(hailort_shim_model_wait_ready(model, 1, 0), WRONG);
    CHECK_EQUAL(hailort_shim_model_submit(model, &buffer, 1, 1, ignore, nullptr), WRONG);
    CHECK_EQUAL(hailort_shim_model_shutdown(model), WRONG);
    CHECK_EQUAL(hailort_shim_model_configure(model), 0);
    CHECK_EQUAL(hailort_shim_model_configure(model), WRONG);
    CHECK_EQUAL(hailort_shim_model_set_batch_size(model, 1), WRONG);
    CHECK_EQUAL(hailort_shim_model_set_format(model, 0, 0, 1), WRONG);
    CHECK_EQUAL(hailort_shim_model_queue_size(model, nullptr), WRONG);
    CHECK_EQUAL(hailort_shim_model_stream(model, HAILORT_SHIM_INPUT, 0, &stream), 0);
    CHECK_EQUAL(close_model(model), 0);
    CHECK_EQUAL(hailort_shim_model_open(vdevice, nullptr, &model), WRONG);
    CHECK_EQUAL(hailort_shim_model_open(vdevice, hef("text").c_str(), nullptr), WRONG);
    CHECK_EQUAL(close_vdevice(vdevice), 0);
}

void handles()
{
    control(FAST);
    Setup setup;
    constexpr int32_t BAD = HAILORT_SHIM_INVALID_HANDLE;
    uint32_t count = 0;
    hailort_shim_identity identity = {};
    hailort_shim_health device_health = {};
    hailort_shim_stream stream = {};
    hailort_shim_buffer buffer = {};
    Handle made = 0;
    const auto ignore = [](void *, int32_t) {};
    const auto refused_as_vdevice = [&](Handle handle) {
        CHECK_EQUAL(hailort_shim_vdevice_device_count(handle, &count), BAD);
        CHECK_EQUAL(hailort_shim_vdevice_identify(handle, 0, &identity), BAD);
        CHECK_EQUAL(hailort_shim_vdevice_health(handle, 0, &device_health), BAD);
        CHECK_EQUAL(hailort_shim_model_open(handle, hef("image").c_str(), &made), BAD);
        CHECK_EQUAL(hailort_shim_vdevice_close(handle), BAD);
    };
    const auto refused_as_model = [&](Handle handle) {
        CHECK_EQUAL(hailort_shim_model_stream_count(handle, 0, &count), BAD);
        CHECK_EQUAL(hailort_shim_model_stream(handle, 0, 0, &stream), BAD);
        CHECK_EQUAL(hailort_shim_model_set_batch_size(handle, 1), BAD);
        CHECK_EQUAL(hailort_shim_model_set_format(handle, 0, 0, 1), BAD);
        CHECK_EQUAL(hailort_shim_model_configure(handle), BAD);
        CHECK_EQUAL(hailort_shim_model_queue_size(handle, &count), BAD);
        CHECK_EQUAL(hailort_shim_model_wait_ready(handle, 1, 0), BAD);
        CHECK_EQUAL(hailort_shim_model_submit(handle, &buffer, 1, 1, ignore, nullptr), BAD);
        CHECK_EQUAL(hailort_shim_model_shutdown(handle), BAD);
        CHECK_EQUAL(hailort_shim_model_close(handle), BAD);
    };
    for (const Handle handle : { Handle(0), ~Handle(0), setup.model + 1000 }) {
        refused_as_vdevice(handle);
        refused_as_model(handle);
    }
    refused_as_vdevice(setup.model);
    refused_as_model(setup.vdevice);
    CHECK_EQUAL(hailort_shim_open_handles(), 2u);
    const auto old = setup;
    setup.close();
    refused_as_vdevice(old.vdevice);
    refused_as_model(old.model);
    // Never used again.
    Setup again;
    CHECK(again.vdevice > old.model && again.model > old.model);
    again.close();
}

// The right numbers come back, in each format.
void inference()
{
    control("");
    const auto vdevice = open_vdevice();
    hailort_shim_stream out = {};
    for (const std::string tower : { "image", "text" }) {
        const auto raw = open_model(vdevice, hef(tower), 8, HAILORT_SHIM_FORMAT_UINT8);
        const auto floats = open_model(vdevice, hef(tower), 8, HAILORT_SHIM_FORMAT_FLOAT32);
        Job first(raw, 3), second(floats, 3), other(floats, 3, 2);
        CHECK_EQUAL(first.run(), 0);
        CHECK(first.caller != first.submitter);
        CHECK_EQUAL(second.run(), 0);
        CHECK_EQUAL(other.run(), 0);
        CHECK_EQUAL(hailort_shim_model_stream(raw, HAILORT_SHIM_OUTPUT, 0, &out), 0);
        for (uint32_t frame = 0; frame < 3; frame++) {
            size_t differing = 0;
            for (size_t index = 0; index < out.frame_size; index++) {
                const float expected = out.scale * (first.outputs[frame].data[index] - out.zero_point);
                CHECK(std::fabs(second.outputs[frame].floats()[index] - expected) <= 1e-5f);
                differing += second.outputs[frame].floats()[index] != other.outputs[frame].floats()[index];
            }
            CHECK(differing > out.frame_size / 4);
        }
        CHECK_EQUAL(close_model(raw), 0);
        CHECK_EQUAL(close_model(floats), 0);
    }
    // Floats in: the same as the numbers that they stand for.
    const auto numbers = open_model(vdevice, hef("text"), 1, HAILORT_SHIM_FORMAT_UINT8);
    const auto values = open_model(vdevice, hef("text"), 1, HAILORT_SHIM_FORMAT_UINT8, HAILORT_SHIM_FORMAT_FLOAT32);
    hailort_shim_stream in = {};
    CHECK_EQUAL(hailort_shim_model_stream(numbers, HAILORT_SHIM_INPUT, 0, &in), 0);
    Job one(numbers, 1), two(values, 1);
    for (size_t index = 0; index < in.frame_size / 2; index++) {
        const auto number = reinterpret_cast<uint16_t *>(one.inputs[0].data)[index];
        reinterpret_cast<float *>(two.inputs[0].data)[index] = in.scale * (number - in.zero_point);
    }
    CHECK_EQUAL(one.run(), 0);
    CHECK_EQUAL(two.run(), 0);
    CHECK(std::memcmp(one.outputs[0].data, two.outputs[0].data, one.outputs[0].size) == 0);
    CHECK_EQUAL(close_model(numbers), 0);
    CHECK_EQUAL(close_model(values), 0);
    CHECK_EQUAL(close_vdevice(vdevice), 0);
}

// A timed device gives the same for the same, and else something else.
void timed()
{
    control("mode timed\nimage_us 100000 100000\ngather_us 100000\n");
    Setup setup;
    Job first(setup.model, 4), again(setup.model, 4), other(setup.model, 4, 2);
    const auto batches = hailo_sim_counter("batches_of_4");
    CHECK(first.run() == 0 && again.run() == 0 && other.run() == 0);
    CHECK_EQUAL(hailo_sim_counter("batches_of_4"), batches + 3);
    const auto same = [](const Job &a, const Job &b, size_t i, size_t j) {
        return std::memcmp(a.outputs[i].data, b.outputs[j].data, a.outputs[i].size) == 0;
    };
    CHECK(same(first, again, 2, 2) && !same(first, first, 0, 1) && !same(first, other, 2, 2));
    setup.close();
}

void bad_submits()
{
    control(FAST);
    Setup setup;
    constexpr int32_t WRONG = HAILORT_SHIM_INVALID_ARGUMENT;
    Job job(setup.model, 2);
    const auto ignore = [](void *, int32_t) {};
    const auto submit = [&](const std::vector<hailort_shim_buffer> &buffers, uint32_t frames) {
        return hailort_shim_model_submit(
            setup.model, buffers.data(), static_cast<uint32_t>(buffers.size()), frames, ignore, nullptr);
    };
    auto buffers = job.buffers;
    CHECK_EQUAL(submit(buffers, 0), WRONG);
    CHECK_EQUAL(submit(buffers, 1), WRONG);
    CHECK_EQUAL(submit(buffers, 0x80000001), WRONG);
    CHECK_EQUAL(hailort_shim_model_submit(setup.model, nullptr, 4, 2, ignore, nullptr), WRONG);
    CHECK_EQUAL(hailort_shim_model_submit(setup.model, buffers.data(), 4, 2, nullptr, nullptr), WRONG);
    for (size_t index = 0; index < 4; index++) {
        buffers = job.buffers;
        buffers[index].data = nullptr;
        CHECK_EQUAL(submit(buffers, 2), WRONG);
        buffers[index].data = static_cast<uint8_t *>(job.buffers[index].data) + 64;
        CHECK_EQUAL(submit(buffers, 2), WRONG);
        buffers = job.buffers;
        buffers[index].size--;
        CHECK_EQUAL(submit(buffers, 2), WRONG);
    }
    // None of that has hurt the model.
    CHECK_EQUAL(job.run(), 0);
    setup.close();
}

void full_queue()
{
    control(SLOW + "queue_depth 3\n");
    Setup setup(2);
    uint32_t size = 0;
    CHECK_EQUAL(hailort_shim_model_queue_size(setup.model, &size), 0);
    CHECK_EQUAL(size, 3u);
    Job running(setup.model, 2), too_many(setup.model, 2), fits(setup.model, 1);
    CHECK_EQUAL(running.submit(), 0);
    CHECK_EQUAL(too_many.submit(), 82);
    CHECK_EQUAL(hailort_shim_model_wait_ready(setup.model, 1, 0), 0);
    CHECK_EQUAL(hailort_shim_model_wait_ready(setup.model, 2, 20), 4);
    CHECK_EQUAL(fits.submit(), 0);
    CHECK_EQUAL(hailort_shim_model_wait_ready(setup.model, 1, 20), 4);
    CHECK_EQUAL(hailort_shim_model_shutdown(setup.model), 0);
    CHECK_EQUAL(running.wait(), ABORTED);
    CHECK_EQUAL(fits.wait(), ABORTED);
    CHECK_EQUAL(too_many.calls_so_far(), 0);
    CHECK_EQUAL(hailort_shim_model_wait_ready(setup.model, 1, 20), ABORTED);
    CHECK_EQUAL(fits.submit(), ABORTED);
    CHECK_EQUAL(hailort_shim_model_shutdown(setup.model), 0);
    setup.close();
}

void taking_turns()
{
    control("gather_us 0\nimage_us 1000000 1000000\nqueue_depth 8\n");
    Setup first(1);
    const auto second = open_model(first.vdevice, hef("text", "timed"), 1);
    std::mutex mutex;
    std::string order;
    struct Note {
        std::mutex *mutex;
        std::string *order;
        char letter;
    };
    Note a{ &mutex, &order, 'i' }, b{ &mutex, &order, 't' };
    const auto note = [](void *context, int32_t) {
        const auto *const n = static_cast<Note *>(context);
        const std::lock_guard<std::mutex> lock(*n->mutex);
        *n->order += n->letter;
    };
    // The first frame occupies the device while the others are queued.
    std::vector<std::unique_ptr<Job>> jobs;
    const auto submit = [&](Handle model, Note &n) {
        jobs.push_back(std::make_unique<Job>(model, 1));
        CHECK_EQUAL(hailort_shim_model_submit(model, jobs.back()->buffers.data(), 2, 1, note, &n), 0);
    };
    for (int frame = 0; frame < 3; frame++) {
        submit(first.model, a);
    }
    for (int frame = 0; frame < 3; frame++) {
        submit(second, b);
    }
    control(FAST);
    CHECK_EQUAL(hailort_shim_model_wait_ready(first.model, 8, 10000), 0);
    CHECK_EQUAL(hailort_shim_model_wait_ready(second, 8, 10000), 0);
    CHECK(order == "ititit");
    CHECK_EQUAL(close_model(second), 0);
    first.close();
}

// What a model file can be wrong in, and a device against it.
void bad_hefs()
{
    control("");
    const auto vdevice = open_vdevice();
    const auto good = read_file(hef("image"));
    Handle model = 0;
    const auto open = [&](const std::string &content) {
        write_file(folder + "/bad.hef", content);
        return hailort_shim_model_open(vdevice, (folder + "/bad.hef").c_str(), &model);
    };
    CHECK_EQUAL(open(good), 0);
    CHECK_EQUAL(close_model(model), 0);
    CHECK_EQUAL(hailort_shim_model_open(vdevice, "/nowhere.hef", &model), OPEN_FILE);
    CHECK_EQUAL(hailort_shim_model_open(vdevice, folder.c_str(), &model), FILE_OPERATION);
    CHECK_EQUAL(open(""), FILE_OPERATION);
    CHECK_EQUAL(open("something else, and long enough for a header"), 92);
    CHECK_EQUAL(open("simulated HEF 2\n" + good.substr(16)), 92);
    CHECK_EQUAL(open(good.substr(0, good.size() - 1)), 91);
    CHECK_EQUAL(open(good.substr(0, 60)), 91);
    auto flipped = good;
    flipped[flipped.size() / 2] ^= 1;
    CHECK_EQUAL(open(flipped), 91);
    CHECK_EQUAL(close_vdevice(vdevice), 0);

    const auto configure = [](const std::string &device, const std::string &made_for) {
        control("architecture " + device + "\nmode timed\n");
        const auto on = open_vdevice();
        Handle other = 0;
        CHECK_EQUAL(hailort_shim_model_open(on, hef("image", "demo", made_for).c_str(), &other), 0);
        const auto status = hailort_shim_model_configure(other);
        CHECK_EQUAL(close_model(other), 0);
        CHECK_EQUAL(close_vdevice(on), 0);
        return status;
    };
    CHECK_EQUAL(configure("hailo8", "hailo8l"), 0);
    CHECK_EQUAL(configure("hailo8l", "hailo8"), 93);
    CHECK_EQUAL(configure("hailo8", "hailo10h"), 93);
    if (IS_5) {
        CHECK_EQUAL(configure("hailo10h", "hailo8"), 93);
    }
}

void out_of_memory()
{
    for (const int32_t status : { 3, 71, 81 }) {
        control("mode timed\nfail_call configure " + std::to_string(status) + "\n");
        const auto vdevice = open_vdevice();
        Handle model = 0;
        CHECK_EQUAL(hailort_shim_model_open(vdevice, hef("image").c_str(), &model), 0);
        CHECK_EQUAL(hailort_shim_model_configure(model), status);
        control(FAST);
        CHECK_EQUAL(hailort_shim_model_configure(model), 0);
        Job job(model, 1);
        CHECK_EQUAL(job.run(), 0);
        control(FAST + "fail_call run " + std::to_string(status) + "\n");
        CHECK_EQUAL(job.submit(), status);
        CHECK_EQUAL(close_model(model), 0);
        CHECK_EQUAL(close_vdevice(vdevice), 0);
    }
}

void failing_frame()
{
    control(FAST + "fail 3 36 a\n");
    Setup setup(2);
    CHECK_EQUAL(Job(setup.model, 2).run(), 0);
    Job failing(setup.model, 2), later(setup.model, 1);
    CHECK_EQUAL(failing.run(), 36);
    // As with HailoRT, the model is of no more use.
    CHECK_EQUAL(later.submit(), 36);
    CHECK_EQUAL(later.calls_so_far(), 0);
    CHECK_EQUAL(close_model(setup.model), 0);
    setup.model = open_model(setup.vdevice, hef("image", "timed"), 2);
    CHECK_EQUAL(Job(setup.model, 2).run(), 0);
    setup.close();
}

// A batch of which one frame is refused: either submit fails or the callback comes, with the failure.
void refused_frame()
{
    for (const int refused : { 1, 2, 4 }) {
        control("image_us 100000 100000\ngather_us 50000\nrefuse " + std::to_string(refused) + " 82 of " + std::to_string(refused) + "\n");
        Setup setup(4);
        Job job(setup.model, 4);
        const auto status = job.submit();
        if (status == 0) {
            CHECK(refused > 1);
            CHECK_EQUAL(job.wait(), 82);
        } else {
            CHECK_EQUAL(status, 82);
        }
        CHECK_EQUAL(close_model(setup.model), 0);
        CHECK_EQUAL(job.calls_so_far(), status == 0 ? 1 : 0);
        CHECK_EQUAL(close_vdevice(setup.vdevice), 0);
    }
    // HailoRT calls back and fails, both: the callback does not come.
    control(FAST + "fail_call run_twice 36\n");
    Setup setup;
    Job job(setup.model, 4);
    CHECK_EQUAL(job.submit(), 36);
    setup.close();
    CHECK_EQUAL(job.calls_so_far(), 0);
}

void exceptions()
{
    constexpr int32_t THREW = HAILORT_SHIM_EXCEPTION;
    uint32_t count = 0;
    hailort_shim_identity identity = {};
    control("throw scan\nthrow create_device\nthrow create_vdevice\n");
    CHECK_EQUAL(hailort_shim_scan(nullptr, 0, &count), THREW);
    CHECK_EQUAL(hailort_shim_identify("0000:01:00.0", &identity), THREW);
    CHECK_EQUAL(try_vdevice(), THREW);
    control("throw identify\nthrow create_infer_model\nthrow configure\n");
    const auto vdevice = open_vdevice();
    Handle model = 0;
    CHECK_EQUAL(hailort_shim_vdevice_identify(vdevice, 0, &identity), THREW);
    CHECK_EQUAL(hailort_shim_model_open(vdevice, hef("image").c_str(), &model), THREW);
    control("throw configure\n");
    CHECK_EQUAL(hailort_shim_model_open(vdevice, hef("image", "timed").c_str(), &model), 0);
    CHECK_EQUAL(hailort_shim_model_configure(model), THREW);
    control(FAST);
    CHECK_EQUAL(hailort_shim_model_configure(model), 0);
    Job job(model, 1);
    for (const std::string call : { "wait", "create_bindings", "run" }) {
        control(FAST + "throw " + call + "\n");
        CHECK_EQUAL(job.submit(), THREW);
        if (call == "wait") {
            CHECK_EQUAL(hailort_shim_model_wait_ready(model, 1, 0), THREW);
        }
    }
    control(FAST);
    CHECK_EQUAL(job.run(), 0);
    CHECK_EQUAL(close_model(model), 0);
    CHECK_EQUAL(close_vdevice(vdevice), 0);
}

void hanging()
{
    control(FAST + "fault hang\n");
    Setup setup;
    Job first(setup.model, 3), second(setup.model, 1);
    const Stuck stuck;
    CHECK_EQUAL(first.submit(), 0);
    CHECK_EQUAL(second.submit(), 0);
    stuck.wait_for(4);
    CHECK_EQUAL(hailort_shim_model_wait_ready(setup.model, 8, 50), 4);
    CHECK_EQUAL(hailort_shim_model_shutdown(setup.model), 0);
    CHECK_EQUAL(first.wait(), ABORTED);
    CHECK_EQUAL(second.wait(), ABORTED);
    control(FAST);
    CHECK_EQUAL(close_model(setup.model), 0);
    setup.model = open_model(setup.vdevice, hef("image", "timed"), 4);
    CHECK_EQUAL(Job(setup.model, 4).run(), 0);
    setup.close();
}

void silent()
{
    control(FAST + "fault never\nshutdown_timeout_ms 20\n");
    Setup setup;
    Job job(setup.model, 3);
    const Stuck stuck;
    CHECK_EQUAL(job.submit(), 0);
    stuck.wait_for(3);
    CHECK_EQUAL(hailort_shim_model_shutdown(setup.model), 0);
    setup.close();
    CHECK_EQUAL(job.calls_so_far(), 0);
}

// Frames that a shutdown does not end: HailoRT 5 uses the configured model once more when the vdevice ends.
void deaf()
{
    control(FAST + "fault deaf\nshutdown_timeout_ms 20\n");
    Setup setup;
    Job job(setup.model, 3);
    const Stuck stuck;
    CHECK_EQUAL(job.submit(), 0);
    stuck.wait_for(3);
    CHECK_EQUAL(close_model(setup.model), 0);
    CHECK_EQUAL(job.calls_so_far(), 0);
    CHECK_EQUAL(close_vdevice(setup.vdevice), 0);
    CHECK_EQUAL(job.wait(), ABORTED);
}

void late()
{
    control(FAST + "late_ms 50\n");
    Setup setup;
    Job job(setup.model, 2);
    CHECK_EQUAL(job.run(), 0);
    // Not so late that a shutdown waits for it.
    control(FAST + "late_ms 60000\n");
    CHECK_EQUAL(job.calls_so_far(), 1);
    Job other(setup.model, 2);
    CHECK_EQUAL(other.submit(), 0);
    setup.close();
    CHECK_EQUAL(other.wait(), ABORTED);
}

void vanishing()
{
    for (const int32_t status : { 36, 87, 88, 96 }) {
        const auto gone = "vanish " + std::to_string(status) + "\n";
        for (const std::string fault : { "", "fault hang\n" }) {
            control(SLOW + fault);
            Setup setup;
            Job running(setup.model, 2), waiting(setup.model, 4), later(setup.model, 1);
            CHECK_EQUAL(running.submit(), 0);
            CHECK_EQUAL(waiting.submit(), 0);
            // Nobody calls the library: it notices by itself.
            control(SLOW + gone);
            CHECK_EQUAL(running.wait(), status);
            CHECK_EQUAL(waiting.wait(), status);
            CHECK_EQUAL(later.submit(), status);
            uint32_t count = 9;
            CHECK_EQUAL(hailort_shim_scan(nullptr, 0, &count), 0);
            CHECK_EQUAL(count, 0u);
            CHECK_EQUAL(try_vdevice(), NO_DEVICE);
            hailort_shim_health health = {};
            hailort_shim_identity identity = {};
            CHECK_EQUAL(hailort_shim_vdevice_health(setup.vdevice, 0, &health), status);
            CHECK_EQUAL(hailort_shim_vdevice_identify(setup.vdevice, 0, &identity), status);
            // Back, but not for those who had it before.
            control(FAST);
            CHECK_EQUAL(later.submit(), status);
            setup.close();
            CHECK_EQUAL(later.calls_so_far(), 0);
            Setup again;
            CHECK_EQUAL(Job(again.model, 2).run(), 0);
            again.close();
        }
    }
}

void corruption()
{
    control(FAST + "corrupt zero\n");
    Setup setup;
    Job job(setup.model, 2), other(setup.model, 2);
    CHECK_EQUAL(job.run(), 0);
    for (size_t index = 0; index < job.outputs[0].size / 4; index++) {
        CHECK_EQUAL(job.outputs[0].floats()[index], 0.0f);
    }
    control(FAST + "corrupt noise\n");
    CHECK_EQUAL(other.run(), 0);
    CHECK(std::memcmp(other.outputs[0].data, job.outputs[0].data, job.outputs[0].size) != 0);
    setup.close();
}

// Closing under a thread that waits, and under many that submit.
void closing_while_in_use()
{
    control(SLOW + "queue_depth 4\n");
    Setup setup;
    Job job(setup.model, 4);
    CHECK_EQUAL(job.submit(), 0);
    std::atomic<bool> waits{ false };
    std::thread waiter([&] {
        waits = true;
        const auto status = hailort_shim_model_wait_ready(setup.model, 4, 60000);
        CHECK(status == ABORTED || status == HAILORT_SHIM_INVALID_HANDLE);
    });
    while (!waits) {
        std::this_thread::yield();
    }
    CHECK_EQUAL(close_vdevice(setup.vdevice), 0);
    CHECK_EQUAL(close_model(setup.model), 0);
    waiter.join();
    CHECK_EQUAL(job.wait(), ABORTED);

    for (int round = 0; round < 20; round++) {
        control("image_us 200 300\ngather_us 0\n");
        Setup busy;
        std::atomic<int> ready{ 0 };
        std::vector<std::thread> threads;
        for (uint32_t number = 0; number < 4; number++) {
            threads.emplace_back([&, number] {
                Job mine(busy.model, 1 + number % 2, number);
                ready++;
                for (int submits = 1; true; submits++) {
                    const auto status = mine.submit();
                    if (status == 82) {
                        submits--;
                        (void)hailort_shim_model_wait_ready(busy.model, 2, 1000);
                        continue;
                    }
                    if (status != 0) {
                        CHECK(status == ABORTED || status == HAILORT_SHIM_INVALID_HANDLE);
                        break;
                    }
                    while (mine.calls_so_far() < submits) {
                        std::this_thread::yield();
                    }
                }
            });
        }
        while (ready < 4) {
            std::this_thread::yield();
        }
        if (round % 2 == 0) {
            CHECK_EQUAL(Job(busy.model, 1).run(), 0);
        }
        CHECK_EQUAL(close_model(busy.model), 0);
        CHECK_EQUAL(close_vdevice(busy.vdevice), 0);
        for (auto &thread : threads) {
            thread.join();
        }
    }
}

// Handles from many threads at once.
void crowd()
{
    control("image_us 100 100\ngather_us 0\ndevices 4\n");
    std::vector<std::thread> threads;
    for (uint32_t number = 0; number < 4; number++) {
        threads.emplace_back([number] {
            for (uint32_t round = 0; round < 50; round++) {
                Setup mine(2);
                Job job(mine.model, 2, number);
                CHECK_EQUAL(job.submit(), 0);
                if (round % 3 != 0) {
                    CHECK_EQUAL(job.wait(), 0);
                }
                uint32_t size = 0;
                CHECK_EQUAL(hailort_shim_model_queue_size(mine.model, &size), 0);
                mine.close();
                (void)job.wait();
            }
        });
    }
    for (auto &thread : threads) {
        thread.join();
    }
}

void several_devices()
{
    control("architecture hailo8\ndevices 2\n" + SLOW);
    const auto vdevice = open_vdevice(any(2));
    const auto model = open_model(vdevice, hef("image", "timed", "hailo8"), 1);
    Job job(model, 3);
    CHECK_EQUAL(job.submit(), 0);
    while (hailo_sim_counter("running_batches") < 2) {
        std::this_thread::yield();
    }
    CHECK_EQUAL(close_model(model), 0);
    CHECK_EQUAL(job.wait(), ABORTED);
    CHECK_EQUAL(close_vdevice(vdevice), 0);
}

void thousand_times()
{
    control(FAST + "image_us 50 50\ngather_us 0\n");
    const auto once = [](int round) {
        Setup setup(2);
        Job job(setup.model, 2);
        CHECK_EQUAL(job.submit(), 0);
        if (round % 4 != 0) {
            CHECK_EQUAL(job.wait(), 0);
        }
        setup.close();
        (void)job.wait();
    };
    for (int round = 0; round < 100; round++) {
        once(round);
    }
    const auto files = entries("/proc/self/fd"), tasks = entries("/proc/self/task");
    const auto before = resident_kib();
    for (int round = 0; round < 1000; round++) {
        once(round);
    }
    CHECK_EQUAL(entries("/proc/self/fd"), files);
    CHECK_EQUAL(entries("/proc/self/task"), tasks);
    const auto growth = resident_kib() - before;
    std::printf("    1,000 cycles: %ld KiB more\n", growth);
    // Sanitizers keep freed memory for a while, and what they know of it for ever.
    CHECK(growth < (SANITIZED ? 32 * 1024 : 512));
}

const std::vector<std::pair<const char *, void (*)()>> TESTS = {
    { "versions", versions },
    { "devices", devices },
    { "opening", opening },
    { "groups", groups },
    { "processes", processes },
    { "health", health },
    { "streams", streams },
    { "handles", handles },
    { "inference", inference },
    { "timed", timed },
    { "bad_submits", bad_submits },
    { "full_queue", full_queue },
    { "taking_turns", taking_turns },
    { "bad_hefs", bad_hefs },
    { "out_of_memory", out_of_memory },
    { "failing_frame", failing_frame },
    { "refused_frame", refused_frame },
    { "exceptions", exceptions },
    { "hanging", hanging },
    { "silent", silent },
    { "deaf", deaf },
    { "late", late },
    { "vanishing", vanishing },
    { "corruption", corruption },
    { "closing_while_in_use", closing_while_in_use },
    { "crowd", crowd },
    { "several_devices", several_devices },
    { "thousand_times", thousand_times },
};

} // namespace

} // namespace test

int main(int count, char **arguments)
{
    using namespace test;
    if (count < 3) {
        std::fprintf(stderr, "usage: check FOLDER MODELS [TEST...]\n");
        return 2;
    }
    folder = arguments[1];
    models = arguments[2];
    architecture = IS_5 ? "hailo10h" : "hailo8";
    if (count > 3 && std::string(arguments[3]) == "--try-vdevice") {
        return try_vdevice();
    }
    const std::set<std::string> wanted(arguments + 3, arguments + count);
    size_t passed = 0;
    for (const auto &[name, run] : TESTS) {
        if (wanted.empty() || wanted.count(name) > 0) {
            std::printf("%s\n", name);
            std::fflush(stdout);
            run();
            check_nothing_left();
            passed++;
        }
    }
    std::printf("%zu tests passed\n", passed);
    return passed > 0 ? 0 : 1;
}
