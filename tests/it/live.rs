//! `wsfan check --live`: the real binary against real sockets on the loopback.

mod failures;
mod programs;
mod server;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde_json::Value;
use server::{Authority, Days, serve, serve_tls};
use tokio_tungstenite::tungstenite::{Message, WebSocket};

/// No wait in these tests is longer.
const DEADLINE: Duration = Duration::from_secs(30);

/// What must never be shown.
const SECRET: &str = "s3cr3t-\"quoted\"-token";

/// A finished check.
struct Done {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Done {
    /// The rows of a stage, without their indent.
    fn row(&self, stage: &str) -> String {
        let mut rows = self.out.lines().skip_while(|line| line.split_whitespace().nth(1) != Some(stage));
        let first = rows.next().unwrap_or_else(|| panic!("no row of {stage}:\n{}\n{}", self.out, self.err));
        let rest = rows.take_while(|line| line.starts_with("        "));
        [first].into_iter().chain(rest).map(str::trim).collect::<Vec<_>>().join("\n")
    }

    /// The objects of the JSON output.
    fn objects(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Runs `wsfan check --live` with these arguments.
fn check(args: &[&str]) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wsfan"));
    command.args(["check", "--live"]).args(args);
    // servers are on this machine, whatever proxy there is for others
    command.env_clear().env("XDG_RUNTIME_DIR", "/nonexistent").env("no_proxy", "*").env("TOKEN", SECRET);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    let output = receiver.recv_timeout(DEADLINE).expect("the check ends").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let done = Done { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) };
    let shown = format!("{}{}", done.out, done.err);
    assert!(!shown.contains("s3cr3t"), "a secret is shown:\n{shown}");
    assert!(!shown.contains('\u{1b}'), "no colours in a pipe:\n{shown}");
    done
}

/// The same with a config file.
fn check_config(config: &str, args: &[&str]) -> Done {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("wsfan.toml");
    fs::write(&file, config).unwrap();
    check(&[&["--config", file.to_str().unwrap()], args].concat())
}

fn tls_config(port: u16, ca_file: &Path) -> String {
    format!(
        "[upstream]\nurl = \"wss://localhost:{port}/feed?key=${{env:TOKEN}}\"\ntls = {{ ca_file = {ca_file:?} }}\n"
    )
}

const LOGIN: &str = r#"
headers = { Authorization = "Bearer ${env:TOKEN}" }
[[script.step]]
name = "log in"
send = '{"type":"auth","token":"${env:TOKEN}"}'
expect = { "/type" = "auth_ok" }
reject = { "/type" = "auth_invalid" }
capture = { session = "/session" }
timeout = "20s"
[[script.step]]
name = "resume"
if_captured = "nothing"
send = "resume"
[[script.step]]
name = "subscribe"
send = '{"type":"subscribe","session":"${capture:session}"}'
[[capture]]
match = { "/never" = true }
values = { nothing = "/never" }
[heartbeat]
kind = "message"
message = '{"type":"ping"}'
expect = { "/type" = "pong" }
timeout = "15s"
"#;

/// The next message of the client's.
fn text(socket: &mut WebSocket<impl std::io::Read + std::io::Write>) -> String {
    loop {
        match socket.read().unwrap() {
            Message::Text(text) => return text.to_string(),
            Message::Close(frame) => panic!("closed: {frame:?}"),
            _ => {}
        }
    }
}

#[test]
fn a_list_is_told_by_its_elements() {
    let server = serve(|socket| {
        socket.send(Message::text(r#"[{"type":"news"},{"type":"hello","id":7},{"type":"more"}]"#)).unwrap();
        let heard = text(socket);
        closed(socket);
        heard
    });
    let config = format!(
        "[upstream]\nurl = \"ws://127.0.0.1:{}/\"\nsplit = true\n[heartbeat]\nkind = \"off\"\n\
         [[script.step]]\nname = \"hello\"\nexpect = {{ \"/type\" = \"hello\" }}\ncapture = {{ id = \"/id\" }}\n\
         [[script.step]]\nname = \"join\"\nsend = 'join ${{capture:id}}'",
        server.port
    );
    let done = check_config(&config, &[]);
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
    assert_eq!(server.ended(), "join 7");
    assert!(!done.out.contains("[{"), "{}", done.out);
}

/// Plays a server that takes the login, and returns what came in and how it was closed.
fn play(socket: &mut WebSocket<impl std::io::Read + std::io::Write>) -> (Vec<String>, Option<u16>) {
    let mut heard = vec![text(socket)];
    let token = serde_json::to_string(SECRET).unwrap();
    socket.send(Message::text("{\"type\":\"notice\"}")).unwrap();
    let answer = format!("{{\"type\":\"auth_ok\",\"session\":\"abcd-efgh-1234\",\"token\":{token}}}");
    socket.send(Message::text(answer)).unwrap();
    heard.push(text(socket));
    heard.push(text(socket));
    socket.send(Message::text("{\"type\":\"pong\"}")).unwrap();
    let code = closed(socket);
    (heard, code)
}

/// Reads to the end, and returns the client's close code.
fn closed(socket: &mut WebSocket<impl std::io::Read + std::io::Write>) -> Option<u16> {
    let mut code = None;
    loop {
        match socket.read() {
            Ok(Message::Close(frame)) => code = frame.map(|frame| frame.code.into()),
            Ok(_) => {}
            Err(_) => return code,
        }
    }
}

/// Where a check of this config fails, and its sentence.
fn fails(config: &str, stage: &str, words: &[&str]) -> Done {
    let done = check_config(config, &[]);
    assert_eq!(done.code, Some(1), "{}\n{}", done.out, done.err);
    let (warnings, last) = match done.err.trim_end().rsplit_once('\n') {
        Some((warnings, last)) => (warnings, last),
        None => ("", done.err.as_str()),
    };
    assert!(last.starts_with("wsfan: ws"), "{}", done.err);
    assert!(warnings.lines().all(|line| line.starts_with("wsfan: warning: ")), "{}", done.err);
    assert!(done.err.contains(&format!(" fails at {stage}: ")), "{}", done.err);
    for words in words {
        assert!(done.err.contains(words), "{words:?} isn't in: {}", done.err);
    }
    assert!(done.out.lines().any(|line| line.trim_start().starts_with("failed")), "{}", done.out);
    done
}

fn plain(port: u16) -> String {
    format!("[upstream]\nurl = \"ws://127.0.0.1:{port}/\"\nconnect_timeout = \"25s\"\n")
}

#[test]
fn a_good_way_is_told_stage_by_stage() {
    let authority = Authority::new();
    let server = serve_tls(authority.acceptor(&format!("localhost,{SECRET}"), Days(90)), play);
    let done = check_config(&(tls_config(server.port, &authority.file()) + LOGIN), &[]);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""), "{}", done.out);
    let (heard, code) = server.ended();
    assert_eq!(
        heard[0],
        format!("{{\"type\":\"auth\",\"token\":{}}}", serde_json::to_string(SECRET).unwrap())
    );
    assert_eq!(heard[1], r#"{"type":"subscribe","session":"abcd-efgh-1234"}"#);
    assert_eq!((heard[2].as_str(), code), (r#"{"type":"ping"}"#, Some(1000)));
    assert!(
        done.row("prepare").contains(&format!("localhost:{}, with Authorization", server.port)),
        "{}",
        done.out
    );
    assert!(done.row("dns").contains("localhost is "), "{}", done.out);
    assert!(done.row("tcp").contains(&format!("127.0.0.1:{} answered", server.port)), "{}", done.out);
    let tls = done.row("tls");
    assert!(tls.starts_with("ok") && tls.contains("TLS 1.3, TLS13_"), "{tls}");
    assert!(tls.contains("a certificate for localhost, …\nby wsfan's tests; until "), "{tls}");
    assert!(tls.contains(", 89 days left") || tls.contains(", 90 days left"), "{tls}");
    assert!(done.row("http").contains("101, no subprotocol, no extensions"), "{}", done.out);
    let login = done.out.lines().skip_while(|line| !line.contains("log in   ")).take(2).collect::<String>();
    assert!(login.contains(r#"sent {"type":"auth","token":"${env:TOKEN}"}"#), "{login}");
    assert!(
        login.contains(r#"heard {"type":"auth_ok","session":"${capture:session}","token":"…"}"#),
        "{login}"
    );
    assert!(done.out.contains("left out  resume"), "{}", done.out);
    assert!(done.row("subscribe").contains(r#""session":"${capture:session}""#), "{}", done.out);
    assert!(done.row("heartbeat").contains("answered after "), "{}", done.out);
    assert!(done.row("close").contains("the server answered with 1000"), "{}", done.out);
    assert!(done.out.lines().last().unwrap().starts_with("  all well, in "), "{}", done.out);
}

#[test]
fn a_program_reads_an_object_for_each_stage_and_one_for_the_result() {
    let authority = Authority::new();
    let server = serve_tls(authority.acceptor("localhost", Days(5)), play);
    let done = check_config(&(tls_config(server.port, &authority.file()) + LOGIN), &["--json"]);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    let objects = done.objects();
    let stages: Vec<_> = objects.iter().map(|object| object["stage"].as_str().unwrap_or("")).collect();
    assert_eq!(
        stages,
        ["prepare", "dns", "tcp", "tls", "http", "step", "step", "step", "heartbeat", "close", ""]
    );
    assert!(objects.iter().all(|object| object["ok"] == true && object["ms"].is_number()), "{objects:?}");
    assert!(objects[..10].iter().all(|object| object["type"] == "stage"), "{objects:?}");
    assert_eq!(objects[0]["url"], format!("wss://localhost:{}/feed", server.port));
    assert_eq!(objects[3]["certificate"]["names"][0], "localhost");
    assert!((4..=5).contains(&objects[3]["certificate"]["days_left"].as_i64().unwrap()));
    assert_eq!((&objects[5]["name"], &objects[6]["skipped"]), (&"log in".into(), &true.into()));
    assert!(objects[8]["round_trip_ms"].is_number(), "{}", objects[8]);
    assert_eq!((&objects[9]["code"], &objects[10]["type"]), (&1000.into(), &"result".into()));
}

#[test]
fn a_proxy_has_a_row_of_its_own() {
    let proxied = |port| {
        format!(
            "[upstream]\nurl = \"ws://elsewhere.invalid/\"\nproxy = \"http://me:s3cr3t@127.0.0.1:{port}\"\n"
        )
    };
    let server = server::tunnel(|socket| while socket.read().is_ok() {});
    let done = check_config(&proxied(server.port), &[]);
    assert_eq!(done.code, Some(0), "{}", done.out);
    // what plain `check` warns of is told here as well
    let warning = "wsfan: warning: any user of this machine may read ";
    assert!(done.err.starts_with(warning) && done.err.contains("(upstream.proxy)"), "{}", done.err);
    let name = format!("the proxy http://127.0.0.1:{}", server.port);
    assert!(done.row("proxy").ends_with(&format!("a tunnel through {name}")), "{}", done.out);
    assert!(done.row("http").starts_with("ok"), "{}", done.out);

    let server = server::answer("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    fails(
        &proxied(server.port),
        "proxy",
        &["the proxy http://127.0.0.1", "check the proxy's address and login"],
    );
}

#[test]
fn what_is_only_sent_is_sent_before_the_close() {
    let script = "[heartbeat]\nkind = \"off\"\nidle_timeout = \"1m\"\n[[script.step]]\nsend = \"hello\"\n";
    let server = serve(|socket| {
        let heard = text(socket);
        while socket.read().is_ok() {}
        heard
    });
    let done = check_config(&(plain(server.port) + script), &[]);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""), "{}", done.out);
    assert_eq!(server.ended(), "hello");
    assert!(!done.out.contains("  heartbeat   "), "{}", done.out);
}

#[test]
fn each_of_several_servers_is_walked_to() {
    let good = serve(|socket| while socket.read().is_ok() {});
    let bad = server::answer("HTTP/1.1 403 Forbidden\r\n\r\n");
    let urls = [&bad.port, &good.port].map(|port| format!("ws://127.0.0.1:{port}/"));
    let done = check_config(&format!("[upstream]\nurl = {urls:?}\n"), &[]);
    assert_eq!(done.code, Some(1));
    assert!(
        done.err.starts_with(&format!("wsfan: {} fails at http: the server answered 403", urls[0])),
        "{}",
        done.err
    );
    assert!(done.out.contains("all well"), "{}", done.out);
}

#[test]
fn a_url_alone_is_walked_to() {
    let server = serve(|socket| while socket.read().is_ok() {});
    let url = format!("ws://127.0.0.1:{}/feed?key=s3cr3t", server.port);
    let done = check(&[&url]);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""), "{}", done.out);
    assert!(done.out.starts_with(&format!("ws://127.0.0.1:{}/feed\n", server.port)), "{}", done.out);
    assert!(done.row("dns").contains("an address already"), "{}", done.out);
    assert!(done.row("heartbeat").contains("a ping, answered after "), "{}", done.out);

    let done = check(&["http://127.0.0.1/"]);
    assert_eq!((done.code, done.out.as_str()), (Some(2), ""));
    assert!(done.err.contains("write ws://"), "{}", done.err);
    let done = check(&["--json", "http://me:s3cr3t@127.0.0.1/?s3cr3t"]);
    assert_eq!((done.code, done.err.as_str()), (Some(2), ""));
    assert_eq!(done.objects()[0]["file"], "http://127.0.0.1/");
}

#[test]
fn a_profile_alone_says_what_it_lacks() {
    let done = check(&["--profile", "nowhere"]);
    assert_eq!((done.code, done.out.as_str()), (Some(78), ""));
    assert!(done.err.contains("profile is \"nowhere\""), "{}", done.err);
    let done = check(&["--profile", "home-assistant"]);
    assert_eq!((done.code, done.out.as_str()), (Some(78), ""));
    assert!(done.err.contains("upstream.url is missing"), "{}", done.err);
}

#[test]
fn a_profile_walks_to_a_url() {
    let done = check(&["--profile", "home-assistant", "ws://127.0.0.1:1/"]);
    assert_eq!(done.code, Some(1), "{}", done.out);
    for part in ["fails at prepare", "step \"log in\" needs `${credential:token}`", "$CREDENTIALS_DIRECTORY"]
    {
        assert!(done.err.contains(part), "{part}: {}", done.err);
    }
    assert!(!done.out.contains("tcp"), "nobody is called in vain: {}", done.out);

    let server = serve(|socket| {
        socket.send(Message::text("{\"version\":\"1\",\"roles\":[\"main\"]}")).unwrap();
        while socket.read().is_ok() {}
    });
    let done = check(&["--profile", "signalk", &format!("ws://127.0.0.1:{}/", server.port)]);
    assert_eq!(done.code, Some(0), "{}\n{}", done.out, done.err);
    assert!(done.row("hello").contains("heard {\"version\""), "{}", done.out);
}

#[test]
fn a_config_that_is_not_right_is_not_walked() {
    let done = check_config("[upstream]\nurl = \"http://h/\"\n", &[]);
    assert_eq!((done.code, done.out.as_str()), (Some(78), ""));
    let done = check_config("[upstream]\nurl = \"http://h/\"\n", &["--json"]);
    assert_eq!((done.code, &done.objects()[0]["ok"]), (Some(78), &false.into()));
}
