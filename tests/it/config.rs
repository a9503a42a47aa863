//! The configuration file: what is accepted, what is refused, and in which words.

use std::{fs, path::Path, time::Duration};

use proptest::prelude::*;
use wsfan::config::{
    Config, Environment, Format, HeartbeatKind, LoadError, OnExhausted, Proxy, Say, SlowClient, Template,
};

use crate::common::config::{parse, refused, with};

const SAMPLE: &str = include_str!("../../config/wsfan.toml");

#[test]
fn one_line_is_enough() {
    let config = parse("upstream.url = \"wss://example.com/v1\"").unwrap();
    assert_eq!(config.upstream.urls, [Template::literal("wss://example.com/v1")]);
    assert_eq!(config.upstream.connect_timeout, Duration::from_secs(10));
    assert_eq!(config.upstream.max_message, 16 << 20);
    assert_eq!(config.heartbeat.kind, HeartbeatKind::Ping);
    assert_eq!(config.heartbeat.interval, Duration::from_secs(30));
    assert_eq!(config.heartbeat.timeout, Duration::from_secs(10));
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
            "line 2: unknown key `x`: the keys here are capture, command, derived, heartbeat, history, limits, listener, \
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
fn upstream_urls() {
    for (url, sentence) in [
        ("\"\"", "upstream.url is not a WebSocket URL: write ws://host/ or wss://host/"),
        (
            "\"me:pw@example.com\"",
            "upstream.url is \"example.com\", which is not a WebSocket URL: write ws://host/ or wss://host/",
        ),
        ("\"$WS_URL\"", "upstream.url begins with `$`, which isn't a shell's here: write \"${env:WS_URL}\""),
        (
            "\"a/${env:X}\"",
            "upstream.url is \"a/${env:X}\", which is not a WebSocket URL: write ws://host/ or wss://host/",
        ),
        ("\"http://a\"", "upstream.url begins with http://, but wsfan speaks WebSocket: write ws://"),
        (
            "\"https://a/${env:X}\"",
            "upstream.url begins with https://, but wsfan speaks WebSocket: write wss://",
        ),
        ("\"ftp://a\"", "upstream.url has an unknown scheme: write ws:// or wss://"),
        ("\"ws://\"", "upstream.url has no host: write ws://host/ or wss://host/"),
        ("\"wss:///${env:X}\"", "upstream.url has no host: write ws://host/ or wss://host/"),
        ("\"ws://a:99999\"", "upstream.url has a bad port: write a number from 1 to 65535"),
        (
            "\"ws://bücher.example\"",
            "upstream.url has a host name that is not ASCII: write it in punycode (xn--…)",
        ),
        ("\"ws://a/ü\"", "upstream.url has characters that are not ASCII: percent-encode them"),
        (
            "\"ws://a/#b\"",
            "upstream.url has a fragment, which a WebSocket URL can't have: take out the `#` and what follows, or write %23",
        ),
        (
            "\"ws://a/b c\"",
            "upstream.url is not a valid URL: look for spaces and other characters that must be percent-encoded",
        ),
        (
            "\"ws://${env:X\"",
            "upstream.url can't be read: a `${` is not closed: add the `}`, or write `$${` for the text `${`",
        ),
        (
            "\"ws://${foo:X}\"",
            "upstream.url can't be read: `${foo:X}` is of an unknown kind: the kinds are credential, env, file, command, var, derived, capture, last, field and topic, and without a name now_ms, now_s, uuid, connection_id, next_id, topic, topics, payload, key and subscribed_id",
        ),
        ("7", "upstream.url is an integer: write text in quotes, or a list of texts"),
        ("[\"ws://a\", 7]", "upstream.url[1] is an integer: write text in quotes"),
        ("[]", "upstream.url is an empty list: write at least one URL"),
        ("[7]", "upstream.url[0] is an integer: write text in quotes"),
        (
            "[\"ws://a\", \"http://b\"]",
            "upstream.url[1] begins with http://, but wsfan speaks WebSocket: write ws://",
        ),
    ] {
        let found = parse(&format!("[upstream]\nurl = {url}")).unwrap_err();
        assert_eq!(found, format!("line 2: {sentence}"), "{url}");
    }
    for url in [
        "\"ws://a\"",
        "[\"ws://a\", \"wss://b:1/c?d=${credential:e}\"]",
        "\"${env:URL}\"",
        "\"w${env:S}://a\"",
        "\"wss://${env:HOST}:${env:PORT}/\"",
        "\"WSS://[::1]/\"",
    ] {
        parse(&format!("upstream.url = {url}")).unwrap();
    }
}

#[test]
fn upstream() {
    let leave = |name: &str| {
        let sentence =
            format!("line 2: upstream.headers.{name} is a header that wsfan sends itself: leave it out");
        (format!("upstream.headers.{name} = \"x\""), sentence)
    };
    for name in [
        "Connection",
        "upgrade",
        "Content-Length",
        "Transfer-Encoding",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
        "sec-websocket-accept",
        "Sec-WebSocket-Extensions",
    ] {
        let (line, sentence) = leave(name);
        refused(&[(&line, &sentence)]);
    }
    refused(&[
        (
            "upstream.headers.Sec-WebSocket-Protocol = \"x\"",
            "line 2: upstream.headers.Sec-WebSocket-Protocol is a header that wsfan sends itself: write upstream.subprotocols",
        ),
        (
            "upstream.headers.\"a b\" = \"x\"",
            "line 2: upstream.headers.\"a b\" is no header name: write letters, digits and `-`",
        ),
        (
            "upstream.headers.\"\" = \"x\"",
            "line 2: upstream.headers.\"\" is no header name: write letters, digits and `-`",
        ),
        (
            "[upstream.headers]\nX-A = \"x\"\nx-a = \"y\"",
            "line 4: upstream.headers.x-a is the same header as one above: keep one of them",
        ),
        (
            "upstream.headers.A = \"x\\ny${env:Y}\"",
            "line 2: upstream.headers.A has a value that no header can carry: use ASCII on one line",
        ),
        (
            "upstream.headers.A = \"ü\"",
            "line 2: upstream.headers.A has a value that no header can carry: use ASCII on one line",
        ),
        ("upstream.headers.A = 1", "line 2: upstream.headers.A is an integer: write text in quotes"),
        (
            "upstream.headers.A = \"${env:}\"",
            "line 2: upstream.headers.A can't be read: `${env:}` has no name after the colon",
        ),
        ("upstream.headers = \"A: b\"", "line 2: upstream.headers is text: write { A = \"…\" }"),
        (
            "upstream.subprotocols = [\"a\",\n\"b c\"]",
            "line 3: upstream.subprotocols[1] is \"b c\", which no HTTP header can list: write letters, digits, `.`, `-` or `_`",
        ),
        (
            "upstream.subprotocols = [\"a\", \"a\"]",
            "line 2: upstream.subprotocols[1] is \"a\" again: list each one once",
        ),
        (
            "upstream.subprotocols = \"a\"",
            "line 2: upstream.subprotocols is text: write a list of texts in square brackets",
        ),
        ("upstream.connect_timeout = \"0s\"", "line 2: upstream.connect_timeout is 0s: write 100ms to 10m"),
        ("upstream.connect_timeout = \"11m\"", "line 2: upstream.connect_timeout is 11m: write 100ms to 10m"),
        (
            "upstream.connect_timeout = \"soon\"",
            "line 2: upstream.connect_timeout is \"soon\", not a duration: write a number and a unit, such as \"30s\" or \"1m30s\"",
        ),
        ("upstream.max_message = 1023", "line 2: upstream.max_message is 1023: write 1KiB to 512MiB"),
        ("upstream.max_message = -1", "line 2: upstream.max_message is -1: write 1KiB to 512MiB"),
        ("upstream.max_message = \"2GiB\"", "line 2: upstream.max_message is 2GiB: write 1KiB to 512MiB"),
        (
            "upstream.max_message = \"16\"",
            "line 2: upstream.max_message is \"16\", a number without a unit: write \"16MiB\", or the bytes without quotes",
        ),
        (
            "upstream.max_message = \"16M\"",
            "line 2: upstream.max_message is \"16M\", in the unknown unit \"M\": write B, KiB, MiB, GiB or TiB",
        ),
    ]);
    let config = with(
        "upstream.subprotocols = [\"b\", \"a\"]\nupstream.max_message = 2048\n\
         upstream.headers = { Host = \"h\", Authorization = \"Bearer ${env:T}\", A = \"\" }",
    );
    let upstream = config.unwrap().upstream;
    let subprotocols: Vec<_> = upstream.subprotocols.iter().map(ToString::to_string).collect();
    assert_eq!(subprotocols, ["b", "a"]);
    assert_eq!(upstream.max_message, 2048);
    let names: Vec<_> = upstream.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Host", "Authorization", "A"]);
    assert!(!upstream.headers[1].1.is_literal());
}

#[test]
fn proxies() {
    refused(&[
        (
            "upstream.proxy = true",
            "line 2: upstream.proxy is true: write its URL, or leave it out to go by the environment",
        ),
        (
            "upstream.proxy = \"none\"",
            "line 2: upstream.proxy has no scheme: write http://HOST:PORT or socks5://HOST:PORT, or \"off\"",
        ),
        (
            "upstream.proxy = \"me:secret@proxy:3128\"",
            "line 2: upstream.proxy has no scheme: write http://HOST:PORT or socks5://HOST:PORT, or \"off\"",
        ),
        (
            "upstream.proxy = \"https://me:secret@proxy\"",
            "line 2: upstream.proxy begins with https://, but wsfan doesn't speak TLS with a proxy: write http:// (what goes to a wss:// server is encrypted all the same)",
        ),
        (
            "upstream.proxy = \"http://me:${env:P}@\"",
            "line 2: upstream.proxy has no valid host: write http://HOST:PORT or socks5://HOST:PORT; in the user name and the password, percent-encode `/`, `?`, `#`, `:` and `@`",
        ),
        (
            "upstream.proxy = \"${env:}\"",
            "line 2: upstream.proxy can't be read: `${env:}` has no name after the colon",
        ),
    ]);
    let proxy = |value: &str| with(&format!("upstream.proxy = \"{value}\"")).unwrap().upstream.proxy;
    assert_eq!(with("").unwrap().upstream.proxy, Proxy::Environment);
    assert_eq!(proxy(""), Proxy::Environment);
    assert_eq!(proxy("off"), Proxy::Off);
    for url in [
        "http://proxy:3128",
        "http://me:${credential:p}@[::1]:3128/",
        "socks5://${env:LOGIN}@proxy",
        "socks5h://proxy:${env:PORT}",
        "${file:/etc/proxy}",
        "${env:SCHEME}://proxy",
    ] {
        assert_eq!(proxy(url), Proxy::Url(Template::parse_url(url).unwrap()), "{url}");
    }
}

#[test]
fn tls_files() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("x.pem");
    let (folder, file) = (directory.path().to_str().unwrap(), file.to_str().unwrap());
    let missing = format!("upstream.tls.ca_file = \"{file}\"");
    refused(&[
        (
            &missing,
            &format!(
                "line 2: upstream.tls.ca_file is {file:?}, which can't be read (No such file or directory): check the path and who may read it"
            ),
        ),
        (
            &format!("upstream.tls.ca_file = \"{folder}\""),
            &format!(
                "line 2: upstream.tls.ca_file is {folder:?}, which is no regular file: check the path and who may read it"
            ),
        ),
        (
            "upstream.tls.ca_file = \"x.pem\"",
            "line 2: upstream.tls.ca_file is the relative path \"x.pem\": write one that starts with `/`",
        ),
        ("upstream.tls = true", "line 2: upstream.tls is true or false: write a table"),
    ]);
    fs::write(file, "").unwrap();
    assert_eq!(with(&missing).unwrap().upstream.tls.ca_file.as_deref(), Some(Path::new(file)));
    refused(&[
        (
            &format!("upstream.tls.cert_file = \"{file}\""),
            "line 2: upstream.tls.cert_file is set without key_file: write the file of its private key too",
        ),
        (
            &format!("upstream.tls = {{ key_file = \"{file}\", cert_file = \"\" }}"),
            "line 2: upstream.tls.key_file is set without cert_file: write the file of its certificate too",
        ),
    ]);
    let both = format!("upstream.tls = {{ key_file = \"{file}\", cert_file = \"{file}\" }}");
    assert!(with(&both).unwrap().upstream.tls.cert_file.is_some());
}

