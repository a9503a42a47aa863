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
        ("profile", old.profile != new.profile),
        ("[rotate]", old.terms.rotate != new.terms.rotate),
        ("[limits]", old.terms.limits != new.terms.limits),
        ("[heartbeat]", old.heartbeat != new.heartbeat),
        ("[reconnect]", old.reconnect != new.reconnect),
        ("[history]", old.history != new.history),
        ("[memory]", old.memory != new.memory),
        ("[outbox]", old.outbox != new.outbox),
        ("[shutdown]", old.shutdown != new.shutdown),
        ("log.level", old.log.level != new.log.level),
        ("upstream.connect_timeout", old.upstream.connect_timeout != new.upstream.connect_timeout),
    ];
    live.extend(sections.iter().filter(|(_, changed)| *changed).map(|(name, _)| (*name).to_owned()));

    let (was, is) = (&old.upstream, &new.upstream);
    let (was_terms, are_terms) = (&old.terms, &new.terms);
    let upstream = [
        ("upstream.url", was.urls != is.urls),
        ("upstream.url_command", was.url_command != is.url_command),
        ("upstream.resume_url", was.resume_url != is.resume_url),
        ("upstream.resume_url_failures", was.resume_url_failures != is.resume_url_failures),
        ("upstream.subprotocols", was.subprotocols != is.subprotocols),
        ("upstream.max_message", was.max_message != is.max_message),
        ("upstream.headers", was.headers != is.headers),
        ("upstream.proxy", was.proxy != is.proxy),
        ("upstream.tls", was.tls != is.tls),
        ("upstream.compression", was.compression != is.compression),
        ("[vars]", was_terms.vars != are_terms.vars),
        ("[command]", was_terms.commands != are_terms.commands),
        ("[[script.step]]", was_terms.script != are_terms.script),
        ("[[capture]]", was_terms.captures != are_terms.captures),
        ("[[reply]]", was_terms.replies != are_terms.replies),
        ("[sequence]", was_terms.sequence != are_terms.sequence),
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{
        Capture, Command, Compression, Excess, FirstBeat, Format, Heartbeat, HeartbeatKind, History,
        IntervalFrom, Limits, Log, LogFormat, Memory, OnExhausted, OnHole, Outbox, Pattern, Pointer, Proxy,
        Reconnect, Remedy, Reply, Rights, Rotate, Rule, Say, Script, Sequence, Shutdown, SlowClient, Step,
        Surroundings, Template, Terms, Tls, Upstream, UrlCommand, Var, Window,
    };

    type Change = fn(&mut Config);

    const ALL: Rights = Rights { receive: true, send: true, control: true };
    const SECOND: Duration = Duration::from_secs(1);
    const WINDOW: Window = Window { count: 1, per: SECOND };

    fn pointer() -> Pointer {
        Pointer::parse("/a").unwrap()
    }

    fn pattern() -> Pattern {
        Pattern::Text("a".into())
    }

    fn command() -> Command {
        Command::new(vec!["/bin/true".into()])
    }

    fn url_command() -> UrlCommand {
        UrlCommand { command: command(), reject: vec![], on_fail: Remedy::Retry }
    }

    fn interval_from() -> IntervalFrom {
        IntervalFrom { capture: "a".into(), unit: SECOND }
    }

    fn rule() -> Rule {
        Rule { codes: vec![4000..=4000], statuses: vec![], pattern: None, then: Remedy::Stop }
    }

    fn step() -> Step {
        Step { send: Some(Say::Text(Template::literal("1"))), ..Step::new("step 1") }
    }

    /// Two listeners, `/a` and `/b`, and every default.
    fn config() -> Config {
        let text =
            "[upstream]\nurl = \"ws://a/\"\n[[listener]]\npath = \"/a\"\n[[listener]]\npath = \"/b\"\n";
        Config::parse(text, &Surroundings::fixed([])).unwrap()
    }

    fn changed(change: Change) -> Config {
        let mut config = config();
        change(&mut config);
        assert_ne!(config, self::config(), "a change that changes nothing tests nothing");
        config
    }

    /// Plans the change: what is in force from then on, and what is live, reconnects and is refused.
    fn planned(change: Change) -> (Config, [Vec<String>; 3]) {
        let plan = plan(&config(), changed(change));
        (plan.config, [plan.live, plan.reconnect, plan.refused])
    }

    /// A field that is added fails to compile here, so that it gets a row in the tables below.
    #[allow(dead_code, reason = "compiling it is the test")]
    fn every_field_is_known(config: Config) {
        let Config {
            profile: _,
            upstream,
            terms,
            heartbeat,
            reconnect,
            listeners,
            history,
            memory,
            outbox,
            shutdown,
            log,
        } = config;
        let Upstream {
            urls: _,
            url_command: _,
            resume_url: _,
            resume_url_failures: _,
            subprotocols: _,
            connect_timeout: _,
            max_message: _,
            headers: _,
            proxy: _,
            tls,
            compression: _,
        } = upstream;
        let Terms {
            vars: _,
            commands: _,
            script: Script { steps: _ },
            captures: _,
            replies: _,
            sequence: _,
            rotate: Rotate { after: _, when: _, overlap: _, dedupe: _ },
            limits: Limits { messages: _, reserve: _, connects: _, max_message: _, excess: _ },
        } = terms;
        let Tls { ca_file: _, cert_file: _, key_file: _ } = tls;
        let Heartbeat {
            kind: _,
            interval: _,
            interval_from: _,
            first: _,
            only_when_idle: _,
            timeout: _,
            idle_timeout: _,
            close_code: _,
        } = heartbeat;
        let Reconnect {
            initial_delay: _,
            max_delay: _,
            multiplier: _,
            jitter: _,
            max_attempts: _,
            stable_after: _,
            on_exhausted: _,
            close_code: _,
            rules: _,
        } = reconnect;
        for listener in listeners {
            let Listener {
                path: _,
                mode: _,
                owner: _,
                group: _,
                format: _,
                rights: _,
                max_clients: _,
                max_line: _,
            } = listener;
        }
        let History { max_bytes: _, max_age: _, slow_client: _, stall_timeout: _ } = history;
        let Memory { stalled_lines: _, unfinished_lines: _ } = memory;
        let Outbox { max_messages: _, max_bytes: _, ttl: _ } = outbox;
        let Shutdown { timeout: _ } = shutdown;
        let Log { level: _, format: _ } = log;
    }

    #[test]
    fn nothing_new_changes_nothing() {
        let plan = plan(&config(), config());
        assert_eq!(plan, Plan { config: config(), live: vec![], reconnect: vec![], refused: vec![] });
    }

    #[test]
    fn what_applies_at_once() {
        let table: &[(&str, &[Change])] = &[
            (
                "[heartbeat]",
                &[
                    |config| config.heartbeat.kind = HeartbeatKind::Off,
                    |config| config.heartbeat.interval += SECOND,
                    |config| config.heartbeat.timeout += SECOND,
                    |config| config.heartbeat.idle_timeout = Some(SECOND),
                    |config| config.heartbeat.interval_from = Some(interval_from()),
                    |config| config.heartbeat.first = FirstBeat::Now,
                    |config| config.heartbeat.only_when_idle = true,
                    |config| config.heartbeat.close_code = Some(4000),
                ],
            ),
            (
                "[reconnect]",
                &[
                    |config| config.reconnect.initial_delay += SECOND,
                    |config| config.reconnect.max_delay += SECOND,
                    |config| config.reconnect.multiplier += 1.0,
                    |config| config.reconnect.jitter = 0.25,
                    |config| config.reconnect.max_attempts += 1,
                    |config| config.reconnect.stable_after += SECOND,
                    |config| config.reconnect.on_exhausted = OnExhausted::Exit,
                    |config| config.reconnect.close_code = Some(4000),
                    |config| config.reconnect.rules.push(rule()),
                ],
            ),
            ("profile", &[|config| config.profile = Some("x".into())]),
            (
                "[rotate]",
                &[
                    |config| config.terms.rotate.after = Some(SECOND),
                    |config| config.terms.rotate.when = Some(pattern()),
                    |config| config.terms.rotate.overlap += SECOND,
                    |config| config.terms.rotate.dedupe = Some(pointer()),
                ],
            ),
            (
                "[limits]",
                &[
                    |config| config.terms.limits.messages.push(WINDOW),
                    |config| config.terms.limits.reserve += 1,
                    |config| config.terms.limits.connects.push(WINDOW),
                    |config| config.terms.limits.max_message = Some(1),
                    |config| config.terms.limits.excess = Excess::Refuse,
                ],
            ),
            (
                "[history]",
                &[
                    |config| config.history.max_bytes += 1,
                    |config| config.history.max_age = Some(SECOND),
                    |config| config.history.slow_client = SlowClient::Block,
                    |config| config.history.stall_timeout += SECOND,
                ],
            ),
            (
                "[memory]",
                &[|config| config.memory.stalled_lines += 1, |config| config.memory.unfinished_lines += 1],
            ),
            (
                "[outbox]",
                &[
                    |config| config.outbox.max_messages += 1,
                    |config| config.outbox.max_bytes += 1,
                    |config| config.outbox.ttl += SECOND,
                ],
            ),
            ("[shutdown]", &[|config| config.shutdown.timeout += SECOND]),
            ("log.level", &[|config| config.log.level = tracing::Level::TRACE]),
            ("upstream.connect_timeout", &[|config| config.upstream.connect_timeout += SECOND]),
            (
                "the rights or limits of listener /b (for new clients)",
                &[
                    |config| config.listeners[1].rights = ALL,
                    |config| config.listeners[1].max_clients += 1,
                    |config| config.listeners[1].max_line += 1,
                ],
            ),
        ];
        for (name, changes) in table {
            for (row, change) in changes.iter().enumerate() {
                let (config, said) = planned(*change);
                assert_eq!(said, [vec![(*name).to_owned()], vec![], vec![]], "{name}, row {row}");
                assert_eq!(config, changed(*change), "{name}, row {row}");
            }
        }
    }

    #[test]
    fn what_needs_a_new_connection() {
        let table: &[(&str, Change)] = &[
            ("upstream.url", |config| config.upstream.urls[0] = Template::literal("ws://b/")),
            ("upstream.url", |config| config.upstream.urls.push(Template::literal("ws://b/"))),
            ("upstream.subprotocols", |config| config.upstream.subprotocols.push("v1".into())),
            ("upstream.max_message", |config| config.upstream.max_message += 1),
            ("upstream.headers", |config| {
                config.upstream.headers.push(("x-a".into(), Template::literal("1")));
            }),
            ("upstream.proxy", |config| config.upstream.proxy = Proxy::Off),
            ("upstream.proxy", |config| {
                config.upstream.proxy = Proxy::Url(Template::literal("http://p:3128"));
            }),
            ("upstream.tls", |config| config.upstream.tls.ca_file = Some("/ca".into())),
            ("upstream.tls", |config| config.upstream.tls.cert_file = Some("/cert".into())),
            ("upstream.tls", |config| config.upstream.tls.key_file = Some("/key".into())),
            ("upstream.url_command", |config| config.upstream.url_command = Some(url_command())),
            ("upstream.resume_url", |config| {
                config.upstream.resume_url = Some(Template::literal("ws://b/"));
            }),
            ("upstream.resume_url_failures", |config| config.upstream.resume_url_failures += 1),
            ("upstream.compression", |config| config.upstream.compression = Some(Compression::default())),
            ("[vars]", |config| {
                config.terms.vars.insert("a".into(), Var::Text(Template::literal("1")));
            }),
            ("[command]", |config| {
                config.terms.commands.insert("a".into(), command());
            }),
            ("[[script.step]]", |config| config.terms.script.steps.push(step())),
            ("[[capture]]", |config| {
                let values = vec![("a".to_owned(), pointer())];
                config.terms.captures.push(Capture { pattern: pattern(), values });
            }),
            ("[[reply]]", |config| {
                let send = Template::literal("1");
                config.terms.replies.push(Reply { pattern: pattern(), send, publish: true });
            }),
            ("[sequence]", |config| {
                let (pointer, on_hole) = (pointer(), OnHole::Declare);
                config.terms.sequence = Some(Sequence { pointer, per: None, on_hole, send: None });
            }),
        ];
        for (name, change) in table {
            let (config, said) = planned(*change);
            assert_eq!(said, [vec![], vec![(*name).to_owned()], vec![]], "{name}");
            assert_eq!(config, changed(*change), "{name}");
        }
    }

    #[test]
    fn what_needs_a_restart_keeps_its_old_value() {
        let table: &[(&str, Change)] = &[
            ("log.format", |config| config.log.format = LogFormat::Json),
            ("`mode` of listener /b", |config| config.listeners[1].mode = 0o600),
            ("`owner` of listener /b", |config| config.listeners[1].owner = Some("root".into())),
            ("`group` of listener /b", |config| config.listeners[1].group = Some("root".into())),
            ("`format` of listener /b", |config| config.listeners[1].format = Format::Raw),
            ("the new listener /c", |config| config.listeners.push(Listener::new("/c"))),
            ("the end of listener /b", |config| {
                config.listeners.pop();
            }),
        ];
        for (name, change) in table {
            let (config, said) = planned(*change);
            assert_eq!(said, [vec![], vec![], vec![(*name).to_owned()]], "{name}");
            assert_eq!(config, self::config(), "{name}");
        }
    }

    #[test]
    fn a_listener_is_known_by_its_path() {
        let (config, said) = planned(|config| config.listeners.reverse());
        assert_eq!((config, said), (self::config(), Default::default()), "the order says nothing");

        let (config, said) = planned(|config| config.listeners[0].path = "/c".into());
        assert_eq!(config, self::config());
        assert_eq!(
            said,
            [vec![], vec![], vec!["the new listener /c".to_owned(), "the end of listener /a".to_owned()]]
        );
    }

    #[test]
    fn a_part_is_refused_and_the_rest_applies() {
        let (config, said) = planned(|config| {
            config.log.format = LogFormat::Json;
            config.reconnect.max_attempts = 7;
            config.upstream.max_message += 1;
            let [a, b] = &mut config.listeners[..] else { unreachable!() };
            (a.rights, a.mode, a.max_line) = (ALL, 0o666, 100);
            (b.format, b.max_clients) = (Format::Raw, 3);
        });
        assert_eq!(
            said.each_ref().map(|names| names.iter().map(String::as_str).collect::<Vec<_>>()),
            [
                vec![
                    "[reconnect]",
                    "the rights or limits of listener /a (for new clients)",
                    "the rights or limits of listener /b (for new clients)",
                ],
                vec!["upstream.max_message"],
                vec!["log.format", "`mode` of listener /a", "`format` of listener /b"],
            ]
        );
        assert_eq!(
            config,
            changed(|config| {
                config.reconnect.max_attempts = 7;
                config.upstream.max_message += 1;
                let [a, b] = &mut config.listeners[..] else { unreachable!() };
                (a.rights, a.max_line) = (ALL, 100);
                b.max_clients = 3;
            })
        );
    }
}
