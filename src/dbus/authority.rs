//! Who may do what: polkit decides, about the sender of each message.
//!
//! Polkit is told the sender's unique name on the bus and nothing else; it asks the bus itself for the
//! user and the process behind the name. A process id, its start time and its user, looked up here,
//! would be those of whoever has them by now; a unique name is never given twice, and it is nobody's once
//! its owner has left. Anything but a plain "yes" is a no. One thing needs no polkit: to classify, which
//! every local process may, unless a polkit that is there says otherwise.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{Stream, StreamExt, stream};
use tokio::time::timeout;
use tracing::{debug, warn};
use zbus::{
    Connection, MatchRule, MessageStream,
    fdo::{self, DBusProxy},
    message::{Flags, Header, Type},
    names::{BusName, OwnedUniqueName, UniqueName},
    proxy::CacheProperties,
};
use zbus_polkit::policykit1::{AuthorityProxy, CheckAuthorizationFlags, Subject};

use super::{Error, callers::Call};

const POLKIT: &str = "org.freedesktop.PolicyKit1";
const POLKIT_PATH: &str = "/org/freedesktop/PolicyKit1/Authority";
const POLKIT_INTERFACE: &str = "org.freedesktop.PolicyKit1.Authority";
const BUS: &str = "org.freedesktop.DBus";

/// What a caller needs leave for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Have pictures and texts encoded.
    Classify,
    /// Change what the service runs.
    Manage,
    /// Install, check and remove models.
    ManageModels,
}

impl Action {
    fn id(self) -> &'static str {
        match self {
            Self::Classify => "org.hailo.clip1.classify",
            Self::Manage => "org.hailo.clip1.manage",
            Self::ManageModels => "org.hailo.clip1.manage-models",
        }
    }
}

/// How long polkit is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// If it can answer by itself.
    pub(super) alone: Duration,
    /// If it may have to ask a person.
    pub(super) with_a_person: Duration,
}

/// Asks polkit, and remembers who may classify.
#[derive(Debug)]
pub(super) struct Authority {
    patience: Patience,
    known: Mutex<Known>,
    interactive_questions: AtomicU64,
}

#[derive(Debug, Default)]
struct Known {
    /// Counts the events that make older answers void.
    age: u64,
    /// Polkit said yes.
    may_classify: HashSet<OwnedUniqueName>,
    /// Nobody owned polkit's name and the bus could not start it.
    polkit_is_absent: bool,
    /// The log has it that polkit does not answer.
    silence_is_told: bool,
}

/// What came of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
    /// A person could turn this into a yes, and was not asked or did not.
    Challenge,
    /// The person closed the dialogue.
    Dismissed,
    /// There is no polkit.
    Absent,
    /// There is one, but it gave no answer.
    Silent,
}

impl Authority {
    pub(super) fn new(patience: Patience) -> Self {
        Self { patience, known: Mutex::default(), interactive_questions: AtomicU64::new(0) }
    }

    /// Returns if the sender of `call`, whose message has this header, may do `action`.
    ///
    /// # Errors
    /// It may not, or nobody says that it may.
    pub(super) async fn require(
        &self,
        action: Action,
        call: &Call,
        header: &Header<'_>,
        connection: &Connection,
    ) -> Result<(), Error> {
        let age = self.lock().age;
        if action == Action::Classify && self.may_classify(call) {
            return Ok(());
        }
        let answer = self.ask(action, header, connection).await;
        if action == Action::Classify {
            self.remember(age, call, answer);
        }
        match (action, answer) {
            (_, Answer::Yes) | (Action::Classify, Answer::Absent) => Ok(()),
            (_, refused) => {
                debug!(caller = %call.caller(), action = action.id(), ?refused, "not authorised");
                Err(refusal(action, refused))
            }
        }
    }

    /// Whether an earlier answer lets the caller classify.
    fn may_classify(&self, call: &Call) -> bool {
        let known = self.lock();
        known.polkit_is_absent || known.may_classify.contains(call.caller())
    }

    /// Keeps an answer about classifying, unless it is void by now.
    fn remember(&self, age: u64, call: &Call, answer: Answer) {
        let mut known = self.lock();
        if known.age != age {
            return;
        }
        match answer {
            // Whoever has left already would never be forgotten.
            Answer::Yes if !call.has_departed() => {
                known.may_classify.insert(call.caller().to_owned());
            }
            Answer::Absent => known.polkit_is_absent = true,
            Answer::Yes | Answer::No | Answer::Challenge | Answer::Dismissed | Answer::Silent => {}
        }
    }

