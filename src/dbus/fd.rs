//! Pictures by file descriptor.

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::fs::FileExt},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

use super::{Error, error::too_large};

/// Most files that are read at a time. A file may sit on a file system that never answers, and
/// each such read costs a thread until it does.
const MAX_READS: usize = 8;

/// Reads pictures from the descriptors that callers pass.
#[derive(Debug)]
pub(super) struct PictureFiles {
    max_bytes: usize,
    timeout: Duration,
    reads: Arc<Semaphore>,
}

impl PictureFiles {
    /// Files of at most `max_bytes`, each read within `timeout`.
    pub(super) fn new(max_bytes: usize, timeout: Duration) -> Self {
        Self { max_bytes, timeout, reads: Arc::new(Semaphore::new(MAX_READS)) }
    }

    /// Reads the whole file; its offset stays where it is.
    ///
    /// # Errors
    /// Not a regular file open for reading, larger than allowed, shortened meanwhile, or too slow.
    pub(super) async fn read(&self, fd: OwnedFd) -> Result<Bytes, Error> {
        let (reads, max_bytes) = (Arc::clone(&self.reads), self.max_bytes);
        let reading = async move {
            // The permit stays with the thread, which a caller's departure does not stop.
            let permit = reads.acquire_owned().await;
            spawn_blocking(move || {
                let _permit = permit;
                let file = File::from(fd);
                let length = checked_length(&file, max_bytes)?;
                read(&file, length)
            })
            .await
        };
        match timeout(self.timeout, reading).await {
            Ok(Ok(picture)) => picture,
            Ok(Err(_)) => Err(Error::InvalidArgument("the file could not be read".to_owned())),
            Err(_) => {
                Err(Error::Timeout(format!("the file was not read within {} ms", self.timeout.as_millis())))
            }
        }
    }
}

/// The file's length, if it is a file that may be read.
fn checked_length(file: &File, max_bytes: usize) -> Result<usize, Error> {
    let flags = fcntl(file, FcntlArg::F_GETFL).map_err(|errno| unreadable(&errno.into()))?;
    let flags = OFlag::from_bits_retain(flags);
    if flags.contains(OFlag::O_PATH) || flags & OFlag::O_ACCMODE == OFlag::O_WRONLY {
        return Err(Error::InvalidArgument("the file descriptor is not open for reading".to_owned()));
    }
    let metadata = file.metadata().map_err(|error| unreadable(&error))?;
    if !metadata.is_file() {
        return Err(Error::InvalidArgument(
            "the file descriptor must be a regular file or a memfd".to_owned(),
        ));
    }
    let length = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    if length > max_bytes { Err(too_large("picture", length, max_bytes)) } else { Ok(length) }
}

/// Reads with `pread`: a mapping would kill the service if the caller shortened the file.
fn read(file: &File, length: usize) -> Result<Bytes, Error> {
    let mut picture = vec![0; length];
    file.read_exact_at(&mut picture, 0).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            Error::InvalidArgument("the file became shorter while it was read".to_owned())
        }
        _ => unreadable(&error),
    })?;
    Ok(picture.into())
}

fn unreadable(error: &io::Error) -> Error {
    Error::InvalidArgument(format!("the file cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use std::{
        fs::OpenOptions,
        io::{Seek, SeekFrom, Write},
        os::unix::{fs::OpenOptionsExt, net::UnixStream},
    };

    use nix::{
        sys::memfd::{MFdFlags, memfd_create},
        unistd::pipe,
    };

    use super::*;

    fn memfd(content: &[u8]) -> File {
        let mut file = File::from(memfd_create("picture", MFdFlags::MFD_CLOEXEC).unwrap());
        file.write_all(content).unwrap();
        file
    }

    fn refusal(file: &File) -> String {
        match checked_length(file, 100).unwrap_err() {
            Error::InvalidArgument(text) => text,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_memfd_is_read_whole_and_its_offset_left_alone() {
        let mut file = memfd(b"picture");
        file.seek(SeekFrom::Start(3)).unwrap();
        assert_eq!(checked_length(&file, 7), Ok(7));
        assert_eq!(read(&file, 7).unwrap(), "picture");
        assert_eq!(file.stream_position().unwrap(), 3);
    }

    #[test]
    fn a_file_above_the_limit_is_not_read() {
        let file = memfd(b"");
        file.set_len(1 << 50).unwrap();
        let error = checked_length(&file, 20_000_000).unwrap_err();
        assert!(matches!(&error, Error::TooLarge(text) if text.contains("20000000")), "{error}");
    }

    #[test]
    fn only_readable_regular_files_are_pictures() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture");
        std::fs::write(&path, b"picture").unwrap();

        let not_readable = [
            OpenOptions::new().write(true).open(&path).unwrap(),
            OpenOptions::new().read(true).custom_flags(OFlag::O_PATH.bits()).open(&path).unwrap(),
        ];
        for file in &not_readable {
            assert!(refusal(file).contains("not open for reading"));
        }

        let (pipe, _writer) = pipe().unwrap();
        let (socket, _peer) = UnixStream::pair().unwrap();
        let not_regular = [
            File::from(pipe),
            File::from(OwnedFd::from(socket)),
            File::open("/dev/zero").unwrap(),
            File::open(folder.path()).unwrap(),
        ];
        for file in &not_regular {
            assert!(refusal(file).contains("regular file"));
        }
    }

    #[test]
    fn a_file_that_shrinks_is_an_error() {
        let error = read(&memfd(b"pic"), 7).unwrap_err();
        assert!(matches!(&error, Error::InvalidArgument(text) if text.contains("shorter")), "{error}");
    }
}
