#include "hef.hpp"

#include <array>
#include <cstring>
#include <map>
#include <sstream>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace sim {

namespace {

constexpr char MAGIC[] = "simulated HEF ";
constexpr char VERSION[] = "1";
// The checksum line comes last in the header, and covers all but itself.
constexpr char CHECKSUM[] = "crc32 ";

// CRC-32 as in zlib, eight bytes at a time.
class Crc32 {
public:
    Crc32()
    {
        for (uint32_t byte = 0; byte < 256; byte++) {
            uint32_t value = byte;
            for (int bit = 0; bit < 8; bit++) {
                value = (value >> 1) ^ (value & 1 ? 0xedb88320u : 0);
            }
            tables[0][byte] = value;
        }
        for (size_t table = 1; table < 8; table++) {
            for (uint32_t byte = 0; byte < 256; byte++) {
                const uint32_t before = tables[table - 1][byte];
                tables[table][byte] = (before >> 8) ^ tables[0][before & 0xff];
            }
        }
    }

    void add(const uint8_t *data, size_t size)
    {
        for (; size >= 8; data += 8, size -= 8) {
            uint32_t low, high;
            std::memcpy(&low, data, 4);
            std::memcpy(&high, data + 4, 4);
            low ^= state;
            state = 0;
            for (int byte = 0; byte < 4; byte++) {
                state ^= tables[7 - byte][(low >> 8 * byte) & 0xff] ^ tables[3 - byte][(high >> 8 * byte) & 0xff];
            }
        }
        for (; size > 0; data++, size--) {
            state = (state >> 8) ^ tables[0][(state ^ *data) & 0xff];
        }
    }

    uint32_t value() const { return ~state; }

private:
    uint32_t state = ~0u;
    std::array<std::array<uint32_t, 256>, 8> tables;
};

bool parse_stream(std::istringstream &words, Stream &stream)
{
    std::string order, type;
    auto &quantization = stream.quantization;
    if (!(words >> stream.name >> stream.shape.height >> stream.shape.width >> stream.shape.features >> order >> type
            >> quantization.qp_scale >> quantization.qp_zp)
        || stream.name.size() >= HAILO_MAX_STREAM_NAME_SIZE) {
        return false;
    }
    const std::map<std::string, hailo_format_order_t> orders = { { "NHWC", HAILO_FORMAT_ORDER_NHWC },
        { "NC", HAILO_FORMAT_ORDER_NC } };
    const std::map<std::string, hailo_format_type_t> types = { { "uint8", HAILO_FORMAT_TYPE_UINT8 },
        { "uint16", HAILO_FORMAT_TYPE_UINT16 } };
    if (orders.count(order) == 0 || types.count(type) == 0) {
        return false;
    }
    stream.format = { types.at(type), orders.at(order), HAILO_FORMAT_FLAGS_NONE };
    const float largest = type == "uint8" ? 255.0f : 65535.0f;
    quantization.limvals_min = quantization.qp_scale * (0.0f - quantization.qp_zp);
    quantization.limvals_max = quantization.qp_scale * (largest - quantization.qp_zp);
    return true;
}

} // namespace

hailort::Expected<std::shared_ptr<const Hef>> Hef::open(const std::string &path)
{
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return hailort::make_unexpected(HAILO_OPEN_FILE_FAILURE);
    }
    struct stat info = {};
    std::shared_ptr<Hef> hef(new Hef);
    void *mapped = MAP_FAILED;
    if (fstat(file, &info) == 0 && S_ISREG(info.st_mode) && info.st_size > 0) {
        mapped = mmap(nullptr, static_cast<size_t>(info.st_size), PROT_READ, MAP_PRIVATE, file, 0);
    }
    close(file);
    if (mapped == MAP_FAILED) {
        return hailort::make_unexpected(HAILO_FILE_OPERATION_FAILURE);
    }
    hef->bytes = static_cast<const uint8_t *>(mapped);
    hef->size = static_cast<size_t>(info.st_size);
    const auto status = hef->parse();
    if (status != HAILO_SUCCESS) {
        return hailort::make_unexpected(status);
    }
    return std::shared_ptr<const Hef>(std::move(hef));
}

Hef::~Hef()
{
    if (bytes) {
        munmap(const_cast<uint8_t *>(bytes), size);
    }
}

hailo_status Hef::parse()
{
    if (size < sizeof(MAGIC) || std::memcmp(bytes, MAGIC, sizeof(MAGIC) - 1) != 0) {
        return HAILO_HEF_NOT_SUPPORTED;
    }
    const uint8_t *position = bytes;
    const uint8_t *const end = bytes + size;
    bool is_first = true;
    while (true) {
        const auto *const line_end =
            static_cast<const uint8_t *>(std::memchr(position, '\n', static_cast<size_t>(end - position)));
        if (!line_end) {
            return HAILO_HEF_FILE_CORRUPTED;
        }
        const std::string line(position, line_end);
        if (line.compare(0, sizeof(CHECKSUM) - 1, CHECKSUM) == 0) {
            Crc32 crc;
            crc.add(bytes, static_cast<size_t>(position - bytes));
            crc.add(line_end + 1, static_cast<size_t>(end - line_end - 1));
            network = line_end + 1;
            if (line.substr(sizeof(CHECKSUM) - 1) != std::to_string(crc.value())
                || static_cast<size_t>(end - network) != network_size) {
                return HAILO_HEF_FILE_CORRUPTED;
            }
            break;
        }
        position = line_end + 1;
        std::istringstream words(line);
        std::string key, value;
        words >> key;
        if (is_first) {
            if (line.substr(sizeof(MAGIC) - 1) != VERSION) {
                return HAILO_HEF_NOT_SUPPORTED;
            }
            is_first = false;
        } else if (key == "architecture") {
            words >> value;
            architecture = value == "hailo8" ? HAILO_ARCH_HAILO8
                : value == "hailo8l"         ? HAILO_ARCH_HAILO8L
                : value == "hailo10h"        ? HAILO_ARCH_HAILO10H
                                             : HAILO_ARCH_MAX_ENUM;
        } else if (key == "tower") {
            words >> value;
            is_image = value == "image";
        } else if (key == "input" || key == "output") {
            Stream stream;
            if (!parse_stream(words, stream)) {
                return HAILO_HEF_FILE_CORRUPTED;
            }
            (key == "input" ? inputs : outputs).push_back(stream);
        } else if (key == "network") {
            words >> network_size;
        } else {
            return HAILO_HEF_NOT_SUPPORTED;
        }
    }
    return inputs.size() == 1 && outputs.size() == 1 ? HAILO_SUCCESS : HAILO_HEF_NOT_SUPPORTED;
}

} // namespace sim
