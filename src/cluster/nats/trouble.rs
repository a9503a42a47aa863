//! Why the log can't be had, or not as it should be: a sentence each, with what to do.

use std::fmt;

use super::{
    api::{ApiError, NOT_ENABLED},
    permissions::{Kind, Rights},
    settings::Names,
    stream::Difference,
};

/// Something that a person must hear of. It is tried again all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// The log can't be had because of it; otherwise it is only worth knowing.
    pub(in crate::cluster) is_fatal: bool,
    text: String,
    /// What to do, where that isn't in the text.
    remedy: Remedy,
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remedy {
    /// The text says it.
    Said,
    /// The permissions must be given that `wsfan cluster init` prints.
    Permissions,
    /// The same; a candidate has them, to make the stream.
    Making,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        f.write_str(match self.remedy {
            Remedy::Said => "",
            Remedy::Permissions | Remedy::Making => {
                ": wsfan cluster init prints the permissions of each kind of node"
            }
        })
    }
}

impl Trouble {
    /// One that keeps the log away.
    pub(super) fn fatal(text: impl Into<String>) -> Trouble {
        Trouble { is_fatal: true, text: clean(&text.into()), remedy: Remedy::Said }
    }

    /// One that is worth knowing.
    pub(super) fn warning(text: impl Into<String>) -> Trouble {
        Trouble { is_fatal: false, text: clean(&text.into()), remedy: Remedy::Said }
    }

    /// For `wsfan cluster init` itself, by a node that may lead or not.
    pub(crate) fn for_init(&self, candidate: bool) -> String {
        let hint = match self.remedy {
            Remedy::Said => "",
            Remedy::Making if !candidate => {
                ", since a node with candidate = false needn't: run it with a candidate's login"
            }
            Remedy::Permissions | Remedy::Making => {
                ": this user needs the permissions that are printed for this node"
            }
        };
        format!("{}{hint}", self.text)
    }

    pub(super) fn too_old(url: &str, version: &str) -> Trouble {
        Trouble::fatal(format!(
            "the NATS server {url} is version {version}, and a cluster needs 2.9 or newer: update nats-server there"
        ))
    }

    pub(super) fn max_payload(url: &str, there: usize, needed: usize) -> Trouble {
        Trouble::fatal(format!(
            "the NATS server {url} takes messages of {there} bytes at most, and a cluster needs {needed}: \
             set max_payload: 1MB in its configuration"
        ))
    }

    pub(super) fn no_jetstream() -> Trouble {
        Trouble::fatal(
            "JetStream is off in the NATS server, or for this account: write jetstream { store_dir: … } into its \
             configuration, and jetstream: enabled into the account's",
        )
    }

    pub(super) fn unanswered(stream: &str) -> Trouble {
        Trouble::fatal(format!(
            "JetStream doesn't answer for the stream {stream}: too few of its servers are there, or it has no leader \
             just now (nats stream info {stream} tells)"
        ))
    }

    pub(super) fn not_there(stream: &str) -> Trouble {
        Trouble::fatal(format!(
            "the stream {stream} isn't there, and a node with candidate = false doesn't make it: \
             start a candidate, or run wsfan cluster init with a candidate's login"
        ))
    }

    pub(super) fn is_another(stream: &str, differences: &[String]) -> Trouble {
        Trouble::fatal(format!(
            "the stream {stream} can't be the log: {}; remove it (nats stream rm {stream}), so that a \
             new one is made, or give the cluster another name",
            differences.join("; ")
        ))
    }

    pub(super) fn differs(stream: &str, difference: &Difference) -> Trouble {
        let mut all = difference.other.clone();
        if !all.is_empty() {
            all.push(format!("change either (nats stream edit {stream})"));
        }
        all.extend(difference.fixed.iter().cloned());
        Trouble::warning(format!("the stream {stream} isn't what the configuration says: {}", all.join("; ")))
    }

    /// JetStream made no stream.
    pub(super) fn not_made(stream: &str, error: &ApiError) -> Trouble {
        let hint = match error.err_code {
            _ if NOT_ENABLED.contains(&error.err_code) => return Trouble::no_jetstream(),
            10_074 => "; one server alone has cluster.replicas = 1",
            10_005 | 10_023 | 10_047 | 10_028 | 10_025 => {
                "; make room for history.max_bytes, and have as many servers as cluster.replicas"
            }
            _ => "",
        };
        Trouble::fatal(format!("JetStream doesn't make the stream {stream}: {}{hint}", words(error)))
    }

    /// JetStream says no to a question about the stream.
    pub(super) fn refused(stream: &str, error: &ApiError) -> Trouble {
        if NOT_ENABLED.contains(&error.err_code) {
            return Trouble::no_jetstream();
        }
        Trouble::fatal(format!("JetStream says of the stream {stream}: {}", words(error)))
    }

    /// JetStream takes no appends.
    pub(super) fn no_appends(stream: &str, error: &ApiError) -> Trouble {
        Trouble::warning(format!("the stream {stream} takes no message: {}", words(error)))
    }

    /// The server keeps this node from something.
    pub(super) fn denied(denied: &Denied, names: &Names, node: &str) -> Trouble {
        let what = if denied.publish { "publish to" } else { "subscribe to" };
        // as the permissions have it, which is the same for each of many addresses
        let rights = Rights::of(Kind::Candidate, names, node);
        let subject = rights.covering(denied.publish, &denied.subject).unwrap_or(&denied.subject);
        let why = match !denied.publish && subject == format!("{}.>", names.inbox(node)) {
            true => format!(
                "; the user's permissions are for another node's name, and here cluster.node is {node}"
            ),
            false => String::new(),
        };
        let mut trouble = Trouble::fatal(format!("NATS denies this node the right to {what} {subject}{why}"));
        trouble.remedy = match denied.subject.starts_with("$JS.API.STREAM.CREATE.") {
            true => Remedy::Making,
            false => Remedy::Permissions,
        };
        trouble
    }

