//! What a change of the configuration takes to be in force: decided here, once, for every key.
//!
//! Each section is taken apart with all of its fields named, so that a key that is added doesn't compile until
//! it has its place here. The supervisor's plan, the link's state machine and the table in `docs/operations.md`
//! are made from this.

use super::{
    Config,
    language::template::Template,
    sections::{
        cluster::Cluster,
        grant::Grant,
        heartbeat::{Heartbeat, HeartbeatKind},
        history::History,
        limits::Limits,
        listener::Listener,
        logging::Logging,
        memory::MemoryBounds,
        names::Names,
        outbox::Outbox,
        reconnect::Reconnect,
        requests::Requests,
        rotate::Rotate,
        shutdown::Shutdown,
        subscriptions::Subscriptions,
        terms::Terms,
        topics::Topics,
        upstream::Upstream,
    },
};

/// What a changed key takes to be in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Nothing: the next moment goes by it.
    Nothing,
    /// A new connection to the upstream, which is made at once.
    Connection,
    /// A restart of the daemon.
    Restart,
}

/// A key of the file, or a part of it that is compared as a whole.
#[derive(Debug, PartialEq, Eq)]
pub struct Key {
    /// As in the file.
    pub name: &'static str,
    /// What a change of it takes.
    pub takes: Takes,
}

/// A table of a section's keys, and the function that finds those that differ.
macro_rules! section {
    ($keys:ident, $differ:ident, $type:ident { $($field:ident: $name:literal $takes:ident),* $(,)? } $(but $($but:ident),*)?) => {
        const $keys: &[Key] = &[$(Key { name: $name, takes: Takes::$takes }),*];

        fn $differ(old: &$type, new: &$type) -> Vec<&'static Key> {
            let $type { $($field,)* $($($but: _),*)? } = old;
            let differs = [$(*$field != new.$field),*];
            $keys.iter().zip(differs).filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
        }
    };
}

section!(UPSTREAM, upstream, Upstream {
    urls: "upstream.url" Connection,
    url_command: "upstream.url_command" Connection,
    resume_url: "upstream.resume_url" Connection,
    resume_url_failures: "upstream.resume_url_failures" Connection,
    allowed_hosts: "upstream.allowed_hosts" Connection,
    subprotocols: "upstream.subprotocols" Connection,
    connect_timeout: "upstream.connect_timeout" Nothing,
    max_message: "upstream.max_message" Connection,
    split: "upstream.split" Connection,
    hide: "upstream.hide" Connection,
    headers: "upstream.headers" Connection,
    proxy: "upstream.proxy" Connection,
    tls: "upstream.tls" Connection,
    compression: "upstream.compression" Connection,
});

section!(ROTATE, rotate, Rotate {
    after: "rotate.after" Nothing,
    when: "rotate.when" Nothing,
    overlap: "rotate.overlap" Nothing,
    dedupe: "rotate.dedupe" Nothing,
});

section!(LIMITS, limits, Limits {
    messages: "limits.messages" Nothing,
    reserve: "limits.reserve" Nothing,
    connects: "limits.connects" Nothing,
    max_message: "limits.max_message" Nothing,
    excess: "limits.excess" Nothing,
});

section!(HEARTBEAT, heartbeat, Heartbeat {
    kind: "heartbeat.kind, message, send_command and expect" Nothing,
    interval: "heartbeat.interval" Nothing,
    interval_from: "heartbeat.interval from a capture" Nothing,
    first: "heartbeat.first" Nothing,
    only_when_idle: "heartbeat.only_when_idle" Nothing,
    timeout: "heartbeat.timeout" Nothing,
    idle_timeout: "heartbeat.idle_timeout" Nothing,
    idle_timeout_from: "heartbeat.idle_timeout from a capture" Nothing,
    publish: "heartbeat.publish" Nothing,
    close_code: "heartbeat.close_code" Nothing,
});

