//! The running service, from the first socket to the last answer.

use std::{fmt::Display, fs, io, path::PathBuf, sync::Arc, time::Duration};

use futures_util::StreamExt;
use thiserror::Error;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{
    arguments::Arguments, choice::Choice, fetcher::Fetcher, listener, loader, logging::LogLevelHandle,
    memory, models::LocalModels, notify, privileges, trial::Trials, watchdog,
};
use crate::{
    backend::Host,
    clip::image::reduces_jpegs,
    config::{self, ConfigErrors, Settings},
    dbus::{self, ReloadError},
    engine::{Engine, Status},
    http,
    model::Store,
};

/// Longest time for answering what was accepted, once the service is told to stop.
const DRAIN_LIMIT: Duration = Duration::from_secs(20);

/// Longest time for writing text embeddings at the end.
const SAVE_LIMIT: Duration = Duration::from_secs(2);

/// Why the service ends before it is told to.
#[derive(Debug, Error)]
pub(super) enum ServiceError {
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
    #[error("cannot give up privileges: {0}")]
    Privileges(#[from] privileges::PrivilegesError),
    #[error(transparent)]
    ApiKeys(#[from] ApiKeysError),
    #[error(transparent)]
    Serve(#[from] dbus::ServeError),
    #[error("the connection to the message bus was lost")]
    BusLost,
}

/// Why the keys for HTTP cannot be used.
#[derive(Debug, Error)]
pub(super) enum ApiKeysError {
    #[error("server.api_keys_file: cannot read {}: {error}", .file.display())]
    Unreadable { file: PathBuf, error: io::Error },
    #[error("server.api_keys_file has no key; write one a line, or remove the setting")]
    Empty,
}

/// Serves until SIGTERM or SIGINT.
pub(super) async fn run(
    arguments: &Arguments,
    settings: Settings,
    log_level: &LogLevelHandle,
) -> Result<(), ServiceError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;

    let listeners = listener::open(&settings.server).await?;
    privileges::drop_capabilities()?;
    let addresses: Vec<_> = listeners.iter().filter_map(listener::address).collect();

    let search_path = arguments.search_path();
    let options = watch::Sender::new(http_options(&settings, &search_path)?);
    let choice = Arc::new(Choice::new(&arguments.state_dir));
    let choice_of_clients = Arc::clone(&choice);
    let mut settings = settings;
    settings.clip.model = choice.model(&settings.clip.model, &search_path);
    let settings = Arc::new(settings);
    let host = Host::new(arguments.hardware_root.clone(), arguments.shim_dir.clone());
    let trials = Arc::new(Trials::new(&arguments.state_dir));
    let load = loader::loader(search_path.clone(), host, Arc::clone(&trials));
    let engine = Engine::start(Arc::clone(&settings), load)?;
    engine.ask_for_room(loader::fits_beside(search_path.clone(), arguments.hardware_root.clone()));
    engine.keep_texts_in(&arguments.state_dir);
    let models = local_models(arguments, &choice, trials, &engine);
    models.store.tidy();

    let (reload_requests, mut reload_requested) = mpsc::channel(1);
    let limits = dbus::Limits::default();
    let bus = dbus::serve(&arguments.bus, engine.clone(), limits, reload_requests, Arc::new(models)).await?;

    let shutdown = CancellationToken::new();
    let server = http::Server::new(engine.clone(), options.subscribe())
        .recording(Arc::new(move |model| choice_of_clients.choose(model)));
    let mut serving = JoinSet::new();
    for listener in listeners {
        let (server, shutdown) = (server.clone(), shutdown.clone());
        serving.spawn(async move { server.serve(listener, shutdown).await });
    }
    if !reduces_jpegs() {
        info!(
            "libturbojpeg is not there, and large JPEGs take twice as long to decode; install libturbojpeg0"
        );
    }
    info!(version = env!("CARGO_PKG_VERSION"), http = addresses.join(" "), bus = %arguments.bus, "listening");
    let loading = tokio::spawn({
        let (engine, addresses) = (engine.clone(), addresses.clone());
        async move {
            // A failure is logged by the engine, and told to whoever asks.
            let _ = with_more_time(engine.load()).await;
            notify::ready(&status_line(&engine, &addresses));
        }
    });

    let mut signs_of_life = JoinSet::new();
    signs_of_life.spawn(follow_status(engine.clone(), addresses.clone()));
    signs_of_life.spawn(memory::give_back());
    if let Some(interval) = notify::watchdog_interval() {
        let due = watchdog::every(interval);
        let (running, timeout) = (engine.clone(), engine.clone());
        let device_timeout = move || timeout.settings().clip.device_timeout;
        signs_of_life.spawn(watchdog::feed(
            due,
            move || running.longest_batch(),
            device_timeout,
            notify::alive,
        ));
    }

    let reload = async || {
        notify::reloading();
        let result = with_more_time(reload(arguments, &choice, &engine, &options, log_level)).await;
        notify::ready(&status_line(&engine, &addresses));
        result
    };
    let outcome = loop {
        tokio::select! {
            _ = terminate.recv() => break Ok(()),
            _ = interrupt.recv() => break Ok(()),
            () = bus.closed() => break Err(ServiceError::BusLost),
            // What went wrong is in the log.
            _ = hang_up.recv() => drop(reload().await),
            Some(request) = reload_requested.recv() => {
                // Whoever asked may have gone.
                let _ = request.send(reload().await);
            }
        }
    };

    signs_of_life.abort_all();
    // Whoever asks for a reload now is told that the service stops.
    drop(reload_requested);
    notify::stopping();
    info!(in_flight = engine.queue_depth(), "stopping");
    // First the doors: what comes from now on waits for the next instance, in the bus and in the sockets'
    // backlogs. What came before is answered as ever, even if the model has yet to be loaded for it.
    bus.give_up_name().await;
    shutdown.cancel();
    let answered = tokio::time::timeout(DRAIN_LIMIT, async {
        tokio::join!(async { while serving.join_next().await.is_some() {} }, bus.stop());
    })
    .await;
    if answered.is_err() {
        let limit = DRAIN_LIMIT.as_secs();
        warn!(in_flight = engine.queue_depth(), "requests were cut off: no answer within {limit} s");
    }
    loading.abort();
    let _ = loading.await;
    engine.drain(Duration::ZERO).await;
    engine.save_texts(SAVE_LIMIT).await;
    info!("stopped");
    outcome
}

fn local_models(
    arguments: &Arguments,
    choice: &Arc<Choice>,
    trials: Arc<Trials>,
    engine: &Engine,
) -> LocalModels {
    let fetcher = match &arguments.pull_socket {
        Some(socket) => Fetcher::Socket(socket.clone()),
        None => Fetcher::Child {
            models: arguments.store(),
            catalogs: arguments.catalogs.clone(),
            resources: arguments.resources.clone(),
        },
    };
    LocalModels {
        store: Store::new(arguments.store()),
        search_path: arguments.search_path(),
        catalogs: arguments.catalogs.clone(),
        fetcher,
        choice: Arc::clone(choice),
        trials,
        hardware_root: arguments.hardware_root.clone(),
        status: engine.status(),
    }
}

/// Puts an edited configuration in force, or logs why not and keeps the old one.
async fn reload(
    arguments: &Arguments,
    choice: &Choice,
    engine: &Engine,
    options: &watch::Sender<Arc<http::Options>>,
    log_level: &LogLevelHandle,
) -> Result<(), ReloadError> {
    let kept = |problem: &dyn Display| {
        error!("the configuration was not reloaded, the old one stays in force: {problem}");
    };
    let loaded = config::load(&arguments.config).map_err(|errors| {
        kept(&errors);
        ReloadError::Configuration(without_folders(errors).to_string())
    })?;
    let new_options = http_options(&loaded.settings, &arguments.search_path()).map_err(|problem| {
        kept(&problem);
        ReloadError::Configuration(match problem {
            ServiceError::ApiKeys(ApiKeysError::Unreadable { error, .. }) => {
                format!("server.api_keys_file cannot be read ({})", error.kind())
            }
            problem => problem.to_string(),
        })
    })?;
    let old = engine.settings();
    let mut settings = loaded.settings;
    let with_choice = || {
        settings.clip.model = choice.model(&settings.clip.model, &arguments.search_path());
        Arc::new(settings)
    };
    engine.reload(with_choice).await.inspect_err(|problem| kept(problem))?;
    let settings = engine.settings();
    for notice in &loaded.notices {
        warn!("{notice}");
    }
    if (old.server.host, old.server.port) != (settings.server.host, settings.server.port) {
        warn!("server.host and server.port take effect with \"systemctl restart hailo-clip.service\"");
    }
    options.send_replace(new_options);
    log_level.set(settings.logging.level);
    info!("configuration reloaded");
    Ok(())
}

/// The errors as callers may see them: with the file's name alone.
fn without_folders(mut errors: ConfigErrors) -> ConfigErrors {
    for finding in &mut errors.0 {
        if let Some((_, name)) = finding.file.rsplit_once('/') {
            finding.file = name.to_owned();
        }
    }
    errors
}

fn http_options(settings: &Settings, models: &[PathBuf]) -> Result<Arc<http::Options>, ServiceError> {
    let keys = match &settings.server.api_keys_file {
        None => Vec::new(),
        Some(file) => {
            let text = fs::read_to_string(file)
                .map_err(|error| ApiKeysError::Unreadable { file: file.clone(), error })?;
            let keys = http::ApiKey::parse_file(&text);
            if keys.is_empty() {
                return Err(ApiKeysError::Empty.into());
            }
            keys
        }
    };
    let hostname = nix::unistd::gethostname().map_err(io::Error::from)?.to_string_lossy().into_owned();
    let options = http::Options::new(settings, keys, hostname);
    Ok(Arc::new(http::Options { models: models.to_owned(), ..options }))
}

/// Does `work` that takes as long as a model takes to load, and keeps systemd from losing patience.
async fn with_more_time<T>(work: impl Future<Output = T>) -> T {
    let due = watchdog::every(watchdog::EXTENSION_INTERVAL).take(watchdog::EXTENSIONS);
    watchdog::extend_while(work, due, || notify::extend_timeout(watchdog::EXTENSION)).await
}

/// Keeps the line that `systemctl status` shows true.
async fn follow_status(engine: Engine, addresses: Vec<String>) {
    let mut status = engine.status();
    let mut shown = String::new();
    loop {
        status.mark_unchanged();
        let line = status_line(&engine, &addresses);
        if line != shown {
            notify::status(&line);
            shown = line;
        }
        if status.changed().await.is_err() {
            return;
        }
    }
}

/// What `systemctl status` shows.
fn status_line(engine: &Engine, addresses: &[String]) -> String {
    let Status { state, model, backend, idle, error, .. } = engine.status().borrow().clone();
    let device = backend.map(|backend| format!(" on {}", backend.device)).unwrap_or_default();
    let problem = error.map(|error| format!(" ({error})")).unwrap_or_default();
    let idle = if idle { ", unloaded until the next request" } else { "" };
    format!("{}: {model}{device}{idle}, http on {}{problem}", state.as_str(), addresses.join(" "))
}
