//! YAML as [`model`](crate::model) and [`config`](crate::config) read it: with limits that our own
//! files never reach and hostile ones meet at once, and with errors of one line.

use serde::de::DeserializeOwned;
use serde_saphyr::{DuplicateKeyPolicy, Error, NonFiniteFloatPolicy, Options, UserMessageFormatter};

/// Largest file that is read, in bytes.
pub(crate) const MAX_BYTES: usize = 256 * 1024;

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

/// Reads one YAML document.
///
/// Repeated keys reach the receiving type, which has to reject them; derived structs do.
///
/// # Errors
/// Not UTF-8, not YAML, over a limit, or not a `T`.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, YamlError> {
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
    serde_saphyr::from_str_with_options(text, options()).map_err(|error| describe(&error))
}

fn options() -> Options {
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
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        // Our own range checks reject them, with a message that names the range.
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    }
}

/// The library's words for most errors, ours where its words are for programmers.
fn describe(error: &Error) -> YamlError {
    let message = match error {
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasReplayCounterOverflow { .. } => {
            "more entries, nesting or aliases than belong into this file".to_owned()
        }
        Error::MultipleDocuments { .. } => "a second document begins here; remove this '---'".to_owned(),
        Error::NullIntoString { .. } => "text is missing here".to_owned(),
        Error::AliasError { error, .. } => return describe(error),
        error => serde_saphyr::MessageFormatter::format_message(&UserMessageFormatter, error)
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" "),
    };
    YamlError { position: error.location().and_then(Position::of), message }
}
