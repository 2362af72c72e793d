// The network of a HEF, run by a library of ours that lies beside this one.
#pragma once

#include <memory>

#include "hef.hpp"

namespace sim {

class Network {
public:
    // Null if the HEF has none, or it cannot be loaded; the reason goes to standard error.
    static std::unique_ptr<Network> load(std::shared_ptr<const Hef> hef);
    ~Network();

    // Frames behind one another. False on failure.
    bool run(size_t frames, const float *input, float *output) const;

private:
    Network(std::shared_ptr<const Hef> hef, void *handle) : hef(std::move(hef)), handle(handle) {}

    std::shared_ptr<const Hef> hef;
    void *handle;
};

} // namespace sim
