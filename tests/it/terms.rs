//! The real daemon speaks as its configuration says: scripts, replies, captures, counts, rules.

use crate::common::{Connection, Daemon, Server};

use std::fs;

use serde_json::{Value, json};

/// The next message as JSON.
fn heard(connection: &mut Connection) -> Value {
    let message = connection.message();
    serde_json::from_str(message.to_text().unwrap()).unwrap()
}

fn say(connection: &mut Connection, message: &Value) {
    connection.text(&message.to_string());
}

const LOGIN: &str = r#"
[[script.step]]
name = "log in"
send = '{"op":"login","token":"${file:TOKEN}","id":${next_id}}'
expect = { "/op" = "welcome" }
reject = { "/op" = "refused" }
capture = { session = "/session" }
on_fail = "stop"
publish = false

[[script.step]]
name = "subscribe"
send = '{"op":"subscribe","session":${capture:session},"id":${next_id}}'
"#;

fn with_token(config: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    fs::write(&token, "s\"cret\n").unwrap();
    (directory, config.replace("TOKEN", token.to_str().unwrap()))
}

#[test]
fn the_link_is_up_once_the_script_is_done_and_not_before() {
    let server = Server::bind();
    let (_directory, login) = with_token(LOGIN);
    let daemon = Daemon::start(&(server.config() + &login));
    let mut client = daemon.client();
    let mut upstream = server.accept();
    assert_eq!(heard(&mut upstream), json!({"op": "login", "token": "s\"cret", "id": 1}));
    assert_eq!(client.status()["link"]["state"], "connecting");
    let refused = client.request(json!({"op": "send", "text": "too soon"}));
    assert_eq!(refused["code"], "link_down");
    say(&mut upstream, &json!({"op": "news"}));
    say(&mut upstream, &json!({"op": "welcome", "session": [1, "two"]}));
    assert_eq!(heard(&mut upstream), json!({"op": "subscribe", "session": [1, "two"], "id": 2}));
    say(&mut upstream, &json!({"op": "data"}));
    let before = client.until(|line| line["type"] == "message");
    assert_eq!(before["json"]["op"], "news", "what comes meanwhile is published");
    assert_eq!(client.line()["state"], "up", "and the step's own answer is not, as it is configured");
    assert_eq!(client.message()["json"]["op"], "data");
    client.request(json!({"op": "send", "text": "now"}));
    assert_eq!(upstream.message().to_text().unwrap(), "now");
    assert_eq!(client.status()["traffic"]["sent"], 1, "wsfan's own messages are not counted");
}

#[test]
fn a_refused_login_stops_the_link_and_names_the_step() {
    for (publish, words) in [("false", "publish = false keeps back"), ("true", "bad token …")] {
        let server = Server::bind();
        let (_directory, login) = with_token(LOGIN);
        let login = login.replace("publish = false", &format!("publish = {publish}"));
        let daemon = Daemon::start(&(server.config() + &login));
        let mut client = daemon.client();
        let mut upstream = server.accept();
        heard(&mut upstream);
        say(&mut upstream, &json!({"op": "refused", "why": "bad token s\"cret"}));
        assert_eq!(upstream.closed(), Some(1000));
        let line = client.link("failed");
        let error = line["error"].as_str().unwrap();
        assert!(error.contains("\"log in\"") && error.contains(words), "{error}");
        assert!(!daemon.log().contains("cret"));
        assert!(!server.is_called_within(std::time::Duration::from_millis(300)), "nobody tries again");
        client.request(json!({"op": "open"}));
        heard(&mut server.accept());
    }
}

#[test]
fn a_secret_that_cannot_be_read_fails_the_attempt_whose_step_needs_it() {
    let server = Server::bind();
    let daemon = Daemon::start(&(server.config() + &LOGIN.replace("TOKEN", "/nowhere/token")));
    let mut client = daemon.client();
    // it may have failed before anybody was there
    client.ask(json!({"op": "attach", "since": {"epoch": client.hello["epoch"], "seq": 0}}));
    let error = client.link("failed")["error"].as_str().unwrap().to_owned();
    assert!(error.contains("\"log in\"") && error.contains("/nowhere/token"), "{error}");
    assert!(!server.is_called_within(std::time::Duration::from_millis(1)), "a connection is of no use");
}

