//! Types and numbers of the header, under its names without their prefix.

use std::ffi::{c_char, c_void};

/// `HAILORT_SHIM_ABI`
pub const ABI: u32 = 1;

/// `HAILORT_SHIM_INVALID_HANDLE`
pub const INVALID_HANDLE: i32 = -1;
/// `HAILORT_SHIM_INVALID_ARGUMENT`
pub const INVALID_ARGUMENT: i32 = -2;
/// `HAILORT_SHIM_EXCEPTION`
pub const EXCEPTION: i32 = -3;
/// `HAILORT_SHIM_OUT_OF_MEMORY`
pub const OUT_OF_MEMORY: i32 = -4;

/// `HAILORT_SHIM_ARCHITECTURE_HAILO8`
pub const ARCHITECTURE_HAILO8: i32 = 1;
/// `HAILORT_SHIM_ARCHITECTURE_HAILO8L`
pub const ARCHITECTURE_HAILO8L: i32 = 2;
/// `HAILORT_SHIM_ARCHITECTURE_HAILO10H`
pub const ARCHITECTURE_HAILO10H: i32 = 6;

/// `HAILORT_SHIM_INPUT`
pub const INPUT: i32 = 0;
/// `HAILORT_SHIM_OUTPUT`
pub const OUTPUT: i32 = 1;

/// `HAILORT_SHIM_FORMAT_AUTO`
pub const FORMAT_AUTO: i32 = 0;
/// `HAILORT_SHIM_FORMAT_UINT8`
pub const FORMAT_UINT8: i32 = 1;
/// `HAILORT_SHIM_FORMAT_UINT16`
pub const FORMAT_UINT16: i32 = 2;
/// `HAILORT_SHIM_FORMAT_FLOAT32`
pub const FORMAT_FLOAT32: i32 = 3;

/// `hailort_shim_handle`
pub type Handle = u64;

/// `hailort_shim_callback`
pub type Callback = unsafe extern "C" fn(context: *mut c_void, status: i32);

/// `hailort_shim_version`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Version {
    pub major: u32,
    pub minor: u32,
    pub revision: u32,
}

/// `hailort_shim_device_id`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the header says it")]
pub struct DeviceId {
    pub id: [c_char; 64],
}

/// `hailort_shim_identity`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the header says it")]
pub struct Identity {
    pub device_id: [c_char; 64],
    pub architecture: i32,
    pub firmware: Version,
    pub board_name: [c_char; 64],
    pub serial_number: [c_char; 64],
}

/// `hailort_shim_health`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the header says it")]
pub struct Health {
    pub temperature: f32,
    pub throttling: i32,
}

/// `hailort_shim_vdevice_params`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the header says it")]
pub struct VDeviceParams {
    pub group_id: *const c_char,
    pub device_ids: *const *const c_char,
    pub device_count: u32,
    pub scheduler: u32,
}

/// `hailort_shim_stream`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the header says it")]
pub struct Stream {
    pub name: [c_char; 128],
    pub height: u32,
    pub width: u32,
    pub channels: u32,
    pub format_type: i32,
    pub format_order: i32,
    pub quantization_count: u32,
    pub scale: f32,
    pub zero_point: f32,
    pub frame_size: u64,
}

/// `hailort_shim_buffer`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the header says it")]
pub struct Buffer {
    pub data: *mut c_void,
    pub size: u64,
}

/// An all-zero value to be filled in: no reference and no enumeration is inside.
macro_rules! zeroed {
    ($($type:ty),*) => {$(
        impl $type {
            /// All zeros, to be filled in by a call.
            #[must_use]
            pub const fn zeroed() -> Self {
                // SAFETY: a plain C structure of numbers and arrays of numbers, for which all zeros are
                // a value.
                unsafe { std::mem::zeroed() }
            }
        }
    )*};
}

zeroed!(DeviceId, Identity, Health, Stream);