    /// Forgets a caller that has left the bus.
    pub(super) fn forget(&self, name: &UniqueName<'_>) {
        self.lock().may_classify.remove(name.as_str());
    }

    /// Makes every answer void, those to come from questions that are under way as well.
    fn forget_all(&self) {
        let mut known = self.lock();
        *known = Known { age: known.age + 1, ..Known::default() };
    }

    async fn ask(&self, action: Action, header: &Header<'_>, connection: &Connection) -> Answer {
        let interactive = header.primary().flags().contains(Flags::ALLOW_INTERACTIVE_AUTH);
        let (flags, limit) = if interactive {
            (CheckAuthorizationFlags::ALLOW_USER_INTERACTION, self.patience.with_a_person)
        } else {
            (CheckAuthorizationFlags::empty(), self.patience.alone)
        };
        let mut question = Question { connection, id: String::new() };
        if interactive {
            let number = self.interactive_questions.fetch_add(1, Ordering::Relaxed);
            question.id = format!("hailo-clip-{number}");
        }
        let mut result = timeout(limit, question.put(action, header, flags)).await;
        // A polkit that reads its rules anew, as when a package is upgraded, loses the questions that it has.
        if result.is_err() && !interactive {
            result = timeout(limit, question.put(action, header, flags)).await;
        }
        if result.is_ok() {
            question.id.clear();
        }
        match result {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) if is_absent(&error, connection).await => Answer::Absent,
            Ok(Err(error)) => self.silent(action, &error.to_string()),
            Err(_) => self.silent(action, &format!("no answer within {} ms", limit.as_millis())),
        }
    }

    /// Logs that polkit does not answer: once, since callers decide how often it is asked.
    fn silent(&self, action: Action, why: &str) -> Answer {
        let told = std::mem::replace(&mut self.lock().silence_is_told, true);
        if !told {
            warn!(action = action.id(), "polkit cannot be asked, callers are refused: {why}");
        }
        Answer::Silent
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // No code panics while it holds the lock.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question to polkit. If nobody waits for the answer any more, it is withdrawn, so that no dialogue stays on
/// a screen.
struct Question<'a> {
    connection: &'a Connection,
    /// Empty once there is nothing to withdraw.
    id: String,
}

impl Question<'_> {
    async fn put(
        &self,
        action: Action,
        header: &Header<'_>,
        flags: CheckAuthorizationFlags,
    ) -> zbus::Result<Answer> {
        let subject = Subject::new_for_message_header(header).map_err(|_| zbus::Error::MissingField)?;
        let details = HashMap::new();
        let result = polkit(self.connection)
            .await?
            .check_authorization(&subject, action.id(), &details, flags, &self.id)
            .await?;
        Ok(match (result.is_authorized, result.is_challenge) {
            (true, _) => Answer::Yes,
            (false, _) if result.details.contains_key("polkit.dismissed") => Answer::Dismissed,
            (false, true) => Answer::Challenge,
            (false, false) => Answer::No,
        })
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        if self.id.is_empty() {
            return;
        }
        let (connection, id) = (self.connection.clone(), std::mem::take(&mut self.id));
        tokio::spawn(async move {
            let withdrawn = async { polkit(&connection).await?.cancel_check_authorization(&id).await }.await;
            if let Err(error) = withdrawn {
                debug!(%error, "a question to polkit could not be withdrawn");
            }
        });
    }
}

async fn polkit(connection: &Connection) -> zbus::Result<AuthorityProxy<'static>> {
    AuthorityProxy::builder(connection).cache_properties(CacheProperties::No).build().await
}

/// Whether `error` came about because there is no polkit: the bus, not a polkit, has answered.
async fn is_absent(error: &zbus::Error, connection: &Connection) -> bool {
    match error {
        // The rest of a polkit that ended while it was asked.
        zbus::Error::FDO(error)
            if matches!(**error, fdo::Error::NoReply(_) | fdo::Error::Disconnected(_)) =>
        {
            return false;
        }
        zbus::Error::FDO(_) | zbus::Error::MethodError(..) => {}
        _ => return false,
    }
    let owner = async {
        let name = BusName::from_static_str(POLKIT)?;
        Ok::<_, zbus::Error>(DBusProxy::new(connection).await?.name_has_owner(name).await?)
    };
    !owner.await.unwrap_or(true)
}

