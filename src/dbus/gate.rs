//! What every call goes through before its work begins.

use std::sync::Arc;

use zbus::{
    Connection, DBusError,
    message::{Flags, Header},
};

use super::{
    Error,
    authority::{Action, Authority},
    callers::Callers,
};
use crate::engine::Engine;

/// The way in, the same for all interfaces.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) engine: Engine,
    pub(super) callers: Arc<Callers>,
    pub(super) authority: Arc<Authority>,
}

impl Gate {
    /// Does `work` for the sender of `call`: within its limit, if it may do `action`, and only as long as it
    /// is there. Counts the answer.
    pub(super) async fn answer<T>(
        &self,
        action: Action,
        call: &Header<'_>,
        connection: &Connection,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let answer = self.answer_uncounted(action, call, connection, work).await;
        // No other names than those of our methods come here.
        let method = call.member().map_or("", |member| member.as_str());
        let error = answer.as_ref().err().map(DBusError::name);
        let code = error.as_ref().map_or("ok", |name| name.rsplit('.').next().unwrap_or_default());
        self.engine.statistics().count_answer("dbus", method, code);
        answer
    }

    async fn answer_uncounted<T>(
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