section!(RECONNECT, reconnect, Reconnect {
    initial_delay: "reconnect.initial_delay" Nothing,
    max_delay: "reconnect.max_delay" Nothing,
    max_retry_after: "reconnect.max_retry_after" Nothing,
    multiplier: "reconnect.multiplier" Nothing,
    jitter: "reconnect.jitter" Nothing,
    max_attempts: "reconnect.max_attempts" Nothing,
    stable_after: "reconnect.stable_after" Nothing,
    on_exhausted: "reconnect.on_exhausted" Nothing,
    close_code: "reconnect.close_code" Nothing,
    rules: "[[reconnect.rule]]" Nothing,
});

section!(LISTENER, listener, Listener {
    path: "listener.path" Nothing,
    mode: "listener.mode" Nothing,
    owner: "listener.owner" Nothing,
    group: "listener.group" Nothing,
    format: "listener.format" Nothing,
    rules: "[[listener.rule]]" Nothing,
    privileged: "listener.privileged" Nothing,
    max_clients: "listener.max_clients" Nothing,
    max_clients_per_user: "listener.max_clients_per_user" Nothing,
    max_line: "listener.max_line" Nothing,
    answers: "listener.answers" Nothing,
    slow_client: "listener.slow_client" Nothing,
    linger: "listener.linger" Nothing,
} but grant);

section!(GRANT, grant, Grant {
    rights: "listener.rights" Nothing,
    ops: "listener.ops" Nothing,
    topics: "listener.topics" Nothing,
    send_when: "listener.send_when" Nothing,
    max_message: "listener.max_message" Nothing,
    rate: "listener.rate" Nothing,
});

section!(HISTORY, history, History {
    max_bytes: "history.max_bytes" Nothing,
    max_age: "history.max_age" Nothing,
    slow_client: "history.slow_client" Nothing,
    stall_timeout: "history.stall_timeout" Nothing,
    latest_after: "history.latest_after" Nothing,
});

section!(NAMES, names, Names {
    keep: "names.keep" Nothing,
});

section!(MEMORY, memory, MemoryBounds {
    stalled_lines: "memory.stalled_lines" Nothing,
    unfinished_lines: "memory.unfinished_lines" Nothing,
});

section!(OUTBOX, outbox, Outbox {
    max_messages: "outbox.max_messages" Nothing,
    max_bytes: "outbox.max_bytes" Nothing,
    ttl: "outbox.ttl" Nothing,
});

// A node is what it is for as long as it runs.
section!(CLUSTER, cluster, Cluster {
    name: "cluster.name" Restart,
    urls: "cluster.urls" Restart,
    node: "cluster.node" Restart,
    lease: "cluster.lease" Restart,
    replicas: "cluster.replicas" Restart,
    storage: "cluster.storage" Restart,
    candidate: "cluster.candidate" Restart,
    step_down_after: "cluster.step_down_after" Restart,
    login: "cluster.credentials, user, password and token" Restart,
    max_unacked: "cluster.max_unacked" Restart,
    tls: "cluster.tls" Restart,
});

section!(SHUTDOWN, shutdown, Shutdown {
    timeout: "shutdown.timeout" Nothing,
});

section!(LOG, log, Logging {
    level: "log.level" Nothing,
    format: "log.format" Restart,
});

/// It begins, or ends.
const WHOLE_CLUSTER: Key = Key { name: "[cluster]", takes: Takes::Restart };
const VARS: Key = Key { name: "[vars]", takes: Takes::Connection };
const COMMANDS: Key = Key { name: "[command.NAME]", takes: Takes::Connection };
const SCRIPT: Key = Key { name: "[[script.step]]", takes: Takes::Connection };
const CAPTURES: Key = Key { name: "[[capture]]", takes: Takes::Connection };
const REPLIES: Key = Key { name: "[[reply]]", takes: Takes::Connection };
const SEQUENCE: Key = Key { name: "[sequence]", takes: Takes::Connection };
/// What waits for its answer was asked by the old words.
const REQUESTS: Key = Key {
    name: "requests.id, id_kind, answer_id, answer, error, rewrite_when, stream and server",
    takes: Takes::Connection,
};
const REQUESTS_PACE: Key =
    Key { name: "requests.timeout, max_in_flight, rewrite_sends and publish", takes: Takes::Nothing };
const TOPIC_NAMES: Key = Key { name: "topics.pointer, join and rule", takes: Takes::Nothing };
const TOPIC_RETAIN: Key =
    Key { name: "topics.retain, retain_key, retain_max and retain_bytes", takes: Takes::Nothing };
