// Devices, vdevices, and who holds which device.
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <mutex>
#include <set>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "control.hpp"
#include "infer_model.hpp"
#include "watcher.hpp"

namespace hailort {

using sim::control;
using sim::Counted;
using sim::Counter;
using sim::Scheduler;

namespace {

std::string device_id(uint32_t device)
{
    char id[HAILO_MAX_DEVICE_ID_LENGTH];
    std::snprintf(id, sizeof(id), "%04x:01:00.0", device);
    return id;
}

// HAILO_SUCCESS, or why a device cannot be talked to.
hailo_status check_driver(const sim::Control &control)
{
    if (control.vanished != HAILO_SUCCESS) {
        return HAILO_OUT_OF_PHYSICAL_DEVICES;
    }
    if (HAILORT_MAJOR_VERSION < 5 && control.architecture == HAILO_ARCH_HAILO10H) {
        return HAILO_NOT_SUPPORTED;
    }
    if (control.driver.major != HAILORT_MAJOR_VERSION || control.driver.minor != HAILORT_MINOR_VERSION
        || control.driver.revision != HAILORT_REVISION_VERSION) {
        return HAILO_INVALID_DRIVER_VERSION;
    }
    return HAILO_SUCCESS;
}

// A device that this process holds, and keeps other processes from.
class Hold {
public:
    static Expected<std::shared_ptr<Hold>> take(uint32_t device)
    {
        const auto now = control();
        const std::lock_guard<std::mutex> lock(mutex());
        if (held().count(device) > 0 || now->is_held(device)) {
            return make_unexpected(HAILO_DEVICE_IN_USE);
        }
        int node = -1;
        if (!now->node.empty()) {
            node = open((now->node + std::to_string(device)).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
            if (node < 0) {
                return make_unexpected(HAILO_DRIVER_OPERATION_FAILED);
            }
            if (flock(node, LOCK_EX | LOCK_NB) != 0) {
                close(node);
                return make_unexpected(HAILO_DEVICE_IN_USE);
            }
        }
        held().insert(device);
        return std::shared_ptr<Hold>(new Hold(device, node));
    }

    ~Hold()
    {
        const std::lock_guard<std::mutex> lock(mutex());
        held().erase(device);
        if (node >= 0) {
            close(node);
        }
    }

    const uint32_t device;

private:
    Hold(uint32_t device, int node) : device(device), node(node) {}

    static std::mutex &mutex()
    {
        static auto *const instance = new std::mutex;
        return *instance;
    }

    static std::set<uint32_t> &held()
    {
        static auto *const instance = new std::set<uint32_t>;
        return *instance;
    }

    const int node;
};

class SimulatedDevice : public Device {
public:
    explicit SimulatedDevice(uint32_t index) : index(index), id(device_id(index)) {}

    const char *get_dev_id() const override { return id.c_str(); }

    Expected<hailo_device_identity_t> identify() override
    {
        const auto now = control();
        if (const auto status = before(*now, "identify")) {
            return make_unexpected(status);
        }
        hailo_device_identity_t identity = {};
        identity.fw_version = { now->firmware.major, now->firmware.minor, now->firmware.revision };
        identity.device_architecture = now->architecture;
        identity.is_release = true;
        auto serial = now->serial;
        if (index > 0 && !serial.empty()) {
            serial.back() = static_cast<char>('0' + index % 10);
        }
        identity.serial_number_length = copy(identity.serial_number, serial);
        identity.board_name_length = copy(identity.board_name, now->board);
        return identity;
    }

    Expected<hailo_chip_temperature_info_t> get_chip_temperature() override
    {
        const auto now = control();
        if (const auto status = before(*now, "temperature")) {
            return make_unexpected(status);
        }
        if (!now->temperature) {
            return make_unexpected(HAILO_NOT_IMPLEMENTED);
        }
        return hailo_chip_temperature_info_t{ *now->temperature - 0.5f, *now->temperature, 1 };
    }

