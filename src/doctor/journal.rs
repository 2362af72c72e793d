//! What the journal has of the service.

use std::time::Duration;

use serde_json::Value;

use super::command;

/// How far back is looked, as `journalctl` reads it and as people do.
const SINCE: &str = "-24h";
/// Most records that are read, from the newest back.
const MOST: &str = "400";

/// A record: a warning or worse.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// Microseconds since 1970.
    pub(crate) time: u64,
    /// Of syslog: 3 is an error, 4 a warning.
    pub(crate) priority: u8,
    pub(crate) message: String,
    /// `UNIT_RESULT=`, where systemd tells of a failure, such as `timeout`.
    pub(crate) result: Option<String>,
}

/// Why there are no records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// No journal, or no `journalctl`.
    #[default]
    Absent,
    /// It takes root, or the group systemd-journal.
    Denied,
}

/// The warnings and errors of the units, oldest first. Blocks, at most for `limit`.
pub(crate) fn read(limit: Duration) -> Result<Vec<Record>, Unreadable> {
    let printed = command::run(
        &[
            "journalctl",
            "--unit=hailo-clip.service",
            "--unit=hailo-clip.socket",
            "--priority=warning",
            "--since",
            SINCE,
            "--lines",
            MOST,
            "--output=json",
            "--no-pager",
        ],
        limit,
    )
    .ok_or(Unreadable::Absent)?;
    let denied = ["insufficient permissions", "not seeing messages from other users"];
    if denied.iter().any(|hint| printed.err.contains(hint)) {
        return Err(Unreadable::Denied);
    }
    if !printed.succeeded() || printed.err.contains("No journal files were found") {
        return Err(Unreadable::Absent);
    }
    Ok(printed.out.lines().filter_map(parse).collect())
}

fn parse(line: &str) -> Option<Record> {
    let record: Value = serde_json::from_str(line).ok()?;
    let text = |key: &str| record[key].as_str();
    let message = match &record["MESSAGE"] {
        Value::String(message) => message.clone(),
        // A message that is not UTF-8 comes as its bytes.
        Value::Array(bytes) => {
            let bytes = bytes.iter().map(|byte| byte.as_u64().and_then(|byte| u8::try_from(byte).ok()));
            String::from_utf8_lossy(&bytes.collect::<Option<Vec<u8>>>()?).into_owned()
        }
        _ => return None,
    };
    Some(Record {
        time: text("__REALTIME_TIMESTAMP")?.parse().ok()?,
        priority: text("PRIORITY")?.parse().ok()?,
        message,
        result: text("UNIT_RESULT").map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_journalctl_prints_them() {
        let line = r#"{"__REALTIME_TIMESTAMP":"1700000000000001","PRIORITY":"4","MESSAGE":"Failed with result 'timeout'.","UNIT_RESULT":"timeout"}"#;
        let expected = Record {
            time: 1_700_000_000_000_001,
            priority: 4,
            message: "Failed with result 'timeout'.".into(),
            result: Some("timeout".into()),
        };
        assert_eq!(parse(line), Some(expected));
        let bytes = r#"{"__REALTIME_TIMESTAMP":"1","PRIORITY":"3","MESSAGE":[104,105,255]}"#;
        assert_eq!(parse(bytes).unwrap().message, "hi\u{fffd}");
        assert_eq!(parse("no JSON"), None);
        assert_eq!(parse(r#"{"MESSAGE":null}"#), None);
    }
}