#[test]
fn a_session_is_resumed_where_the_server_said_and_given_up_after_failures() {
    let server = Server::bind();
    let elsewhere = Server::bind();
    let config = server.config().replace(
        "/stream\"\n",
        "/stream\"\nresume_url = \"${capture:url}/?v=10&s=${capture:session}\"\nresume_url_failures = 2\n",
    );
    let daemon = Daemon::start(&format!(
        r#"{config}
[[script.step]]
name = "identify"
unless_captured = "session"
send = '{{"op":"identify"}}'
expect = {{ "/op" = "ready" }}
capture = {{ session = "/session", url = "/url" }}
[[script.step]]
name = "resume"
if_captured = "session"
send = '{{"op":"resume","session":${{capture:session}},"seq":${{last:/seq}}}}'
expect = {{ "/op" = ["ready", "resumed"] }}
"#
    ));
    let mut client = daemon.client();
    let mut upstream = server.accept();
    assert_eq!(heard(&mut upstream), json!({"op": "identify"}));
    let url = format!("ws://127.0.0.1:{}", elsewhere.port());
    say(&mut upstream, &json!({"op": "ready", "session": "a/b", "url": url}));
    assert_eq!(heard(&mut upstream)["op"], "resume");
    say(&mut upstream, &json!({"op": "resumed", "seq": 41}));
    client.link("up");
    upstream.drop_tcp();
    let mut upstream = elsewhere.accept();
    assert_eq!(upstream.path, "/?v=10&s=a%2Fb");
    assert_eq!(heard(&mut upstream), json!({"op": "resume", "session": "a/b", "seq": 41}));
    say(&mut upstream, &json!({"op": "resumed"}));
    assert_eq!(client.link("up")["conn"], 2);
    upstream.drop_tcp();
    for _ in 0..2 {
        elsewhere.answer("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n");
    }
    let mut upstream = server.accept();
    assert_eq!(upstream.path, "/stream");
    assert_eq!(heard(&mut upstream), json!({"op": "identify"}), "the session is forgotten");
}

#[test]
fn a_url_of_a_messages_leads_nowhere_else_and_takes_no_headers_along() {
    let server = Server::bind();
    let elsewhere = Server::bind();
    let config = server.config().replace(
        "/stream\"\n",
        "/stream\"\nresume_url = \"${capture:url}\"\nheaders = { Authorization = \"Bearer hunter2\" }\n",
    );
    let daemon = Daemon::start(&format!(
        "{config}\n[[capture]]\nmatch = {{ \"/url\" = {{ exists = true }} }}\nvalues = {{ url = \"/url\" }}\n"
    ));
    let mut client = daemon.client();
    let mut upstream = server.accept();
    let has_token = |headers: &[(String, String)]| {
        headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"))
    };
    assert!(has_token(&upstream.headers));
    client.link("up");

    // another name for this machine, which the configuration doesn't have
    say(&mut upstream, &json!({"url": format!("ws://localhost:{}/", elsewhere.port())}));
    client.message();
    upstream.drop_tcp();
    let refused = client.until(|line| line["state"] == "waiting" && line["attempt"] == 2);
    let error = refused["error"].as_str().unwrap();
    assert!(error.starts_with("upstream.resume_url leads to localhost, as a message said"), "{error}");
    assert!(error.contains("upstream.allowed_hosts"), "{error}");
    let mut upstream = server.accept();
    assert!(has_token(&upstream.headers), "it is back where the configuration leads");
    assert_eq!(client.link("up")["url"], format!("ws://127.0.0.1:{}/stream", server.port()));

    // the same host, but another program's port
    let place = format!("ws://127.0.0.1:{}", elsewhere.port());
    say(&mut upstream, &json!({"url": format!("{place}/x?secret=1")}));
    client.message();
    upstream.drop_tcp();
    let upstream = elsewhere.accept();
    assert_eq!(upstream.path, "/x?secret=1");
    assert!(!has_token(&upstream.headers), "{:?}", upstream.headers);
    assert_eq!(client.link("connecting")["url"], place);
    assert_eq!(client.link("up")["url"], place);
    assert_eq!(client.status()["link"]["url"], place);
}

#[test]
fn what_is_wrong_with_a_place_that_a_message_said_is_told_with_its_name() {
    let server = Server::bind();
    let config = server.config().replace(
        "/stream\"\n",
        "/stream\"\nresume_url = \"${capture:url}\"\nallowed_hosts = [\"localhost.localdomain\"]\n",
    );
    let daemon = Daemon::start(&format!(
        "{config}\n[[capture]]\nmatch = {{ \"/url\" = {{ exists = true }} }}\nvalues = {{ url = \"/url\" }}\n"
    ));
    let mut client = daemon.client();
    for (url, shown, words) in [
        (json!("no URL at all"), "upstream.resume_url", "upstream.resume_url has a space"),
        (json!("hunter2-hunter2"), "upstream.resume_url", "upstream.resume_url doesn't begin with ws://"),
        (json!(["ws://127.0.0.1/"]), "upstream.resume_url", "upstream.resume_url"),
        (json!("ws://h\u{202e}moc.live/"), "upstream.resume_url", "punycode"),
        (
            json!("ws://other.example:81"),
            "ws://other.example:81",
            "leads to other.example, as a message said",
        ),
        (json!("ws://127.0.0.1:1"), "ws://127.0.0.1:1", "ws://127.0.0.1:1: can't connect to 127.0.0.1:1: "),
    ] {
        let mut upstream = server.accept();
        client.link("up");
        say(&mut upstream, &json!({"url": url}));
        client.message();
        upstream.drop_tcp();
        assert_eq!(client.link("connecting")["url"], shown, "{url}");
        let error = client.link("waiting")["error"].as_str().unwrap().to_owned();
        assert!(error.contains(words), "{error}");
        assert!(!error.contains("hunter2") && !error.contains('\u{202e}'), "{error}");
    }
    daemon.logged("leads to other.example");
}

