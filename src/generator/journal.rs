//! Lines for the journal from a program that may run before there is one.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::Path,
};

use nix::fcntl::OFlag;

/// Where lines go. Each has a priority in front that the journal understands.
pub(super) struct Journal(Option<File>);

impl Journal {
    /// The kernel's log, which the journal reads once it is there; where it cannot be had (containers),
    /// standard error.
    pub(super) fn kernel(root: &Path) -> Self {
        let file = OpenOptions::new()
            .write(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(super::within(root, "/dev/kmsg"))
            .ok()
            // Containers may have something else under this name, that nobody reads.
            .filter(|file| file.metadata().is_ok_and(|metadata| metadata.file_type().is_char_device()));
        Self(file)
    }

    /// Standard error, which is the journal for a service.
    pub(super) fn standard_error() -> Self {
        Self(None)
    }

    pub(super) fn error(&self, message: &str) {
        self.write(3, message);
    }

    pub(super) fn warning(&self, message: &str) {
        self.write(4, message);
    }

    pub(super) fn notice(&self, message: &str) {
        self.write(5, message);
    }

    fn write(&self, priority: u8, message: &str) {
        let sent = self.0.as_ref().map(|mut kernel| {
            let process = std::process::id();
            // One write is one record.
            kernel.write_all(format!("<{priority}>hailo-clip-generator[{process}]: {message}\n").as_bytes())
        });
        if !matches!(sent, Some(Ok(()))) {
            // If this fails, too, there is nobody left to tell.
            let _ = writeln!(std::io::stderr(), "<{priority}>{message}");
        }
    }
}
