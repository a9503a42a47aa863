//! What NATS is to be for one node, and what everything is called there.

use std::{path::PathBuf, time::Duration};

/// How one node uses NATS.
#[derive(Debug, Clone)]
pub(in crate::cluster) struct Settings {
    /// The cluster's name.
    pub(in crate::cluster) name: String,
    /// This node's, which no other node has.
    pub(in crate::cluster) node: String,
    /// The servers: `nats://HOST[:PORT]` or `tls://HOST[:PORT]`.
    pub(in crate::cluster) urls: Vec<String>,
    /// So long a silence ends a term. What waits here for an answer waits for parts of it.
    pub(in crate::cluster) lease: Duration,
    /// It may hold the link, and so make the stream.
    pub(in crate::cluster) candidate: bool,
    /// How this node says who it is, read anew for each connection.
    pub(in crate::cluster) login: Login,
    /// Files of TLS.
    pub(in crate::cluster) tls: Tls,
    /// What the stream is to be.
    pub(in crate::cluster) stream: StreamSettings,
}

/// What the stream is to be, beside what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cluster) struct StreamSettings {
    /// On so many servers: 1, 3 or 5.
    pub(in crate::cluster) replicas: usize,
    /// In memory, or on disk.
    pub(in crate::cluster) memory: bool,
    /// The most bytes that it holds.
    pub(in crate::cluster) max_bytes: u64,
    /// How long it holds a message, if not until there is no room for it.
    pub(in crate::cluster) max_age: Option<Duration>,
}

/// How a node says who it is.
#[derive(Clone)]
pub(in crate::cluster) enum Login {
    /// It doesn't.
    None,
    /// By a `.creds` file.
    Credentials(PathBuf),
    /// By name and password.
    User { user: String, password: String },
    /// By a token.
    Token(String),
}

/// Files of TLS.
#[derive(Debug, Clone, Default)]
pub(in crate::cluster) struct Tls {
    /// Roots to trust instead of the system's.
    pub(in crate::cluster) ca_file: Option<PathBuf>,
    /// The node's certificate, and its key.
    pub(in crate::cluster) cert: Option<(PathBuf, PathBuf)>,
}

/// What a cluster's things are called in NATS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cluster) struct Names {
    name: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Login::None => "None",
            Login::Credentials(_) => "Credentials",
            Login::User { .. } => "User",
            Login::Token(_) => "Token",
        })
    }
}

impl Settings {
    /// What its things are called.
    pub(in crate::cluster) fn names(&self) -> Names {
        Names::of(&self.name)
    }

    /// What begins every address at which this node hears answers.
    pub(in crate::cluster) fn inbox(&self) -> String {
        self.names().inbox(&self.node)
    }

    /// The machine takes a question for unanswered after so long.
    pub(super) fn answers_within(&self) -> Duration {
        (self.lease / 5).min(Duration::from_secs(2))
    }

    /// So long what is asked on the way to the stream may take.
    pub(super) fn setup_within(&self) -> Duration {
        (self.lease / 2).clamp(Duration::from_secs(1), Duration::from_secs(5))
    }

    /// Before something is looked at once more that wasn't there.
    pub(super) fn rests_for(&self) -> Duration {
        (self.lease / 8).min(Duration::from_secs(1))
    }

    /// The stream's server says so often that nothing is new.
    pub(super) fn heartbeat(&self) -> Duration {
        (self.lease / 8).clamp(Duration::from_millis(100), Duration::from_secs(5))
    }

    /// A server that says nothing is asked so often whether it is there; with the third unanswered it isn't.
    pub(super) fn pings_after(&self) -> Duration {
        (self.lease / 6).min(Duration::from_secs(5))
    }
}

impl Names {
    /// Those of this cluster.
    pub(in crate::cluster) fn of(name: &str) -> Names {
        Names { name: name.to_owned() }
    }

    /// The stream that is the log.
    pub(in crate::cluster) fn stream(&self) -> String {
        format!("WSFAN_{}", self.name)
    }

    /// Its one subject.
    pub(in crate::cluster) fn log(&self) -> String {
        format!("wsfan.{}.log", self.name)
    }

    /// What clients have to send goes to the leader of this term.
    pub(in crate::cluster) fn send(&self, term: u64) -> String {
        format!("wsfan.{}.t{term}.send", self.name)
    }

    /// `open`, `close` and `reconnect`.
    pub(in crate::cluster) fn control(&self) -> String {
        format!("wsfan.{}.control", self.name)
    }

    /// Each node says here that it is there.
    pub(in crate::cluster) fn here(&self) -> String {
        format!("wsfan.{}.here", self.name)
    }

    /// Who asks here is told by each node how it is.
    pub(in crate::cluster) fn who(&self) -> String {
        format!("wsfan.{}.who", self.name)
    }

    /// What begins every address at which a node hears answers.
    pub(in crate::cluster) fn inbox(&self, node: &str) -> String {
        format!("_INBOX_{}_{node}", self.name)
    }
}
