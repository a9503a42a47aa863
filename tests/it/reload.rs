//! What a reload makes of the running daemon.

use std::{
    fs::{self, OpenOptions},
    io::{BufRead, BufReader, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::PathBuf,
    process::Command,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::common::{Client, DEADLINE, Daemon, Server};

fn beside(daemon: &Daemon, name: &str) -> PathBuf {
    daemon.path().join(name)
}

/// A client that knows the link to be up.
fn up(daemon: &Daemon) -> Client {
    let mut client = daemon.client();
    if client.hello["link"] != "up" {
        client.link("up");
    }
    client
}

/// Asks the daemon to reload, and returns what it answers.
fn reload(client: &mut Client) -> serde_json::Value {
    client.request(json!({"op": "reload"}))
}

#[test]
fn a_reload_that_is_asked_before_the_daemon_listens_is_done_when_it_does() {
    let server = Server::bind();
    let directory = tempfile::tempdir().unwrap();
    let [file, next] = ["wsfan.toml", "next.toml"].map(|name| directory.path().join(name));
    let listener = format!("[[listener]]\npath = \"{}\"\n", directory.path().join("s").display());
    let config = server.config() + &listener;
    // as long as nobody writes to it, the daemon waits in the midst of its start
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    let mut child = Daemon::command(&file).spawn().unwrap();
    let (lines, log) = mpsc::channel();
    let stderr = child.stderr.take().unwrap();
    thread::spawn(move || {
        BufReader::new(stderr).lines().map_while(Result::ok).try_for_each(|line| lines.send(line))
    });
    // opened once the daemon has it open as well
    let mut writer = OpenOptions::new().write(true).open(&file).unwrap();
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    fs::write(&next, format!("{config}[heartbeat]\ninterval = \"20s\"\n")).unwrap();
    fs::rename(&next, &file).unwrap();
    writer.write_all(config.as_bytes()).unwrap();
    drop(writer);
    loop {
        let line = log.recv_timeout(DEADLINE).expect("it lives, and reloads");
        if line.contains("reloaded the configuration") {
            assert!(line.contains("heartbeat.interval"), "{line}");
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_client_asks_for_a_reload_and_hears_what_came_of_it() {
    let server = Server::bind();
    let daemon = Daemon::start(&server.config());
    let _upstream = server.accept();
    let mut client = up(&daemon);

    daemon.rewrite(&(server.config() + "[heartbeat]\ninterval = \"20s\"\n[log]\nformat = \"json\"\n"));
    let answer = reload(&mut client);
    assert_eq!((&answer["type"], &answer["result"]), (&json!("ok"), &json!("applied")), "{answer}");
    assert_eq!(answer["live"], json!(["heartbeat.interval"]));
    assert_eq!(answer["reconnect"], json!([]));
    assert_eq!(answer["restart"], json!(["log.format"]), "it waits for a restart");
    let config = client.status()["config"].clone();
    assert_eq!(
        (&config["reload"]["result"], &config["restart"]),
        (&json!("applied"), &json!(["log.format"]))
    );

    daemon.rewrite(&(server.config() + "[heartbeat]\nintervall = \"20s\"\n"));
    let answer = reload(&mut client);
    assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!("bad_config")));
    assert!(answer["message"].as_str().unwrap().contains("`interval`"), "{answer}");
    let status = client.status();
    assert_eq!(status["link"]["conn"], 1);
    assert_eq!(status["config"]["reload"]["result"], "refused");
    assert!(status["config"]["reload"]["error"].as_str().unwrap().contains("`interval`"), "{status}");
    assert_eq!(status["config"]["restart"], json!(["log.format"]), "it still waits");
}

#[test]
fn a_heartbeat_that_says_a_secret_comes_with_a_new_connection_and_no_fault() {
    let server = Server::bind();
    let daemon = Daemon::start(&server.config());
    let mut first = server.accept();
    let mut client = up(&daemon);
    fs::write(beside(&daemon, "token"), "hush").unwrap();
    daemon.rewrite(&format!(
        "{}[heartbeat]\nkind = \"message\"\ninterval = \"100ms\"\nmessage = '{{\"beat\":\"${{file:{}}}\"}}'\n",
        server.config(),
        beside(&daemon, "token").display()
    ));
    let answer = reload(&mut client);
    assert!(answer["reconnect"][0].as_str().unwrap().starts_with("heartbeat.message"), "{answer}");
    assert_eq!(first.closed(), Some(1000));
    let mut second = server.accept();
    assert_eq!(second.message().into_text().unwrap(), r#"{"beat":"hush"}"#);
    let states: Vec<_> =
        [client.link("connecting"), client.link("up")].map(|line| line["conn"].clone()).into();
    assert_eq!(states, [1, 2]);
}

#[test]
fn listeners_come_change_and_go_with_the_daemon_running() {
    let server = Server::bind();
    let daemon = Daemon::start(&server.config());
    let mut upstream = server.accept();
    let mut client = up(&daemon);
    let first = "[[listener]]\npath = \"SOCKET\"\n";
    let second = "[[listener]]\npath = \"SOCKET.2\"\nmode = \"0600\"\n";
    let raw = "[[listener]]\npath = \"SOCKET.raw\"\nformat = \"raw\"\n";

    daemon.rewrite(&(server.config() + first + second + raw));
    let answer = reload(&mut client);
    assert_eq!(answer["result"], "applied", "{answer}");
    assert_eq!(answer["live"].as_array().unwrap().len(), 2, "{answer}");
    let socket = beside(&daemon, "wsfan.sock.2");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o7777, 0o600);
    let mut guest = Client::attach(&socket);
    assert_eq!(guest.hello["epoch"], client.hello["epoch"], "the log goes on");
    let mut plain = Client::connect(&beside(&daemon, "wsfan.sock.raw"));
    // it is there once it is counted
    while client.status()["clients"].as_array().unwrap().len() < 3 {}
    upstream.text("{\"a\":1}");
    assert_eq!(plain.text(), "{\"a\":1}\n");
    assert_eq!(guest.message()["json"], json!({"a": 1}));

    let inode = fs::metadata(&socket).unwrap().ino();
    let (group, other) = (fs::metadata(&socket).unwrap().gid(), second.replace("0600", "0646"));
    let other = format!("{other}group = \"{group}\"\nmax_line = \"100B\"\n");
    daemon.rewrite(&(server.config() + first + &other + raw));
    assert_eq!(reload(&mut client)["result"], "applied");
    let file = fs::metadata(&socket).unwrap();
    assert_eq!((file.permissions().mode() & 0o7777, file.ino()), (0o646, inode), "the same socket");
    assert_eq!(guest.request(json!({"op": "ping"}))["result"], "pong", "who is there stays");
    assert_eq!(Client::attach(&socket).hello["max_line"], 100);

    daemon.rewrite(&(server.config() + first));
    assert_eq!(reload(&mut client)["result"], "applied");
    assert_eq!(guest.until(|line| line["type"] == "bye")["why"], "reconfigured");
    assert!(guest.rest().is_empty() && plain.rest().is_empty());
    daemon.logged("INFO cut off a client");
    assert!(!socket.exists() && !beside(&daemon, "wsfan.sock.2.lock").exists());
    assert_eq!(client.status()["link"]["conn"], 1, "nothing of it touched the link");
}

#[test]
fn a_mode_is_given_to_the_socket_and_never_to_what_its_path_leads_to() {
    let server = Server::bind();
    let daemon = Daemon::start(&server.config());
    let mut client = daemon.client();
    let (precious, moved) = (beside(&daemon, "precious"), beside(&daemon, "moved.sock"));
    fs::write(&precious, "").unwrap();
    fs::set_permissions(&precious, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(daemon.socket(), &moved).unwrap();
    symlink(&precious, daemon.socket()).unwrap();
    daemon.rewrite(&(server.config() + "[[listener]]\npath = \"SOCKET\"\nmode = \"0666\"\n"));
    assert_eq!(reload(&mut client)["result"], "applied");
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&precious), mode(&moved)), (0o600, 0o666));
}

#[test]
fn a_listener_changes_its_format_for_who_comes_next() {
    let server = Server::bind();
    let daemon = Daemon::start(
        &(server.config() + "[[listener]]\npath = \"SOCKET\"\n[[listener]]\npath = \"SOCKET.2\"\n"),
    );
    let mut upstream = server.accept();
    let mut client = up(&daemon);
    let mut before = Client::attach(&beside(&daemon, "wsfan.sock.2"));
    daemon.rewrite(
        &(server.config()
            + "[[listener]]\npath = \"SOCKET\"\n[[listener]]\npath = \"SOCKET.2\"\nformat = \"raw\"\n"),
    );
    assert_eq!(reload(&mut client)["result"], "applied");
    let mut after = Client::connect(&beside(&daemon, "wsfan.sock.2"));
    while client.status()["clients"].as_array().unwrap().len() < 3 {}
    upstream.text("1");
    assert_eq!(after.text(), "1\n");
    assert_eq!(before.message()["json"], 1, "its stream stays what it was");
}

#[test]
fn a_listener_that_cant_be_bound_is_refused_and_the_old_one_stays() {
    let server = Server::bind();
    let daemon = Daemon::start(&server.config());
    let _upstream = server.accept();
    let mut client = up(&daemon);
    fs::write(beside(&daemon, "taken"), "").unwrap();
    let taken = beside(&daemon, "taken");
    daemon.rewrite(&format!(
        "{}[heartbeat]\ninterval = \"20s\"\n[[listener]]\npath = \"{}\"\n",
        server.config(),
        taken.display()
    ));
    let answer = reload(&mut client);
    assert_eq!(answer["result"], "partly", "{answer}");
    assert_eq!(answer["live"], json!(["heartbeat.interval"]), "the rest is in force");
    let error = answer["error"].as_str().unwrap();
    assert!(error.contains("/taken") && error.contains("not a socket"), "{error}");
    assert!(error.contains("this listener stays"), "{error}");
    assert_eq!(daemon.client().request(json!({"op": "ping"}))["result"], "pong");

    // a group that isn't there: the mode of before holds
    daemon.rewrite(
        &(server.config() + "[[listener]]\npath = \"SOCKET\"\nmode = \"0666\"\ngroup = \"no-such-group\"\n"),
    );
    let answer = reload(&mut client);
    assert_eq!(answer["result"], "partly", "{answer}");
    assert_eq!(fs::metadata(daemon.socket()).unwrap().permissions().mode() & 0o7777, 0o660);
    // and it is tried again, not taken for done
    daemon.rewrite(&(server.config() + "[[listener]]\npath = \"SOCKET\"\nmode = \"0666\"\n"));
    assert_eq!(reload(&mut client)["result"], "applied");
    assert_eq!(fs::metadata(daemon.socket()).unwrap().permissions().mode() & 0o7777, 0o666);
}

/// Runs `wsfan reload`: its exit code, standard output and standard error.
fn command(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_wsfan")).arg("reload").args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_command_says_what_came_of_it_and_fails_when_it_is_refused() {
    let server = Server::bind();
    let mut daemon = Daemon::start(&server.config());
    let _upstream = server.accept();
    let config = beside(&daemon, "wsfan.toml");
    let socket = daemon.socket();
    let (config, socket) = (config.to_str().unwrap(), socket.to_str().unwrap());
    let nothing = (Some(0), "nothing has changed\n".to_owned(), String::new());
    assert_eq!(command(&["--config", config]), nothing);
    assert_eq!(command(&["--socket", socket]), nothing);

    daemon.rewrite(&(server.config() + "[heartbeat]\ninterval = \"20s\"\n[log]\nformat = \"json\"\n"));
    let (code, out, _) = command(&["--config", config]);
    assert_eq!((code, &*out), (Some(0), "at once: heartbeat.interval\nafter a restart: log.format\n"));

    // refused: by the daemon, and where the file is named before it is asked
    daemon.rewrite(&(server.config() + "[heartbeat]\nintervall = \"20s\"\n"));
    for arguments in [["--socket", socket], ["--config", config]] {
        let (code, out, error) = command(&arguments);
        assert_eq!((code, &*out), (Some(78), ""), "{error}");
        assert!(error.contains("`interval`"), "{error}");
    }
    // and a signal isn't tried with it
    let pid = daemon.pid().to_string();
    assert_eq!(command(&["--config", config, "--or-signal", &pid]).0, Some(78));

    // a part can't be applied
    daemon.rewrite(&(server.config() + "[[listener]]\npath = \"SOCKET\"\ngroup = \"no-such-group\"\n"));
    let (code, _, error) = command(&["--config", config]);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("no-such-group"), "{error}");

    // the first socket of the new config isn't there yet, but another one is
    let new = "[[listener]]\npath = \"SOCKET.first\"\n[[listener]]\npath = \"SOCKET\"\n";
    daemon.rewrite(&(server.config() + new));
    let (code, out, error) = command(&["--config", config]);
    assert_eq!(code, Some(0), "{error}");
    assert!(out.contains("the new listener"), "{out}");

    // no socket of the new config is there yet: a signal is all that can be said
    daemon.rewrite(&(server.config() + "[[listener]]\npath = \"SOCKET.new\"\n"));
    let (code, _, error) = command(&["--config", config]);
    assert_eq!(code, Some(1), "{error}");
    let (code, _, error) = command(&["--config", config, "--or-signal", &pid]);
    assert_eq!(code, Some(0), "{error}");
    assert!(error.contains("sent SIGHUP"), "{error}");
    daemon.notified("RELOADING=1");
    daemon.logged("the new listener");
    assert_eq!(command(&["--config", config]), nothing);
}

