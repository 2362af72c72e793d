#include "stats.hpp"

#include <array>
#include <atomic>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>

#include <fcntl.h>
#include <unistd.h>

#include "hailo/hailort.h"

namespace sim {

namespace {

constexpr size_t COUNT = static_cast<size_t>(Counter::count);
constexpr std::array<const char *, COUNT> NAMES = { "frames", "failed_frames", "stuck_frames", "batches", "busy_us", "vdevices",
    "infer_models", "configured_models", "running_batches", "threads" };
constexpr size_t LARGEST_BATCH = 32;

struct Counters {
    std::array<std::atomic<int64_t>, COUNT> values = {};
    // How many batches were of each size; larger ones count as the largest.
    std::array<std::atomic<int64_t>, LARGEST_BATCH + 1> batch_sizes = {};
    std::mutex mutex;
    int file = -1;

    Counters()
    {
        if (const char *const path = std::getenv("HAILO_SIM_STATS")) {
            file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        }
    }

    // One write in place, of constant length, so that each line that is read is whole.
    void publish()
    {
        if (file < 0) {
            return;
        }
        const std::lock_guard<std::mutex> lock(mutex);
        std::string text;
        char line[64];
        for (size_t index = 0; index < COUNT; index++) {
            text.append(line, std::snprintf(line, sizeof(line), "%s %020" PRId64 "\n", NAMES[index], values[index].load()));
        }
        for (size_t size = 1; size <= LARGEST_BATCH; size++) {
            text.append(line, std::snprintf(line, sizeof(line), "batches_of_%zu %020" PRId64 "\n", size, batch_sizes[size].load()));
        }
        (void)!pwrite(file, text.data(), text.size(), 0);
    }
};

Counters &counters()
{
    static auto *const instance = new Counters;
    return *instance;
}

} // namespace

void add(Counter counter, int64_t change)
{
    counters().values[static_cast<size_t>(counter)] += change;
    counters().publish();
}

void add_batch(uint64_t frames, uint64_t microseconds)
{
    auto &all = counters();
    all.values[static_cast<size_t>(Counter::batches)]++;
    all.values[static_cast<size_t>(Counter::busy_us)] += static_cast<int64_t>(microseconds);
    all.batch_sizes[frames < LARGEST_BATCH ? frames : LARGEST_BATCH]++;
    all.publish();
}

} // namespace sim

// A counter by the name that it has in the file; -1 for a name that there is not.
extern "C" HAILORTAPI int64_t hailo_sim_counter(const char *name)
{
    using namespace sim;
    for (size_t index = 0; index < COUNT; index++) {
        if (std::strcmp(name, NAMES[index]) == 0) {
            return counters().values[index];
        }
    }
    size_t size = 0;
    if (std::sscanf(name, "batches_of_%zu", &size) == 1 && size >= 1 && size <= LARGEST_BATCH) {
        return counters().batch_sizes[size];
    }
    return -1;
}
