//! What a node may and must be allowed in NATS.

use std::fmt::Write as _;

use serde::Deserialize;

use super::settings::Names;
use crate::config::{Cluster, NatsLogin};

/// The kinds of users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A node that may lead.
    Candidate,
    /// One that may not: NATS itself keeps it from the log.
    Follower,
    /// A person who looks.
    Onlooker,
}

/// Subjects that a user needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rights {
    pub(super) publish: Vec<String>,
    pub(super) subscribe: Vec<String>,
}

/// What a user may, as the server says it. Where nothing is allowed by name, all is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Permissions {
    publish: Option<Permission>,
    subscribe: Option<Permission>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Permission {
    allow: Option<Vec<String>>,
    deny: Option<Vec<String>>,
}

impl Rights {
    /// Those of a user of this kind, for this node.
    pub(super) fn of(kind: Kind, names: &Names, node: &str) -> Rights {
        let stream = names.stream();
        let inbox = format!("{}.>", names.inbox(node));
        let mut publish = vec![
            names.who(),
            format!("$JS.API.STREAM.INFO.{stream}"),
            "$JS.API.INFO".to_owned(),
            "$SYS.REQ.USER.INFO".to_owned(),
        ];
        let mut subscribe = vec![inbox];
        if kind != Kind::Onlooker {
            publish.extend([
                names.here(),
                names.sends(),
                names.inboxes(), // answers to other nodes
                format!("$JS.API.STREAM.MSG.GET.{stream}"),
                format!("$JS.API.CONSUMER.CREATE.{stream}.>"),
                format!("$JS.API.CONSUMER.DELETE.{stream}.>"),
                format!("$JS.FC.{stream}.>"),
            ]);
            subscribe.extend([names.here(), names.who()]);
        }
        if kind == Kind::Candidate {
            publish.extend([names.log(), format!("$JS.API.STREAM.CREATE.{stream}")]);
            subscribe.push(names.sends());
        }
        Rights { publish, subscribe }
    }

    /// The one of these that a subject falls under.
    pub(super) fn covering(&self, publish: bool, subject: &str) -> Option<&str> {
        let all = if publish { &self.publish } else { &self.subscribe };
        all.iter().map(String::as_str).find(|pattern| covers(pattern, subject))
    }

    /// Those that these permissions don't give, each with what it is for.
    pub(super) fn missing(&self, there: &Permissions) -> Vec<String> {
        let of = |what: &str, needed: &[String], given: &Option<Permission>| -> Vec<String> {
            let given = given.clone().unwrap_or_default();
            let lacks = needed.iter().filter(|subject| !given.gives(subject));
            lacks.map(|subject| format!("{what} {subject}")).collect()
        };
        let mut all = of("publish", &self.publish, &there.publish);
        all.extend(of("subscribe", &self.subscribe, &there.subscribe));
        all
    }
}

impl Permission {
    fn gives(&self, subject: &str) -> bool {
        let covered = |list: &Option<Vec<String>>| {
            list.iter()
                .flatten()
                .any(|pattern| covers(pattern.split(' ').next().unwrap_or_default(), subject))
        };
        let allows_all = self.allow.as_ref().is_none_or(Vec::is_empty);
        (allows_all || covered(&self.allow)) && !covered(&self.deny)
    }
}

/// Whether all that matches `subject`, which may have wildcards itself, matches the pattern.
fn covers(pattern: &str, subject: &str) -> bool {
    let mut subject = subject.split('.');
    for token in pattern.split('.') {
        match (token, subject.next()) {
            (">", Some(_)) => return true,
            (_, None) | ("*", Some(">")) => return false,
            ("*", Some(_)) => {}
            (token, Some(other)) if token == other => {}
            _ => return false,
        }
    }
    subject.next().is_none()
}

/// Stands where the other nodes' names go.
const PLACEHOLDER: &str = "NODE";