#[test]
fn a_config_that_is_never_read_to_its_end_holds_nobody_up() {
    let server = Server::bind();
    let mut daemon = Daemon::start(&server.config());
    let mut upstream = server.accept();
    let mut client = up(&daemon);
    let mut other = daemon.client();
    let file = beside(&daemon, "wsfan.toml");
    fs::remove_file(&file).unwrap();
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    let begun = Instant::now();
    let id = client.ask(json!({"op": "reload"}));
    daemon.notified("RELOADING=1");
    for number in 0..10 {
        upstream.text(&number.to_string());
        assert_eq!(other.message()["json"], number);
        assert_eq!(other.request(json!({"op": "ping"}))["result"], "pong");
    }
    // the file may be another one by now: this one is a reload of its own
    let second = other.ask(json!({"op": "reload"}));
    let answer = client.until(|line| line["id"] == id);
    assert!(begun.elapsed() >= Duration::from_secs(5), "everything above came meanwhile: {answer}");
    assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!("bad_config")), "{answer}");
    let message = answer["message"].as_str().unwrap();
    assert!(message.contains("/wsfan.toml: it isn't read within 5s"), "{message}");
    daemon.notified("READY=1");

    let answer = other.until(|line| line["id"] == second);
    assert!(answer["message"].as_str().unwrap().contains("isn't read"), "{answer}");
    // a third, with a file again, whatever became of the threads that hang
    fs::remove_file(&file).unwrap();
    daemon.rewrite(&(server.config() + "[heartbeat]\ninterval = \"20s\"\n"));
    assert_eq!(reload(&mut client)["live"], json!(["heartbeat.interval"]));
    // and one that is under way doesn't hold the stop
    fs::remove_file(&file).unwrap();
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    client.ask(json!({"op": "reload"}));
    client.request(json!({"op": "ping"}));
    daemon.signal("TERM");
    assert!(daemon.wait().success());
}

