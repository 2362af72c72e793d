//! `hailo-clip model`, `hailo-clip warmup` and `hailo-clip reload`: what an administrator does by hand.
//!
//! The service has polkit decide who may; nothing is decided here.

use clap::{Args, Subcommand};

use super::{
    Exit, Failure,
    client::Client,
    console::{Console, escape},
};

/// What to do with models.
#[derive(Debug, Subcommand)]
pub(super) enum Model {
    /// Take an installed model into service in place of the one that is, without a pause.
    ///
    /// The configuration file stays as it is: a reload or a restart goes back to its model.
    Load(Load),
    /// Release the model's memory and the device until the next request needs them.
    ///
    /// Other programs can use the device meanwhile.
    Unload,
}

/// Arguments of `hailo-clip model load`.
#[derive(Debug, Args)]
pub(super) struct Load {
    /// Name of the model; without one, the model that was released is taken again.
    #[arg(value_name = "NAME", default_value = "", hide_default_value = true)]
    name: String,
}

pub(super) async fn model(command: Model, client: &Client, console: &mut Console) -> Result<Exit, Failure> {
    match command {
        Model::Load(Load { name }) => {
            client.load_model(&name).await?;
            let name = client.model().await?;
            console.print(&format!("{} is in service\n", escape(&name)))?;
        }
        Model::Unload => {
            client.unload_model().await?;
            console.print("the model is released; the next request loads it again\n")?;
        }
    }
    Ok(Exit::Success)
}

pub(super) async fn warm_up(client: &Client, console: &mut Console) -> Result<Exit, Failure> {
    client.warm_up().await?;
    console.print("both encoders have run\n")?;
    Ok(Exit::Success)
}

pub(super) async fn reload(client: &Client, console: &mut Console) -> Result<Exit, Failure> {
    client.reload().await?;
    console.print("the configuration is in force\n")?;
    Ok(Exit::Success)
}
