//! Runs an ONNX network for the simulated HailoRT, behind three C functions.
//!
//! One float tensor in, one float tensor out; quantisation is the simulator's own. Errors are texts, since
//! only people who write tests read them.

use std::{
    ffi::c_char,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock},
};

use rten::{Model, NodeId, RunOptions, ThreadPool, Value};
use rten_tensor::{AsView, Layout, TensorView};

/// A loaded network.
pub struct Network {
    model: Model,
    input: NodeId,
    output: NodeId,
}

impl Network {
    fn load(bytes: Vec<u8>) -> Result<Self, String> {
        let model = Model::load(bytes).map_err(|error| error.to_string())?;
        match (model.input_ids(), model.output_ids()) {
            (&[input], &[output]) => Ok(Self { model, input, output }),
            _ => Err("the network does not have one input and one output".to_owned()),
        }
    }

    fn run(&self, input: TensorView<f32>, output: &mut [f32]) -> Result<(), String> {
        let options = RunOptions::default().with_thread_pool(Some(pool()));
        let values = self
            .model
            .run(vec![(self.input, input.into())], &[self.output], Some(options))
            .map_err(|error| error.to_string())?;
        let value = values.into_iter().next().ok_or("the network gave nothing")?;
        let Value::FloatTensor(tensor) = value else {
            return Err("the network did not give floats".to_owned());
        };
        let shape = format!("{:?}", tensor.shape());
        let data = tensor.to_vec();
        if data.len() != output.len() {
            return Err(format!("the network gave {shape}, but {} numbers were due", output.len()));
        }
        output.copy_from_slice(&data);
        Ok(())
    }
}

/// All networks share the threads, so that their number does not depend on what is loaded.
fn pool() -> Arc<ThreadPool> {
    static POOL: OnceLock<Arc<ThreadPool>> = OnceLock::new();
    Arc::clone(POOL.get_or_init(|| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Arc::new(ThreadPool::with_num_threads(cores.min(4)))
    }))
}

/// Loads an ONNX network. Null on failure, and `error` gets the reason, cut off to fit, with a NUL.
///
/// # Safety
/// `bytes` points to `size` bytes, `error` to `error_size` writable ones.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hailort_sim_network_load(
    bytes: *const u8,
    size: usize,
    error: *mut c_char,
    error_size: usize,
) -> *mut Network {
    // SAFETY: The caller vouches for the pointer and the length.
    let bytes = unsafe { std::slice::from_raw_parts(bytes, size) };
    match contained(|| Network::load(bytes.to_vec())) {
        Ok(network) => Box::into_raw(Box::new(network)),
        Err(message) => {
            // SAFETY: The caller vouches for the buffer.
            unsafe { report(&message, error, error_size) };
            std::ptr::null_mut()
        }
    }
}

/// Runs a network. Not 0 on failure, and `error` gets the reason as above.
///
/// # Safety
/// `network` comes from [`hailort_sim_network_load`] and is not freed yet; `input` points to as many floats as
/// the `rank` lengths at `shape` multiply to, `output` to `output_length` writable ones, `error` to
/// `error_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hailort_sim_network_run(
    network: *const Network,
    input: *const f32,
    shape: *const usize,
    rank: usize,
    output: *mut f32,
    output_length: usize,
    error: *mut c_char,
    error_size: usize,
) -> i32 {
    // SAFETY: The caller vouches for the pointers and lengths, and shares the network, which a run does not
    // change, with nobody who frees it.
    let (network, input, shape, output) = unsafe {
        let shape = std::slice::from_raw_parts(shape, rank);
        let input = std::slice::from_raw_parts(input, shape.iter().product());
        (&*network, input, shape, std::slice::from_raw_parts_mut(output, output_length))
    };
    match contained(|| network.run(TensorView::from_data(shape, input), output)) {
        Ok(()) => 0,
        Err(message) => {
            // SAFETY: The caller vouches for the buffer.
            unsafe { report(&message, error, error_size) };
            1
        }
    }
}

/// Frees a network; null is ignored.
///
/// # Safety
/// `network` comes from [`hailort_sim_network_load`], is freed once, and is not in use.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hailort_sim_network_free(network: *mut Network) {
    if !network.is_null() {
        // SAFETY: The caller vouches that the pointer is a box that was leaked by loading, and still ours.
        drop(unsafe { Box::from_raw(network) });
    }
}

/// A panic must not cross the interface.
fn contained<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err("the network's code panicked".to_owned()))
}

/// # Safety
/// `error` points to `size` writable bytes.
unsafe fn report(message: &str, error: *mut c_char, size: usize) {
    if size > 0 {
        let length = message.len().min(size - 1);
        // SAFETY: `length` and the NUL fit into the buffer that the caller vouches for.
        unsafe {
            std::ptr::copy_nonoverlapping(message.as_ptr().cast(), error, length);
            error.add(length).write(0);
        }
    }
}
