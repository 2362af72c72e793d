//! Which pictures are meant, and a descriptor for each that the service can read at its own pace.

use std::{
    ffi::{OsStr, OsString},
    fmt::Display,
    fs::File,
    io::{self, IsTerminal, Read, Seek},
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use clap::Args;
use nix::{
    fcntl::{FcntlArg, SealFlag, fcntl},
    sys::memfd::{MFdFlags, memfd_create},
};
use walkdir::WalkDir;

use super::{
    Failure,
    console::{escape, reason},
};

/// File name extensions of pictures, in lower case.
const EXTENSIONS: [&str; 8] = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"];

/// Most bytes that are taken from a pipe or a device.
const MAX_COPY: u64 = 256 << 20;

/// Which pictures a command works on.
#[derive(Debug, Args)]
pub(super) struct Selection {
    /// Look for pictures in the subfolders of folders too.
    #[arg(short, long)]
    pub(super) recursive: bool,
}

/// A picture that a person named, or that stands in a folder.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Picture {
    /// `-` on the command line.
    Stdin,
    /// Usually a regular file; a pipe or a device is read to its end.
    File(PathBuf),
}

impl Picture {
    /// As on the command line; bytes that are not UTF-8 are replaced.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Stdin => "-".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }

    /// A regular file or a sealed memfd with the picture. May block for as long as a pipe's writer likes.
    pub(super) fn open(&self) -> Result<File, Failure> {
        self.descriptor().map_err(|error| self.failure(reason(&error)))
    }

    fn descriptor(&self) -> io::Result<File> {
        let mut file = match self {
            Self::Stdin if io::stdin().is_terminal() => {
                return Err(io::Error::other("a terminal; send a picture through a pipe"));
            }
            Self::Stdin => File::from(io::stdin().as_fd().try_clone_to_owned()?),
            Self::File(path) => File::open(path)?,
        };
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        // A file that is being read already (`{ read; hailo-clip …; } < file`) goes on from there, and the
        // files of /proc have no size; the service could know of neither.
        if metadata.is_file() && metadata.len() > 0 && file.stream_position()? == 0 {
            return Ok(file);
        }
        let copy = copy_sealed(&mut file)?;
        match copy.metadata()?.len() {
            0 => Err(io::Error::other("empty")),
            _ => Ok(copy),
        }
    }

    /// What a person calls it, safe for a terminal.
    pub(super) fn title(&self) -> String {
        match self {
            Self::Stdin => "standard input".to_owned(),
            Self::File(_) => escape(&self.name()),
        }
    }

    /// A failure that names this picture.
    pub(super) fn failure(&self, problem: impl Display) -> Failure {
        Failure::Input(format!("{}: {problem}", self.title()))
    }
}