/// Topics are said again by the new words.
const TOPICS: Key = Key {
    name: "topics.subscribe, unsubscribe, item, payload, answer and id_topic",
    takes: Takes::Connection,
};
const TOPICS_LIMITS: Key = Key { name: "topics.batch, linger, resubscribe and max", takes: Takes::Nothing };
const PROFILE: Key = Key { name: "profile", takes: Takes::Nothing };
/// What a placeholder of an attempt stands for is read with a connection, and never on one.
const SECRET_BEAT: Key =
    Key { name: "heartbeat.message with what each attempt reads anew", takes: Takes::Connection };

impl Config {
    /// The keys by which `new` differs, but for its listeners, which have [`Listener::changes`].
    pub fn changes(&self, new: &Config) -> Vec<&'static Key> {
        let Config {
            profile,
            upstream,
            terms,
            heartbeat,
            reconnect,
            listeners,
            history,
            memory,
            names,
            outbox,
            shutdown,
            cluster,
            log,
            warnings: _,
        } = self;
        let mut keys = Vec::new();
        keys.extend((*profile != new.profile).then_some(&PROFILE));
        keys.extend(upstream.changes(&new.upstream));
        keys.extend(terms.changes(&new.terms));
        keys.extend(heartbeat.changes(&new.heartbeat));
        keys.extend(reconnect.changes(&new.reconnect));
        keys.extend(self::history(history, &new.history));
        keys.extend(self::memory(memory, &new.memory));
        keys.extend(self::names(names, &new.names));
        // a default that follows listener.max_line is nobody's change
        if memory.has_default_unfinished(listeners) && new.memory.has_default_unfinished(&new.listeners) {
            keys.retain(|key| key.name != "memory.unfinished_lines");
        }
        keys.extend(outbox.changes(&new.outbox));
        keys.extend(self::shutdown(shutdown, &new.shutdown));
        keys.extend(match (cluster, &new.cluster) {
            (Some(old), Some(new)) => self::cluster(old, new),
            (None, None) => Vec::new(),
            _ => vec![&WHOLE_CLUSTER],
        });
        keys.extend(self::log(log, &new.log));
        keys
    }

    /// Every key and what a change of it takes, in the order of the file's sections.
    pub fn every_key() -> Vec<&'static Key> {
        let terms = [
            &VARS,
            &COMMANDS,
            &SCRIPT,
            &CAPTURES,
            &REPLIES,
            &SEQUENCE,
            &REQUESTS,
            &REQUESTS_PACE,
            &TOPIC_NAMES,
            &TOPIC_RETAIN,
            &TOPICS,
            &TOPICS_LIMITS,
        ];
        [&PROFILE]
            .into_iter()
            .chain(UPSTREAM)
            .chain(HEARTBEAT)
            .chain([&SECRET_BEAT])
            .chain(RECONNECT)
            .chain(LISTENER)
            .chain(GRANT)
            .chain(HISTORY)
            .chain(MEMORY)
            .chain(NAMES)
            .chain(OUTBOX)
            .chain(SHUTDOWN)
            .chain([&WHOLE_CLUSTER])
            .chain(CLUSTER)
            .chain(LOG)
            .chain(terms)
            .chain(ROTATE)
            .chain(LIMITS)
            .collect()
    }
}

impl Upstream {
    /// The keys by which `new` differs.
    pub fn changes(&self, new: &Upstream) -> Vec<&'static Key> {
        upstream(self, new)
    }
}

