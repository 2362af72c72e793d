// What the control file says the world is like now.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "hailo/hailort.h"

namespace sim {

using Clock = std::chrono::steady_clock;
using Microseconds = std::chrono::microseconds;
using Milliseconds = std::chrono::milliseconds;

// How long a batch takes: a line through two points.
struct Rate {
    Microseconds one;
    Microseconds eight;

    Microseconds of(size_t frames) const
    {
        return one + (eight - one) * (static_cast<int64_t>(frames) - 1) / 7;
    }
};

enum class Fault { none, hang, never, deaf };
enum class Corruption { none, zero, noise };

// The keys are documented in the README.
struct Control {
    uint32_t devices = 1;
    hailo_device_architecture_t architecture;
    hailo_version_t firmware;
    hailo_version_t driver;
    std::set<uint32_t> held;
    bool all_held = false;
    std::string node;
    std::string serial = "HLSIM00000000";
    std::string board = "Hailo simulated";
    bool timed = false;
    Rate image;
    Rate text;
    uint32_t queue_depth = 0;
    Microseconds gather{ 1000 };
    Milliseconds shutdown_timeout{ 1000 };
    std::optional<float> temperature = 45.0f;
    std::optional<int> throttling = -1;
    bool overcurrent = false;
    Fault fault = Fault::none;
    Milliseconds late{ 0 };
    Corruption corruption = Corruption::none;
    hailo_status vanished = HAILO_SUCCESS;
    std::map<std::string, hailo_status> failing_calls;
    std::set<std::string> throwing_calls;
    // Of what is counted, one that fails. The text is the key's whole value: counting starts again when
    // it changes.
    struct Nth {
        std::string text;
        uint64_t number = 0;
        hailo_status status = HAILO_SUCCESS;
    };
    Nth fail;
    Nth refuse;

    Control();
    void set_architecture(hailo_device_architecture_t wanted);

    // Throws, or returns the status that a call is to fail with.
    hailo_status before(const std::string &call) const;
    bool is_held(uint32_t device) const { return all_held || held.count(device) > 0; }
};

// Reads the file again if it has changed.
std::shared_ptr<const Control> control();

// Empty if there is none.
const std::string &control_path();

// Counts to the one that fails.
class Countdown {
public:
    hailo_status next(const Control::Nth &nth);

private:
    std::mutex mutex;
    std::string text;
    uint64_t count = 0;
};

// The status that the next frame is to have, and that the next call of run_async.
hailo_status next_frame_status(const Control &control);
hailo_status next_run_status(const Control &control);

} // namespace sim
