//! Who may do what on which socket, through the real daemon, as another user.
//!
//! On Linux each thread has its own credentials, so a thread that becomes another user can connect,
//! and hand its connection back. Only root's can: where the tests run as somebody else, they say
//! what was not tried.

use std::{
    fs,
    io::{self, Write},
    net::Shutdown,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    thread,
    time::Instant,
};

use rustix::{
    process::geteuid,
    thread::{Gid, Uid, set_thread_gid, set_thread_groups, set_thread_uid},
};
use serde_json::{Value, json};

use crate::common::{Client, Connection, DEADLINE, Daemon, Server};

mod rules;

/// `nobody` by custom: neither root nor who runs the daemon.
const STRANGER: u32 = 65534;

/// Sockets for everyone, each without one right, and two that aren't for everyone.
const LISTENERS: &str = r#"
[[listener]]
path = "SOCKET"
mode = "0666"
rights = ["receive", "send", "control"]
[[listener]]
path = "SOCKET.no-receive"
mode = "0666"
rights = ["send", "control"]
[[listener]]
path = "SOCKET.no-send"
mode = "0666"
rights = ["receive", "control"]
[[listener]]
path = "SOCKET.no-control"
mode = "0666"
rights = ["receive", "send"]
[[listener]]
path = "SOCKET.raw-no-receive"
mode = "0666"
format = "raw"
rights = ["send"]
[[listener]]
path = "SOCKET.raw-no-send"
mode = "0666"
format = "raw"
rights = ["receive"]
[[listener]]
path = "SOCKET.private"
mode = "0600"
"#;

/// The daemon, in a directory that everyone can enter.
struct House {
    server: Server,
    upstream: Connection,
    daemon: Daemon,
}

impl House {
    fn new(listeners: &str) -> House {
        let server = Server::bind();
        let daemon = Daemon::start(&(server.config() + listeners));
        fs::set_permissions(daemon.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let upstream = server.accept();
        // from here on nothing but what a test does changes the link
        let mut client = daemon.client();
        if client.hello["link"] != "up" {
            client.link("up");
        }
        House { server, upstream, daemon }
    }

    fn socket(&self, name: &str) -> PathBuf {
        let mut socket = self.daemon.socket().into_os_string();
        if !name.is_empty() {
            socket.push(".");
            socket.push(name);
        }
        socket.into()
    }

    /// Waits until somebody is at a socket that doesn't greet.
    fn wait_for(&self, name: &str) {
        let (mut own, end) = (self.daemon.client(), Instant::now() + DEADLINE);
        let there = |status: &Value| {
            let clients = status["clients"].as_array().unwrap();
            clients.iter().any(|client| client["listener"] == json!(self.socket(name)))
        };
        while !there(&own.status()) {
            assert!(Instant::now() < end, "nobody came to {name}");
        }
    }

    /// A connection of the stranger.
    fn stranger(&self, name: &str) -> Client {
        Client::on(connect_as_stranger(&self.socket(name)).unwrap())
    }

    /// Goes along with a change of the link that was asked for.
    fn follow(&mut self, client: &mut Client, state: &str) {
        self.upstream.closed();
        let _ = self.upstream.socket.get_ref().shutdown(Shutdown::Both);
        if state == "up" {
            self.upstream = self.server.accept();
        }
        client.link(state);
        // the socket where systemd would listen holds only a few datagrams
        self.daemon.notified(&format!("STATUS=link {state}"));
    }

    /// Sends a mark upstream, with every right. It comes after all that was taken before, so what the
    /// server gets first, and on the connection that it has, shows that nothing else was done.
    fn assert_nothing_was_done(&mut self) {
        let mut own = self.daemon.client();
        assert_eq!(own.request(json!({"op": "send", "text": "mark"}))["result"], "written");
        assert_eq!(self.upstream.message().into_text().unwrap(), "mark");
    }
}

fn connect_as_stranger(socket: &Path) -> io::Result<UnixStream> {
    connect_in(socket, &[])
}

/// The same, as one who is in these groups.
fn connect_in(socket: &Path, groups: &[u32]) -> io::Result<UnixStream> {
    let groups: Vec<_> = groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    let become_and_connect = || {
        set_thread_groups(&groups)?;
        set_thread_gid(Gid::from_raw(STRANGER))?;
        set_thread_uid(Uid::from_raw(STRANGER))?;
        UnixStream::connect(socket)
    };
    thread::scope(|scope| scope.spawn(become_and_connect).join().unwrap())
}

/// Whether this is root. If not it says, past the harness, which would keep it to itself, what was
/// not tried.
fn is_root(rest: &str) -> bool {
    let root = geteuid().is_root();
    if !root {
        let _ = writeln!(io::stderr(), "NOT TRIED, since it needs root: {rest}");
    }
    root
}

fn assert_forbidden(answer: &Value, right: &str) {
    assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!("forbidden")), "{answer}");
    assert!(answer["message"].as_str().unwrap().contains(&format!("{right:?}")), "{answer}");
}

