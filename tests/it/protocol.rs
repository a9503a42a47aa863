//! `docs/protocol.md` is true: every example in it is run against the real daemon.

#[cfg(feature = "cluster")]
use std::time::{Duration, Instant};
use std::{collections::BTreeSet, fs, path::Path};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use wsfan::protocol::{Bye, ClusterState, ClusterWhy, Code, LinkState, Named, Why};

use crate::common::{self, Client, Daemon, Server, schema};

/// Values that differ from run to run; of them the type counts. All others must be equal.
const VARYING: [&str; 19] = [
    "seq",
    "time_us",
    "since_us",
    "epoch",
    "url",
    "oldest",
    "from",
    "to",
    "count",
    "pid",
    "uid",
    "uptime_s",
    "bytes",
    "listener",
    "retry_in_ms",
    "message",
    "client",
    "file",
    "upstream",
];

#[test]
fn hello() {
    let (_server, daemon, _upstream) = up("");
    let mut client = Client::connect(&daemon.socket());
    run("hello", &mut client);
}

#[test]
fn message() {
    let (_server, daemon, mut upstream) = up("");
    let mut client = daemon.client();
    upstream.text("{\"price\": 42.10, \"id\": 12345678901234567890}");
    upstream.text("not JSON");
    upstream.socket.send(Message::binary(vec![0, 1, 2])).unwrap();
    run("message", &mut client);
}

