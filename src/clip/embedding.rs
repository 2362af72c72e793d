//! Embeddings: L2-normalised `f32` vectors that images and texts share.

use std::sync::Arc;

use thiserror::Error;

/// An L2-normalised vector of finite `f32`; cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding(Arc<[f32]>);

/// Why a vector is no embedding.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum EmbeddingError {
    /// A component is NaN or infinite.
    #[error("the encoder's output is not finite")]
    NotFinite,
    /// The vector has no direction: it is empty or all zeros.
    #[error("the encoder's output is all zeros")]
    Zero,
    /// Vectors of different models do not go together.
    #[error("embeddings of different dimensions: {0} and {1}")]
    Dimensions(usize, usize),
}

impl Embedding {
    /// Normalises an encoder's output to unit length.
    ///
    /// # Errors
    /// A vector that is empty, zero or not finite has no direction.
    pub fn normalize(raw: &[f32]) -> Result<Self, EmbeddingError> {
        // In f64: a float32 sum of squares overflows on outputs that are still finite.
        let squares: f64 = raw.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        if !squares.is_finite() {
            return Err(EmbeddingError::NotFinite);
        }
        if squares == 0.0 {
            return Err(EmbeddingError::Zero);
        }
        let norm = squares.sqrt();
        #[allow(clippy::cast_possible_truncation, reason = "rounding to f32 is the point")]
        let unit = raw.iter().map(|&x| (f64::from(x) / norm) as f32).collect();
        Ok(Self(unit))
    }

    /// The mean direction of several embeddings: the embedding of a prompt ensemble.
    ///
    /// # Errors
    /// No embedding at all, mixed dimensions, or directions that cancel out.
    pub fn mean(embeddings: &[Self]) -> Result<Self, EmbeddingError> {
        let Some(first) = embeddings.first() else {
            return Err(EmbeddingError::Zero);
        };
        let mut sum = vec![0.0_f32; first.dimension()];
        for embedding in embeddings {
            first.check_dimension(embedding)?;
            for (total, x) in sum.iter_mut().zip(embedding.as_slice()) {
                *total += x;
            }
        }
        Self::normalize(&sum)
    }

    /// The cosine of the angle to another embedding, in −1…1.
    ///
    /// # Errors
    /// The embeddings differ in dimension.
    pub fn cosine(&self, other: &Self) -> Result<f32, EmbeddingError> {
        self.check_dimension(other)?;
        let dot: f32 = self.0.iter().zip(&*other.0).map(|(a, b)| a * b).sum();
        Ok(dot.clamp(-1.0, 1.0))
    }

    /// The components.
    #[must_use]
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }

    /// The number of components.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.0.len()
    }

    fn check_dimension(&self, other: &Self) -> Result<(), EmbeddingError> {
        if self.dimension() == other.dimension() {
            Ok(())
        } else {
            Err(EmbeddingError::Dimensions(self.dimension(), other.dimension()))
        }
    }
}
