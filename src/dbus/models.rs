//! What the facade asks of the daemon about models on disk.

use std::{collections::HashMap, os::fd::OwnedFd};

use crate::model::{ChangeError, Watch};

/// A model that is installed or can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedModel {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub place: ModelPlace,
    /// Whether this machine has hardware that it can run on.
    pub compatible: bool,
}

/// Where a model is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelPlace {
    /// Came with the package.
    Packaged,
    /// Fetched or imported.
    Local,
    /// In the catalogue alone.
    Catalogue,
}

impl ModelPlace {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Packaged => "packaged",
            Self::Local => "local",
            Self::Catalogue => "catalogue",
        }
    }
}

/// Everything that is known of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelDescription {
    /// Where it is.
    pub place: ModelPlace,
    /// Facts of one word or sentence: `description`, `license`, `source`, `precision`, `incomplete`.
    pub texts: Vec<(&'static str, String)>,
    /// Numbers: `embedding_dimension`, `image_size`, `context_length`, `size` in bytes.
    pub numbers: Vec<(&'static str, u64)>,
    /// Hardware that it can run on.
    pub platforms: Vec<String>,
    /// Other names of the same vectors.
    pub aliases: Vec<String>,
    /// Its files: name, size or 0, SHA-256 or empty.
    pub files: Vec<(String, u64, String)>,
}

/// Models on disk. All of it blocks; what takes long follows a [`Watch`].
pub trait Models: Send + Sync {
    /// Installed models, then those of the catalogue.
    fn list(&self) -> Vec<ListedModel>;

    /// What is known of `name`.
    ///
    /// # Errors
    /// There is no such model, or it is not in order.
    fn describe(&self, name: &str) -> Result<ModelDescription, ChangeError>;

    /// Fetches and installs a model of the catalogue; what there is to tell about it.
    ///
    /// # Errors
    /// [`ChangeError`]
    fn pull(&self, name: &str, watch: &Watch) -> Result<String, ChangeError>;

    /// Makes a bundle of files, or adds HEFs to one; what there is to tell about it.
    ///
    /// # Errors
    /// [`ChangeError`]
    fn import(
        &self,
        name: &str,
        files: HashMap<String, OwnedFd>,
        options: HashMap<String, String>,
        watch: &Watch,
    ) -> Result<String, ChangeError>;

    /// Reads all files of a model and checks them; what there is to tell about it.
    ///
    /// # Errors
    /// [`ChangeError`]
    fn verify(&self, name: &str, watch: &Watch) -> Result<String, ChangeError>;

    /// Removes a model that was fetched or imported.
    ///
    /// # Errors
    /// [`ChangeError`]
    fn remove(&self, name: &str) -> Result<(), ChangeError>;

    /// Has `name` be the model at the next start as well, until the configuration names another one than now.
    ///
    /// # Errors
    /// [`ChangeError::Storage`]
    fn choose(&self, name: &str) -> Result<(), ChangeError>;
}
