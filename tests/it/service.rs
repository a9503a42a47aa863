//! The daemon as a service: sockets, signals, reload, stop.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::{
        fd::OwnedFd,
        unix::{
            fs::{MetadataExt, PermissionsExt, symlink},
            net::UnixListener,
        },
    },
    process::Child,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use tempfile::TempDir;

use crate::common::{Client, DEADLINE, Daemon, Server};

#[test]
fn it_is_ready_before_the_upstream_is_and_says_how_the_link_is() {
    let server = Server::bind();
    let mut daemon = Daemon::start(&server.config());
    let mut client = daemon.client();
    assert_ne!(client.hello["link"], "up");
    let _upstream = server.accept();
    client.link("up");
    daemon.notified("STATUS=link up, connection 1");
}

#[test]
fn the_socket_has_its_mode_and_group_and_goes_with_the_daemon() {
    let server = Server::bind();
    let group = fs::metadata("/proc/self").unwrap().gid();
    let mut daemon = Daemon::start(&format!(
        "{}[[listener]]\npath = \"SOCKET\"\nmode = \"0604\"\ngroup = \"{group}\"\n",
        server.config()
    ));
    let file = fs::metadata(daemon.socket()).unwrap();
    assert_eq!((file.permissions().mode() & 0o7777, file.gid()), (0o604, group));
    daemon.signal("TERM");
    assert!(daemon.wait().success());
    assert!(!daemon.socket().exists());
    assert!(!daemon.path().join("wsfan.sock.lock").exists());
}

#[test]
fn a_stale_socket_is_taken_over_and_a_live_one_is_not() {
    let server = Server::bind();
    let directory = Daemon::start(&server.config()).kill();
    assert!(directory.path().join("wsfan.sock").exists(), "killed, it leaves its socket");
    let mut daemon = Daemon::spawn_in(directory, &server.config());
    daemon.notified("READY=1");
    daemon.logged("took over a socket");

    let config = format!("{}[[listener]]\npath = \"{}\"\n", server.config(), daemon.socket().display());
    let mut second = Daemon::spawn(&config);
    assert_eq!(second.wait().code(), Some(1));
    assert!(second.log().contains("another wsfan listens on this socket"), "{}", second.log());
    assert_eq!(daemon.client().hello["protocol"], 1, "the first is unharmed");
}

#[test]
fn what_is_in_the_socket_s_place_and_not_dead_is_left_alone() {
    let server = Server::bind();
    let directory = tempfile::tempdir().unwrap();
    let there = directory.path().join("there");
    let refused = |word: &str, code: i32| {
        let config = format!("{}[[listener]]\npath = \"{}\"\n", server.config(), there.display());
        let mut daemon = Daemon::spawn(&config);
        assert_eq!(daemon.wait().code(), Some(code));
        assert!(daemon.log().contains(word) && daemon.log().contains("/there"), "{}", daemon.log());
        assert!(fs::symlink_metadata(&there).is_ok());
        assert!(!directory.path().join("there.lock").exists());
    };
    let listener = UnixListener::bind(&there).unwrap();
    refused("another program listens on this socket", 1);
    drop(listener);
    fs::remove_file(&there).unwrap();
    fs::write(&there, "precious").unwrap();
    refused("not a socket", 78);
    assert_eq!(fs::read_to_string(&there).unwrap(), "precious");
    fs::remove_file(&there).unwrap();
    symlink("nowhere", &there).unwrap();
    refused("not a socket", 78);
}

