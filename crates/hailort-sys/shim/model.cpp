// Models, and inference on them.
#include <unistd.h>

#include "calls.hpp"

using shim::Batch;
using shim::copy_text;
using shim::guarded;
using shim::Model;
using shim::registry;
using shim::VDevice;
using shim::with;

namespace {

// Runs the body of a function on a configured model.
template <typename Body> int32_t with_configured(hailort_shim_handle handle, Body body) noexcept
{
    return with<Model>(handle, [&](Model &model) -> int32_t {
        auto *const configured = model.configured();
        return configured ? body(model, *configured) : HAILORT_SHIM_INVALID_ARGUMENT;
    });
}

const std::vector<hailort::InferModel::InferStream> *streams(hailort::InferModel &model, int32_t direction)
{
    switch (direction) {
    case HAILORT_SHIM_INPUT:
        return &model.inputs();
    case HAILORT_SHIM_OUTPUT:
        return &model.outputs();
    default:
        return nullptr;
    }
}

int32_t describe(const hailort::InferModel::InferStream &stream, hailort_shim_stream *out)
{
    hailort_shim_stream result = {};
    if (!copy_text(result.name, stream.name())) {
        return HAILORT_SHIM_INVALID_ARGUMENT;
    }
    const auto shape = stream.shape();
    const auto format = stream.format();
    const auto quantization = stream.get_quant_infos();
    result.height = shape.height;
    result.width = shape.width;
    result.channels = shape.features;
    result.format_type = format.type;
    result.format_order = format.order;
    result.quantization_count = static_cast<uint32_t>(quantization.size());
    result.scale = quantization.empty() ? 1.0f : quantization[0].qp_scale;
    result.zero_point = quantization.empty() ? 0.0f : quantization[0].qp_zp;
    result.frame_size = stream.get_frame_size();
    *out = result;
    return HAILO_SUCCESS;
}

int32_t bind(hailort::ConfiguredInferModel::Bindings &bindings, const Model &model, const hailort_shim_buffer *buffers)
{
    const auto set = [](hailort::Expected<hailort::ConfiguredInferModel::Bindings::InferStream> stream,
                         const hailort_shim_buffer &buffer) -> int32_t {
        return stream ? stream->set_buffer(hailort::MemoryView(buffer.data, buffer.size)) : stream.status();
    };
    for (const auto &name : model.inputs) {
        if (const auto status = set(bindings.input(name), *buffers++)) {
            return status;
        }
    }
    for (const auto &name : model.outputs) {
        if (const auto status = set(bindings.output(name), *buffers++)) {
            return status;
        }
    }
    return HAILO_SUCCESS;
}

int32_t start(hailort::ConfiguredInferModel &configured, const hailort::ConfiguredInferModel::Bindings &bindings,
    const std::shared_ptr<Batch> &batch, size_t frame) noexcept
{
    return guarded([&]() -> int32_t {
        auto job = configured.run_async(bindings, [batch, frame](const hailort::AsyncInferCompletionInfo &info) noexcept {
            batch->complete(frame, info.status);
        });
        if (!job) {
            return job.status();
        }
        job->detach();
        return HAILO_SUCCESS;
    });
}

// HailoRT's run_async over several bindings is a loop like this one. But where it fails half-way, it does
// not say when the frames are over that it started before.
int32_t submit(Model &model, hailort::ConfiguredInferModel &configured, const hailort_shim_buffer *buffers,
    uint32_t frame_count, hailort_shim_callback callback, void *context)
{
    // A run_async that fails takes the model down; a queue that is full is no reason for that. The room must
    // not go to another thread meanwhile.
    const std::lock_guard<std::mutex> turn(model.submitting);
    const auto ready = configured.wait_for_async_ready(std::chrono::milliseconds(0), frame_count);
    if (ready != HAILO_SUCCESS) {
        return ready == HAILO_TIMEOUT ? HAILO_QUEUE_IS_FULL : ready;
    }
    std::vector<hailort::ConfiguredInferModel::Bindings> frames;
    frames.reserve(frame_count);
    for (uint32_t frame = 0; frame < frame_count; frame++) {
        auto bindings = configured.create_bindings();
        if (!bindings) {
            return bindings.status();
        }
        frames.push_back(bindings.release());
        if (const auto status = bind(frames.back(), model, buffers + frame * model.frame_sizes.size())) {
            return status;
        }
    }
    const auto batch = std::make_shared<Batch>(callback, context, frame_count, model.in_flight);
    bool over = false;
    for (uint32_t frame = 0; frame < frame_count; frame++) {
        if (const auto status = start(configured, frames[frame], batch, frame)) {
            over = batch->refused(frame, status);
            break;
        }
        over = batch->started(frame);
    }
    return over ? batch->first_failure() : HAILO_SUCCESS;
}

bool is_page_aligned(const void *pointer)
{
    static const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    return reinterpret_cast<uintptr_t>(pointer) % page == 0;
}

bool are_frames(const Model &model, const hailort_shim_buffer *buffers, uint32_t buffer_count, uint32_t frame_count)
{
    const uint64_t streams = model.frame_sizes.size();
    if (frame_count == 0 || buffer_count != frame_count * streams) {
        return false;
    }
    for (uint32_t index = 0; index < buffer_count; index++) {
        const auto &buffer = buffers[index];
        if (!buffer.data || !is_page_aligned(buffer.data) || buffer.size != model.frame_sizes[index % streams]) {
            return false;
        }
    }
    return true;
}

} // namespace

