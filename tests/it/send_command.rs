//! `send_command`: messages that programs make, by the real daemon.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc,
    thread,
    time::Instant,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{digest, hmac};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::Message;

use crate::common::{
    Connection, DEADLINE, Daemon, Server,
    config::{refused, with},
};

/// What must never be shown.
const KEY: &str = "s3cr3t-key";

fn sha256(text: &str) -> String {
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn json(connection: &mut Connection) -> Value {
    let text = connection.message().into_text().unwrap();
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}"))
}

// --- challenges ------------------------------------------------------------------------------------

/// A relay's challenge (NIP-42), and whether the client may go on: what the event that answers it must be. Its
/// signature is a hash with a key that both know, in the place of one by secp256k1, for which there is no tool here.
fn challenge(connection: &mut Connection, challenge: &str, port: u16) -> bool {
    connection.text(&json!(["AUTH", challenge]).to_string());
    let answer = json(connection);
    assert_eq!(answer[0], "AUTH");
    let event = &answer[1];
    assert_eq!(event["kind"], 22242);
    let relay = format!("ws://127.0.0.1:{port}/");
    assert_eq!(event["tags"], json!([["relay", relay], ["challenge", challenge]]), "this connection's");
    // NIP-01: the id is the hash of the event without it and its signature
    let parts =
        json!([0, event["pubkey"], event["created_at"], event["kind"], event["tags"], event["content"]]);
    let id = sha256(&parts.to_string());
    assert_eq!(event["id"], id);
    let is_right = event["sig"] == sha256(&format!("{KEY}{id}"));
    let said = if is_right { "" } else { "restricted: what is this signature" };
    let said = format!("{said} {}", event["sig"].as_str().unwrap());
    connection.text(&json!(["OK", id, is_right, if is_right { "" } else { &said }]).to_string());
    is_right
}

/// A program that makes such an event.
const SIGN: &str = r#"
read -r key
read -r relay
read -r challenge
tags="[[\"relay\",\"$relay\"],[\"challenge\",\"$challenge\"]]"
pubkey=00000000000000000000000000000000000000000000000000000000000000aa
now=$(date +%s)
hash() { sha256sum | cut -d ' ' -f 1; }
id=$(printf '[0,"%s",%s,22242,%s,""]' "$pubkey" "$now" "$tags" | hash)
sig=$(printf '%s%s' "$key" "$id" | hash)
printf '["AUTH",{"id":"%s","pubkey":"%s","created_at":%s,"kind":22242,"tags":%s,"content":"","sig":"%s"}]\n' \
    "$id" "$pubkey" "$now" "$tags" "$sig"
"#;

/// The configuration for such a relay, with files in a directory.
fn relay(port: u16, directory: &Path, key: &str) -> String {
    let (program, file) = (directory.join("sign.sh"), directory.join("key"));
    fs::write(&program, SIGN).unwrap();
    fs::write(&file, key).unwrap();
    format!(
        r#"
[upstream]
url = "ws://127.0.0.1:{port}/"
[reconnect]
initial_delay = "20ms"
max_delay = "50ms"
[log]
level = "trace"
[vars]
key = "${{file:{file}}}"
[[script.step]]
name = "challenge"
expect = {{ "/0" = "AUTH" }}
[[script.step]]
name = "answer"
send_command = {{ run = ["/bin/sh", "{program}"], stdin = """
${{var:key}}
ws://127.0.0.1:{port}/
${{field:/1}}
""" }}
expect = {{ "/0" = "OK", "/2" = true }}
reject = {{ "/0" = "OK", "/2" = false }}
on_fail = "stop"
"#,
        file = file.display(),
        program = program.display(),
    )
}

