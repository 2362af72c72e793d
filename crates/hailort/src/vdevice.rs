//! Physical devices that this process holds, as one.

use std::{
    ffi::{CString, c_char},
    ptr,
    sync::Arc,
};

use hailort_sys as sys;
use tracing::warn;

use crate::{
    library::{DeviceId, Identity, Library},
    status::{Error, Status},
};

/// Which devices to hold, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VDeviceParams {
    /// Vdevices of one process that name the same group share their devices; `None`: nobody else.
    pub group: Option<String>,
    /// The devices; none: any one.
    pub device_ids: Vec<DeviceId>,
}

/// What a device's sensors say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Health {
    /// In °C, of the hotter sensor; `None` if the device does not tell.
    pub temperature: Option<f32>,
    /// Whether it runs slower now to protect itself; `None` if the device does not tell.
    pub throttling: Option<bool>,
}

/// Devices that this process holds. Clones share them; the last one, models included, frees them.
///
/// HailoRT's scheduler is on: several models take turns on the devices.
#[derive(Clone, Debug)]
pub struct VDevice {
    pub(crate) held: Arc<Held>,
}

#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) library: Library,
    pub(crate) handle: sys::Handle,
}

impl VDevice {
    /// Takes hold of devices.
    ///
    /// # Errors
    /// HailoRT's, such as [`is_busy`](crate::Status::is_busy).
    pub fn open(library: &Library, params: &VDeviceParams) -> Result<Self, Error> {
        const OPENING: &str = "open the Hailo device";
        let group = params.group.as_deref().map(CString::new).transpose();
        let group = group.map_err(|_nul| library.error(OPENING, Status::INVALID_ARGUMENT))?;
        let ids: Vec<*const c_char> = params.device_ids.iter().map(|id| id.as_c_str().as_ptr()).collect();
        let raw = sys::VDeviceParams {
            group_id: group.as_ref().map_or(ptr::null(), |group| group.as_ptr()),
            device_ids: if ids.is_empty() { ptr::null() } else { ids.as_ptr() },
            device_count: u32::try_from(ids.len().max(1)).unwrap_or(u32::MAX),
            scheduler: 1,
        };
        let mut handle = 0;
        // SAFETY: every pointer in `raw` is null or outlives the call, with as many names as it says.
        let status = unsafe { (library.api().vdevice_open)(&raw const raw, &raw mut handle) };
        library.check(OPENING, status)?;
        Ok(Self { held: Arc::new(Held { library: library.clone(), handle }) })
    }

    /// Who the devices are, in order.
    ///
    /// # Errors
    /// HailoRT's.
    pub fn identities(&self) -> Result<Vec<Identity>, Error> {
        let Held { library, handle } = &*self.held;
        let mut count = 0;
        // SAFETY: `count` is writable.
        let status = unsafe { (library.api().vdevice_device_count)(*handle, &raw mut count) };
        library.check("count the devices", status)?;
        let identify = |index| {
            let mut identity = sys::Identity::zeroed();
            // SAFETY: `identity` is writable.
            let status = unsafe { (library.api().vdevice_identify)(*handle, index, &raw mut identity) };
            library.check("identify the device", status)?;
            Ok((&identity).into())
        };
        (0..count).map(identify).collect()
    }

    /// What the sensors of one device say. Talks to the device.
    ///
    /// # Errors
    /// HailoRT's, or there is no such device.
    pub fn health(&self, index: usize) -> Result<Health, Error> {
        let Held { library, handle } = &*self.held;
        let mut health = sys::Health::zeroed();
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        // SAFETY: `health` is writable.
        let status = unsafe { (library.api().vdevice_health)(*handle, index, &raw mut health) };
        library.check("read the device's sensors", status)?;
        Ok(Health {
            temperature: Some(health.temperature).filter(|celsius| celsius.is_finite()),
            throttling: match health.throttling {
                0 => Some(false),
                1 => Some(true),
                _ => None,
            },
        })
    }

    /// Frees the devices, if nobody else uses them: says whether, and HailoRT's error.
    ///
    /// # Errors
    /// HailoRT's; the handle is gone all the same.
    pub fn close(self) -> Result<bool, Error> {
        match Arc::into_inner(self.held) {
            None => Ok(false),
            Some(mut held) => {
                let closed = held.close();
                held.handle = 0;
                closed.map(|()| true)
            }
        }
    }
}

impl Held {
    fn close(&self) -> Result<(), Error> {
        // SAFETY: it takes any number.
        let status = unsafe { (self.library.api().vdevice_close)(self.handle) };
        self.library.check("close the Hailo device", status)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Closed already?
        if self.handle != 0
            && let Err(error) = self.close()
        {
            warn!("{error}");
        }
    }
}
