#include "infer_model.hpp"

#include <unistd.h>

namespace hailort {

using sim::control;
using sim::Counted;
using sim::Counter;
using sim::Frame;
using sim::Hef;
using sim::Network;
using sim::Queue;
using sim::Scheduler;
using sim::Stream;

class InferModel::InferStream::Impl {
public:
    explicit Impl(const Stream &stream) : stream(stream), type(stream.format.type) {}

    const Stream stream;
    // On the host's side.
    hailo_format_type_t type;

    size_t frame_size() const
    {
        const size_t width = type == HAILO_FORMAT_TYPE_FLOAT32 ? 4 : type == HAILO_FORMAT_TYPE_UINT16 ? 2 : 1;
        return stream.elements() * width;
    }
};

InferModel::InferStream::InferStream(std::shared_ptr<Impl> pimpl) : m_pimpl(std::move(pimpl)) {}

const std::string InferModel::InferStream::name() const
{
    return m_pimpl->stream.name;
}

hailo_3d_image_shape_t InferModel::InferStream::shape() const
{
    return m_pimpl->stream.shape;
}

hailo_format_t InferModel::InferStream::format() const
{
    return { m_pimpl->type, m_pimpl->stream.format.order, m_pimpl->stream.format.flags };
}

size_t InferModel::InferStream::get_frame_size() const
{
    return m_pimpl->frame_size();
}

void InferModel::InferStream::set_format_type(hailo_format_type_t type)
{
    m_pimpl->type = type;
}

std::vector<hailo_quant_info_t> InferModel::InferStream::get_quant_infos() const
{
    return { m_pimpl->stream.quantization };
}

class ConfiguredInferModel::Bindings::InferStream::Impl {
public:
    MemoryView view;
};

ConfiguredInferModel::Bindings::InferStream::InferStream(std::shared_ptr<Impl> pimpl) : m_pimpl(std::move(pimpl)) {}

hailo_status ConfiguredInferModel::Bindings::InferStream::set_buffer(MemoryView view)
{
    m_pimpl->view = view;
    return HAILO_SUCCESS;
}

Expected<MemoryView> ConfiguredInferModel::Bindings::InferStream::get_buffer() const
{
    if (m_pimpl->view.data() == nullptr) {
        return make_unexpected(HAILO_INVALID_OPERATION);
    }
    return MemoryView(m_pimpl->view);
}

ConfiguredInferModel::Bindings::Bindings(const Bindings &other)
{
    *this = other;
}

ConfiguredInferModel::Bindings &ConfiguredInferModel::Bindings::operator=(const Bindings &other)
{
    const auto copy = [](const auto &from, auto &to) {
        for (const auto &[name, stream] : from) {
            to.emplace(name, InferStream(std::make_shared<InferStream::Impl>(*stream.m_pimpl)));
        }
    };
    copy(other.m_inputs, m_inputs);
    copy(other.m_outputs, m_outputs);
    return *this;
}

namespace {

template <typename Streams> auto find(const Streams &streams, const std::string &name)
    -> Expected<typename Streams::mapped_type>
{
    const auto found = streams.find(name);
    if (found == streams.end()) {
        return make_unexpected(HAILO_NOT_FOUND);
    }
    return typename Streams::mapped_type(found->second);
}

template <typename Streams> auto only(const Streams &streams) -> Expected<typename Streams::mapped_type>
{
    if (streams.size() != 1) {
        return make_unexpected(HAILO_INVALID_OPERATION);
    }
    return typename Streams::mapped_type(streams.begin()->second);
}

} // namespace

Expected<ConfiguredInferModel::Bindings::InferStream> ConfiguredInferModel::Bindings::input()
{
    return only(m_inputs);
}

Expected<ConfiguredInferModel::Bindings::InferStream> ConfiguredInferModel::Bindings::output()
{
    return only(m_outputs);
}

Expected<ConfiguredInferModel::Bindings::InferStream> ConfiguredInferModel::Bindings::input(const std::string &name)
{
    return find(m_inputs, name);
}

Expected<ConfiguredInferModel::Bindings::InferStream> ConfiguredInferModel::Bindings::output(const std::string &name)
{
    return find(m_outputs, name);
}

class AsyncInferJobBase {
public:
    explicit AsyncInferJobBase(size_t frames) : remaining(frames) {}

