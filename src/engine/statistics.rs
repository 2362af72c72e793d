//! What is counted: requests and their outcomes, where their time went, batches, the text cache.
//!
//! A request costs a few atomic additions. Deliberately not here: what can be asked of the engine at any
//! time (its state, the queue, the device's sensors), and how a facade shows all this.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry, core::Collector,
    proto::MetricFamily,
};

use super::{EngineError, Timings};

/// Answers of which the median and the 95th percentile are taken.
const RECENT_ANSWERS: usize = 512;

/// Upper bounds in seconds: from a picture that is scaled to a queue that is full.
const SECONDS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Upper bounds of batch sizes.
const JOBS: [f64; 7] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

/// What a request asks for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operation {
    Classify,
    EmbedImage,
    EmbedTexts,
}

/// Counts since the start, shared by the engine and its facades.
pub struct Statistics {
    started: Instant,
    registry: Registry,
    answers: IntCounterVec,
    requests: IntCounter,
    outcomes: Outcomes,
    durations: [Histogram; 3],
    stages: Stages,
    image_batches: Histogram,
    text_batches: Histogram,
    text_cache_hits: IntCounter,
    text_cache_misses: IntCounter,
    recent: Mutex<Recent>,
}

struct Outcomes {
    answered: IntCounter,
    rejected: IntCounter,
    refused: IntCounter,
    not_ready: IntCounter,
    timed_out: IntCounter,
    failed: IntCounter,
}

struct Stages {
    decode: Histogram,
    preprocess: Histogram,
    queue: Histogram,
    image: Histogram,
    text: Histogram,
    score: Histogram,
}

/// The times of the last answers, the oldest overwritten first.
#[derive(Default)]
struct Recent {
    first: Option<Duration>,
    times: Vec<Duration>,
    next: usize,
}

/// The counts at one moment. Requests without an outcome are in flight, or their callers left.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Since the engine was started.
    pub uptime: Duration,
    /// Requests that came to the engine.
    pub requests: u64,
    /// Answered as asked.
    pub answered: u64,
    /// An argument or a picture was not acceptable.
    pub rejected: u64,
    /// The queue was full.
    pub refused: u64,
    /// No model was there to answer.
    pub not_ready: u64,
    /// The deadline passed.
    pub timed_out: u64,
    /// The encoder failed.
    pub failed: u64,
    /// How long the first answer took, with its wait for the model.
    pub first_answer: Option<Duration>,
    /// Median of the last answers.
    pub median_answer: Option<Duration>,
    /// 95th percentile of the last answers.
    pub p95_answer: Option<Duration>,
    /// Texts whose embedding was known, or was being computed for another request.
    pub text_cache_hits: u64,
    /// Texts that had to be encoded.
    pub text_cache_misses: u64,
}

impl Statistics {
    pub(super) fn new() -> Self {
        let registry = Registry::new();
        let requests = counter("hailo_clip_inference_requests_total", "Requests that came to the engine.");
        let outcomes = IntCounterVec::new(
            Opts::new(
                "hailo_clip_inference_outcomes_total",
                "Requests that the engine has done with, by outcome; refused: the queue was full.",
            ),
            &["outcome"],
        );
        let answers = IntCounterVec::new(
            Opts::new("hailo_clip_requests_total", "Requests answered, by facade, operation and code."),
            &["facade", "operation", "code"],
        );
        let durations = histograms(
            "hailo_clip_inference_duration_seconds",
            "Time from a request's acceptance to its answer.",
            "operation",
            &SECONDS,
        );
        let stages = histograms(
            "hailo_clip_stage_duration_seconds",
            "Time of a request's stages, which overlap; a stage that did not take place is not counted.",
            "stage",
            &SECONDS,
        );
        let batches =
            histograms("hailo_clip_batch_size", "Pictures or texts in an encoder's batch.", "encoder", &JOBS);
        let hits = counter(
            "hailo_clip_text_cache_hits_total",
            "Texts whose embedding was known, or was being computed for another request.",
        );
        let misses = counter("hailo_clip_text_cache_misses_total", "Texts that had to be encoded.");
        let (outcomes, answers) = (valid(outcomes), valid(answers));
        let parts: [Box<dyn Collector>; 8] = [
            Box::new(requests.clone()),
            Box::new(outcomes.clone()),
            Box::new(answers.clone()),
            Box::new(durations.clone()),
            Box::new(stages.clone()),
            Box::new(batches.clone()),
            Box::new(hits.clone()),
            Box::new(misses.clone()),
        ];
        for part in parts {
            valid(registry.register(part));
        }
        let outcome = |name| outcomes.with_label_values(&[name]);
        let stage = |name| stages.with_label_values(&[name]);
        Self {
            started: Instant::now(),
            registry,
            answers,
            requests,
            outcomes: Outcomes {
                answered: outcome("answered"),
                rejected: outcome("rejected"),
                refused: outcome("refused"),
                not_ready: outcome("not_ready"),
                timed_out: outcome("timed_out"),
                failed: outcome("failed"),
            },
            durations: ["classify", "embed_image", "embed_texts"]
                .map(|operation| durations.with_label_values(&[operation])),
            stages: Stages {
                decode: stage("decode"),
                preprocess: stage("preprocess"),
                queue: stage("queue"),
                image: stage("image"),
                text: stage("text"),
                score: stage("score"),
            },
            image_batches: batches.with_label_values(&["image"]),
            text_batches: batches.with_label_values(&["text"]),
            text_cache_hits: hits,
            text_cache_misses: misses,
            recent: Mutex::default(),
        }
    }

