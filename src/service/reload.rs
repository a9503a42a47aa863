//! What a new configuration changes. Pure.

use crate::config::{Config, Listener};

/// What to do about a new configuration.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    /// What is in force from now on: the new configuration, with the old value of what is refused.
    pub(super) config: Config,
    /// What applies at once, nobody noticing.
    pub(super) live: Vec<String>,
    /// What needs a new connection to the upstream.
    pub(super) reconnect: Vec<String>,
    /// What needs a restart of the daemon.
    pub(super) refused: Vec<String>,
}

/// Compares the configuration in force with a new one.
pub(super) fn plan(old: &Config, new: Config) -> Plan {
    let mut plan = Plan { config: new, live: Vec::new(), reconnect: Vec::new(), refused: Vec::new() };
    let (new, live) = (&mut plan.config, &mut plan.live);

    let sections = [
        ("[heartbeat]", old.heartbeat != new.heartbeat),
        ("[reconnect]", old.reconnect != new.reconnect),
        ("[history]", old.history != new.history),
        ("[outbox]", old.outbox != new.outbox),
        ("[shutdown]", old.shutdown != new.shutdown),
        ("log.level", old.log.level != new.log.level),
        ("upstream.connect_timeout", old.upstream.connect_timeout != new.upstream.connect_timeout),
    ];
    live.extend(sections.iter().filter(|(_, changed)| *changed).map(|(name, _)| (*name).to_owned()));

    let (was, is) = (&old.upstream, &new.upstream);
    let upstream = [
        ("upstream.url", was.urls != is.urls),
        ("upstream.subprotocols", was.subprotocols != is.subprotocols),
        ("upstream.max_message", was.max_message != is.max_message),
        ("upstream.headers", was.headers != is.headers),
        ("upstream.tls", was.tls != is.tls),
    ];
    plan.reconnect
        .extend(upstream.iter().filter(|(_, changed)| *changed).map(|(name, _)| (*name).to_owned()));

    if old.log.format != new.log.format {
        plan.refused.push("log.format".to_owned());
        new.log.format = old.log.format;
    }
    for listener in &new.listeners {
        if !old.listeners.iter().any(|there| there.path == listener.path) {
            plan.refused.push(format!("the new listener {}", listener.path.display()));
        }
    }
    let listeners = old.listeners.iter().map(|was| {
        let Some(is) = new.listeners.iter().find(|listener| listener.path == was.path) else {
            plan.refused.push(format!("the end of listener {}", was.path.display()));
            return was.clone();
        };
        for (key, changed) in [
            ("mode", was.mode != is.mode),
            ("owner", was.owner != is.owner),
            ("group", was.group != is.group),
            ("format", was.format != is.format),
        ] {
            if changed {
                plan.refused.push(format!("`{key}` of listener {}", was.path.display()));
            }
        }
        let merged =
            Listener { rights: is.rights, max_clients: is.max_clients, max_line: is.max_line, ..was.clone() };
        if merged != *was {
            live.push(format!("the rights or limits of listener {} (for new clients)", was.path.display()));
        }
        merged
    });
    new.listeners = listeners.collect();
    plan
}
