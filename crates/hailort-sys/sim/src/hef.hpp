// The simulator's HEF: lines of text that describe a network, and the network.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "hailo/hailort.hpp"

namespace sim {

// One input or output, on the device's side.
struct Stream {
    std::string name;
    hailo_3d_image_shape_t shape;
    hailo_format_t format;
    hailo_quant_info_t quantization;

    size_t elements() const { return size_t(shape.height) * shape.width * shape.features; }
};

class Hef {
public:
    static hailort::Expected<std::shared_ptr<const Hef>> open(const std::string &path);
    ~Hef();
    Hef(const Hef &) = delete;
    Hef &operator=(const Hef &) = delete;

    hailo_device_architecture_t architecture = HAILO_ARCH_MAX_ENUM;
    bool is_image = false;
    std::vector<Stream> inputs;
    std::vector<Stream> outputs;
    // ONNX; empty in a container without network.
    const uint8_t *network = nullptr;
    size_t network_size = 0;

private:
    Hef() = default;
    hailo_status parse();

    const uint8_t *bytes = nullptr;
    size_t size = 0;
};

} // namespace sim
