use super::*;
use crate::config::{Environment, sections::heartbeat::FirstBeat};

fn config(rest: &str) -> Config {
    let text = format!("upstream.url = \"wss://h/v1\"\n{rest}");
    Config::parse(&text, &Environment::fixed([])).unwrap_or_else(|why| panic!("{rest}: {why}"))
}

#[test]
fn it_is_a_short_word_that_stays_the_same() {
    let fingerprint = config("").fingerprint();
    assert!(fingerprint.len() == 16 && fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_eq!(config("").fingerprint(), fingerprint);
    let sample = include_str!("../../../config/wsfan.toml").replace("stream.example.com", "h");
    let sample = Config::parse(&sample, &Environment::fixed([])).unwrap();
    assert_eq!(sample.fingerprint(), fingerprint, "defaults that are written out are the same");
}

#[test]
fn whatever_the_server_is_told_counts() {
    let differ = [
        "",
        "upstream.hide = \"ping\"",
        "upstream.hide = \"pong\"",
        "upstream.split = true",
        "upstream.max_message = \"1MiB\"",
        "upstream.subprotocols = [\"a\"]",
        "upstream.headers = { X-A = \"1\" }",
        "upstream.headers = { X-A = \"2\" }",
        "upstream.headers = { X-B = \"1\" }",
        "upstream.headers = { Authorization = \"Basic ${env:A}\" }",
        "upstream.headers = { Authorization = \"Bearer ${env:A}\" }",
        "script.step = [{ send = \"a\" }]",
        "script.step = [{ send = \"b\" }]",
        "script.step = [{ send = \"a\", expect = \"x\" }]",
        "script.step = [{ send = \"a\", expect = { \"/a\" = 1 } }]",
        "script.step = [{ send = \"a\", expect = { \"/a\" = 2 } }]",
        "script.step = [{ send = \"a\", expect = { \"/b\" = 1 } }]",
        "script.step = [{ send = \"a\", expect = { \"/a\" = { exists = true } } }]",
        "script.step = [{ send = \"a\", expect = \"x\", capture = { a = \"/a\" } }]",
        "script.step = [{ send = \"a\" }, { send = \"b\" }]",
        "script.step = [{ send = \"b\" }, { send = \"a\" }]",
        "script.step = [{ send = \"${var:a}\" }]\nvars = { a = \"1\" }",
        "script.step = [{ send = \"${var:a}\" }]\nvars = { a = \"2\" }",
        "script.step = [{ send = \"${command:a}\" }]\ncommand.a = { run = [\"/bin/a\"] }",
        "script.step = [{ send = \"${command:a}\" }]\ncommand.a = { run = [\"/bin/a\", \"-v\"] }",
        "script.step = [{ send = \"${command:a}\" }]\ncommand.a = { run = [\"/bin/b\"] }",
        "script.step = [{ send = \"${derived:a}\" }]\nderived.a = { of = \"${env:A}\", hash = \"sha256\" }",
        "script.step = [{ send = \"${derived:a}\" }]\nderived.a = { of = \"${env:A}\", hash = \"sha1\" }",
        "script.step = [{ send = \"${derived:a}\" }]\nderived.a = { of = \"${now_ms}\", hash = \"sha1\" }",
        "capture = [{ match = \"x\", values = { a = \"/a\" } }]",
        "capture = [{ match = \"x\", values = { a = \"/b\" } }]",
        "reply = [{ match = \"x\", send = \"y\" }]",
        "sequence.pointer = \"/s\"",
        "sequence = { pointer = \"/s\", previous = \"/p\" }",
        "sequence = { pointer = \"/s\", per = \"/p\" }",
        "requests.id = \"/id\"",
        "requests = { id = \"/id\", id_kind = \"text\" }",
        "topics.pointer = \"/s\"",
        "topics = { pointer = \"/s\", retain = true }",
        "topics.subscribe = \"+${topic}\"",
        "topics = { subscribe = \"+${topic}\", unsubscribe = \"-${topic}\" }",
        "topics = { subscribe = \"+${topic}\", answer = { accept = \"x\" } }",
        "rotate.when = \"x\"",
        "rotate.dedupe = \"/id\"",
        "limits.messages = [\"5/1s\"]",
        "heartbeat = { kind = \"message\", message = \"a\" }",
        "heartbeat = { kind = \"message\", message = \"b\" }",
        "heartbeat.kind = \"off\"",
    ];
    let prints: Vec<_> = differ.iter().map(|lines| config(lines).fingerprint()).collect();
    for (at, one) in prints.iter().enumerate() {
        for (other_at, other) in prints.iter().enumerate().skip(at + 1) {
            assert_ne!(one, other, "{}\n{}", differ[at], differ[other_at]);
        }
    }
    let other = Config::parse("upstream.url = \"wss://h/v2\"", &Environment::fixed([])).unwrap();
    assert_ne!(other.fingerprint(), prints[0]);
}

#[test]
fn neither_order_nor_what_is_each_machines_own_counts() {
    for (one, other) in [
        ("", "heartbeat = { interval = \"7s\", timeout = \"1s\", first = \"now\", idle_timeout = \"1m\" }"),
        ("", "upstream.connect_timeout = \"3s\"\nupstream.proxy = \"off\"\nupstream.compression = true"),
        (
            "",
            "reconnect = { max_delay = \"1s\", jitter = 0 }\nhistory.max_bytes = \"1MiB\"\nlog.level = \"warn\"",
        ),
        ("", "outbox.max_messages = 5\nlistener = [{ path = \"/a\", rights = [\"receive\"] }]"),
        ("", "rotate = { after = \"1h\", overlap = \"1s\" }"),
        #[cfg(feature = "cluster")]
        ("", "cluster = { name = \"c\", node = \"n\", urls = \"nats://127.0.0.1\" }"),
        ("requests = { id = \"/id\" }", "requests = { id = \"/id\", timeout = \"1s\", max_in_flight = 3 }"),
        (
            "topics.subscribe = \"+${topic}\"",
            "topics = { subscribe = \"+${topic}\", linger = \"0s\", max = 7 }",
        ),
        (
            "upstream.headers = { X-A = \"1\", X-B = \"2\" }",
            "upstream.headers = { x-b = \"2\", X-A = \"1\" }",
        ),
        (
            "rotate.when = { \"/a\" = [1, 2], \"/b\" = \"x\" }",
            "rotate.when = { \"/b\" = \"x\", \"/a\" = [2, 1] }",
        ),
        (
            "script.step = [{ send = \"a\", expect = \"x\", capture = { a = \"/a\", b = \"/b\" } }]",
            "script.step = [{ send = \"a\", expect = \"x\", capture = { b = \"/b\", a = \"/a\" }, timeout = \"2s\" }]",
        ),
        (
            "script.step = [{ send = \"${var:a}${var:b}\" }]\nvars = { a = \"1\", b = \"2\" }",
            "script.step = [{ send = \"${var:a}${var:b}\" }]\nvars = { b = \"2\", a = \"1\" }",
        ),
        (
            "script.step = [{ send = \"${command:a}\" }]\ncommand.a = { run = [\"/bin/a\"] }",
            "script.step = [{ send = \"${command:a}\" }]\ncommand.a = { run = [\"/opt/a\"], env = [\"A\"], timeout = \"1s\" }",
        ),
    ] {
        assert_eq!(config(one).essence(), config(other).essence(), "{one}\n{other}");
    }
    let mut other = config("");
    other.heartbeat.first = FirstBeat::Random;
    assert_eq!(other.fingerprint(), config("").fingerprint());
}

#[test]
fn no_secret_is_in_it_and_where_one_is_kept_makes_no_difference() {
    let with = |secret: &str| {
        config(&format!(
            "upstream.headers = {{ Authorization = \"Bearer {secret}\", Cookie = \"{secret}\", X-Plain = \"seen\" }}\n\
             vars = {{ token = \"{secret}\", login = {{ password = \"{secret}\" }} }}\n\
             command.token = {{ run = [\"/bin/sign\", \"--password\", \"x\"], stdin = \"{secret}\" }}\n\
             script.step = [\n\
               {{ send = '{{\"password\":\"{secret}\",\"t\":\"${{var:token}}\",\"l\":${{var:login}}}}' }},\n\
               {{ send = '{{\"token\":\"{secret}\",\"c\":\"${{command:token}}\"}}', expect = {{ \"/token\" = \"{secret}\" }} }},\n\
             ]\n\
             heartbeat = {{ kind = \"message\", message = '{{\"api_key\":\"{secret}\"}}' }}"
        ))
    };
    let essence = with("hunter2").essence();
    assert!(!essence.contains("hunter2") && essence.contains("seen"), "{essence}");
    for secret in ["hunter3", "a longer one, with blanks"] {
        assert_eq!(with(secret).essence(), essence);
    }
    let url = |url: &str| {
        Config::parse(&format!("upstream.url = \"{url}\""), &Environment::fixed([])).unwrap().essence()
    };
    assert_eq!(url("wss://joe:hunter2@h/?token=hunter2&v=1"), url("wss://joe:hunter3@h/?token=hunter3&v=1"));
    assert_ne!(url("wss://joe:hunter2@h/?token=hunter2&v=1"), url("wss://joe:hunter2@h/?token=hunter2&v=2"));
    let header =
        |value: &str| config(&format!("upstream.headers = {{ Authorization = \"{value}\" }}")).essence();
    for value in ["Bearer ${env:A}", "Bearer ${file:/run/a}", "Bearer ${credential:b}"] {
        assert_eq!(header(value), header("Bearer hunter2"), "{value}");
    }
}
