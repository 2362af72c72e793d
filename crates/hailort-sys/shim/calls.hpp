// What every function does: find its object, and throw nothing.
#ifndef HAILORT_SHIM_CALLS_HPP
#define HAILORT_SHIM_CALLS_HPP

#include <algorithm>
#include <cstring>
#include <new>
#include <string>

#include "hailort_shim.h"
#include "objects.hpp"

namespace shim {

// Never destroyed: threads of HailoRT's may still call back while the process exits.
inline Registry &registry()
{
    static Registry *const instance = new Registry;
    return *instance;
}

// Runs the body of a function: nothing is thrown across the interface.
template <typename Body> int32_t guarded(Body body) noexcept
{
    try {
        return body();
    } catch (const std::bad_alloc &) {
        return HAILORT_SHIM_OUT_OF_MEMORY;
    } catch (...) {
        return HAILORT_SHIM_EXCEPTION;
    }
}

// The same, for a function on the object that a handle stands for.
template <typename T, typename Body> int32_t with(hailort_shim_handle handle, Body body) noexcept
{
    return guarded([&]() -> int32_t {
        const auto object = registry().find<T>(handle);
        return object ? body(*object) : HAILORT_SHIM_INVALID_HANDLE;
    });
}

// Copies a text with its NUL; false if it is too long.
template <size_t capacity> bool copy_text(char (&to)[capacity], const char *from, size_t length)
{
    if (length >= capacity) {
        return false;
    }
    std::memcpy(to, from, length);
    std::memset(to + length, 0, capacity - length);
    return true;
}

template <size_t capacity> bool copy_text(char (&to)[capacity], const std::string &from)
{
    return copy_text(to, from.data(), from.size());
}

// The texts of an identity have a length, and not always a NUL.
template <size_t capacity, size_t size>
bool copy_text_of(char (&to)[capacity], const char (&from)[size], size_t length)
{
    return copy_text(to, from, strnlen(from, std::min(length, size)));
}

} // namespace shim

#endif
