// HailoRT's C functions, and what it does when it is loaded.
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

#include "hailo/hailort.h"

namespace {

const char *const STATUS_NAMES[] = {
#define NAME(number, name) #name,
    HAILO_STATUSES(NAME)
#undef NAME
};
constexpr int STATUS_COUNT = HAILORT_MAJOR_VERSION >= 5 ? 98 : 94;

// As HailoRT, which logs to a file from a constructor unless it is told not to.
__attribute__((constructor)) void open_log()
{
    const char *const folder = std::getenv("HAILORT_LOGGER_PATH");
    if (!folder || std::strcmp(folder, "NONE") != 0) {
        std::ofstream(std::string(folder ? folder : ".") + "/hailort.log", std::ios::app) << "simulated HailoRT\n";
    }
}

} // namespace

hailo_status hailo_get_library_version(hailo_version_t *version)
{
    if (!version) {
        return HAILO_INVALID_ARGUMENT;
    }
    *version = { HAILORT_MAJOR_VERSION, HAILORT_MINOR_VERSION, HAILORT_REVISION_VERSION };
    return HAILO_SUCCESS;
}

const char *hailo_get_status_message(hailo_status status)
{
    return status < STATUS_COUNT ? STATUS_NAMES[status] : nullptr;
}

hailo_status hailo_init_vdevice_params(hailo_vdevice_params_t *params)
{
    if (!params) {
        return HAILO_INVALID_ARGUMENT;
    }
    *params = { 1, nullptr, HAILO_SCHEDULING_ALGORITHM_ROUND_ROBIN, HAILO_UNIQUE_VDEVICE_GROUP_ID, false };
    return HAILO_SUCCESS;
}