#[test]
fn what_no_second_start_mends_ends_with_78_and_leaves_nothing_behind() {
    let server = Server::bind();
    let directory = tempfile::tempdir().unwrap();
    let made = directory.path().join("made");
    let open = directory.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    for (listener, word) in [
        (
            format!("path = \"{}/s\"\ngroup = \"no-such-group\"\n", made.display()),
            "no group \"no-such-group\"",
        ),
        (format!("path = \"{}/s\"\nowner = \"no-such-user\"\n", made.display()), "no user \"no-such-user\""),
        (format!("path = \"{}/no/deeper/s\"\n", made.display()), "can't be made"),
        ("path = \"/proc/s\"\n".to_owned(), "/proc/s: "),
        (format!("path = \"{}/s\"\n", open.display()), "may be written to by others (mode 0777)"),
    ] {
        // with a good one before it, whose directory goes again as well
        let good = format!("[[listener]]\npath = \"{}/good\"\n", made.display());
        let config = format!("{}{good}[[listener]]\n{listener}", server.config());
        let mut daemon = Daemon::spawn(&config);
        assert_eq!(daemon.wait().code(), Some(78), "{listener}: {}", daemon.log());
        assert!(daemon.log().contains(word), "{word}: {}", daemon.log());
        assert!(!made.exists(), "{listener}");
    }
    assert_eq!(fs::read_dir(&open).unwrap().count(), 0);
    fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
    let config = format!("{}[[listener]]\npath = \"{}/s\"\n", server.config(), open.display());
    let mut daemon = Daemon::start(&config);
    daemon.signal("TERM");
    assert!(daemon.wait().success(), "with the sticky bit, as in /tmp, nobody else can take it away");
}

#[test]
fn a_directory_that_was_missing_goes_with_the_daemon() {
    let server = Server::bind();
    let directory = tempfile::tempdir().unwrap();
    let made = directory.path().join("made");
    let listener = |name: &str| format!("[[listener]]\npath = \"{}/{name}\"\n", made.display());
    let mut daemon = Daemon::start(&(server.config() + &listener("a") + &listener("in/b")));
    assert!(made.join("a").exists() && made.join("in/b").exists());
    daemon.signal("TERM");
    assert!(daemon.wait().success());
    assert!(!made.exists());
}

#[test]
fn a_socket_that_is_no_longer_its_own_is_not_removed() {
    let server = Server::bind();
    let mut daemon = Daemon::start(&server.config());
    fs::remove_file(daemon.socket()).unwrap();
    let _other = UnixListener::bind(daemon.socket()).unwrap();
    daemon.signal("INT");
    assert!(daemon.wait().success());
    assert!(daemon.socket().exists());
}

#[test]
fn sigterm_closes_the_upstream_and_lets_clients_have_the_rest() {
    let server = Server::bind();
    let mut daemon = Daemon::start(&server.config());
    let mut upstream = server.accept();
    let mut client = daemon.client();
    upstream.text("\"last\"");
    client.message();
    daemon.signal("TERM");
    assert_eq!(upstream.closed(), Some(1001));
    let lines = client.rest();
    let types: Vec<_> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["link", "bye"], "{lines:?}");
    assert_eq!((&lines[0]["state"], &lines[1]["why"]), (&json!("closed"), &json!("shutdown")));
    daemon.notified("STOPPING=1");
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn a_stop_ends_in_time_whatever_the_server_and_the_clients_do() {
    let server = Server::bind();
    let mut daemon = Daemon::start(&(server.config() + "[shutdown]\ntimeout = \"500ms\"\n"));
    let mut upstream = server.accept();
    let stuck = daemon.client();
    let mut witness = daemon.client();
    let payload = format!("\"{}\"", "x".repeat(100_000));
    for _ in 0..20 {
        upstream.text(&payload);
        witness.message();
    }
    let begun = Instant::now();
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(400), "it gave them their time: {took:?}");
    drop((stuck, upstream));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let server = Server::bind();
    let mut daemon = Daemon::start(&(server.config() + "[shutdown]\ntimeout = \"5m\"\n"));
    let upstream = server.accept();
    let mut client = daemon.client();
    client.status();
    daemon.signal("TERM");
    daemon.notified("STOPPING=1");
    // two signals within half a second count as one
    while !daemon.ends_within(Duration::from_millis(100)) {
        daemon.signal("TERM");
    }
    daemon.wait();
    assert!(daemon.log().contains("a second time"), "{}", daemon.log());
    drop(upstream);
}

#[test]
fn a_supervisor_that_reads_nothing_holds_nobody_up() {
    let server = Server::bind();
    let daemon = Daemon::start(&server.config());
    let mut client = daemon.client();
    // far more changes of the link than the socket holds, each of them told
    for conn in 1..=100 {
        server.accept().drop_tcp();
        client.until(|line| line["state"] == "up" && line["conn"] == conn);
    }
    assert_eq!(client.request(json!({"op": "ping"}))["result"], "pong");
}

