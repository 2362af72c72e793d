#include "watcher.hpp"

#include <algorithm>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

namespace sim {

namespace {

// One thread while anybody is interested.
class Watcher {
public:
    void add(const std::shared_ptr<Scheduler> &scheduler)
    {
        const std::lock_guard<std::mutex> turn(life);
        {
            const std::lock_guard<std::mutex> lock(mutex);
            schedulers.push_back(scheduler);
        }
        if (!thread.joinable() && !control_path().empty()) {
            stop = eventfd(0, EFD_CLOEXEC);
            changes = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
            const auto folder = control_path().substr(0, control_path().rfind('/') + 1);
            inotify_add_watch(
                changes, folder.empty() ? "." : folder.c_str(), IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE);
            thread = std::thread([this] { run(); });
        }
    }

    void remove(const std::shared_ptr<Scheduler> &scheduler)
    {
        const std::lock_guard<std::mutex> turn(life);
        bool is_last = false;
        {
            const std::lock_guard<std::mutex> lock(mutex);
            schedulers.erase(std::remove(schedulers.begin(), schedulers.end(), scheduler), schedulers.end());
            is_last = schedulers.empty();
        }
        if (is_last && thread.joinable()) {
            eventfd_write(stop, 1);
            thread.join();
            close(stop);
            close(changes);
        }
    }

private:
    void run()
    {
        const Counted<Counter::threads> counted;
        pollfd files[] = { { stop, POLLIN, 0 }, { changes, POLLIN, 0 } };
        while (poll(files, 2, -1) >= 0 && !(files[0].revents & POLLIN)) {
            char events[4096];
            (void)!read(changes, events, sizeof(events));
            const auto now = control();
            const std::lock_guard<std::mutex> lock(mutex);
            for (const auto &scheduler : schedulers) {
                if (now->vanished != HAILO_SUCCESS) {
                    scheduler->lose(now->vanished);
                }
            }
        }
    }

    // For starting and ending the thread, which takes the other one.
    std::mutex life;
    std::mutex mutex;
    std::vector<std::shared_ptr<Scheduler>> schedulers;
    std::thread thread;
    int stop = -1;
    int changes = -1;
};

Watcher &watcher()
{
    static auto *const instance = new Watcher;
    return *instance;
}

} // namespace

void watch(const std::shared_ptr<Scheduler> &scheduler)
{
    watcher().add(scheduler);
}

void unwatch(const std::shared_ptr<Scheduler> &scheduler)
{
    watcher().remove(scheduler);
}

} // namespace sim
