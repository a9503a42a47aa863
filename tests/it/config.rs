//! The configuration file: what is accepted, what is refused, and in which words.

use std::{fs, path::Path, time::Duration};

use proptest::prelude::*;
use wsfan::config::{
    Config, Environment, Format, HeartbeatKind, LoadError, OnExhausted, Proxy, Say, SlowClient, Template,
};

use crate::common::config::{parse, refused, with};

mod cluster;
mod heartbeat;
mod last_values;
mod listeners;
mod sample;
mod upstream;

const SAMPLE: &str = include_str!("../../config/wsfan.toml");

#[test]
fn one_line_is_enough() {
    let config = parse("upstream.url = \"wss://example.com/v1\"").unwrap();
    assert_eq!(config.upstream.urls, [Template::literal("wss://example.com/v1")]);
    assert_eq!(config.upstream.connect_timeout, Duration::from_secs(10));
    assert_eq!(config.upstream.max_message, 16 << 20);
    assert_eq!(config.heartbeat.kind, HeartbeatKind::Ping);
    assert_eq!(config.heartbeat.interval, Duration::from_secs(30));
    assert_eq!(config.heartbeat.timeout, Some(Duration::from_secs(10)));
    assert_eq!(config.heartbeat.idle_timeout, None);
    assert_eq!(config.reconnect.initial_delay, Duration::from_millis(500));
    assert_eq!(config.reconnect.max_delay, Duration::from_secs(30));
    assert_eq!((config.reconnect.multiplier, config.reconnect.jitter), (2.0, 1.0));
    assert_eq!(config.reconnect.max_attempts, 0);
    assert_eq!(config.reconnect.on_exhausted, OnExhausted::Wait);
    let [listener] = &config.listeners[..] else { panic!("not one listener") };
    assert_eq!(listener.path, Path::new("/run/wsfan/wsfan.sock"));
    assert_eq!(listener.mode, 0o660);
    assert_eq!((listener.grant.rights.receive, listener.grant.rights.send), (true, true));
    assert!(!listener.grant.rights.control);
    assert_eq!((listener.max_clients, listener.max_line), (1024, 1 << 20));
    assert_eq!((config.history.max_bytes, config.history.max_age), (64 << 20, None));
    assert_eq!(config.history.slow_client, SlowClient::Gap);
    assert_eq!((config.outbox.max_messages, config.outbox.max_bytes), (0, 1 << 20));
    assert_eq!(config.outbox.ttl, Duration::from_secs(30));
    assert_eq!(config.shutdown.timeout, Duration::from_secs(2));
    assert_eq!(config.log.level, tracing::Level::INFO);
}

#[test]
fn the_file_and_its_syntax() {
    for (text, sentence) in [
        ("", "upstream.url is missing: write url = \"wss://your.server/path\" under [upstream]"),
        (
            "\n[upstream]\n",
            "line 2: upstream.url is missing: write url = \"wss://your.server/path\" under [upstream]",
        ),
        ("upstream = 1", "line 1: upstream is an integer: write a table"),
        (
            "{\"upstream\":{\"url\":\"ws://a\"}}",
            "line 1: this is JSON, but the configuration is TOML: write [upstream], and url = \"wss://your.server/path\" below it",
        ),
        (
            "# mine\nupstream:\n  url: ws://a\n",
            "line 2: this is YAML, but the configuration is TOML: write [upstream], and url = \"wss://your.server/path\" below it",
        ),
        (
            "---\nupstream:\n",
            "line 1: this is YAML, but the configuration is TOML: write [upstream], and url = \"wss://your.server/path\" below it",
        ),
        (
            "upstream.url = \"ws://a\"\n[headers]\nA = \"b\"",
            "line 2: unknown key `headers`: it belongs to the upstream: write [upstream.headers]",
        ),
        ("[upstream\n", "line 1: this is not TOML: unclosed table, expected `]`"),
        (
            "[heartbeat]\ninterval = 30s",
            "line 2: a value has no quotes: write text, durations and sizes in quotes",
        ),
        (
            "[[listener]]\nmode = 0660",
            "line 2: a number has a leading zero: write a mode in quotes, such as \"0660\"",
        ),
        ("a = 1\na = 2", "line 2: `a` is in the file twice: keep one of them"),
        (
            "upstream.url = \"ws://a\"\n\n[upstream]\n",
            "line 3: `upstream` is in the file twice: put everything of it under one [upstream]",
        ),
        ("upstream = \"ws://x/\"", "line 1: upstream is text: write upstream.url = \"ws://x/\""),
        ("upstream = \"ws://x/?key=1\"", "line 1: upstream is text: write upstream.url = \"…\""),
        (
            "url = \"ws://a\"",
            "line 1: unknown key `url`: put it under [upstream]\n\
             upstream.url is missing: write url = \"wss://your.server/path\" under [upstream]",
        ),
        (
            "[upstreem]\nurl = \"ws://a\"",
            "line 1: unknown key `upstreem`: did you mean `upstream`?\n\
             upstream.url is missing: write url = \"wss://your.server/path\" under [upstream]",
        ),
        (
            "[upstream]\nurl = \"ws://a\"\n[outbox]\nttl = \"5\"",
            "line 4: outbox.ttl is \"5\", a number without a unit: write \"5s\" if it is seconds",
        ),
    ] {
        let found = parse(text).unwrap_err();
        assert_eq!(found, sentence, "{text}");
    }
}

