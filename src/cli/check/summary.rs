//! What a config means, in a few lines.

use std::{fmt::Write as _, path::Path};

use super::super::format::{bytes, clean, count, counted};
use crate::config::{
    Cluster, Config, Excess, Format, Heartbeat, HeartbeatKind, History, IdKind, Limits, Listener, NatsLogin,
    OnExhausted, OnHole, Proxy, Reconnect, Requests, Rotate, Say, Sequence, SlowClient, Span, Storage,
    Subscriptions, TopicPattern, Topics, Upstream, Window, cut, format_duration, safe_url,
};

/// What a right config means, in a few lines.
pub(super) fn summary(file: &Path, config: &Config) -> String {
    let mut text = format!("{}: OK\n", file.display());
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<10} {value}");
    };
    if let Some(profile) = &config.profile {
        row("profile", profile.clone());
    }
    row("upstream", upstream(&config.upstream));
    match &config.upstream.proxy {
        Proxy::Environment => {}
        Proxy::Off => row("proxy", "none, whatever the environment says".to_owned()),
        Proxy::Url(url) => row("proxy", safe_url(&url.to_string())),
    }
    row("heartbeat", heartbeat(&config.heartbeat));
    let terms = &config.terms;
    if !terms.script.steps.is_empty() {
        let names: Vec<&str> = terms.script.steps.iter().map(|step| step.name.as_str()).collect();
        row("script", names.join(", then "));
    }
    if !terms.replies.is_empty() {
        let patterns: Vec<_> = terms.replies.iter().map(|reply| reply.pattern.to_string()).collect();
        row("replies", format!("to {}", patterns.join("; to ")));
    }
    row("reconnect", reconnect(&config.reconnect));
    if let Some(text) = rotate(&terms.rotate) {
        row("rotate", text);
    }
    if let Some(text) = limits(&terms.limits) {
        row("limits", text);
    }
    if let Some(sequence) = &terms.sequence {
        row("sequence", self::sequence(sequence));
    }
    if let Some(text) = topics(&terms.topics, terms.subscriptions.as_ref()) {
        row("topics", text);
    }
    if let Some(requests) = &terms.requests {
        row("requests", self::requests(requests));
    }
    if let Some(cluster) = &config.cluster {
        row("cluster", self::cluster(cluster));
    }
    row("history", history(&config.history));
    row(
        "outbox",
        match config.outbox.max_messages {
            0 => "off: a send while the link is down is an error".to_owned(),
            max => format!("{max} messages, {} each", format_duration(config.outbox.ttl)),
        },
    );
    for one in &config.listeners {
        row("listener", listener(one));
    }
    text
}

fn upstream(upstream: &Upstream) -> String {
    let mut urls: Vec<String> = (0..upstream.urls.len()).map(|index| upstream.display_url(index)).collect();
    if let Some(command) = &upstream.url_command {
        urls.push(format!("what {} prints", command.command.run[0]));
    }
    let names: Vec<&str> = upstream.headers.iter().map(|(name, _)| name.as_str()).collect();
    match names.is_empty() {
        true => urls.join(", then "),
        false => format!("{}, with {}", urls.join(", then "), names.join(", ")),
    }
}

fn heartbeat(heartbeat: &Heartbeat) -> String {
    let interval = match &heartbeat.interval_from {
        Some(from) => format!("${{capture:{}}}", from.capture),
        None => format_duration(heartbeat.interval),
    };
    let (dead, dead_unanswered) = match heartbeat.timeout.map(format_duration) {
        Some(timeout) => (
            format!("dead without a sign of life within {timeout}"),
            format!("dead without the expected answer within {timeout}"),
        ),
        None => ("which nothing answers".to_owned(), "whose answer isn't awaited".to_owned()),
    };
    let mut text = match &heartbeat.kind {
        HeartbeatKind::Off => "off".to_owned(),
        HeartbeatKind::Ping => format!("a ping each {interval}, {dead}"),
        HeartbeatKind::Message { expect: None, message } => {
            format!("{} each {interval}, {dead}", shown(message))
        }
        HeartbeatKind::Message { expect: Some(_), message } => {
            format!("{} each {interval}, {dead_unanswered}", shown(message))
        }
    };
    let told = heartbeat.idle_timeout_from.as_ref().map(ToString::to_string);
    if let Some(idle) = told.or(heartbeat.idle_timeout.map(format_duration)) {
        let _ = write!(text, "; dead when nothing comes for {idle}");
    }
    text
}

