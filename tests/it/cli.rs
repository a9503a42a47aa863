//! The command line as a person or a script meets it: the real binary, against a small fake daemon
//! that speaks the local protocol.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

mod requests;
mod topics;

/// No wait in these tests is longer.
const DEADLINE: Duration = Duration::from_secs(30);

const HELLO: &str = r#"{"type":"hello","protocol":1,"server":"wsfan/0.1.0","epoch":"9f2c51d0","seq":3,"oldest":2,"link":"up","client":7,"max_line":1000}"#;
const STATUS: &str = r#"{"type":"status","id":1,"server":"wsfan/0.1.0","pid":12,"uptime_s":5,"epoch":"9f2c51d0","link":{"state":"up","since_us":1,"conn":3,"url":"wss://host/path"},"log":{"seq":3,"oldest":2}}"#;

/// A finished command.
struct Done {
    code: Option<i32>,
    out: String,
    err: String,
}

/// The binary, without anything of the environment that could change what it does.
fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wsfan"));
    command.args(args).env_clear().env("XDG_RUNTIME_DIR", "/nonexistent");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn finish(child: Child) -> Done {
    let (id, (sender, receiver)) = (child.id(), mpsc::channel());
    thread::spawn(move || sender.send(child.wait_with_output()));
    let Ok(output) = receiver.recv_timeout(DEADLINE) else { panic!("process {id} doesn't end") };
    let output = output.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Done { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn run(args: &[&str]) -> Done {
    run_with(args, b"")
}

fn run_with(args: &[&str], stdin: &[u8]) -> Done {
    let mut child = command(args).spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(stdin); // who doesn't read it, doesn't
    finish(child)
}

/// A daemon for one client, which does as the test says.
struct Fake {
    dir: tempfile::TempDir,
    socket: PathBuf,
    thread: JoinHandle<()>,
}

/// The daemon's end of a connection.
struct Peer {
    lines: BufReader<UnixStream>,
}

/// The next client of a listener.
fn accept(listener: &UnixListener) -> Peer {
    let (listener, (sender, receiver)) = (listener.try_clone().unwrap(), mpsc::channel());
    thread::spawn(move || sender.send(listener.accept()));
    let stream = receiver.recv_timeout(DEADLINE).expect("nobody connects").unwrap().0;
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    Peer { lines: BufReader::new(stream) }
}

impl Fake {
    fn new(play: impl FnOnce(&mut Peer) + Send + 'static) -> Fake {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("wsfan.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let thread = thread::spawn(move || play(&mut accept(&listener)));
        Fake { dir, socket, thread }
    }

    /// The same for two clients, one after the other.
    fn twice(play: impl Fn(&mut Peer) + Send + 'static) -> Fake {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("wsfan.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let thread = thread::spawn(move || (0..2).for_each(|_| play(&mut accept(&listener))));
        Fake { dir, socket, thread }
    }

    /// Runs `wsfan COMMAND --socket … ARGS` against it.
    fn run(self, args: &[&str], stdin: &[u8]) -> Done {
        let socket = self.socket.to_str().unwrap().to_owned();
        let all: Vec<&str> = [&args[..1], &["--socket", &socket], &args[1..]].concat();
        let done = run_with(&all, stdin);
        if done.code != Some(2) {
            self.thread.join().unwrap_or_else(|_| panic!("the fake daemon failed; {}", done.err));
        }
        done
    }
}

impl Peer {
    fn say(&mut self, line: &str) {
        // a client that has enough may be gone; what it made of the lines is looked at there
        let _ = self.lines.get_mut().write_all(format!("{line}\n").as_bytes());
    }

    fn say_all(&mut self, lines: &[&str]) {
        lines.iter().for_each(|line| self.say(line));
    }

    fn hear(&mut self, expected: &str) {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), expected);
    }

    /// Waits until the client hangs up.
    fn end(&mut self) {
        let mut rest = Vec::new();
        let _ = self.lines.read_to_end(&mut rest); // a reset is an end too
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }
}

fn write(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn check_warns_of_what_this_machine_has_not() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("wsfan.toml");
    let listener = "[[listener]]\npath = \"/nowhere/at/all/s\"\ngroup = \"no-such-group\"\n";
    std::fs::write(&file, format!("[upstream]\nurl = \"ws://a/\"\n{listener}")).unwrap();
    let run = |json: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_wsfan"))
            .args(["check", "--config"])
            .arg(&file)
            .args(json)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "it may be meant for another machine");
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap())
    };
    let [out, error] = run(&[]);
    assert!(out.contains(": OK"), "{out}");
    for part in ["warning: ", "no group \"no-such-group\"", "directory /nowhere/at/all"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let [out, _] = run(&["--json"]);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&report["ok"], report["warnings"].as_array().unwrap().len()), (&true.into(), 2), "{report}");
}

#[test]
fn usage_errors_are_2() {
    for args in [
        &[][..],
        &["fly"],
        &["tail", "--socket", "/a", "--config", "/b"],
        &["tail", "--since", "yesterday"],
        &["tail", "--raw", "--pretty"],
        &["send", "--timeout", "10", "x"],
        &["send", "--lines", "x"],
        &["completions", "nosh"],
    ] {
        let done = run(args);
        assert_eq!(done.code, Some(2), "{args:?}: {}", done.err);
        assert!(done.out.is_empty() && !done.err.is_empty(), "{args:?}");
    }
}

