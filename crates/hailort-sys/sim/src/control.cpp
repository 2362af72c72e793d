#include "control.hpp"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <vector>

#include <sys/stat.h>

namespace sim {

namespace {

constexpr hailo_version_t LIBRARY = { HAILORT_MAJOR_VERSION, HAILORT_MINOR_VERSION, HAILORT_REVISION_VERSION };

uint64_t number(const std::string &text)
{
    size_t end = 0;
    const auto value = std::stoull(text, &end);
    if (end != text.size()) {
        throw std::invalid_argument(text);
    }
    return value;
}

hailo_status status(const std::string &text)
{
    return static_cast<hailo_status>(number(text));
}

hailo_version_t version(const std::string &text)
{
    hailo_version_t version = {};
    if (std::sscanf(text.c_str(), "%u.%u.%u", &version.major, &version.minor, &version.revision) != 3) {
        throw std::invalid_argument(text);
    }
    return version;
}

hailo_device_architecture_t architecture(const std::string &text)
{
    if (text == "hailo8") {
        return HAILO_ARCH_HAILO8;
    }
    if (text == "hailo8l") {
        return HAILO_ARCH_HAILO8L;
    }
    if (text == "hailo10h") {
        return HAILO_ARCH_HAILO10H;
    }
    throw std::invalid_argument(text);
}

template <typename T> T choice(const std::string &text, const std::map<std::string, T> &choices)
{
    return choices.at(text);
}

void set(Control &control, const std::string &key, const std::string &value)
{
    std::istringstream words(value);
    std::string first, second;
    words >> first >> second;
    if (key == "devices") {
        control.devices = static_cast<uint32_t>(number(first));
    } else if (key == "architecture") {
        // Set before all others.
    } else if (key == "firmware") {
        control.firmware = version(first);
    } else if (key == "driver") {
        control.driver = version(first);
    } else if (key == "held") {
        control.all_held = first == "all";
        for (std::istringstream list(control.all_held ? "" : value); list >> first;) {
            control.held.insert(static_cast<uint32_t>(number(first)));
        }
    } else if (key == "node") {
        control.node = value;
    } else if (key == "serial") {
        control.serial = value;
    } else if (key == "board") {
        control.board = value;
    } else if (key == "mode") {
        control.timed = choice<bool>(first, { { "cpu", false }, { "timed", true } });
    } else if (key == "image_us" || key == "text_us") {
        Rate &rate = key == "image_us" ? control.image : control.text;
        rate.one = Microseconds(number(first));
        rate.eight = Microseconds(number(second));
    } else if (key == "queue_depth") {
        control.queue_depth = static_cast<uint32_t>(number(first));
    } else if (key == "gather_us") {
        control.gather = Microseconds(number(first));
    } else if (key == "shutdown_timeout_ms") {
        control.shutdown_timeout = Milliseconds(number(first));
    } else if (key == "temperature") {
        control.temperature = first == "none" ? std::nullopt : std::optional<float>(std::stof(first));
    } else if (key == "throttling") {
        control.throttling = first == "none" ? std::nullopt : std::optional<int>(std::stoi(first));
    } else if (key == "overcurrent") {
        control.overcurrent = number(first) != 0;
    } else if (key == "fault") {
        control.fault = choice<Fault>(first,
            { { "none", Fault::none }, { "hang", Fault::hang }, { "never", Fault::never }, { "deaf", Fault::deaf } });
    } else if (key == "late_ms") {
        control.late = Milliseconds(number(first));
    } else if (key == "corrupt") {
        control.corruption = choice<Corruption>(
            first, { { "none", Corruption::none }, { "zero", Corruption::zero }, { "noise", Corruption::noise } });
    } else if (key == "vanish") {
        control.vanished = status(first);
    } else if (key == "fail" || key == "refuse") {
        Control::Nth &nth = key == "fail" ? control.fail : control.refuse;
        nth.text = value;
        nth.number = number(first);
        nth.status = status(second);
    } else if (key == "fail_call") {
        control.failing_calls[first] = status(second);
    } else if (key == "throw") {
        control.throwing_calls.insert(first);
    } else {
        throw std::invalid_argument(key);
    }
}

std::shared_ptr<const Control> read(const std::string &path)
{
    auto control = std::make_shared<Control>();
    std::vector<std::pair<std::string, std::string>> entries;
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
        const auto begin = line.find_first_not_of(" \t");
        if (begin == std::string::npos || line[begin] == '#') {
            continue;
        }
        const auto key_end = line.find_first_of(" \t", begin);
        const auto value = key_end == std::string::npos ? key_end : line.find_first_not_of(" \t", key_end);
        entries.emplace_back(
            line.substr(begin, key_end - begin), value == std::string::npos ? "" : line.substr(value));
    }
    const auto each = [&](auto apply) {
        for (const auto &[key, value] : entries) {
            try {
                apply(key, value);
            } catch (const std::exception &) {
                std::fprintf(stderr, "simulated HailoRT: %s: \"%s %s\" is not understood\n", path.c_str(), key.c_str(),
                    value.c_str());
            }
        }
    };
    // Other keys' defaults depend on it.
    each([&](const std::string &key, const std::string &value) {
        if (key == "architecture") {
            control->set_architecture(architecture(value));
        }
    });
    each([&](const std::string &key, const std::string &value) { set(*control, key, value); });
    return control;
}

struct Stamp {
    ino_t inode = 0;
    off_t size = -1;
    timespec modified = {};

