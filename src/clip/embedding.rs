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

    /// An embedding from what [`as_slice`](Self::as_slice) gave, to the bit; `None` if it has no unit length.
    #[must_use]
    pub fn from_unit(components: &[f32]) -> Option<Self> {
        let squares: f64 = components.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        ((squares - 1.0).abs() < 1e-4).then(|| Self(components.into()))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn norm(embedding: &Embedding) -> f64 {
        embedding.as_slice().iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()
    }

    #[test]
    fn normalizes_whatever_has_a_direction() {
        assert_eq!(Embedding::normalize(&[3.0, -4.0]).unwrap().as_slice(), [0.6, -0.8]);
        // Their squares overflow or vanish in f32.
        for x in [f32::MAX, f32::MIN_POSITIVE, f32::from_bits(1)] {
            assert_eq!(Embedding::normalize(&[0.0, x]).unwrap().as_slice(), [0.0, 1.0], "{x}");
        }
    }

    #[test]
    fn refuses_what_has_no_direction() {
        for raw in [&[][..], &[0.0], &[0.0, -0.0]] {
            assert_eq!(Embedding::normalize(raw), Err(EmbeddingError::Zero), "{raw:?}");
        }
        for x in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(Embedding::normalize(&[1.0, x]), Err(EmbeddingError::NotFinite), "{x}");
        }
    }

    #[test]
    fn comes_back_to_the_bit_and_nothing_else_does() {
        let embedding = Embedding::normalize(&[1.0, 2.0, 3.0]).unwrap();
        assert_eq!(Embedding::from_unit(embedding.as_slice()), Some(embedding));
        for raw in [&[][..], &[0.0], &[0.5, 0.5], &[f32::NAN], &[f32::INFINITY]] {
            assert_eq!(Embedding::from_unit(raw), None, "{raw:?}");
        }
    }

    #[test]
    fn the_mean_lies_between() {
        let [x, y] = [[1.0, 0.0], [0.0, 1.0]].map(|raw| Embedding::normalize(&raw).unwrap());
        let mean = Embedding::mean(&[x.clone(), y]).unwrap();
        assert!((mean.cosine(&x).unwrap() - 0.5_f32.sqrt()).abs() < 1e-6);
        assert_eq!(Embedding::mean(std::slice::from_ref(&x)), Ok(x.clone()));
        let opposite = Embedding::normalize(&[-1.0, 0.0]).unwrap();
        assert_eq!(Embedding::mean(&[x.clone(), opposite]), Err(EmbeddingError::Zero));
        assert_eq!(Embedding::mean(&[]), Err(EmbeddingError::Zero));
        let longer = Embedding::normalize(&[1.0, 0.0, 0.0]).unwrap();
        assert_eq!(Embedding::mean(&[x, longer]), Err(EmbeddingError::Dimensions(2, 3)));
    }

    proptest! {
        #[test]
        fn embeddings_have_unit_length(raw in prop::collection::vec(any::<f32>(), 1..64)) {
            if let Ok(embedding) = Embedding::normalize(&raw) {
                prop_assert!((norm(&embedding) - 1.0).abs() < 1e-6);
                prop_assert!((embedding.cosine(&embedding).unwrap() - 1.0).abs() < 1e-5);
            }
        }

        #[test]
        fn any_vector_is_an_embedding_or_an_error(
            raw in prop::collection::vec(prop::num::f32::ANY, 0..8),
        ) {
            let finite = raw.iter().all(|x| x.is_finite());
            match Embedding::normalize(&raw) {
                Ok(embedding) => prop_assert!(finite && embedding.as_slice().iter().all(|x| x.is_finite())),
                Err(EmbeddingError::NotFinite) => prop_assert!(!finite),
                Err(error) => {
                    prop_assert_eq!(error, EmbeddingError::Zero);
                    prop_assert!(raw.iter().all(|x| *x == 0.0));
                }
            }
        }

        #[test]
        fn cosines_are_symmetric_and_bounded(
            (a, b) in (1..32_usize).prop_flat_map(|dimension| {
                let raw = || prop::collection::vec(-1.0e3..1.0e3_f32, dimension);
                (raw(), raw())
            }),
        ) {
            if let (Ok(a), Ok(b)) = (Embedding::normalize(&a), Embedding::normalize(&b)) {
                let cosine = a.cosine(&b).unwrap();
                prop_assert_eq!(cosine, b.cosine(&a).unwrap());
                prop_assert!((-1.0..=1.0).contains(&cosine));
            }
        }
    }
}
