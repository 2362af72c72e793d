//! The service on a simulated Hailo device: the real daemon, the real shim, and a HailoRT that does what
//! tests tell it.

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code, reason = "the tests of the service use more of it")]
#[path = "../service/http.rs"]
mod http;

mod agreement;
mod faults;
mod selection;
mod sharing;
mod support;