#[test]
fn a_login_in_a_resume_url_stays_with_the_configured_server() {
    let server = Server::bind();
    let elsewhere = Server::bind();
    let config = server.config().replace(
        "/stream\"\n",
        "/stream\"\nresume_url = \"ws://me:hunter2@${capture:host}/resume\"\nresume_url_failures = 1\n",
    );
    let daemon = Daemon::start(&format!(
        "{config}\n[[capture]]\nmatch = {{ \"/host\" = {{ exists = true }} }}\nvalues = {{ host = \"/host\" }}\n"
    ));
    let mut client = daemon.client();
    let login = |headers: &[(String, String)]| {
        let header = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        header.map(|(_, value)| value.clone())
    };
    let mut upstream = server.accept();
    for (place, expected) in [(&server, Some("Basic bWU6aHVudGVyMg==")), (&elsewhere, None)] {
        client.link("up");
        say(&mut upstream, &json!({"host": format!("127.0.0.1:{}", place.port())}));
        client.message();
        upstream.drop_tcp();
        upstream = place.accept();
        assert_eq!(upstream.path, "/resume");
        assert_eq!(login(&upstream.headers).as_deref(), expected);
    }
}

#[test]
fn a_server_that_asks_is_answered_and_may_say_the_heartbeat() {
    let server = Server::bind();
    let daemon = Daemon::start(&format!(
        r#"{}
[[capture]]
match = {{ "/op" = "hello" }}
values = {{ interval = "/interval" }}
[[reply]]
match = {{ "/op" = "ping" }}
send = '{{"op":"pong","echo":${{field:/n}}}}'
publish = false
[heartbeat]
kind = "message"
interval = "${{capture:interval}}"
first = "now"
message = '{{"op":"beat","last":${{last:/n}}}}'
expect = {{ "/op" = "ack" }}
timeout = "2s"
close_code = 4000
"#,
        server.config()
    ));
    let mut client = daemon.client();
    let mut upstream = server.accept();
    say(&mut upstream, &json!({"op": "ping", "n": {"a": 1.50}}));
    assert_eq!(upstream.message().to_text().unwrap(), r#"{"op":"pong","echo":{"a":1.5}}"#);
    say(&mut upstream, &json!({"op": "ping", "n": 7}));
    assert_eq!(heard(&mut upstream), json!({"op": "pong", "echo": 7}));
    say(&mut upstream, &json!({"op": "hello", "interval": 2000}));
    assert_eq!(heard(&mut upstream), json!({"op": "beat", "last": 7}));
    say(&mut upstream, &json!({"op": "ack"}));
    assert_eq!(heard(&mut upstream)["op"], "beat");
    let line = client.message();
    assert_eq!(line["json"]["op"], "hello", "what was only asked is not published");
    // no answer to the second one
    assert_eq!(upstream.closed(), Some(4000));
    let line = client.link("waiting");
    assert!(line["error"].as_str().unwrap().contains("no expected answer within 2s"), "{line}");
}

#[test]
fn a_hole_in_the_servers_numbers_is_declared_where_it_is() {
    let server = Server::bind();
    let daemon = Daemon::start(&(server.config() + "[sequence]\npointer = \"/s\"\nper = \"/stream\"\n"));
    let mut client = daemon.client();
    let mut upstream = server.accept();
    for s in [1, 2, 5] {
        say(&mut upstream, &json!({"s": s, "stream": "btc"}));
    }
    say(&mut upstream, &json!({"s": 70, "stream": "eth"}));
    client.link("up");
    assert_eq!([client.line()["json"]["s"].clone(), client.line()["json"]["s"].clone()], [1, 2]);
    let mut gap = client.line();
    let seq = gap["seq"].take().as_u64().unwrap();
    assert!(gap["time_us"].take().is_u64());
    let declared = json!({
        "type": "gap", "seq": null, "time_us": null, "why": "upstream", "from": 3, "to": 4, "count": 2, "per": "btc",
    });
    assert_eq!(gap, declared);
    let after = client.line();
    assert_eq!((&after["seq"], &after["json"]["s"]), (&(seq + 1).into(), &5.into()));
    assert_eq!(client.line()["json"]["s"], 70);
}

#[test]
fn a_program_says_where_to_connect() {
    let server = Server::bind();
    let directory = tempfile::tempdir().unwrap();
    let count = directory.path().join("count");
    let script = format!(
        r#"echo x >> {count}; read token; printf '{{"url":"ws://127.0.0.1:{port}/%s/%d","headers":{{"x-n":"%d"}},"more":1}}' $token $(wc -l < {count}) $(wc -l < {count})"#,
        count = count.display(),
        port = server.port(),
    );
    let config = server.config();
    let (_, reconnect) = config.split_once("[reconnect]").unwrap();
    let daemon = Daemon::start(&format!(
        "[upstream]\nurl_command = {{ run = [\"/bin/sh\", \"-c\", {}], stdin = \"${{var:token}}\" }}\n\
         [vars]\ntoken = \"t\"\n[reconnect]{reconnect}",
        json!(script)
    ));
    let upstream = server.accept();
    assert_eq!(upstream.path, "/t/1");
    assert!(upstream.headers.contains(&("x-n".into(), "1".into())));
    upstream.drop_tcp();
    assert_eq!(server.accept().path, "/t/2", "run afresh for each attempt");
    drop(daemon);
}

#[test]
fn a_program_that_fails_may_have_printed_why() {
    let config = r#"
[upstream]
url_command = { run = ["/bin/sh", "-c", "echo '{\"ok\":false,\"error\":\"revoked\"}'; echo 401 >&2; exit 22"], reject = { "/ok" = false }, on_fail = "stop" }
[reconnect]
on_exhausted = "exit"
[[listener]]
path = "SOCKET"
"#;
    let mut daemon = Daemon::start(config);
    assert_eq!(daemon.wait().code(), Some(69), "{}", daemon.log());
    assert!(daemon.log().contains("printed what `reject` is about: revoked"), "{}", daemon.log());
}

#[test]
fn a_rule_for_a_close_code_stops_the_daemon_that_is_to_exit() {
    let server = Server::bind();
    let config =
        server.config() + "on_exhausted = \"exit\"\n[[reconnect.rule]]\ncodes = [4004]\nthen = \"stop\"\n";
    let mut daemon = Daemon::start(&config);
    let mut upstream = server.accept();
    let frame =
        tokio_tungstenite::tungstenite::protocol::CloseFrame { code: 4004.into(), reason: "no".into() };
    upstream.socket.close(Some(frame)).unwrap();
    upstream.closed();
    assert_eq!(daemon.wait().code(), Some(69));
    assert!(daemon.log().contains("as a reconnect.rule for code 4004 says"), "{}", daemon.log());
}

#[test]
fn what_is_missing_is_asked_for_by_its_numbers_and_a_snapshot_sets_the_count() {
    let server = Server::bind();
    let rules = r#"
[sequence]
pointer = "/u"
from = "/U"
per = "/s"
send = '{"op":"resend","s":${field:/s},"from":${hole:from},"to":${hole:to}}'
first = { match = { "/lastUpdateId" = { exists = true } }, pointer = "/lastUpdateId" }
"#;
    let daemon = Daemon::start(&(server.config() + rules));
    let mut client = daemon.client();
    let mut upstream = server.accept();
    client.link("up");
    let event = |first: u64, last: u64| json!({"s": "btc", "U": first, "u": last});
    say(&mut upstream, &event(157, 160));
    say(&mut upstream, &event(164, 170));
    assert_eq!(heard(&mut upstream), json!({"op": "resend", "s": "btc", "from": 161, "to": 163}));
    // another hole while the first is asked for, and what was asked for, which is no new beginning
    say(&mut upstream, &event(172, 172));
    assert_eq!(heard(&mut upstream), json!({"op": "resend", "s": "btc", "from": 171, "to": 171}));
    say(&mut upstream, &event(161, 163));
    say(&mut upstream, &event(171, 171));
    say(&mut upstream, &event(173, 175));
    // a snapshot that is older than what was seen, and one that is ahead of it
    say(&mut upstream, &json!({"s": "btc", "lastUpdateId": 168}));
    say(&mut upstream, &event(176, 176));
    say(&mut upstream, &json!({"s": "btc", "lastUpdateId": 200}));
    say(&mut upstream, &event(199, 204));
    say(&mut upstream, &event(206, 206));
    assert_eq!(heard(&mut upstream), json!({"op": "resend", "s": "btc", "from": 205, "to": 205}));
    let mut gaps = Vec::new();
    loop {
        let line = client.line();
        if line["type"] == "gap" {
            gaps.push((line["from"].clone(), line["to"].clone()));
        }
        if line["json"]["u"] == 206 {
            break;
        }
    }
    assert_eq!(gaps, [(161.into(), 163.into()), (171.into(), 171.into()), (205.into(), 205.into())]);
}