impl Terms {
    /// The keys by which `new` differs.
    pub fn changes(&self, new: &Terms) -> Vec<&'static Key> {
        let Terms {
            vars,
            commands,
            script,
            captures,
            replies,
            sequence,
            requests,
            topics: names,
            subscriptions,
            rotate,
            limits,
        } = self;
        let asked = changed_requests(requests.as_ref(), new.requests.as_ref());
        let topics = changed_topics(subscriptions.as_ref(), new.subscriptions.as_ref());
        let whole = [
            (*vars != new.vars).then_some(&VARS),
            (*commands != new.commands).then_some(&COMMANDS),
            (*script != new.script).then_some(&SCRIPT),
            (*captures != new.captures).then_some(&CAPTURES),
            (*replies != new.replies).then_some(&REPLIES),
            (*sequence != new.sequence).then_some(&SEQUENCE),
            (*names != names_of(&new.topics, names)).then_some(&TOPIC_NAMES),
            (new.topics != names_of(&new.topics, names)).then_some(&TOPIC_RETAIN),
        ];
        let mut keys: Vec<_> = whole.into_iter().flatten().collect();
        keys.extend(asked);
        keys.extend(topics);
        keys.extend(self::rotate(rotate, &new.rotate));
        keys.extend(self::limits(limits, &new.limits));
        keys
    }
}

impl Heartbeat {
    /// The keys by which `new` differs.
    pub fn changes(&self, new: &Heartbeat) -> Vec<&'static Key> {
        let mut keys = heartbeat(self, new);
        // a default that follows the interval is nobody's change
        if self.interval != new.interval && self.has_default_timeout() && new.has_default_timeout() {
            keys.retain(|key| key.name != "heartbeat.timeout");
        }
        if self.kind != new.kind && says_values_of_an_attempt(&new.kind) {
            keys.retain(|key| **key != HEARTBEAT[0]);
            keys.push(&SECRET_BEAT);
        }
        keys
    }
}

impl Reconnect {
    /// The keys by which `new` differs.
    pub fn changes(&self, new: &Reconnect) -> Vec<&'static Key> {
        let mut keys = reconnect(self, new);
        // a default that gives way to the other is nobody's change
        let (old, new) = (self.has_default_delays(), new.has_default_delays());
        for (name, follows) in
            [("reconnect.initial_delay", old.0 && new.0), ("reconnect.max_delay", old.1 && new.1)]
        {
            keys.retain(|key| !follows || key.name != name);
        }
        keys
    }
}

impl Outbox {
    /// The keys by which `new` differs.
    pub fn changes(&self, new: &Outbox) -> Vec<&'static Key> {
        outbox(self, new)
    }
}

impl Listener {
    /// The keys by which `new`, at the same path, differs.
    pub fn changes(&self, new: &Listener) -> Vec<&'static Key> {
        let mut keys = listener(self, new);
        keys.extend(grant(&self.grant, &new.grant));
        keys
    }
}

/// These topics, retained as the others are.
fn names_of(topics: &Topics, retained: &Topics) -> Topics {
    let Topics { retain, retain_key, bounds, .. } = retained.clone();
    Topics { retain, retain_key, bounds, ..topics.clone() }
}

fn changed_requests(old: Option<&Requests>, new: Option<&Requests>) -> Option<&'static Key> {
    let (Some(old), Some(new)) = (old, new) else { return (old != new).then_some(&REQUESTS) };
    match (*old == new.paced_as(old), old == new) {
        (false, _) => Some(&REQUESTS),
        (true, false) => Some(&REQUESTS_PACE),
        (true, true) => None,
    }
}

fn changed_topics(old: Option<&Subscriptions>, new: Option<&Subscriptions>) -> Option<&'static Key> {
    let (Some(old), Some(new)) = (old, new) else { return (old != new).then_some(&TOPICS) };
    let Subscriptions { batch, linger, resubscribe, max, .. } = old;
    let same =
        Subscriptions { batch: *batch, linger: *linger, resubscribe: *resubscribe, max: *max, ..new.clone() };
    match (*old == same, old == new) {
        (false, _) => Some(&TOPICS),
        (true, false) => Some(&TOPICS_LIMITS),
        (true, true) => None,
    }
}

fn says_values_of_an_attempt(kind: &HeartbeatKind) -> bool {
    match kind {
        HeartbeatKind::Message { message, .. } => {
            let mut named = message.template().into_iter().flat_map(Template::placeholders);
            // what a program is told is hidden as of the attempt
            let is_told = message.command().is_some_and(|command| !command.program.env.is_empty());
            is_told || named.any(|(placeholder, _)| placeholder.is_of_attempt())
        }
        HeartbeatKind::Ping | HeartbeatKind::Off => false,
    }
}

#[cfg(test)]
mod tests;
