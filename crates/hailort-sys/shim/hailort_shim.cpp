// Versions, messages, and what the numbers in hailort_shim.h must be.
#include "calls.hpp"

static_assert(HAILORT_SHIM_ARCHITECTURE_HAILO8 == int(HAILO_ARCH_HAILO8), "architectures");
static_assert(HAILORT_SHIM_ARCHITECTURE_HAILO8L == int(HAILO_ARCH_HAILO8L), "architectures");
static_assert(HAILORT_SHIM_ARCHITECTURE_HAILO10H == int(HAILO_ARCH_HAILO10H), "architectures");
static_assert(HAILORT_SHIM_FORMAT_AUTO == int(HAILO_FORMAT_TYPE_AUTO), "formats");
static_assert(HAILORT_SHIM_FORMAT_UINT8 == int(HAILO_FORMAT_TYPE_UINT8), "formats");
static_assert(HAILORT_SHIM_FORMAT_UINT16 == int(HAILO_FORMAT_TYPE_UINT16), "formats");
static_assert(HAILORT_SHIM_FORMAT_FLOAT32 == int(HAILO_FORMAT_TYPE_FLOAT32), "formats");

// So that one can see, without loading it, what a compiled shim is made of.
#ifndef HAILORT_SHIM_SOURCE
#define HAILORT_SHIM_SOURCE "unknown"
#endif
#define TEXT_OF(number) #number
#define VERSION_TEXT(major, minor, revision) TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(revision)
__attribute__((used)) static const char MADE_OF[] = "hailo-clip shim for HailoRT " VERSION_TEXT(
    HAILORT_MAJOR_VERSION, HAILORT_MINOR_VERSION, HAILORT_REVISION_VERSION) ", source " HAILORT_SHIM_SOURCE;

using shim::guarded;
using shim::registry;

uint32_t hailort_shim_abi(void)
{
    return HAILORT_SHIM_ABI;
}

int32_t hailort_shim_built_for(hailort_shim_version *version)
{
    if (!version) {
        return HAILORT_SHIM_INVALID_ARGUMENT;
    }
    *version = { HAILORT_MAJOR_VERSION, HAILORT_MINOR_VERSION, HAILORT_REVISION_VERSION };
    return HAILO_SUCCESS;
}

int32_t hailort_shim_library_version(hailort_shim_version *version)
{
    return guarded([&]() -> int32_t {
        hailo_version_t found = {};
        const auto status = version ? hailo_get_library_version(&found) : HAILO_SUCCESS;
        if (!version || status != HAILO_SUCCESS) {
            return version ? static_cast<int32_t>(status) : HAILORT_SHIM_INVALID_ARGUMENT;
        }
        *version = { found.major, found.minor, found.revision };
        return HAILO_SUCCESS;
    });
}

const char *hailort_shim_status_message(int32_t status)
{
    switch (status) {
    case HAILORT_SHIM_INVALID_HANDLE:
        return "the handle is closed or unknown";
    case HAILORT_SHIM_INVALID_ARGUMENT:
        return "an argument is out of range, or the call is out of order";
    case HAILORT_SHIM_EXCEPTION:
        return "HailoRT threw an exception";
    case HAILORT_SHIM_OUT_OF_MEMORY:
        return "out of memory";
    default:
        break;
    }
    const char *message = nullptr;
    if (status >= 0) {
        (void)guarded([&]() -> int32_t {
            message = hailo_get_status_message(static_cast<hailo_status>(status));
            return HAILO_SUCCESS;
        });
    }
    return message;
}

uint32_t hailort_shim_open_handles(void)
{
    uint32_t count = 0;
    (void)guarded([&]() -> int32_t {
        count = registry().size();
        return HAILO_SUCCESS;
    });
    return count;
}