    /// Counts what a facade has answered. The names must be few: an operation is a route or a method,
    /// never what a client wrote.
    pub fn count_answer(&self, facade: &str, operation: &str, code: &str) {
        self.answers.with_label_values(&[facade, operation, code]).inc();
    }

    /// The counters and histograms, in Prometheus's terms.
    #[must_use]
    pub fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }

    /// The counts now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let (first_answer, mut times) = {
            let recent = self.recent();
            (recent.first, recent.times.clone())
        };
        times.sort_unstable();
        Snapshot {
            uptime: self.started.elapsed(),
            requests: self.requests.get(),
            answered: self.outcomes.answered.get(),
            rejected: self.outcomes.rejected.get(),
            refused: self.outcomes.refused.get(),
            not_ready: self.outcomes.not_ready.get(),
            timed_out: self.outcomes.timed_out.get(),
            failed: self.outcomes.failed.get(),
            first_answer,
            median_answer: percentile(&times, 50),
            p95_answer: percentile(&times, 95),
            text_cache_hits: self.text_cache_hits.get(),
            text_cache_misses: self.text_cache_misses.get(),
        }
    }

    pub(super) fn begun(&self) {
        self.requests.inc();
    }

    pub(super) fn ended(&self, operation: Operation, outcome: Result<&Timings, &EngineError>) {
        let outcomes = &self.outcomes;
        let outcome = match outcome {
            Ok(timings) => {
                self.answered(operation, timings);
                &outcomes.answered
            }
            Err(
                EngineError::InvalidArgument(_)
                | EngineError::InvalidImage
                | EngineError::TooLarge(_)
                | EngineError::NoSuchModel(_),
            ) => &outcomes.rejected,
            Err(EngineError::QueueFull { .. }) => &outcomes.refused,
            Err(EngineError::NotReady { .. }) => &outcomes.not_ready,
            Err(EngineError::Timeout(_)) => &outcomes.timed_out,
            Err(EngineError::BackendFailed(_)) => &outcomes.failed,
        };
        outcome.inc();
    }

    fn answered(&self, operation: Operation, timings: &Timings) {
        self.durations[operation as usize].observe(timings.total.as_secs_f64());
        let &Timings { decode, preprocess, queue, image, text, score, total } = timings;
        let stages = &self.stages;
        for (stage, time) in [
            (&stages.decode, decode),
            (&stages.preprocess, preprocess),
            (&stages.queue, queue),
            (&stages.image, image),
            (&stages.text, text),
            (&stages.score, score),
        ] {
            if !time.is_zero() {
                stage.observe(time.as_secs_f64());
            }
        }
        self.recent().push(total);
    }

    pub(super) fn image_batch(&self, pictures: usize) {
        self.image_batches.observe(as_f64(pictures));
    }

    pub(super) fn text_batch(&self, texts: usize) {
        self.text_batches.observe(as_f64(texts));
    }

    pub(super) fn looked_up(&self, hits: usize, misses: usize) {
        self.text_cache_hits.inc_by(hits as u64);
        self.text_cache_misses.inc_by(misses as u64);
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recent {
    fn push(&mut self, time: Duration) {
        self.first.get_or_insert(time);
        if self.times.len() < RECENT_ANSWERS {
            self.times.push(time);
        } else {
            self.times[self.next] = time;
        }
        self.next = (self.next + 1) % RECENT_ANSWERS;
    }
}

/// The smallest time within which `percent` of all are; nearest rank, never interpolated.
fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

/// Sizes of batches and of much more are exact in an `f64`.
fn as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

fn counter(name: &str, help: &str) -> IntCounter {
    valid(IntCounter::new(name, help))
}

fn histograms(name: &str, help: &str, label: &str, buckets: &[f64]) -> HistogramVec {
    valid(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), &[label]))
}

/// Names and labels are constants, so what fails here fails in every test.
fn valid<T>(made: prometheus::Result<T>) -> T {
    made.expect("metrics have valid and different names")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn took(milliseconds: u64) -> Timings {
        Timings { total: Duration::from_millis(milliseconds), ..Timings::default() }
    }

    #[test]
    fn every_error_has_an_outcome() {
        let statistics = Statistics::new();
        let not_ready = EngineError::NotReady { state: crate::engine::State::Failed, message: String::new() };
        for error in [
            EngineError::InvalidArgument(String::new()),
            EngineError::InvalidImage,
            EngineError::TooLarge(String::new()),
            EngineError::NoSuchModel(String::new()),
            EngineError::QueueFull { max_queue_size: 1 },
            not_ready,
            EngineError::Timeout(Duration::ZERO),
            EngineError::BackendFailed(String::new()),
        ] {
            statistics.ended(Operation::Classify, Err(&error));
        }
        let Snapshot { answered, rejected, refused, not_ready, timed_out, failed, first_answer, .. } =
            statistics.snapshot();
        assert_eq!([answered, rejected, refused, not_ready, timed_out, failed], [0, 4, 1, 1, 1, 1]);
        assert_eq!(first_answer, None);
    }

    #[test]
    fn percentiles_are_of_the_last_answers_and_the_first_is_kept() {
        let statistics = Statistics::new();
        let percentiles = || {
            let snapshot = statistics.snapshot();
            [snapshot.first_answer, snapshot.median_answer, snapshot.p95_answer]
                .map(|time| time.map(|time| time.as_millis()))
        };
        assert_eq!(percentiles(), [None; 3]);
        statistics.ended(Operation::EmbedImage, Ok(&took(7000)));
        assert_eq!(percentiles(), [Some(7000); 3]);
        (1..=RECENT_ANSWERS as u64).for_each(|time| statistics.ended(Operation::Classify, Ok(&took(time))));
        assert_eq!(percentiles(), [Some(7000), Some(256), Some(487)]);
    }
}
