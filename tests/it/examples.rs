//! `examples/`: each one against the real daemon and a server, through all that it promises: it goes on where it was,
//! hears of what it missed, asks anew then, and outlives restarts of the link and of the daemon.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Instant,
};

use serde_json::{Value, json};

use crate::common::{Client, Connection, DEADLINE, Daemon, Server};

const TERMS: &str = "[topics]\npointer = \"/t\"\nlinger = \"0s\"\nsubscribe = '{\"sub\":[${topics}]}'\n\
                     unsubscribe = '{\"unsub\":[${topics}]}'\n[requests]\nid = \"/id\"\n[history]\nmax_bytes = \"64KiB\"\n";

/// How a program keeps its place.
#[derive(Clone, Copy, PartialEq)]
enum Keeps {
    /// In a file, by epoch and seq.
    File,
    /// Under this name, at the daemon's.
    Name(&'static str),
}

/// A running example, with all that it started.
struct Program {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Program {
    fn start(command: &[&str], daemon: &Daemon, keeps: Keeps) -> Program {
        let place = daemon.path().join("place");
        let place = match keeps {
            Keeps::File => place.to_str().unwrap(),
            Keeps::Name(name) => name,
        };
        Program::run(command, &[daemon.socket().to_str().unwrap(), "btc", "{\"ask\":\"price\"}", place])
    }