/// A message on one line, as far as one has room for it.
fn shown(message: &Say) -> String {
    const MAX: usize = 120;
    cut(&clean(&message.shown()), MAX)
}

fn reconnect(reconnect: &Reconnect) -> String {
    let (first, last) = (format_duration(reconnect.initial_delay), format_duration(reconnect.max_delay));
    let end = match (reconnect.max_attempts, reconnect.on_exhausted) {
        (0, _) => "for ever".to_owned(),
        (max, OnExhausted::Wait) => format!("{max} times in a row, then the link waits for `wsfan open`"),
        (max, OnExhausted::Exit) => format!("{max} times in a row, then the daemon ends (69)"),
    };
    format!("after {first} to {last}, {end}")
}

fn rotate(rotate: &Rotate) -> Option<String> {
    let age = rotate.after.map(|age| format!("after {}", format_duration(age)));
    let told = rotate.when.as_ref().map(|pattern| format!("on {pattern}"));
    let when: Vec<String> = age.into_iter().chain(told).collect();
    let twice = match &rotate.dedupe {
        Some(pointer) => format!("what comes twice is known by {pointer}"),
        None => "what comes twice is published twice".to_owned(),
    };
    let overlap = format_duration(rotate.overlap);
    (!when.is_empty())
        .then(|| format!("{}, with both connections for at most {overlap}; {twice}", when.join(" or ")))
}