#[test]
fn heartbeat() {
    refused(&[
        ("heartbeat.interval = \"0s\"", "line 2: heartbeat.interval is 0s: write 100ms to 1d"),
        ("heartbeat.interval = \"99ms\"", "line 2: heartbeat.interval is 99ms: write 100ms to 1d"),
        ("heartbeat.interval = \"25h\"", "line 2: heartbeat.interval is 25h: write 100ms to 1d"),
        (
            "heartbeat.interval = 1.5",
            "line 2: heartbeat.interval is 1.5 without a unit: write \"1.5s\" if it is seconds",
        ),
        (
            "heartbeat.interval = false",
            "line 2: heartbeat.interval is true or false: write a duration such as \"30s\"",
        ),
        ("heartbeat.timeout = \"9ms\"", "line 2: heartbeat.timeout is 9ms: write 10ms to 1d"),
        (
            "[heartbeat]\ninterval = \"5s\"\ntimeout = \"6s\"",
            "line 4: heartbeat.timeout is 6s, longer than heartbeat.interval, which is 5s: write a shorter one, or leave it out",
        ),
        (
            "heartbeat.timeout = \"31s\"",
            "line 2: heartbeat.timeout is 31s, longer than heartbeat.interval, which is 30s: write a shorter one, or leave it out",
        ),
        // A bad interval is not compared with anything.
        (
            "[heartbeat]\ninterval = \"0s\"\ntimeout = \"1m\"",
            "line 3: heartbeat.interval is 0s: write 100ms to 1d",
        ),
        (
            "heartbeat.idle_timeout = \"0s\"",
            "line 2: heartbeat.idle_timeout is 0s: write 1s to 365d, or \"off\"",
        ),
        (
            "heartbeat.idle_timeout = \"never\"",
            "line 2: heartbeat.idle_timeout is \"never\", not a duration: write a number and a unit, such as \"30s\" or \"1m30s\", or \"off\"",
        ),
        (
            "heartbeat.kind = \"pong\"",
            "line 2: heartbeat.kind is \"pong\": write \"ping\", \"message\" or \"off\"",
        ),
        (
            "heartbeat.kind = false",
            "line 2: heartbeat.kind is true or false: write \"ping\", \"message\" or \"off\"",
        ),
        (
            "heartbeat.message = \"\"",
            "line 2: heartbeat.message only goes with heartbeat.kind = \"message\": change the kind, or leave it out",
        ),
        (
            "heartbeat.expect = { \"/a\" = 1 }",
            "line 2: heartbeat.expect only goes with heartbeat.kind = \"message\": change the kind, or leave it out",
        ),
        (
            "heartbeat.message = \"ping\"",
            "line 2: heartbeat.message only goes with heartbeat.kind = \"message\": change the kind, or leave it out",
        ),
        (
            "heartbeat = { kind = \"off\", message = \"ping\" }",
            "line 2: heartbeat.message only goes with heartbeat.kind = \"message\": change the kind, or leave it out",
        ),
        (
            "heartbeat.message_binary = \"wAA=\"",
            "line 2: heartbeat.message_binary only goes with heartbeat.kind = \"message\": change the kind, or leave it out",
        ),
        (
            "heartbeat = { kind = \"message\", message_binary = \"wAA\" }",
            "line 2: heartbeat.message_binary is no base64 with padding (RFC 4648, 4): Invalid padding",
        ),
        (
            "heartbeat = { kind = \"message\", message = \"ping\", message_binary = \"wAA=\" }",
            "line 2: heartbeat.message_binary is there beside `message`: write one of them",
        ),
        (
            "heartbeat = { kind = \"message\", expect = {} }",
            "line 2: heartbeat.expect is empty: write a JSON pointer and its value, such as { \"/type\" = \"pong\" }, or leave it out",
        ),
        (
            "heartbeat = { kind = \"message\", expect = 1 }",
            "line 2: heartbeat.expect is an integer: write a text, or a table such as { \"/type\" = \"pong\" }",
        ),
        (
            "heartbeat.interval_unit = \"m\"",
            "line 2: heartbeat.interval_unit is \"m\": write \"ms\" or \"s\"",
        ),
        (
            "heartbeat.interval = \"${capture:i}\"",
            "line 2: heartbeat.interval has `${capture:i}`, which is captured nowhere: write `capture = { … }` in a step of the script, or a [[capture]]",
        ),
        (
            "heartbeat.interval = \"${uuid}\"",
            "line 2: heartbeat.interval is neither a duration nor a capture: write such as \"30s\" or \"${capture:NAME}\"",
        ),
        (
            "heartbeat.first = \"soon\"",
            "line 2: heartbeat.first is \"soon\": write \"interval\", \"random\" or \"now\"",
        ),
        (
            "heartbeat.only_when_idle = 1",
            "line 2: heartbeat.only_when_idle is an integer: write true or false",
        ),
        (
            "heartbeat.close_code = 1001",
            "line 2: heartbeat.close_code is 1001: write 1000, or a number from 3000 to 4999",
        ),
        (
            "heartbeat.message = '{\"a\":${env:A}}'",
            "line 2: heartbeat.message has `${env:A}`, which is text that stands bare in JSON: put quotes around it",
        ),
        (
            "heartbeat = { kind = \"message\", expect = { type = 1 } }",
            "line 2: heartbeat.expect.type is no JSON pointer: write one such as \"/type\", or \"\" for the whole",
        ),
        (
            "heartbeat = { kind = \"message\", expect = { \"/a\" = [[1]] } }",
            "line 2: heartbeat.expect.\"/a\"[0] is a list, which is no JSON text, number, true or false: write one of these",
        ),
        (
            "heartbeat = { kind = \"message\", expect = { \"/a\" = nan } }",
            "line 2: heartbeat.expect.\"/a\" is a decimal number, which is no JSON text, number, true or false: write one of these",
        ),
    ]);
    let beat = |lines: &str| with(lines).unwrap().heartbeat;
    assert_eq!(beat("heartbeat.interval = \"5s\"").timeout, Duration::from_secs(5));
    assert_eq!(beat("heartbeat.interval = \"1h\"").timeout, Duration::from_secs(10));
    assert_eq!(beat("heartbeat.timeout = \"30s\"").timeout, Duration::from_secs(30));
    assert_eq!(beat("heartbeat.kind = \"off\"").kind, HeartbeatKind::Off);
    let idle = beat("heartbeat.idle_timeout = \"1m30s\"").idle_timeout;
    assert_eq!(idle, Some(Duration::from_secs(90)));
    let HeartbeatKind::Message { message, expect } = beat("heartbeat.kind = \"message\"").kind else {
        panic!("no message");
    };
    let hello = r#"{"module":"HEART_CHECK","message":"请求心跳"}"#;
    assert_eq!(message, Say::Text(Template::literal(hello)));
    assert_eq!(expect, None);
    let lines = "heartbeat = { kind = \"message\", message = \"ping\", \
                 expect = { \"/t\" = \"pong\", \"/n\" = 0x10, \"/f\" = 1.5, \"/a~1b\" = true } }";
    let HeartbeatKind::Message { message, expect } = beat(lines).kind else { panic!("no message") };
    assert_eq!(message, Say::Text(Template::literal("ping")));
    let answer = r#"{"f":1.5,"n":16,"t":"pong","a/b":true}"#;
    assert!(expect.unwrap().matches(answer.as_bytes()));

    let lines = "[heartbeat]\nkind = \"message\"\nmessage_binary = \"wAA=\"";
    let HeartbeatKind::Message { message, expect } = beat(lines).kind else { panic!("no message") };
    assert_eq!((message, expect), (Say::Binary(vec![0xc0, 0]), None));
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
fn listeners() {
    let long = format!("/{}", "x".repeat(107));
    let default = "/run/wsfan/wsfan.sock";
    refused(&[
        (
            "[listener]\npath = \"/a\"",
            "line 2: listener is a table: write [[listener]], with two brackets each",
        ),
        ("listener = []", "line 2: listener is an empty list: leave it out for the default socket"),
        ("listener = [1]", "line 2: listener[0] is an integer: write a table"),
        (
            "[[listener]]\npath = \"a.sock\"",
            "line 3: listener[0].path is the relative path \"a.sock\": write one that starts with `/`",
        ),
        (
            "[[listener]]\npath = \"\"",
            "line 3: listener[0].path is empty: write an absolute path, or leave it out",
        ),
        (
            "[[listener]]\npath = \"/run/\"",
            "line 3: listener[0].path is /run/, a directory: add the socket's name",
        ),
        ("[[listener]]\npath = \"/a\\u0000\"", "line 3: listener[0].path has a NUL character: take it out"),
        (
            &format!("[[listener]]\npath = \"{long}\""),
            "line 3: listener[0].path is 108 bytes long, but a socket's path has at most 107: write a shorter one",
        ),
        (
            "[[listener]]\npath = \"/a\"\n\n[[listener]]\npath = \"//a\"",
            "line 6: listener[1].path is //a, the same as listener[0].path on line 3: give each listener its own path",
        ),
        (
            "[[listener]]\n[[listener]]",
            &format!(
                "line 3: listener[1].path is {default}, the same as listener[0].path on line 2: give each listener its own path"
            ),
        ),
        (
            "[[listener]]\nmode = 660",
            "line 3: listener[0].mode is an integer: write octal digits in quotes, such as \"0660\"",
        ),
        (
            "[[listener]]\nmode = 0o660",
            "line 3: listener[0].mode is an integer: write octal digits in quotes, such as \"0660\"",
        ),
        (
            "[[listener]]\nmode = \"0680\"",
            "line 3: listener[0].mode is \"0680\": write the permission bits as octal digits, \"0000\" to \"0777\"",
        ),
        (
            "[[listener]]\nmode = \"4755\"",
            "line 3: listener[0].mode is \"4755\": write the permission bits as octal digits, \"0000\" to \"0777\"",
        ),
        (
            "[[listener]]\nmode = \"+660\"",
            "line 3: listener[0].mode is \"+660\": write the permission bits as octal digits, \"0000\" to \"0777\"",
        ),
        (
            "[[listener]]\nowner = \"\"",
            "line 3: listener[0].owner is \"\": write a user's name or number, or leave it out",
        ),
        (
            "[[listener]]\ngroup = \"a:b\"",
            "line 3: listener[0].group is \"a:b\": write a group's name or number, or leave it out",
        ),
        (
            "[[listener]]\ngroup = \"4294967295\"",
            "line 3: listener[0].group is \"4294967295\": write a group's name or number, or leave it out",
        ),
        (
            "[[listener]]\ngroup = \"4294967295\"",
            "line 3: listener[0].group is \"4294967295\": write a group's name or number, or leave it out",
        ),
        ("[[listener]]\ngroup = 7", "line 3: listener[0].group is an integer: write text in quotes"),
        (
            "[[listener]]\nformat = \"json\"",
            "line 3: listener[0].format is \"json\": write \"envelope\" or \"raw\"",
        ),
        (
            "[[listener]]\nrights = []",
            "line 3: listener[0].rights is an empty list: write \"receive\", \"send\" or \"control\"",
        ),
        (
            "[[listener]]\nrights = [\"read\"]",
            "line 3: listener[0].rights[0] is \"read\": write \"receive\", \"send\" or \"control\"",
        ),
        (
            "[[listener]]\nrights = [\"send\", \"send\"]",
            "line 3: listener[0].rights[1] is \"send\" again: list each one once",
        ),
        ("[[listener]]\nrights = [1]", "line 3: listener[0].rights[0] is an integer: write text in quotes"),
        (
            "[[listener]]\nrights = \"send\"",
            "line 3: listener[0].rights is text: write a list of texts in square brackets",
        ),
        (
            "[[listener]]\nops = [\"fly\"]",
            "line 3: listener[0].ops[0] is \"fly\": there are send, request, cancel, attach, ack, subscribe, unsubscribe, status, reconnect, close, open, reload, ping",
        ),
        (
            "[[listener]]\nops = [\"ping\", \"ping\"]",
            "line 3: listener[0].ops[1] is \"ping\" again: list each one once",
        ),
        (
            "[[listener]]\nsend_when = { regex = \"a(b\" }",
            "line 3: listener[0].send_when.regex is no regular expression: unclosed group, at its character 2",
        ),
        (
            "[[listener]]\nsend_when = { regex = 'a', \"/a\" = 1 }",
            "line 3: unknown key `listener[0].send_when.\"/a\"`: the keys here are regex",
        ),
        ("[[listener]]\nmax_message = 0", "line 3: listener[0].max_message is 0: write 1B to 512MiB"),
        (
            "[[listener]]\nrate = \"0/1s\"",
            "line 3: listener[0].rate is \"0/1s\": write a number from 1 to 100000, a slash and a time of 1ms to 1d, such as \"120/60s\"",
        ),
        (
            "[[listener]]\nrate = [\"5/1s\", \"10001/1m\"]",
            "line 3: listener[0].rate has 10001/1m: write at most 10000 in a time",
        ),
        (
            "[[listener]]\n[listener.rule]",
            "line 3: listener[0].rule is a table: write [[listener[0].rule]], with two brackets each",
        ),
        (
            "[[listener]]\n[[listener.rule]]\nrights = [\"send\"]",
            "line 3: listener[0].rule[0].users is missing, and groups too: write whom the rule is for, such as [\"alice\"]",
        ),
        (
            "[[listener]]\n[[listener.rule]]\nusers = []",
            "line 4: listener[0].rule[0].users is a list of 0: write 1 to 256 users, or leave it out",
        ),
        (
            "[[listener]]\n[[listener.rule]]\ngroups = [\"a b\"]",
            "line 4: listener[0].rule[0].groups[0] is \"a b\": write a group's name or number",
        ),
        (
            "[[listener]]\n[[listener.rule]]\nusers = [\"4294967295\"]\nright = [\"send\"]",
            "line 4: listener[0].rule[0].users[0] is \"4294967295\": write a user's name or number\n\
             line 5: unknown key `listener[0].rule[0].right`: did you mean `rights`?",
        ),
        (
            "[[listener]]\nmax_clients = 0",
            "line 3: listener[0].max_clients is 0: write a whole number from 1 to 1000000",
        ),
        (
            "[[listener]]\nmax_clients = 1000001",
            "line 3: listener[0].max_clients is 1000001: write a whole number from 1 to 1000000",
        ),
        ("[[listener]]\nmax_line = 63", "line 3: listener[0].max_line is 63: write 64B to 64MiB"),
        ("[[listener]]\nmax_line = \"65MiB\"", "line 3: listener[0].max_line is 65MiB: write 64B to 64MiB"),
    ]);
    let text = "[[listener]]\n[[listener]]\npath = \"/run/b\"\nmode = \"600\"\nowner = \"0\"\n\
                group = \"wsfan\"\nformat = \"raw\"\nrights = [\"control\"]\nmax_clients = 1\nmax_line = 64";
    let config = with(text).unwrap();
    let [first, second] = &config.listeners[..] else { panic!("not two listeners") };
    assert_eq!((first.path.to_str(), first.format), (Some(default), Format::Envelope));
    assert_eq!((second.mode, second.format), (0o600, Format::Raw));
    assert_eq!(second.owner.as_deref(), Some("0"));
    assert!(second.grant.rights.control && !second.grant.rights.send && !second.grant.rights.receive);
}

#[test]
fn the_default_socket_is_checked_too() {
    let long = format!("/{}", "x".repeat(100));
    let environment = Environment::fixed([("XDG_RUNTIME_DIR", long.as_str())]);
    let error = Config::parse("upstream.url = \"ws://a\"", &environment).unwrap_err();
    assert_eq!(
        error.to_string(),
        "listener[0].path, left out, is 112 bytes long, but a socket's path has at most 107: write a shorter one"
    );
    let environment = Environment::fixed([("XDG_RUNTIME_DIR", "/run/user/7")]);
    let config = Config::parse("upstream.url = \"ws://a\"", &environment).unwrap();
    assert_eq!(config.listeners[0].path, Config::default_socket(&environment));
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

#[test]
fn the_sample_is_the_default() {
    let least = parse("upstream.url = \"wss://stream.example.com/v1\"").unwrap();
    assert_eq!(parse(SAMPLE).unwrap(), least);
}

/// The key of a line of the sample that is commented out: `#key = …`, without a space.
fn commented_key(line: &str) -> Option<&str> {
    let (key, _) = line.strip_prefix('#')?.split_once(" = ")?;
    (!key.contains(' ')).then_some(key)
}

#[test]
fn the_samples_commented_keys_are_valid() {
    let commented: Vec<_> = SAMPLE.lines().filter_map(commented_key).collect();
    assert!(commented.contains(&"path") && commented.contains(&"expect"), "{commented:?}");
    for key in commented {
        let line = |line: &str| match commented_key(line) {
            Some(found) if found == key => line[1..].to_owned(),
            // the keys that need another one, or its absence, as their comments say
            _ if key == "expect" && line.starts_with("kind = ") => "kind = \"message\"".to_owned(),
            _ if key == "message_binary" && line.starts_with("kind = ") => "kind = \"message\"".to_owned(),
            _ if key == "message_binary" && line.starts_with("message = ") => String::new(),
            _ if key == "url_command" && line.starts_with("url = ") => String::new(),
            _ if key == "resume_url" && line == "[shutdown]" => {
                "[[capture]]\nmatch = \"x\"\nvalues = { resume_url = \"/x\" }\n[shutdown]".to_owned()
            }
            _ => line.to_owned(),
        };
        let text: Vec<_> = SAMPLE.lines().map(line).collect();
        assert_eq!(parse(&text.join("\n")).err(), None, "{key}");
    }
}

/// The sample with its examples taken in.
fn with_examples() -> String {
    let line = |line: &str| line.strip_prefix("#    ").unwrap_or(line).to_owned();
    SAMPLE.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_samples_examples_are_valid() {
    let config = parse(&with_examples()).unwrap();
    assert_eq!((config.terms.script.steps.len(), config.reconnect.rules.len()), (2, 2));
    assert!(config.terms.sequence.is_some() && config.terms.replies.len() == 1);
    let requests = config.terms.requests.unwrap();
    assert!(requests.streams.len() == 1 && requests.server.is_some());
    assert!(config.terms.subscriptions.is_some_and(|topics| topics.answer.is_some()));
}

/// What the reader itself says about its keys is the measure of the sample.
#[test]
fn the_sample_has_every_key() {
    let known = |header: &str| -> Vec<String> {
        let error = with(&format!("{header}\nqqqqqqqq = 1")).unwrap_err();
        let (_, keys) = error.split_once("the keys here are ").unwrap();
        keys.split(", ").map(str::to_owned).collect()
    };
    let mut sections = known("");
    sections.sort_unstable();
    assert_eq!(sections.len(), 22, "{sections:?}");
    assert!(SAMPLE.contains("profile = \"NAME\""));
    let header = |section: &str| match section {
        "listener" | "capture" | "reply" | "script.step" | "reconnect.rule" | "requests.stream" => {
            format!("[[{section}]]")
        }
        section => format!("[{section}]"),
    };
    let sample = with_examples();
    // these hold the user's own names, or lists that have a section of their own here
    let sections = sections
        .iter()
        .filter(|section| !["profile", "vars", "command", "derived", "script"].contains(&&***section));
    let others = [
        "upstream.tls",
        "command.sign",
        "derived.signature",
        "script.step",
        "reconnect.rule",
        "requests.stream",
        "requests.server",
        "topics.answer",
    ];
    for section in sections.map(String::as_str).chain(others) {
        let header = header(section);
        // of all the tables with this header
        let also = |line: &str| section == "script.step" && line == "[[script.then]]";
        let mut within = false;
        let own = sample.lines().filter(|line| {
            within = if line.starts_with('[') { *line == header || also(line) } else { within };
            within
        });
        let own: Vec<_> = own.collect();
        assert!(!own.is_empty(), "{header}");
        // The first line of a file with [upstream] in it can't say upstream.url.
        let keys = match section {
            "upstream" => {
                let error = parse("[upstream]\nurl = \"ws://a\"\nqqqqqqqq = 1").unwrap_err();
                let (_, keys) = error.split_once("the keys here are ").unwrap();
                keys.split(", ").map(str::to_owned).collect()
            }
            _ => known(&header),
        };
        for key in keys {
            let starts = [format!("{key} = "), format!("#{key} = ")];
            let there = own.iter().any(|line| starts.iter().any(|start| line.starts_with(start)))
                || sample.contains(&format!("\n[{section}.{key}]\n"))
                || sample.contains(&format!("\n[[{section}.{key}]]\n"));
            assert!(there, "{section}.{key} is not in the sample");
        }
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "(?s).*") {
        let _ = parse(&text);
    }

    #[test]
    fn no_value_panics(
        section in "upstream|heartbeat|reconnect|history|outbox|shutdown|log|upstream.tls|upstream.headers",
        key in "url|kind|interval|timeout|expect|max_bytes|max_delay|jitter|ca_file|subprotocols|level|[a-zé]{1,3}",
        value in "\"[^\"\n]{0,12}\"|-?[0-9]{1,25}|-?[0-9]{1,3}[.][0-9]|[{][}]|\\[\\]|true|nan|[{]a = \\[1\\][}]",
    ) {
        let _ = parse(&format!("[{section}]\n{key} = {value}\n[[listener]]\n{key} = {value}"));
    }

    #[test]
    fn a_damaged_sample_never_panics(at in 0..SAMPLE.len(), len in 0_usize..40, with in ".{0,3}") {
        let floor = |mut at: usize| {
            while !SAMPLE.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let (start, end) = (floor(at), floor((at + len).min(SAMPLE.len())));
        let _ = parse(&format!("{}{with}{}", &SAMPLE[..start], &SAMPLE[end..]));
    }

    /// Changing one interval never needs a second key changed.
    #[test]
    fn one_interval_alone_is_always_valid(millis in 100_u64..3_600_000) {
        for key in ["heartbeat.interval", "reconnect.initial_delay", "reconnect.max_delay"] {
            let config = with(&format!("{key} = \"{millis}ms\"")).unwrap();
            prop_assert!(config.heartbeat.timeout <= config.heartbeat.interval);
            prop_assert!(config.reconnect.initial_delay <= config.reconnect.max_delay);
        }
    }
}
