//! No secret is shown: planted wherever a config can have one, repeated by a server in each way that it has,
//! and looked for in every output of the daemon and the commands.

use std::{
    fs,
    io::{Read, Write},
    path::Path,
    process::{Command, Stdio},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::json;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};

use crate::common::{Connection, Daemon, Server};

/// What is planted. Each has this in it, in whatever encoding: `s3cr3t`.
const SECRETS: [(&str, &str); 14] = [
    ("header", "s3cr3t/header\"one"),
    ("literal header", "s3cr3t-literal-header"),
    ("cookie", "s3cr3t-cookie"),
    ("user", "s3cr3t-user"),
    ("password", "s3cr3t:password&é"),
    ("query", "s3cr3t-query"),
    ("path", "s3cr3t path"),
    ("var", "s3cr3t\\var"),
    ("file", "s3cr3t-file\tx"),
    ("credential", "s3cr3t-credential"),
    ("env", "s3cr3t-env"),
    ("command", "s3cr3t-command"),
    ("capture", "s3cr3t-capture"),
    ("proxy", "s3cr3t@proxy"),
];

fn secret(name: &str) -> &'static str {
    SECRETS.iter().find(|(known, _)| *known == name).unwrap().1
}

/// A way to write a text.
type Encoding = fn(&str) -> String;

/// The ways in which a server may repeat a secret.
const ENCODINGS: [(&str, Encoding); 8] = [
    ("as it is", |text| text.to_owned()),
    ("JSON", escaped),
    ("JSON twice", |text| escaped(&escaped(text))),
    ("percent", |text| percent(text)),
    ("percent twice", |text| percent(&percent(text))),
    ("base64", |text| STANDARD.encode(text)),
    ("in the middle of base64", |text| URL_SAFE_NO_PAD.encode(format!("me:{text}!"))),
    ("hex", |text| text.bytes().map(|byte| format!("{byte:02x}")).collect()),
];

