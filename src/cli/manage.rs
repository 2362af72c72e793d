//! `hailo-clip warmup` and `hailo-clip reload`: what an administrator does by hand.
//!
//! The service has polkit decide who may; nothing is decided here.

use super::{Exit, Failure, client::Client, console::Console};

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
