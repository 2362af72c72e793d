//! The interface `org.hailo.Clip1.Manager`: the service in the hands of an administrator. Its doc comments
//! are printed by introspection.
//!
//! What was allowed runs to its end, even if the caller has left: a model half changed helps nobody.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use thiserror::Error as ThisError;
use tokio::sync::{mpsc, oneshot};
use tracing::debug;
use zbus::{
    Connection, OwnedFd, OwnedObjectPath, OwnedVariant, Variant, fdo, interface,
    message::Header,
    names::{InterfaceName, OwnedUniqueName},
    object_server::SignalEmitter,
};

use super::{
    Error, ModelPlace, Models,
    authority::Action,
    gate::Gate,
    jobs::{Jobs, Order},
};
use crate::{
    engine::{ChoiceError, Engine, EngineError, State, Switch},
    model::{self, ChangeError, Watch},
};

/// A request to put the configuration file in force, to be answered when that has happened or failed.
pub type ReloadRequest = oneshot::Sender<Result<(), ReloadError>>;

/// Why the old configuration stays in force. The text is for people and names no folder.
#[derive(Clone, Debug, ThisError, PartialEq)]
pub enum ReloadError {
    /// The file, or one that it names, cannot be used.
    #[error("{0}")]
    Configuration(String),
    /// The model that it asks for cannot be loaded.
    #[error(transparent)]
    Model(#[from] EngineError),
}

/// The second interface of the object at [`PATH`](super::PATH).
pub(super) struct Control {
    engine: Engine,
    gate: Gate,
    reload: mpsc::Sender<ReloadRequest>,
    models: Arc<dyn Models>,
    jobs: Jobs,
}

impl Control {
    pub(super) fn new(
        engine: Engine,
        gate: Gate,
        reload: mpsc::Sender<ReloadRequest>,
        models: Arc<dyn Models>,
    ) -> Self {
        Self { engine, gate, reload, models, jobs: Jobs::default() }
    }

    /// Starts a job for the sender of `call` if it may manage models.
    async fn job<W>(
        &self,
        call: &Header<'_>,
        connection: &Connection,
        emitter: &SignalEmitter<'_>,
        (description, joins): (String, Option<String>),
        work: W,
    ) -> Result<OwnedObjectPath, Error>
    where
        W: FnOnce(&dyn Models, &Watch) -> Result<String, ChangeError> + Send + 'static,
    {
        let owner = call
            .sender()
            .map(|sender| OwnedUniqueName::from(sender.to_owned()))
            .ok_or_else(|| Error::NotAuthorized("the message does not say who sent it".to_owned()))?;
        let (models, connection, emitter) =
            (Arc::clone(&self.models), connection.clone(), emitter.to_owned());
        let started = async {
            let order = Order {
                description,
                owner,
                joins,
                work: move |watch: &Watch| work(&*models, watch),
                after: move || async move { announce_models(&emitter).await },
            };
            self.jobs.start(&connection, &self.gate, order).await
        };
        self.gate.answer(Action::ManageModels, call, &connection, started).await
    }

    /// The state of a model, given where it is.
    fn state_of(&self, name: &str) -> impl Fn(ModelPlace) -> &'static str + use<> {
        let in_service = {
            let status = self.engine.status();
            let status = status.borrow();
            status.loaded.as_ref().is_some_and(|loaded| loaded.name == name)
        };
        move |place| match place {
            ModelPlace::Catalogue => "available",
            ModelPlace::Packaged | ModelPlace::Local if in_service => "in service",
            ModelPlace::Packaged | ModelPlace::Local => "installed",
        }
    }

    /// Does `work` with the models on a blocking thread.
    async fn with_models<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Models) -> Result<T, ChangeError> + Send + 'static,
    ) -> Result<T, Error> {
        let models = Arc::clone(&self.models);
        let done = tokio::task::spawn_blocking(move || work(&*models)).await;
        done.map_err(|_| broken())?.map_err(Into::into)
    }

    /// Does `work` if the sender of `call` may manage the service.
    async fn allow<T, F>(&self, call: &Header<'_>, connection: &Connection, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let work = async { tokio::spawn(work).await.unwrap_or_else(|_| Err(broken())) };
        self.gate.answer(Action::Manage, call, connection, work).await
    }
}