    /// Any other error of the server's.
    pub(super) fn server(error: &str) -> Trouble {
        Trouble::warning(format!("the NATS server says: {error}"))
    }

    /// What other nodes said was dropped here, since too much waited.
    pub(super) fn behind() -> Trouble {
        Trouble::warning(
            "other nodes say more than this one takes in, and some of it is lost, to be said again: look who publishes \
             so much to the cluster's subjects in NATS",
        )
    }

    /// What was to be said to other nodes was dropped here, since too much waited.
    pub(super) fn unsaid() -> Trouble {
        Trouble::warning(
            "the NATS server takes less than this node has to say to others, and some of it is lost, to be said again",
        )
    }

    /// There is no room for what JetStream sends.
    pub(super) fn flooded(url: &str) -> Trouble {
        Trouble::fatal(format!(
            "the NATS server {url} sends more of the stream than this node takes in: the connection is made anew, and \
             the stream read from where this node has it"
        ))
    }

    /// The server takes nothing.
    pub(super) fn clogged(url: &str) -> Trouble {
        Trouble::fatal(format!(
            "the NATS server {url} doesn't take what this node says: the connection is made anew"
        ))
    }
}

/// What the server says a node may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Denied {
    pub(super) publish: bool,
    pub(super) subject: String,
}

impl Denied {
    /// `Permissions Violation for Publish to "SUBJECT"`; what may follow the subject differs from server to server.
    pub(super) fn read(error: &str) -> Option<Denied> {
        let start = "permissions violation for ";
        if !error.get(..start.len())?.eq_ignore_ascii_case(start) {
            return None;
        }
        let rest = error.get(start.len()..)?;
        let (what, rest) = rest.split_once(" to \"")?;
        let (subject, _) = rest.split_once('"')?;
        Some(Denied { publish: what.eq_ignore_ascii_case("publish"), subject: subject.to_owned() })
    }
}

fn words(error: &ApiError) -> String {
    match (error.description.as_str(), error.err_code) {
        ("", 0) => "an error without words".to_owned(),
        ("", code) => format!("error {code}"),
        (text, 0) => text.to_owned(),
        (text, code) => format!("{text} ({code})"),
    }
}

/// One line, of bounded length.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(1000).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_denied_is_told_by_its_subject() {
        let denied = |error| Denied::read(error).map(|denied| (denied.publish, denied.subject));
        assert_eq!(
            denied(r#"Permissions Violation for Publish to "wsfan.x.log""#),
            Some((true, "wsfan.x.log".into()))
        );
        assert_eq!(
            denied(r#"Permissions Violation for Subscription to "_INBOX.>" using queue "q""#),
            Some((false, "_INBOX.>".into()))
        );
        assert_eq!(denied("Stale Connection"), None);
        assert_eq!(denied("Authorization Violation"), None);
        assert_eq!(denied(""), None);
    }

    #[test]
    fn what_init_is_denied_is_told_without_itself() {
        let denied = |publish, subject: &str| {
            let denied = Denied { publish, subject: subject.into() };
            Trouble::denied(&denied, &Names::of("x"), "a")
        };
        let making = denied(true, "$JS.API.STREAM.CREATE.WSFAN_x");
        let start = "NATS denies this node the right to publish to $JS.API.STREAM.CREATE.WSFAN_x";
        assert_eq!(
            making.to_string(),
            format!("{start}: wsfan cluster init prints the permissions of each kind of node")
        );
        assert_eq!(
            making.for_init(true),
            format!("{start}: this user needs the permissions that are printed for this node")
        );
        assert_eq!(
            making.for_init(false),
            format!("{start}, since a node with candidate = false needn't: run it with a candidate's login")
        );
        assert_eq!(
            denied(false, "_INBOX_x.a.5ec.*").for_init(false),
            "NATS denies this node the right to subscribe to _INBOX_x.a.>; the user's permissions are for another \
             node's name, and here cluster.node is a: this user needs the permissions that are printed for this node"
        );
        let consumer = denied(true, "$JS.API.CONSUMER.CREATE.WSFAN_x.a_5ec_3_1").to_string();
        assert!(consumer.contains("publish to $JS.API.CONSUMER.CREATE.WSFAN_x.>: "), "{consumer}");
        for (publish, subject) in [(true, "_INBOX_x.a.1"), (false, "_INBOX_x.ab.1"), (false, "wsfan.x.who")] {
            assert!(!denied(publish, subject).to_string().contains("cluster.node"), "{subject}");
        }
        assert_eq!(Trouble::no_jetstream().for_init(false), Trouble::no_jetstream().to_string());
    }

    #[test]
    fn a_sentence_says_what_to_do() {
        let error =
            |err_code, description: &str| ApiError { code: 500, err_code, description: description.into() };
        assert_eq!(
            Trouble::not_made("WSFAN_x", &error(10_074, "replicas > 1 not supported in non-clustered mode"))
                .to_string(),
            "JetStream doesn't make the stream WSFAN_x: replicas > 1 not supported in non-clustered mode (10074); \
             one server alone has cluster.replicas = 1"
        );
        assert_eq!(Trouble::refused("WSFAN_x", &error(10_039, "")), Trouble::no_jetstream());
        assert_eq!(
            Trouble::refused("WSFAN_x", &error(1, "a\nb")).to_string(),
            "JetStream says of the stream WSFAN_x: a b (1)"
        );
        assert!(Trouble::too_old("nats://h:4222", "2.8.4").is_fatal && !Trouble::server("x").is_fatal);
    }
}