int32_t hailort_shim_model_open(hailort_shim_handle handle, const char *hef_path, hailort_shim_handle *model)
{
    return guarded([&]() -> int32_t {
        auto vdevice = registry().find<VDevice>(handle);
        if (!vdevice) {
            return HAILORT_SHIM_INVALID_HANDLE;
        }
        if (!hef_path || !model) {
            return HAILORT_SHIM_INVALID_ARGUMENT;
        }
        auto infer_model = vdevice->get().create_infer_model(hef_path);
        if (!infer_model) {
            return infer_model.status();
        }
        *model = registry().add(std::make_shared<Model>(std::move(vdevice), infer_model.release()));
        return HAILO_SUCCESS;
    });
}

int32_t hailort_shim_model_stream_count(hailort_shim_handle handle, int32_t direction, uint32_t *count)
{
    return with<Model>(handle, [&](Model &model) -> int32_t {
        const auto lock = model.set_up();
        const auto *const found = streams(model.infer_model(), direction);
        if (!found || !count) {
            return HAILORT_SHIM_INVALID_ARGUMENT;
        }
        *count = static_cast<uint32_t>(found->size());
        return HAILO_SUCCESS;
    });
}

int32_t hailort_shim_model_stream(
    hailort_shim_handle handle, int32_t direction, uint32_t index, hailort_shim_stream *stream)
{
    return with<Model>(handle, [&](Model &model) -> int32_t {
        const auto lock = model.set_up();
        const auto *const found = streams(model.infer_model(), direction);
        if (!found || !stream || index >= found->size()) {
            return HAILORT_SHIM_INVALID_ARGUMENT;
        }
        return describe((*found)[index], stream);
    });
}

int32_t hailort_shim_model_set_batch_size(hailort_shim_handle handle, uint16_t batch_size)
{
    return with<Model>(handle, [&](Model &model) -> int32_t {
        const auto lock = model.set_up();
        if (model.is_configured()) {
            return HAILORT_SHIM_INVALID_ARGUMENT;
        }
        model.infer_model().set_batch_size(batch_size);
        return HAILO_SUCCESS;
    });
}

int32_t hailort_shim_model_set_format(
    hailort_shim_handle handle, int32_t direction, uint32_t index, int32_t format_type)
{
    return with<Model>(handle, [&](Model &model) -> int32_t {
        const auto lock = model.set_up();
        const auto *const found = streams(model.infer_model(), direction);
        if (model.is_configured() || !found || index >= found->size() || format_type < HAILORT_SHIM_FORMAT_AUTO
            || format_type > HAILORT_SHIM_FORMAT_FLOAT32) {
            return HAILORT_SHIM_INVALID_ARGUMENT;
        }
        // The list is constant, the stream that a copy of its element stands for is not.
        auto stream = (*found)[index];
        stream.set_format_type(static_cast<hailo_format_type_t>(format_type));
        return HAILO_SUCCESS;
    });
}

int32_t hailort_shim_model_configure(hailort_shim_handle handle)
{
    return with<Model>(handle, [&](Model &model) -> int32_t {
        const auto lock = model.set_up();
        if (model.is_configured()) {
            return HAILORT_SHIM_INVALID_ARGUMENT;
        }
        std::vector<size_t> frame_sizes;
        for (const auto direction : { HAILORT_SHIM_INPUT, HAILORT_SHIM_OUTPUT }) {
            for (const auto &stream : *streams(model.infer_model(), direction)) {
                frame_sizes.push_back(stream.get_frame_size());
            }
        }
        auto configured = model.infer_model().configure();
        if (!configured) {
            return configured.status();
        }
        model.frame_sizes = std::move(frame_sizes);
        model.become(configured.release());
        return HAILO_SUCCESS;
    });
}

int32_t hailort_shim_model_queue_size(hailort_shim_handle handle, uint32_t *frames)
{
    return with_configured(handle, [&](Model &, hailort::ConfiguredInferModel &configured) -> int32_t {
        if (!frames) {
            return HAILORT_SHIM_INVALID_ARGUMENT;
        }
        const auto size = configured.get_async_queue_size();
        if (!size) {
            return size.status();
        }
        *frames = static_cast<uint32_t>(size.value());
        return HAILO_SUCCESS;
    });
}

int32_t hailort_shim_model_wait_ready(hailort_shim_handle handle, uint32_t frames, uint32_t timeout_ms)
{
    return with_configured(handle, [&](Model &, hailort::ConfiguredInferModel &configured) -> int32_t {
        return configured.wait_for_async_ready(std::chrono::milliseconds(timeout_ms), frames);
    });
}

int32_t hailort_shim_model_submit(hailort_shim_handle handle, const hailort_shim_buffer *buffers, uint32_t buffer_count,
    uint32_t frame_count, hailort_shim_callback callback, void *context)
{
    return with_configured(handle, [&](Model &model, hailort::ConfiguredInferModel &configured) -> int32_t {
        if (!buffers || !callback || !are_frames(model, buffers, buffer_count, frame_count)) {
            return HAILORT_SHIM_INVALID_ARGUMENT;
        }
        return submit(model, configured, buffers, frame_count, callback, context);
    });
}

int32_t hailort_shim_model_shutdown(hailort_shim_handle handle)
{
    return with_configured(handle, [&](Model &, hailort::ConfiguredInferModel &configured) -> int32_t {
        return configured.shutdown();
    });
}

int32_t hailort_shim_model_close(hailort_shim_handle handle)
{
    return guarded([&]() -> int32_t {
        const auto model = registry().take<Model>(handle);
        if (!model) {
            return HAILORT_SHIM_INVALID_HANDLE;
        }
        // Calls on other threads return, and the last of them lets go of the model.
        auto *const configured = model->configured();
        return configured ? configured->shutdown() : HAILO_SUCCESS;
    });
}
