//! The service's models, and the jobs that change them: started, followed with a bar, cancelled by Ctrl-C.

use std::{collections::HashMap, os::fd::AsFd, time::Duration};

use futures_util::StreamExt;
use tokio::time::{MissedTickBehavior, interval, timeout};
use zbus::{Fd, OwnedObjectPath, OwnedVariant, proxy};

use super::{
    client::{Client, MANAGEMENT_TIMEOUT, ServiceError, of_management},
    console::escape,
    progress::Progress,
    wire::Reply,
};

/// How often the bar moves.
const INTERVAL: Duration = Duration::from_millis(100);

/// A line of the list: name, where, state, whether it can run here.
pub(super) type Listed = (String, String, String, bool);

/// What is known of a model, as it comes.
pub(super) type Description = HashMap<String, OwnedVariant>;

/// The part of the interface for administrators that is about models on disk.
#[proxy(
    interface = "org.hailo.Clip1.Manager",
    default_service = "org.hailo.Clip1",
    default_path = "/org/hailo/Clip1"
)]
trait ModelStore {
    #[zbus(property(emits_changed_signal = "false"))]
    fn models(&self) -> Result<Vec<Listed>, Reply>;
    fn describe_model(&self, name: &str) -> Result<Description, Reply>;
    #[zbus(allow_interactive_auth)]
    fn use_model(&self, name: &str) -> Result<String, Reply>;
    #[zbus(allow_interactive_auth)]
    fn remove_model(&self, name: &str) -> Result<(), Reply>;
    #[zbus(allow_interactive_auth)]
    fn pull_model(&self, name: &str) -> Result<OwnedObjectPath, Reply>;
    #[zbus(allow_interactive_auth)]
    fn verify_model(&self, name: &str) -> Result<OwnedObjectPath, Reply>;
    #[zbus(allow_interactive_auth)]
    fn import_model(
        &self,
        name: &str,
        files: HashMap<&str, Fd<'_>>,
        options: HashMap<&str, zbus::Variant<'_>>,
    ) -> Result<OwnedObjectPath, Reply>;
}

#[proxy(interface = "org.hailo.Clip1.Job", default_service = "org.hailo.Clip1")]
trait Job {
    fn cancel(&self) -> Result<(), Reply>;
    #[zbus(signal)]
    fn finished(&self, success: bool, message: &str) -> zbus::Result<()>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn state(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn message(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn description(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn bytes(&self) -> zbus::Result<(u64, u64)>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn missing_options(&self) -> zbus::Result<Vec<String>>;
}

/// What a job is to do.
pub(super) enum Order<'a> {
    Pull(&'a str),
    Verify(&'a str),
    Import { name: &'a str, files: &'a [(String, std::fs::File)], options: &'a HashMap<String, String> },
}

/// How a job ended.
pub(super) enum Ended {
    /// It did what it was to do; a sentence about it.
    Done(String),
    /// It did not, and why; options that it lacked.
    Failed(String, Vec<String>),
    /// Ctrl-C.
    Interrupted,
}

impl Client {
    /// All models, installed or not.
    pub(super) async fn models(&self) -> Result<Vec<Listed>, ServiceError> {
        self.ask(async || self.store().await?.models().await).await
    }

    /// What is known of one.
    pub(super) async fn describe_model(&self, name: &str) -> Result<Description, ServiceError> {
        self.ask(async || self.store().await?.describe_model(name).await).await
    }

    /// Takes a model into service for good; `beside` or `in place`.
    pub(super) async fn use_model(&self, name: &str) -> Result<String, ServiceError> {
        self.order(async || self.store().await?.use_model(name).await).await
    }

    /// Removes a model.
    pub(super) async fn remove_model(&self, name: &str) -> Result<(), ServiceError> {
        self.order(async || self.store().await?.remove_model(name).await).await
    }

    /// Has a job done, and follows it to its end.
    pub(super) async fn job(&self, order: Order<'_>) -> Result<Ended, ServiceError> {
        let path = self
            .order(async || {
                let store = self.store().await?;
                match &order {
                    Order::Pull(name) => store.pull_model(name).await,
                    Order::Verify(name) => store.verify_model(name).await,
                    Order::Import { name, files, options } => {
                        let files =
                            files.iter().map(|(key, file)| (key.as_str(), Fd::from(file.as_fd()))).collect();
                        let options = options
                            .iter()
                            .map(|(key, value)| (key.as_str(), zbus::Variant::from(value.as_str())))
                            .collect();
                        store.import_model(name, files, options).await
                    }
                }
            })
            .await?;
        self.follow(path).await.map_err(|error| self.explain(Reply::Bus(error)))
    }

    async fn follow(&self, path: OwnedObjectPath) -> zbus::Result<Ended> {
        let connection = self.connection().await?;
        let job = JobProxy::builder(&connection).path(path).build().await?;
        let mut ends = job.receive_finished().await?;
        let mut owners = job.inner().receive_owner_changed().await?;
        // It may have ended before anybody listened.
        if job.state().await? != "running" {
            return ended(&job, job.state().await? == "done", job.message().await?).await;
        }
        let bar = Progress::of_bytes(escape(&job.description().await?));
        let mut due = interval(INTERVAL);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut cancelled = false;
        loop {
            tokio::select! {
                Some(end) = ends.next() => {
                    let end = end.args()?;
                    if cancelled && !end.success {
                        return Ok(Ended::Interrupted);
                    }
                    return ended(&job, end.success, end.message.to_owned()).await;
                }
                Some(owner) = owners.next() => if owner.is_none() {
                    return Ok(Ended::Failed(
                        "the service stopped before the job was done; start it again to go on".to_owned(),
                        Vec::new(),
                    ));
                },
                signal = tokio::signal::ctrl_c() => {
                    if cancelled || signal.is_err() {
                        return Ok(Ended::Interrupted);
                    }
                    cancelled = true;
                    // A job that has ended meanwhile says so.
                    let _ = job.cancel().await;
                }
                _ = due.tick(), if bar.is_shown() => {
                    let (done, total) = job.bytes().await?;
                    bar.at(done, total);
                }
            }
        }
    }

    /// A question that everybody may ask.
    async fn ask<T>(&self, send: impl AsyncFn() -> Result<T, Reply>) -> Result<T, ServiceError> {
        let limit = self.limit(Duration::from_secs(30));
        match timeout(limit, send()).await {
            Ok(result) => result.map_err(|reply| self.explain(reply)),
            Err(_) => Err(super::client::no_answer_within(limit)),
        }
    }

    /// An order of an administrator, given once.
    async fn order<T>(&self, send: impl AsyncFn() -> Result<T, Reply>) -> Result<T, ServiceError> {
        let limit = self.limit(MANAGEMENT_TIMEOUT);
        match timeout(limit, send()).await {
            Ok(result) => result.map_err(|reply| of_management(self.explain(reply))),
            Err(_) => Err(super::client::no_answer_within(limit)),
        }
    }

    async fn store(&self) -> zbus::Result<ModelStoreProxy<'static>> {
        ModelStoreProxy::new(&self.connection().await?).await
    }
}

async fn ended(job: &JobProxy<'_>, success: bool, message: String) -> zbus::Result<Ended> {
    if success {
        return Ok(Ended::Done(message));
    }
    Ok(Ended::Failed(message, job.missing_options().await?))
}
