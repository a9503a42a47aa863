//! What a new configuration leads to.

use std::path::{Path, PathBuf};

use crate::config::{Config, Listener, SlowClient, Takes};

/// What to do about a new configuration.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    /// What is to be in force: the new configuration, with the old value of what waits for a restart. The
    /// listeners are in force when the steps are done.
    pub(super) config: Config,
    /// What happens to the listeners, and its names.
    pub(super) listeners: Vec<(ReloadStep, Vec<String>)>,
    /// The other keys that apply at once, nobody noticing.
    pub(super) live: Vec<String>,
    /// The keys that need a new connection to the upstream.
    pub(super) reconnect: Vec<String>,
    /// The keys that wait for a restart of the daemon.
    pub(super) restart: Vec<String>,
}

/// What happens to one listener, which is known by its path.
#[derive(Debug, PartialEq)]
pub(super) enum ReloadStep {
    /// It is new.
    Add(Listener),
    /// It gets other settings.
    Change(Listener),
    /// It ends.
    End(PathBuf),
}

/// Compares the configuration in force with a new one.
pub(super) fn plan(old: &Config, mut new: Config) -> Plan {
    let (mut live, mut reconnect, mut restart) = (Vec::new(), Vec::new(), Vec::new());
    for key in old.changes(&new) {
        let keys = match key.takes {
            Takes::Nothing => &mut live,
            Takes::Connection => &mut reconnect,
            Takes::Restart => &mut restart,
        };
        keys.push(key.name.to_owned());
    }
    // what takes a restart
    new.log.format = old.log.format;
    new.cluster.clone_from(&old.cluster);
    if old.cluster.is_some() && new.history.slow_client == SlowClient::Block {
        // it goes with the cluster's end, which is yet to come
        new.history.slow_client = old.history.slow_client;
        let is_slow_client = |key: &String| key == "history.slow_client";
        restart.extend(live.extract_if(.., |key| is_slow_client(key)));
    }
    let listeners = steps(&old.listeners, &new.listeners);
    Plan { config: new, listeners, live, reconnect, restart }
}