#[test]
fn unknown_keys() {
    refused(&[
        (
            "x = 1",
            "line 2: unknown key `x`: the keys here are capture, cluster, command, derived, heartbeat, history, limits, listener, \
             log, memory, names, outbox, profile, reconnect, reply, requests, rotate, script, sequence, shutdown, topics, upstream, vars",
        ),
        (
            "[history]\nlog.level = \"debug\"",
            "line 3: unknown key `history.log`: `log` is a table of its own: write [log], and its keys below",
        ),
        (
            "[heartbeat]\nintervall = \"30s\"",
            "line 3: unknown key `heartbeat.intervall`: did you mean `interval`?",
        ),
        (
            "[log]\nprofile = \"slack\"",
            "line 3: unknown key `log.profile`: it stands above all tables: write it as the first line",
        ),
        ("[hearbeat]", "line 2: unknown key `hearbeat`: did you mean `heartbeat`?"),
        (
            "[[listener]]\n[[listener]]\npath = \"/b\"\nmax-clients = 1",
            "line 5: unknown key `listener[1].max-clients`: did you mean `max_clients`?",
        ),
        ("[shutdown]\n\"a b\" = 1", "line 3: unknown key `shutdown.\"a b\"`: the keys here are timeout"),
        ("[log]\ncolour = true", "line 3: unknown key `log.colour`: the keys here are format, level"),
        (
            "upstream.tls.ca = \"\"",
            "line 2: unknown key `upstream.tls.ca`: the keys here are ca_file, cert_file, key_file",
        ),
    ]);
}

#[test]
fn every_problem_is_told_in_the_order_of_the_lines() {
    let text =
        "[heartbeat]\ninterval = 30\n[log]\nlevel = \"loud\"\n[upstream]\nurl = []\nmax_message = true\n";
    assert_eq!(
        parse(text).unwrap_err(),
        "line 2: heartbeat.interval is 30 without a unit: write \"30s\" if it is seconds\n\
         line 4: log.level is \"loud\": write \"error\", \"warn\", \"info\", \"debug\" or \"trace\"\n\
         line 6: upstream.url is an empty list: write at least one URL\n\
         line 7: upstream.max_message is true or false: write a size such as \"16MiB\""
    );
}

