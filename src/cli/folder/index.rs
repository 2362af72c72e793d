//! The index of a folder: a file of records that only grows, each with its length and checksum.
//!
//! Whenever a process ends, however it ends, the records that it wrote are there; a last one that is not whole
//! is cut off. The first record says whose embeddings they are, since those of another model (of the same
//! name, too) or backend must not be compared with them. What later records have superseded goes away when it
//! is more than the rest.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    Stamp,
    place::{Place, private},
};
use crate::cli::{client::Encoder, output};

/// Changes with the meaning of a record.
const FORMAT: u32 = 1;

/// Length and checksum.
const FRAME: usize = 8;
/// No record is longer.
const LONGEST: usize = 1 << 20;

/// Superseded records that are not worth writing the file anew.
const FEW: usize = 256;

const HEAD: u8 = b'H';
const EMBEDDING: u8 = b'E';
const REFUSED: u8 = b'R';
const GONE: u8 = b'G';

/// The first record.
#[derive(Debug, PartialEq, Deserialize, Serialize)]
struct Head {
    format: u32,
    /// Not needed, but of use to a person who looks at the file.
    folder: String,
    encoder: Encoder,
}

/// What the service said of a picture.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    Embedding(Box<[f32]>),
    /// Not a picture for it, and why; asking again would not change that.
    Refused(String),
}

/// A file as it was, and its outcome.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) stamp: Stamp,
    pub(super) outcome: Outcome,
}

/// An open index; nobody else writes to it.
pub(super) struct Index {
    place: Place,
    file: File,
    head: Head,
    entries: BTreeMap<PathBuf, Entry>,
    /// In the file, superseded ones included.
    records: usize,
}

/// Why an index does not go on from what was there.
#[derive(Debug, PartialEq)]
pub(super) enum Anew {
    /// There was none.
    First,
    /// It was of another model or backend.
    OtherEncoder(Encoder),
    /// It could not be understood.
    Damaged,
}

impl Index {
    /// Opens the index of `folder` for the embeddings of `encoder`; says why if it starts from nothing.
    pub(super) fn open(
        place: Place,
        folder: &Path,
        encoder: &Encoder,
        reindex: bool,
    ) -> io::Result<(Self, Option<Anew>)> {
        let head = Head { format: FORMAT, folder: folder.display().to_string(), encoder: encoder.clone() };
        let mut file = private().open(&place.index)?;
        let mut index = Self { place, file: file.try_clone()?, head, entries: BTreeMap::new(), records: 0 };
        if file.metadata()?.len() == 0 {
            index.restart(encoder)?;
            return Ok((index, Some(Anew::First)));
        }
        let mut reader = BufReader::new(&mut file);
        let anew = match read_head(&mut reader)? {
            Some(head) if head.format == FORMAT && head.encoder == *encoder => None,
            Some(head) if head.format == FORMAT => Some(Anew::OtherEncoder(head.encoder)),
            _ => Some(Anew::Damaged),
        };
        if anew.is_some() || reindex {
            index.restart(encoder)?;
            return Ok((index, anew));
        }
        while let Some(payload) = read_record(&mut reader)? {
            index.apply(&payload);
            index.records += 1;
        }
        // What follows the last whole record is what a crash left of the next.
        let whole = reader.stream_position()?;
        file.set_len(whole)?;
        file.seek(SeekFrom::Start(whole))?;
        if index.records > 2 * index.entries.len() + FEW {
            index.compact()?;
        }
        Ok((index, None))
    }

    pub(super) fn encoder(&self) -> &Encoder {
        &self.head.encoder
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&Path, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_path(), entry))
    }

    pub(super) fn get(&self, path: &Path) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// Keeps what the service said; on the disk once this returns, as far as the process is concerned.
    pub(super) fn put(&mut self, path: &Path, entry: Entry) -> io::Result<()> {
        self.append(&encode(path, &entry))?;
        self.entries.insert(path.to_owned(), entry);
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        if self.entries.remove(path).is_some() {
            self.append(&encode_path(GONE, path))?;
        }
        Ok(())
    }

    /// Forgets everything, and goes on with the embeddings of `encoder`.
    pub(super) fn restart(&mut self, encoder: &Encoder) -> io::Result<()> {
        self.head.encoder = encoder.clone();
        self.entries.clear();
        self.compact()
    }

    /// Has the disk keep what was written, as far as the machine is concerned.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Writes the file anew, without what is superseded. The old one is there until the new one is.
    fn compact(&mut self) -> io::Result<()> {
        let mut head = vec![HEAD];
        serde_json::to_writer(&mut head, &self.head)?;
        output::write_private(&self.place.index, |file| {
            let mut writer = BufWriter::new(file);
            writer.write_all(&frame(&head))?;
            for (path, entry) in &self.entries {
                writer.write_all(&frame(&encode(path, entry)))?;
            }
            writer.flush()
        })?;
        self.records = self.entries.len();
        self.file = private().open(&self.place.index)?;
        self.file.seek(SeekFrom::End(0)).map(drop)
    }

    fn append(&mut self, payload: &[u8]) -> io::Result<()> {
        self.records += 1;
        self.file.write_all(&frame(payload))
    }

    /// Takes a record of the file into account. One of a kind that is not known is none.
    fn apply(&mut self, payload: &[u8]) {
        if let Some((path, entry)) = decode(payload) {
            match entry {
                Some(entry) => self.entries.insert(path, entry),
                None => self.entries.remove(&path),
            };
        }
    }
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("paths and embeddings are short");
    let mut framed = Vec::with_capacity(FRAME + payload.len());
    framed.extend_from_slice(&length.to_le_bytes());
    framed.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    framed.extend_from_slice(payload);
    framed
}