fn escaped(text: &str) -> String {
    let quoted = json!(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

fn percent(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encode = |byte: u8| if plain(byte) { (byte as char).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(encode).collect()
}

/// Fails if anything of a secret is in the text, however it is written.
fn look(what: &str, text: &str) {
    for (name, secret) in SECRETS {
        for (encoding, encode) in ENCODINGS {
            let piece = encode(secret);
            assert!(!text.contains(&piece), "{what} shows the {name}, {encoding}:\n{text}");
        }
    }
    // how each of them begins: in base64 after any number of bytes
    for piece in ["s3cr3t", "czNjcjN0", "MzY3IzdC", "zM2NyM3", "733363723374"] {
        assert!(!text.contains(piece), "{what} shows how a secret begins ({piece}):\n{text}");
    }
}

/// A config with a secret in each place that can have one.
fn config(port: u16, directory: &Path, rest: &str) -> String {
    for (file, name) in [("file", "file"), ("token", "header"), ("command", "command"), ("part", "path")] {
        fs::write(directory.join(file), secret(name)).unwrap();
    }
    let d = directory.display();
    let url = format!(
        "ws://{}:{}@127.0.0.1:{port}/feed/${{file:{d}/part}}?key={}",
        percent(secret("user")),
        percent(secret("password")),
        percent(secret("query"))
    );
    format!(
        "[upstream]\nurl = {url}\nconnect_timeout = \"10s\"\n\
         [upstream.headers]\nX-Token = \"Bearer ${{file:{d}/token}}\"\nX-Key = {literal}\nCookie = {cookie}\n\
         [command.sign]\nrun = [\"/bin/cat\", \"{d}/command\"]\n\
         [vars]\ntoken = {var}\n\
         [[script.step]]\nname = \"log in\"\n\
         send = '{{\"var\":\"${{var:token}}\",\"file\":\"${{file:{d}/file}}\",\"command\":\"${{command:sign}}\"}}'\n\
         expect = {{ \"/type\" = \"ok\" }}\nreject = {{ \"/type\" = \"refused\" }}\n\
         capture = {{ session = \"/session\" }}\n\
         [reconnect]\ninitial_delay = \"10ms\"\nmax_delay = \"20ms\"\n{rest}",
        url = json!(url),
        literal = json!(secret("literal header")),
        cookie = json!(format!("sid={}", secret("cookie"))),
        var = json!(secret("var")),
    )
}

/// What a server may repeat: each secret that it was told.
fn told() -> impl Iterator<Item = &'static str> {
    SECRETS
        .iter()
        .filter(|(name, _)| !["credential", "env", "proxy", "capture"].contains(name))
        .map(|(_, secret)| *secret)
}

/// Refuses an upgrade, and repeats everything in the status line, headers and body.
fn refusal(status: &str, encode: Encoding) -> String {
    // a header that isn't ASCII isn't looked at
    let all: Vec<_> = told().map(encode).filter(|text| text.is_ascii()).collect();
    let all = all.join(",");
    format!(
        "HTTP/1.1 {status} {all}\r\nLocation: http://u:{all}@127.0.0.1/{all}?{all}\r\nWWW-Authenticate: {all}\r\n\
         X-Echo: {all}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{all}",
        all.len()
    )
}

/// Takes the login and answers it.
fn logged_in(connection: &mut Connection) {
    let message = connection.message().into_text().unwrap();
    assert!(message.contains("s3cr3t"), "{message}");
    connection.text(&json!({"type": "ok", "session": secret("capture")}).to_string());
}

fn close(connection: &mut Connection, reason: &str) {
    let end = reason.floor_char_boundary(123);
    let frame = CloseFrame { code: CloseCode::Policy, reason: reason[..end].to_owned().into() };
    connection.socket.close(Some(frame)).unwrap();
    connection.closed();
}

/// One connection after another, with all that a hostile server can do; returns how many there were.
fn hostile(server: &Server) -> usize {
    let mut connections = 0;
    for (_, encode) in ENCODINGS {
        for status in ["301", "401", "407", "503"] {
            server.answer(&refusal(status, encode));
            connections += 1;
        }
        for secret in told().chain([secret("capture")]) {
            let mut refusing = server.accept();
            refusing.message();
            let all: Vec<_> = told().map(encode).collect();
            refusing.text(&json!({"type": "refused", "why": encode(secret), "all": all}).to_string());
            refusing.closed();
            drop(refusing);
            let mut closing = server.accept();
            logged_in(&mut closing);
            close(&mut closing, &format!("no: {}", encode(secret)));
            connections += 2;
        }
    }
    connections
}

#[test]
fn no_output_of_the_daemon_shows_a_secret_that_a_server_repeats() {
    for (level, format) in [("trace", "text"), ("info", "json")] {
        let server = Server::bind();
        let directory = tempfile::tempdir().unwrap();
        let rest = format!("[log]\nlevel = \"{level}\"\nformat = \"{format}\"\n");
        let config = config(server.port(), directory.path(), &rest);
        let mut daemon = Daemon::start(&config);
        let mut client = daemon.client();
        let connections = hostile(&server);
        // the last one stays, so that there is an end
        let mut last = server.accept();
        logged_in(&mut last);
        let mut lines = String::new();
        let mut ended = 0;
        while ended < connections {
            let line = client.text();
            let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
            // a message is the server's to its clients, and stays as it is
            if parsed["type"] != "message" {
                ended += usize::from(parsed["type"] == "link" && parsed["state"] == "waiting");
                lines += &line;
            }
        }
        assert!(lines.contains('…'), "{lines}");
        look("a link line", &lines);
        look("status", &client.status().to_string());
        for args in [&["status"][..], &["status", "--json"], &["tail", "-n", "200"]] {
            let output = Command::new(env!("CARGO_BIN_EXE_wsfan"))
                .args(args)
                .arg("--socket")
                .arg(daemon.socket())
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let text = [output.stdout, output.stderr].concat();
            // messages are the server's to its clients
            let text = String::from_utf8_lossy(&text).into_owned();
            let text: Vec<_> = text.lines().filter(|line| !line.contains("\"type\":\"message\"")).collect();
            assert!(!text.is_empty(), "{args:?}: {text:?}");
            look(&format!("{args:?}"), &text.join("\n"));
        }
        daemon.signal("TERM");
        last.closed();
        daemon.wait();
        let log = daemon.log();
        assert!(log.contains('…') && log.contains("policy violation"), "{log}");
        look("the log", &log);
    }
}

/// Runs `wsfan check` and returns all that it prints.
fn check(directory: &Path, config: &str, args: &[&str]) -> String {
    let file = directory.join("wsfan.toml");
    fs::write(&file, config).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_wsfan"))
        .args(["check", "--config"])
        .arg(&file)
        .args(args)
        .env("no_proxy", "*")
        .env("CREDENTIALS_DIRECTORY", directory)
        .env("PLANTED", secret("env"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

#[test]
fn check_shows_no_secret() {
    let server = Server::bind();
    let directory = tempfile::tempdir().unwrap();
    let config = config(server.port(), directory.path(), "");
    let shown = check(directory.path(), &config, &[]);
    assert!(shown.contains("ws://127.0.0.1:") && shown.contains(": OK"), "{shown}");
    look("check", &shown);
    look("check --json", &check(directory.path(), &config, &["--json"]));
    let shown = check(directory.path(), &config, &["--print"]);
    assert!(shown.contains("***") && shown.contains("${command:sign}"), "{shown}");
    look("check --print", &shown);
    // and with every value in a wrong place
    let (before, after) = config.split_once("[upstream.headers]").unwrap();
    let broken = format!("{before}subprotocols = {}\n[upstream.headers]{after}", json!([secret("header")]));
    let shown = check(directory.path(), &broken.replace("[reconnect]", "[reconnect"), &[]);
    assert!(!shown.contains(": OK"), "{shown}");
    look("check of a broken file", &shown);
}

#[test]
fn check_live_shows_no_secret_that_a_server_repeats() {
    let server = Server::bind();
    let directory = tempfile::tempdir().unwrap();
    let config = config(server.port(), directory.path(), "");
    let run = |args: &[&str], play: &dyn Fn()| {
        let shown = std::thread::scope(|scope| {
            let checking = scope.spawn(|| check(directory.path(), &config, args));
            play();
            checking.join().unwrap()
        });
        assert!(shown.contains('…'), "{shown}");
        look("check --live", &shown);
    };
    for (_, encode) in ENCODINGS {
        for args in [&["--live"][..], &["--live", "--json"]] {
            run(args, &|| server.answer(&refusal("302", encode)));
            run(args, &|| {
                let mut connection = server.accept();
                connection.message();
                let all: Vec<_> = told().map(encode).collect();
                connection.text(&json!({"type": "refused", "all": all.join(" ")}).to_string());
                connection.closed();
            });
            run(args, &|| {
                let mut connection = server.accept();
                connection.message();
                close(&mut connection, &format!("no: {}", encode(secret("header"))));
            });
        }
    }
}

#[test]
fn a_proxy_that_repeats_its_login_and_a_program_that_repeats_its_input_are_not_quoted() {
    let server = Server::bind();
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path().display();
    fs::write(directory.path().join("token"), secret("file")).unwrap();
    let proxy = format!("http://me:{}@127.0.0.1:{}", percent(secret("proxy")), server.port());
    let config = format!("[upstream]\nurl = \"ws://example.invalid/\"\nproxy = {}\n", json!(proxy));
    for args in [&[][..], &["--print"]] {
        look("check", &check(directory.path(), &config, args));
    }
    for (_, encode) in ENCODINGS {
        for place in ["Proxy-Authenticate", "Location"] {
            let shown = std::thread::scope(|scope| {
                let checking = scope.spawn(|| check(directory.path(), &config, &["--live"]));
                let mut stream = server.accept_tcp();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut piece = [0; 1024];
                    let length = stream.read(&mut piece).unwrap();
                    request.extend_from_slice(&piece[..length]);
                }
                let login = STANDARD.encode(format!("me:{}", secret("proxy")));
                assert!(String::from_utf8_lossy(&request).contains(&login));
                let said = format!("{} {login}", encode(secret("proxy")));
                let answer = format!("HTTP/1.1 200 {said}\r\n\r\n");
                // a tunnel, and at its end the proxy plays the server
                stream.write_all(answer.as_bytes()).unwrap();
                let answer = format!(
                    "HTTP/1.1 307 {said}\r\n{place}: {said}\r\nLocation: http://h/{login}/{said}\r\n\r\n{said}"
                );
                stream.write_all(answer.as_bytes()).unwrap();
                drop(stream);
                checking.join().unwrap()
            });
            look("check --live through a proxy", &shown);
            let login = STANDARD.encode(format!("me:{}", secret("proxy")));
            assert!(!shown.contains(&login[..12]), "{shown}");
        }
    }
    let script = "read -r line; printf 'bad token: %s\\n' \"$line\" >&2; exit 1";
    let config = format!(
        "[upstream]\nurl_command = {{ run = [\"/bin/sh\", \"-c\", {}], stdin = \"x ${{file:{d}/token}}\" }}\n",
        json!(script)
    );
    let shown = check(directory.path(), &config, &["--live"]);
    assert!(shown.contains("bad token: "), "{shown}");
    look("what a program says", &shown);
}

#[test]
fn what_a_program_is_let_know_of_the_environment_is_not_shown() {
    let server = Server::bind();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("printed");
    let run = json!(["/bin/cat", file]);
    for (_, encode) in ENCODINGS {
        let said = format!("no: {}", encode(secret("env")));
        fs::write(&file, json!({"ok": false, "error": said}).to_string()).unwrap();
        for rest in ["", ", reject = { \"/ok\" = false }"] {
            let config = format!("[upstream]\nurl_command = {{ run = {run}, env = [\"PLANTED\"]{rest} }}\n");
            let shown = check(directory.path(), &config, &["--live"]);
            assert!(shown.contains("no: …"), "{shown}");
            look("check --live", &shown);
        }
        let config = format!(
            "[upstream]\nurl = \"ws://127.0.0.1:{}/\"\n[command.sign]\nrun = {run}\nenv = [\"PLANTED\"]\n\
             [[script.step]]\nsend = '{{\"a\":\"${{command:sign/ok}}\"}}'\nexpect = \"never\"\n",
            server.port()
        );
        let shown = std::thread::scope(|scope| {
            let checking = scope.spawn(|| check(directory.path(), &config, &["--live"]));
            close(&mut server.accept(), &said);
            checking.join().unwrap()
        });
        assert!(shown.contains("no: …"), "{shown}");
        look("check --live", &shown);
    }
}

#[test]
fn what_comes_from_credentials_and_the_environment_is_not_shown() {
    let server = Server::bind();
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("planted"), secret("credential")).unwrap();
    let config = format!(
        "[upstream]\nurl = \"ws://127.0.0.1:{}/${{env:PLANTED}}\"\n\
         headers = {{ X-Token = \"${{credential:planted}}\" }}\n",
        server.port()
    );
    for (_, encode) in ENCODINGS {
        let shown = std::thread::scope(|scope| {
            let checking = scope.spawn(|| check(directory.path(), &config, &["--live"]));
            let mut connection = server.accept();
            assert!(connection.path.contains(secret("env")), "{}", connection.path);
            let header = ("x-token".to_owned(), secret("credential").to_owned());
            assert!(connection.headers.contains(&header), "{:?}", connection.headers);
            close(&mut connection, &[secret("env"), secret("credential")].map(encode).join(" "));
            checking.join().unwrap()
        });
        assert!(shown.contains("… …"), "{shown}");
        look("check --live", &shown);
    }
}

#[test]
fn a_url_that_a_program_prints_is_not_shown() {
    let server = Server::bind();
    let directory = tempfile::tempdir().unwrap();
    let printed = json!({
        "url": format!("ws://127.0.0.1:{}/{}?ticket={}", server.port(), secret("command"), secret("query")),
        "headers": {"X-Ticket": secret("literal header")},
    });
    fs::write(directory.path().join("printed"), printed.to_string()).unwrap();
    let file = directory.path().join("printed").display().to_string();
    let config = format!("[upstream]\nurl_command = {{ run = {} }}\n", json!(["/bin/cat", file]));
    for (_, encode) in ENCODINGS {
        let shown = std::thread::scope(|scope| {
            let checking = scope.spawn(|| check(directory.path(), &config, &["--live"]));
            server.answer(&refusal("301", encode));
            checking.join().unwrap()
        });
        for name in ["command", "query", "literal header"] {
            assert!(!shown.contains(&encode(secret(name))), "{name}: {shown}");
        }
    }
}
