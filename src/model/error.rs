//! Why a bundle cannot be used.

use std::fmt;

use thiserror::Error;

use super::{Platform, Precision};

/// Why a bundle cannot be used, and what to do. The text is for people and names no folder.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BundleError {
    /// Not a name that a bundle can have.
    #[error(
        "{0:?} is not a model name: a name starts with a lower-case letter or a digit, and goes on with \
         these, '.', '_' and '-'"
    )]
    InvalidName(String),
    /// No search folder has it.
    #[error("model {name} is not installed; {}", alternatives(.installed))]
    NotInstalled {
        /// The name that was asked for.
        name: String,
        /// Names that would be found.
        installed: Vec<String>,
    },
    /// `model.yaml` breaks the format.
    #[error("model {name}: {}: {message}; reinstall the model, or correct the file", place(*.line))]
    InvalidManifest {
        /// The bundle.
        name: String,
        /// Line in `model.yaml`, from 1, where one is to blame.
        line: Option<u64>,
        /// What is wrong.
        message: String,
    },
    /// The bundle was not made for this hardware.
    #[error("model {name} has no {tower} encoder for {platform}; choose another backend or another model")]
    NoEncoder {
        /// The bundle.
        name: String,
        /// The encoder.
        tower: TowerKind,
        /// The hardware.
        platform: Platform,
    },
    /// The networks are coarser than `model.yaml` says.
    #[error(
        "model {name}: model.yaml says precision {said}, but its ONNX is quantised; correct it to precision: int8"
    )]
    Quantised {
        /// The bundle.
        name: String,
        /// What `model.yaml` says.
        said: Precision,
    },
    /// The networks are finer than `model.yaml` says.
    #[error(
        "model {name}: model.yaml says precision int8, but its ONNX has no quantised operator; correct it to \
         precision: fp32, or quantise the networks"
    )]
    NotQuantised {
        /// The bundle.
        name: String,
    },
    /// A file is not there.
    #[error("model {name}: {file} is missing; reinstall the model")]
    Missing {
        /// The bundle.
        name: String,
        /// File name within the bundle.
        file: String,
    },
    /// A file is there, but cannot be read.
    #[error("model {name}: {file} cannot be read ({reason}); check its permissions, or reinstall the model")]
    Unreadable {
        /// The bundle.
        name: String,
        /// File name within the bundle.
        file: String,
        /// The system's answer.
        reason: String,
    },
    /// A file is a folder, a device, or a link that leads out of the bundle.
    #[error("model {name}: {file} is not a plain file within the bundle; reinstall the model")]
    NotAFile {
        /// The bundle.
        name: String,
        /// File name within the bundle.
        file: String,
    },
    /// A file of weights lies in the bundle that an ONNX graph could refer to, and nothing vouches for it.
    #[error(
        "model {name}: {file} is not listed in model.yaml; list it there with size and sha256, or remove it"
    )]
    Unlisted {
        /// The bundle.
        name: String,
        /// File name within the bundle.
        file: String,
    },
    /// A file is shorter or longer than it should be.
    #[error(
        "model {name}: {file} has {found} bytes instead of {expected}, it is {}; reinstall the model",
        if .found < .expected { "truncated" } else { "altered" }
    )]
    WrongSize {
        /// The bundle.
        name: String,
        /// File name within the bundle.
        file: String,
        /// Bytes on disk.
        found: u64,
        /// Bytes according to `model.yaml`.
        expected: u64,
    },
    /// A file has the right size and another content.
    #[error("model {name}: {file} is altered or damaged (its SHA-256 differs); reinstall the model")]
    Altered {
        /// The bundle.
        name: String,
        /// File name within the bundle.
        file: String,
    },
}

/// One of the two encoders of a CLIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TowerKind {
    /// Pictures to embeddings.
    Image,
    /// Texts to embeddings.
    Text,
}

impl fmt::Display for TowerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Image => "image",
            Self::Text => "text",
        })
    }
}

fn alternatives(names: &[String]) -> String {
    if names.is_empty() {
        "no model is installed".to_owned()
    } else {
        format!("installed: {}", names.join(", "))
    }
}

fn place(line: Option<u64>) -> String {
    line.map_or_else(|| "model.yaml".to_owned(), |line| format!("model.yaml:{line}"))
}