/// The next record that is whole. The reader stands behind it, or where it stood if there is none.
fn read_record(reader: &mut (impl Read + Seek)) -> io::Result<Option<Vec<u8>>> {
    let start = reader.stream_position()?;
    let record = try_read(reader)?;
    if record.is_none() {
        reader.seek(SeekFrom::Start(start))?;
    }
    Ok(record)
}

fn try_read(reader: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut frame = Vec::with_capacity(FRAME);
    reader.take(FRAME as u64).read_to_end(&mut frame)?;
    let Ok([a, b, c, d, sum @ ..]) = <[u8; FRAME]>::try_from(frame) else { return Ok(None) };
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    if length == 0 || length > LONGEST {
        return Ok(None);
    }
    let mut payload = Vec::with_capacity(length);
    reader.take(length as u64).read_to_end(&mut payload)?;
    let whole = payload.len() == length && crc32fast::hash(&payload) == u32::from_le_bytes(sum);
    Ok(whole.then_some(payload))
}

fn read_head(reader: &mut (impl Read + Seek)) -> io::Result<Option<Head>> {
    let record = read_record(reader)?;
    Ok(record.and_then(|payload| serde_json::from_slice(payload.strip_prefix(&[HEAD])?).ok()))
}

fn encode_path(kind: u8, path: &Path) -> Vec<u8> {
    let path = path.as_os_str().as_bytes();
    let mut payload = vec![kind];
    // A path has at most 4096 bytes.
    payload.extend_from_slice(&u16::try_from(path.len()).unwrap_or(u16::MAX).to_le_bytes());
    payload.extend_from_slice(path);
    payload
}

fn encode(path: &Path, entry: &Entry) -> Vec<u8> {
    let kind = match entry.outcome {
        Outcome::Embedding(_) => EMBEDDING,
        Outcome::Refused(_) => REFUSED,
    };
    let mut payload = encode_path(kind, path);
    let Stamp { size, seconds, nanoseconds, inode } = entry.stamp;
    payload.extend_from_slice(&size.to_le_bytes());
    payload.extend_from_slice(&seconds.to_le_bytes());
    payload.extend_from_slice(&nanoseconds.to_le_bytes());
    payload.extend_from_slice(&inode.to_le_bytes());
    match &entry.outcome {
        Outcome::Embedding(values) => values.iter().for_each(|value| payload.extend(value.to_le_bytes())),
        Outcome::Refused(reason) => payload.extend_from_slice(reason.as_bytes()),
    }
    payload
}

/// A path with its entry, or without one if it is gone.
fn decode(payload: &[u8]) -> Option<(PathBuf, Option<Entry>)> {
    let (kind, rest) = payload.split_first()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (path, rest) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
    let path = PathBuf::from(OsStr::from_bytes(path));
    if *kind == GONE {
        return Some((path, None));
    }
    let (size, rest) = rest.split_first_chunk()?;
    let (seconds, rest) = rest.split_first_chunk()?;
    let (nanoseconds, rest) = rest.split_first_chunk()?;
    let (inode, rest) = rest.split_first_chunk()?;
    let stamp = Stamp {
        size: u64::from_le_bytes(*size),
        seconds: i64::from_le_bytes(*seconds),
        nanoseconds: u32::from_le_bytes(*nanoseconds),
        inode: u64::from_le_bytes(*inode),
    };
    let outcome = match *kind {
        EMBEDDING => {
            let (values, _) = rest.as_chunks();
            Outcome::Embedding(values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
        }
        REFUSED => Outcome::Refused(String::from_utf8_lossy(rest).into_owned()),
        _ => return None,
    };
    Some((path, Some(Entry { stamp, outcome })))
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
