// InferModel over a HEF.
#pragma once

#include "scheduler.hpp"

namespace sim {

hailort::Expected<std::shared_ptr<hailort::InferModel>> create_infer_model(
    const std::shared_ptr<Scheduler> &scheduler, uint32_t devices, const std::string &hef_path);

} // namespace sim
