//! Listeners that run, and their clients.

use std::{
    fs,
    io::{Read, Write},
    net::Shutdown,
    os::unix::fs::MetadataExt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::*;
use crate::{
    config::{History, MemoryBounds, SlowClient},
    hub::{Command, Commands, Data, Fate, MessageTopic, Payload, Publisher},
};

mod cluster;
mod lingering;

struct Rig {
    hub: Hub,
    publisher: Publisher,
    commands: Commands,
    fanout: Fanout,
    handle: Handle,
    stop: tokio::sync::oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
    directory: tempfile::TempDir,
}

impl Rig {
    fn start(format: Format) -> Rig {
        Rig::with(format, SlowClient::Gap)
    }

    fn with(format: Format, slow_client: SlowClient) -> Rig {
        let history = History { slow_client, ..History::default() };
        Rig::of(history, |config| config::Listener { format, ..config })
    }

    fn of(history: History, change: impl FnOnce(config::Listener) -> config::Listener) -> Rig {
        Rig::on(Hub::new("e".to_owned(), &history, false), history, change)
    }

    fn on(hub: Hub, history: History, change: impl FnOnce(config::Listener) -> config::Listener) -> Rig {
        let directory = tempfile::tempdir().unwrap();
        let memory = MemoryBounds::default();
        let (publisher, commands) = hub.publisher().expect("there is no other link");
        let fanout = Fanout::new(hub.clone(), &history, &memory);
        tokio::task::spawn_local(fanout.clone().run());
        let config = change(config::Listener::new(directory.path().join("s")));
        let listener =
            Listener::bind(config, Ids::default(), hub.clone(), fanout.clone(), std::time::Instant::now())
                .unwrap();
        let (handle, (stop, over)) = (listener.handle(), tokio::sync::oneshot::channel());
        let task = tokio::task::spawn_local(listener.run(async {
            let _ = over.await;
        }));
        Rig { hub, publisher, commands, fanout, handle, stop, task, directory }
    }

    fn connect(&self) -> UnixStream {
        UnixStream::connect(self.directory.path().join("s")).unwrap()
    }

    /// Connects, so that the listener is due to be told, and has not been yet.
    async fn connect_five(&self) -> Vec<UnixStream> {
        tokio::task::yield_now().await;
        let late = (0..5).map(|_| self.connect()).collect();
        // the runtime looks at the sockets, and goes on with this task first
        tokio::task::yield_now().await;
        assert_eq!(self.fanout.count(), 1, "they stand in the queue");
        late
    }

    async fn clients(&self, count: usize) {
        let there = async {
            while self.fanout.count() != count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), there).await.expect("all have come");
    }
}

/// Reads until a client has heard this.
async fn hears(client: &mut UnixStream, what: &str) -> String {
    client.set_nonblocking(true).unwrap();
    let mut heard = String::new();
    let read = async {
        while !heard.contains(what) {
            let mut some = [0; 1024];
            match client.read(&mut some) {
                Ok(read) => heard.push_str(std::str::from_utf8(&some[..read]).unwrap()),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), read).await.unwrap_or_else(|_| panic!("no {what}"));
    client.set_nonblocking(false).unwrap();
    heard
}

/// Reads all that a client still gets.
fn rest(mut client: UnixStream) -> String {
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut rest = Vec::new();
    match client.read_to_end(&mut rest) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("it stays"),
        _ => String::from_utf8(rest).unwrap(),
    }
}

#[tokio::test(flavor = "local")]
async fn who_stands_in_the_queue_of_a_listener_that_ends_is_not_let_in() {
    // the choice between the end and the queue would be a matter of luck
    for round in 0..20 {
        let rig = Rig::start(Format::Envelope);
        let present = rig.connect();
        rig.clients(1).await;
        let late = rig.connect_five().await;
        let Rig { fanout, handle, stop, task, directory: _directory, .. } = rig;
        drop(stop);
        handle.end();
        tokio::time::timeout(Duration::from_secs(10), task).await.expect("it ends").unwrap();
        assert_eq!(fanout.count(), 0);
        assert!(rest(present).contains("reconfigured"), "round {round}");
        late.into_iter().for_each(|client| assert_eq!(rest(client), "", "round {round}"));
    }
}

