//! What every call goes through before its work begins.

use std::sync::Arc;

use zbus::{
    Connection,
    message::{Flags, Header},
};

use super::{
    Error,
    authority::{Action, Authority},
    callers::Callers,
};

/// The way in, the same for all interfaces.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    pub(super) callers: Arc<Callers>,
    pub(super) authority: Arc<Authority>,
}

impl Gate {
    /// Does `work` for the sender of `call`: within its limit, if it may do `action`, and only as long as it
    /// is there.
    pub(super) async fn answer<T>(
        &self,
        action: Action,
        call: &Header<'_>,
        connection: &Connection,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let nobody_listens = || Error::NotReady("nobody waits for the answer".to_owned());
        if call.primary().flags().contains(Flags::NO_REPLY_EXPECTED) {
            return Err(nobody_listens());
        }
        let admitted = self.callers.admit(call)?;
        let answer = async {
            self.authority.require(action, &admitted, call, connection).await?;
            work.await
        };
        tokio::select! {
            answer = answer => answer,
            () = admitted.departed(connection) => Err(nobody_listens()),
        }
    }
}
