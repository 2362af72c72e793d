//! Models on disk, as the D-Bus facade offers them: listing, fetching, checking, removing.

use std::{
    collections::HashMap,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::watch;

use super::{
    choice::Choice,
    fetcher::Fetcher,
    trial::{self, Trials},
};
use crate::{
    backend::{BackendKind, Description},
    dbus::{ListedModel, ModelDescription, ModelPlace, Models},
    engine::Status,
    kernel,
    model::{self, Bundle, Catalog, CatalogEntry, ChangeError, Platform, Staging, Store, TowerKind, Watch},
};

/// What belongs to the models of this machine.
pub(super) struct LocalModels {
    pub(super) store: Store,
    pub(super) search_path: Vec<PathBuf>,
    pub(super) catalogs: Vec<PathBuf>,
    pub(super) fetcher: Fetcher,
    pub(super) choice: Arc<Choice>,
    pub(super) trials: Arc<Trials>,
    pub(super) hardware_root: PathBuf,
    /// Of the engine, which knows the NPU if it holds one.
    pub(super) status: watch::Receiver<Status>,
}

/// The hardware of a backend; `None` for an NPU that is not known here.
pub(super) fn platform_of(backend: &Description) -> Option<Platform> {
    match (&backend.npu, backend.kind) {
        (Some(npu), _) => Platform::ALL.into_iter().find(|platform| platform.to_string() == npu.architecture),
        (None, BackendKind::Cpu) => Some(Platform::Cpu),
        (None, BackendKind::Hailo) => None,
    }
}

impl LocalModels {
    /// The hardware of this machine. Without HailoRT's word it is what the driver's version lets it be.
    fn platforms(&self) -> Vec<Platform> {
        let known = self.status.borrow().backend.as_ref().and_then(platform_of);
        let mut platforms = vec![Platform::Cpu];
        if let Some(npu) = known.filter(|platform| *platform != Platform::Cpu) {
            platforms.push(npu);
            return platforms;
        }
        let nodes = kernel::npu::find(&self.hardware_root);
        let major =
            nodes.iter().find_map(|node| node.driver.as_deref()?.split('.').next()?.parse::<u32>().ok());
        match (nodes.is_empty(), major) {
            (true, _) => {}
            (false, Some(..=4)) => platforms.extend([Platform::Hailo8, Platform::Hailo8L]),
            (false, Some(_)) => platforms.push(Platform::Hailo10H),
            (false, None) => platforms.extend([Platform::Hailo8, Platform::Hailo8L, Platform::Hailo10H]),
        }
        platforms
    }

    fn catalog(&self) -> Result<Catalog, ChangeError> {
        Catalog::load(&self.catalogs)
    }

    fn place(&self, bundle: &Bundle) -> ModelPlace {
        if bundle.tokenizer.path.starts_with(self.store.dir()) {
            ModelPlace::Local
        } else {
            ModelPlace::Packaged
        }
    }

    fn can_run(&self, platforms: &[Platform]) -> bool {
        let here = self.platforms();
        platforms.iter().any(|platform| here.contains(platform))
    }

    /// Opens the encoders for the CPU in a process that may be lost.
    fn try_staged(&self, dir: &Path) -> Result<(), ChangeError> {
        let bundle = Bundle::open(dir)?;
        let towers: Vec<_> = [(TowerKind::Image, &bundle.image_tower), (TowerKind::Text, &bundle.text_tower)]
            .into_iter()
            .filter_map(|(kind, tower)| tower.cpu.as_ref().map(|_| kind))
            .collect();
        self.trials.require(&bundle, &towers).map_err(|error| ChangeError::Unsuitable(error.to_string()))
    }
}

impl Models for LocalModels {
    fn list(&self) -> Vec<ListedModel> {
        let mut listed: Vec<_> = model::list(&self.search_path)
            .into_iter()
            .map(|name| match Bundle::find(&name, &self.search_path) {
                Ok(bundle) => ListedModel {
                    name,
                    place: self.place(&bundle),
                    compatible: self.can_run(&bundle.platforms()),
                },
                // What is wrong with it is told to whoever asks for it.
                Err(_) => ListedModel { name, place: ModelPlace::Local, compatible: false },
            })
            .collect();
        let catalog = self.catalog().unwrap_or_default();
        let available: Vec<_> = catalog
            .iter()
            .filter(|entry| !listed.iter().any(|model| model.name == entry.name))
            .map(|entry| ListedModel {
                name: entry.name.clone(),
                place: ModelPlace::Catalogue,
                compatible: entry.incomplete().is_none() && self.can_run(&entry.platforms()),
            })
            .collect();
        listed.extend(available);
        listed
    }

    fn describe(&self, name: &str) -> Result<ModelDescription, ChangeError> {
        match Bundle::find(name, &self.search_path) {
            Ok(bundle) => Ok(describe_bundle(&bundle, self.place(&bundle))),
            Err(error @ model::BundleError::NotInstalled { .. }) => match self.catalog()?.get(name) {
                Ok(entry) => Ok(describe_entry(entry, &self.platforms())),
                Err(_) => Err(error.into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    fn pull(&self, name: &str, watch: &Watch) -> Result<String, ChangeError> {
        let catalog = self.catalog()?;
        let entry = catalog.get(name)?;
        if let Some(reason) = entry.incomplete() {
            return Err(ChangeError::Incomplete { name: name.to_owned(), reason: reason.to_owned() });
        }
        let platforms = self.platforms();
        let wanted: Vec<_> = entry.platforms().into_iter().filter(|on| platforms.contains(on)).collect();
        if let Ok(bundle) = Bundle::find(name, &self.search_path)
            && wanted.iter().all(|on| bundle.platforms().contains(on))
        {
            return Ok(format!("model {name} is installed already"));
        }
        let mut notes = self.fetcher.pull(name, &platforms, watch)?;
        let staged = self.store.stage(name, Staging::Pull)?;
        if let Err(error) = self.try_staged(&staged.dir) {
            self.store.abandon(staged);
            return Err(error);
        }
        watch.at(1, 1)?;
        self.store.install(staged, name)?;
        notes.insert(0, format!("model {name} is installed"));
        Ok(notes.join("; "))
    }

    fn import(
        &self,
        name: &str,
        files: HashMap<String, OwnedFd>,
        options: HashMap<String, String>,
        watch: &Watch,
    ) -> Result<String, ChangeError> {
        let inspect = |dir: &Path, size| {
            trial::inspect(name, dir, size).map_err(|error| ChangeError::Unsuitable(error.to_string()))
        };
        let place = (&self.store, &self.search_path[..]);
        let (staged, mut notes) = model::import(name, files, &options, place, &inspect, watch)?;
        if let Err(error) = self.try_staged(&staged.dir) {
            self.store.abandon(staged);
            return Err(error);
        }
        self.store.install(staged, name)?;
        notes.insert(0, format!("model {name} is installed"));
        Ok(notes.join("; "))
    }

    fn verify(&self, name: &str, watch: &Watch) -> Result<String, ChangeError> {
        let bundle = Bundle::find(name, &self.search_path)?;
        bundle.verify_all(watch)?;
        Ok(format!("model {name}: all {} files are as they should be", bundle.artefacts().len()))
    }

    fn remove(&self, name: &str) -> Result<(), ChangeError> {
        if self.store.has(name) {
            return self.store.remove(name);
        }
        Bundle::find(name, &self.search_path)?;
        Err(ChangeError::Packaged(name.to_owned()))
    }

    fn choose(&self, name: &str) -> Result<(), ChangeError> {
        self.choice.choose(name)
    }
}

fn describe_bundle(bundle: &Bundle, place: ModelPlace) -> ModelDescription {
    let mut texts = vec![
        ("description", bundle.description.clone()),
        ("license", bundle.license.clone()),
        ("precision", bundle.precision.to_string()),
    ];
    texts.extend(bundle.source.clone().map(|source| ("source", source)));
    let files: Vec<_> = bundle
        .artefacts()
        .into_iter()
        .map(|artefact| (artefact.file_name(), artefact.size, model::hex(&artefact.sha256)))
        .collect();
    ModelDescription {
        place,
        texts,
        numbers: vec![
            ("embedding_dimension", bundle.embedding_dimension as u64),
            ("image_size", bundle.image.size.into()),
            ("context_length", bundle.context_length as u64),
            ("size", files.iter().map(|(_, size, _)| size).sum()),
        ],
        platforms: keys(&bundle.platforms()),
        aliases: bundle.aliases.clone(),
        files,
    }
}

fn describe_entry(entry: &CatalogEntry, here: &[Platform]) -> ModelDescription {
    let mut texts = vec![
        ("description", entry.description().to_owned()),
        ("license", entry.license().to_owned()),
        ("source", entry.source().to_owned()),
        ("precision", entry.precision().to_string()),
    ];
    texts.extend(entry.incomplete().map(|reason| ("incomplete", reason.to_owned())));
    let mut numbers = vec![
        ("embedding_dimension", entry.embedding_dimension() as u64),
        ("image_size", entry.image_size().into()),
    ];
    numbers.extend(entry.size(here).map(|size| ("size", size)));
    let files = entry.downloads(here).into_iter().map(|download| {
        let digest = download.sha256.as_ref().map(model::hex).unwrap_or_default();
        (download.file, download.size.unwrap_or(0), digest)
    });
    ModelDescription {
        place: ModelPlace::Catalogue,
        texts,
        numbers,
        platforms: keys(&entry.platforms()),
        aliases: Vec::new(),
        files: files.collect(),
    }
}

fn keys(platforms: &[Platform]) -> Vec<String> {
    platforms.iter().map(|platform| platform.key().to_owned()).collect()
}