#[test]
fn reconnect() {
    refused(&[
        (
            "reconnect.initial_delay = \"0s\"",
            "line 2: reconnect.initial_delay is 0s, but every loop has a delay: write 10ms to 1h",
        ),
        (
            "reconnect.max_delay = \"0ms\"",
            "line 2: reconnect.max_delay is 0ms, but every loop has a delay: write 10ms to 1d",
        ),
        ("reconnect.initial_delay = \"2h\"", "line 2: reconnect.initial_delay is 2h: write 10ms to 1h"),
        (
            "[reconnect]\ninitial_delay = \"2s\"\nmax_delay = \"1s\"",
            "line 4: reconnect.max_delay is 1s, shorter than reconnect.initial_delay, which is 2s: write a longer one, or leave it out",
        ),
        ("reconnect.multiplier = 0.5", "line 2: reconnect.multiplier is 0.5: write a number from 1 to 100"),
        ("reconnect.multiplier = nan", "line 2: reconnect.multiplier is nan: write a number from 1 to 100"),
        (
            "reconnect.multiplier = \"2\"",
            "line 2: reconnect.multiplier is text: write a number from 1 to 100",
        ),
        ("reconnect.jitter = 1.1", "line 2: reconnect.jitter is 1.1: write a number from 0 to 1"),
        ("reconnect.jitter = -1", "line 2: reconnect.jitter is -1: write a number from 0 to 1"),
        (
            "reconnect.max_attempts = -1",
            "line 2: reconnect.max_attempts is -1: write a whole number from 0 to 4294967295",
        ),
        (
            "reconnect.max_attempts = 99999999999999999999",
            "line 2: reconnect.max_attempts is 99999999999999999999: write a whole number from 0 to 4294967295",
        ),
        (
            "reconnect.max_attempts = 1.0",
            "line 2: reconnect.max_attempts is a decimal number: write a whole number from 0 to 4294967295",
        ),
        ("reconnect.stable_after = \"2d\"", "line 2: reconnect.stable_after is 2d: write 0s to 1d"),
        (
            "reconnect.on_exhausted = \"quit\"",
            "line 2: reconnect.on_exhausted is \"quit\": write \"wait\" or \"exit\"",
        ),
    ]);
    let delays = |lines: &str| {
        let reconnect = with(lines).unwrap().reconnect;
        (reconnect.initial_delay.as_millis(), reconnect.max_delay.as_millis())
    };
    assert_eq!(delays("reconnect.initial_delay = \"1m\""), (60_000, 60_000));
    assert_eq!(delays("reconnect.initial_delay = \"1s\""), (1000, 30_000));
    assert_eq!(delays("reconnect.max_delay = \"100ms\""), (100, 100));
    assert_eq!(delays("reconnect.max_delay = \"1m\""), (500, 60_000));
    assert_eq!(delays("reconnect = { initial_delay = \"1s\", max_delay = \"1s\" }"), (1000, 1000));
    let reconnect = with("reconnect = { multiplier = 1, jitter = 0, stable_after = \"0s\" }");
    assert_eq!(reconnect.unwrap().reconnect.multiplier, 1.0);
}

#[test]
fn history_outbox_shutdown_and_log() {
    refused(&[
        ("history.max_bytes = \"63KiB\"", "line 2: history.max_bytes is 63KiB: write 64KiB to 1TiB"),
        ("history.max_bytes = \"2TiB\"", "line 2: history.max_bytes is 2TiB: write 64KiB to 1TiB"),
        ("history.max_age = \"500ms\"", "line 2: history.max_age is 500ms: write 1s to 365d, or \"off\""),
        (
            "history.max_age = 0",
            "line 2: history.max_age is 0 without a unit: write \"0s\" if it is seconds, or \"off\"",
        ),
        (
            "history.slow_client = \"latest\"",
            "line 2: history.slow_client is \"latest\", but no message has a topic whose newest there could be: write \
             [topics] with a pointer or rules",
        ),
        (
            "topics.pointer = []",
            "line 2: topics.pointer is an empty list: write where the topic is, such as \"/stream\"",
        ),
        (
            "topics.join = \".\"\n[[listener]]\nslow_client = \"latest\"\n",
            "line 2: topics.join stands between several values: write a list of them as topics.pointer\n\
             line 4: listener[0].slow_client is \"latest\", but no message has a topic whose newest there could be: \
             write [topics] with a pointer or rules",
        ),
        (
            "topics.pointer = \"/s\"\n[[listener]]\nformat = \"raw\"\nslow_client = \"latest\"\n",
            "line 5: listener[0].slow_client is \"latest\", but the raw format has no line that says what is left out: \
             take format = \"envelope\"",
        ),
        (
            "[[listener]]\nslow_client = \"block\"\n",
            "line 3: listener[0].slow_client is \"block\": write \"gap\", \"disconnect\" or \"latest\"",
        ),
        ("history.latest_after = \"2h\"", "line 2: history.latest_after is 2h: write 0s to 1h"),
        ("history.stall_timeout = \"0s\"", "line 2: history.stall_timeout is 0s: write 10ms to 1h"),
        (
            "history.slow_client = \"drop\"",
            "line 2: history.slow_client is \"drop\": write \"gap\", \"disconnect\", \"latest\" or \"block\"",
        ),
        (
            "outbox.max_messages = -1",
            "line 2: outbox.max_messages is -1: write a whole number from 0 to 1000000000",
        ),
        ("memory.stalled_lines = \"63KiB\"", "line 2: memory.stalled_lines is 63KiB: write 64KiB to 1TiB"),
        (
            "memory.unfinished_lines = \"1MiB\"",
            "line 2: memory.unfinished_lines has no room for one line of listener.max_line: write 1088KiB or more",
        ),
        ("outbox.max_bytes = 1", "line 2: outbox.max_bytes is 1: write 1KiB to 1TiB"),
        ("outbox.ttl = \"0s\"", "line 2: outbox.ttl is 0s: write 1ms to 1d"),
        (
            "outbox.ttl = \"off\"",
            "line 2: outbox.ttl is \"off\", not a duration: write a number and a unit, such as \"30s\" or \"1m30s\"",
        ),
        ("shutdown.timeout = \"6m\"", "line 2: shutdown.timeout is 6m: write 0s to 5m"),
        (
            "log.level = \"INFO\"",
            "line 2: log.level is \"INFO\": write \"error\", \"warn\", \"info\", \"debug\" or \"trace\"",
        ),
        ("log.format = \"xml\"", "line 2: log.format is \"xml\": write \"auto\", \"text\" or \"json\""),
    ]);
    let config = with(
        "history = { max_bytes = \"1GiB\", max_age = \"1h\", slow_client = \"disconnect\" }\n\
         outbox = { max_messages = 5, ttl = \"1ms\" }\nshutdown.timeout = \"0s\"\nlog.level = \"trace\"",
    );
    let config = config.unwrap();
    assert_eq!(config.history.max_age, Some(Duration::from_secs(3600)));
    assert_eq!(config.history.slow_client, SlowClient::Disconnect);
    assert_eq!(config.outbox.max_messages, 5);
    assert_eq!(config.shutdown.timeout, Duration::ZERO);
    assert_eq!((config.memory.stalled_lines, config.memory.unfinished_lines), (32 << 20, 16 << 20));
    let long = with("listener = [{ max_line = \"64MiB\" }]").unwrap();
    assert_eq!(long.memory.unfinished_lines, 256 << 20, "one key is enough for long lines");
    assert_eq!(config.log.level, tracing::Level::TRACE);
}

