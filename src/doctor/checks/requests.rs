//! How requests fare, from the daemon's own statistics, and what the configuration allows of them.

use std::collections::HashMap;

use crate::{
    doctor::{
        finding::{Check, Outcome},
        machine::Machine,
    },
    engine::{MAX_PROMPTS, MAX_TEXT_BYTES},
    model::Bundle,
};

/// A first answer is slow from so many milliseconds, if later ones take a tenth.
const SLOW_FIRST: f64 = 2000.0;
/// Shares of requests, in percent, that make a warning.
const OFTEN_REFUSED: f64 = 1.0;
const OFTEN_LATE: f64 = 1.0;
const OFTEN_REJECTED: f64 = 20.0;
/// Requests that make a share meaningful.
const ENOUGH: f64 = 20.0;
/// Base64 makes four bytes out of three; a camera's picture has some megabytes.
const SMALL_BODY: usize = 2 << 20;
/// A decoded picture takes up to this many bytes for each pixel.
const BYTES_PER_PIXEL: u64 = 8;
/// A logit scale that is this much smaller than the model's makes all scores alike.
const FLATTER: f64 = 5.0;

const EDIT: &str = "sudoedit /etc/hailo/hailo-clip.yaml";
const RELOAD: &str = "sudo systemctl reload hailo-clip.service";
/// How one looks at scores, on the pictures and prompts in question.
const EXPLAIN: &str = "hailo-clip classify PICTURE \"a cat\" \"a dog\" --explain";

/// The daemon's statistics; else the outcome that there are none.
fn statistics(machine: &Machine) -> Result<&HashMap<String, f64>, Outcome> {
    let Some(answers) = machine.service.answers() else {
        return Err(Outcome::not_applicable("the service does not answer"));
    };
    answers
        .statistics
        .as_ref()
        .ok_or_else(|| Outcome::not_applicable("this version of the service keeps no statistics"))
}

fn number(statistics: &HashMap<String, f64>, key: &str) -> f64 {
    statistics.get(key).copied().unwrap_or_default()
}

/// `part` of all requests in percent.
fn share(statistics: &HashMap<String, f64>, part: f64) -> f64 {
    part * 100.0 / number(statistics, "requests").max(1.0)
}

pub(super) const WARM_UP: Check = Check {
    id: "warm-up",
    title: "First request",
    symptom: "the first request takes seconds, later ones do not",
    looks_at: "the daemon's first answer against its median, `performance.warmup_enabled`, `performance.idle_unload_seconds`",
    remedy: "set `performance.warmup_enabled: true`; `hailo-clip warmup` does it once",
    run: warm_up,
};

fn warm_up(machine: &Machine) -> Outcome {
    let statistics = match statistics(machine) {
        Ok(statistics) => statistics,
        Err(outcome) => return outcome,
    };
    let performance = machine.settings_or_default().performance;
    let (first, median) = (statistics.get("first_answer_ms"), number(statistics, "median_answer_ms"));
    let Some(&first) = first else {
        return Outcome::ok(if performance.warmup_iterations > 0 {
            "the model is warmed up before the first request"
        } else {
            "no request has come yet; \"hailo-clip warmup\" readies the model"
        });
    };
    let seen = format!("the first answer took {first:.0} ms, the median is {median:.0} ms");
    if performance.warmup_iterations == 0 && first >= SLOW_FIRST && first >= 10.0 * median {
        let outcome = Outcome::warning("the first request waited for the model").seen(seen);
        let outcome = match performance.idle_unload {
            Some(after) => {
                outcome.seen(format!("the model is released after {} s without a request", after.as_secs()))
            }
            None => outcome,
        };
        return outcome
            .advise("set performance.warmup_enabled: true, so that this happens at the start")
            .mend(EDIT)
            .mend(RELOAD);
    }
    Outcome::ok("the first request was not slow").seen(seen)
}

pub(super) const QUEUE: Check = Check {
    id: "queue",
    title: "Queue",
    symptom: "HTTP 503 with Retry-After, D-Bus error QueueFull",
    looks_at: "requests that the daemon refused since it started, the queue now, `performance.max_queue_size`",
    remedy: "send fewer at a time, or raise `performance.max_queue_size` and `performance.worker_threads`",
    run: queue,
};

fn queue(machine: &Machine) -> Outcome {
    let Some(properties) = machine.properties() else {
        return Outcome::not_applicable("the service does not answer");
    };
    let (depth, most) =
        (properties.queue_depth.unwrap_or_default(), properties.max_queue_size.unwrap_or_default());
    let now = format!("{depth} of {most} places are taken now");
    let full = most > 0 && depth >= most;
    let (refused, of) = match statistics(machine) {
        Ok(statistics) => (number(statistics, "refused"), share(statistics, number(statistics, "refused"))),
        Err(_) if full => (0.0, 0.0),
        Err(outcome) => return outcome.seen(now),
    };
    if full || of >= OFTEN_REFUSED {
        return Outcome::warning("the queue is full, or was often")
            .seen(format!("{refused:.0} requests were refused, {of:.1} % of all"))
            .seen(now)
            .advise(
                "send fewer at a time, or raise performance.max_queue_size and performance.worker_threads",
            )
            .mend(EDIT)
            .mend(RELOAD);
    }
    Outcome::ok("the queue has room").seen(format!("{refused:.0} requests were refused")).seen(now)
}

pub(super) const TIMEOUTS: Check = Check {
    id: "timeouts",
    title: "Late and failed requests",
    symptom: "HTTP 504 or 500, D-Bus errors Timeout and BackendFailed",
    looks_at: "requests that ran out of time or failed since the daemon started, `performance.request_timeout`",
    remedy: "give requests more time, send fewer, or see the journal for what failed",
    run: timeouts,
};

