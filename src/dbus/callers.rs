//! The callers: how many calls each has in flight, and whether it is still on the bus.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::TryStreamExt;
use tokio_util::sync::CancellationToken;
use tracing::debug;
use zbus::{
    Connection, MatchRule, MessageStream,
    message::{Header, Type},
    names::{OwnedUniqueName, UniqueName},
};

use super::Error;

const BUS: &str = "org.freedesktop.DBus";
const BUS_PATH: &str = "/org/freedesktop/DBus";

/// Everybody who has a call in flight.
#[derive(Debug)]
pub(super) struct Callers {
    max_calls: usize,
    active: Mutex<HashMap<OwnedUniqueName, Caller>>,
}

#[derive(Debug, Default)]
struct Caller {
    calls: usize,
    departed: CancellationToken,
}

impl Callers {
    /// Nobody yet, and at most `max_calls` for each at a time.
    pub(super) fn new(max_calls: usize) -> Self {
        Self { max_calls, active: Mutex::default() }
    }

    /// Counts a call until the answer is dropped.
    ///
    /// # Errors
    /// The caller has as many calls in flight as allowed.
    pub(super) fn admit(self: &Arc<Self>, header: &Header<'_>) -> Result<Call, Error> {
        let caller = header
            .sender()
            .ok_or_else(|| Error::NotAuthorized("the message does not say who sent it".to_owned()))?;
        let name = OwnedUniqueName::from(caller.to_owned());
        let mut active = self.lock();
        let entry = active.entry(name.clone()).or_default();
        if entry.calls >= self.max_calls {
            return Err(Error::QueueFull(format!(
                "{} of your calls are not answered yet, which is the limit; wait for an answer",
                entry.calls
            )));
        }
        entry.calls += 1;
        Ok(Call { callers: Arc::clone(self), name, departed: entry.departed.clone() })
    }

    /// Cancels the calls of a caller that has left the bus.
    pub(super) fn depart(&self, name: &UniqueName<'_>) {
        if let Some(caller) = self.lock().get(name.as_str()) {
            debug!(caller = %name, calls = caller.calls, "a caller left the bus, its calls are cancelled");
            caller.departed.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<OwnedUniqueName, Caller>> {
        // No code panics while it holds the lock, and a count is right after every statement.
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call in flight.
#[derive(Debug)]
pub(super) struct Call {
    callers: Arc<Callers>,
    name: OwnedUniqueName,
    departed: CancellationToken,
}

impl Call {
    /// Who calls.
    pub(super) fn caller(&self) -> &OwnedUniqueName {
        &self.name
    }

    /// Whether the bus has told that the caller left since this call was admitted.
    pub(super) fn has_departed(&self) -> bool {
        self.departed.is_cancelled()
    }

    /// Returns when the caller is no longer on the bus.
    pub(super) async fn departed(&self, connection: &Connection) {
        // The signal may have come between the message and its admission. The bus knows.
        if self.is_on_the_bus(connection).await.unwrap_or(false) {
            self.departed.cancelled().await;
        }
    }

    async fn is_on_the_bus(&self, connection: &Connection) -> zbus::Result<bool> {
        let reply =
            connection.call_method(Some(BUS), BUS_PATH, Some(BUS), "NameHasOwner", &self.name).await?;
        reply.body().deserialize()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut active = self.callers.lock();
        if let Some(caller) = active.get_mut(&self.name) {
            caller.calls -= 1;
            if caller.calls == 0 {
                active.remove(&self.name);
            }
        }
    }
}

/// Subscribes to the names that lose their owner.
pub(super) async fn departures(connection: &Connection) -> zbus::Result<MessageStream> {
    let rule = MatchRule::builder()
        .msg_type(Type::Signal)
        .sender(BUS)
        .interface(BUS)
        .member("NameOwnerChanged")
        .arg(2, "")
        .build()?;
    MessageStream::for_match_rule(rule, connection, None).await
}

/// Tells of every departure, until the connection ends.
pub(super) async fn follow(mut departures: MessageStream, tell: impl Fn(&UniqueName<'_>)) {
    while let Ok(Some(signal)) = departures.try_next().await {
        let body = signal.body();
        // Well-known names come along; they are nobody's caller name.
        if let Ok((name, _, _)) = body.deserialize::<(&str, &str, &str)>()
            && let Ok(name) = UniqueName::try_from(name)
        {
            tell(&name);
        }
    }
}
