//! The C interface of `shim/hailort_shim.h`, loaded at run time.
//!
//! Types and functions as the header declares them; it says what they do. Nothing links to HailoRT, so
//! a program starts without it. Deliberately not here: any safety; the crate `hailort` adds that.
#![warn(missing_docs, unreachable_pub)]

#[cfg(test)]
mod header;
mod load;
mod types;

pub use load::{Api, LoadError};
pub use types::*;
