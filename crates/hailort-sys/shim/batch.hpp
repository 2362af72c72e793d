// The frames of one submit, and the promise of one callback.
#ifndef HAILORT_SHIM_BATCH_HPP
#define HAILORT_SHIM_BATCH_HPP

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "hailort_shim.h"

namespace shim {

// Batches of a model that are not over.
class InFlight {
public:
    void add()
    {
        const std::lock_guard<std::mutex> lock(mutex);
        count++;
    }

    void remove()
    {
        {
            const std::lock_guard<std::mutex> lock(mutex);
            count--;
        }
        changed.notify_all();
    }

    // Whether none is left, at the latest after the timeout.
    bool wait_for_none(std::chrono::milliseconds timeout)
    {
        std::unique_lock<std::mutex> lock(mutex);
        return changed.wait_for(lock, timeout, [this] { return count == 0; });
    }

private:
    std::mutex mutex;
    std::condition_variable changed;
    uint32_t count = 0;
};

// HailoRT may report a frame as failed while run_async is still at work, and then fail run_async too,
// or not; and it may report a frame twice. So a failure that comes early waits for run_async to return.
//
// Either submit fails, or the callback comes: whoever finishes the last frame sees to it. If that is
// HailoRT's thread, it calls back. If it is the submitter, all frames are over, at least one of them
// failed, and submit returns that failure.
//
// The closures that HailoRT keeps hold a batch and nothing else of the shim's: they may outlive a model.
class Batch {
public:
    Batch(hailort_shim_callback callback, void *context, uint32_t frames, std::shared_ptr<InFlight> in_flight) :
        callback(callback), context(context), in_flight(std::move(in_flight)), frames(frames), remaining(frames)
    {
        this->in_flight->add();
    }

    // HailoRT says that a frame is over.
    void complete(size_t frame, int32_t status)
    {
        {
            const std::lock_guard<std::mutex> lock(mutex);
            if (frames[frame].stage == Stage::starting && status != 0) {
                frames[frame] = { Stage::failed_early, status };
                return;
            }
            if (!finish(frame, status)) {
                return;
            }
        }
        callback(context, failure);
        in_flight->remove();
    }

    // run_async took a frame. Whether the batch is over, without a callback to come.
    bool started(size_t frame)
    {
        const std::lock_guard<std::mutex> lock(mutex);
        if (frames[frame].stage == Stage::failed_early) {
            return finish_in_submit(frame, 1, frames[frame].status);
        }
        if (frames[frame].stage == Stage::starting) {
            frames[frame].stage = Stage::under_way;
        }
        return false;
    }

    // run_async refused a frame, and those behind it are not tried. Whether the batch is over, without
    // a callback to come.
    bool refused(size_t first, int32_t status)
    {
        const std::lock_guard<std::mutex> lock(mutex);
        // This is why those before it were aborted, if they were.
        failure = status;
        return finish_in_submit(first, frames.size() - first, status);
    }

    // What submit returns for a batch that is over without a callback.
    int32_t first_failure()
    {
        const std::lock_guard<std::mutex> lock(mutex);
        return failure;
    }

private:
    enum class Stage { starting, failed_early, under_way, over };
    struct Frame {
        Stage stage = Stage::starting;
        int32_t status = 0;
    };

    // Whether this was the last frame.
    bool finish(size_t frame, int32_t status)
    {
        if (frames[frame].stage == Stage::over) {
            return false;
        }
        frames[frame].stage = Stage::over;
        if (failure == 0) {
            failure = status;
        }
        return --remaining == 0;
    }

    bool finish_in_submit(size_t first, size_t count, int32_t status)
    {
        bool over = false;
        for (size_t frame = first; frame < first + count; frame++) {
            over = finish(frame, status) || over;
        }
        if (over) {
            in_flight->remove();
        }
        return over;
    }

    const hailort_shim_callback callback;
    void *const context;
    const std::shared_ptr<InFlight> in_flight;
    std::mutex mutex;
    std::vector<Frame> frames;
    uint32_t remaining;
    int32_t failure = 0;
};

} // namespace shim

#endif
