//! HailoRT itself: loading it, and the devices it sees.

use std::{
    env,
    ffi::{CStr, CString, c_char},
    fmt,
    path::Path,
    sync::Arc,
};

use hailort_sys::{self as sys, Api, LoadError};
use thiserror::Error;

use crate::status::{Error, Status};

/// libhailort reads this when it is loaded. Without it, it writes a log into the working directory,
/// and crashes a process whose user has no home.
const LOGGER_PATH: &str = "HAILORT_LOGGER_PATH";

/// HailoRT, loaded. Clones share it; it stays loaded until the process ends.
#[derive(Clone, Debug)]
pub struct Library {
    api: Arc<Api>,
    version: Version,
    built_for: Version,
}

/// Why HailoRT cannot be used.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The process was started without what libhailort needs.
    #[error(
        "{LOGGER_PATH} is not NONE in the environment of this process; set it where the process is started"
    )]
    Environment,
    /// The shim does not load.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The shim was compiled for another version of HailoRT than the one that is loaded.
    #[error("the shim was made for HailoRT {built_for}, but {loaded} is installed")]
    OtherVersion {
        /// The version of the headers it was compiled with.
        built_for: Version,
        /// The version of the library.
        loaded: Version,
    },
    /// HailoRT does not even tell its version.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// A version of the library, or of a firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Hailo-8 and 8L have 4, Hailo-10H has 5.
    pub major: u32,
    /// Second number.
    pub minor: u32,
    /// Third number.
    pub revision: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.revision)
    }
}

impl From<sys::Version> for Version {
    fn from(version: sys::Version) -> Self {
        Self { major: version.major, minor: version.minor, revision: version.revision }
    }
}

/// HailoRT's name for a device, on PCI its address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceId(CString);

impl DeviceId {
    pub(crate) fn as_c_str(&self) -> &CStr {
        &self.0
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.to_string_lossy().fmt(f)
    }
}

/// Who a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// HailoRT's name for it.
    pub device_id: String,
    /// Its kind.
    pub architecture: Architecture,
    /// Version of its firmware.
    pub firmware: Version,
    /// The board's name.
    pub board_name: String,
    /// The chip's serial number.
    pub serial_number: String,
}

/// The kind of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Architecture {
    Hailo8,
    Hailo8L,
    Hailo10H,
    /// Any other, by HailoRT's number.
    Other(i32),
}

impl Library {
    /// Loads the shim at `path`, and libhailort with it.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        if env::var_os(LOGGER_PATH).is_none_or(|value| value != "NONE") {
            return Err(OpenError::Environment);
        }
        let library = Self::with(Api::load(path)?)?;
        let (built_for, loaded) = (library.built_for, library.version);
        if built_for == loaded { Ok(library) } else { Err(OpenError::OtherVersion { built_for, loaded }) }
    }

    /// With these functions.
    pub(crate) fn with(api: Api) -> Result<Self, Error> {
        let api = Arc::new(api);
        let (mut version, mut built_for) = (sys::Version::default(), sys::Version::default());
        // SAFETY: the pointers are to writable versions.
        check(&api, "ask HailoRT for its version", unsafe { (api.library_version)(&raw mut version) })?;
        // SAFETY: as above.
        check(&api, "ask the shim for its version", unsafe { (api.built_for)(&raw mut built_for) })?;
        Ok(Self { api, version: version.into(), built_for: built_for.into() })
    }

    pub(crate) fn api(&self) -> &Api {
        &self.api
    }

    /// The library's version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Handles that are open in the shim: to see leaks.
    #[must_use]
    pub fn open_handles(&self) -> u32 {
        // SAFETY: it takes nothing and returns a number.
        unsafe { (self.api.open_handles)() }
    }

    /// The devices that HailoRT sees, held by somebody or not.
    ///
    /// # Errors
    /// HailoRT's.
    pub fn scan(&self) -> Result<Vec<DeviceId>, Error> {
        let mut ids = vec![sys::DeviceId::zeroed(); 32];
        let capacity = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        let mut count = 0;
        // SAFETY: `ids` has room for `capacity`, and `count` is writable.
        let status = unsafe { (self.api.scan)(ids.as_mut_ptr(), capacity, &raw mut count) };
        self.check("look for devices", status)?;
        ids.truncate(count as usize);
        Ok(ids.iter().map(|id| DeviceId(c_string(&id.id))).collect())
    }

    /// Asks a device that nobody holds who it is.
    ///
    /// # Errors
    /// HailoRT's.
    pub fn identify(&self, device: &DeviceId) -> Result<Identity, Error> {
        let mut identity = sys::Identity::zeroed();
        // SAFETY: the name ends with a NUL, and `identity` is writable.
        let status = unsafe { (self.api.identify)(device.0.as_ptr(), &raw mut identity) };
        self.check("identify the device", status)?;
        Ok((&identity).into())
    }

    pub(crate) fn check(&self, doing: &'static str, status: i32) -> Result<(), Error> {
        check(&self.api, doing, status)
    }

    pub(crate) fn error(&self, doing: &'static str, status: Status) -> Error {
        error(&self.api, doing, status)
    }
}

fn check(api: &Api, doing: &'static str, status: i32) -> Result<(), Error> {
    Status::failure(status).map_or(Ok(()), |status| Err(error(api, doing, status)))
}

fn error(api: &Api, doing: &'static str, status: Status) -> Error {
    // SAFETY: it takes any number.
    let said = unsafe { (api.status_message)(status.code()) };
    // SAFETY: not null, then it is a static text that ends with a NUL.
    let said = (!said.is_null()).then(|| unsafe { CStr::from_ptr(said) }.to_string_lossy().into_owned());
    Error::new(doing, status, said)
}

impl From<&sys::Identity> for Identity {
    fn from(identity: &sys::Identity) -> Self {
        Self {
            device_id: text(&identity.device_id),
            architecture: match identity.architecture {
                sys::ARCHITECTURE_HAILO8 => Architecture::Hailo8,
                sys::ARCHITECTURE_HAILO8L => Architecture::Hailo8L,
                sys::ARCHITECTURE_HAILO10H => Architecture::Hailo10H,
                other => Architecture::Other(other),
            },
            firmware: identity.firmware.into(),
            board_name: text(&identity.board_name),
            serial_number: text(&identity.serial_number),
        }
    }
}

/// The text up to the first NUL, or all of it.
pub(crate) fn c_string(chars: &[c_char]) -> CString {
    // C's char is signed here and unsigned there: the bytes are what counts.
    let bytes: Vec<u8> = chars.iter().flat_map(|c| c.to_ne_bytes()).take_while(|&byte| byte != 0).collect();
    CString::new(bytes).unwrap_or_default()
}

pub(crate) fn text(chars: &[c_char]) -> String {
    c_string(chars).to_string_lossy().into_owned()
}