/// What the caller is told: nothing but what it can do about it.
fn refusal(action: Action, answer: Answer) -> Error {
    let id = action.id();
    Error::NotAuthorized(match answer {
        Answer::Yes | Answer::No => format!("polkit does not allow {id}"),
        Answer::Challenge => {
            format!("polkit allows {id} after authentication, for which there was no opportunity")
        }
        Answer::Dismissed => "the authentication was dismissed".to_owned(),
        Answer::Absent => format!("polkit is not there to allow {id}"),
        Answer::Silent => format!("polkit gave no answer about {id}"),
    })
}

/// Subscribes to what makes answers void: rules, actions or sessions change, polkit comes or goes.
pub(super) async fn changes(connection: &Connection) -> zbus::Result<impl Stream<Item = ()> + Send + use<>> {
    let changed = MatchRule::builder()
        .msg_type(Type::Signal)
        .sender(POLKIT)
        .path(POLKIT_PATH)
        .interface(POLKIT_INTERFACE)
        .member("Changed")
        .build()?;
    let owner = MatchRule::builder()
        .msg_type(Type::Signal)
        .sender(BUS)
        .interface(BUS)
        .member("NameOwnerChanged")
        .arg(0, POLKIT)
        .build()?;
    let changed = MessageStream::for_match_rule(changed, connection, None).await?;
    let owner = MessageStream::for_match_rule(owner, connection, None).await?;
    Ok(stream::select(changed, owner).map(drop))
}

/// Has `authority` forget its answers at every change, until the connection ends.
pub(super) async fn follow(changes: impl Stream<Item = ()>, authority: Arc<Authority>) {
    changes.for_each(async |()| authority.forget_all()).await;
}

#[cfg(test)]
mod tests {
    use zbus::Message;

    use super::{super::callers::Callers, *};

    fn authority() -> Authority {
        Authority::new(Patience { alone: Duration::ZERO, with_a_person: Duration::ZERO })
    }

    fn call(callers: &Arc<Callers>, sender: &str) -> Call {
        let message = Message::method_call("/", "Classify").sender(sender).build(&()).unwrap();
        callers.admit(&message.header()).unwrap()
    }

    fn leave(callers: &Callers, authority: &Authority, name: &str) {
        let name = UniqueName::try_from(name).unwrap();
        callers.depart(&name);
        authority.forget(&name);
    }

    #[test]
    fn only_yes_is_kept_and_only_for_whom_it_was() {
        let (authority, callers) = (authority(), Arc::new(Callers::new(16)));
        let (one, other) = (call(&callers, ":1.1"), call(&callers, ":1.2"));
        for answer in [Answer::No, Answer::Challenge, Answer::Dismissed, Answer::Silent] {
            authority.remember(0, &one, answer);
            assert!(!authority.may_classify(&one), "{answer:?}");
        }
        authority.remember(0, &one, Answer::Yes);
        assert!(authority.may_classify(&one) && authority.may_classify(&call(&callers, ":1.1")));
        assert!(!authority.may_classify(&other));
    }

    #[test]
    fn who_leaves_is_forgotten_and_not_remembered_again() {
        let (authority, callers) = (authority(), Arc::new(Callers::new(16)));
        let (stays, leaves) = (call(&callers, ":1.1"), call(&callers, ":1.2"));
        authority.remember(0, &stays, Answer::Yes);
        authority.remember(0, &leaves, Answer::Yes);
        leave(&callers, &authority, ":1.2");
        assert!(authority.may_classify(&stays) && !authority.may_classify(&leaves));
        authority.remember(0, &leaves, Answer::Yes);
        assert!(!authority.may_classify(&leaves));
        assert_eq!(authority.lock().may_classify.len(), 1);
    }

    #[test]
    fn a_change_makes_every_answer_void_even_one_on_its_way() {
        let (authority, callers) = (authority(), Arc::new(Callers::new(16)));
        let caller = call(&callers, ":1.1");
        for answer in [Answer::Yes, Answer::Absent] {
            let age = authority.lock().age;
            authority.remember(age, &caller, answer);
            assert!(authority.may_classify(&caller));
            authority.forget_all();
            assert!(!authority.may_classify(&caller));
            authority.remember(age, &caller, answer);
            assert!(!authority.may_classify(&caller), "{answer:?} was given before the change");
        }
    }
}