#[interface(name = "org.hailo.Clip1.Manager")]
impl Control {
    /// Runs both encoders as often as performance.warmup_iterations says, once at least.
    ///
    /// As most of this interface, it needs the polkit action org.hailo.clip1.manage. Polkit may ask a person
    /// if the call has the flag ALLOW_INTERACTIVE_AUTHORIZATION, for up to two minutes.
    async fn warmup(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        let engine = self.engine.clone();
        self.allow(&header, connection, async move { Ok(engine.warm_up().await?) }).await
    }

    /// Reads the configuration file again and puts it in force, as SIGHUP does.
    ///
    /// If it has a mistake, or its model does not load, the old configuration stays and the error says why.
    async fn reload(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        let reload = self.reload.clone();
        let work = async move {
            let stopping = || Error::NotReady("the service is stopping; try again shortly".to_owned());
            let (request, answer) = oneshot::channel();
            reload.send(request).await.map_err(|_| stopping())?;
            answer.await.map_err(|_| stopping())?.map_err(|error| match error {
                ReloadError::Configuration(text) => Error::InvalidConfiguration(text),
                ReloadError::Model(error) => does_not_load(error),
            })
        };
        self.allow(&header, connection, work).await
    }

    /// Takes an installed model into service, loaded beside the old one.
    ///
    /// The old one answers until the new one is there, and stays if that does not load. An empty name
    /// stands for the model that is in service. The configuration file is left as it is: Reload or a restart
    /// goes back to its model.
    async fn load_model(
        &self,
        name: &str,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        let name = if name.is_empty() { Ok(String::new()) } else { model_name(name) };
        let engine = self.engine.clone();
        let work = async move { engine.load_model(&name?).await.map_err(does_not_load) };
        self.allow(&header, connection, work).await
    }

    /// Releases the model's memory and the device, so that other programs can use it.
    ///
    /// The next request takes them again, and so does LoadModel.
    async fn unload_model(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        let engine = self.engine.clone();
        self.allow(&header, connection, async move { Ok(engine.unload_model().await?) }).await
    }

    /// Takes an installed model into service as LoadModel does, and keeps to it: it is the model after a reload
    /// and after a restart too, until clip.model of the configuration file is changed.
    ///
    /// The answer is "beside" if the old model served until the new one was there, or "in place" if memory did
    /// not allow that: then requests waited meanwhile. None fails in either case.
    #[zbus(out_args("way"))]
    async fn use_model(
        &self,
        name: &str,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<&'static str, Error> {
        let name = model_name(name);
        let (engine, models) = (self.engine.clone(), Arc::clone(&self.models));
        let work = async move {
            let chosen = engine.choose_model(name?, move |name| models.choose(name)).await;
            let switch = chosen.map_err(|error| match error {
                ChoiceError::Load(error) => does_not_load(error),
                ChoiceError::Record(error) => error.into(),
            })?;
            Ok(match switch {
                Switch::Beside => "beside",
                Switch::InPlace => "in place",
            })
        };
        self.allow(&header, connection, work).await
    }

