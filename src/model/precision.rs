//! How exactly an encoder computes, as every interface names it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Numeric precision of an encoder's weights, the finest first.
///
/// Embeddings of different precisions differ a little, so those of a coarser one are no embeddings of the same
/// model for programs that compare them over years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floating point: the reference.
    Fp32,
    /// 16-bit floating point.
    Fp16,
    /// Integers of 8 bits or fewer, with scales; so is every HEF.
    Int8,
}

impl Precision {
    /// The name used in every interface.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Int8 => "int8",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
