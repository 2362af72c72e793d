// Devices and vdevices.
#include <cmath>

#include "calls.hpp"

using shim::copy_text;
using shim::copy_text_of;
using shim::guarded;
using shim::registry;
using shim::VDevice;
using shim::with;

namespace {

int32_t identify(hailort::Device &device, hailort_shim_identity *out)
{
    const auto identity = device.identify();
    if (!identity) {
        return identity.status();
    }
    const auto &found = identity.value();
    hailort_shim_identity result = {};
    result.architecture = found.device_architecture;
    result.firmware = { found.fw_version.major, found.fw_version.minor, found.fw_version.revision };
    if (!copy_text(result.device_id, std::string(device.get_dev_id()))
        || !copy_text_of(result.board_name, found.board_name, found.board_name_length)
        || !copy_text_of(result.serial_number, found.serial_number, found.serial_number_length)) {
        return HAILORT_SHIM_INVALID_ARGUMENT;
    }
    *out = result;
    return HAILO_SUCCESS;
}

template <typename Body> int32_t with_device(hailort_shim_handle handle, uint32_t index, Body body) noexcept
{
    return with<VDevice>(handle, [&](VDevice &vdevice) -> int32_t {
        const auto devices = vdevice.get().get_physical_devices();
        if (!devices) {
            return devices.status();
        }
        return index < devices->size() ? body(vdevice, devices.value()[index].get()) : HAILORT_SHIM_INVALID_ARGUMENT;
    });
}

// What a device answers that has no such sensor, or whose firmware does not report it.
bool does_not_tell(hailo_status status)
{
    return status == HAILO_NOT_IMPLEMENTED || status == HAILO_NOT_SUPPORTED || status == HAILO_NOT_AVAILABLE
        || status == HAILO_UNSUPPORTED_OPCODE || status == HAILO_INVALID_OPERATION;
}

// `…_throttling_active` of the health information say that throttling is switched on, as it always is,
// not that it happens. It happens from level 0 on (-1: none), or while the current is in the red zone.
bool is_throttled(const hailo_health_info_t &health)
{
    return (health.temperature_throttling_active && health.current_temperature_throttling_level >= 0)
        || (health.overcurrent_throttling_active
            && health.current_overcurrent_zone != HAILO_OVERCURRENT_PROTECTION_OVERCURRENT_ZONE__GREEN);
}

int32_t read_health(VDevice &vdevice, uint32_t index, hailort::Device &device, hailort_shim_health *out)
{
    hailort_shim_health result = { NAN, -1 };
    const auto temperature = device.get_chip_temperature();
    if (temperature) {
        result.temperature = std::max(temperature->ts0_temperature, temperature->ts1_temperature);
    } else if (!does_not_tell(temperature.status())) {
        return temperature.status();
    }
    if (vdevice.tells_health(index)) {
        const auto health = device.get_health_information();
        if (health) {
            result.throttling = is_throttled(health.value()) ? 1 : 0;
        } else if (does_not_tell(health.status())) {
            vdevice.remember_silence(index);
        }
    }
    *out = result;
    return HAILO_SUCCESS;
}

} // namespace

int32_t hailort_shim_scan(hailort_shim_device_id *ids, uint32_t capacity, uint32_t *count)
{
    return guarded([&]() -> int32_t {
        if (!count || (!ids && capacity > 0)) {
            return HAILORT_SHIM_INVALID_ARGUMENT;
        }
        const auto found = hailort::Device::scan();
        if (!found) {
            return found.status();
        }
        const auto written = std::min<size_t>(found->size(), capacity);
        std::vector<hailort_shim_device_id> result(written);
        for (size_t index = 0; index < written; index++) {
            if (!copy_text(result[index].id, found.value()[index])) {
                return HAILORT_SHIM_INVALID_ARGUMENT;
            }
        }
        std::copy(result.begin(), result.end(), ids);
        *count = static_cast<uint32_t>(found->size());
        return HAILO_SUCCESS;
    });
}

int32_t hailort_shim_identify(const char *device_id, hailort_shim_identity *identity)
{
    return guarded([&]() -> int32_t {
        if (!device_id || !identity) {
            return HAILORT_SHIM_INVALID_ARGUMENT;
        }
        const auto device = hailort::Device::create(device_id);
        return device ? identify(*device.value(), identity) : device.status();
    });
}

int32_t hailort_shim_vdevice_open(const hailort_shim_vdevice_params *params, hailort_shim_handle *vdevice)
{
    return guarded([&]() -> int32_t {
        if (!params || !vdevice || params->device_count == 0 || params->scheduler > 1) {
            return HAILORT_SHIM_INVALID_ARGUMENT;
        }
        hailo_vdevice_params_t wanted = {};
        if (const auto status = hailo_init_vdevice_params(&wanted)) {
            return status;
        }
        std::vector<hailo_device_id_t> ids;
        if (params->device_ids) {
            ids.resize(params->device_count);
            for (uint32_t index = 0; index < params->device_count; index++) {
                const char *const id = params->device_ids[index];
                if (!id || !copy_text(ids[index].id, id, strnlen(id, sizeof(ids[index].id)))) {
                    return HAILORT_SHIM_INVALID_ARGUMENT;
                }
            }
            wanted.device_ids = ids.data();
        }
        wanted.device_count = params->device_count;
        wanted.group_id = params->group_id ? params->group_id : HAILO_UNIQUE_VDEVICE_GROUP_ID;
        wanted.scheduling_algorithm =
            params->scheduler ? HAILO_SCHEDULING_ALGORITHM_ROUND_ROBIN : HAILO_SCHEDULING_ALGORITHM_NONE;
        auto opened = hailort::VDevice::create_shared(wanted);
        if (!opened) {
            return opened.status();
        }
        *vdevice = registry().add(std::make_shared<VDevice>(opened.release()));
        return HAILO_SUCCESS;
    });
}

int32_t hailort_shim_vdevice_device_count(hailort_shim_handle handle, uint32_t *count)
{
    return with<VDevice>(handle, [&](VDevice &vdevice) -> int32_t {
        if (!count) {
            return HAILORT_SHIM_INVALID_ARGUMENT;
        }
        const auto devices = vdevice.get().get_physical_devices();
        if (!devices) {
            return devices.status();
        }
        *count = static_cast<uint32_t>(devices->size());
        return HAILO_SUCCESS;
    });
}

int32_t hailort_shim_vdevice_identify(hailort_shim_handle handle, uint32_t index, hailort_shim_identity *identity)
{
    return with_device(handle, index, [&](VDevice &, hailort::Device &device) -> int32_t {
        return identity ? ::identify(device, identity) : HAILORT_SHIM_INVALID_ARGUMENT;
    });
}

int32_t hailort_shim_vdevice_health(hailort_shim_handle handle, uint32_t index, hailort_shim_health *health)
{
    return with_device(handle, index, [&](VDevice &vdevice, hailort::Device &device) -> int32_t {
        return health ? read_health(vdevice, index, device, health) : HAILORT_SHIM_INVALID_ARGUMENT;
    });
}

int32_t hailort_shim_vdevice_close(hailort_shim_handle handle)
{
    return guarded([&]() -> int32_t {
        return registry().take<VDevice>(handle) ? HAILO_SUCCESS : HAILORT_SHIM_INVALID_HANDLE;
    });
}
