#include "scheduler.hpp"

#include <algorithm>
#include <iterator>

namespace sim {

Scheduler::Scheduler(uint32_t devices)
{
    for (uint32_t device = 0; device < devices; device++) {
        threads.emplace_back([this] { run_device(); });
    }
}

Scheduler::~Scheduler()
{
    stop();
}

void Scheduler::add(const std::shared_ptr<Queue> &queue)
{
    const std::lock_guard<std::mutex> lock(mutex);
    if (lost_status != HAILO_SUCCESS) {
        queue->status = lost_status;
    }
    queues.push_back(queue);
}

void Scheduler::remove(const std::shared_ptr<Queue> &queue)
{
    const std::lock_guard<std::mutex> lock(mutex);
    if (!queue->deaf.empty()) {
        return;
    }
    queues.erase(std::remove(queues.begin(), queues.end(), queue), queues.end());
}

hailo_status Scheduler::push(Queue &queue, Frame frame)
{
    {
        const std::lock_guard<std::mutex> lock(mutex);
        if (queue.status != HAILO_SUCCESS) {
            return queue.status;
        }
        if (stopping) {
            return HAILO_INTERNAL_FAILURE;
        }
        if (queue.under_way >= queue.capacity) {
            return HAILO_QUEUE_IS_FULL;
        }
        frame.arrival = Clock::now();
        queue.waiting.push_back(std::move(frame));
        queue.under_way++;
    }
    work.notify_all();
    return HAILO_SUCCESS;
}

hailo_status Scheduler::wait_for_room(Queue &queue, Milliseconds timeout, size_t frames)
{
    std::unique_lock<std::mutex> lock(mutex);
    const bool ready = changed.wait_for(lock, timeout, [&] {
        return queue.status != HAILO_SUCCESS || queue.under_way + frames <= queue.capacity;
    });
    return queue.status != HAILO_SUCCESS ? queue.status : ready ? HAILO_SUCCESS : HAILO_TIMEOUT;
}

void Scheduler::shut_down(Queue &queue, Milliseconds timeout)
{
    std::unique_lock<std::mutex> lock(mutex);
    if (queue.status == HAILO_SUCCESS) {
        queue.status = HAILO_STREAM_ABORT;
    }
    work.notify_all();
    changed.notify_all();
    changed.wait_for(lock, timeout, [&] { return queue.under_way == 0; });
}

void Scheduler::lose(hailo_status status)
{
    {
        const std::lock_guard<std::mutex> lock(mutex);
        if (lost_status != HAILO_SUCCESS) {
            return;
        }
        lost_status = status;
        for (const auto &queue : queues) {
            queue->status = status;
        }
    }
    work.notify_all();
    changed.notify_all();
}

hailo_status Scheduler::lost()
{
    const std::lock_guard<std::mutex> lock(mutex);
    return lost_status;
}

void Scheduler::stop()
{
    {
        const std::lock_guard<std::mutex> lock(mutex);
        stopping = true;
        for (const auto &queue : queues) {
            if (queue->status == HAILO_SUCCESS) {
                queue->status = HAILO_COMMUNICATION_CLOSED;
            }
        }
    }
    work.notify_all();
    changed.notify_all();
    for (auto &thread : threads) {
        thread.join();
    }
    threads.clear();
}

void Scheduler::run_device()
{
    const Counted<Counter::threads> counted;
    std::unique_lock<std::mutex> lock(mutex);
    auto free_at = Clock::now();
    while (true) {
        if (end_failed_frames(lock)) {
            continue;
        }
        if (stopping) {
            return;
        }
        const auto queue = next_queue();
        if (!queue) {
            work.wait(lock);
            continue;
        }
        // A device that was idle gathers what comes at once into one batch, as the transfers to it would.
        // The time counts as the batch's own.
        const auto first = queue->waiting.front().arrival;
        if (first > free_at && queue->waiting.size() < queue->batch_size) {
            const auto now = control();
            const auto gather = std::min(now->gather, (queue->hef->is_image ? now->image : now->text).one / 2);
            const bool changed_meanwhile = work.wait_until(lock, first + gather, [&] {
                return queue->waiting.size() >= queue->batch_size || queue->waiting.empty()
                    || queue->status != HAILO_SUCCESS;
            });
            if (changed_meanwhile && (queue->waiting.empty() || queue->status != HAILO_SUCCESS)) {
                continue;
            }
        }
        run_batch(lock, queue, free_at);
    }
}

bool Scheduler::end_failed_frames(std::unique_lock<std::mutex> &lock)
{
    for (const auto &entry : queues) {
        const auto queue = entry;
        if (queue->status == HAILO_SUCCESS) {
            continue;
        }
        std::vector<Frame> over;
        std::move(queue->waiting.begin(), queue->waiting.end(), std::back_inserter(over));
        queue->waiting.clear();
        std::move(queue->hung.begin(), queue->hung.end(), std::back_inserter(over));
        queue->hung.clear();
        if (stopping && !queue->deaf.empty()) {
            if (HAILORT_MAJOR_VERSION >= 5) {
                (void)*queue->alive;
            }
            std::move(queue->deaf.begin(), queue->deaf.end(), std::back_inserter(over));
            queue->deaf.clear();
        }
        if (!over.empty()) {
            call_back(lock, *queue, over, queue->status);
            return true;
        }
    }
    return false;
}

std::shared_ptr<Queue> Scheduler::next_queue()
{
    for (size_t step = 0; step < queues.size(); step++) {
        const auto &queue = queues[(turn + step) % queues.size()];
        if (!queue->waiting.empty()) {
            turn = (turn + step + 1) % queues.size();
            return queue;
        }
    }
    return nullptr;
}

void Scheduler::run_batch(
    std::unique_lock<std::mutex> &lock, const std::shared_ptr<Queue> &queue, Clock::time_point &free_at)
{
    const auto now = control();
    const auto count = static_cast<std::ptrdiff_t>(std::min(queue->batch_size, queue->waiting.size()));
    std::vector<Frame> batch(std::make_move_iterator(queue->waiting.begin()),
        std::make_move_iterator(queue->waiting.begin() + count));
    queue->waiting.erase(queue->waiting.begin(), queue->waiting.begin() + count);
    if (now->fault != Fault::none) {
        auto &there = now->fault == Fault::hang ? queue->hung
            : now->fault == Fault::deaf         ? queue->deaf
                                                : queue->forgotten;
        std::move(batch.begin(), batch.end(), std::back_inserter(there));
        sim::add(Counter::stuck_frames, count);
        return;
    }
    hailo_status failure = HAILO_SUCCESS;
    size_t good = 0;
    for (; good < batch.size() && failure == HAILO_SUCCESS; good++) {
        failure = next_frame_status(*now);
    }
    good -= failure != HAILO_SUCCESS;

    const Counted<Counter::running_batches> running;
    // Back to back, a batch starts when the one before it is due, however late this thread woke up.
    const auto start = std::max(free_at, batch.front().arrival);
    const bool timed = now->timed || !queue->network;
    lock.unlock();
    const bool computed = infer(*queue, *now, batch);
    lock.lock();
    const auto end = timed ? start + (queue->hef->is_image ? now->image : now->text).of(batch.size()) : Clock::now();
    const bool aborted =
        changed.wait_until(lock, end + now->late, [&] { return queue->status != HAILO_SUCCESS; });
    free_at = aborted || !timed || now->late.count() > 0 ? Clock::now() : end;
    add_batch(batch.size(), static_cast<uint64_t>(std::chrono::duration_cast<Microseconds>(free_at - start).count()));

    if (aborted) {
        call_back(lock, *queue, batch, queue->status);
        return;
    }
    if (!computed) {
        failure = HAILO_INTERNAL_FAILURE;
        good = 0;
    }
    if (failure != HAILO_SUCCESS) {
        queue->status = failure;
    }
    std::vector<Frame> bad(
        std::make_move_iterator(batch.begin() + static_cast<std::ptrdiff_t>(good)), std::make_move_iterator(batch.end()));
    batch.resize(good);
    call_back(lock, *queue, batch, HAILO_SUCCESS);
    call_back(lock, *queue, bad, failure);
}

void Scheduler::call_back(
    std::unique_lock<std::mutex> &lock, Queue &queue, std::vector<Frame> &frames, hailo_status status)
{
    if (frames.empty()) {
        return;
    }
    lock.unlock();
    sim::add(status == HAILO_SUCCESS ? Counter::frames : Counter::failed_frames, static_cast<int64_t>(frames.size()));
    for (auto &frame : frames) {
        frame.done(status);
        frame.done = nullptr;
    }
    lock.lock();
    queue.under_way -= frames.size();
    changed.notify_all();
}

} // namespace sim
