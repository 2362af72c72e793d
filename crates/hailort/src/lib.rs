//! Safe handles over HailoRT: [`Library`] → [`VDevice`] → [`Model`] → [`Job`].
//!
//! Each handle keeps what it came from alive. Dropping one closes it and logs a failure; `close()`
//! reports it. Inference is asynchronous: a [`Job`] owns its buffers until the device is done with
//! them, and one that is given up leaves them to the device.
//!
//! C's callback gets a number and never a pointer, so one that comes late, twice, on a foreign thread
//! or never can do no harm; `make loom` (`RUSTFLAGS="--cfg loom" cargo test -p hailort --lib
//! --target-dir target/loom`) goes through the interleavings of callbacks and waiters.
//!
//! Deliberately not here: what the numbers in the buffers mean.
#![warn(missing_docs, unreachable_pub)]

mod buffer;
mod calls;
#[cfg(all(test, not(loom)))]
mod fake;
mod handover;
mod library;
mod model;
mod status;
mod sync;
#[cfg(all(test, not(loom)))]
mod tests;
mod vdevice;

pub use buffer::{Frame, Number, buffers};
pub use calls::{abandoned, under_way};
pub use hailort_sys::LoadError;
pub use library::{Architecture, DeviceId, Identity, Library, OpenError, Version};
pub use model::{Format, Job, JobError, Model, ModelOptions, Stream};
pub use status::{Error, Status};
pub use vdevice::{Health, VDevice, VDeviceParams};

// What holds a handle may be used from any thread: the shim locks inside, and a buffer has one owner.
const _: () = {
    const fn send_and_sync<T: Send + Sync>() {}
    send_and_sync::<Library>();
    send_and_sync::<VDevice>();
    send_and_sync::<Model>();
    send_and_sync::<Frame>();
    send_and_sync::<Job>();
};
