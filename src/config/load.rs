//! From a file or a text to settings.

use std::{io, path::Path};

use serde_saphyr::DuplicateKeyPolicy;

use super::{
    ConfigErrors, Finding, Settings, effective_yaml,
    reader::Reader,
    tree::{Node, Value},
    validate,
};
use crate::yaml;

/// Where the configuration is, unless the daemon is told otherwise.
pub const DEFAULT_PATH: &str = "/etc/hailo/hailo-clip.yaml";

/// A configuration that can be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Keys without the effect that their author may expect, and what to use instead.
    pub notices: Vec<Finding>,
}

/// Answer to `--check-config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The effective settings as YAML, notices as comments above; or the errors, one a line.
    pub output: String,
    /// Whether a service would start with this file.
    pub ok: bool,
}

/// Reads the configuration file `path`. A missing file stands for the defaults, and a notice says so.
///
/// # Errors
/// The file cannot be read, or anything in it is wrong.
pub fn load(path: &Path) -> Result<Loaded, ConfigErrors> {
    let name = path.display().to_string();
    let remark = |message: String| Finding { file: name.clone(), position: None, message };
    match yaml::load(path) {
        Ok(bytes) => parse(&bytes, &name),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Loaded {
            settings: Settings::default(),
            notices: vec![remark("there is no such file; every setting has its default".to_owned())],
        }),
        Err(error) => Err(ConfigErrors(vec![remark(format!(
            "cannot be read ({}); check its owner and permissions",
            error.kind()
        ))])),
    }
}

/// Validates the text of a configuration file; `name` stands for it in findings.
///
/// # Errors
/// Everything in it that is wrong.
pub fn parse(text: &[u8], name: &str) -> Result<Loaded, ConfigErrors> {
    let locate = |(position, message)| Finding { file: name.to_owned(), position, message };
    // The reader tells of repeated keys together with everything else.
    let root: Option<Node> = yaml::read(text, DuplicateKeyPolicy::PassThrough)
        .map_err(|error| ConfigErrors(vec![locate((error.position, error.message))]))?;

    let mut reader = Reader::new(root.map_or(Value::Null, |node| node.value));
    let settings = validate::settings(&mut reader);
    let (errors, notices) = reader.finish();
    if errors.is_empty() {
        return Ok(Loaded { settings, notices: notices.into_iter().map(locate).collect() });
    }
    Err(ConfigErrors(errors.into_iter().map(locate).collect()))
}

/// What a service would make of the configuration file `path`.
#[must_use]
pub fn check(path: &Path) -> Checked {
    match load(path) {
        Ok(Loaded { settings, notices }) => {
            let notices: String = notices.iter().map(|notice| format!("# {notice}\n")).collect();
            Checked { output: notices + &effective_yaml(&settings), ok: true }
        }
        Err(errors) => Checked { output: format!("{errors}\n"), ok: false },
    }
}