#[test]
fn a_relay_lets_in_who_signs_its_challenge_anew_on_each_connection() {
    let (server, directory) = (Server::bind(), tempfile::tempdir().unwrap());
    let daemon = Daemon::start(&relay(server.port(), directory.path(), KEY));
    let mut first = server.accept();
    assert!(challenge(&mut first, "first \u{e9}", server.port()));
    let mut client = daemon.client();
    if client.hello["link"] != "up" {
        client.link("up");
    }
    first.drop_tcp();
    let mut second = server.accept();
    assert!(challenge(&mut second, "second", server.port()));
    assert_eq!(client.link("up")["conn"], 2);
    assert!(!daemon.log().contains("s3cr3t"), "{}", daemon.log());
}

#[test]
fn a_signature_that_the_relay_refuses_is_not_shown_though_it_repeats_it() {
    let (server, directory) = (Server::bind(), tempfile::tempdir().unwrap());
    let daemon = Daemon::start(&relay(server.port(), directory.path(), "s3cr3t-other"));
    assert!(!challenge(&mut server.accept(), "first", server.port()));
    let log = daemon.logged("link failed");
    let line = log.lines().find(|line| line.contains("link failed")).unwrap();
    assert!(line.contains("step \\\"answer\\\" failed: the server refused: "), "{line}");
    assert!(line.contains("restricted: what is this signature …"), "{line}");
    assert!(!log.contains("s3cr3t"), "{log}");
}

/// WAMP-CRA (WAMP, 13.5.4): the router's challenge is a text, whose HMAC-SHA256 in base64 is the signature.
fn welcome(connection: &mut Connection) {
    let hello = json(connection);
    assert_eq!((&hello[0], &hello[1]), (&json!(1), &json!("realm1")), "HELLO");
    assert_eq!(hello[2]["authmethods"], json!(["wampcra"]));
    let challenge =
        json!({"authid": "me", "nonce": "LHRTC9zeOIrt_9U3", "session": 3251278072152162_u64}).to_string();
    connection.text(&json!([4, "wampcra", {"challenge": challenge}]).to_string());
    let answer = json(connection);
    let key = hmac::Key::new(hmac::HMAC_SHA256, KEY.as_bytes());
    let signature = STANDARD.encode(hmac::sign(&key, challenge.as_bytes()));
    assert_eq!(answer, json!([5, signature, {}]), "AUTHENTICATE");
    connection.text(&json!([2, 3251278072152162_u64, {"authid": "me", "roles": {"broker": {}}}]).to_string());
}

#[test]
fn a_wamp_router_is_answered_by_a_derived_value_and_by_a_program_that_is_given_it() {
    let program = r#"read -r signature; printf '[5,\"%s\",{}]' \"$signature\""#;
    for answer in [
        r#"send = '[5,"${derived:signature}",{}]'"#.to_owned(),
        format!(
            "send_command = {{ run = [\"/bin/sh\", \"-c\", \"{program}\"], stdin = \"${{derived:signature}}\" }}"
        ),
    ] {
        let server = Server::bind();
        let daemon = Daemon::start(&format!(
            r#"
{}
[derived.signature]
of = "${{field:/2/challenge}}"
hash = "hmac_sha256"
key = "{KEY}"
as = "base64"
[[script.step]]
send = '[1,"realm1",{{"roles":{{"subscriber":{{}}}},"authmethods":["wampcra"],"authid":"me"}}]'
expect = {{ "/0" = 4, "/1" = "wampcra" }}
reject = {{ "/0" = 3 }}
[[script.step]]
{answer}
expect = {{ "/0" = 2 }}
reject = {{ "/0" = 3 }}
on_fail = "stop"
"#,
            server.config()
        ));
        welcome(&mut server.accept());
        daemon.logged("link up");
    }
}

// --- programs that take their time -----------------------------------------------------------------

/// A program that says when it has begun, and goes on when it is told.
struct Gate {
    directory: TempDir,
    /// What each run says: its process's number, and that it is gone.
    told: mpsc::Receiver<String>,
}