    /// Fetches a model of the catalogue, and what it lacks of one that is installed, for the CPU and for the NPU
    /// of this machine. The answer is the path of the job that does it; if one does so already, its path.
    ///
    /// This, and all that follows but reading, needs the polkit action org.hailo.clip1.manage-models.
    #[zbus(out_args("job"))]
    async fn pull_model(
        &self,
        name: &str,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> Result<OwnedObjectPath, Error> {
        let name = model_name(name)?;
        let what = (format!("Fetching model {name}"), Some(name.clone()));
        self.job(&header, connection, &emitter, what, move |models, watch| models.pull(&name, watch)).await
    }

    /// Makes a model of files, or adds HEFs to one that is installed. The answer is the path of the job.
    ///
    /// Files: image, text (ONNX), tokenizer (tokenizer.json); further preprocess, config and tokenizer_config
    /// (JSON as it lies beside them), image_data:NAME and text_data:NAME (weights that the ONNX names),
    /// image_hailo8, text_hailo8 and so on (HEF), token_embedding and text_projection (NumPy arrays). Options,
    /// all texts: size, fit, mean, std, dimension, context_length, pad, logit_scale, logit_bias, license, source,
    /// description, precision, alias.
    #[zbus(out_args("job"))]
    async fn import_model(
        &self,
        name: &str,
        files: HashMap<String, OwnedFd>,
        options: HashMap<String, OwnedVariant>,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> Result<OwnedObjectPath, Error> {
        let name = model_name(name)?;
        let files = files.into_iter().map(|(key, fd)| (key, fd.into())).collect();
        let options: HashMap<String, String> = options
            .into_iter()
            .map(|(key, value)| match String::try_from(value) {
                Ok(text) => Ok((key, text)),
                Err(_) => Err(Error::InvalidArgument(format!("option {key:?} must be a text"))),
            })
            .collect::<Result<_, _>>()?;
        let what = (format!("Importing model {name}"), None);
        self.job(&header, connection, &emitter, what, move |models, watch| {
            models.import(&name, files, options, watch)
        })
        .await
    }

    /// Reads all files of an installed model and checks sizes and SHA-256. The answer is the path of the job.
    #[zbus(out_args("job"))]
    async fn verify_model(
        &self,
        name: &str,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> Result<OwnedObjectPath, Error> {
        let name = model_name(name)?;
        let what = (format!("Checking model {name}"), None);
        self.job(&header, connection, &emitter, what, move |models, watch| models.verify(&name, watch)).await
    }

    /// Removes a model that was fetched or imported and is not in service.
    async fn remove_model(
        &self,
        name: &str,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> Result<(), Error> {
        let name = model_name(name)?;
        let work = async {
            let in_service = self.engine.status().borrow().model == name;
            self.with_models(move |models| {
                if in_service { Err(ChangeError::InService(name)) } else { models.remove(&name) }
            })
            .await?;
            announce_models(&emitter).await;
            Ok(())
        };
        self.gate.answer(Action::ManageModels, &header, connection, work).await
    }

    /// What is known of a model that is installed or in the catalogue: where, state, description, license,
    /// source, precision and incomplete (why it cannot be fetched) s; embedding_dimension, image_size,
    /// context_length and size (bytes) t, where known; platforms and aliases as; files a(sts), with size 0 and an empty
    /// SHA-256 where these are not known. Everybody may ask.
    #[zbus(out_args("description"))]
    async fn describe_model(
        &self,
        name: &str,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<HashMap<&'static str, Variant<'static>>, Error> {
        let name = model_name(name)?;
        let state = self.state_of(&name);
        let work = async {
            let described = self.with_models(move |models| models.describe(&name)).await?;
            let place = described.place;
            let mut all: HashMap<&'static str, Variant<'static>> = HashMap::from([
                ("where", place.as_str().into()),
                ("state", state(place).into()),
                ("platforms", described.platforms.into()),
                ("aliases", described.aliases.into()),
                ("files", described.files.into()),
            ]);
            all.extend(described.texts.into_iter().map(|(key, text)| (key, text.into())));
            all.extend(described.numbers.into_iter().map(|(key, number)| (key, number.into())));
            Ok(all)
        };
        self.gate.answer(Action::Classify, &header, connection, work).await
    }

    /// Models that are installed or can be: name; where (packaged, local, or catalogue alone); state (in service,
    /// installed, available); whether it can run on this machine.
    #[zbus(property(emits_changed_signal = "invalidates"))]
    async fn models(&self) -> Vec<(String, String, String, bool)> {
        let listed = self.with_models(|models| Ok(models.list())).await.unwrap_or_default();
        listed
            .into_iter()
            .map(|model| {
                let state = self.state_of(&model.name)(model.place);
                (model.name, model.place.as_str().to_owned(), state.to_owned(), model.compatible)
            })
            .collect()
    }
}

/// Tells that the property Models has another value; whoever wants to know reads it.
pub(super) async fn announce_models(emitter: &SignalEmitter<'_>) {
    let interface = InterfaceName::from_static_str_unchecked("org.hailo.Clip1.Manager");
    let invalid = Cow::Borrowed(&["Models"][..]);
    if let Err(error) = fdo::Properties::properties_changed(emitter, interface, HashMap::new(), invalid).await
    {
        debug!(%error, "a change of models could not be signalled");
    }
}

/// The error of work that panicked.
fn broken() -> Error {
    Error::BackendFailed("the service could not do it".to_owned())
}

/// The name if it can be a model's.
fn model_name(name: &str) -> Result<String, Error> {
    if model::is_bundle_name(name) {
        return Ok(name.to_owned());
    }
    let shown: String = name.chars().take(64).collect();
    Err(Error::NoSuchModel(format!("{shown:?} is not a model name")))
}

/// The error of a model that was to replace another. The service is as ready as it was before.
fn does_not_load(error: EngineError) -> Error {
    match error {
        EngineError::NotReady { state: State::Failed, message } => Error::BackendFailed(message),
        error => error.into(),
    }
}
