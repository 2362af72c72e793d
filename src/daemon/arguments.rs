//! The command line of `hailo-clipd`.

use std::path::PathBuf;

use clap::Parser;

use crate::{
    backend, config,
    dbus::Bus,
    model::{self, TowerKind},
};

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

    /// With --try-model: an encoder to open.
    #[arg(long = "try-tower", value_name = "TOWER", hide = true, value_parser = tower)]
    pub(super) try_towers: Vec<TowerKind>,

    /// The message bus: `system`, `session` or a D-Bus address.
    #[arg(long, value_name = "BUS", default_value = "system")]
    pub(super) bus: Bus,

    /// Where the shim over HailoRT lies that hailo-clip-build-shim makes.
    #[arg(long, value_name = "DIR", default_value = backend::SHIM_DIR)]
    pub(super) shim_dir: PathBuf,

    /// What stands for `/` when Hailo devices are looked for in /sys, /dev and /proc.
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    pub(super) hardware_root: PathBuf,

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

fn tower(name: &str) -> Result<TowerKind, String> {
    [TowerKind::Image, TowerKind::Text]
        .into_iter()
        .find(|tower| tower.to_string() == name)
        .ok_or_else(|| "image or text".to_owned())
}