#[tokio::test(flavor = "local")]
async fn a_listener_that_has_ended_takes_nobody_in_even_before_it_is_told_to_stop() {
    let rig = Rig::start(Format::Envelope);
    let present = rig.connect();
    rig.clients(1).await;
    let late = rig.connect_five().await;
    let Rig { fanout, handle, stop, task, directory: _directory, .. } = rig;
    handle.end();
    tokio::time::timeout(Duration::from_secs(10), task).await.expect("it ends").unwrap();
    assert_eq!(fanout.count(), 0);
    assert!(rest(present).contains("reconfigured"));
    late.into_iter().for_each(|client| assert_eq!(rest(client), ""));
    drop(stop);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_client_that_only_writes_is_there_for_as_long_as_it_writes() {
    let mut rig = Rig::start(Format::Envelope);
    let mut client = rig.connect();
    client.shutdown(Shutdown::Read).unwrap(); // no answer reaches it
    for n in 0..4 {
        client.write_all(format!("{{\"op\":\"send\",\"id\":{n},\"text\":\"{n}\"}}\n").as_bytes()).unwrap();
        let command = tokio::time::timeout(Duration::from_secs(10), rig.commands.recv()).await;
        let Ok(Some(Command::Send(send))) = command else { panic!("{n} is dropped") };
        assert_eq!(send.payload, Payload::Text(n.to_string()));
        assert_eq!(send.ticket.from().end(), None, "it is there");
        send.ticket.settle(Fate::Written);
        tokio::time::sleep(Origin::AFTERLIFE).await;
    }
    client.write_all(b"{\"op\":\"send\",\"text\":\"last\"}\n").unwrap();
    drop(client);
    let command = tokio::time::timeout(Duration::from_secs(10), rig.commands.recv()).await;
    let Ok(Some(Command::Send(send))) = command else { panic!("it is heard to its end") };
    rig.clients(0).await;
    assert!(send.ticket.from().end().is_some(), "now it has gone");
}

#[test]
fn a_socket_has_its_mode_and_what_others_make_meanwhile_has_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let (made, stop) = (directory.path().join("made"), Arc::new(AtomicBool::new(false)));
    let end = Arc::clone(&stop);
    let other = std::thread::spawn(move || {
        let mut modes = std::collections::BTreeSet::new();
        while !end.load(Ordering::Relaxed) {
            fs::create_dir(&made).unwrap();
            modes.insert(fs::metadata(&made).unwrap().mode() & 0o700);
            fs::remove_dir(&made).unwrap();
        }
        modes
    });
    for mode in [0o660, 0o600, 0o666, 0o000].into_iter().cycle().take(400) {
        let path = directory.path().join("s");
        let listener = config::Listener { mode, ..config::Listener::new(path.clone()) };
        let _bound = Bound::bind(&listener, Ids::default()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, mode);
    }
    stop.store(true, Ordering::Relaxed);
    assert_eq!(other.join().unwrap().into_iter().collect::<Vec<_>>(), [0o700]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn nothing_is_given_before_the_first_line_or_20_ms() {
    let rig = Rig::start(Format::Envelope);
    let publish = async |n: u64| {
        rig.publisher.publish(1, Data::Text(&n.to_string()), &MessageTopic::None);
        rig.publisher.flush();
        rig.publisher.ready().await;
    };
    publish(1).await;
    let (mut attaches, mut silent) = (rig.connect(), rig.connect());
    rig.clients(2).await;
    publish(2).await;
    tokio::time::advance(Duration::from_millis(19)).await;
    for client in [&mut attaches, &mut silent] {
        let mut heard = hears(client, "\n").await;
        client.set_nonblocking(true).unwrap();
        for _ in 0..20 {
            tokio::task::yield_now().await;
            let mut some = [0; 1024];
            let read = client.read(&mut some).unwrap_or(0);
            heard.push_str(std::str::from_utf8(&some[..read]).unwrap());
        }
        assert!(heard.contains("\"hello\"") && !heard.contains("\"message\""), "{heard}");
    }
    let since = b"{\"op\":\"attach\",\"id\":1,\"since\":{\"epoch\":\"e\",\"seq\":0}}\n";
    attaches.write_all(since).unwrap();
    let heard = hears(&mut attaches, "\"seq\":2,").await;
    assert!(heard.find("\"attached\"") < heard.find("\"seq\":1,"), "{heard}");
    assert_eq!(heard.matches("\"message\"").count(), 2, "each once: {heard}");
    tokio::time::advance(Duration::from_millis(1)).await;
    let heard = hears(&mut silent, "\"seq\":2,").await;
    assert_eq!(heard.matches("\"message\"").count(), 1, "from where it came in: {heard}");
}

/// Entries that another log has discarded before they came here: who can be told is told, and stays.
#[tokio::test(flavor = "local")]
async fn entries_that_never_came_here_are_nobodys_slowness() {
    for (format, slow_client) in [
        (Format::Envelope, SlowClient::Gap),
        (Format::Envelope, SlowClient::Disconnect),
        (Format::Envelope, SlowClient::Block),
        (Format::Raw, SlowClient::Gap),
    ] {
        let rig = Rig::with(format, slow_client);
        let mut client = rig.connect();
        rig.clients(1).await;
        if format == Format::Envelope {
            client.write_all(b"{\"op\":\"attach\",\"id\":1}\n").unwrap();
            hears(&mut client, "attached").await; // nothing is held back from it any more
        }
        rig.publisher.publish(1, Data::Text("1"), &MessageTopic::None);
        rig.publisher.flush();
        let skipped = tokio::time::timeout(Duration::from_secs(10), rig.publisher.skip_to(10)).await;
        assert_eq!(skipped.expect("all have been offered what there was"), Ok(8));
        rig.publisher.publish(1, Data::Text("10"), &MessageTopic::None);
        rig.publisher.flush();
        tokio::time::timeout(Duration::from_secs(10), rig.publisher.ready()).await.expect("it is offered");
        let counters = rig.hub.counters().troubles();
        if format == Format::Raw {
            assert_eq!(
                (counters.cut_off.discarded, counters.cut_off.slow_client),
                (1, 0),
                "it can't be told"
            );
            rig.clients(0).await;
            assert_eq!(rest(client), "1\n");
            continue;
        }
        assert_eq!((rig.fanout.count(), counters.gaps.discarded, counters.gaps.entries), (1, 1, 8));
        assert_eq!((counters.gaps.slow_client, counters.cut_off.slow_client), (0, 0), "{slow_client:?}");
        let text = hears(&mut client, "\"seq\":10,").await;
        let gap = r#"{"type":"gap","from":2,"to":9,"count":8,"why":"discarded"}"#;
        let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what} in {text}"));
        assert!(at("\"seq\":1,") < at(gap) && at(gap) < at("\"seq\":10,"), "{text}");
    }
}

#[tokio::test(flavor = "local")]
async fn the_raw_form_is_kept_until_the_last_who_gets_it_has_gone() {
    let rig = Rig::start(Format::Raw);
    let kept = || rig.hub.log().keeps_raw();
    rig.fanout.offer_raw(true);
    assert!(kept());
    rig.fanout.offer_raw(false);
    assert!(!kept(), "nobody wants it");
    let clients = [rig.connect(), rig.connect()];
    rig.clients(2).await;
    assert!(kept(), "whatever the listeners are");
    let [one, other] = clients;
    drop(one);
    rig.clients(1).await;
    assert!(kept());
    drop(other);
    rig.clients(0).await;
    assert!(!kept());
}