/// The permissions of each kind of user, for nats-server's configuration. This node's are with its names; a password is
/// what nats-server refuses until it is written.
pub(crate) fn text(cluster: &Cluster) -> String {
    let names = Names::of(&cluster.name);
    let own = if cluster.candidate { Kind::Candidate } else { Kind::Follower };
    let users = [Kind::Candidate, Kind::Follower, Kind::Onlooker].map(|kind| {
        let node = match kind {
            Kind::Onlooker => "onlooker",
            _ if kind == own => &cluster.node,
            _ => PLACEHOLDER,
        };
        (comment(kind, kind == own, &cluster.node), node, kind == own, Rights::of(kind, &names, node))
    });
    let (why, has_users) = match &cluster.login {
        NatsLogin::None | NatsLogin::User { .. } => (
            "# For nats-server's configuration: an account of the cluster's own, and a user for each node. A user's inbox \
             has\n# the node's name in it (cluster.node), whatever the user is called. nats-server doesn't start before \
             each password\n# is written in place of $WRITE_A_PASSWORD.\n",
            true,
        ),
        NatsLogin::Token(_) => (
            "# cluster.token: nats-server has no permissions for a token in its configuration, and no account: who has it \
             may do\n# all. Write cluster.user and cluster.password instead, or have an auth callout give these \
             permissions.\n",
            false,
        ),
        NatsLogin::Credentials(_) => (
            "# cluster.credentials: the permissions are in the user's JWT (nsc edit user --allow-pub … --allow-sub …), and \
             not in\n# nats-server's configuration. A user needs these.\n",
            false,
        ),
    };
    let mut text = why.to_owned();
    if has_users {
        text.push_str("accounts {\n  wsfan {\n    jetstream: enabled\n    users: [\n");
    }
    for (comment, node, is_own, rights) in &users {
        let list = |subjects: &[String]| {
            subjects.iter().map(|subject| format!("\n            \"{subject}\"")).collect::<String>()
        };
        let _ = write!(text, "      # {comment}\n      {{\n");
        if has_users {
            let user = if *is_own { user(cluster) } else { format!("\"{node}\"") };
            let _ = writeln!(text, "        user: {user}, password: $WRITE_A_PASSWORD");
        }
        let _ = write!(
            text,
            "        permissions {{\n          publish: [{}\n          ]\n          subscribe: [{}\n          ]\n        \
             }}\n      }}\n",
            list(&rights.publish),
            list(&rights.subscribe),
        );
    }
    if has_users {
        text.push_str("    ]\n  }\n}\n");
        return text;
    }
    text.lines().map(|line| format!("# {}\n", line.strip_prefix("# ").unwrap_or(line))).collect()
}

/// What kind of user this is, and whose.
fn comment(kind: Kind, is_own: bool, node: &str) -> String {
    match (kind, is_own) {
        (Kind::Candidate, true) => {
            format!("{node}, which may lead; one such user for each node that may, with its own name")
        }
        (Kind::Follower, true) => format!(
            "{node}, which has candidate = false: NATS keeps it from the log; one such user for each, with its own name"
        ),
        (Kind::Candidate, false) => {
            format!("a node that may lead, with its name for {PLACEHOLDER}; one such user for each")
        }
        (Kind::Follower, false) => format!(
            "a node with candidate = false, with its name for {PLACEHOLDER}: NATS keeps it from the log; one such user for \
             each"
        ),
        (Kind::Onlooker, _) => {
            "a person's: wsfan cluster status, with this user and this cluster.node".to_owned()
        }
    }
}

