//! A polkit on a private bus that answers as a test tells it, and remembers what it was asked.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of this")]

use std::{collections::HashMap, sync::Arc};

use tokio::sync::{Mutex, mpsc, watch};
use zbus::{
    Connection, OwnedVariant, connection, fdo, interface, message::Header, names::BusName,
    object_server::SignalEmitter,
};

const NAME: &str = "org.freedesktop.PolicyKit1";
const PATH: &str = "/org/freedesktop/PolicyKit1/Authority";

pub const CLASSIFY: &str = "org.hailo.clip1.classify";
pub const MANAGE: &str = "org.hailo.clip1.manage";

/// What it says to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    Yes,
    No,
    /// A person would have to authenticate.
    Challenge,
    /// The person closed the dialogue.
    Dismissed,
    /// An error, as for an action that is not registered.
    Error,
    /// Nothing until the test says otherwise.
    Nothing,
    /// It leaves the bus instead.
    Goodbye,
}

/// A question as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Kind of the subject.
    pub kind: String,
    /// The subject's details, of which there is one: its name.
    pub subject: String,
    pub action: String,
    pub details: HashMap<String, String>,
    pub flags: u32,
    pub cancellation_id: String,
}

/// The polkit; ends with the value.
pub struct Polkit {
    pub connection: Connection,
    script: Arc<Script>,
    questions: Mutex<mpsc::UnboundedReceiver<Question>>,
    withdrawn: Mutex<mpsc::UnboundedReceiver<String>>,
}

struct Script {
    /// By action; it says yes to all others.
    says: watch::Sender<HashMap<&'static str, Says>>,
    questions: mpsc::UnboundedSender<Question>,
    withdrawn: mpsc::UnboundedSender<String>,
}

impl Polkit {
    /// Says yes to everything.
    pub async fn start(address: &str) -> Self {
        let (questions, asked) = mpsc::unbounded_channel();
        let (withdrawn, withdrawals) = mpsc::unbounded_channel();
        let script = Arc::new(Script { says: watch::Sender::default(), questions, withdrawn });
        let authority = Authority(Arc::clone(&script));
        let connection =
            connection::Builder::address(address).serve_at(PATH, authority).name(NAME).build().await.unwrap();
        Self { connection, script, questions: Mutex::new(asked), withdrawn: Mutex::new(withdrawals) }
    }

    /// What it says from now on, also to questions that wait.
    pub fn says(&self, action: &'static str, says: Says) {
        self.script.says.send_modify(|all| {
            all.insert(action, says);
        });
    }

    /// The questions that nobody has looked at.
    pub fn questions(&self) -> Vec<Question> {
        let mut questions = self.questions.try_lock().unwrap();
        std::iter::from_fn(|| questions.try_recv().ok()).collect()
    }

    /// Waits for the next question.
    pub async fn next_question(&self) -> Question {
        self.questions.lock().await.recv().await.unwrap()
    }

    /// Waits for a question to be withdrawn; gives its id.
    pub async fn next_withdrawal(&self) -> String {
        self.withdrawn.lock().await.recv().await.unwrap()
    }

    /// Whether a question was withdrawn that nobody has looked at.
    pub fn was_withdrawn(&self) -> bool {
        self.withdrawn.try_lock().unwrap().try_recv().is_ok()
    }

    /// Tells everybody that rules have changed.
    pub async fn changed(&self) {
        let emitter = SignalEmitter::new(&self.connection, PATH).unwrap();
        Authority::changed(&emitter).await.unwrap();
    }

    /// Leaves the bus.
    pub async fn stop(self) {
        self.connection.close().await.unwrap();
    }
}

struct Authority(Arc<Script>);

#[interface(name = "org.freedesktop.PolicyKit1.Authority")]
impl Authority {
    #[allow(clippy::too_many_arguments, reason = "as the real one's, and what zbus adds")]
    async fn check_authorization(
        &self,
        subject: (String, HashMap<String, OwnedVariant>),
        action: String,
        details: HashMap<String, String>,
        flags: u32,
        cancellation_id: String,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> fdo::Result<(bool, bool, HashMap<String, String>)> {
        let (kind, mut names) = subject;
        let name: String = names.remove("name").unwrap().try_into().unwrap();
        assert!(names.is_empty(), "{names:?}");
        assert_ne!(name, header.sender().unwrap().as_str(), "the service asks for others");
        let bus = fdo::DBusProxy::new(connection).await?;
        if !bus.name_has_owner(BusName::try_from(name.as_str()).unwrap()).await? {
            return Err(fdo::Error::Failed(format!("{name} is not on the bus")));
        }
        let question = Question { kind, subject: name, action, details, flags, cancellation_id };
        let mut says = self.0.says.subscribe();
        let action = question.action.clone();
        self.0.questions.send(question).unwrap();
        let answer = |says: &HashMap<_, _>| says.get(action.as_str()).copied().unwrap_or(Says::Yes);
        let answer = answer(&*says.wait_for(|says| answer(says) != Says::Nothing).await.unwrap());
        let detail = |key: &str| HashMap::from([(key.to_owned(), "true".to_owned())]);
        match answer {
            Says::Yes => Ok((true, false, HashMap::new())),
            Says::No => Ok((false, false, HashMap::new())),
            Says::Challenge => Ok((false, true, detail("polkit.retains_authorization_after_challenge"))),
            Says::Dismissed => Ok((false, true, detail("polkit.dismissed"))),
            Says::Error => Err(fdo::Error::Failed("Action is not registered, see /etc/secret".into())),
            Says::Nothing | Says::Goodbye => {
                connection.clone().close().await?;
                std::future::pending().await
            }
        }
    }

    fn cancel_check_authorization(&self, cancellation_id: String) {
        self.0.withdrawn.send(cancellation_id).unwrap();
    }

    #[zbus(signal)]
    async fn changed(emitter: &SignalEmitter<'_>) -> zbus::Result<()>;
}