fn timeouts(machine: &Machine) -> Outcome {
    let statistics = match statistics(machine) {
        Ok(statistics) => statistics,
        Err(outcome) => return outcome,
    };
    let (late, failed) = (number(statistics, "timed_out"), number(statistics, "failed"));
    let seen = format!(
        "{late:.0} were late and {failed:.0} failed of {:.0}; 95 % take {:.0} ms or less",
        number(statistics, "requests"),
        number(statistics, "p95_answer_ms")
    );
    if failed > 0.0 {
        return Outcome::warning("requests have failed")
            .seen(seen)
            .mend("journalctl -u hailo-clip -p err -e");
    }
    if share(statistics, late) >= OFTEN_LATE {
        return Outcome::warning("requests run out of time")
            .seen(seen)
            .advise(
                "raise performance.request_timeout, or lower performance.max_queue_size so that fewer wait",
            )
            .mend(EDIT)
            .mend(RELOAD);
    }
    Outcome::ok("requests are answered in time").seen(seen)
}

pub(super) const REJECTED: Check = Check {
    id: "rejected-requests",
    title: "Requests that make no sense",
    symptom: "HTTP 400, 413 or 415: a picture that cannot be decoded or is too large, wrong fields",
    looks_at: "requests that the daemon rejected since it started",
    remedy: "try the picture with `hailo-clip classify`, which says what is wrong with it",
    run: rejected,
};

fn rejected(machine: &Machine) -> Outcome {
    let statistics = match statistics(machine) {
        Ok(statistics) => statistics,
        Err(outcome) => return outcome,
    };
    let rejected = number(statistics, "rejected");
    let seen = format!("{rejected:.0} of {:.0} were rejected", number(statistics, "requests"));
    if number(statistics, "requests") >= ENOUGH && share(statistics, rejected) >= OFTEN_REJECTED {
        return Outcome::warning("a client sends pictures or fields that cannot be used")
            .seen(seen)
            .advise("its answers say what is wrong; a picture can be tried with")
            .mend("hailo-clip classify PICTURE \"a cat\" \"a dog\"");
    }
    Outcome::ok("clients send what can be used").seen(seen)
}

pub(super) const LIMITS: Check = Check {
    id: "request-limits",
    title: "Limits of requests",
    symptom: "HTTP 413, D-Bus error TooLarge: a picture too large, too many prompts",
    looks_at: "`server.max_body_mb`, `server.max_image_megapixels`, and what pictures at that limit take of `resource_limits.memory_max`",
    remedy: "raise the limits, or send smaller pictures; CLIP sees a few hundred pixels",
    run: limits,
};

fn limits(machine: &Machine) -> Outcome {
    let Some(settings) = machine.settings() else {
        return Outcome::not_applicable("the configuration has mistakes");
    };
    let (server, performance) = (&settings.server, &settings.performance);
    let seen = format!(
        "bodies up to {} MiB (pictures of {} MiB in base64), {} megapixels, {MAX_PROMPTS} prompts of {MAX_TEXT_BYTES} bytes",
        server.max_body_bytes >> 20,
        (server.max_body_bytes >> 20) * 3 / 4,
        server.max_image_pixels / 1_000_000
    );
    if server.max_body_bytes < SMALL_BODY {
        return Outcome::warning("server.max_body_mb is too small for pictures of cameras")
            .seen(seen)
            .mend(EDIT)
            .mend(RELOAD);
    }
    let decoded = server.max_image_pixels * BYTES_PER_PIXEL * performance.workers() as u64;
    let limit = machine.memory().and_then(|group| group.limit);
    if limit.is_some_and(|limit| decoded > limit) {
        return Outcome::warning("pictures at the limit take more memory than the service may have")
            .seen(format!("performance.worker_threads of them take up to {}", super::memory::mib(decoded)))
            .advise("lower server.max_image_megapixels or performance.worker_threads")
            .mend(EDIT)
            .mend(RELOAD);
    }
    Outcome::ok("usual pictures and prompts pass").seen(seen)
}

pub(super) const SCORES: Check = Check {
    id: "scores",
    title: "Scores",
    symptom: "no prompt clearly wins, or a threshold hides everything",
    looks_at: "`clip.apply_softmax` and `clip.logit_scale` against the model's own scale",
    remedy: "leave both to the model; `hailo-clip classify --explain` shows cosines, margins and prompts that are too similar",
    run: scores,
};

fn scores(machine: &Machine) -> Outcome {
    let Some(settings) = machine.settings() else {
        return Outcome::not_applicable("the configuration has mistakes");
    };
    if !settings.clip.apply_softmax {
        return Outcome::warning("scores are cosines, which lie close together (about 0.15 to 0.35)")
            .seen("clip.apply_softmax is false")
            .advise("thresholds made for probabilities hide everything; remove the key unless clients expect cosines")
            .mend(EDIT)
            .mend(RELOAD)
            .mend(EXPLAIN);
    }
    let Some(scale) = settings.clip.logit_scale.map(f64::from) else {
        return Outcome::ok("scores are as the model was trained");
    };
    let of_model =
        Bundle::find(&settings.clip.model, &machine.models).ok().map(|bundle| f64::from(bundle.logit_scale));
    match of_model {
        Some(own) if scale * FLATTER < own => Outcome::warning("clip.logit_scale makes all scores alike")
            .seen(format!("it is {scale}, the model's own is {own}"))
            .advise("set clip.logit_scale: auto")
            .mend(EDIT)
            .mend(RELOAD)
            .mend(EXPLAIN),
        _ => Outcome::ok("clip.logit_scale is of the model's order").seen(format!("it is {scale}")),
    }
}
