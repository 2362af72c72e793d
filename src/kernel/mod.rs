//! What the kernel shows of the machine: NPUs, memory, processors, and which process has a file or a port.
//!
//! Read from `/sys` and `/proc`; what stands for these is passed in. Deliberately not here: what follows
//! from it, and what HailoRT says of a device.

pub(crate) mod memory;
pub(crate) mod npu;
pub(crate) mod port;
pub(crate) mod process;
mod processors;

pub(crate) use processors::{cores, keep_to, processors};
