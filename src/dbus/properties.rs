//! The properties that follow the engine's status, and the signals of their changes.

use std::{borrow::Cow, collections::HashMap};

use tokio::sync::watch;
use tracing::debug;
use zbus::{Variant, fdo, names::InterfaceName, object_server::SignalEmitter};

use super::{NAME, control::announce_models};
use crate::engine::Status;

/// The engine's status as the bus shows it: what is not known (yet) is empty or zero.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StatusProperties {
    pub(super) state: &'static str,
    pub(super) model: String,
    pub(super) model_digest: String,
    pub(super) precision: String,
    pub(super) backend: &'static str,
    pub(super) device: String,
    pub(super) architecture: String,
    pub(super) firmware: String,
    pub(super) library: String,
    pub(super) driver: String,
    pub(super) embedding_dimension: u32,
    pub(super) image_size: u32,
    pub(super) logit_scale: f64,
    pub(super) idle: bool,
    pub(super) last_error: String,
}

impl From<&Status> for StatusProperties {
    fn from(status: &Status) -> Self {
        let (backend, loaded) = (status.backend.as_ref(), status.loaded.as_ref());
        let npu = backend.and_then(|backend| backend.npu.as_ref());
        Self {
            state: status.state.as_str(),
            model: status.model.clone(),
            model_digest: loaded.map_or_else(String::new, |model| model.digest.clone()),
            precision: loaded.map_or_else(String::new, |model| model.precision.clone()),
            backend: backend.map_or("", |backend| backend.kind.as_str()),
            device: backend.map_or_else(String::new, |backend| backend.device.clone()),
            architecture: npu.map_or_else(String::new, |npu| npu.architecture.clone()),
            firmware: npu.map_or_else(String::new, |npu| npu.firmware.clone()),
            library: npu.map_or_else(String::new, |npu| npu.library.clone()),
            driver: npu.and_then(|npu| npu.driver.clone()).unwrap_or_default(),
            embedding_dimension: loaded
                .map_or(0, |model| u32::try_from(model.embedding_dimension).unwrap_or(u32::MAX)),
            image_size: loaded.map_or(0, |model| model.image_size),
            logit_scale: loaded.map_or(0.0, |model| model.logit_scale.into()),
            idle: status.idle,
            last_error: status.error.clone().unwrap_or_default(),
        }
    }
}

impl StatusProperties {
    /// What differs from `before`, by property name.
    fn changes_since(&self, before: &Self) -> HashMap<&'static str, Variant<'_>> {
        let mut changes = self.values();
        for (name, value) in before.values() {
            if changes.get(name) == Some(&value) {
                changes.remove(name);
            }
        }
        changes
    }

    fn values(&self) -> HashMap<&'static str, Variant<'_>> {
        HashMap::from([
            ("State", self.state.into()),
            ("Model", self.model.as_str().into()),
            ("ModelDigest", self.model_digest.as_str().into()),
            ("Precision", self.precision.as_str().into()),
            ("Backend", self.backend.into()),
            ("Device", self.device.as_str().into()),
            ("DeviceArchitecture", self.architecture.as_str().into()),
            ("FirmwareVersion", self.firmware.as_str().into()),
            ("LibraryVersion", self.library.as_str().into()),
            ("DriverVersion", self.driver.as_str().into()),
            ("EmbeddingDimension", self.embedding_dimension.into()),
            ("ImageSize", self.image_size.into()),
            ("LogitScale", self.logit_scale.into()),
            ("Idle", self.idle.into()),
            ("LastError", self.last_error.as_str().into()),
        ])
    }
}

/// Signals what changes after `announced`, as long as the engine lives. The property Models is among it,
/// whoever had another model loaded: it says which one is in service.
pub(super) async fn announce(
    mut status: watch::Receiver<Status>,
    announced: Status,
    emitter: SignalEmitter<'static>,
) {
    let mut in_service = loaded(&announced);
    let mut announced = StatusProperties::from(&announced);
    while status.changed().await.is_ok() {
        let status = status.borrow_and_update().clone();
        let current = StatusProperties::from(&status);
        let changes = current.changes_since(&announced);
        if !changes.is_empty() {
            let signal = fdo::Properties::properties_changed(
                &emitter,
                InterfaceName::from_static_str_unchecked(NAME),
                changes,
                Cow::Borrowed(&[]),
            );
            if let Err(error) = signal.await {
                debug!(%error, "a change of properties could not be signalled");
            }
        }
        announced = current;
        let now = loaded(&status);
        if now != in_service {
            announce_models(&emitter).await;
            in_service = now;
        }
    }
}

fn loaded(status: &Status) -> Option<String> {
    status.loaded.as_ref().map(|model| model.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{ModelInfo, State};

    fn loading() -> Status {
        Status {
            state: State::Loading,
            model: "demo".to_owned(),
            loaded: None,
            backend: None,
            idle: false,
            error: None,
        }
    }

    fn ready() -> Status {
        Status {
            state: State::Ready,
            loaded: Some(ModelInfo {
                name: "demo".to_owned(),
                aliases: Vec::new(),
                embedding_dimension: 256,
                image_size: 224,
                logit_scale: 100.0,
                precision: "fp32".to_owned(),
                digest: "0f".to_owned(),
            }),
            ..loading()
        }
    }

    #[test]
    fn only_what_differs_is_a_change() {
        let (loading, ready) = (StatusProperties::from(&loading()), StatusProperties::from(&ready()));
        assert!(ready.changes_since(&ready).is_empty());

        let mut changed: Vec<_> = ready.changes_since(&loading).into_keys().collect();
        changed.sort_unstable();
        assert_eq!(
            changed,
            ["EmbeddingDimension", "ImageSize", "LogitScale", "ModelDigest", "Precision", "State"]
        );
    }

    #[test]
    fn what_is_not_known_is_empty_or_zero() {
        let properties = StatusProperties::from(&loading());
        assert_eq!((properties.backend, properties.device.as_str()), ("", ""));
        assert_eq!((properties.embedding_dimension, properties.image_size), (0, 0));
        assert_eq!(properties.last_error, "");
    }
}