/// Every right but that to reload, for the daemon's own user and root as well.
const NO_CONTROL: &str =
    "[[listener]]\npath = \"SOCKET\"\nrights = [\"receive\", \"send\"]\nprivileged = false\n";

#[test]
fn the_command_sends_a_signal_where_it_has_no_right_to_ask() {
    let server = Server::bind();
    let mut daemon = Daemon::start(&(server.config() + NO_CONTROL));
    let _upstream = server.accept();
    let (config, socket) = (beside(&daemon, "wsfan.toml"), daemon.socket());
    let (config, socket) = (config.to_str().unwrap(), socket.to_str().unwrap());
    let pid = daemon.pid().to_string();
    for to in [["--config", config], ["--socket", socket]] {
        let (code, _, error) = command(&to);
        assert!(code == Some(1) && error.contains("(forbidden)"), "{code:?} {error}");
        let (code, out, error) = command(&[to[0], to[1], "--or-signal", &pid, "--json"]);
        assert_eq!((code, &*out), (Some(0), ""), "{error}");
        assert!(error.contains("(forbidden)") && error.contains("sent SIGHUP"), "{error}");
        daemon.notified("RELOADING=1");
        daemon.notified("READY=1");
    }
}

#[test]
fn one_reload_serves_all_who_wait_and_more_than_may_wait_are_told_so() {
    let server = Server::bind();
    let mut daemon = Daemon::start(&server.config());
    let _upstream = server.accept();
    let mut client = up(&daemon);
    let (file, next) = (beside(&daemon, "wsfan.toml"), beside(&daemon, "next.toml"));
    let config = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    let first = client.ask(json!({"op": "reload"}));
    // opened once the daemon has it open as well
    let mut writer = OpenOptions::new().write(true).open(&file).unwrap();
    let asked: Vec<_> = (0..80).map(|_| client.ask(json!({"op": "reload"}))).collect();
    let (waiting, refused) = asked.split_at(64);
    for id in refused {
        let answer = client.line();
        assert_eq!((&answer["id"], &answer["code"]), (id, &json!("rate_limited")), "{answer}");
    }
    fs::write(&next, &config).unwrap();
    fs::rename(&next, &file).unwrap();
    writer.write_all(config.as_bytes()).unwrap();
    drop(writer);
    for id in [&first].into_iter().chain(waiting) {
        let answer = client.line();
        assert_eq!((&answer["id"], &answer["result"]), (id, &json!("applied")), "{answer}");
    }
    daemon.signal("TERM");
    assert!(daemon.wait().success());
    assert_eq!(daemon.log().matches("nothing has changed").count(), 2, "{}", daemon.log());
}

#[test]
fn a_wait_that_a_reload_shortens_is_told_anew() {
    let server = Server::bind();
    let slow = server.config().replace("20ms", "10m").replace("50ms", "10m");
    let daemon = Daemon::start(&slow);
    server.accept_tcp();
    let mut client = daemon.client();
    client.request(json!({"op": "attach", "since": {"epoch": client.hello["epoch"], "seq": 0}}));
    let long = client.link("waiting");
    assert!(long["retry_in_ms"].as_u64().unwrap() > 30_000, "{long}");
    let end = client.status()["link"]["last_end"].clone();
    daemon.rewrite(&slow.replace("10m", "29s"));
    client.ask(json!({"op": "reload"}));
    let short = client.link("waiting");
    assert!(short["retry_in_ms"].as_u64().unwrap() <= 29_000, "{short}");
    assert_eq!(
        (&short["error"], short["seq"].as_u64()),
        (&long["error"], Some(long["seq"].as_u64().unwrap() + 1))
    );
    assert_eq!(client.status()["link"]["last_end"], end, "it ended but once");
    assert!(!server.is_called_within(Duration::from_millis(1)));
}
