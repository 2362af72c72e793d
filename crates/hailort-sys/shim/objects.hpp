// What handles stand for: a vdevice, and a model on it.
#ifndef HAILORT_SHIM_OBJECTS_HPP
#define HAILORT_SHIM_OBJECTS_HPP

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

// HailoRT's headers do not say of which version they are: whoever compiles this does, as HailoRT's own
// CMake target does.
#if !defined(HAILORT_MAJOR_VERSION) || !defined(HAILORT_MINOR_VERSION) || !defined(HAILORT_REVISION_VERSION)
#error "compile with -DHAILORT_MAJOR_VERSION=... -DHAILORT_MINOR_VERSION=... -DHAILORT_REVISION_VERSION=..."
#endif

#include <hailo/hailort.hpp>

#include "batch.hpp"
#include "registry.hpp"

namespace shim {

// A model's HailoRT objects, in the order in which they must be built.
struct Network {
    std::shared_ptr<hailort::InferModel> infer_model;
    std::optional<hailort::ConfiguredInferModel> configured;
};

class VDevice : public Object {
public:
    explicit VDevice(std::shared_ptr<hailort::VDevice> vdevice) : vdevice(std::move(vdevice)) {}

    ~VDevice() override
    {
        vdevice.reset();
        parked.clear();
    }

    hailort::VDevice &get() { return *vdevice; }

    // Keeps a network until the vdevice is gone.
    void park(std::unique_ptr<Network> network)
    {
        const std::lock_guard<std::mutex> lock(mutex);
        parked.push_back(std::move(network));
    }

    // A device that does not tell whether it is throttled is asked once: each refusal is an error in
    // HailoRT's log.
    bool tells_health(uint32_t index)
    {
        const std::lock_guard<std::mutex> lock(mutex);
        return silent.count(index) == 0;
    }

    void remember_silence(uint32_t index)
    {
        const std::lock_guard<std::mutex> lock(mutex);
        silent.insert(index);
    }

private:
    std::shared_ptr<hailort::VDevice> vdevice;
    std::mutex mutex;
    std::vector<std::unique_ptr<Network>> parked;
    std::set<uint32_t> silent;
};

class Model : public Object {
public:
    Model(std::shared_ptr<VDevice> vdevice, std::shared_ptr<hailort::InferModel> infer_model) :
        inputs(infer_model->get_input_names()), outputs(infer_model->get_output_names()),
        in_flight(std::make_shared<InFlight>()), vdevice(std::move(vdevice)), network(new Network)
    {
        network->infer_model = std::move(infer_model);
    }

    // Closing has shut the network down.
    //
    // On a Hailo-10H, HailoRT 5 keeps a pointer to the configured model for each frame, and uses it at the
    // latest when the connection to the device ends, with the vdevice. So where frames are still out, the
    // device does not answer, and the network must outlive the vdevice. HailoRT 4 waits for its frames
    // itself, and needs the vdevice to take a network down.
    ~Model() override
    {
        if (HAILORT_MAJOR_VERSION >= 5 && !in_flight->wait_for_none(std::chrono::milliseconds(1000))) {
            vdevice->park(std::move(network));
        }
    }

    // Calls that set the model up take turns. Those on a configured model do not: HailoRT lets waiting,
    // submitting and shutting down meet.
    std::unique_lock<std::mutex> set_up() { return std::unique_lock<std::mutex>(mutex); }

    // Only while set_up() is held.
    hailort::InferModel &infer_model() { return *network->infer_model; }

    bool is_configured() const { return network->configured.has_value(); }

    // Only while set_up() is held.
    void become(hailort::ConfiguredInferModel configured) { network->configured.emplace(std::move(configured)); }

    // Null before the model is configured; afterwards it stays.
    hailort::ConfiguredInferModel *configured()
    {
        const auto lock = set_up();
        return network->configured ? &*network->configured : nullptr;
    }

    const std::vector<std::string> inputs;
    const std::vector<std::string> outputs;
    // Of the inputs, then of the outputs; set by configuring.
    std::vector<size_t> frame_sizes;
    const std::shared_ptr<InFlight> in_flight;
    // Submissions take turns.
    std::mutex submitting;

private:
    const std::shared_ptr<VDevice> vdevice;
    std::mutex mutex;
    std::unique_ptr<Network> network;
};

} // namespace shim

#endif