fn types(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["type"].as_str().unwrap()).collect()
}

#[test]
fn the_daemons_own_user_has_every_right_on_every_socket() {
    let mut house = House::new(LISTENERS);
    for name in ["", "no-receive", "no-send", "no-control", "private"] {
        let mut own = Client::attach(&house.socket(name));
        assert_eq!(own.request(json!({"op": "send", "text": name}))["result"], "written", "{name}");
        assert_eq!(house.upstream.message().into_text().unwrap(), name);
        house.upstream.text("1");
        assert_eq!(own.message()["json"], 1, "{name}");
        assert_eq!(own.request(json!({"op": "attach"}))["result"], "attached", "{name}");
        // `open` last: what is open already is left alone
        for (op, state) in [("reconnect", "up"), ("close", "closed"), ("open", "up")] {
            assert_eq!(own.request(json!({"op": op}))["result"], "accepted", "{op} on {name:?}");
            house.follow(&mut own, state);
        }
    }
    for name in ["raw-no-receive", "raw-no-send"] {
        let mut own = Client::connect(&house.socket(name));
        own.write(format!("{name}\n").as_bytes());
        // and it is there by then, so that what comes next reaches it
        assert_eq!(house.upstream.message().into_text().unwrap(), name);
        house.upstream.text("1");
        assert_eq!(own.text(), "1\n", "{name}");
    }
}

#[test]
fn without_receive_a_stranger_gets_hello_and_answers_and_nothing_else() {
    if !is_root("that a client without `receive` gets no entries") {
        return;
    }
    let mut house = House::new(LISTENERS);
    let mut stranger = house.stranger("no-receive");
    let hello = stranger.line();
    assert_eq!(hello["type"], "hello");
    let mut raw = house.stranger("raw-no-receive");
    house.wait_for("raw-no-receive");
    let seq = house.daemon.client().hello["seq"].clone();
    assert_forbidden(&stranger.request(json!({"op": "attach"})), "receive");
    let all = json!({"op": "attach", "since": {"epoch": hello["epoch"], "seq": 0}});
    assert_forbidden(&stranger.request(all), "receive");

    // what it may do, it can: it sends, and is answered
    assert_eq!(stranger.request(json!({"op": "send", "text": "a"}))["result"], "written");
    assert_eq!(house.upstream.message().into_text().unwrap(), "a");
    raw.write(b"b\n");
    assert_eq!(house.upstream.message().into_text().unwrap(), "b");
    let status = stranger.status();
    let clients = status["clients"].as_array().unwrap();
    let you = clients.iter().find(|client| client["you"] == true).unwrap();
    assert_eq!(you["uid"], STRANGER, "it is somebody else");

    // messages and changes of the link, which one who may receive gets
    let mut witness = house.stranger("no-send");
    assert_eq!(witness.line()["seq"], seq);
    house.upstream.text("1");
    assert_eq!(witness.message()["json"], 1);
    assert_eq!(stranger.request(json!({"op": "reconnect"}))["result"], "accepted");
    house.follow(&mut witness, "up");

    // a stop lets everyone have the rest: what they had not got by then, they won't
    house.daemon.signal("TERM");
    let rest = witness.rest();
    assert_eq!(types(&rest), ["link", "bye"]);
    assert_eq!(types(&stranger.rest()), ["bye"]);
    assert_eq!(types(&raw.rest()), [""; 0]);
}

#[test]
fn without_send_a_strangers_send_is_forbidden_and_goes_nowhere() {
    if !is_root("that a client without `send` can't send") {
        return;
    }
    let mut house = House::new(LISTENERS);
    let mut stranger = house.stranger("no-send");
    let hello = stranger.line();
    assert_eq!((&hello["type"], &hello["max_line"]), (&json!("hello"), &json!(4096)), "nothing else is long");
    for payload in [json!({"text": "a"}), json!({"json": [1]}), json!({"binary": "AAEC"})] {
        let mut op = payload.clone();
        op["op"] = "send".into();
        assert_forbidden(&stranger.request(op), "send");
    }
    house.assert_nothing_was_done();
    // and it goes on as before
    house.upstream.text("1");
    assert_eq!(stranger.message()["json"], 1);
}

