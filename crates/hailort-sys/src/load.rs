//! Finding the shim's functions in a shared library.

use std::{
    ffi::{c_char, c_void},
    path::Path,
};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use thiserror::Error;

use crate::types::{
    ABI, Buffer, Callback, DeviceId, Handle, Health, Identity, Stream, VDeviceParams, Version,
};

/// Why the shim cannot be used. The text is for people.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The shim is not there.
    #[error("the shim over HailoRT is missing")]
    Missing,
    /// The shim is there, but a library that it needs is not, such as the libhailort it was made for.
    #[error("{0} is missing, which the shim over HailoRT needs")]
    MissingDependency(String),
    /// The shim is there, but the system's loader refuses it.
    #[error("the shim over HailoRT cannot be loaded ({0})")]
    Refused(String),
    /// The library is no shim, or a damaged one.
    #[error("the shim over HailoRT lacks {0}")]
    MissingSymbol(&'static str),
    /// The shim belongs to another version of this program.
    #[error("the shim over HailoRT has interface {found}, not {ABI}")]
    OtherAbi {
        /// The version that the library has.
        found: u32,
    },
}

macro_rules! api {
    ($($(#[$doc:meta])* $name:ident: $symbol:literal ($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        /// Symbol, types of the arguments, type of the result, to be compared with the header.
        #[cfg(test)]
        pub(crate) const SIGNATURES: &[(&str, &[&str], &str)] =
            &[$(($symbol, &[$(stringify!($type)),*], stringify!($result)),)*];

        /// The shim's functions. `shim/hailort_shim.h` says what they do and ask for.
        #[derive(Clone, Copy, Debug)]
        pub struct Api {
            $($(#[$doc])* pub $name: unsafe extern "C" fn($($argument: $type),*) -> $result,)*
        }

        impl Api {
            fn resolve(library: &Library) -> Result<Self, LoadError> {
                Ok(Self {
                    // SAFETY: the symbols have the types that the header of this ABI declares, which
                    // `load` has made sure of; the library is never unloaded.
                    $($name: *unsafe { library.get(concat!($symbol, "\0").as_bytes()) }
                        .map_err(|_| LoadError::MissingSymbol($symbol))?,)*
                })
            }
        }
    };
}

api! {
    /// `hailort_shim_built_for`
    built_for: "hailort_shim_built_for" (version: *mut Version) -> i32;
    /// `hailort_shim_library_version`
    library_version: "hailort_shim_library_version" (version: *mut Version) -> i32;
    /// `hailort_shim_status_message`
    status_message: "hailort_shim_status_message" (status: i32) -> *const c_char;
    /// `hailort_shim_open_handles`
    open_handles: "hailort_shim_open_handles" () -> u32;
    /// `hailort_shim_scan`
    scan: "hailort_shim_scan" (ids: *mut DeviceId, capacity: u32, count: *mut u32) -> i32;
    /// `hailort_shim_identify`
    identify: "hailort_shim_identify" (device_id: *const c_char, identity: *mut Identity) -> i32;
    /// `hailort_shim_vdevice_open`
    vdevice_open: "hailort_shim_vdevice_open" (params: *const VDeviceParams, vdevice: *mut Handle) -> i32;
    /// `hailort_shim_vdevice_device_count`
    vdevice_device_count: "hailort_shim_vdevice_device_count" (vdevice: Handle, count: *mut u32) -> i32;
    /// `hailort_shim_vdevice_identify`
    vdevice_identify: "hailort_shim_vdevice_identify"
        (vdevice: Handle, index: u32, identity: *mut Identity) -> i32;
    /// `hailort_shim_vdevice_health`
    vdevice_health: "hailort_shim_vdevice_health" (vdevice: Handle, index: u32, health: *mut Health) -> i32;
    /// `hailort_shim_vdevice_close`
    vdevice_close: "hailort_shim_vdevice_close" (vdevice: Handle) -> i32;
    /// `hailort_shim_model_open`
    model_open: "hailort_shim_model_open"
        (vdevice: Handle, hef_path: *const c_char, model: *mut Handle) -> i32;
    /// `hailort_shim_model_stream_count`
    model_stream_count: "hailort_shim_model_stream_count"
        (model: Handle, direction: i32, count: *mut u32) -> i32;
    /// `hailort_shim_model_stream`
    model_stream: "hailort_shim_model_stream"
        (model: Handle, direction: i32, index: u32, stream: *mut Stream) -> i32;
    /// `hailort_shim_model_set_batch_size`
    model_set_batch_size: "hailort_shim_model_set_batch_size" (model: Handle, batch_size: u16) -> i32;
    /// `hailort_shim_model_set_format`
    model_set_format: "hailort_shim_model_set_format"
        (model: Handle, direction: i32, index: u32, format_type: i32) -> i32;
    /// `hailort_shim_model_configure`
    model_configure: "hailort_shim_model_configure" (model: Handle) -> i32;
    /// `hailort_shim_model_queue_size`
    model_queue_size: "hailort_shim_model_queue_size" (model: Handle, frames: *mut u32) -> i32;
    /// `hailort_shim_model_wait_ready`
    model_wait_ready: "hailort_shim_model_wait_ready" (model: Handle, frames: u32, timeout_ms: u32) -> i32;
    /// `hailort_shim_model_submit`
    model_submit: "hailort_shim_model_submit"
        (model: Handle, buffers: *const Buffer, buffer_count: u32, frame_count: u32, callback: Callback,
         context: *mut c_void) -> i32;
    /// `hailort_shim_model_shutdown`
    model_shutdown: "hailort_shim_model_shutdown" (model: Handle) -> i32;
    /// `hailort_shim_model_close`
    model_close: "hailort_shim_model_close" (model: Handle) -> i32;
}

impl Api {
    /// Loads the shim at `path`, and with it libhailort.
    ///
    /// It stays loaded until the process ends: a callback may come at any time, on a thread of
    /// libhailort's, and must find its code.
    ///
    /// # Errors
    /// [`LoadError`]
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        if !path.exists() {
            return Err(LoadError::Missing);
        }
        // All symbols at once: one that libhailort lacks is an error here, and not the process's end at
        // the first call.
        // SAFETY: loading runs the initialisers of the shim and of libhailort, which the administrator
        // has installed; the caller has seen to the environment that libhailort reads then.
        let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }
            .map_err(|error| refusal(&loader_message(&error)))?;
        let library = std::mem::ManuallyDrop::new(library);
        // SAFETY: every ABI of the shim has this function with this type.
        let abi = unsafe { library.get::<unsafe extern "C" fn() -> u32>(b"hailort_shim_abi\0") }
            .map_err(|_| LoadError::MissingSymbol("hailort_shim_abi"))?;
        // SAFETY: it takes nothing and returns a number.
        match unsafe { abi() } {
            ABI => Self::resolve(&library),
            found => Err(LoadError::OtherAbi { found }),
        }
    }
}

/// What the system's loader says.
fn loader_message(error: &libloading::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

/// Why the loader refused a shim that is there, without folders.
fn refusal(message: &str) -> LoadError {
    match message.split_once(": ") {
        Some((file, reason)) if file.starts_with('/') => LoadError::Refused(reason.to_owned()),
        Some((library, reason)) if reason.ends_with("No such file or directory") => {
            LoadError::MissingDependency(library.to_owned())
        }
        _ => LoadError::Refused(message.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_library_that_is_missing() {
        let missing = "libhailort.so.5.2.0: cannot open shared object file: No such file or directory";
        assert_eq!(
            refusal(missing).to_string(),
            "libhailort.so.5.2.0 is missing, which the shim over HailoRT needs"
        );
        let symbol = "/usr/lib/hailo-clip/shim.so: undefined symbol: _ZN7hailort6Device4scanEv";
        assert_eq!(
            refusal(symbol).to_string(),
            "the shim over HailoRT cannot be loaded (undefined symbol: _ZN7hailort6Device4scanEv)"
        );
        assert!(matches!(refusal("out of memory"), LoadError::Refused(_)));
    }
}
