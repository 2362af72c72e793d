// Notices at once when the control file makes the device vanish.
#pragma once

#include "scheduler.hpp"

namespace sim {

void watch(const std::shared_ptr<Scheduler> &scheduler);
void unwatch(const std::shared_ptr<Scheduler> &scheduler);

} // namespace sim