#[test]
fn without_send_a_raw_strangers_line_ends_its_connection_and_goes_nowhere() {
    if !is_root("that a raw client without `send` is disconnected for a line") {
        return;
    }
    let mut house = House::new(LISTENERS);
    let mut stranger = house.stranger("raw-no-send");
    house.wait_for("raw-no-send");
    house.upstream.text("1");
    assert_eq!(stranger.text(), "1\n", "it may receive");
    stranger.write(b"a\nb\n");
    assert_eq!(types(&stranger.rest()), [""; 0], "it is ended, without a word");
    house.assert_nothing_was_done();
}

#[test]
fn without_control_a_stranger_leaves_the_link_as_it_is() {
    if !is_root("that a client without `control` can't control") {
        return;
    }
    let mut house = House::new(LISTENERS);
    let mut stranger = house.stranger("no-control");
    assert_eq!(stranger.line()["type"], "hello");
    for op in ["reconnect", "close", "open"] {
        assert_forbidden(&stranger.request(json!({"op": op})), "control");
    }
    house.assert_nothing_was_done();
    assert_eq!(stranger.status()["link"]["conn"], 1);
    // what it may do, it can
    assert_eq!(stranger.request(json!({"op": "send", "text": "a"}))["result"], "written");
    assert_eq!(house.upstream.message().into_text().unwrap(), "a");
    assert_eq!(stranger.request(json!({"op": "attach"}))["result"], "attached");
}

#[test]
fn without_control_status_shows_ones_own_row_and_the_sums() {
    if !is_root("that a client without `control` sees nothing of the others") {
        return;
    }
    let mut house = House::new(LISTENERS);
    let mut own = house.daemon.client();
    let mut stranger = house.stranger("no-control");
    assert_eq!(stranger.line()["type"], "hello");
    house.upstream.text("1");
    stranger.message();
    let status = stranger.status();
    let rows = status["clients"].as_array().unwrap();
    assert_eq!((rows.len(), &rows[0]["you"], &rows[0]["uid"]), (1, &json!(true), &json!(STRANGER)));
    assert!(status["totals"]["clients"].as_u64().unwrap() >= 2, "{status}");
    let ledger = |name: &str| status["totals"]["ledger"][name].as_u64().unwrap();
    assert_eq!(
        ledger("entries"),
        ledger("delivered") + ledger("lost") + ledger("passed") + ledger("ahead"),
        "{status}"
    );
    // with the right, by the listener or by the user, all is there
    let mut other = house.stranger("");
    assert_eq!(other.line()["type"], "hello");
    for client in [&mut own, &mut other] {
        let rows = client.status()["clients"].as_array().unwrap().len();
        assert_eq!(rows, 3);
    }
}

#[test]
fn status_asked_for_without_end_leaves_the_others_their_answers() {
    if !is_root("that one user's questions leave another's alone") {
        return;
    }
    let house = House::new(LISTENERS);
    let mut own = house.daemon.client();
    // more than a user has: many connections at once, each with a question that waits its turn
    let mut askers: Vec<_> = (0..8).map(|_| house.stranger("no-control")).collect();
    let line = json!({"op": "status", "id": 1}).to_string() + "\n";
    let many = line.repeat(2000);
    for asker in &mut askers {
        assert_eq!(asker.line()["type"], "hello");
        asker.write(many.as_bytes());
    }
    for _ in 0..100 {
        assert_eq!(own.status()["type"], "status");
        assert_eq!(own.request(json!({"op": "ping"}))["result"], "pong");
    }
    for asker in &mut askers {
        assert_eq!(asker.line()["type"], "status");
    }
}

#[test]
fn with_every_right_a_stranger_may_do_everything() {
    if !is_root("that a listener's rights are given to others") {
        return;
    }
    let mut house = House::new(LISTENERS);
    let mut stranger = house.stranger("");
    assert_eq!(stranger.line()["type"], "hello");
    assert_eq!(stranger.request(json!({"op": "send", "text": "a"}))["result"], "written");
    assert_eq!(house.upstream.message().into_text().unwrap(), "a");
    assert_eq!(stranger.request(json!({"op": "close"}))["result"], "accepted");
    house.follow(&mut stranger, "closed");
}

#[test]
fn a_socket_for_its_owner_refuses_a_stranger() {
    if !is_root("that the mode and the owner of a socket keep others out") {
        return;
    }
    let theirs = format!("[[listener]]\npath = \"SOCKET.theirs\"\nmode = \"0600\"\nowner = \"{STRANGER}\"\n");
    let house = House::new(&format!("{LISTENERS}{theirs}"));
    let refused = connect_as_stranger(&house.socket("private")).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied, "{refused}");

    let file = fs::metadata(house.socket("theirs")).unwrap();
    assert_eq!((file.uid(), file.permissions().mode() & 0o7777), (STRANGER, 0o600));
    let mut owner = house.stranger("theirs");
    assert_eq!(owner.line()["type"], "hello");
    assert_forbidden(&owner.request(json!({"op": "close"})), "control");
}