    fn run(command: &[&str], arguments: &[&str]) -> Program {
        let mut child = Command::new(command[0])
            .args(&command[1..])
            .args(arguments)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Program { child, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(DEADLINE).expect("the example says nothing")
    }

    /// The next line that begins so, past others; what stands behind that.
    fn until(&self, kind: &str) -> String {
        loop {
            if let Some(rest) = self.line().strip_prefix(kind) {
                return rest.trim().to_owned();
            }
        }
    }

    fn message(&self) -> Value {
        serde_json::from_str(&self.until("message ")).unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.child.wait();
    }
}

/// Hears so many of each, in any order, and answers what is asked.
fn serve(upstream: &mut Connection, mut subscriptions: usize, mut asks: usize) {
    while subscriptions + asks > 0 {
        let heard: Value = serde_json::from_str(upstream.message().to_text().unwrap()).unwrap();
        match &heard["ask"] {
            Value::Null => {
                assert_eq!(heard, json!({"sub": ["btc"]}));
                subscriptions -= 1;
            }
            _ => {
                upstream.text(&json!({"id": heard["id"], "price": 42}).to_string());
                asks = asks.saturating_sub(1);
            }
        }
    }
}

fn say(upstream: &mut Connection, topic: &str, n: u64) {
    upstream.text(&json!({"t": topic, "n": n}).to_string());
}

/// Ends a program, once it has kept its place after this entry; the server hears that nobody wants the topic.
fn end(program: Program, daemon: &Daemon, keeps: Keeps, seq: &Value, upstream: &mut Connection) {
    let (mut witness, end) = (daemon.client(), Instant::now() + DEADLINE);
    let text = format!(" {seq}");
    let has_kept = |witness: &mut Client| match keeps {
        Keeps::File => {
            let kept = fs::read_to_string(daemon.path().join("place")).unwrap_or_default();
            kept.trim_end_matches('}').ends_with(&text)
        }
        Keeps::Name(name) => {
            let status = witness.status();
            let mut rows = status["clients"].as_array().unwrap().iter();
            rows.any(|row| row["name"] == name && row["acknowledged"] == *seq)
        }
    };
    while !has_kept(&mut witness) {
        assert!(Instant::now() < end, "the place isn't kept: {}", witness.status());
    }
    drop(program);
    assert_eq!(upstream.message().to_text().unwrap(), "{\"unsub\":[\"btc\"]}");
}

fn holds_what_it_promises(command: &[&str], keeps: Keeps) {
    let server = Server::bind();
    let config = server.config() + TERMS;
    let daemon = Daemon::start(&config);
    let mut upstream = server.accept();
    let mut witness = daemon.client();
    if witness.hello["link"] != "up" {
        witness.link("up");
    }
    // it subscribes and asks
    let program = Program::start(command, &daemon, keeps);
    serve(&mut upstream, 1, 1);
    let answer: Value = serde_json::from_str(&program.until("answer ")).unwrap();
    assert_eq!(answer["price"], 42);
    for (topic, n) in [("btc", 1), ("eth", 2), ("btc", 3)] {
        say(&mut upstream, topic, n);
    }
    assert_eq!((program.message()["n"].clone(), program.message()["n"].clone()), (json!(1), json!(3)));
    let last = witness.until(|line| line["json"]["n"] == 3)["seq"].clone();
    end(program, &daemon, keeps, &last, &mut upstream);

    // what it missed comes first
    for (topic, n) in [("btc", 4), ("eth", 5), ("btc", 6)] {
        say(&mut upstream, topic, n);
    }
    let last = witness.until(|line| line["json"]["n"] == 6)["seq"].clone();
    let program = Program::start(command, &daemon, keeps);
    assert_eq!((program.message()["n"].clone(), program.message()["n"].clone()), (json!(4), json!(6)));
    serve(&mut upstream, 1, 1);
    end(program, &daemon, keeps, &last, &mut upstream);

    // and what can't be had any more is told, and asked for anew
    for n in 7..300 {
        upstream.text(&json!({"t": "eth", "n": n, "filling": "x".repeat(1000)}).to_string());
    }
    say(&mut upstream, "btc", 300);
    witness.until(|line| line["json"]["n"] == 300);
    let program = Program::start(command, &daemon, keeps);
    let gap = program.until("gap ");
    assert!(gap.ends_with(" expired") && gap.starts_with(|c: char| c.is_ascii_digit()), "{gap}");
    assert_eq!(program.message()["n"], 300);
    serve(&mut upstream, 1, 2);

    // the link falls: the topic comes back by itself, and the program asks
    upstream.drop_tcp();
    let mut upstream = server.accept();
    serve(&mut upstream, 1, 1);
    say(&mut upstream, "btc", 301);
    assert_eq!(program.message()["n"], 301);

    // the daemon ends without a word, and is started again
    let directory = daemon.kill();
    let mut daemon = Daemon::spawn_in(directory, &config);
    daemon.notified("READY=1");
    let mut upstream = server.accept();
    match keeps {
        Keeps::File => assert!(program.until("gap ").ends_with(" epoch")),
        Keeps::Name(_) => drop(program.until("new")),
    }
    serve(&mut upstream, 1, 1);
    say(&mut upstream, "btc", 302);
    assert_eq!(program.message()["n"], 302);
}

/// Where an example lies.
fn path(name: &str) -> String {
    format!("{}/examples/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Fails where a program is missing that an example needs.
fn needs(programs: &[(&str, &str)], name: &str) {
    for (program, package) in programs {
        let found = std::env::var_os("PATH").is_some_and(|path| {
            std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
        });
        assert!(
            found,
            "{program} is missing, which examples/{name} needs: install Debian's package {package}, or run \
             `.ci/run examples`, which does"
        );
    }
}

#[test]
fn rust() {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--example", "follow"])
        .args((!cfg!(debug_assertions)).then_some("--release"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(built.success());
    let binary = Path::new(env!("CARGO_BIN_EXE_wsfan")).with_file_name("examples").join("follow");
    holds_what_it_promises(&[binary.to_str().unwrap()], Keeps::File);
}

#[test]
#[ignore = "needs python3: .ci/run examples"]
fn python() {
    needs(&[("python3", "python3")], "follow.py");
    holds_what_it_promises(&["python3", &path("follow.py")], Keeps::File);
}

#[test]
#[ignore = "needs node: .ci/run examples"]
fn node() {
    needs(&[("node", "nodejs")], "follow.mjs");
    holds_what_it_promises(&["node", &path("follow.mjs")], Keeps::Name("board"));
}

#[test]
#[ignore = "needs socat and jq: .ci/run examples"]
fn shell() {
    needs(&[("bash", "bash"), ("socat", "socat"), ("jq", "jq")], "follow.sh");
    holds_what_it_promises(&["bash", &path("follow.sh")], Keeps::Name("board"));
}

/// A public and a private stream, each with a daemon of its own: what is lost of one is never taken for whole.
#[test]
#[ignore = "needs python3: .ci/run examples"]
fn two_streams() {
    needs(&[("python3", "python3")], "both.py");
    let servers = [Server::bind(), Server::bind()];
    let public = Daemon::start(&servers[0].config());
    let config = servers[1].config() + "[requests]\nid = \"/id\"\nerror = { \"/bad\" = true }\n";
    let private = Daemon::start(&config);
    let [mut prices, mut orders] = [servers[0].accept(), servers[1].accept()];
    let sockets = [&public, &private].map(|daemon| daemon.socket().to_str().unwrap().to_owned());
    let program =
        Program::run(&["python3", &path("both.py")], &[&sockets[0], &sockets[1], "{\"ask\":\"orders\"}"]);
    let answer = |orders: &mut Connection, bad: bool| {
        let heard: Value = serde_json::from_str(orders.message().to_text().unwrap()).unwrap();
        assert_eq!(heard["ask"], "orders");
        orders.text(&json!({"id": heard["id"], "bad": bad}).to_string());
    };
    // a refusal is no answer: it is asked again
    answer(&mut orders, true);
    program.until("refused ");
    answer(&mut orders, false);
    program.until("orders ");
    program.until("ready");
    say(&mut prices, "btc", 1);
    assert_eq!(program.line(), "public {\"n\": 1, \"t\": \"btc\"}");
    say(&mut orders, "fill", 2);
    assert_eq!(program.line(), "private {\"n\": 2, \"t\": \"fill\"}");

    // the private link falls: the public one goes on, and the orders are asked for once more
    orders.drop_tcp();
    assert_eq!(program.line(), "wait private");
    say(&mut prices, "btc", 3);
    assert_eq!(program.line(), "public {\"n\": 3, \"t\": \"btc\"}");
    let mut orders = servers[1].accept();
    assert_eq!(program.line(), "wait orders");
    answer(&mut orders, false);
    assert!(program.line().starts_with("orders "));
    assert_eq!(program.line(), "ready");

    // the public one falls
    prices.drop_tcp();
    assert_eq!(program.line(), "wait public");
    let mut prices = servers[0].accept();
    assert_eq!(program.line(), "ready");

    // a daemon is killed, and started again
    let directory = private.kill();
    assert_eq!(program.line(), "wait private");
    let mut daemon = Daemon::spawn_in(directory, &config);
    daemon.notified("READY=1");
    let mut orders = servers[1].accept();
    answer(&mut orders, false);
    program.until("ready");
    say(&mut prices, "btc", 4);
    assert_eq!(program.line(), "public {\"n\": 4, \"t\": \"btc\"}");
}

#[test]
fn they_are_short() {
    let mut count = 0;
    for file in fs::read_dir(path("")).unwrap().map(|entry| entry.unwrap().path()) {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines < 80, "{} has {lines} lines", file.display());
        count += 1;
    }
    assert_eq!(count, 5, "each with a test");
}
