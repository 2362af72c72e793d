//! Runs the network of a simulated HEF on the CPU, for C.
//!
//! Part of the simulated HailoRT, and of no program that is installed.
#![warn(missing_docs, unreachable_pub)]

use std::{
    ffi::{c_char, c_int},
    panic::{AssertUnwindSafe, catch_unwind},
    slice,
};

use rten::{Model, ModelOptions, ValueView};
use rten_tensor::prelude::*;

/// A loaded network, with one input and one output.
#[derive(Debug)]
pub struct Network(Model);

/// Loads an ONNX network; null if that fails, and `error` says why.
///
/// # Safety
/// `onnx` points to `size` bytes, and `error` to `error_size` writable ones.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hailo_sim_network_open(
    onnx: *const u8,
    size: usize,
    error: *mut c_char,
    error_size: usize,
) -> *mut Network {
    // SAFETY: the caller's promise.
    let bytes = unsafe { slice::from_raw_parts(onnx, size) }.to_vec();
    let loaded = guarded(|| ModelOptions::with_all_ops().load(bytes).map_err(|error| error.to_string()));
    match loaded {
        Ok(model) => Box::into_raw(Box::new(Network(model))),
        Err(message) => {
            // SAFETY: the caller's promise.
            unsafe { say(error, error_size, &message) };
            std::ptr::null_mut()
        }
    }
}

/// Runs a network; 0 if `output` was filled, else `error` says why not. Threads may share a network.
///
/// # Safety
/// `network` is open; `shape` points to `rank` lengths, `input` to as many numbers as their product,
/// `output` to `output_length` writable numbers, and `error` to `error_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hailo_sim_network_run(
    network: *const Network,
    input: *const f32,
    shape: *const u64,
    rank: u32,
    output: *mut f32,
    output_length: usize,
    error: *mut c_char,
    error_size: usize,
) -> c_int {
    // SAFETY: the caller's promise.
    let (network, shape) = unsafe { (&*network, slice::from_raw_parts(shape, rank as usize)) };
    let shape: Vec<usize> =
        shape.iter().map(|&length| usize::try_from(length).unwrap_or(usize::MAX)).collect();
    // SAFETY: the caller's promise.
    let (input, output) = unsafe {
        (
            slice::from_raw_parts(input, shape.iter().product()),
            slice::from_raw_parts_mut(output, output_length),
        )
    };
    match guarded(|| network.run(input, &shape, output)) {
        Ok(()) => 0,
        Err(message) => {
            // SAFETY: the caller's promise.
            unsafe { say(error, error_size, &message) };
            1
        }
    }
}

/// Frees a network.
///
/// # Safety
/// `network` is open and not in use, or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hailo_sim_network_close(network: *mut Network) {
    if !network.is_null() {
        // SAFETY: made by `hailo_sim_network_open`, and given up by the caller.
        drop(unsafe { Box::from_raw(network) });
    }
}

impl Network {
    fn run(&self, input: &[f32], shape: &[usize], output: &mut [f32]) -> Result<(), String> {
        let view = ValueView::from_shape(shape, input).map_err(|error| error.to_string())?;
        let value = self.0.run_one(view.into(), None).map_err(|error| error.to_string())?;
        let values = value.into_tensor::<f32>().ok_or("the output is not of floats")?.to_vec();
        if values.len() != output.len() {
            return Err(format!("the network gives {} numbers instead of {}", values.len(), output.len()));
        }
        output.copy_from_slice(&values);
        Ok(())
    }
}

/// Nothing may unwind into C.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err("the network's runtime panicked".to_owned()))
}

/// Writes a text that ends with a NUL, cut to the size.
///
/// # Safety
/// `to` points to `size` writable bytes.
unsafe fn say(to: *mut c_char, size: usize, text: &str) {
    let Some(room) = size.checked_sub(1) else { return };
    // SAFETY: the caller's promise; a byte and a `c_char` are of one size.
    let to = unsafe { slice::from_raw_parts_mut(to.cast::<u8>(), size) };
    let length = room.min(text.len());
    to[..length].copy_from_slice(&text.as_bytes()[..length]);
    to[length] = 0;
}
