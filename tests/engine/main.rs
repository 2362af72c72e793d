//! The engine with an encoder that tests can hold, fail and watch.

mod held;
mod life;
mod npu;
mod requests;