    Expected<hailo_health_info_t> health()
    {
        const auto now = control();
        if (const auto status = before(*now, "health")) {
            return make_unexpected(status);
        }
        if (!now->throttling || now->architecture == HAILO_ARCH_HAILO10H) {
            return make_unexpected(HAILO_NOT_IMPLEMENTED);
        }
        hailo_health_info_t health = {};
        health.overcurrent_protection_active = true;
        health.overcurrent_throttling_active = true;
        health.temperature_throttling_active = true;
        health.current_overcurrent_zone = now->overcurrent ? HAILO_OVERCURRENT_PROTECTION_OVERCURRENT_ZONE__RED
                                                           : HAILO_OVERCURRENT_PROTECTION_OVERCURRENT_ZONE__GREEN;
        health.current_temperature_throttling_level = static_cast<int8_t>(*now->throttling);
        return health;
    }

private:
    static hailo_status before(const sim::Control &control, const std::string &call)
    {
        return control.vanished != HAILO_SUCCESS ? control.vanished : control.before(call);
    }

    template <size_t size> static uint8_t copy(char (&to)[size], const std::string &from)
    {
        const auto length = std::min(from.size(), size);
        std::memcpy(to, from.data(), length);
        return static_cast<uint8_t>(length);
    }

    const uint32_t index;
    const std::string id;
};

// What the vdevices of one group share.
class Devices {
public:
    explicit Devices(std::vector<std::shared_ptr<Hold>> holds) : holds(std::move(holds))
    {
        for (const auto &hold : this->holds) {
            devices.push_back(std::make_unique<SimulatedDevice>(hold->device));
        }
        scheduler = std::make_shared<Scheduler>(static_cast<uint32_t>(this->holds.size()));
        sim::watch(scheduler);
    }

    ~Devices()
    {
        scheduler->stop();
        sim::unwatch(scheduler);
    }

    std::vector<std::shared_ptr<Hold>> holds;
    std::vector<std::unique_ptr<SimulatedDevice>> devices;
    std::shared_ptr<Scheduler> scheduler;
};

class SimulatedVDevice : public VDevice, Counted<Counter::vdevices> {
public:
    explicit SimulatedVDevice(std::shared_ptr<Devices> shared) : shared(std::move(shared)) {}

    Expected<std::shared_ptr<InferModel>> create_infer_model(const std::string &hef_path, const std::string &) override
    {
        return sim::create_infer_model(
            shared->scheduler, static_cast<uint32_t>(shared->devices.size()), hef_path);
    }

    Expected<std::vector<std::reference_wrapper<Device>>> get_physical_devices() const override
    {
        std::vector<std::reference_wrapper<Device>> devices;
        for (const auto &device : shared->devices) {
            devices.emplace_back(*device);
        }
        return devices;
    }

