//! The model that an administrator has chosen with `hailo-clip model use`.
//!
//! It holds as long as the configuration file names the model that it named then: a later edit there is the
//! later decision.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::model::{Bundle, ChangeError};

#[derive(Serialize, Deserialize)]
struct Chosen {
    model: String,
    /// `clip.model` at that time.
    configured: String,
}

/// The choice, on disk.
#[derive(Debug)]
pub(super) struct Choice {
    file: PathBuf,
    /// `clip.model` of the configuration in force.
    configured: Mutex<String>,
}

impl Choice {
    /// As it is recorded in the folder `state`.
    pub(super) fn new(state: &Path) -> Self {
        Self { file: state.join("chosen-model.json"), configured: Mutex::default() }
    }

    /// The model to serve where the configuration says `configured`.
    pub(super) fn model(&self, configured: &str, search_path: &[PathBuf]) -> String {
        configured.clone_into(&mut self.configured.lock().unwrap_or_else(PoisonError::into_inner));
        let chosen = fs::read(&self.file).ok().and_then(|json| serde_json::from_slice::<Chosen>(&json).ok());
        let Some(Chosen { model, configured: then }) = chosen else { return configured.to_owned() };
        if then != configured {
            info!(
                "clip.model was changed from {then} to {configured}, which ends the choice of model {model}"
            );
            self.forget();
            configured.to_owned()
        } else if let Err(error) = Bundle::find(&model, search_path) {
            warn!("the chosen model cannot be used, clip.model is instead: {error}");
            configured.to_owned()
        } else {
            if model != configured {
                info!(
                    "serving model {model}, chosen with \"hailo-clip model use\", instead of {configured} (clip.model)"
                );
            }
            model
        }
    }

    /// Keeps to `model` from now on.
    pub(super) fn choose(&self, model: &str) -> Result<(), ChangeError> {
        let configured = self.configured.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if model == configured {
            self.forget();
            return Ok(());
        }
        let chosen = Chosen { model: model.to_owned(), configured };
        let new = self.file.with_extension("new");
        fs::create_dir_all(self.file.parent().unwrap_or(Path::new(".")))?;
        fs::write(&new, serde_json::to_vec(&chosen).map_err(io::Error::from)?)?;
        fs::File::open(&new)?.sync_all()?;
        fs::rename(&new, &self.file)?;
        Ok(())
    }

    fn forget(&self) {
        if let Err(error) = fs::remove_file(&self.file)
            && error.kind() != io::ErrorKind::NotFound
        {
            warn!("the choice of a model cannot be forgotten: {error}");
        }
    }
}