impl Gate {
    fn new() -> Gate {
        let directory = tempfile::tempdir().unwrap();
        let alive = directory.path().join("alive");
        let pipes = [alive.clone(), directory.path().join("go")];
        assert!(Command::new("mkfifo").args(pipes).status().unwrap().success());
        let (tell, told) = mpsc::channel();
        // each run holds the pipe open for as long as it lives; ends with the test
        thread::spawn(move || {
            while let Ok(pipe) = File::open(&alive) {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    let _ = tell.send(line);
                }
                if tell.send("gone".to_owned()).is_err() {
                    break;
                }
            }
        });
        Gate { directory, told }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `run = [...]` of the program.
    fn run(&self) -> String {
        let script = format!(
            "exec 3>{}; echo $$ >&3; read -r line <{}; cat; echo \" $line\"",
            self.path("alive").display(),
            self.path("go").display()
        );
        json!(["/bin/sh", "-c", script]).to_string()
    }

    /// The number of the process that has begun.
    fn begun(&self) -> u32 {
        self.told.recv_timeout(DEADLINE).expect("it begins").parse().expect("a number")
    }

    /// Waits until it is gone, and nothing is left of its process.
    fn gone(&self, process: u32) {
        assert_eq!(self.told.recv_timeout(DEADLINE).expect("it ends"), "gone");
        let (place, end) = (PathBuf::from(format!("/proc/{process}")), Instant::now() + DEADLINE);
        while place.exists() {
            assert!(Instant::now() < end, "what is left of {process} is never collected");
            thread::yield_now();
        }
    }

    fn go(&self, line: &str) {
        let mut pipe = File::options().write(true).open(self.path("go")).unwrap();
        writeln!(pipe, "{line}").unwrap();
    }
}

fn reply(gate: &Gate, server: &Server) -> String {
    format!(
        "{}[[reply]]\nmatch = {{ \"/ask\" = {{ exists = true }} }}\n\
         send_command = {{ run = {}, stdin = \"${{field:/ask}}\", timeout = \"60s\" }}\n\
         [[reply]]\nmatch = {{ \"/plain\" = 1 }}\nsend = \"plain\"\n",
        server.config(),
        gate.run()
    )
}