    // Whether it was the last frame.
    bool end_frame(hailo_status ended_with)
    {
        const std::lock_guard<std::mutex> lock(mutex);
        if (ended_with != HAILO_SUCCESS) {
            status = ended_with;
        }
        return --remaining == 0;
    }

    void end()
    {
        {
            const std::lock_guard<std::mutex> lock(mutex);
            over = true;
        }
        changed.notify_all();
    }

    hailo_status wait(std::chrono::milliseconds timeout)
    {
        std::unique_lock<std::mutex> lock(mutex);
        return changed.wait_for(lock, timeout, [this] { return over; }) ? HAILO_SUCCESS : HAILO_TIMEOUT;
    }

    hailo_status status = HAILO_SUCCESS;

private:
    std::mutex mutex;
    std::condition_variable changed;
    size_t remaining;
    bool over = false;
};

AsyncInferJob::AsyncInferJob(std::shared_ptr<AsyncInferJobBase> pimpl) :
    m_pimpl(std::move(pimpl)), m_should_wait_in_dtor(true)
{
}

AsyncInferJob::AsyncInferJob(AsyncInferJob &&other) :
    m_pimpl(std::move(other.m_pimpl)), m_should_wait_in_dtor(std::exchange(other.m_should_wait_in_dtor, false))
{
}

AsyncInferJob &AsyncInferJob::operator=(AsyncInferJob &&other)
{
    m_pimpl = std::move(other.m_pimpl);
    m_should_wait_in_dtor = std::exchange(other.m_should_wait_in_dtor, false);
    return *this;
}

AsyncInferJob::~AsyncInferJob()
{
    if (m_should_wait_in_dtor) {
        (void)wait(std::chrono::seconds(10));
    }
}

hailo_status AsyncInferJob::wait(std::chrono::milliseconds timeout)
{
    m_should_wait_in_dtor = false;
    return m_pimpl ? m_pimpl->wait(timeout) : HAILO_SUCCESS;
}

void AsyncInferJob::detach()
{
    m_should_wait_in_dtor = false;
}

class ConfiguredInferModelBase : Counted<Counter::configured_models> {
public:
    ConfiguredInferModelBase(std::weak_ptr<Scheduler> scheduler, std::shared_ptr<Queue> queue,
        const InferModel::InferStream &input, const InferModel::InferStream &output) :
        scheduler(std::move(scheduler)), queue(std::move(queue)), input_name(input.name()), output_name(output.name()),
        input_size(input.get_frame_size()), output_size(output.get_frame_size())
    {
        this->queue->alive = &alive;
    }

    ~ConfiguredInferModelBase()
    {
        (void)shutdown();
        if (const auto running = scheduler.lock()) {
            running->remove(queue);
        }
    }

    static ConfiguredInferModel wrap(std::shared_ptr<ConfiguredInferModelBase> base)
    {
        return ConfiguredInferModel(std::move(base));
    }

    Expected<ConfiguredInferModel::Bindings> create_bindings()
    {
        using InferStream = ConfiguredInferModel::Bindings::InferStream;
        if (const auto status = control()->before("create_bindings")) {
            return make_unexpected(status);
        }
        ConfiguredInferModel::Bindings bindings;
        bindings.m_inputs.emplace(input_name, InferStream(std::make_shared<InferStream::Impl>()));
        bindings.m_outputs.emplace(output_name, InferStream(std::make_shared<InferStream::Impl>()));
        return bindings;
    }

    hailo_status wait(std::chrono::milliseconds timeout, size_t frames)
    {
        if (const auto status = control()->before("wait")) {
            return status;
        }
        const auto running = watched();
        return running ? running->wait_for_room(*queue, timeout, frames) : HAILO_INTERNAL_FAILURE;
    }

