//! Who may do what. Pure.

use std::rc::Rc;

use crate::{
    config::{Grant, Listener, Placeholder, Rights, Subscriptions, TopicPattern, Value},
    hub::Payload,
    protocol::{Attach, Code, Op, says_twice},
};

/// Who a client is, as the rules of a listener look at it.
#[derive(Debug, Clone)]
pub(in crate::local) struct Identity {
    pub(in crate::local) uid: u32,
    /// All groups of its process when it connected, sorted.
    pub(in crate::local) groups: Rc<[u32]>,
}

/// Whom a rule is for, by number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::local) struct Members {
    pub(in crate::local) users: Vec<u32>,
    pub(in crate::local) groups: Vec<u32>,
}

impl Members {
    fn include(&self, who: &Identity) -> bool {
        self.users.contains(&who.uid) || self.groups.iter().any(|gid| who.groups.binary_search(gid).is_ok())
    }
}

static ALL: Grant = Grant::ALL;

/// What a client may do: every thing for root and for the daemon's own user, unless the listener says that they are
/// like others; else what the first rule says that is for it, else what the listener says. `members` are those of the
/// rules, in their order.
pub(in crate::local) fn of<'a>(
    listener: &'a Listener,
    members: &[Members],
    who: &Identity,
    own_uid: u32,
) -> &'a Grant {
    if listener.privileged && (who.uid == 0 || who.uid == own_uid) {
        return &ALL;
    }
    let rules = listener.rules.iter().zip(members);
    let rule = rules.into_iter().find(|(_, members)| members.include(who));
    rule.map_or(&listener.grant, |(rule, _)| &rule.grant)
}

/// The topics that a client gets messages of, and may subscribe to; all where nothing is said. What the listener says
/// of them is for root and the daemon's own user as well.
pub(in crate::local) fn topics_of<'a>(
    listener: &'a Listener,
    members: &[Members],
    who: &Identity,
    own_uid: u32,
) -> Option<&'a [TopicPattern]> {
    let grant = of(listener, members, who, own_uid);
    let grant = if std::ptr::eq(grant, &ALL) { &listener.grant } else { grant };
    grant.topics.as_deref()
}

/// What keeps a client from asking for `op`, in a sentence.
pub(in crate::local) fn missing(grant: &Grant, op: &Op<'_>) -> Option<String> {
    let Rights { receive, send, control } = grant.rights;
    let (has, right) = match op {
        Op::Send(_) | Op::Unit { .. } | Op::Request { .. } | Op::Cancel { .. } => (send, "send"),
        Op::Subscribe { .. } | Op::Unsubscribe { .. } => (send, "send"),
        Op::Attach(Attach { answers: true, .. }) if !send => (false, "send"),
        Op::Attach(_) | Op::Ack { .. } => (receive, "receive"),
        Op::Reconnect | Op::Close | Op::Open | Op::Reload => (control, "control"),
        Op::Status | Op::Ping => (true, ""),
    };
    if !has {
        return Some(format!("this needs the right {right:?}, which this listener doesn't give"));
    }
    let name = op.name();
    (!grant.ops.has(name)).then(|| format!("this listener doesn't give you the op {name:?} (ops)"))
}

/// What keeps a client from sending these messages, but for how many it has sent.
pub(in crate::local) fn unsendable<'a>(
    grant: &Grant,
    mut messages: impl Iterator<Item = &'a Payload>,
) -> Option<(Code, String)> {
    if grant.max_message.is_none() && grant.send_when.is_none() {
        return None;
    }
    messages.find_map(|message| {
        if let Some(max) = grant.max_message.filter(|max| message.len() > *max) {
            return Some((
                Code::TooLarge,
                format!("the message is over the {max} bytes that this listener lets you send (max_message)"),
            ));
        }
        let pattern = grant.send_when.as_ref()?;
        let bytes = message.as_bytes();
        let why = match bytes {
            bytes if says_twice(bytes) => {
                "a key stands twice in this message, so that what it says can't be told"
            }
            bytes if pattern.matches(bytes) => return None,
            _ => "this listener lets you send other messages only (send_when)",
        };
        Some((Code::Forbidden, why.to_owned()))
    })
}