#[test]
fn a_files_errors_name_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("wsfan.toml");
    let name = path.display().to_string();
    let error = || Config::load(&path).unwrap_err().to_string();

    assert_eq!(error(), format!("{name}: the file can't be read: No such file or directory"));
    fs::write(&path, "[heartbeat]\ninterval = \"0s\"\n").unwrap();
    assert_eq!(
        error(),
        format!(
            "{name}:2: heartbeat.interval is 0s: write 100ms to 1d\n\
             {name}: upstream.url is missing: write url = \"wss://your.server/path\" under [upstream]"
        )
    );
    fs::write(&path, b"# a\n# \xff\n").unwrap();
    assert_eq!(error(), format!("{name}:2: this line is not UTF-8 text: save the file as UTF-8"));
    fs::write(&path, "#".repeat((1 << 20) + 1)).unwrap();
    assert_eq!(error(), format!("{name}: the file can't be read: it is larger than 1MiB"));
    fs::write(&path, SAMPLE).unwrap();
    assert!(Config::load(&path).is_ok());
    let error = Config::load(directory.path()).unwrap_err();
    assert!(matches!(error, LoadError::Unreadable { .. }), "{error}");
}

#[test]
fn a_heartbeat_that_says_what_nobody_chose_is_warned_of() {
    let told = |lines: &str| {
        let warnings = with(lines).unwrap().warnings;
        warnings.into_iter().map(|warning| (warning.line, warning.sentence)).collect::<Vec<_>>()
    };
    let warnings = told("[heartbeat]\nkind = \"message\"");
    let [(Some(3), sentence)] = &warnings[..] else { panic!("{warnings:?}") };
    let text = "heartbeat.kind is \"message\" without `message`, so that {\"module\":\"HEART_CHECK\"";
    assert!(sentence.starts_with(text), "{sentence}");
    for lines in [
        "heartbeat = { kind = \"message\", message = \"x\" }",
        "heartbeat = { kind = \"message\", message_binary = \"wAA=\" }",
        "heartbeat.kind = \"ping\"",
        "",
    ] {
        assert_eq!(told(lines), [], "{lines}");
    }
    let sample = SAMPLE.replace("kind = \"ping\"", "kind = \"message\"");
    assert_eq!(parse(&sample).unwrap().warnings, [], "it is written there");
}

