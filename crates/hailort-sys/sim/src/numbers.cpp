// Numbers on their way through a device: from the host's format to the device's and back, as HailoRT's
// quantisation does it, and the network in between.
#include <atomic>
#include <cmath>
#include <cstring>

#include <unistd.h>

#include "scheduler.hpp"

namespace sim {

namespace {

size_t width(hailo_format_type_t type)
{
    return type == HAILO_FORMAT_TYPE_FLOAT32 ? 4 : type == HAILO_FORMAT_TYPE_UINT16 ? 2 : 1;
}

template <typename Number> void quantize(const float *from, Number *to, size_t count, const hailo_quant_info_t &how)
{
    for (size_t index = 0; index < count; index++) {
        const float clipped = std::fmin(std::fmax(from[index], how.limvals_min), how.limvals_max);
        to[index] = static_cast<Number>(std::nearbyint(clipped / how.qp_scale + how.qp_zp));
    }
}

template <typename Number>
void dequantize(const Number *from, float *to, size_t count, const hailo_quant_info_t &how)
{
    for (size_t index = 0; index < count; index++) {
        to[index] = (static_cast<float>(from[index]) - how.qp_zp) * how.qp_scale;
    }
}

// Numbers of a stream in the device's format, which is UINT8 or UINT16.
struct Native {
    const Stream &stream;
    std::vector<uint8_t> bytes;

    Native(const Stream &stream, size_t frames) :
        stream(stream), bytes(frames * stream.elements() * width(stream.format.type))
    {
    }

    bool is_wide() const { return stream.format.type == HAILO_FORMAT_TYPE_UINT16; }
    size_t frame_size() const { return stream.elements() * width(stream.format.type); }
    uint8_t *narrow(size_t frame) { return bytes.data() + frame * frame_size(); }
    uint16_t *wide(size_t frame) { return reinterpret_cast<uint16_t *>(narrow(frame)); }

    void quantize(size_t frame, const float *from)
    {
        if (is_wide()) {
            sim::quantize(from, wide(frame), stream.elements(), stream.quantization);
        } else {
            sim::quantize(from, narrow(frame), stream.elements(), stream.quantization);
        }
    }

    void dequantize(size_t frame, float *to)
    {
        if (is_wide()) {
            sim::dequantize(wide(frame), to, stream.elements(), stream.quantization);
        } else {
            sim::dequantize(narrow(frame), to, stream.elements(), stream.quantization);
        }
    }

    // Between integers, HailoRT changes the width and not the numbers.
    void from_host(size_t frame, const void *host, hailo_format_type_t type)
    {
        if (type == HAILO_FORMAT_TYPE_FLOAT32) {
            quantize(frame, static_cast<const float *>(host));
        } else if (width(type) == width(stream.format.type)) {
            std::memcpy(narrow(frame), host, frame_size());
        } else {
            const auto *const from = static_cast<const uint8_t *>(host);
            std::copy(from, from + stream.elements(), wide(frame));
        }
    }

    void to_host(size_t frame, void *host, hailo_format_type_t type)
    {
        if (type == HAILO_FORMAT_TYPE_FLOAT32) {
            dequantize(frame, static_cast<float *>(host));
        } else if (width(type) == width(stream.format.type)) {
            std::memcpy(host, narrow(frame), frame_size());
        } else {
            std::copy(narrow(frame), narrow(frame) + stream.elements(), static_cast<uint16_t *>(host));
        }
    }
};

// FNV-1a over every eighth eight bytes and the last ones: different pictures give different numbers.
uint64_t hash(const uint8_t *data, size_t size)
{
    uint64_t hash = 0xcbf29ce484222325;
    const auto add = [&](size_t offset) {
        uint64_t word;
        std::memcpy(&word, data + offset, 8);
        hash = (hash ^ word) * 0x100000001b3;
        hash ^= hash >> 29;
    };
    for (size_t offset = 0; offset + 8 <= size; offset += 64) {
        add(offset);
    }
    if (size >= 8) {
        add(size - 8);
    }
    return hash;
}

void fill(uint8_t *to, size_t size, uint64_t seed)
{
    for (size_t offset = 0; offset < size; offset += 8) {
        seed += 0x9e3779b97f4a7c15;
        uint64_t word = (seed ^ (seed >> 30)) * 0xbf58476d1ce4e5b9;
        word = (word ^ (word >> 27)) * 0x94d049bb133111eb;
        word ^= word >> 31;
        std::memcpy(to + offset, &word, std::min<size_t>(8, size - offset));
    }
}

bool run_network(const Network &network, size_t frames, Native &input, Native &output)
{
    const size_t in = input.stream.elements(), out = output.stream.elements();
    std::vector<float> given(frames * in), got(frames * out);
    for (size_t frame = 0; frame < frames; frame++) {
        input.dequantize(frame, given.data() + frame * in);
    }
    if (!network.run(frames, given.data(), got.data())) {
        return false;
    }
    for (size_t frame = 0; frame < frames; frame++) {
        output.quantize(frame, got.data() + frame * out);
    }
    return true;
}

void corrupt(Native &output, size_t frames, Corruption how)
{
    if (how == Corruption::zero) {
        const std::vector<float> zeros(output.stream.elements());
        for (size_t frame = 0; frame < frames; frame++) {
            output.quantize(frame, zeros.data());
        }
    } else if (how == Corruption::noise) {
        static std::atomic<uint64_t> seed{ 1 };
        fill(output.bytes.data(), output.bytes.size(), seed++);
    }
}

// A device writes whole pages.
void write_rest_of_page(hailort::MemoryView &view)
{
    static const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    std::memset(view.data() + view.size(), 0, (page - view.size() % page) % page);
}

} // namespace

bool infer(const Queue &queue, const Control &control, const std::vector<Frame> &frames)
{
    Native input(queue.hef->inputs[0], frames.size());
    Native output(queue.hef->outputs[0], frames.size());
    for (size_t frame = 0; frame < frames.size(); frame++) {
        input.from_host(frame, frames[frame].input.data(), queue.input_type);
    }
    if (queue.network && !control.timed) {
        if (!run_network(*queue.network, frames.size(), input, output)) {
            return false;
        }
    } else {
        for (size_t frame = 0; frame < frames.size(); frame++) {
            fill(output.narrow(frame), output.frame_size(), hash(input.narrow(frame), input.frame_size()));
        }
    }
    corrupt(output, frames.size(), control.corruption);
    for (size_t frame = 0; frame < frames.size(); frame++) {
        auto view = frames[frame].output;
        output.to_host(frame, view.data(), queue.output_type);
        write_rest_of_page(view);
    }
    return true;
}

} // namespace sim
