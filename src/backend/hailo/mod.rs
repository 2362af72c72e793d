mod holder;
mod nodes;
use super::*;
use crate::{config, model::Bundle};
pub const SHIM_DIR: &str = "/usr/lib/hailo-clip";
pub struct Host {}
impl Host {
    pub fn new(_: std::path::PathBuf, _: std::path::PathBuf) -> Self {
        Self {}
    }
}
pub(super) fn open(
    _: &Bundle,
    _: &config::Clip,
    _: CpuOptions,
    _: &Host,
    _: select::Examine<'_>,
) -> Result<Encoders, BackendError> {
    Err(BackendError::NoDevice("no Hailo device found".into()))
}
