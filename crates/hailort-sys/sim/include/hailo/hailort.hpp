/*
 * The part of HailoRT's C++ interface that the shim needs, for the simulated library: same names,
 * signatures and behaviour, other words.
 */
#ifndef HAILORT_SIM_HAILORT_HPP
#define HAILORT_SIM_HAILORT_HPP

#include <cassert>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "hailo/hailort.h"

namespace hailort {

class Unexpected final {
public:
    explicit Unexpected(hailo_status status) : m_status(status) {}
    operator hailo_status() { return m_status; }

    hailo_status m_status;
};

inline Unexpected make_unexpected(hailo_status status)
{
    return Unexpected(status);
}

// A value, or the status that says why there is none.
template <typename T> class Expected final {
public:
    Expected(Unexpected unexpected) : m_status(unexpected.m_status) { assert(m_status != HAILO_SUCCESS); }
    Expected(T &&value) : m_value(std::move(value)), m_status(HAILO_SUCCESS) {}
    Expected(hailo_status status) = delete;
    explicit Expected(const Expected &other) : m_status(other.m_status)
    {
        if (other) {
            new (&m_value) T(other.m_value);
        }
    }
    Expected(Expected &&other) : m_status(other.m_status)
    {
        if (other) {
            new (&m_value) T(std::move(other.m_value));
        }
    }
    template <typename... Args, std::enable_if_t<std::is_constructible<T, Args...>::value, int> = 0>
    explicit Expected(Args &&...args) : m_value(std::forward<Args>(args)...), m_status(HAILO_SUCCESS)
    {
    }
    Expected &operator=(const Expected &) = delete;
    Expected &operator=(Expected &&) = delete;
    ~Expected()
    {
        if (has_value()) {
            m_value.~T();
        }
    }

    bool has_value() const { return m_status == HAILO_SUCCESS; }
    explicit operator bool() const { return has_value(); }
    hailo_status status() const { return m_status; }

    T &value() &
    {
        assert(has_value());
        return m_value;
    }
    const T &value() const &
    {
        assert(has_value());
        return m_value;
    }
    T &operator*() & { return value(); }
    const T &operator*() const & { return value(); }
    T *operator->() { return &value(); }
    const T *operator->() const { return &value(); }

    // Moves the value out.
    T release()
    {
        assert(has_value());
        T value = std::move(m_value);
        m_value.~T();
        m_status = HAILO_UNINITIALIZED;
        return value;
    }

private:
    union {
        T m_value;
    };
    hailo_status m_status;
};

class HAILORTAPI MemoryView final {
public:
    MemoryView() noexcept = default;
    MemoryView(void *data, size_t size) noexcept : m_data(data), m_size(size) {}

    uint8_t *data() noexcept { return static_cast<uint8_t *>(m_data); }
    const uint8_t *data() const noexcept { return static_cast<const uint8_t *>(m_data); }
    size_t size() const noexcept { return m_size; }
    bool empty() const noexcept { return m_size == 0; }

private:
    void *m_data = nullptr;
    size_t m_size = 0;
};

class HAILORTAPI Device {
public:
    static Expected<std::vector<std::string>> scan();
    static Expected<std::unique_ptr<Device>> create(const std::string &device_id);

    virtual ~Device() = default;
    Device(const Device &) = delete;
    Device &operator=(const Device &) = delete;

    virtual Expected<hailo_device_identity_t> identify();
    virtual Expected<hailo_chip_temperature_info_t> get_chip_temperature();
    Expected<hailo_health_info_t> get_health_information();
    virtual const char *get_dev_id() const = 0;

protected:
    Device() = default;
};

class InferModel;

class HAILORTAPI VDevice {
public:
    static Expected<std::unique_ptr<VDevice>> create(const hailo_vdevice_params_t &params);
    static Expected<std::shared_ptr<VDevice>> create_shared(const hailo_vdevice_params_t &params);

    virtual ~VDevice() = default;
    VDevice(const VDevice &) = delete;
    VDevice &operator=(const VDevice &) = delete;

    virtual Expected<std::shared_ptr<InferModel>> create_infer_model(
        const std::string &hef_path, const std::string &name = "") = 0;
    virtual Expected<std::vector<std::reference_wrapper<Device>>> get_physical_devices() const = 0;
    virtual Expected<std::vector<std::string>> get_physical_devices_ids() const = 0;

protected:
    VDevice() = default;
};

class AsyncInferJobBase;
class ConfiguredInferModelBase;

// An inference under way. Unless detached, its end waits until the callback is over.
class HAILORTAPI AsyncInferJob {
public:
    AsyncInferJob() = default;
    virtual ~AsyncInferJob();
    AsyncInferJob(const AsyncInferJob &) = delete;
    AsyncInferJob &operator=(const AsyncInferJob &) = delete;
    AsyncInferJob(AsyncInferJob &&other);
    AsyncInferJob &operator=(AsyncInferJob &&other);