    hailo_status start(const ConfiguredInferModel::Bindings &bindings, std::function<void(hailo_status)> done)
    {
        const auto now = control();
        // Like HailoRT, which may report a frame as failed and fail to start it, both.
        if (const auto status = now->before("run_twice")) {
            done(status);
            return status;
        }
        if (const auto status = now->before("run")) {
            return status;
        }
        if (const auto status = sim::next_run_status(*now)) {
            return status;
        }
        const auto input = bindings.m_inputs.at(input_name).get_buffer();
        const auto output = bindings.m_outputs.at(output_name).get_buffer();
        if (!input || !output) {
            return HAILO_NOT_FOUND;
        }
        if (input->size() != input_size || output->size() != output_size) {
            return HAILO_INVALID_OPERATION;
        }
        static const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
        if (reinterpret_cast<uintptr_t>(output->data()) % page != 0) {
            return HAILO_INVALID_ARGUMENT;
        }
        const auto running = watched();
        return running ? running->push(*queue, { *input, *output, std::move(done), {} }) : HAILO_INTERNAL_FAILURE;
    }

    hailo_status shutdown()
    {
        const auto now = control();
        if (const auto running = scheduler.lock()) {
            running->shut_down(*queue, now->shutdown_timeout);
        }
        return now->failing_calls.count("shutdown") > 0 ? now->failing_calls.at("shutdown") : HAILO_SUCCESS;
    }

    size_t capacity() const { return queue->capacity; }

private:
    // Notices at once that the device has vanished.
    std::shared_ptr<Scheduler> watched()
    {
        auto running = scheduler.lock();
        if (running && control()->vanished != HAILO_SUCCESS) {
            running->lose(control()->vanished);
        }
        return running;
    }

    const std::weak_ptr<Scheduler> scheduler;
    const std::shared_ptr<Queue> queue;
    const std::string input_name, output_name;
    const size_t input_size, output_size;
    const volatile int alive = 1;
};

ConfiguredInferModel::ConfiguredInferModel(std::shared_ptr<ConfiguredInferModelBase> pimpl) : m_pimpl(std::move(pimpl)) {}

Expected<ConfiguredInferModel::Bindings> ConfiguredInferModel::create_bindings()
{
    return m_pimpl->create_bindings();
}

hailo_status ConfiguredInferModel::wait_for_async_ready(std::chrono::milliseconds timeout, uint32_t frames_count)
{
    return m_pimpl->wait(timeout, frames_count);
}

Expected<AsyncInferJob> ConfiguredInferModel::run_async(
    const Bindings &bindings, std::function<void(const AsyncInferCompletionInfo &)> callback)
{
    return run_async(std::vector<Bindings>{ bindings }, std::move(callback));
}

Expected<AsyncInferJob> ConfiguredInferModel::run_async(
    const std::vector<Bindings> &bindings, std::function<void(const AsyncInferCompletionInfo &)> callback)
{
    const auto job = std::make_shared<AsyncInferJobBase>(bindings.size());
    const auto done = [job, callback](hailo_status status) {
        if (job->end_frame(status)) {
            callback(AsyncInferCompletionInfo(job->status));
            job->end();
        }
    };
    for (const auto &frame : bindings) {
        const auto status = m_pimpl->start(frame, done);
        if (status != HAILO_SUCCESS) {
            (void)shutdown();
            return make_unexpected(status);
        }
    }
    return AsyncInferJob(job);
}

Expected<size_t> ConfiguredInferModel::get_async_queue_size() const
{
    return m_pimpl->capacity();
}

hailo_status ConfiguredInferModel::shutdown()
{
    return m_pimpl->shutdown();
}

namespace {

bool is_hef_compatible(hailo_device_architecture_t device, hailo_device_architecture_t hef)
{
    return device == hef || (device == HAILO_ARCH_HAILO8 && hef == HAILO_ARCH_HAILO8L);
}

class HefModel : public InferModel, Counted<Counter::infer_models> {
public:
    HefModel(std::weak_ptr<Scheduler> scheduler, uint32_t devices, std::shared_ptr<const Hef> hef) :
        scheduler(std::move(scheduler)), devices(devices), hef(std::move(hef))
    {
        for (const auto &stream : this->hef->inputs) {
            input_streams.emplace_back(std::make_shared<InferStream::Impl>(stream));
            input_names.push_back(stream.name);
        }
        for (const auto &stream : this->hef->outputs) {
            output_streams.emplace_back(std::make_shared<InferStream::Impl>(stream));
            output_names.push_back(stream.name);
        }
    }

    void set_batch_size(uint16_t size) override { batch_size = size == HAILO_DEFAULT_BATCH_SIZE ? 1 : size; }