#[test]
fn a_star_where_no_list_is_looked_into_is_warned_of() {
    for (lines, key) in [
        ("sequence = { pointer = \"/*/seq\" }", "sequence.pointer"),
        ("rotate = { dedupe = \"/*\" }", "rotate.dedupe"),
        ("requests = { id = \"/*/id\" }", "requests.id"),
    ] {
        let warnings = with(lines).unwrap().warnings;
        let told: Vec<_> = warnings.iter().map(|warning| (warning.line, &*warning.sentence)).collect();
        let sentence = format!(
            "{key} has a `*`, which is a member's name here: only patterns, captures and topics mean a list's elements \
             by it"
        );
        assert_eq!(told, [(Some(2), &*sentence)]);
    }
    let meant =
        "topics.pointer = \"/*/topic\"\ncapture = [{ match = { \"/*/a\" = 1 }, values = { a = \"/*/a\" } }]";
    assert_eq!(with(meant).unwrap().warnings, []);
}

#[test]
fn what_only_a_shell_knows_is_warned_of() {
    for (lines, sentence) in [
        (
            "upstream.headers = { Authorization = \"Bearer $API_TOKEN\" }",
            "upstream.headers.Authorization has `$API_TOKEN` in it, which isn't a shell's here and goes to the server \
             as it stands: write `${env:API_TOKEN}`",
        ),
        (
            "vars.a = \"$A_B\"\nscript.step = [{ send = \"${var:a}\" }]",
            "vars.a has `$A_B` in it, which isn't a shell's here and goes to the server as it stands: write `${env:A_B}`",
        ),
        (
            "listener = [{ path = \"/run/$USER/s\" }]",
            "listener[0].path has a `$` in it, but paths hold no variables: the socket has that very name",
        ),
    ] {
        let warnings = with(lines).unwrap().warnings;
        let told: Vec<_> = warnings.iter().map(|warning| (warning.line, &*warning.sentence)).collect();
        assert_eq!(told, [(Some(2), sentence)]);
    }
    let meant = with("vars.a = \"US$5, $x, $${env:A}, 1$\"\nscript.step = [{ send = \"${var:a}\" }]");
    assert_eq!(meant.unwrap().warnings, [], "a `$` may be one");
    let url = parse("upstream.url = \"wss://h/?token=$TOKEN\"").unwrap().warnings;
    assert!(url.len() == 1 && url[0].sentence.contains("`${env:TOKEN}`"), "{url:?}");
    refused(&[
        (
            "listener = [{ path = \"~/s\" }]",
            "line 2: listener[0].path is \"~/s\", but paths hold no variables and no `~`: write it out, from `/` on",
        ),
        (
            "listener = [{ path = \"$XDG_RUNTIME_DIR/s\" }]",
            "line 2: listener[0].path is \"$XDG_RUNTIME_DIR/s\", but paths hold no variables and no `~`: write it out, \
             from `/` on",
        ),
    ]);
}

#[test]
fn a_key_in_another_table_is_shown_its_own() {
    for (lines, place) in [
        ("upstream.interval = \"5s\"", "under [heartbeat]"),
        ("upstream.insecure = true", "[upstream.tls]"),
        ("upstream.ca_file = \"/ca\"", "under [upstream.tls]"),
        ("upstream.subscribe = \"btc\"", "[[script.step]]"),
        ("script.send = \"x\"", "[[script.step]]"),
        ("proxy = \"off\"", "put it under [upstream]"),
        ("rights = [\"receive\"]", "[[listener]]"),
    ] {
        let why = with(lines).unwrap_err();
        assert!(why.contains("unknown key") && why.contains(place), "{lines}: {why}");
    }
    for lines in
        ["token = \"x\"\nupstream.url = \"ws://h/\"", "upstream = { url = \"ws://h/\", token = \"x\" }"]
    {
        let why = parse(&format!("profile = \"home-assistant\"\n{lines}")).unwrap_err();
        assert!(why.contains("profile home-assistant has it in [vars]: write vars.token"), "{lines}: {why}");
    }
    refused(&[
        (
            "upstream.headers = \"Authorization: Bearer x\"",
            "line 2: upstream.headers is text: write { Authorization = \"…\" }",
        ),
        (
            "upstream.proxy = false",
            "line 2: upstream.proxy is false: write \"off\" to have none, whatever the environment says",
        ),
    ]);
}