#[test]
fn a_reload_changes_the_rights_of_who_is_there_and_of_who_comes_after_it() {
    if !is_root("that rights change with a reload") {
        return;
    }
    let mut house = House::new(LISTENERS);
    let mut before = house.stranger("no-control");
    assert_eq!(before.line()["type"], "hello");
    let fewer = LISTENERS.replace(r#"rights = ["receive", "send"]"#, r#"rights = ["receive"]"#);
    house.daemon.rewrite(&(house.server.config() + &fewer));
    house.daemon.signal("HUP");
    house.daemon.notified("RELOADING=1");
    house.daemon.notified("READY=1");

    let mut after = house.stranger("no-control");
    assert_eq!(after.line()["type"], "hello");
    assert_forbidden(&after.request(json!({"op": "send", "text": "a"})), "send");
    assert_forbidden(&before.request(json!({"op": "send", "text": "b"})), "send");
    house.upstream.text("1");
    assert_eq!(before.message()["json"], 1, "it receives as before");

    let none = LISTENERS.replace(r#"rights = ["receive", "send"]"#, r#"rights = ["send"]"#);
    house.daemon.rewrite(&(house.server.config() + &none));
    house.daemon.signal("HUP");
    house.daemon.notified("RELOADING=1");
    house.daemon.notified("READY=1");
    assert_eq!(before.rest().pop().unwrap()["why"], "reconfigured", "who may not receive is told, and goes");
    house.assert_nothing_was_done();
}

#[test]
fn where_somebody_else_could_take_its_place_the_daemon_does_not_start() {
    if !is_root("that a directory or a lock of another user's is refused") {
        return;
    }
    let server = Server::bind();
    let directory = tempfile::tempdir().unwrap();
    let refused = |word: &str| {
        let socket = directory.path().join("s");
        let listener = format!("[[listener]]\npath = \"{}\"\n", socket.display());
        let mut daemon = Daemon::spawn(&(server.config() + &listener));
        assert_eq!(daemon.wait().code(), Some(78), "{}", daemon.log());
        assert!(
            daemon.log().contains(word) && daemon.log().contains("user 65534"),
            "{word}: {}",
            daemon.log()
        );
        assert!(!socket.exists());
    };
    // without the sticky bit and others' right to write, the kernel has no say of its own (fs.protected_regular)
    let lock = directory.path().join("s.lock");
    fs::write(&lock, "").unwrap();
    chown(&lock, Some(STRANGER), None).unwrap();
    refused("its lock");
    fs::remove_file(&lock).unwrap();
    chown(directory.path(), Some(STRANGER), None).unwrap();
    refused("could put another socket in its place");
    chown(directory.path(), Some(0), None).unwrap();
}

#[test]
fn no_user_takes_all_places_and_root_always_finds_one() {
    if !is_root("how many places one user may have") {
        return;
    }
    let house = House::new("[[listener]]\npath = \"SOCKET\"\nmode = \"0666\"\nmax_clients = 4\n");
    house.daemon.client().status(); // what the house itself had here is gone by its own time
    let mut strangers = Vec::new();
    let end = Instant::now() + DEADLINE;
    let refusal = loop {
        let mut stranger = house.stranger("");
        let line = stranger.line();
        match &line["type"] {
            kind if kind == "hello" => strangers.push(stranger),
            _ if strangers.len() == 3 => break line,
            _ => assert!(Instant::now() < end, "{} only: {line}", strangers.len()),
        }
    };
    assert_eq!(refusal["code"], "too_many_clients");
    assert!(refusal["message"].as_str().unwrap().contains("max_clients_per_user"), "{refusal}");
    // the fourth place, and those that are kept
    let mut own: Vec<Client> = (0..1 + 16).map(|_| house.daemon.client()).collect();
    for client in &mut own {
        assert_eq!(client.status()["type"], "status");
    }
    assert_eq!(own[16].request(json!({"op": "close"}))["result"], "accepted");
}

#[test]
fn a_listener_may_hold_its_own_user_to_its_rights() {
    let server = Server::bind();
    let daemon = Daemon::start(
        &(server.config()
            + "[[listener]]\npath = \"SOCKET\"\n[[listener]]\npath = \"SOCKET.strict\"\nrights = [\"receive\"]\n\
               privileged = false\n"),
    );
    let _upstream = server.accept();
    let mut client = Client::connect(&daemon.path().join("wsfan.sock.strict"));
    let refused = client.request(json!({"op": "send", "text": "x"}));
    assert_eq!(refused["code"], "forbidden", "{refused}");
    let taken = daemon.client().request(json!({"op": "send", "text": "x"}));
    assert_ne!(taken["code"], "forbidden", "{taken}");
}
