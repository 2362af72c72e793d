//! YAML as [`model`](crate::model) and [`config`](crate::config) read it: with limits that our own
//! files never reach and hostile ones meet at once, and with errors of one line.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use serde::de::DeserializeOwned;
use serde_saphyr::{
    DuplicateKeyPolicy, Error, MessageFormatter, NonFiniteFloatPolicy, Options, UserMessageFormatter,
};

/// Largest file that is read, in bytes.
const MAX_BYTES: usize = 256 * 1024;

/// A place in a file; both numbers count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line.
    pub line: u64,
    /// Column, in characters.
    pub column: u64,
}

impl Position {
    /// `None` where the parser knows no place.
    pub(crate) fn of(location: serde_saphyr::Location) -> Option<Self> {
        (location != serde_saphyr::Location::UNKNOWN)
            .then(|| Self { line: location.line(), column: location.column() })
    }
}

/// Why a text is not the YAML that was asked for.
#[derive(Debug)]
pub(crate) struct YamlError {
    /// Where, if the parser knows.
    pub(crate) position: Option<Position>,
    /// What, on one line and without the place.
    pub(crate) message: String,
}

/// The content of a file; of one that is too large only so much that [`read`] refuses it.
pub(crate) fn load(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads one YAML document. Repeated keys are an error, or reach `T` with
/// [`DuplicateKeyPolicy::PassThrough`].
///
/// # Errors
/// Not UTF-8, not YAML, over a limit, or not a `T`.
pub(crate) fn read<T: DeserializeOwned>(
    bytes: &[u8],
    duplicate_keys: DuplicateKeyPolicy,
) -> Result<T, YamlError> {
    if bytes.len() > MAX_BYTES {
        let message =
            format!("the file is larger than {} KiB; this is not what belongs here", MAX_BYTES / 1024);
        return Err(YamlError { position: None, message });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = before.iter().filter(|&&byte| byte == b'\n').count() as u64 + 1;
        let position = Position { line, column: 1 };
        YamlError {
            position: Some(position),
            message: "this line is not UTF-8 text; save the file as UTF-8".into(),
        }
    })?;
    serde_saphyr::from_str_with_options(text, options(duplicate_keys)).map_err(|error| describe(&error, text))
}

fn options(duplicate_keys: DuplicateKeyPolicy) -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            flow_nesting_limit: 16,
            max_depth: 16,
            max_events: 20_000,
            max_nodes: 10_000,
            max_anchors: 100,
            max_aliases: 100,
            max_recorded_anchor_events: 20_000,
            max_documents: 2,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 20_000,
            max_replay_stack_depth: 16,
        },
        duplicate_keys: duplicate_keys,
        // Our own range checks reject them, with a message that names the range.
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    }
}

/// The library's words for most errors, ours where its words are for programmers.
fn describe(error: &Error, text: &str) -> YamlError {
    let position = error.location().and_then(Position::of);
    let message = match error {
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasReplayCounterOverflow { .. } => {
            "more entries, nesting or aliases than belong into this file".to_owned()
        }
        Error::MultipleDocuments { .. } => "a second document begins above; remove the '---'".to_owned(),
        Error::NullIntoString { .. } => "text is missing here".to_owned(),
        Error::UnknownAnchor { .. } => {
            "this refers to an anchor that there is not; put text that starts with '*' in quotes".to_owned()
        }
        Error::DuplicateMappingKey { key, .. } => {
            format!("the key {} is here for the second time", key.as_deref().unwrap_or_default())
        }
        Error::InvalidScalar { ty, .. } if ty.starts_with('u') => {
            "expected a whole number, 0 or more".to_owned()
        }
        Error::InvalidScalar { ty, .. } if ty.starts_with('f') => "expected a number".to_owned(),
        Error::ExternalMessage { .. }
            if position.is_some_and(|position| is_indented_by_tab(text, position)) =>
        {
            "this line is indented with a tab; use spaces".to_owned()
        }
        Error::ExternalMessage { msg, .. } => format!("not valid YAML: {msg}"),
        Error::SerdeUnknownField { field, expected, .. } => {
            format!("unknown key {field:?}; there are {}", expected.join(", "))
        }
        // Its location is that of something else.
        Error::SerdeMissingField { field, .. } => {
            return YamlError { position: None, message: format!("the key {field} is missing") };
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            format!("{variant:?} is none of {}", expected.join(", "))
        }
        Error::AliasError { error, .. } => return describe(error, text),
        error => MessageFormatter::format_message(&UserMessageFormatter, error).into_owned(),
    };
    YamlError { position, message: one_line(&message) }
}

fn is_indented_by_tab(text: &str, position: Position) -> bool {
    let line = usize::try_from(position.line - 1).ok().and_then(|index| text.lines().nth(index));
    line.is_some_and(|line| line.chars().take_while(|c| c.is_whitespace()).any(|c| c == '\t'))
}

/// Text of the file may be part of a message: it is neither to break the line nor to fill the screen.
fn one_line(message: &str) -> String {
    const LONGEST: usize = 300;
    message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect()
}
