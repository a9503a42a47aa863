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
    time::Duration,
};

mod requests;
mod send;
mod status;
mod tail;
mod topics;

/// No wait in these tests is longer.
const DEADLINE: Duration = Duration::from_secs(30);

const HELLO: &str = r#"{"type":"hello","protocol":1,"server":"wsfan/0.1.0","epoch":"9f2c51d0","seq":3,"oldest":2,"link":"up","client":7,"max_line":1000}"#;
const STATUS: &str = r#"{"type":"status","id":1,"server":"wsfan/0.1.0","pid":12,"uptime_s":5,"epoch":"9f2c51d0","link":{"state":"up","since_us":1,"conn":3,"url":"wss://host/path"},"log":{"seq":3,"oldest":2}}"#;
const LINK: &str = r#"{"type":"link","seq":4,"time_us":1,"state":"up","conn":1,"attempt":0}"#;
const FIRST: &str = r#"{"type":"message","seq":5,"time_us":2,"json":{"n":12345678901234567890, "a":1}}"#;
const GAP: &str = r#"{"type":"gap","from":6,"to":8,"count":3,"why":"slow_client"}"#;
const SECOND: &str = r#"{"type":"message","seq":9,"time_us":3,"text":"plain"}"#;
const BYE: &str = r#"{"type":"bye","why":"shutdown"}"#;

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

/// One that Ctrl-C ends, also where the tests run in the background of a script, which ignores it.
fn interruptible(args: &[&str]) -> Command {
    let mut command = Command::new("/usr/bin/env");
    command.args(["--default-signal=INT", env!("CARGO_BIN_EXE_wsfan")]).args(args);
    command.env_clear().env("XDG_RUNTIME_DIR", "/nonexistent");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn finish(child: Child) -> Done {
    finish_within(child, DEADLINE)
}

fn finish_within(child: Child, deadline: Duration) -> Done {
    let (id, (sender, receiver)) = (child.id(), mpsc::channel());
    thread::spawn(move || sender.send(child.wait_with_output()));
    let Ok(output) = receiver.recv_timeout(deadline) else { panic!("process {id} doesn't end") };
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

fn feed() -> Fake {
    Fake::new(|peer| peer.say_all(&[HELLO, LINK, FIRST, GAP, SECOND, BYE]))
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

    let text = "[upstream]\nurl = \"wss://h/\"\n[heartbeat]\nkind = \"message\"\nmessage = \"beat\"\ntimeout = \"off\"\n\
                idle_timeout = \"${capture:i} + 5s\"\n[[capture]]\nmatch = \"i\"\nvalues = { i = \"/i\" }\n[rotate]\nafter = \"1h\"\nwhen = { \"/op\" = 7 }\ndedupe = \"/id\"\n\
                [limits]\nmessages = [\"20/1s\"]\nexcess = \"refuse\"\n[sequence]\npointer = \"/n\"\nfrom = \"/a\"\nfirst.match = { \"/t\" = 1 }\n";
    let done = run(&["check", "--config", &write(dir.path(), "terms.toml", text)]);
    for part in [
        "rotate     after 1h or on /op = 7, with both connections for at most 5s; what comes twice is known by /id",
        "heartbeat  beat each 30s, which nothing answers; dead when nothing comes for ${capture:i} + 5s",
        "limits     messages 20/1s, what is too many is refused",
        "sequence   the server's count is /n, from /a on, begun at /n of /t = 1; a hole is declared",
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
fn configs_to_begin_with_are_printed() {
    let done = run(&["config"]);
    assert_eq!((done.code, done.out.as_str()), (Some(0), include_str!("../../config/wsfan.toml")));
    let done = run(&["check", "--list-profiles"]);
    let mut rows = done.out.lines();
    assert!(
        rows.any(|row| row.starts_with("okx ") && row.ends_with(" OKX: WebSocket API v5")),
        "{}",
        done.out
    );
    let done = run(&["config", "--profile", "okx"]);
    assert_eq!(done.out, include_str!("../../config/profiles/okx.toml"));
    let done = run(&["config", "--profile", "okex"]);
    assert_eq!((done.code, done.out.as_str()), (Some(2), ""));
    assert!(
        done.err.contains("there is no profile \"okex\": there are actioncable, binance, "),
        "{}",
        done.err
    );
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
    let child = command(&["demo", "--duration", "1s"]).env("TMPDIR", dir.path()).spawn().unwrap();
    // on a busy machine it goes on until all is told
    let done = finish_within(child, 6 * DEADLINE);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""), "{}", done.out);
    let told = done.out.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "[upstream]",
        "wsfan tail",
        "tells the sleeper what it missed",
        "link up",
        "drops the connection",
        "back after",
        "answers the next attempt with 503",
        "wakes now",
        "with the new token",
        "only the heartbeat can tell",
        "none is missing",
    ] {
        assert!(told.contains(part), "{part} is not in\n{}", done.out);
    }
    assert!(!done.out.contains('\u{1b}'));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