    Expected<ConfiguredInferModel> configure() override
    {
        const auto now = control();
        if (const auto status = now->before("configure")) {
            return make_unexpected(status);
        }
        const auto running = scheduler.lock();
        if (!running) {
            return make_unexpected(HAILO_INTERNAL_FAILURE);
        }
        if (now->vanished != HAILO_SUCCESS || running->lost() != HAILO_SUCCESS) {
            return make_unexpected(now->vanished != HAILO_SUCCESS ? now->vanished : running->lost());
        }
        if (!is_hef_compatible(now->architecture, hef->architecture)) {
            return make_unexpected(HAILO_HEF_NOT_COMPATIBLE_WITH_DEVICE);
        }
        const auto input_type = host_type(input_streams[0]);
        const auto output_type = host_type(output_streams[0]);
        // From wide to narrow integers HailoRT has no way.
        if ((input_type == HAILO_FORMAT_TYPE_UINT16 && hef->inputs[0].format.type == HAILO_FORMAT_TYPE_UINT8)
            || (output_type == HAILO_FORMAT_TYPE_UINT8 && hef->outputs[0].format.type == HAILO_FORMAT_TYPE_UINT16)) {
            return make_unexpected(HAILO_INVALID_OPERATION);
        }
        auto queue = std::make_shared<Queue>();
        queue->hef = hef;
        // Loading takes long, and a timed device never runs it. One that was timed when the model was
        // configured stays so.
        queue->network = now->timed ? nullptr : std::shared_ptr<const Network>(Network::load(hef));
        if (!now->timed && hef->network_size > 0 && !queue->network) {
            return make_unexpected(HAILO_INTERNAL_FAILURE);
        }
        queue->input_type = input_type;
        queue->output_type = output_type;
        queue->batch_size = batch_size;
        queue->capacity = now->queue_depth > 0 ? now->queue_depth : size_t(2) * batch_size * devices;
        if (queue->capacity < batch_size) {
            return make_unexpected(HAILO_INVALID_OPERATION);
        }
        auto base =
            std::make_shared<ConfiguredInferModelBase>(scheduler, queue, input_streams[0], output_streams[0]);
        running->add(queue);
        return ConfiguredInferModelBase::wrap(std::move(base));
    }

    Expected<InferStream> input() override { return InferStream(input_streams[0]); }
    Expected<InferStream> output() override { return InferStream(output_streams[0]); }
    Expected<InferStream> input(const std::string &name) override { return find(input_streams, name); }
    Expected<InferStream> output(const std::string &name) override { return find(output_streams, name); }
    const std::vector<InferStream> &inputs() const override { return input_streams; }
    const std::vector<InferStream> &outputs() const override { return output_streams; }
    const std::vector<std::string> &get_input_names() const override { return input_names; }
    const std::vector<std::string> &get_output_names() const override { return output_names; }

private:
    static hailo_format_type_t host_type(const InferStream &stream) { return stream.format().type; }

    static Expected<InferStream> find(const std::vector<InferStream> &streams, const std::string &name)
    {
        for (const auto &stream : streams) {
            if (stream.name() == name) {
                return InferStream(stream);
            }
        }
        return make_unexpected(HAILO_NOT_FOUND);
    }

    const std::weak_ptr<Scheduler> scheduler;
    const uint32_t devices;
    const std::shared_ptr<const Hef> hef;
    uint16_t batch_size = 1;
    std::vector<InferStream> input_streams, output_streams;
    std::vector<std::string> input_names, output_names;
};

} // namespace

} // namespace hailort

namespace sim {

hailort::Expected<std::shared_ptr<hailort::InferModel>> create_infer_model(
    const std::shared_ptr<Scheduler> &scheduler, uint32_t devices, const std::string &hef_path)
{
    const auto now = control();
    if (const auto status = now->before("create_infer_model")) {
        return hailort::make_unexpected(status);
    }
    auto hef = Hef::open(hef_path);
    if (!hef) {
        return hailort::make_unexpected(hef.status());
    }
    return std::shared_ptr<hailort::InferModel>(
        std::make_shared<hailort::HefModel>(scheduler, devices, hef.release()));
}

} // namespace sim
