//! HailoRT's statuses, and what they mean to people.

use std::fmt;

use hailort_sys as sys;

/// A status other than success: HailoRT's own, or (negative) the shim's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status(i32);

impl Status {
    pub(crate) const INVALID_ARGUMENT: Self = Self(sys::INVALID_ARGUMENT);
    pub(crate) const OUT_OF_MEMORY: Self = Self(sys::OUT_OF_MEMORY);

    /// `None` for success.
    #[must_use]
    pub fn failure(code: i32) -> Option<Self> {
        (code != 0).then_some(Self(code))
    }

    /// The number.
    #[must_use]
    pub fn code(self) -> i32 {
        self.0
    }

    /// Nothing happened within the time given.
    #[must_use]
    pub fn is_timeout(self) -> bool {
        self.0 == 4
    }

    /// Another process holds the device.
    #[must_use]
    pub fn is_busy(self) -> bool {
        matches!(self.0, 73 | 74)
    }

    /// The device went away: its driver, its connection or its firmware does not answer any more.
    #[must_use]
    pub fn is_lost(self) -> bool {
        matches!(self.0, 36 | 62 | 87 | 88 | 96)
    }

    /// Library and driver are of different versions.
    #[must_use]
    pub fn is_version_mismatch(self) -> bool {
        matches!(self.0, 16 | 76 | 85 | 86)
    }

    /// The inference was given up together with its model.
    #[must_use]
    pub fn is_aborted(self) -> bool {
        matches!(self.0, 57 | 63 | 90 | 95)
    }

    /// There is not enough memory, on the host or on the device.
    #[must_use]
    pub fn is_out_of_memory(self) -> bool {
        matches!(self.0, 3 | 71 | 81 | sys::OUT_OF_MEMORY)
    }

    /// What is wrong and what to do, for the statuses that need more than HailoRT's own words.
    fn explanation(self) -> Option<&'static str> {
        Some(match self.0 {
            7 | 79 => {
                "this version of HailoRT does not drive this device; Hailo-8 and 8L need HailoRT 4 (package \
                 hailo-all), Hailo-10H needs HailoRT 5 (package hailo-h10-all)"
            }
            6 => "HailoRT refuses the operation; a HailoRT service may hold the device, stop hailort.service",
            64 => "the Hailo driver is not loaded; reinstall it with HailoRT, and reboot",
            13 | 14 => "the HEF cannot be read; reinstall the model",
            26 | 91 => "the HEF is damaged; reinstall the model",
            92 => {
                "this is not a HEF that this HailoRT knows; reinstall the model, or install the one that fits HailoRT"
            }
            75 | 93 => {
                "the HEF was compiled for another kind of Hailo device; install the model for this one"
            }
            _ if self.is_timeout() => "the device did not answer in time",
            _ if self.is_busy() => "another process holds the Hailo device; stop it to use the device here",
            _ if self.is_lost() => "the Hailo device went away; check its connection and power supply",
            _ if self.is_version_mismatch() => {
                "HailoRT, its driver and the firmware are of different versions; \"sudo apt full-upgrade\" and a \
                 reboot mend that"
            }
            _ if self.is_aborted() => "the inference was given up",
            _ if self.is_out_of_memory() => {
                "there is not enough memory; use a smaller model or batch_size, or stop other programs"
            }
            sys::EXCEPTION => "HailoRT failed in an unforeseen way; reinstall HailoRT if it goes on",
            _ => return None,
        })
    }
}

/// A call to HailoRT that failed. The text is for people: what failed, why, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    doing: &'static str,
    status: Status,
    said: Option<String>,
}

impl Error {
    pub(crate) fn new(doing: &'static str, status: Status, said: Option<String>) -> Self {
        Self { doing, status, said }
    }

    /// Why.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (doing, code) = (self.doing, self.status.code());
        match (self.status.explanation(), &self.said) {
            (Some(explanation), _) => write!(f, "cannot {doing}: {explanation} (HailoRT status {code})"),
            (None, Some(said)) if code < 0 => write!(f, "cannot {doing}: {said} (status {code})"),
            (None, Some(said)) => write!(f, "cannot {doing}: HailoRT says {said} (status {code})"),
            (None, None) => write!(f, "cannot {doing}: HailoRT fails with status {code}"),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_that_people_meet_are_explained() {
        let explained = [4, 6, 7, 13, 14, 26, 36, 62, 71, 74, 75, 76, 79, 81, 87, 88, 91, 92, 93, 96];
        for code in explained {
            let error = Error::new("open the device", Status(code), None).to_string();
            assert!(error.starts_with("cannot open the device: "), "{error}");
            assert!(!error.contains("fails with status"), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
        let unknown = Error::new("open the device", Status(4711), None).to_string();
        assert_eq!(unknown, "cannot open the device: HailoRT fails with status 4711");
        let said = Error::new("open the device", Status(61), Some("NOT_FOUND".into())).to_string();
        assert_eq!(said, "cannot open the device: HailoRT says NOT_FOUND (status 61)");
    }

    #[test]
    fn success_is_no_failure() {
        assert_eq!(Status::failure(0), None);
        assert!(Status::failure(74).is_some_and(Status::is_busy));
        assert!(Status::failure(36).is_some_and(Status::is_lost));
    }
}
