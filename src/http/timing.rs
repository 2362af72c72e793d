//! `Server-Timing`: where the time of an answer went, in milliseconds, as browsers display it.

use std::{fmt::Write, time::Duration};

use axum::http::{HeaderName, HeaderValue};

use crate::engine::Timings;

pub(super) type ServerTiming = [(HeaderName, HeaderValue); 1];

/// The header for an answer, to be put in front of its body.
pub(super) fn server_timing(timings: &Timings) -> ServerTiming {
    let stages = [
        ("decode", timings.decode),
        ("preprocess", timings.preprocess),
        ("queue", timings.queue),
        ("image", timings.image),
        ("text", timings.text),
        ("score", timings.score),
    ];
    let mut value = String::with_capacity(160);
    for (stage, time) in stages {
        let separator = if value.is_empty() { "" } else { ", " };
        let microseconds = (time.as_nanos() + 500) / 1000;
        let (whole, thousandths) = (microseconds / 1000, microseconds % 1000);
        write!(value, "{separator}{stage};dur={whole}.{thousandths:03}").expect("a String takes everything");
    }
    let value = HeaderValue::try_from(value).expect("stage names and numbers are ASCII");
    [(HeaderName::from_static("server-timing"), value)]
}

pub(super) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_is_named() {
        let timings = Timings { decode: Duration::from_micros(1500), ..Timings::default() };
        let [(name, value)] = server_timing(&timings);
        assert_eq!(name, "server-timing");
        assert_eq!(
            value,
            "decode;dur=1.500, preprocess;dur=0.000, queue;dur=0.000, image;dur=0.000, text;dur=0.000, \
             score;dur=0.000"
        );
    }
}
