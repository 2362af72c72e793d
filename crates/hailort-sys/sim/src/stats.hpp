// Counters for tests: in a file, and through hailo_sim_counter().
#pragma once

#include <cstdint>

namespace sim {

enum class Counter {
    frames,
    failed_frames,
    stuck_frames,
    batches,
    busy_us,
    vdevices,
    infer_models,
    configured_models,
    running_batches,
    threads,
    count
};

void add(Counter counter, int64_t change);
void add_batch(uint64_t frames, uint64_t microseconds);

// Counts objects of a kind while they live.
template <Counter counter> struct Counted {
    Counted() { add(counter, 1); }
    Counted(const Counted &) { add(counter, 1); }
    ~Counted() { add(counter, -1); }
    Counted &operator=(const Counted &) = default;
};

} // namespace sim