/// A daemon, and a connection over which a program was asked for that runs, with its number.
fn at_work(gate: &Gate, server: &Server) -> (Daemon, Connection, u32) {
    let daemon = Daemon::start(&reply(gate, server));
    let mut connection = server.accept();
    daemon.logged("link up");
    connection.text(r#"{"ask":"who?"}"#);
    let process = gate.begun();
    (daemon, connection, process)
}

fn read(connection: &mut Connection) -> Message {
    connection.socket.read().unwrap()
}

#[test]
fn nothing_else_waits_for_a_program() {
    let (gate, server) = (Gate::new(), Server::bind());
    let (daemon, mut connection, process) = at_work(&gate, &server);
    let mut client = daemon.client();
    connection.text(r#"{"news":1}"#);
    client.until(|line| line["json"]["news"] == 1);
    connection.text(r#"{"plain":1}"#);
    assert_eq!(read(&mut connection), Message::text("plain"));
    connection.socket.send(Message::Ping("alive?".into())).unwrap();
    assert_eq!(read(&mut connection), Message::Pong("alive?".into()));
    client.ask(json!({"op": "send", "text": "a client's"}));
    assert_eq!(read(&mut connection), Message::text("a client's"));
    gate.go("it is me");
    assert_eq!(read(&mut connection), Message::text("who? it is me"));
    gate.gone(process);
}

#[test]
fn a_program_ends_with_its_connection_with_other_words_and_with_the_daemon() {
    let (gate, server) = (Gate::new(), Server::bind());
    let (daemon, connection, process) = at_work(&gate, &server);
    connection.drop_tcp();
    gate.gone(process);

    let mut connection = server.accept();
    connection.text(r#"{"ask":"again"}"#);
    let process = gate.begun();
    daemon.rewrite(&reply(&gate, &server).replace("\"/plain\"", "\"/other\""));
    daemon.signal("HUP");
    gate.gone(process);
    connection.closed();

    let mut connection = server.accept();
    connection.text(r#"{"ask":"a third time"}"#);
    let process = gate.begun();
    daemon.signal("TERM");
    gate.gone(process);
    assert_eq!(connection.closed(), Some(1001));
    assert!(daemon.ends_within(DEADLINE));
}

#[test]
fn a_reply_whose_program_fails_is_told_and_counted_and_the_link_stays() {
    let server = Server::bind();
    let table = [
        ("slow", "sleep 1000", "/bin/sh did not end within 300ms"),
        ("flood", "while echo s3cr3t; do :; done", "/bin/sh printed more than 1MiB"),
        ("fails", "cat >&2; exit 7", "/bin/sh failed (exit status: 7): …"),
        ("empty", "echo", "/bin/sh printed nothing"),
        ("bytes", "printf '\\\\377'", "/bin/sh printed what is not UTF-8 text"),
    ];
    let replies: String = table
        .iter()
        .map(|(name, script, _)| {
            format!(
                "[[reply]]\nmatch = {{ \"/ask\" = \"{name}\" }}\nsend_command = {{ run = [\"/bin/sh\", \"-c\", \
                 \"{script}\"], stdin = \"s3cr3t-text\", timeout = \"{}\" }}\n",
                if *name == "slow" { "300ms" } else { "60s" }
            )
        })
        .collect();
    let last = "[[reply]]\nmatch = { \"/ask\" = \"unread\" }\n\
                send_command = { run = [\"/bin/echo\", \"unread\"], stdin = \"${field:/text}\" }\n";
    let daemon = Daemon::start(&format!("{}[log]\nlevel = \"trace\"\n{replies}{last}", server.config()));
    let mut connection = server.accept();
    for (name, _, sentence) in table {
        connection.text(&json!({"ask": name}).to_string());
        daemon.logged(&format!("a reply isn't sent: {sentence}"));
    }
    // one that never reads what it is given, and ends
    connection.text(&json!({"ask": "unread", "text": "x".repeat(1 << 20)}).to_string());
    assert_eq!(read(&mut connection), Message::text("unread"));
    let status = daemon.client().status();
    assert_eq!(status["counters"]["failed_programs"], table.len(), "{status}");
    assert_eq!((&status["link"]["state"], &status["link"]["conn"]), (&json!("up"), &json!(1)));
    let log = daemon.logged("WARN");
    assert_eq!(log.matches("WARN").count(), 1, "the others are told at `debug`:\n{log}");
    assert!(!log.contains("s3cr3t"), "{log}");
}

#[test]
fn a_heartbeat_may_be_a_programs() {
    let server = Server::bind();
    let beat = "[heartbeat]\nkind = \"message\"\ninterval = \"2s\"\nexpect = { \"/pong\" = true }\n\
                send_command = { run = [\"/bin/echo\", '{\"ping\":1}'] }\n";
    let daemon = Daemon::start(&format!("{}{beat}", server.config()));
    let mut connection = server.accept();
    for _ in 0..2 {
        assert_eq!(json(&mut connection), json!({"ping": 1}));
        connection.text(r#"{"pong":true}"#);
    }
    json(&mut connection);
    daemon.logged("no expected answer within 2s of a heartbeat");
}

// --- what is configured ----------------------------------------------------------------------------

#[test]
fn what_is_wrong_is_said() {
    refused(&[
        (
            "[[script.step]]\nsend = \"a\"\nsend_command = { run = [\"/bin/a\"] }",
            "line 4: script.step[0].send_command is there beside `send`: write one of them",
        ),
        (
            "[[script.step]]\nsend_command = { run = [\"/bin/a\"], silent = true, binary = true }",
            "line 3: script.step[0].send_command.binary is about a message, of which there is none with `silent`: take one \
             out",
        ),
        (
            "heartbeat = { kind = \"message\", send_command = { run = [\"/bin/a\"], silent = true } }",
            "line 2: heartbeat.send_command is silent, so that no heartbeat would be sent: take `silent` out",
        ),
        (
            "[[script.step]]\nsend_command = { stdin = \"a\" }",
            "line 3: script.step[0].send_command.run is missing: write run = [\"/path/to/program\", \"argument\"]",
        ),
        (
            "[[script.step]]\nsend_command = { run = [\"/bin/a\"], stdin = \"${field:/1}\" }",
            "line 3: script.step[0].send_command has `${field:/1}`, which is of the message that a step before has \
             expected, and none has: write it in a later step",
        ),
        (
            "[[script.step]]\nsend_command = { run = [\"/bin/a\"], output = 1 }",
            "line 3: unknown key `script.step[0].send_command.output`: the keys here are binary, env, run, silent, stdin, timeout",
        ),
        (
            "[[reply]]\nmatch = \"a\"\nsend = \"b\"\nsend_command = { run = [\"/bin/a\"] }",
            "line 5: reply[0].send_command is there beside `send`: write one of them",
        ),
        (
            "[[reply]]\nmatch = \"a\"\nsend_command = 1",
            "line 4: reply[0].send_command is an integer: write a table",
        ),
        (
            "[heartbeat]\nsend_command = { run = [\"/bin/a\"] }",
            "line 3: heartbeat.send_command only goes with heartbeat.kind = \"message\": change the kind, or leave it out",
        ),
        (
            "[heartbeat]\nkind = \"message\"\nsend_command = { run = [\"/bin/a\"], stdin = \"${field:/1}\" }",
            "line 4: heartbeat.send_command.stdin has `${field:/1}`, which is of a message that came in: it goes in \
             [[script.step]], [[reply]], [[topics.rule]] and sequence.send only",
        ),
    ]);
    let right = "[[script.step]]\nexpect = \"a\"\ncapture = { c = \"/c\" }\n[[script.step]]\nsend_command = \
                 { run = [\"/bin/a\"], stdin = '{\"a\":${field:/1},\"b\":${last:/s},\"c\":\"${capture:c}\",\"d\":\
                 \"${connection_id}\",\"e\":${next_id}}', env = [\"A\"], timeout = \"1m\", binary = true }";
    assert_eq!(with(right).err(), None);
}

/// Runs `wsfan check --live` against a relay, with these arguments.
fn check(key: &str, args: &[&str]) -> (bool, String) {
    let (server, directory) = (Server::bind(), tempfile::tempdir().unwrap());
    let file = directory.path().join("wsfan.toml");
    fs::write(&file, relay(server.port(), directory.path(), key)).unwrap();
    let (port, is_dry) = (server.port(), args.contains(&"--dry"));
    let played = thread::spawn(move || {
        let mut connection = server.accept();
        match is_dry {
            true => connection.text(r#"["AUTH","c"]"#),
            false => drop(challenge(&mut connection, "c", port)),
        }
        connection.closed(); // pings are answered on the way
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_wsfan"));
    let output =
        command.args(["check", "--live", "-c"]).arg(&file).args(args).env("no_proxy", "*").output().unwrap();
    let shown = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    played.join().unwrap();
    assert!(!shown.contains("s3cr3t"), "{shown}");
    (output.status.success(), shown)
}

#[test]
fn a_check_runs_the_program_and_names_it() {
    let (well, shown) = check(KEY, &[]);
    let program =
        shown.lines().find(|line| line.contains("what /bin/sh ")).unwrap_or_else(|| panic!("{shown}"));
    assert!(well && program.contains("/sign.sh prints"), "{shown}");
    let named = shown.lines().position(|line| line.contains("runs      send_command: /bin/sh "));
    assert!(named < shown.lines().position(|line| line == program), "before it is run:\n{shown}");
    assert!(named.is_some(), "{shown}");
    let (well, shown) = check("s3cr3t-other", &[]);
    assert!(!well && shown.contains("restricted: what is this signature …"), "{shown}");
    let (well, shown) = check(KEY, &["--dry"]);
    assert!(well && !shown.contains("  runs  "), "{shown}");
    let left_out = shown.lines().find(|line| line.contains("left out")).unwrap_or_else(|| panic!("{shown}"));
    assert!(left_out.ends_with("what `send_command` prints isn't there, since it isn't run"), "{left_out}");
}