/// This node's user, as nats-server's configuration has it.
fn user(cluster: &Cluster) -> String {
    match &cluster.login {
        NatsLogin::User { user, .. } => match user.as_literal() {
            Some(user) => format!("\"{}\"", user.replace('\\', "\\\\").replace('"', "\\\"")),
            // what is kept elsewhere is known to who keeps it
            None => "$WRITE_CLUSTER_USER".to_owned(),
        },
        _ => format!("\"{}\"", cluster.node),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{NatsUrl, Template};

    #[test]
    fn a_pattern_covers_what_matches_no_more_than_it_does() {
        for (pattern, subject, expected) in [
            ("wsfan.x.log", "wsfan.x.log", true),
            ("wsfan.>", "wsfan.x.log", true),
            (">", "wsfan.x.log", true),
            ("wsfan.*.log", "wsfan.x.log", true),
            ("wsfan.x.*.send", "wsfan.x.*.send", true),
            ("wsfan.x.>", "wsfan.x.*.send", true),
            ("_INBOX_x.>", "_INBOX_x.a.>", true),
            ("wsfan.x.*", "wsfan.x.>", false),
            ("wsfan.x.log", "wsfan.x.*", false),
            ("wsfan.x", "wsfan.x.log", false),
            ("wsfan.x.log.>", "wsfan.x.log", false),
            ("_INBOX_x.b.>", "_INBOX_x.a.>", false),
        ] {
            assert_eq!(covers(pattern, subject), expected, "{pattern} {subject}");
        }
    }

    #[test]
    fn a_node_that_may_not_lead_may_write_nothing_into_the_log() {
        let names = Names::of("x");
        let log = names.log();
        let writes = |kind| Rights::of(kind, &names, "a").publish.iter().any(|subject| covers(subject, &log));
        assert_eq!([Kind::Candidate, Kind::Follower, Kind::Onlooker].map(writes), [true, false, false]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let rights = Rights::of(Kind::Candidate, &Names::of("x"), "a");
        assert!(rights.missing(&Permissions::default()).is_empty());
        let own = format!(
            r#"{{"publish":{{"allow":{}}},"subscribe":{{"allow":{}}}}}"#,
            serde_json::to_string(&rights.publish).unwrap(),
            serde_json::to_string(&rights.subscribe).unwrap()
        );
        assert!(rights.missing(&serde_json::from_str(&own).unwrap()).is_empty());
        let follower = Rights::of(Kind::Follower, &Names::of("x"), "a");
        let there = format!(
            r#"{{"publish":{{"allow":{},"deny":["wsfan.x.here"]}},"subscribe":{{"allow":["wsfan.x.>", "_INBOX_x.a.> q"]}}}}"#,
            serde_json::to_string(&follower.publish).unwrap(),
        );
        assert_eq!(
            rights.missing(&serde_json::from_str(&there).unwrap()),
            ["publish wsfan.x.here", "publish wsfan.x.log", "publish $JS.API.STREAM.CREATE.WSFAN_x"]
        );
        let nothing: Permissions = serde_json::from_str(r#"{"publish":{"deny":[">"]}}"#).unwrap();
        assert_eq!(rights.missing(&nothing).len(), rights.publish.len());
    }

    fn cluster(login: NatsLogin) -> Cluster {
        let url = NatsUrl::parse("nats://127.0.0.1").unwrap();
        Cluster { login, ..Cluster::new("binance", "host-a", url) }
    }

    #[test]
    fn the_text_has_a_user_of_each_kind() {
        let text = text(&cluster(NatsLogin::None));
        for line in [
            "jetstream: enabled",
            "user: \"host-a\", password: $WRITE_A_PASSWORD",
            "user: \"NODE\", password: $WRITE_A_PASSWORD",
            "user: \"onlooker\"",
            "\"wsfan.binance.log\"",
            "\"_INBOX_binance.host-a.>\"",
            "\"_INBOX_binance.NODE.>\"",
            "\"$JS.API.STREAM.CREATE.WSFAN_binance\"",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert_eq!(text.matches("\"wsfan.binance.log\"").count(), 1, "one kind may write into the log");
        assert_eq!(text.matches(['{', '[']).count(), text.matches(['}', ']']).count());
    }

    #[test]
    fn a_node_that_may_not_lead_has_the_name_in_the_block_of_its_kind() {
        let text = text(&Cluster { candidate: false, ..cluster(NatsLogin::None) });
        let own = text.split("user: \"host-a\"").nth(1).unwrap();
        assert!(!own.contains("wsfan.binance.log") && own.contains("_INBOX_binance.host-a.>"), "{text}");
        let other = text.split("user: \"NODE\"").nth(1).unwrap();
        assert!(other.find("\"wsfan.binance.log\"") < other.find("host-a"), "{text}");
        assert!(other.contains("\"wsfan.binance.log\""), "{text}");
    }

    #[test]
    fn the_user_is_the_one_that_is_configured() {
        let password = || Template::parse("${env:PASSWORD}").unwrap();
        let with = |user| {
            let user = Template::parse(user).unwrap();
            text(&cluster(NatsLogin::User { user, password: password() }))
        };
        let plain = with("a\"pp");
        assert!(plain.contains("user: \"a\\\"pp\",") && plain.contains("_INBOX_binance.host-a.>"), "{plain}");
        assert!(with("${env:WHO}").contains("user: $WRITE_CLUSTER_USER,"));
        for (login, start) in [
            (NatsLogin::Token(password()), "# cluster.token: "),
            (NatsLogin::Credentials(password()), "# cluster.credentials: "),
        ] {
            let text = text(&cluster(login));
            assert!(text.starts_with(start), "{text}");
            assert!(text.contains("\"_INBOX_binance.host-a.>\"") && !text.contains("user:"), "{text}");
            assert!(text.lines().all(|line| line.starts_with("# ")), "{text}");
        }
    }
}
