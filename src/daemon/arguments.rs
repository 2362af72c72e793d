//! The command line of `hailo-clipd`.

use std::path::PathBuf;

use clap::Parser;

use crate::{config, dbus::Bus, model};

/// CLIP zero-shot image classification and embeddings, on D-Bus and over HTTP.
#[derive(Debug, Parser)]
#[command(name = "hailo-clipd", version, about)]
pub(super) struct Arguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    pub(super) config: PathBuf,

    /// Print the effective settings, or what is wrong with them, and exit with 0 or 78.
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    check_config: Option<Option<PathBuf>>,

    /// Open the model bundle in a folder within limits, and exit: the daemon's own trial of a model.
    #[arg(long, value_name = "DIR", hide = true)]
    pub(super) try_model: Option<PathBuf>,

    /// The message bus: `system`, `session` or a D-Bus address.
    #[arg(long, value_name = "BUS", default_value = "system")]
    pub(super) bus: Bus,

    /// A folder of model bundles; may be given several times, the first one that has the model wins.
    #[arg(long = "models-dir", value_name = "DIR", default_values = model::SEARCH_PATH)]
    pub(super) models: Vec<PathBuf>,
}

impl Arguments {
    /// The file to check, if this is all that is asked for.
    pub(super) fn check_config(&self) -> Option<PathBuf> {
        let file = self.check_config.as_ref()?;
        Some(file.as_ref().unwrap_or(&self.config).clone())
    }
}