    bool operator==(const Stamp &other) const
    {
        return inode == other.inode && size == other.size && modified.tv_sec == other.modified.tv_sec
            && modified.tv_nsec == other.modified.tv_nsec;
    }
};

} // namespace

Control::Control() : firmware(LIBRARY), driver(LIBRARY)
{
    set_architecture(HAILORT_MAJOR_VERSION >= 5 ? HAILO_ARCH_HAILO10H : HAILO_ARCH_HAILO8);
}

// The rates are the vendor's for CLIP ViT-B/32.
void Control::set_architecture(hailo_device_architecture_t wanted)
{
    const auto rate = [](double per_second_at_1, double per_second_at_8) {
        return Rate{ Microseconds(static_cast<int64_t>(1e6 / per_second_at_1)),
            Microseconds(static_cast<int64_t>(8e6 / per_second_at_8)) };
    };
    architecture = wanted;
    switch (wanted) {
    case HAILO_ARCH_HAILO10H:
        image = rate(72, 335);
        text = rate(50, 99);
        break;
    case HAILO_ARCH_HAILO8L:
        image = rate(30, 130);
        text = rate(30, 96);
        break;
    default:
        image = rate(34, 187);
        text = rate(32, 137);
        break;
    }
}

hailo_status Control::before(const std::string &call) const
{
    if (throwing_calls.count(call) > 0) {
        throw std::runtime_error("the control file says so");
    }
    const auto found = failing_calls.find(call);
    return found == failing_calls.end() ? HAILO_SUCCESS : found->second;
}

const std::string &control_path()
{
    static const auto *const path = new std::string([] {
        const char *const value = std::getenv("HAILO_SIM_CONTROL");
        return value ? value : "";
    }());
    return *path;
}

std::shared_ptr<const Control> control()
{
    static auto *const mutex = new std::mutex;
    static auto *const current = new std::shared_ptr<const Control>;
    static Stamp stamp;
    const std::lock_guard<std::mutex> lock(*mutex);
    Stamp now;
    struct stat info = {};
    if (!control_path().empty() && stat(control_path().c_str(), &info) == 0) {
        now = { info.st_ino, info.st_size, info.st_mtim };
    }
    if (!*current || !(now == stamp)) {
        *current = read(control_path());
        stamp = now;
    }
    return *current;
}

hailo_status Countdown::next(const Control::Nth &nth)
{
    const std::lock_guard<std::mutex> lock(mutex);
    if (text != nth.text) {
        text = nth.text;
        count = 0;
    }
    return !text.empty() && ++count == nth.number ? nth.status : HAILO_SUCCESS;
}

hailo_status next_frame_status(const Control &control)
{
    static auto *const countdown = new Countdown;
    return countdown->next(control.fail);
}

hailo_status next_run_status(const Control &control)
{
    static auto *const countdown = new Countdown;
    return countdown->next(control.refuse);
}

} // namespace sim