    hailo_status wait(std::chrono::milliseconds timeout);
    void detach();

private:
    friend class ConfiguredInferModel;
    friend class ConfiguredInferModelBase;
    explicit AsyncInferJob(std::shared_ptr<AsyncInferJobBase> pimpl);

    std::shared_ptr<AsyncInferJobBase> m_pimpl;
    bool m_should_wait_in_dtor = false;
};

struct HAILORTAPI AsyncInferCompletionInfo {
    AsyncInferCompletionInfo(hailo_status _status) : status(_status) {}

    hailo_status status;
};

static const auto ASYNC_INFER_EMPTY_CALLBACK = [](const AsyncInferCompletionInfo &) {};

class HAILORTAPI ConfiguredInferModel {
public:
    ConfiguredInferModel() = default;

    // The buffers of one frame.
    class HAILORTAPI Bindings {
    public:
        Bindings() = default;
        Bindings(const Bindings &other);
        Bindings &operator=(const Bindings &other);

        class HAILORTAPI InferStream {
        public:
            // Of the frame's size; page-aligned, and allocated in whole pages.
            hailo_status set_buffer(MemoryView view);
            Expected<MemoryView> get_buffer() const;

        private:
            friend class Bindings;
            friend class ConfiguredInferModelBase;
            class Impl;
            explicit InferStream(std::shared_ptr<Impl> pimpl);

            std::shared_ptr<Impl> m_pimpl;
        };

        // These share the buffer with the bindings.
        Expected<InferStream> input();
        Expected<InferStream> output();
        Expected<InferStream> input(const std::string &name);
        Expected<InferStream> output(const std::string &name);

    private:
        friend class ConfiguredInferModelBase;

        std::unordered_map<std::string, InferStream> m_inputs;
        std::unordered_map<std::string, InferStream> m_outputs;
    };

    Expected<Bindings> create_bindings();

    // HAILO_TIMEOUT if so many more frames do not fit in time.
    hailo_status wait_for_async_ready(std::chrono::milliseconds timeout, uint32_t frames_count = 1);

    // If these fail, the model is shut down.
    Expected<AsyncInferJob> run_async(const Bindings &bindings,
        std::function<void(const AsyncInferCompletionInfo &)> callback = ASYNC_INFER_EMPTY_CALLBACK);
    Expected<AsyncInferJob> run_async(const std::vector<Bindings> &bindings,
        std::function<void(const AsyncInferCompletionInfo &)> callback = ASYNC_INFER_EMPTY_CALLBACK);

    Expected<size_t> get_async_queue_size() const;

    // Aborts what is under way; the model does not infer any more.
    hailo_status shutdown();

private:
    friend class ConfiguredInferModelBase;
    explicit ConfiguredInferModel(std::shared_ptr<ConfiguredInferModelBase> pimpl);

    std::shared_ptr<ConfiguredInferModelBase> m_pimpl;
};

// A network of a HEF, before it is put on the vdevice; it does not keep the vdevice alive.
class HAILORTAPI InferModel {
public:
    virtual ~InferModel() = default;

    class HAILORTAPI InferStream {
    public:
        const std::string name() const;
        hailo_3d_image_shape_t shape() const;
        // On the host's side.
        hailo_format_t format() const;
        size_t get_frame_size() const;
        void set_format_type(hailo_format_type_t type);
        std::vector<hailo_quant_info_t> get_quant_infos() const;

        class Impl;
        explicit InferStream(std::shared_ptr<Impl> pimpl);

    private:
        friend class ConfiguredInferModelBase;

        std::shared_ptr<Impl> m_pimpl;
    };

    virtual void set_batch_size(uint16_t batch_size) = 0;
    virtual Expected<ConfiguredInferModel> configure() = 0;
    virtual Expected<InferStream> input() = 0;
    virtual Expected<InferStream> output() = 0;
    virtual Expected<InferStream> input(const std::string &name) = 0;
    virtual Expected<InferStream> output(const std::string &name) = 0;
    virtual const std::vector<InferStream> &inputs() const = 0;
    virtual const std::vector<InferStream> &outputs() const = 0;
    virtual const std::vector<std::string> &get_input_names() const = 0;
    virtual const std::vector<std::string> &get_output_names() const = 0;
};

} // namespace hailort

#endif