#[test]
fn topics() {
    let (_server, daemon, mut upstream) = up("[topics]\npointer = \"/stream\"\n");
    let mut client = daemon.client();
    run("topics", &mut client);
    upstream.text(r#"{"stream":"eth.book","p":"2.5"}"#);
    upstream.text(r#"{"stream":"btc.trades","p":"1.5"}"#);
    run("topic", &mut client);
}

#[test]
fn snapshot() {
    let (_server, daemon, mut upstream) = up("[topics]\npointer = \"/stream\"\nretain = true\n");
    let mut client = daemon.client();
    for text in [
        r#"{"stream":"btc.book","p":"1.4"}"#,
        r#"{"stream":"eth.book","p":"2.5"}"#,
        r#"{"stream":"btc.trades","p":"1.5"}"#,
    ] {
        upstream.text(text);
        client.message();
    }
    run("snapshot", &mut client);
}

#[test]
fn public() {
    let capture =
        "[[capture]]\nmatch = { \"/session\" = { exists = true } }\nvalues = { session = \"/session\" }\n";
    let (_server, daemon, mut upstream) = up(&format!("{capture}public = true\n"));
    let mut client = daemon.client();
    upstream.text(r#"{"session":12345678901234567890}"#);
    run("public", &mut client);
    assert_eq!(upstream.message(), Message::text(r#"{"op":"join","session":12345678901234567890}"#));
}

#[test]
fn link() {
    let (server, daemon, mut upstream) = up("");
    let mut client = daemon.client();
    let frame = CloseFrame { code: CloseCode::Error, reason: "restart".into() };
    upstream.socket.close(Some(frame)).unwrap();
    upstream.closed();
    let _next = server.accept();
    run("link", &mut client);
}

#[test]
fn gap() {
    let (_server, daemon, mut upstream) = up("[history]\nmax_bytes = \"64KiB\"\n");
    let mut client = daemon.client();
    let payload = format!("\"{}\"", "x".repeat(10_000));
    for _ in 0..50 {
        upstream.text(&payload);
        client.message();
    }
    let since = json!({"epoch": client.hello["epoch"], "seq": 2});
    client.ask(json!({"op": "attach", "since": since}));
    client.until(|line| line["result"] == "attached");
    run("gap", &mut client);
}

#[test]
fn error() {
    let (_server, daemon, _upstream) = up("");
    run("error", &mut daemon.client());
}

#[test]
fn bad_lines() {
    let (_server, daemon, _upstream) = up("");
    run("bad lines", &mut daemon.client());
}

#[test]
fn line_too_long() {
    let (_server, daemon, _upstream) = up("[[listener]]\npath = \"SOCKET\"\nmax_line = 64\n");
    run("line too long", &mut daemon.client());
}

#[test]
fn too_many_clients() {
    let (_server, daemon, _upstream) = up("[[listener]]\npath = \"SOCKET\"\nmax_clients = 1\n");
    // beside the one there are sixteen places for root alone
    let root = if rustix::process::geteuid().is_root() { 16 } else { 8 };
    let _first: Vec<_> = (0..1 + root).map(|_| daemon.client()).collect();
    run("too many clients", &mut Client::connect(&daemon.socket()));
}

#[test]
fn upstream_gap() {
    let (_server, daemon, mut upstream) = up("[sequence]\npointer = \"/s\"\n");
    let mut client = daemon.client();
    upstream.text(r#"{"s":7}"#);
    upstream.text(r#"{"s":10}"#);
    run("upstream gap", &mut client);
}

#[test]
fn limits() {
    let limits = "[limits]\nmax_message = 64\nmessages = [\"1/1h\"]\nexcess = \"refuse\"\n";
    let (_server, daemon, _upstream) = up(limits);
    run("limits", &mut daemon.client());
}

#[test]
fn outbox_errors() {
    let (_server, daemon, mut upstream) = up("[outbox]\nmax_messages = 1\nttl = \"3s\"\n");
    let mut client = daemon.client();
    client.request(json!({"op": "close"}));
    upstream.closed();
    client.link("closed");
    run("outbox errors", &mut client);
}

#[test]
fn subscribe() {
    let (_server, daemon, _upstream) = up("[topics]\nsubscribe = '{\"sub\":[${topics}]}'\n");
    run("subscribe", &mut daemon.client());
}

#[test]
fn bye() {
    let (_server, daemon, mut upstream) = up("");
    let mut client = daemon.client();
    daemon.signal("TERM");
    upstream.closed();
    client.link("closed");
    run("bye", &mut client);
}

#[test]
fn send() {
    let (_server, daemon, mut upstream) = up("");
    run("send", &mut daemon.client());
    let messages = [upstream.message(), upstream.message(), upstream.message()];
    assert_eq!(
        messages,
        [Message::text("{\"subscribe\": [\"btc\"]}"), Message::text("hello"), Message::binary(vec![0, 1, 2])]
    );
}

#[test]
fn name() {
    let (_server, daemon, _upstream) = up("");
    run("name", &mut daemon.client());
}

#[test]
fn unit() {
    let (_server, daemon, mut upstream) = up("");
    run("unit", &mut daemon.client());
    let messages = [upstream.message(), upstream.message()];
    assert_eq!(messages, [Message::text("{\"header\": 1}"), Message::binary(vec![0, 1, 2])]);
}

#[test]
fn send_while_down() {
    let (_server, daemon, mut upstream) = up("");
    let mut client = daemon.client();
    client.request(json!({"op": "close"}));
    upstream.closed();
    client.link("closed");
    run("send while down", &mut client);
}

#[test]
fn outbox() {
    let (server, daemon, mut upstream) = up("[outbox]\nmax_messages = 10\n");
    let mut client = daemon.client();
    client.request(json!({"op": "close"}));
    upstream.closed();
    client.link("closed");
    let accept = std::thread::spawn(move || server.accept().message());
    run("outbox", &mut client);
    assert_eq!(accept.join().unwrap(), Message::text("hello"));
}

#[test]
fn attach() {
    let (_server, daemon, mut upstream) = up("");
    let mut client = daemon.client();
    for text in ["1", "2"] {
        upstream.text(text);
        client.message();
    }
    run("attach", &mut client);
}

#[test]
fn status() {
    let (_server, daemon, _upstream) = up("");
    run("status", &mut daemon.client());
}

#[test]
fn control() {
    let (_server, daemon, _upstream) = up("");
    run("control", &mut daemon.client());
}

#[test]
fn reload() {
    let (server, daemon, _upstream) = up("");
    let config = server.config().replace("/stream\"", "/stream\"\nheaders = { X-Test = \"1\" }");
    daemon.rewrite(&(config + "[heartbeat]\ninterval = \"20s\"\n[log]\nformat = \"json\"\n"));
    run("reload", &mut daemon.client());
}

#[test]
fn ping() {
    let (_server, daemon, _upstream) = up("");
    run("ping", &mut daemon.client());
}

#[cfg(feature = "cluster")]
#[test]
fn detached() {
    let server = Server::bind();
    let cluster = "[cluster]\nname = \"quotes\"\nurls = [\"nats://127.0.0.1:1\"]\nnode = \"host-a\"\n";
    let daemon = Daemon::start(&(server.config() + cluster));
    let deadline = Instant::now() + Duration::from_secs(10);
    while Client::connect(&daemon.socket()).line()["cluster"]["error"].is_null() {
        assert!(Instant::now() < deadline, "it doesn't say what is wrong");
    }
    run("detached", &mut Client::connect(&daemon.socket()));
}

#[test]
fn what_a_cluster_says_is_in_the_schema() {
    let page = page();
    let section =
        page.split("\n## In a cluster\n").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    let lines: Vec<Value> = section
        .lines()
        .filter_map(|line| line.strip_prefix("< "))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(lines.len() > 5);
    lines.iter().for_each(schema::assert_line);
}

#[test]
fn every_example_is_run() {
    let page = page();
    let examples: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("<!-- example: ")?.strip_suffix(" -->")).collect();
    let source =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/protocol.rs")).unwrap();
    assert!(examples.len() > 10, "{examples:?}");
    for example in examples {
        assert!(source.contains(&format!("run(\"{example}\",")), "nothing runs the example {example:?}");
    }
}

#[test]
fn every_name_is_explained() {
    fn explained<T: Named>(page: &str) {
        assert!(!T::ALL.is_empty());
        for name in T::ALL.iter().map(|named| named.name()) {
            assert!(page.contains(&format!("| `{name}` |")), "docs/protocol.md doesn't explain {name}");
        }
    }
    let page = page();
    explained::<Code>(&page);
    explained::<Why>(&page);
    explained::<Bye>(&page);
    explained::<LinkState>(&page);
    explained::<ClusterState>(&page);
    explained::<ClusterWhy>(&page);
}

/// Each example is in the schema, but for requests that are refused since they are none.
#[test]
fn the_schema_has_every_example() {
    let page = page();
    let mut counts = [0; 3];
    for example in page.split("<!-- example: ").skip(1) {
        let (_, rest) = example.split_once("```\n").unwrap();
        let (block, _) = rest.split_once("```").unwrap();
        let mut asked = None;
        for line in block.lines() {
            let value = |text| serde_json::from_str::<Value>(text).unwrap_or_default();
            match line.split_at(2) {
                ("> ", text) => asked = Some((text, schema::check("Request", &value(text)))),
                ("< ", text) => {
                    let line = value(text);
                    schema::assert_line(&line);
                    counts[0] += 1;
                    let Some((request, found)) = asked.take() else { continue };
                    let is_none =
                        ["bad_json", "bad_request", "unknown_op"].iter().any(|code| line["code"] == *code);
                    assert_eq!(found.is_err(), is_none, "{request}: {found:?}");
                    counts[1 + usize::from(is_none)] += 1;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(counts[0] > 30 && counts[1] > 15 && counts[2] > 2, "{counts:?}");
}

#[test]
fn the_schema_refuses_what_is_no_line() {
    for (name, line) in [
        ("Line", r#"{"type":"bye"}"#),
        ("Line", r#"{"type":"bye","why":"later"}"#),
        ("Line", r#"{"type":"bye","why":"shutdown","more":1}"#),
        ("Line", r#"{"type":"later","why":"shutdown"}"#),
        ("Line", r#"{"type":"message","seq":1,"time_us":1}"#),
        ("Line", r#"{"type":"message","seq":1,"time_us":1,"json":1,"text":"1"}"#),
        ("Line", r#"{"type":"message","seq":-1,"time_us":1,"json":1}"#),
        ("Line", r#"{"type":"link","seq":1,"time_us":1,"state":"up","conn":1,"attempt":0,"code":70000}"#),
        ("Line", r#"{"type":"gap","seq":1,"from":3,"to":4,"count":2,"why":"expired"}"#),
        ("Request", r#"{"op":"send"}"#),
        ("Request", r#"{"op":"send","json":1,"text":""}"#),
        ("Request", r#"{"op":"send","messages":[]}"#),
        ("Request", r#"{"op":"attach","name":""}"#),
        ("Request", r#"{"op":"ack"}"#),
        ("Request", r#"{"op":"send","text":"","messages":[{"text":""}]}"#),
        ("Request", r#"{"op":"send","messages":[{"text":"","json":1}]}"#),
        ("Request", r#"{"op":"attach","since":{"epoch":"e"}}"#),
        ("Request", r#"{"op":"attach","since":{"epoch":"e","seq":1,"x":1}}"#),
        ("Request", r#"{"op":"ping","txet":""}"#),
    ] {
        assert!(schema::check(name, &serde_json::from_str(line).unwrap()).is_err(), "{line}");
    }
}

/// A daemon whose link is up, with two entries in its log.
fn up(config: &str) -> (Server, Daemon, common::Connection) {
    let server = Server::bind();
    let mut daemon = Daemon::start(&(server.config() + config));
    let connection = server.accept();
    daemon.notified("STATUS=link up");
    (server, daemon, connection)
}

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/protocol.md")).unwrap()
}

/// Says what the example says, and checks that the answers are those of the example.
fn run(example: &str, client: &mut Client) {
    let page = page();
    let (_, rest) = page.split_once(&format!("<!-- example: {example} -->\n```\n")).expect("the example");
    let (block, _) = rest.split_once("```").unwrap();
    for line in block.lines() {
        let (mark, text) = line.split_at(2);
        match mark {
            "> " => {
                let epoch = client.hello["epoch"].as_str().unwrap_or_default();
                client.write((text.replace("EPOCH", epoch) + "\n").as_bytes());
            }
            "< " => {
                let expected: Value =
                    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
                // changes of the link come in between where an example is not about them
                let about_links = block.contains("\"link\",");
                let line = loop {
                    let line = client.line();
                    if about_links || line["type"] != "link" || expected["type"] == "link" {
                        break line;
                    }
                };
                assert_like(&line, &expected, example);
            }
            other => panic!("{example}: a line starts with {other:?}"),
        }
    }
    assert!(block.lines().count() > 0);
}

/// The same fields, equal but for what varies.
fn assert_like(line: &Value, expected: &Value, at: &str) {
    match (line, expected) {
        (Value::Object(line), Value::Object(expected)) => {
            let (names, wanted): (Vec<_>, Vec<_>) = (line.keys().collect(), expected.keys().collect());
            assert_eq!(names, wanted, "{at}: {line:?}");
            for (name, value) in line {
                let wanted = &expected[name];
                if VARYING.contains(&name.as_str()) && !value.is_object() {
                    assert_eq!(
                        std::mem::discriminant(value),
                        std::mem::discriminant(wanted),
                        "{at}.{name}: {value}"
                    );
                } else {
                    assert_like(value, wanted, &format!("{at}.{name}"));
                }
            }
        }
        (Value::Array(line), Value::Array(expected)) => {
            assert_eq!(line.len(), expected.len(), "{at}");
            line.iter().zip(expected).for_each(|(line, expected)| assert_like(line, expected, at));
        }
        _ => assert_eq!(line, expected, "{at}"),
    }
}