#[test]
fn what_was_meant_is_said() {
    for (args, code, said) in [
        (&["run", "wsfan.toml"][..], 2, "--config wsfan.toml"),
        (&["check", "wss://h/"], 2, "add --live"),
        (
            &["check", "--live", "127.0.0.1:80"],
            2,
            "wsfan: the URL is \"127.0.0.1:80\", which is not a WebSocket URL",
        ),
        (
            &["run", "--config", "/nowhere/nope.toml"],
            78,
            "there is no config at /nowhere/nope.toml: write one",
        ),
    ] {
        let done = run(args);
        assert_eq!(done.code, Some(code), "{args:?}: {}", done.err);
        assert!(done.err.contains(said), "{args:?}: {}", done.err);
    }
    let directory = tempfile::tempdir().unwrap();
    let bad = write(directory.path(), "bad.toml", "[upstream]\nurl = 1\nx = 2\n");
    let done = run(&["reload", "--config", &bad]);
    assert_eq!(done.code, Some(78), "{}", done.err);
    assert!(done.err.lines().all(|line| line.starts_with("wsfan: ")), "{}", done.err);
    assert!(done.err.ends_with("nothing is reloaded: the old config stays in force\n"), "{}", done.err);
}

#[test]
fn version_help_completions_and_man_are_on_stdout() {
    assert_eq!(run(&["--version"]).out, format!("wsfan {}\n", env!("CARGO_PKG_VERSION")));
    assert!(run(&["--help"]).out.contains("Examples:"));
    assert!(run(&["tail", "--help"]).out.contains("--since"));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let done = run(&["completions", shell]);
        assert_eq!(done.code, Some(0));
        assert!(done.out.contains("reconnect"), "{shell}");
    }
    let man = run(&["man"]).out;
    for part in [
        ".TH wsfan 1",
        ".SH \"WSFAN TAIL\"",
        ".SH \"WSFAN RECONNECT\"",
        "since",
        "Exit codes",
        ".SH FILES",
        ".SH ENVIRONMENT",
        "[\\fB\\-c\\fR|\\fB\\-\\-config\\fR \\fIFILE\\fR]",
    ] {
        assert!(man.contains(part), "{part} is not in\n{man}");
    }
}