#[test]
fn a_supervisor_that_reads_late_hears_the_newest_of_all() {
    let server = Server::bind();
    let mut daemon = Daemon::start(&server.config());
    let upstream = server.accept();
    let mut client = daemon.client();
    // far more than its socket holds
    for _ in 0..150 {
        assert_eq!(client.request(json!({"op": "reload"}))["result"], "applied");
    }
    upstream.drop_tcp();
    let _upstream = server.accept();
    client.until(|line| line["state"] == "up" && line["conn"] == 2);
    let (mut phase, mut reloads) = (String::new(), 0);
    loop {
        let state = daemon.notified("=");
        if state.contains("link up, connection 2") {
            break;
        }
        if state.starts_with("RELOADING=1") {
            assert_ne!(phase, "RELOADING=1");
            reloads += 1;
        }
        if !state.starts_with("STATUS=") {
            phase = state.lines().next().unwrap().to_owned();
        }
    }
    assert_eq!((&*phase, reloads > 0), ("READY=1", true), "it isn't left in the midst of a reload");
}

#[test]
fn a_reload_changes_the_heartbeat_of_the_live_link_and_disconnects_nobody() {
    let server = Server::bind();
    let mut daemon = Daemon::start(&(server.config() + "[heartbeat]\ninterval = \"1h\"\n"));
    let mut upstream = server.accept();
    let mut client = daemon.client();
    daemon.rewrite(
        &(server.config() + "[heartbeat]\nkind = \"message\"\nmessage = \"beat\"\ninterval = \"2s\"\n"),
    );
    daemon.signal("HUP");
    let reloading = daemon.notified("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    daemon.notified("READY=1");
    assert_eq!(upstream.message().into_text().unwrap(), "beat");
    upstream.text("1");
    assert_eq!(client.message()["json"], 1);
    let status = client.status();
    assert_eq!((&status["link"]["conn"], &status["link"]["state"]), (&json!(1), &json!("up")));
}

#[test]
fn how_the_last_connection_ended_can_be_asked_when_the_link_is_up_again() {
    let server = Server::bind();
    let daemon = Daemon::start(&server.config());
    let mut client = daemon.client();
    server.accept().drop_tcp();
    let _upstream = server.accept();
    client.until(|line| line["state"] == "up" && line["conn"] == 2);
    let link = client.status()["link"].clone();
    assert_eq!(
        (&link["state"], &link["code"], &link["last_end"]["code"]),
        (&json!("up"), &json!(null), &json!(1006))
    );
    assert!(link["last_end"]["error"].as_str().unwrap().contains("without a close frame"), "{link}");
}

#[test]
fn a_bad_configuration_never_replaces_a_good_one() {
    let server = Server::bind();
    let mut daemon = Daemon::start(&server.config());
    let mut upstream = server.accept();
    let mut client = daemon.client();
    daemon.rewrite(&(server.config() + "[heartbeat]\nintervall = \"1s\"\n"));
    daemon.signal("HUP");
    daemon.notified("RELOADING=1");
    daemon.notified("READY=1");
    daemon.logged("`interval`");
    upstream.text("1");
    assert_eq!(client.message()["json"], 1);
    // and without a daemon running, it doesn't start
    let mut other = Daemon::spawn(&(server.config() + "[heartbeat]\ninterval = \"0s\"\n"));
    assert_eq!(other.wait().code(), Some(78));
    assert!(other.log().contains("heartbeat.interval"), "{}", other.log());
}

#[test]
fn a_reload_reconnects_for_what_needs_it_and_names_what_needs_a_restart() {
    let server = Server::bind();
    let mut daemon = Daemon::start(&server.config());
    let mut upstream = server.accept();
    let mut client = daemon.client();
    let rest = "[log]\nformat = \"json\"\n";
    let config = server.config().replace("/stream\"", "/other\"\nheaders = { X-Test = \"1\" }");
    daemon.rewrite(&(config + rest));
    daemon.signal("HUP");
    daemon.notified("RELOADING=1");
    assert_eq!(upstream.closed(), Some(1000));
    let upstream = server.accept();
    assert_eq!(upstream.path, "/other");
    assert!(upstream.headers.contains(&("x-test".into(), "1".into())), "{:?}", upstream.headers);
    assert_eq!(client.link("up")["conn"], 2);
    let log = daemon.logged("needs a restart");
    for word in ["upstream.url", "upstream.headers", "log.format"] {
        assert!(log.contains(word), "{word}: {log}");
    }
}

/// Runs the daemon with a pipe for its standard error, which it is told is the journal if `is_journal`.
fn lines_of(config: &str, is_journal: bool) -> (Child, impl Iterator<Item = String> + use<>, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("wsfan.toml");
    let listener = format!("[[listener]]\npath = \"{}\"\n", directory.path().join("s").display());
    fs::write(&file, config.to_owned() + &listener).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let stream = fs::File::from(OwnedFd::from(writer.try_clone().unwrap())).metadata().unwrap();
    let stream = format!("{}:{}", stream.dev(), stream.ino() + u64::from(!is_journal));
    let child = Daemon::command(&file).env("JOURNAL_STREAM", stream).stderr(writer).spawn().unwrap();
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        BufReader::new(reader).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    (child, std::iter::from_fn(move || lines.recv_timeout(DEADLINE).ok()), directory)
}

#[test]
fn in_the_journal_each_line_has_its_priority() {
    let server = Server::bind();
    for (config, level) in
        [("", "info"), ("[log]\nformat = \"json\"\n", "info"), ("[log]\nlevel = \"debug\"\n", "debug")]
    {
        let (mut child, lines, _directory) = lines_of(&(server.config() + config), true);
        server.accept_tcp();
        let mut seen = [false; 3];
        for line in lines {
            let word = |word| line.contains(word);
            match (word("listening"), word("link down"), word("connecting")) {
                (true, ..) => seen[0] = line.starts_with("<6>"),
                (_, true, _) => seen[1] = line.starts_with("<4>"),
                (_, _, true) => seen[2] = line.starts_with("<7>"),
                _ => {}
            }
            if seen[0] && seen[1] && (seen[2] || level == "info") {
                break;
            }
        }
        assert!(seen[0] && seen[1], "{config}: {seen:?}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let (mut child, lines, _directory) = lines_of("[heartbeat]\nintervall = \"1s\"\n", true);
    assert_eq!(child.wait().unwrap().code(), Some(78));
    let lines: Vec<_> = lines.collect();
    assert!(lines.len() >= 2 && lines.iter().all(|line| line.starts_with("<3>")), "{lines:?}");
}

#[test]
fn a_standard_error_that_isnt_the_journal_gets_no_marks_of_it() {
    let server = Server::bind();
    let (mut child, mut lines, _directory) = lines_of(&server.config(), false);
    let line = lines.next().unwrap();
    assert!(line.contains("INFO") && !line.contains("<6>"), "{line}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn secrets_never_reach_the_log() {
    let server = Server::bind();
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    fs::write(&token, "s3cr3t-token\n").unwrap();
    let config = format!(
        "[upstream]\nurl = \"ws://user:s3cr3t-pass@127.0.0.1:{}/p?key=s3cr3t-query\"\nheaders = {{ X-Token = \"${{file:{}}}\" }}\n\
         [reconnect]\ninitial_delay = \"20ms\"\n[log]\nlevel = \"trace\"\n",
        server.port(),
        token.display()
    );
    let mut daemon = Daemon::start(&config);
    server.answer("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
    fs::write(&token, "s3cr3t-second\n").unwrap();
    let upstream = server.accept();
    assert!(upstream.headers.contains(&("x-token".into(), "s3cr3t-second".into())), "read afresh");
    assert!(upstream.headers.contains(&("authorization".into(), "Basic dXNlcjpzM2NyM3QtcGFzcw==".into())));
    let mut client: Client = daemon.client();
    let status = client.status().to_string();
    assert!(!status.contains("s3cr3t"), "{status}");
    daemon.signal("TERM");
    daemon.wait();
    assert!(!daemon.log().contains("s3cr3t"), "{}", daemon.log());
}