    Expected<std::vector<std::string>> get_physical_devices_ids() const override
    {
        std::vector<std::string> ids;
        for (const auto &device : shared->devices) {
            ids.emplace_back(device->get_dev_id());
        }
        return ids;
    }

private:
    const std::shared_ptr<Devices> shared;
};

Expected<std::shared_ptr<Devices>> take_devices(const hailo_vdevice_params_t &params)
{
    const auto now = control();
    std::vector<uint32_t> wanted;
    if (params.device_ids) {
        for (uint32_t index = 0; index < params.device_count; index++) {
            uint32_t device = 0;
            while (device < now->devices && device_id(device) != params.device_ids[index].id) {
                device++;
            }
            if (device == now->devices) {
                return make_unexpected(HAILO_INVALID_ARGUMENT);
            }
            wanted.push_back(device);
        }
    } else {
        for (uint32_t device = 0; device < now->devices; device++) {
            wanted.push_back(device);
        }
    }
    if (params.device_count > 1 && now->architecture != HAILO_ARCH_HAILO8) {
        return make_unexpected(HAILORT_MAJOR_VERSION >= 5 && now->architecture == HAILO_ARCH_HAILO10H
                ? HAILO_OUT_OF_PHYSICAL_DEVICES
                : HAILO_INVALID_OPERATION);
    }
    std::vector<std::shared_ptr<Hold>> holds;
    for (const auto device : wanted) {
        if (holds.size() == params.device_count) {
            break;
        }
        auto hold = Hold::take(device);
        if (hold) {
            holds.push_back(hold.release());
        } else if (params.device_ids || hold.status() != HAILO_DEVICE_IN_USE) {
            return make_unexpected(hold.status());
        }
    }
    if (holds.size() < params.device_count) {
        return make_unexpected(HAILO_OUT_OF_PHYSICAL_DEVICES);
    }
    return std::make_shared<Devices>(std::move(holds));
}

// The devices of a group that exists; or new ones, for the group to share.
Expected<std::shared_ptr<Devices>> devices_of_group(const hailo_vdevice_params_t &params)
{
    static auto *const mutex = new std::mutex;
    static auto *const groups = new std::map<std::string, std::weak_ptr<Devices>>;
    const std::string group = params.group_id ? params.group_id : "";
    if (group == HAILO_UNIQUE_VDEVICE_GROUP_ID) {
        return take_devices(params);
    }
    const std::lock_guard<std::mutex> lock(*mutex);
    if (auto shared = (*groups)[group].lock()) {
        if (shared->devices.size() != params.device_count) {
            return make_unexpected(HAILO_INVALID_OPERATION);
        }
        return shared;
    }
    auto taken = take_devices(params);
    if (taken) {
        (*groups)[group] = *taken;
    }
    return taken;
}

} // namespace

Expected<std::vector<std::string>> Device::scan()
{
    const auto now = control();
    if (const auto status = now->before("scan")) {
        return make_unexpected(status);
    }
    std::vector<std::string> ids;
    for (uint32_t device = 0; now->vanished == HAILO_SUCCESS && device < now->devices; device++) {
        ids.push_back(device_id(device));
    }
    return ids;
}

Expected<std::unique_ptr<Device>> Device::create(const std::string &id)
{
    const auto now = control();
    if (const auto status = now->before("create_device")) {
        return make_unexpected(status);
    }
    if (const auto status = check_driver(*now)) {
        return make_unexpected(status);
    }
    for (uint32_t device = 0; device < now->devices; device++) {
        if (device_id(device) == id) {
            return std::unique_ptr<Device>(new SimulatedDevice(device));
        }
    }
    return make_unexpected(HAILO_INVALID_ARGUMENT);
}

Expected<hailo_device_identity_t> Device::identify()
{
    return make_unexpected(HAILO_NOT_IMPLEMENTED);
}

Expected<hailo_chip_temperature_info_t> Device::get_chip_temperature()
{
    return make_unexpected(HAILO_NOT_IMPLEMENTED);
}

Expected<hailo_health_info_t> Device::get_health_information()
{
    return static_cast<SimulatedDevice *>(this)->health();
}

Expected<std::unique_ptr<VDevice>> VDevice::create(const hailo_vdevice_params_t &params)
{
    const auto now = control();
    if (const auto status = now->before("create_vdevice")) {
        return make_unexpected(status);
    }
    if (params.device_count == 0) {
        return make_unexpected(HAILO_INVALID_ARGUMENT);
    }
    if (params.multi_process_service) {
        return make_unexpected(HAILO_INVALID_OPERATION);
    }
    if (const auto status = now->devices == 0 ? HAILO_SUCCESS : check_driver(*now)) {
        return make_unexpected(status);
    }
    auto devices = devices_of_group(params);
    if (!devices) {
        return make_unexpected(devices.status());
    }
    return std::unique_ptr<VDevice>(new SimulatedVDevice(devices.release()));
}

Expected<std::shared_ptr<VDevice>> VDevice::create_shared(const hailo_vdevice_params_t &params)
{
    auto vdevice = create(params);
    if (!vdevice) {
        return make_unexpected(vdevice.status());
    }
    return std::shared_ptr<VDevice>(vdevice.release());
}

} // namespace hailort