#[test]
fn check_says_what_a_config_means_or_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let good = write(dir.path(), "good.toml", "upstream.url = \"wss://example.com/feed\"\n");
    let done = run(&["check", "--config", &good]);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    assert!(done.out.starts_with(&format!("{good}: OK\n")), "{}", done.out);
    for part in ["wss://example.com/feed", "ping", "30s", "wsfan.sock", "receive, send"] {
        assert!(done.out.contains(part), "{part} is not in {}", done.out);
    }
    assert!(run(&["check", "--json", "--config", &good]).out.contains(r#""ok":true"#));

    for command in ["check", "run"] {
        let done = run(&[command, "-i", "no-such-instance"]);
        assert!(
            done.code == Some(78) && done.err.contains("/etc/wsfan/no-such-instance.toml"),
            "{}",
            done.err
        );
        assert_eq!(run(&[command, "-i", "a", "-c", &good]).code, Some(2), "{command}");
    }

    let text = "[upstream]\nurl = \"wss://h/\"\n[rotate]\nafter = \"1h\"\nwhen = { \"/op\" = 7 }\ndedupe = \"/id\"\n\
                [limits]\nmessages = [\"20/1s\"]\nexcess = \"refuse\"\n[sequence]\npointer = \"/n\"\n";
    let done = run(&["check", "--config", &write(dir.path(), "terms.toml", text)]);
    for part in [
        "rotate     after 1h or on /op = 7, with both connections for at most 5s; what comes twice is known by /id",
        "limits     messages 20/1s, what is too many is refused",
        "sequence   the server's count is /n; a hole is declared",
    ] {
        assert!(done.out.contains(part), "{part} is not in {}", done.out);
    }

    let behind = "[upstream]\nurl = \"wss://h/\"\nproxy = \"http://me:SECRET@proxy:3128\"\n";
    let done = run(&["check", "--config", &write(dir.path(), "proxy.toml", behind)]);
    assert!(done.out.contains("http://proxy:3128") && !done.out.contains("SECRET"), "{}", done.out);

    let text =
        "[upstream]\nurl = \"wss://example.com/feed\"\n[heartbeat]\nintervall = \"3s\"\nkind = \"x\"\n";
    let bad = write(dir.path(), "bad.toml", text);
    let done = run(&["check", "--config", &bad]);
    assert_eq!((done.code, done.out.as_str()), (Some(78), ""));
    assert_eq!(done.err.lines().count(), 2, "{}", done.err);
    assert!(done.err.contains(&format!("{bad}:4: ")), "{}", done.err);
    let done = run(&["check", "--json", "--config", &bad]);
    assert_eq!(done.code, Some(78));
    assert!(done.out.contains(r#""ok":false"#) && done.out.contains(r#""line":5"#), "{}", done.out);

    for command in ["check", "run", "status"] {
        let done = run(&[command, "--config", "/nonexistent.toml"]);
        assert_eq!(done.code, Some(78), "{command}");
        assert!(done.err.contains("/nonexistent.toml"), "{}", done.err);
    }
    assert_eq!(run(&["run", "--config", &bad]).code, Some(78));
}

#[test]
fn check_prints_the_config_with_its_profile_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let text = "profile = \"discord\"\nvars.intents = 1\n[upstream.headers]\nX-Token = \"hunter2\"\n\
                Cookie = \"${env:NO_SUCH_COOKIE}\"\n";
    let file = write(dir.path(), "bot.toml", text);
    let done = run(&["check", "--print", "-c", &file]);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    assert!(done.out.starts_with(&format!("# {file}, with the profile discord below it\n")), "{}", done.out);
    assert!(!done.out.contains("hunter2") && !done.out.contains("profile ="), "{}", done.out);
    for part in ["intents = 1\n", "\"${env:NO_SUCH_COOKIE}\"", "\"${credential:token}\"", "[[script.step]]"] {
        assert!(done.out.contains(part), "{part} is not in {}", done.out);
    }
    let printed = write(dir.path(), "printed.toml", &done.out);
    assert_eq!(run(&["check", "-c", &printed]).code, Some(0), "it is a config that is right");

    let done = run(&["check", "--print", "--profile", "okx"]);
    assert!(done.code == Some(0) && done.out.starts_with("# okx\n"), "{}{}", done.out, done.err);

    let bad = write(dir.path(), "bad.toml", "profile = \"discord\"\n[upstream]\nurll = 1\n");
    let (plain, print) = (run(&["check", "-c", &bad]), run(&["check", "--print", "-c", &bad]));
    assert_eq!((print.code, print.out.as_str(), &print.err), (Some(78), "", &plain.err));
    let done = run(&["check", "--print", "-i", "no-such-instance"]);
    assert!(done.code == Some(78) && done.err.contains("/etc/wsfan/no-such-instance.toml"), "{}", done.err);
    let done = run(&["check", "--print", "--live", "-c", &file]);
    assert_eq!((done.code, done.err.lines().count()), (Some(2), 1), "{}", done.err);
}

#[test]
fn no_daemon_is_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("wsfan.sock");
    for command in ["tail", "status", "reconnect", "open", "close"] {
        let done = run(&[command, "--socket", socket.to_str().unwrap()]);
        assert_eq!((done.code, done.out.as_str()), (Some(1), ""), "{command}");
        assert_eq!(done.err.lines().count(), 1, "{}", done.err);
        assert!(done.err.contains("no such socket") && done.err.contains("wsfan run"), "{}", done.err);
    }
    drop(UnixListener::bind(&socket).unwrap()); // leaves its file
    let done = run(&["status", "--socket", socket.to_str().unwrap()]);
    assert!(done.err.contains("nobody listens"), "{}", done.err);
}

#[test]
fn what_is_no_daemon_is_told() {
    let raw = Fake::new(|peer| {
        peer.say("{\"price\":1}");
        peer.end();
    });
    let done = raw.run(&["tail"], b"");
    assert!(done.code == Some(1) && done.err.contains("format = \"envelope\""), "{}", done.err);
    let done = Fake::new(|_| {}).run(&["status"], b"");
    assert!(done.code == Some(1) && done.err.contains("closed the connection"), "{}", done.err);
    let full =
        Fake::new(|peer| peer.say(r#"{"type":"error","code":"too_many_clients","message":"it is full"}"#));
    assert_eq!(full.run(&["status"], b"").err, "wsfan: it is full (too_many_clients)\n");
    for command in ["tail", "status", "reconnect"] {
        let done = Fake::new(Peer::end).run(&[command], b"");
        assert!(done.code == Some(1) && done.err.contains("probably"), "{}", done.err);
    }
}

#[test]
fn the_socket_is_found() {
    // asked twice: whether it runs the config, and what the command is for
    let by_config = Fake::twice(|peer| {
        peer.say(HELLO);
        peer.hear(r#"{"op":"status","id":1}"#);
        peer.say(STATUS);
    });
    let text = format!(
        "upstream.url = \"ws://h/\"\n[[listener]]\npath = {raw:?}\nformat = \"raw\"\n[[listener]]\npath = {path:?}\n",
        raw = by_config.dir.path().join("raw.sock"),
        path = by_config.socket,
    );
    let config = write(by_config.dir.path(), "wsfan.toml", &text);
    let done = run(&["status", "--json", "--config", &config]);
    assert_eq!(done.out, format!("{STATUS}\n"));
    assert!(done.err.contains("doesn't say which config it runs"), "{}", done.err);
    by_config.thread.join().unwrap();

    let by_variable = Fake::new(|peer| peer.say(HELLO));
    let child = command(&["tail", "--json"]).env("WSFAN_SOCKET", &by_variable.socket).spawn().unwrap();
    assert_eq!(finish(child).out, format!("{HELLO}\n"));
}

#[test]
fn status_is_for_people_too() {
    let done = Fake::new(|peer| {
        peer.say(HELLO);
        peer.hear(r#"{"op":"status","id":1}"#);
        peer.say(r#"{"type":"message","seq":4,"time_us":1,"json":{"type":"status","id":1}}"#);
        peer.say(r#"{"type":"ok","id":"1","result":"somebody else's"}"#);
        peer.say(STATUS);
    })
    .run(&["status"], b"");
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    assert!(done.out.starts_with("link       up for "), "{}", done.out);
    assert!(done.out.contains("wss://host/path") && !done.out.contains('\u{1b}'), "{}", done.out);
}

#[test]
fn status_up_is_for_scripts() {
    const DOWN: &str = r#"{"type":"status","id":1,"link":{"state":"waiting","since_us":1,"attempt":2,"last_end":{"error":"refused"}},"log":{"seq":3,"oldest":2}}"#;
    for (status, code, said) in
        [(STATUS, 0, "the link is up, connection 3\n"), (DOWN, 1, "the link is waiting")]
    {
        let done = Fake::new(move |peer| {
            peer.say(HELLO);
            peer.hear(r#"{"op":"status","id":1}"#);
            peer.say(status);
        })
        .run(&["status", "--up"], b"");
        assert_eq!(done.code, Some(code), "{}", done.err);
        assert!(
            if code == 0 { done.out == said } else { done.err.contains(said) },
            "{}{}",
            done.out,
            done.err
        );
    }
    assert_eq!(run(&["status", "--within", "1s"]).code, Some(2));
}

#[test]
fn status_up_waits_for_the_daemon_and_then_for_the_link() {
    let down = |id: u64| format!(r#"{{"type":"status","id":{id},"link":{{"state":"waiting"}},"log":{{}}}}"#);
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("wsfan.sock");
    let command = |within: &str| {
        command(&["status", "--up", "--within", within, "--socket", socket.to_str().unwrap()])
            .spawn()
            .unwrap()
    };
    let waiting = command("30s");
    let listener = UnixListener::bind(&socket).unwrap();
    let mut peer = accept(&listener);
    peer.say(HELLO);
    peer.hear(r#"{"op":"attach","id":1}"#);
    peer.say(r#"{"type":"ok","id":1,"result":"attached","seq":3}"#);
    peer.hear(r#"{"op":"status","id":2}"#);
    peer.say(&down(2));
    peer.say_all(&[FIRST, r#"{"type":"link","seq":6,"time_us":1,"state":"connecting"}"#, LINK]);
    // asked, and not guessed: it may have fallen again
    peer.hear(r#"{"op":"status","id":3}"#);
    peer.say(&STATUS.replace("\"id\":1", "\"id\":3"));
    let done = finish(waiting);
    assert_eq!((done.code, done.out.as_str()), (Some(0), "the link is up, connection 3\n"), "{}", done.err);

    let waiting = command("300ms");
    let mut peer = accept(&listener);
    peer.say(HELLO);
    peer.hear(r#"{"op":"attach","id":1}"#);
    peer.say(r#"{"type":"ok","id":1,"result":"attached","seq":3}"#);
    peer.hear(r#"{"op":"status","id":2}"#);
    peer.say(&down(2));
    let done = finish(waiting);
    assert_eq!(done.code, Some(1));
    assert!(done.err.contains("the link is waiting"), "{}", done.err);

    let waiting = command("30s");
    let mut peer = accept(&listener);
    peer.say(HELLO);
    peer.hear(r#"{"op":"attach","id":1}"#);
    peer.say(r#"{"type":"error","id":1,"code":"forbidden","message":"no receive"}"#);
    // who may not read the link's lines asks until it is up
    for id in 2..=3 {
        peer.hear(&format!(r#"{{"op":"status","id":{id}}}"#));
        peer.say(&down(id));
    }
    peer.hear(r#"{"op":"status","id":4}"#);
    peer.say(&STATUS.replace("\"id\":1", "\"id\":4"));
    let done = finish(waiting);
    assert_eq!((done.code, done.out.as_str()), (Some(0), "the link is up, connection 3\n"), "{}", done.err);
}

const LINK: &str = r#"{"type":"link","seq":4,"time_us":1,"state":"up","conn":1,"attempt":0}"#;
const FIRST: &str = r#"{"type":"message","seq":5,"time_us":2,"json":{"n":12345678901234567890, "a":1}}"#;
const GAP: &str = r#"{"type":"gap","from":6,"to":8,"count":3,"why":"slow_client"}"#;
const SECOND: &str = r#"{"type":"message","seq":9,"time_us":3,"text":"plain"}"#;
const BYE: &str = r#"{"type":"bye","why":"shutdown"}"#;

fn feed() -> Fake {
    Fake::new(|peer| peer.say_all(&[HELLO, LINK, FIRST, GAP, SECOND, BYE]))
}

#[test]
fn tail_gives_the_lines_as_they_come() {
    let done = feed().run(&["tail"], b"");
    assert_eq!(done.out, [HELLO, LINK, FIRST, GAP, SECOND, BYE, ""].join("\n"));
    assert_eq!(done.code, Some(0));
    assert!(done.err.contains("bye (shutdown)"), "{}", done.err);

    let done = feed().run(&["tail", "--raw"], b"");
    assert_eq!(done.out, "{\"n\":12345678901234567890, \"a\":1}\nplain\n");
    assert!(done.err.contains("3 entries lost"), "{}", done.err);

    let done = feed().run(&["tail", "--pretty"], b"");
    assert!(done.out.contains(" GAP  3 entries lost") && !done.out.contains('\u{1b}'), "{}", done.out);
    assert!(!done.out.contains("bye") && done.err.contains("bye (shutdown)"), "{}", done.out);

    let done = feed().run(&["tail", "--messages", "1"], b"");
    assert_eq!((done.code, done.out), (Some(0), [HELLO, LINK, FIRST, ""].join("\n")));
}

#[test]
fn tail_ends_as_the_connection_does() {
    let done = Fake::new(|peer| peer.say(HELLO)).run(&["tail"], b"");
    assert_eq!((done.code, done.out), (Some(1), format!("{HELLO}\n")));
    let cut = Fake::new(|peer| peer.say_all(&[HELLO, r#"{"type":"bye","why":"slow_client"}"#]));
    let done = cut.run(&["tail"], b"");
    assert!(done.code == Some(1) && done.err.contains("slow_client"), "{}", done.err);
}

#[test]
fn tail_attaches_and_leaves_out_what_came_before() {
    for (since, asked) in [("oldest", 1), ("9f2c51d0:41823", 41823)] {
        let done = Fake::new(move |peer| {
            peer.say(HELLO);
            peer.hear(&format!(r#"{{"op":"attach","id":1,"since":{{"epoch":"9f2c51d0","seq":{asked}}}}}"#));
            peer.say_all(&[SECOND, r#"{"type":"ok","id":1,"result":"attached","seq":1}"#, FIRST]);
        })
        .run(&["tail", "-m1", "--since", since], b"");
        assert_eq!((done.code, done.out), (Some(0), [HELLO, FIRST, ""].join("\n")));
    }
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let fake = Fake::new(|peer| {
        peer.say(HELLO);
        while peer.lines.get_mut().write_all(format!("{FIRST}\n").as_bytes()).is_ok() {}
    });
    let mut child = command(&["tail", "--socket", fake.socket.to_str().unwrap()]).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, format!("{HELLO}\n"));
    let done = finish(child); // its stdout is closed now
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    fake.thread.join().unwrap();
}

#[test]
fn a_full_disk_is_told() {
    for args in [&["--json", "-m", "1"][..], &["--pretty", "-m", "1"], &["--raw", "-m", "1"], &["--json"]] {
        let fake = feed();
        let mut tail = command(&["tail", "--socket", fake.socket.to_str().unwrap()]);
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let done = finish(tail.args(args).stdout(full).spawn().unwrap());
        assert_eq!(done.code, Some(1), "{args:?}");
        assert!(done.err.contains("stdout can't be written: No space left"), "{args:?}: {}", done.err);
        fake.thread.join().unwrap();
    }
}

const NEW_HELLO: &str = r#"{"type":"hello","protocol":1,"server":"wsfan/0.1.0","epoch":"00c0ffee","seq":2,"oldest":1,"link":"up","client":1,"max_line":1000}"#;
const NEW_LINK: &str = r#"{"type":"link","seq":1,"time_us":1,"state":"up","conn":1,"attempt":0}"#;
const NEW_GAP: &str = r#"{"type":"gap","from":1,"to":0,"count":0,"why":"epoch"}"#;
const NEW_MESSAGE: &str = r#"{"type":"message","seq":2,"time_us":3,"json":2}"#;

#[test]
fn tail_survives_restarts_of_the_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("wsfan.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let mut tail = command(&["tail", "--retry", "-m", "3", "--socket", socket.to_str().unwrap()]);
    let mut tail = tail.spawn().unwrap();
    let mut said = BufReader::new(tail.stderr.take().unwrap());
    let mut sentence = String::new();

    let mut peer = accept(&listener);
    fs::remove_file(&socket).unwrap();
    drop(listener);
    peer.say_all(&[HELLO, LINK, FIRST, GAP, BYE]);
    drop(peer);
    said.read_line(&mut sentence).unwrap();
    assert!(sentence.contains("bye (shutdown); dialling again"), "{sentence}");

    // a new life, which ends without a word
    let listener = UnixListener::bind(&socket).unwrap();
    let mut peer = accept(&listener);
    peer.say(NEW_HELLO);
    peer.hear(r#"{"op":"attach","id":1,"since":{"epoch":"9f2c51d0","seq":8}}"#);
    peer.say_all(&[r#"{"type":"ok","id":1,"result":"attached","seq":0}"#, NEW_GAP, NEW_LINK]);
    drop(peer);
    // and again, to one that turns us away at first
    accept(&listener).say(r#"{"type":"error","code":"too_many_clients","message":"it is full"}"#);
    let mut peer = accept(&listener);
    peer.say(NEW_HELLO);
    peer.hear(r#"{"op":"attach","id":1,"since":{"epoch":"00c0ffee","seq":1}}"#);
    peer.say_all(&[r#"{"type":"ok","id":1,"result":"attached","seq":1}"#, NEW_MESSAGE, SECOND]);
    peer.end();

    let done = finish(tail);
    let lives =
        [HELLO, LINK, FIRST, GAP, BYE, NEW_HELLO, NEW_GAP, NEW_LINK, NEW_HELLO, NEW_MESSAGE, SECOND, ""];
    assert_eq!((done.code, done.out), (Some(0), lives.join("\n")));
}

#[test]
fn tail_does_not_retry_in_vain() {
    let done = Fake::new(|peer| peer.say_all(&[HELLO, r#"{"type":"bye","why":"bad_client"}"#]));
    let done = done.run(&["tail", "--retry"], b"");
    assert!(done.code == Some(1) && done.err.contains("bad_client"), "{}", done.err);
}

#[test]
fn tail_with_retry_waits_for_a_daemon_that_is_not_there_yet() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("wsfan.sock");
    let mut tail =
        command(&["tail", "--retry", "-m", "1", "--socket", socket.to_str().unwrap()]).spawn().unwrap();
    let mut said = BufReader::new(tail.stderr.take().unwrap());
    let mut sentence = String::new();
    said.read_line(&mut sentence).unwrap();
    assert!(sentence.contains("no such socket") && sentence.contains("dialling until"), "{sentence}");
    let listener = UnixListener::bind(&socket).unwrap();
    accept(&listener).say_all(&[HELLO, FIRST]);
    let done = finish(tail);
    assert_eq!((done.code, done.out), (Some(0), [HELLO, FIRST, ""].join("\n")));
}

const LAST_HELLO: &str = r#"{"type":"hello","protocol":1,"server":"wsfan/0.1.0","epoch":"9f2c51d0","seq":40,"oldest":2,"link":"up","client":7,"max_line":1000}"#;

/// Entries 2 to 40 of a log, of which those in `messages` are messages.
fn entries(messages: &[u64]) -> Vec<String> {
    let entry = |seq: u64| match messages.contains(&seq) {
        true => format!(r#"{{"type":"message","seq":{seq},"time_us":{seq},"json":{seq}}}"#),
        false => format!(r#"{{"type":"link","seq":{seq},"time_us":{seq},"state":"up","conn":1}}"#),
    };
    (2..=40).map(entry).collect()
}

/// A daemon with these entries, which gives what is asked for.
fn log(entries: Vec<String>, asked: &'static [u64], more: &'static [&'static str]) -> Fake {
    Fake::new(move |peer| {
        peer.say(LAST_HELLO);
        for (id, after) in asked.iter().enumerate() {
            let id = id + 1;
            peer.hear(&format!(
                r#"{{"op":"attach","id":{id},"since":{{"epoch":"9f2c51d0","seq":{after}}}}}"#
            ));
            peer.say(&format!(r#"{{"type":"ok","id":{id},"result":"attached","seq":{after}}}"#));
            entries.iter().skip(*after as usize - 1).for_each(|line| peer.say(line));
        }
        peer.say_all(more);
        peer.end();
    })
}

#[test]
fn the_last_messages_are_shown_and_no_more() {
    let all: Vec<u64> = (2..=40).collect();
    let shown = |lines: &[String]| [&[LAST_HELLO.to_owned()], lines, &[String::new()]].concat().join("\n");
    let done = log(entries(&all), &[22], &[]).run(&["tail", "-n", "2"], b"");
    assert_eq!((done.code, done.out), (Some(0), shown(&entries(&all)[37..])));
    // few among many other entries: it is looked further back
    let few = entries(&[3, 4, 9]);
    let done = log(few.clone(), &[22, 1], &[]).run(&["tail", "-n", "2"], b"");
    assert_eq!((done.code, done.out), (Some(0), shown(&few[2..])));
    // fewer than are asked for: what there is
    let done = log(few.clone(), &[19, 1], &[]).run(&["tail", "-n", "5"], b"");
    assert_eq!((done.code, done.out), (Some(0), shown(&few)));
    // and on with what comes
    let next = r#"{"type":"message","seq":41,"time_us":41,"json":41}"#;
    let done = log(entries(&all), &[23, 40], &[r#"{"type":"message","seq":41,"time_us":41,"json":41}"#]);
    let done = done.run(&["tail", "-n", "1", "--follow", "-m", "2"], b"");
    assert_eq!((done.code, done.out), (Some(0), shown(&[entries(&all)[38].clone(), next.to_owned()])));
    for args in [&["tail", "-n", "1", "--since", "5m"][..], &["tail", "--follow"]] {
        assert_eq!(run(args).code, Some(2), "{args:?}");
    }
}

#[test]
fn tail_begins_so_long_ago() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as u64;
    let at = |seq: u64, ago_s: u64| {
        format!(r#"{{"type":"message","seq":{seq},"time_us":{},"json":1}}"#, now - ago_s * 1_000_000)
    };
    let lines = [at(2, 900), at(3, 301), at(4, 200), at(5, 0)];
    let expected = [HELLO, &lines[2], &lines[3], ""].join("\n");
    let done = Fake::new(move |peer| {
        peer.say(HELLO);
        peer.hear(r#"{"op":"attach","id":1,"since":{"epoch":"9f2c51d0","seq":1}}"#);
        peer.say(r#"{"type":"ok","id":1,"result":"attached","seq":1}"#);
        lines.iter().for_each(|line| peer.say(line));
        peer.end();
    })
    .run(&["tail", "--since", "5m", "-m", "2"], b"");
    assert_eq!((done.code, done.out), (Some(0), expected));
}

/// A daemon that expects one request and gives these replies.
fn asked(request: &'static str, replies: &'static [&'static str]) -> Fake {
    Fake::new(move |peer| {
        peer.say(HELLO);
        peer.hear(request);
        peer.say(FIRST);
        peer.say_all(replies);
        peer.end();
    })
}

#[test]
fn send_tells_the_fate() {
    const OK: &str = r#"{"type":"ok","id":1,"result":"written"}"#;
    const QUEUED: &str = r#"{"type":"ok","id":1,"result":"queued"}"#;
    const EXPIRED: &str = r#"{"type":"error","id":1,"code":"expired","message":"too late"}"#;
    const UNKNOWN: &str = r#"{"type":"error","id":1,"code":"unknown","message":"gone"}"#;
    let json = r#"{"op":"send","id":1,"json":{"a": 1.10}}"#;
    let text = r#"{"op":"send","id":1,"text":"hello"}"#;
    let binary = r#"{"op":"send","id":1,"binary":"AAEC"}"#;
    for (request, replies, args, stdin, code, said) in [
        (json, &[OK][..], &["send", "{\"a\": 1.10}"][..], &b""[..], 0, "written"),
        (json, &[OK], &["send"], b"{\"a\": 1.10}\n", 0, "written"),
        (text, &[OK], &["send", "-"], b"hello\n", 0, "written"),
        (text, &[OK], &["send", "--json", "hello"], b"", 0, OK),
        (binary, &[OK], &["send", "--binary"], b"\x00\x01\x02", 0, "written"),
        (text, &[QUEUED], &["send", "hello"], b"", 3, "queued"),
        (text, &[QUEUED, OK], &["send", "--wait", "hello"], b"", 0, "written"),
        (text, &[QUEUED, EXPIRED], &["send", "--wait", "hello"], b"", 1, "not sent: too late (expired)"),
        (text, &[UNKNOWN], &["send", "hello"], b"", 3, "perhaps sent: gone (unknown)"),
        (text, &[BYE], &["send", "hello"], b"", 3, "said bye (shutdown)"),
        (text, &[], &["send", "--timeout", "50ms", "hello"], b"", 3, "didn't say in time"),
        (text, &[QUEUED], &["send", "--wait", "--timeout", "50ms", "hello"], b"", 3, "didn't say in time"),
    ] {
        let done = asked(request, replies).run(args, stdin);
        assert_eq!(done.code, Some(code), "{args:?}: {}", done.err);
        let said_where = if code == 0 { &done.out } else { &done.err };
        assert!(said_where.contains(said), "{args:?}: {said_where}");
    }
}

#[test]
fn send_refuses_what_cannot_be_sent() {
    let too_long = "x".repeat(1000);
    for (args, stdin, said) in [
        (&["send"][..], &b""[..], "stdin is empty"),
        (&["send"], b"\xff", "--binary"),
        (&["send", &too_long], b"", "max_line"),
    ] {
        let fake = Fake::new(|peer| peer.say(HELLO));
        let socket = fake.socket.to_str().unwrap().to_owned();
        let done = run_with(&[&args[..1], &["--socket", &socket], &args[1..]].concat(), stdin);
        assert_eq!(done.code, Some(1));
        assert!(done.err.contains(said), "{}", done.err);
    }
}

#[test]
fn send_lines_as_they_come() {
    let play = |second: &'static str| {
        Fake::new(move |peer| {
            peer.say(HELLO);
            peer.hear(r#"{"op":"send","id":1,"json":1}"#);
            peer.say(r#"{"type":"ok","id":1,"result":"written"}"#);
            peer.hear(r#"{"op":"send","id":2,"text":"two"}"#);
            peer.say(second);
            peer.end();
        })
    };
    let done = play(r#"{"type":"ok","id":2,"result":"queued"}"#).run(&["send", "--lines"], b"1\n\ntwo\n");
    assert_eq!((done.code, done.out.as_str()), (Some(3), "1 message written, 1 queued\n"));
    let error = r#"{"type":"error","id":2,"code":"link_down","message":"the link is waiting"}"#;
    let done = play(error).run(&["send", "--lines"], b"1\n\ntwo\nthree\n");
    assert_eq!(done.code, Some(1));
    assert!(done.err.contains("line 3: not sent: the link is waiting (link_down)"), "{}", done.err);
    assert!(done.err.contains("`--from-line 3` goes on there"), "{}", done.err);
    // what may have gone isn't offered again
    let error = r#"{"type":"error","id":2,"code":"unknown","message":"gone"}"#;
    let done = play(error).run(&["send", "--lines"], b"1\n\ntwo\nthree\n");
    assert_eq!(done.code, Some(3));
    assert!(
        done.err.contains("line 3: perhaps sent") && done.err.contains("`--from-line 4`"),
        "{}",
        done.err
    );
}

#[test]
fn send_lines_goes_on_where_it_is_told_to() {
    let fake = Fake::new(|peer| {
        peer.say(HELLO);
        peer.hear(r#"{"op":"send","id":1,"text":"two"}"#);
        peer.say(r#"{"type":"ok","id":1,"result":"written"}"#);
        peer.end();
    });
    let done = fake.run(&["send", "--lines", "--from-line", "3"], b"1\n\ntwo\n");
    assert_eq!((done.code, done.out.as_str()), (Some(0), "1 message written\n"));
    for args in [&["send", "--lines", "--from-line", "0"][..], &["send", "--from-line", "2", "x"]] {
        assert_eq!(run(args).code, Some(2), "{args:?}");
    }
}

#[test]
fn send_waits_with_retry_and_sends_nothing_twice() {
    const WRITTEN: &str = r#"{"type":"ok","id":1,"result":"written"}"#;
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("wsfan.sock");
    let mut send = command(&["send", "--lines", "--retry", "--socket", socket.to_str().unwrap()]);
    let mut send = send.spawn().unwrap();
    send.stdin.take().unwrap().write_all(b"1\n2\n3\n").unwrap();
    let mut said = BufReader::new(send.stderr.take().unwrap());
    let mut sentence = String::new();
    said.read_line(&mut sentence).unwrap();
    assert!(sentence.contains("no such socket") && sentence.contains("trying"), "{sentence}");

    // the daemon comes, and its link later; then it goes
    let listener = UnixListener::bind(&socket).unwrap();
    let mut peer = accept(&listener);
    peer.say(HELLO);
    peer.hear(r#"{"op":"send","id":1,"json":1}"#);
    peer.say(r#"{"type":"error","id":1,"code":"link_down","message":"the link is waiting"}"#);
    peer.hear(r#"{"op":"send","id":2,"json":1}"#);
    peer.say(r#"{"type":"ok","id":2,"result":"written"}"#);
    peer.hear(r#"{"op":"send","id":3,"json":2}"#);
    peer.say(r#"{"type":"ok","id":3,"result":"written"}"#);
    peer.hear(r#"{"op":"send","id":4,"json":3}"#);
    drop(peer);
    // whether the third went can't be known
    let done = finish(send);
    assert_eq!(done.code, Some(3));
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("line 3: perhaps sent") && rest.contains("2 messages written before it"), "{rest}");

    // one that ends before it is asked has had nothing
    let mut send = command(&["send", "--retry", "--socket", socket.to_str().unwrap(), "3"]).spawn().unwrap();
    accept(&listener).say(r#"{"type":"error","code":"too_many_clients","message":"it is full"}"#);
    let mut peer = accept(&listener);
    peer.say(HELLO);
    peer.hear(r#"{"op":"send","id":1,"json":3}"#);
    peer.say(WRITTEN);
    drop(send.stdin.take());
    assert_eq!(finish(send).code, Some(0));
}

#[test]
fn the_link_is_moved() {
    const ACCEPTED: &str = r#"{"type":"ok","id":1,"result":"accepted"}"#;
    const FORBIDDEN: &str = r#"{"type":"error","id":1,"code":"forbidden","message":"no control"}"#;
    for (op, request) in [
        ("reconnect", r#"{"op":"reconnect","id":1}"#),
        ("open", r#"{"op":"open","id":1}"#),
        ("close", r#"{"op":"close","id":1}"#),
    ] {
        let done = asked(request, &[ACCEPTED]).run(&[op], b"");
        assert_eq!(done.code, Some(0));
        assert!(done.out.starts_with("accepted"), "{}", done.out);
        let done = asked(request, &[FORBIDDEN]).run(&[op], b"");
        assert_eq!(
            (done.code, done.err),
            (Some(1), format!("wsfan: {op} refused: no control (forbidden)\n"))
        );
    }
}

#[test]
fn a_reconnect_is_waited_for() {
    for (last, code, said) in [
        (
            r#"{"type":"link","seq":6,"time_us":1,"state":"up","conn":4}"#,
            0,
            "the link is up, with connection 4",
        ),
        (
            r#"{"type":"link","seq":6,"time_us":1,"state":"failed","conn":3,"http_status":503}"#,
            69,
            "HTTP 503",
        ),
        (BYE, 1, "said bye"),
    ] {
        let done = Fake::new(move |peer| {
            peer.say(HELLO);
            peer.hear(r#"{"op":"status","id":1}"#);
            peer.say(STATUS);
            peer.hear(r#"{"op":"reconnect","id":2}"#);
            peer.say(r#"{"type":"link","seq":2,"time_us":1,"state":"up","conn":4}"#); // from before
            peer.say(r#"{"type":"ok","id":2,"result":"accepted"}"#);
            peer.say(r#"{"type":"link","seq":5,"time_us":1,"state":"waiting","conn":3,"code":1006}"#);
            peer.say(last);
        })
        .run(&["reconnect", "--wait"], b"");
        assert_eq!(done.code, Some(code), "{}", done.err);
        assert!(format!("{}{}", done.out, done.err).contains(said), "{} {}", done.out, done.err);
    }
}

#[test]
fn the_demo_tells_its_story_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    // it is interrupted as soon as all is told, however long that takes here
    let mut child = command(&["demo", "--duration", "2m"]).env("TMPDIR", dir.path()).spawn().unwrap();
    let (out, (sender, lines)) = (BufReader::new(child.stdout.take().unwrap()), mpsc::channel());
    thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let parts = [
        "[upstream]",
        "wsfan tail",
        "tells the sleeper what it missed",
        "link up",
        "drops the connection",
        "back after",
    ];
    let (mut told, end) = (String::new(), Instant::now() + 2 * DEADLINE);
    while !parts.iter().all(|part| told.contains(part)) {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => told += &(line + "\n"),
            Err(error) => panic!("{error}: not all of {parts:?} is in\n{told}"),
        }
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let done = finish(child);
    told.extend(lines.iter().map(|line| line + "\n"));
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""), "{told}");
    assert!(told.contains("none is missing"), "{told}");
    assert!(!told.contains('\u{1b}'));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn the_demo_ends_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let done = finish(command(&["demo", "--duration", "1s"]).env("TMPDIR", dir.path()).spawn().unwrap());
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""), "{}", done.out);
    assert!(done.out.contains("The daemon's ledger before the stop"), "{}", done.out);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
