//! Text embeddings in a file, for the next start of the service.
//!
//! The file is in safetensors' format: the texts' digests, their embeddings, and in its metadata whose
//! embeddings they are and a checksum. It is a cache: whatever is not in order about it is as good as no file.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use safetensors::{Dtype, SafeTensorError, SafeTensors, tensor::TensorView};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::text_cache::TextDigest;
use crate::{clip::Embedding, model::hex};

/// Largest file that is written or read.
const MOST_BYTES: usize = 16 << 20;
/// Of these, what is not embeddings: names, shapes, metadata.
const HEADER_BYTES: usize = 4096;

const TEXTS: &str = "texts";
const EMBEDDINGS: &str = "embeddings";
const MODEL: &str = "model";
const CHECKSUM: &str = "sha256";

/// A file of text embeddings, which need not exist.
pub(super) struct TextFile(PathBuf);

/// Why there is nothing to be had of a file.
#[derive(Debug, Error)]
pub(super) enum TextFileError {
    /// There is none.
    #[error("there is no file")]
    Absent,
    /// They are another model's, or another version's.
    #[error("they are another model's")]
    OtherModel,
    /// It is not what was written.
    #[error("the file is damaged")]
    Damaged,
    /// The system does not let us.
    #[error("{}", .0.kind())]
    System(#[from] io::Error),
}

impl From<SafeTensorError> for TextFileError {
    fn from(_: SafeTensorError) -> Self {
        Self::Damaged
    }
}

impl TextFile {
    /// The file in a folder, which need not exist either.
    pub(super) fn new(folder: &Path) -> Self {
        Self(folder.join("text-embeddings.safetensors"))
    }

    /// So many embeddings fit into a file.
    pub(super) fn capacity(dimension: usize) -> usize {
        (MOST_BYTES - HEADER_BYTES) / (size_of::<TextDigest>() + dimension * size_of::<f32>())
    }