/// What keeps a client from subscribing to a topic with this JSON, but for how much it has sent. What is said without
/// JSON is the configuration's, and the topic alone the client's: `topics` says which. With JSON, it is held against
/// `send_when` as it is said, with `1` for each placeholder that isn't the client's.
pub(in crate::local) fn unaskable(
    grant: &Grant,
    terms: &Subscriptions,
    topic: &str,
    json: Option<&str>,
) -> Option<(Code, String)> {
    let length = topic.len() + json.map_or(0, str::len);
    if let Some(max) = grant.max_message.filter(|max| length > *max) {
        let why = format!(
            "a topic with its `json` is over the {max} bytes that this listener lets you send (max_message)"
        );
        return Some((Code::TooLarge, why));
    }
    let (pattern, json) = (grant.send_when.as_ref()?, json?);
    let stand_in = |_: &Placeholder| Ok(Value::Json("1".to_owned()));
    let message = terms.message(&terms.subscribe, &[topic], Some(json), None, stand_in);
    let why = match message {
        _ if says_twice(json.as_bytes()) => {
            "a key stands twice in the `json`, so that what it says can't be told"
        }
        Ok(message) if pattern.matches(message.as_bytes()) => return None,
        _ => {
            "this listener lets you send other messages only, and with this `json` it is none of them (send_when)"
        }
    };
    Some((Code::Forbidden, why.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::{
        config::{Config, Environment, Ops},
        protocol::{Attach, Content},
    };

    const NONE: Rights = Rights { receive: false, send: false, control: false };

    fn identity(uid: u32, groups: &[u32]) -> Identity {
        Identity { uid, groups: groups.into() }
    }

    fn nothing() -> Grant {
        Grant { rights: NONE, ..Grant::default() }
    }

    /// The listener that these lines are of.
    fn listener(lines: &str) -> Listener {
        let text = format!("upstream.url = \"ws://a\"\n[[listener]]\npath = \"/s\"\n{lines}");
        Config::parse(&text, &Environment::fixed([])).unwrap().listeners.remove(0)
    }

    fn ops() -> [(Op<'static>, Option<&'static str>); 15] {
        [
            (Op::Send(Content::Text("".into())), Some("send")),
            (Op::Unit { messages: vec![] }, Some("send")),
            (Op::Request { json: serde_json::value::RawValue::NULL, timeout_ms: None }, Some("send")),
            (Op::Cancel { request: serde_json::value::RawValue::NULL }, Some("send")),
            (Op::Attach(Attach::default()), Some("receive")),
            (Op::Attach(Attach { answers: true, ..Attach::default() }), Some("send")),
            (Op::Ack { seq: 1 }, Some("receive")),
            (Op::Subscribe { topics: Vec::new(), json: None }, Some("send")),
            (Op::Unsubscribe { topics: Vec::new() }, Some("send")),
            (Op::Reconnect, Some("control")),
            (Op::Close, Some("control")),
            (Op::Open, Some("control")),
            (Op::Reload, Some("control")),
            (Op::Status, None),
            (Op::Ping, None),
        ]
    }

    #[test]
    fn root_and_the_daemons_own_user_may_do_all_of_it() {
        let mut listener =
            listener("rights = [\"receive\"]\nops = []\nmax_message = 1\n[[listener.rule]]\nusers = [\"0\"]");
        listener.grant.rights = NONE;
        for (uid, is_all) in [(0, true), (1000, true), (1001, false)] {
            let grant = of(&listener, &[Members::default()], &identity(uid, &[]), 1000);
            assert_eq!(*grant == Grant::ALL, is_all, "{uid}");
        }
        listener.privileged = false;
        let members = [Members { users: vec![0], groups: vec![] }];
        assert_eq!(of(&listener, &members, &identity(0, &[]), 1000), &listener.rules[0].grant);
        for uid in [1000, 1001] {
            assert_eq!(of(&listener, &members, &identity(uid, &[0]), 1000), &listener.grant, "{uid}");
        }
    }

    #[test]
    fn the_first_rule_that_fits_decides_and_says_the_rest_as_its_listener_does() {
        let rules = "rights = [\"receive\"]\nmax_message = 9\n\
            [[listener.rule]]\nusers = [\"1\"]\nrights = [\"send\"]\n\
            [[listener.rule]]\ngroups = [\"7\", \"8\"]\nops = [\"status\"]\nmax_message = 5\n\
            [[listener.rule]]\nusers = [\"1\", \"2\"]\nrate = \"5/1s\"\n";
        let listener = listener(rules);
        let members = [(&[1][..], &[][..]), (&[], &[7, 8]), (&[1, 2], &[])]
            .map(|(users, groups): (&[u32], &[u32])| Members { users: users.into(), groups: groups.into() });
        let of = |uid, groups: &[u32]| of(&listener, &members, &identity(uid, groups), 1000);
        let rule = |at: usize| &listener.rules[at].grant;
        assert_eq!(of(1, &[8]), rule(0));
        assert_eq!((of(2, &[3, 8, 9]), of(3, &[7])), (rule(1), rule(1)));
        assert_eq!(of(2, &[6, 9]), rule(2));
        assert_eq!(of(3, &[]), &listener.grant);
        assert_eq!([0, 1, 2].map(|at| rule(at).max_message), [Some(9), Some(5), Some(9)]);
        assert_eq!([0, 1].map(|at| rule(at).rights.send), [true, false]);
    }

    #[test]
    fn each_op_needs_its_right_and_may_be_left_out_of_ops() {
        for (op, right) in ops() {
            let sentence = right
                .map(|right| format!("this needs the right {right:?}, which this listener doesn't give"));
            assert_eq!(missing(&nothing(), &op), sentence, "{op:?}");
            assert_eq!(missing(&Grant::ALL, &op), None, "{op:?}");
            let others: Vec<_> = Ops::NAMES.iter().filter(|name| **name != op.name()).collect();
            for (names, is_given) in [(vec![op.name()], true), (others.into_iter().copied().collect(), false)]
            {
                let listener = listener(&format!("ops = {names:?}"));
                let grant = Grant { rights: Grant::ALL.rights, ..listener.grant };
                let refused = format!("this listener doesn't give you the op {:?} (ops)", op.name());
                assert_eq!(missing(&grant, &op), (!is_given).then_some(refused), "{names:?}");
            }
        }
    }

    #[test]
    fn the_ops_of_the_configuration_are_those_of_the_protocol() {
        let known = crate::protocol::parse(br#"{"op":"?"}"#).unwrap_err().message;
        let (_, known) = known.split_once("there are ").unwrap();
        let known: HashSet<&str> = known.split(", ").flat_map(|names| names.split(" and ")).collect();
        assert_eq!(Ops::NAMES.iter().copied().collect::<HashSet<_>>(), known);
        assert_eq!(
            ops().iter().map(|(op, _)| op.name()).collect::<HashSet<_>>(),
            known,
            "and all are tried here"
        );
    }

    #[test]
    fn only_what_fits_may_be_sent() {
        let grant = listener("max_message = 40\nsend_when = { \"/type\" = [\"get\", \"sub\"] }").grant;
        let of = |messages: &[Payload]| unsendable(&grant, messages.iter()).map(|(code, _)| code);
        let text = |text: &str| Payload::Text(text.to_owned());
        let good = || text(r#"{"type":"get","x":[{"type":1},{"type":2}]}"#);
        let long = text(&format!(r#"{{"type":"get","x":"{}"}}"#, "x".repeat(40)));
        assert_eq!(of(&[good()]), Some(Code::TooLarge));
        let good = || text(r#"{"type":"get","x":[{"a":1},{"a":2}]}"#);
        assert_eq!((of(&[good()]), of(&[good(), good()])), (None, None));
        assert_eq!(of(&[Payload::Binary(br#"{"type":"sub"}"#.to_vec())]), None);
        assert_eq!(of(&[good(), long]), Some(Code::TooLarge), "each of a unit");
        for bad in [
            r#"{"type":"set"}"#,
            r#"{"x":"get"}"#,
            "get",
            "",
            r#"{"type":"set","type":"get"}"#,
            r#"{"type":"get","type":"set"}"#,
            r#"{"type":"get","\u0074ype":"set"}"#,
            r#"{"type":"get","x":{"y":1,"y":2}}"#,
            r#"{"type":"get"} x"#,
        ] {
            assert_eq!(of(&[text(bad)]), Some(Code::Forbidden), "{bad}");
            assert_eq!(of(&[good(), text(bad)]), Some(Code::Forbidden), "{bad}, in a unit");
        }
        assert_eq!(of(&[Payload::Binary(vec![0xff])]), Some(Code::Forbidden));
        assert_eq!(unsendable(&Grant::default(), [text("anything")].iter()), None);
    }

    #[test]
    fn what_goes_with_a_topic_is_held_against_what_may_be_sent() {
        let terms =
            Subscriptions::new(r#"{"type":"sub","id":${next_id},"name":${topic},"query":${payload}}"#);
        let of = |lines: &str, topic: &str, json: Option<&str>| {
            unaskable(&listener(lines).grant, &terms, topic, json).map(|(code, _)| code)
        };
        let size = "max_message = 10";
        assert_eq!(of(size, "0123456789", None), None);
        assert_eq!(of(size, "0123456789", Some("1")), Some(Code::TooLarge));
        assert_eq!(of(size, "01234567890", None), Some(Code::TooLarge));
        let when = r#"send_when = { "/query/op" = "read", "/type" = "sub" }"#;
        assert_eq!(of(when, "t", None), None, "it is the configuration's");
        assert_eq!(of(when, "t", Some(r#"{"op":"read"}"#)), None);
        for json in
            [r#"{"op":"write"}"#, "1", r#"{"op":"write","op":"read"}"#, r#"{"op":"read","x":{"a":1,"a":2}}"#]
        {
            assert_eq!(of(when, "t", Some(json)), Some(Code::Forbidden), "{json}");
        }
        let by_topic = r#"send_when = { "/name" = "t" }"#;
        assert_eq!(of(by_topic, "t", Some("1")), None);
        assert_eq!(of(by_topic, "u", Some("1")), Some(Code::Forbidden));
    }
}
