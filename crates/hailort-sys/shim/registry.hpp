// Handles: numbers that stand for objects, never used twice.
#ifndef HAILORT_SHIM_REGISTRY_HPP
#define HAILORT_SHIM_REGISTRY_HPP

#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>

namespace shim {

// What a handle may stand for.
struct Object {
    virtual ~Object() = default;
};

// Objects leave as shared pointers, so that one which is closed lives until the last call on it is
// over. The lock is never held while an object is built, used or destroyed.
class Registry {
public:
    uint64_t add(std::shared_ptr<Object> object)
    {
        const std::lock_guard<std::mutex> lock(mutex);
        objects.emplace(++last, std::move(object));
        return last;
    }

    // Null if the handle is unknown, closed, or of another kind.
    template <typename T> std::shared_ptr<T> find(uint64_t handle)
    {
        const std::lock_guard<std::mutex> lock(mutex);
        const auto found = objects.find(handle);
        return found == objects.end() ? nullptr : std::dynamic_pointer_cast<T>(found->second);
    }

    // The same, and the handle is closed.
    template <typename T> std::shared_ptr<T> take(uint64_t handle)
    {
        const std::lock_guard<std::mutex> lock(mutex);
        const auto found = objects.find(handle);
        auto object = found == objects.end() ? nullptr : std::dynamic_pointer_cast<T>(found->second);
        if (object) {
            objects.erase(found);
        }
        return object;
    }

    uint32_t size()
    {
        const std::lock_guard<std::mutex> lock(mutex);
        return static_cast<uint32_t>(objects.size());
    }

private:
    std::mutex mutex;
    std::unordered_map<uint64_t, std::shared_ptr<Object>> objects;
    uint64_t last = 0;
};

} // namespace shim

#endif