    /// Reads the embeddings of `model`, in the order in which they were written.
    ///
    /// # Errors
    /// There are none.
    pub(super) fn read(
        &self,
        model: &[u8; 32],
        dimension: usize,
    ) -> Result<Vec<(TextDigest, Embedding)>, TextFileError> {
        let file = File::open(&self.0).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => TextFileError::Absent,
            _ => error.into(),
        })?;
        let mut bytes = Vec::new();
        file.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > MOST_BYTES {
            return Err(TextFileError::Damaged);
        }
        let (_, header) = SafeTensors::read_metadata(&bytes)?;
        let said = |name| header.metadata().as_ref().and_then(|said| said.get(name).map(String::as_str));
        if said(MODEL).ok_or(TextFileError::Damaged)? != hex(model) {
            return Err(TextFileError::OtherModel);
        }
        let tensors = SafeTensors::deserialize(&bytes)?;
        let (texts, embeddings) = (tensors.tensor(TEXTS)?, tensors.tensor(EMBEDDINGS)?);
        let count = texts.shape().first().copied().unwrap_or(0);
        let as_written = texts.dtype() == Dtype::U8
            && texts.shape() == [count, size_of::<TextDigest>()]
            && embeddings.dtype() == Dtype::F32
            && embeddings.shape() == [count, dimension]
            && said(CHECKSUM) == Some(&checksum(texts.data(), embeddings.data()));
        if !as_written {
            return Err(TextFileError::Damaged);
        }
        let (digests, _) = texts.data().as_chunks();
        digests
            .iter()
            .zip(embeddings.data().chunks_exact(dimension * size_of::<f32>()))
            .map(|(digest, embedding)| {
                let (components, _) = embedding.as_chunks();
                let components: Vec<f32> = components.iter().map(|&x| f32::from_le_bytes(x)).collect();
                Ok((*digest, Embedding::from_unit(&components).ok_or(TextFileError::Damaged)?))
            })
            .collect()
    }

    /// Writes the embeddings of `model`, as many as fit; whoever reads sees all of them or the old ones.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn write(
        &self,
        model: &[u8; 32],
        dimension: usize,
        embeddings: &[(TextDigest, Embedding)],
    ) -> io::Result<()> {
        let embeddings = &embeddings[..embeddings.len().min(Self::capacity(dimension))];
        let mut digests = Vec::with_capacity(size_of_val(embeddings));
        let mut components = Vec::with_capacity(embeddings.len() * dimension * size_of::<f32>());
        for (digest, embedding) in embeddings {
            digests.extend_from_slice(digest);
            components.extend(embedding.as_slice().iter().flat_map(|x| x.to_le_bytes()));
        }
        let count = embeddings.len();
        let said = HashMap::from([
            (MODEL.to_owned(), hex(model)),
            (CHECKSUM.to_owned(), checksum(&digests, &components)),
        ]);
        let tensors = [
            (TEXTS, TensorView::new(Dtype::U8, vec![count, size_of::<TextDigest>()], &digests)),
            (EMBEDDINGS, TensorView::new(Dtype::F32, vec![count, dimension], &components)),
        ];
        let tensors =
            tensors.into_iter().map(|(name, view)| Ok((name, view?))).collect::<Result<Vec<_>, _>>();
        let bytes = tensors.and_then(|tensors| safetensors::serialize(tensors, Some(said)));
        let bytes = bytes.map_err(|error: SafeTensorError| io::Error::other(error.to_string()))?;

        if let Some(folder) = self.0.parent() {
            fs::create_dir_all(folder)?;
        }
        let new = self.0.with_extension("new");
        // Of one that a lost process left, neither content nor mode is to stay.
        remove(&new)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        // Not synchronised: the checksum tells if the power failed on the way, and nothing waits for the disk.
        file.write_all(&bytes).and_then(|()| fs::rename(&new, &self.0)).inspect_err(|_| drop(remove(&new)))
    }

    /// Removes the file, if there is one.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn remove(&self) -> io::Result<()> {
        remove(&self.0)
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn checksum(texts: &[u8], embeddings: &[u8]) -> String {
    hex(&Sha256::new_with_prefix(texts).chain_update(embeddings).finalize().into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const MODEL: [u8; 32] = [7; 32];

    fn embeddings(count: u8) -> Vec<(TextDigest, Embedding)> {
        (0..count).map(|n| ([n; 32], Embedding::normalize(&[1.0, f32::from(n)]).unwrap())).collect()
    }

    #[test]
    fn comes_back_as_it_was_for_the_same_model_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = TextFile::new(&folder.path().join("state"));
        assert!(matches!(file.read(&MODEL, 2), Err(TextFileError::Absent)));
        for count in [3, 0, 2] {
            file.write(&MODEL, 2, &embeddings(count)).unwrap();
            assert_eq!(file.read(&MODEL, 2).unwrap(), embeddings(count));
        }
        assert!(matches!(file.read(&[8; 32], 2), Err(TextFileError::OtherModel)));
        assert!(matches!(file.read(&MODEL, 3), Err(TextFileError::Damaged)));
        let mode = fs::metadata(&file.0).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path().join("state")).unwrap().count(), 1, "nothing else is left");
        file.remove().unwrap();
        file.remove().unwrap();
    }

    #[test]
    fn no_damage_goes_unseen() {
        let folder = tempfile::tempdir().unwrap();
        let file = TextFile::new(folder.path());
        file.write(&MODEL, 2, &embeddings(3)).unwrap();
        let good = fs::read(&file.0).unwrap();
        for length in 0..good.len() {
            fs::write(&file.0, &good[..length]).unwrap();
            assert!(file.read(&MODEL, 2).is_err(), "cut to {length} bytes");
        }
        for byte in 0..good.len() {
            let mut bad = good.clone();
            bad[byte] ^= 1;
            fs::write(&file.0, &bad).unwrap();
            // What is left are bytes without a meaning, such as the header's padding.
            if let Ok(read) = file.read(&MODEL, 2) {
                assert_eq!(read, embeddings(3), "byte {byte}");
            }
        }
        File::create(&file.0).unwrap().set_len(MOST_BYTES as u64 + 1).unwrap();
        assert!(matches!(file.read(&MODEL, 2), Err(TextFileError::Damaged)));
    }

    #[test]
    fn the_file_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let file = TextFile::new(folder.path());
        // Of so many components, 15 embeddings fit.
        let dimension = 1 << 18;
        let mut raw = vec![0.0; dimension];
        raw[0] = 1.0;
        let embedding = Embedding::normalize(&raw).unwrap();
        let many: Vec<_> = (0..20).map(|n| ([n; 32], embedding.clone())).collect();
        file.write(&MODEL, dimension, &many).unwrap();
        assert!(fs::metadata(&file.0).unwrap().len() <= MOST_BYTES as u64);
        assert_eq!(file.read(&MODEL, dimension).unwrap(), many[..15]);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let in_the_way = folder.path().join("state");
        fs::write(&in_the_way, "").unwrap();
        let file = TextFile::new(&in_the_way);
        assert!(file.write(&MODEL, 2, &embeddings(1)).is_err());
        assert!(matches!(file.read(&MODEL, 2), Err(TextFileError::System(_))));
    }
}