/// What is added comes first: where a listener moves to another path, there is always one of the two.
fn steps(old: &[Listener], new: &[Listener]) -> Vec<(ReloadStep, Vec<String>)> {
    let find = |all: &[Listener], path: &Path| all.iter().find(|listener| listener.path == path).cloned();
    let mut steps = Vec::new();
    for listener in new.iter().filter(|listener| find(old, &listener.path).is_none()) {
        let name = format!("the new listener {}", listener.path.display());
        steps.push((ReloadStep::Add(listener.clone()), vec![name]));
    }
    for listener in new {
        let keys = find(old, &listener.path).map(|old| old.changes(listener)).unwrap_or_default();
        let names = keys.iter().map(|key| format!("{} of {}", key.name, listener.path.display()));
        steps.extend((!keys.is_empty()).then(|| (ReloadStep::Change(listener.clone()), names.collect())));
    }
    for listener in old.iter().filter(|listener| find(new, &listener.path).is_none()) {
        let name = format!("the end of listener {}", listener.path.display());
        steps.push((ReloadStep::End(listener.path.clone()), vec![name]));
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Format, LogFormat, Rights, Template};

    const ALL: Rights = Rights { receive: true, send: true, control: true };

    /// Two listeners, `/a` and `/b`, and every default.
    fn config() -> Config {
        let text =
            "[upstream]\nurl = \"ws://a/\"\n[[listener]]\npath = \"/a\"\n[[listener]]\npath = \"/b\"\n";
        Config::parse(text, &Environment::fixed([])).unwrap()
    }

    fn changed(change: fn(&mut Config)) -> Config {
        let mut config = config();
        change(&mut config);
        assert_ne!(config, self::config(), "a change that changes nothing tests nothing");
        config
    }

    #[test]
    fn nothing_new_leads_to_nothing() {
        let nothing =
            Plan { config: config(), listeners: vec![], live: vec![], reconnect: vec![], restart: vec![] };
        assert_eq!(plan(&config(), config()), nothing);
    }

    #[test]
    fn each_key_goes_where_its_table_says() {
        let new = changed(|config| {
            config.reconnect.max_attempts = 7;
            config.upstream.urls = vec![Template::literal("ws://b/")];
            config.log.format = LogFormat::Json;
        });
        let plan = plan(&config(), new.clone());
        assert_eq!(plan.live, ["reconnect.max_attempts"]);
        assert_eq!(plan.reconnect, ["upstream.url"]);
        assert_eq!(plan.restart, ["log.format"]);
        let in_force = Config { log: config().log, ..new };
        assert_eq!(plan.config, in_force, "what waits for a restart keeps its old value");
    }

    #[test]
    fn what_takes_a_restart_is_what_the_plan_holds_back() {
        let restarts = Config::every_key().into_iter().filter(|key| key.takes == Takes::Restart);
        let others: Vec<_> = restarts
            .map(|key| key.name)
            .filter(|name| !name.trim_start_matches('[').starts_with("cluster"))
            .collect();
        assert_eq!(others, ["log.format"]);
    }

    #[test]
    #[cfg(feature = "cluster")]
    fn a_node_is_what_it_is_until_a_restart() {
        let with = |cluster: &str, slow_client: &str| {
            let text = format!(
                "upstream.url = \"ws://a/\"\nhistory.slow_client = \"{slow_client}\"\n\
                 listener = [{{ path = \"/a\" }}]\n{cluster}"
            );
            Config::parse(&text, &Environment::fixed([])).unwrap()
        };
        let node = "cluster = { name = \"c\", node = \"a\", urls = \"nats://127.0.0.1\" }";
        let (one, other) = (with(node, "gap"), with(&node.replace("\"c\"", "\"d\""), "gap"));
        for (old, new, restart) in [
            (with("", "gap"), one.clone(), "[cluster]"),
            (one.clone(), with("", "gap"), "[cluster]"),
            (one.clone(), other, "cluster.name"),
        ] {
            let plan = plan(&old, new);
            assert_eq!(plan.restart, [restart]);
            assert_eq!(plan.config, old);
        }
        let both = plan(&one, with("", "block"));
        assert_eq!(both.restart, ["[cluster]", "history.slow_client"], "which goes with the cluster's end");
        assert_eq!((both.config, both.live), (one.clone(), vec![]));
        let live = plan(&one, with(node, "disconnect"));
        assert_eq!((live.restart, live.live), (vec![], vec!["history.slow_client".to_owned()]));
    }

    #[test]
    fn a_listener_is_known_by_its_path() {
        let plan_of = |change| plan(&config(), changed(change));
        let reversed = plan_of(|config| config.listeners.reverse());
        assert_eq!((reversed.listeners, reversed.live), (vec![], vec![]), "the order says nothing");

        let moved = plan_of(|config| config.listeners[0].path = "/c".into());
        let steps = [
            (ReloadStep::Add(Listener::new("/c")), vec!["the new listener /c".to_owned()]),
            (ReloadStep::End("/a".into()), vec!["the end of listener /a".to_owned()]),
        ];
        assert_eq!(moved.listeners, steps);
    }

    #[test]
    fn what_changes_of_a_listener_is_named() {
        let new = changed(|config| {
            let [a, b] = &mut config.listeners[..] else { unreachable!() };
            (a.grant.rights, a.mode, a.max_line) = (ALL, 0o666, 100);
            (b.format, b.max_clients, b.group, b.owner) =
                (Format::Raw, 3, Some("g".into()), Some("o".into()));
        });
        let plan = plan(&config(), new.clone());
        let [a, b] = [new.listeners[0].clone(), new.listeners[1].clone()];
        let (steps, names): (Vec<_>, Vec<_>) = plan.listeners.into_iter().unzip();
        assert_eq!(steps, [ReloadStep::Change(a), ReloadStep::Change(b)]);
        assert_eq!(
            names.concat(),
            [
                "listener.mode of /a",
                "listener.max_line of /a",
                "listener.rights of /a",
                "listener.owner of /b",
                "listener.group of /b",
                "listener.format of /b",
                "listener.max_clients of /b",
            ]
        );
        assert_eq!((plan.live, plan.reconnect, plan.restart), (vec![], vec![], vec![]));
    }
}
