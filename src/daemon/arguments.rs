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

    /// Print as JSON what the ONNX towers in a folder say of their shapes, within limits, and exit.
    #[arg(long, value_name = "DIR", hide = true)]
    pub(super) inspect_model: Option<PathBuf>,

    /// With --inspect-model: the side of the pictures, if the network takes any.
    #[arg(long, value_name = "PIXELS", hide = true)]
    pub(super) inspect_size: Option<u32>,

    /// The message bus: `system`, `session` or a D-Bus address.
    #[arg(long, value_name = "BUS", default_value = "system")]
    pub(super) bus: Bus,

    /// Where the shim over HailoRT lies that hailo-clip-build-shim makes.
    #[arg(long, value_name = "DIR", default_value = backend::SHIM_DIR)]
    pub(super) shim_dir: PathBuf,

    /// What stands for `/` when Hailo devices are looked for in /sys, /dev and /proc.
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    pub(super) hardware_root: PathBuf,

    /// A folder of model bundles, looked into after those that were fetched or imported; may be given several
    /// times, the first one that has the model wins.
    #[arg(long = "models-dir", value_name = "DIR", default_value = model::SEARCH_PATH[1])]
    pub(super) models: Vec<PathBuf>,

    /// Where models are put that are fetched or imported, and text embeddings and which model was chosen are kept.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/hailo-clip")]
    pub(super) state_dir: PathBuf,

    /// A catalogue of models; may be given several times, a later one adds to an earlier one.
    #[arg(long = "catalog", value_name = "FILE", default_values = model::CATALOG_PATH)]
    pub(super) catalogs: Vec<PathBuf>,

    /// Where other Hailo programs put what they fetch.
    #[arg(long, value_name = "DIR", default_value = model::RESOURCES, hide = true)]
    pub(super) resources: PathBuf,

    /// The socket of hailo-clip-pull; without one, it is started as a child process.
    #[arg(long, value_name = "PATH")]
    pub(super) pull_socket: Option<PathBuf>,
}

impl Arguments {
    /// The folder of models that are fetched or imported.
    pub(super) fn store(&self) -> PathBuf {
        self.state_dir.join("models")
    }

    /// Where models are looked for, in that order.
    pub(super) fn search_path(&self) -> Vec<PathBuf> {
        std::iter::once(self.store()).chain(self.models.iter().cloned()).collect()
    }

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
