//! The checks, one function each, and what the guide says of them.

mod configuration;
mod device;
mod installation;
mod journal;
mod leftovers;
mod memory;
mod model;
mod network;
mod processor;
mod requests;
mod service;
mod versions;

use super::finding::Check;

/// All checks, in the order in which faults follow from one another: what is told first may explain the rest.
pub(super) const ALL: &[Check] = &[
    installation::UNITS,
    installation::FILES,
    leftovers::LEFTOVERS,
    installation::BUS,
    configuration::FILE,
    configuration::KEYS,
    device::NODE,
    device::ACCESS,
    device::HOLDER,
    versions::SHIM,
    versions::VERSIONS,
    model::FILES,
    service::RUNNING,
    service::CRASHES,
    service::START_TIMEOUT,
    service::INSTANCES,
    service::ANSWERS,
    service::BACKEND,
    configuration::IN_FORCE,
    network::PORT,
    network::LISTENING,
    network::PORT_IN_FORCE,
    network::ADDRESSES,
    memory::LIMIT,
    memory::PRESSURE,
    memory::DISK,
    processor::QUOTA,
    processor::HEAT,
    processor::VOLTAGE,
    requests::WARM_UP,
    requests::QUEUE,
    requests::TIMEOUTS,
    requests::REJECTED,
    requests::LIMITS,
    requests::SCORES,
    journal::ERRORS,
];

#[cfg(test)]
mod tests;
