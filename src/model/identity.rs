//! What makes a model the same one: not its name, which people give, but what its embeddings come from.

use sha2::{Digest, Sha256};

use super::{Bundle, Platform, fetch::hex};
use crate::clip::Fit;

/// Changes with the meaning of a digest.
const FORMAT: &str = "1";

impl Bundle {
    /// SHA-256 over all that decides its embeddings on `platform`, with pictures brought to the encoder's square
    /// by `fit`, in hexadecimal. Embeddings under the same digest can be compared, wherever and under whatever
    /// name they were made.
    ///
    /// Factor and bias of the scores are no part of it, and names and texts for people are not.
    #[must_use]
    pub fn digest(&self, platform: Platform, fit: Fit) -> String {
        let mut hasher = Sha256::new();
        let numbers = (self.embedding_dimension, self.image.size, self.context_length, self.pad_token);
        let shape = format!("{FORMAT} {} {numbers:?} {fit:?} {:?} {:?}", platform.key(), self.mean, self.std);
        hasher.update(shape);
        hasher.update(self.tokenizer.sha256);
        for tower in [&self.image_tower, &self.text_tower] {
            let files = tower.artefacts(platform).or_else(|| tower.artefacts(Platform::Cpu));
            for file in files.into_iter().flatten() {
                hasher.update(file.sha256);
            }
        }
        hex(&hasher.finalize().into())
    }
}
