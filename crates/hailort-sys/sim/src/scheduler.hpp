// A vdevice's devices: each a thread that takes batches from the queues of the configured models in turn.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "control.hpp"
#include "hailo/hailort.hpp"
#include "network.hpp"
#include "stats.hpp"

namespace sim {

struct Frame {
    hailort::MemoryView input;
    hailort::MemoryView output;
    std::function<void(hailo_status)> done;
    Clock::time_point arrival;
};

// The frames of a configured model. All is guarded by the scheduler's mutex but what is constant.
struct Queue {
    std::shared_ptr<const Hef> hef;
    std::shared_ptr<const Network> network;
    hailo_format_type_t input_type;
    hailo_format_type_t output_type;
    size_t batch_size;
    size_t capacity;

    std::deque<Frame> waiting;
    // Accepted by a device that does not answer: until shutdown; until the vdevice ends; for ever.
    std::vector<Frame> hung, deaf, forgotten;
    // Not called back yet.
    size_t under_way = 0;
    // Once it is a failure, it stays: HailoRT's pipelines do not recover.
    hailo_status status = HAILO_SUCCESS;
    // HailoRT 5 uses a configured model for its last frames when the vdevice ends; reading this on behalf of
    // deaf frames shows whether it is still there.
    const volatile int *alive = nullptr;
};

class Scheduler {
public:
    explicit Scheduler(uint32_t devices);
    ~Scheduler();

    void add(const std::shared_ptr<Queue> &queue);
    void remove(const std::shared_ptr<Queue> &queue);

    hailo_status push(Queue &queue, Frame frame);
    hailo_status wait_for_room(Queue &queue, Milliseconds timeout, size_t frames);
    // Aborts the queue's frames and waits for them.
    void shut_down(Queue &queue, Milliseconds timeout);

    // The device is gone: from now on, all fails.
    void lose(hailo_status status);
    // HAILO_SUCCESS while it is not.
    hailo_status lost();

    // Ends the threads and with them all frames; done once.
    void stop();

private:
    void run_device();
    // Calls back the frames of queues that have failed. Whether there were any.
    bool end_failed_frames(std::unique_lock<std::mutex> &lock);
    std::shared_ptr<Queue> next_queue();
    void run_batch(std::unique_lock<std::mutex> &lock, const std::shared_ptr<Queue> &queue, Clock::time_point &free_at);
    void call_back(std::unique_lock<std::mutex> &lock, Queue &queue, std::vector<Frame> &frames, hailo_status status);

    std::mutex mutex;
    // For devices: there may be something to do.
    std::condition_variable work;
    // For all others, and for devices that wait for a batch to end.
    std::condition_variable changed;
    std::vector<std::shared_ptr<Queue>> queues;
    size_t turn = 0;
    hailo_status lost_status = HAILO_SUCCESS;
    bool stopping = false;
    std::vector<std::thread> threads;
};

// Computes the outputs of some frames; false on failure.
bool infer(const Queue &queue, const Control &control, const std::vector<Frame> &frames);

} // namespace sim