fn limits(limits: &Limits) -> Option<String> {
    let windows = |windows: &[Window]| windows.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut parts = Vec::new();
    if !limits.messages.is_empty() {
        let excess = match limits.excess {
            Excess::Wait => "what is too many waits",
            Excess::Refuse => "what is too many is refused",
        };
        parts.push(format!("messages {}, {excess}", windows(&limits.messages)));
    }
    if !limits.connects.is_empty() {
        parts.push(format!("connects {}", windows(&limits.connects)));
    }
    if let Some(max) = limits.max_message {
        parts.push(format!("a message of at most {}", bytes(max as u64)));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn sequence(sequence: &Sequence) -> String {
    let per = sequence.per.as_ref().map(|per| format!(" for each {per}")).unwrap_or_default();
    let hole = match sequence.on_hole {
        OnHole::Declare => "is declared",
        OnHole::Reconnect => "is declared, and leads to a new connection",
        OnHole::Forget => "is declared, and leads to a connection that begins anew",
    };
    let span = match &sequence.span {
        Some(Span::From(from)) => format!(", from {from} on"),
        Some(Span::Previous(previous)) => format!(", behind {previous}"),
        None => String::new(),
    };
    let first =
        sequence.first.as_ref().map(|first| format!(", begun at {} of {}", first.pointer, first.pattern));
    format!(
        "the server's count is {}{span}{per}{}; a hole {hole}",
        sequence.pointer,
        first.unwrap_or_default()
    )
}

/// Which topic a message is of, how topics are subscribed to, and what is kept of them.
fn topics(topics: &Topics, subscriptions: Option<&Subscriptions>) -> Option<String> {
    let mut parts = Vec::new();
    if !topics.rules.is_empty() {
        parts.push(counted(topics.rules.len() as u64, "rule", "rules"));
    }
    if !topics.pointers.is_empty() {
        let pointers: Vec<_> = topics.pointers.iter().map(ToString::to_string).collect();
        parts.push(pointers.join(&format!(" {} ", topics.join)));
    }
    let by_id = subscriptions.and_then(|subscriptions| subscriptions.id_topic.as_ref());
    parts.extend(by_id.map(|pointer| format!("the subscription's id at {pointer}")));
    let mut all = Vec::new();
    if !parts.is_empty() {
        all.push(format!("by {}", parts.join(", then by ")));
    }
    if let Some(subscriptions) = subscriptions {
        let (max, batch) = (subscriptions.max as u64, subscriptions.batch as u64);
        let ends = if subscriptions.unsubscribe.is_none() { ", and never unsubscribed" } else { "" };
        all.push(format!("{} at most are subscribed to, {} in a message{ends}", count(max), count(batch)));
    }
    if let Some(key) = &topics.retain_key {
        all.push(format!("the last value of each is kept by {key}"));
    } else if topics.retain {
        all.push("the last value of each is kept".to_owned());
    }
    (!all.is_empty()).then(|| all.join("; "))
}

fn requests(requests: &Requests) -> String {
    let kind = match requests.id_kind {
        IdKind::Number => "a number",
        IdKind::Text => "a text",
    };
    let mut text = format!("known by {}, {kind}", requests.id);
    if requests.answer_id != requests.id {
        let _ = write!(text, ", in answers by {}", requests.answer_id);
    }
    let _ = write!(text, "; answered within {}", format_duration(requests.timeout));
    if requests.max_in_flight > 0 {
        let _ = write!(text, "; {} at once", requests.max_in_flight);
    }
    if !requests.streams.is_empty() {
        let _ = write!(
            text,
            "; {} of more answers than one",
            counted(requests.streams.len() as u64, "kind", "kinds")
        );
    }
    if requests.rewrite_sends {
        text.push_str("; sends get ids of wsfan's");
    }
    if let Some(server) = &requests.server {
        let _ = write!(text, "; the server's own by {}", server.id);
    }
    text
}

fn cluster(cluster: &Cluster) -> String {
    let urls: Vec<String> = cluster.urls.iter().map(ToString::to_string).collect();
    let part = match (cluster.candidate, cluster.step_down_after) {
        (false, _) => "never holds the link".to_owned(),
        (true, None) => "may hold the link".to_owned(),
        (true, Some(after)) => {
            format!("may hold the link, and hands it over when it isn't up for {}", format_duration(after))
        }
    };
    let login = match &cluster.login {
        NatsLogin::None => "",
        NatsLogin::Credentials(_) => " with credentials",
        NatsLogin::User { .. } => " by user and password",
        NatsLogin::Token(_) => " with a token",
    };
    let storage = match cluster.storage {
        Storage::File => "on disk",
        Storage::Memory => "in memory",
    };
    format!(
        "{}, as {}, which {part}; lease {}; {} {storage}; {}{login}",
        cluster.name,
        cluster.node,
        format_duration(cluster.lease),
        counted(cluster.replicas.into(), "replica", "replicas"),
        urls.join(", "),
    )
}

fn history(history: &History) -> String {
    let mut text = bytes(history.max_bytes as u64);
    if let Some(age) = history.max_age {
        let _ = write!(text, " and {}", format_duration(age));
    }
    text += match history.slow_client {
        SlowClient::Gap => "; a client that falls out of it is told of the gap",
        SlowClient::Latest => "; a client that lags is given the newest of each topic, and told of the gap",
        SlowClient::Disconnect => "; a client that falls out of it is disconnected",
        SlowClient::Block => "; the slowest client sets the pace",
    };
    text
}

fn listener(listener: &Listener) -> String {
    let rights = [
        (listener.grant.rights.receive, "receive"),
        (listener.grant.rights.send, "send"),
        (listener.grant.rights.control, "control"),
    ];
    let rights: Vec<&str> = rights.iter().filter(|(has, _)| *has).map(|(_, name)| *name).collect();
    let mut text = format!("{}, mode {:04o}", listener.path.display(), listener.mode);
    for (name, value) in [("owner", &listener.owner), ("group", &listener.group)] {
        if let Some(value) = value {
            let _ = write!(text, ", {name} {value}");
        }
    }
    if listener.format == Format::Raw {
        text.push_str(", raw");
    }
    let _ = write!(text, ": {}", rights.join(", "));
    if let Some(topics) = &listener.grant.topics {
        let topics: Vec<&str> = topics.iter().map(TopicPattern::as_str).collect();
        let _ = write!(text, "; of the topics {}", cut(&clean(&topics.join(", ")), 120));
    }
    if !listener.rules.is_empty() {
        let _ = write!(text, "; {} for some users", counted(listener.rules.len() as u64, "rule", "rules"));
    }
    if listener.privileged && rights.len() < 3 {
        text.push_str("; all of it for root and the daemon's own user");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    #[test]
    #[cfg(feature = "cluster")]
    fn a_cluster_has_its_row_without_a_secret() {
        for (keys, row) in [
            (
                "urls = \"nats://127.0.0.1\"",
                "prices, as a, which may hold the link, and hands it over when it isn't up for 30s; lease 2s; 1 replica \
                 on disk; nats://127.0.0.1:4222",
            ),
            (
                "urls = [\"tls://n1\", \"tls://[::2]:1\"]\nlease = \"15s\"\nreplicas = 3\nstorage = \"memory\"\n\
                 candidate = false\nuser = \"u\"\npassword = \"hunter2\"",
                "prices, as a, which never holds the link; lease 15s; 3 replicas in memory; tls://n1:4222, \
                 tls://[::2]:1 by user and password",
            ),
            (
                "urls = \"tls://n1\"\nstep_down_after = \"off\"\ntoken = \"hunter2\"",
                "prices, as a, which may hold the link; lease 2s; 1 replica on disk; tls://n1:4222 with a token",
            ),
        ] {
            let text =
                format!("upstream.url = \"ws://h/\"\n[cluster]\nname = \"prices\"\nnode = \"a\"\n{keys}\n");
            let config = Config::parse(&text, &Environment::fixed([])).unwrap();
            let summary = summary(Path::new("f"), &config);
            let found = summary.lines().find_map(|line| line.trim().strip_prefix("cluster    "));
            assert_eq!(found, Some(row), "{summary}");
        }
    }

    #[test]
    fn topics_requests_and_what_listeners_let_through_have_their_rows() {
        for (keys, rows) in [
            ("", &[][..]),
            ("[topics]\npointer = \"/stream\"", &["topics     by /stream"]),
            (
                "[topics]\npointer = [\"/a\", \"/b\"]\nretain = true\n[[topics.rule]]\nwhen = \"x\"\nname = \"x\"",
                &["topics     by 1 rule, then by /a . /b; the last value of each is kept"],
            ),
            (
                "[topics]\nsubscribe = '[${topics},${next_id}]'\nid_topic = \"/1\"\nretain = true\nretain_key = \"/k\"",
                &[
                    "topics     by the subscription's id at /1; 10,000 at most are subscribed to, 100 in a message, \
                   and never unsubscribed; the last value of each is kept by /k",
                ],
            ),
            (
                "[topics]\nsubscribe = '[${topic}]'\nunsubscribe = '-[${topic}]'\nmax = 5",
                &["topics     5 at most are subscribed to, 1 in a message"],
            ),
            ("[requests]\nid = \"/id\"", &["requests   known by /id, a number; answered within 30s"]),
            (
                "[requests]\nid = \"/1\"\nid_kind = \"text\"\nanswer_id = \"/2\"\nmax_in_flight = 1\nrewrite_sends = true\n\
                 [[requests.stream]]\nwhen = \"x\"\n[requests.server]\nwhen = { \"/0\" = 2 }\nid = \"/1\"\nanswer = { \"/0\" = 3 }",
                &[
                    "requests   known by /1, a text, in answers by /2; answered within 30s; 1 at once; 1 kind of more \
                   answers than one; sends get ids of wsfan's; the server's own by /1",
                ],
            ),
            (
                "[topics]\npointer = \"/s\"\n[[listener]]\npath = \"/s\"\ntopics = [\"btc.*\", \"eth.**\"]\n\
                 [[listener.rule]]\nusers = [\"0\"]\nrights = [\"receive\"]\n",
                &[
                    "topics     by /s",
                    "listener   /s, mode 0660: receive, send; of the topics btc.*, eth.**; 1 rule for \
                   some users; all of it for root and the daemon's own user",
                ],
            ),
        ] {
            let text = format!("[upstream]\nurl = \"ws://h/\"\n{keys}\n");
            let config =
                Config::parse(&text, &Environment::fixed([])).unwrap_or_else(|why| panic!("{keys}: {why}"));
            let summary = summary(Path::new("f"), &config);
            let listed = |line: &&str| {
                ["topics ", "requests "].iter().any(|name| line.starts_with(name))
                    || line.starts_with("listener   /s")
            };
            let found: Vec<&str> = summary.lines().map(str::trim).filter(listed).collect();
            assert_eq!(found, rows, "{summary}");
        }
    }
}