/// Copies what can be read once into memory that nobody can change any more.
fn copy_sealed(source: &mut impl Read) -> io::Result<File> {
    let mut copy = File::from(memfd_create("picture", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?);
    let length = io::copy(&mut source.take(MAX_COPY + 1), &mut copy)?;
    if length > MAX_COPY {
        return Err(io::Error::other(format!("more than {} MB", MAX_COPY >> 20)));
    }
    copy.rewind()?;
    fcntl(
        &copy,
        FcntlArg::F_ADD_SEALS(
            SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL,
        ),
    )?;
    Ok(copy)
}

/// Turns arguments into pictures: `-` is standard input, a folder stands for the pictures in it, by name.
/// What cannot be listed is a failure in its place.
///
/// # Errors
/// [`Failure::Usage`] if standard input is asked for twice.
pub(super) fn find(
    arguments: &[OsString],
    selection: &Selection,
) -> Result<Vec<Result<Picture, Failure>>, Failure> {
    if arguments.iter().filter(|argument| *argument == "-").count() > 1 {
        return Err(Failure::Usage("standard input (-) can be read only once".to_owned()));
    }
    let mut pictures = Vec::new();
    for argument in arguments {
        let path = Path::new(argument);
        if argument == "-" {
            pictures.push(Ok(Picture::Stdin));
        } else if path.is_dir() {
            pictures.extend(list(path, selection.recursive));
        } else {
            pictures.push(Ok(Picture::File(path.to_owned())));
        }
    }
    Ok(pictures)
}

/// The pictures in a folder, or why there are none.
fn list(folder: &Path, recursive: bool) -> Vec<Result<Picture, Failure>> {
    let mut pictures: Vec<_> = walk(folder, recursive)
        .map(|found| match found {
            Ok(path) => Ok(Picture::File(path)),
            Err(Unlisted { path, problem }) => Err(Picture::File(path).failure(problem)),
        })
        .collect();
    if pictures.is_empty() {
        let hint = if recursive { "" } else { "; --recursive looks into its subfolders" };
        pictures
            .push(Err(Picture::File(folder.to_owned()).failure(format!("no pictures in this folder{hint}"))));
    }
    pictures
}

/// A part of a folder that could not be looked into.
#[derive(Debug)]
pub(super) struct Unlisted {
    pub(super) path: PathBuf,
    pub(super) problem: String,
}

/// The paths of the pictures in a folder, by name. Hidden files are left out, as by the shell's `*`, and
/// symbolic links to folders are not followed.
pub(super) fn walk(
    folder: &Path,
    recursive: bool,
) -> impl Iterator<Item = Result<PathBuf, Unlisted>> + use<'_> {
    WalkDir::new(folder)
        .max_depth(if recursive { usize::MAX } else { 1 })
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| entry.depth() == 0 || !entry.file_name().as_encoded_bytes().starts_with(b"."))
        .filter_map(move |entry| match entry {
            Ok(entry) => (has_picture_extension(entry.file_name()) && entry.path().is_file())
                .then(|| Ok(entry.into_path())),
            Err(error) => Some(Err(Unlisted {
                path: error.path().unwrap_or(folder).to_owned(),
                problem: error.io_error().map_or_else(|| error.to_string(), reason),
            })),
        })
}

/// Whether a file of this name is taken for a picture.
pub(super) fn has_picture_extension(name: &OsStr) -> bool {
    Path::new(name)
        .extension()
        .and_then(OsStr::to_str)
        .is_some_and(|extension| EXTENSIONS.contains(&extension.to_ascii_lowercase().as_str()))
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use super::*;

    #[test]
    fn a_folder_stands_for_its_pictures_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("sub.jpg")).unwrap();
        for name in ["b.PNG", "a.jpg", "notes.txt", ".hidden.jpg", "sub.jpg/c.tiff"] {
            fs::write(path(name), "x").unwrap();
        }
        let found = |recursive| -> Vec<PathBuf> {
            list(folder.path(), recursive)
                .into_iter()
                .map(|picture| match picture.unwrap() {
                    Picture::File(path) => path,
                    Picture::Stdin => unreachable!(),
                })
                .collect()
        };
        assert_eq!(found(false), [path("a.jpg"), path("b.PNG")]);
        assert_eq!(found(true), [path("a.jpg"), path("b.PNG"), path("sub.jpg/c.tiff")]);
    }

    #[test]
    fn a_folder_without_pictures_is_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("notes.txt"), "x").unwrap();
        let [Err(failure)] = &list(folder.path(), false)[..] else { panic!("not one failure") };
        assert!(failure.to_string().contains("no pictures in this folder"), "{failure}");
    }

    #[test]
    fn a_copy_is_sealed_and_starts_at_its_beginning() {
        let mut copy = copy_sealed(&mut &b"picture"[..]).unwrap();
        let mut text = String::new();
        copy.read_to_string(&mut text).unwrap();
        assert_eq!(text, "picture");
        assert!(copy.write_all(b"more").is_err());
        assert!(copy.set_len(0).is_err());
    }

    #[test]
    fn an_endless_source_is_refused() {
        let error = copy_sealed(&mut io::repeat(0)).unwrap_err();
        assert_eq!(error.to_string(), "more than 256 MB");
    }

    #[test]
    fn standard_input_can_be_read_once() {
        let arguments = ["-".into(), "a.jpg".into(), "-".into()];
        assert!(matches!(find(&arguments, &Selection { recursive: false }), Err(Failure::Usage(_))));
    }
}
