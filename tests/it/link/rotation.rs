//! The real daemon changes its connection again and again under load.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::{net::TcpListener, sync::broadcast, time};
use tokio_tungstenite::{accept_async, tungstenite::Message};

use crate::common::Daemon;

/// So many times a connection takes over from another.
const ROTATIONS: usize = 20;
/// How long each lives.
const AGE: Duration = Duration::from_millis(200);
/// So many messages every millisecond.
const BURST: u64 = 5;
/// As long as it isn't so many more than the reader has had: a busy machine would never come to an end.
const AHEAD: u64 = 2_000;

/// What the server saw.
struct Seen {
    /// How many messages it said on the first connection and since.
    said: u64,
    /// What it heard on each connection, in the order of the connections.
    heard: Vec<Vec<u64>>,
    /// What each connection was closed with.
    codes: Vec<Option<u16>>,
    /// How many connections there were at once.
    most: usize,
}

/// Runs a server until `end` says so, and then until the last connection has ended. `read` is what the reader has had.
fn serve(
    listener: std::net::TcpListener,
    end: mpsc::Receiver<()>,
    said: mpsc::Sender<u64>,
    read: Arc<AtomicU64>,
) -> Seen {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tasks = tokio::task::LocalSet::new();
    let heard: Rc<RefCell<Vec<Vec<u64>>>> = Rc::default();
    let codes: Rc<RefCell<Vec<Option<u16>>>> = Rc::default();
    let open: Rc<Cell<[usize; 2]>> = Rc::default();
    let count = tasks.block_on(&runtime, async {
        let listener = TcpListener::from_std(listener).unwrap();
        let (news, _) = broadcast::channel::<String>(1 << 16);
        let (mut count, mut tick) = (0_u64, time::interval(Duration::from_millis(1)));
        let mut ended = false;
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let (stream, _) = accepted.unwrap();
                    stream.set_nodelay(true).unwrap();
                    let mut server = accept_async(stream).await.unwrap();
                    let mut news = news.subscribe();
                    let number = heard.borrow().len();
                    heard.borrow_mut().push(Vec::new());
                    codes.borrow_mut().push(None);
                    let [now, most] = open.get();
                    open.set([now + 1, most.max(now + 1)]);
                    let (heard, codes, open) = (heard.clone(), codes.clone(), open.clone());
                    tokio::task::spawn_local(async move {
                        let age = time::sleep(AGE);
                        tokio::pin!(age);
                        let mut is_old = false;
                        loop {
                            tokio::select! {
                                item = news.recv() => {
                                    if server.send(Message::text(item.unwrap())).await.is_err() {
                                        break;
                                    }
                                }
                                () = &mut age, if !is_old => {
                                    is_old = true;
                                    let _ = server.send(Message::text(r#"{"type":"disconnect"}"#)).await;
                                }
                                message = server.next() => match message {
                                    Some(Ok(Message::Text(text))) => {
                                        heard.borrow_mut()[number].push(text.parse().unwrap());
                                    }
                                    Some(Ok(Message::Close(frame))) => {
                                        codes.borrow_mut()[number] = frame.map(|frame| frame.code.into());
                                        let _ = server.flush().await;
                                        break;
                                    }
                                    Some(Ok(_)) => {}
                                    _ => break,
                                },
                            }
                        }
                        let [now, most] = open.get();
                        open.set([now - 1, most]);
                    });
                }
                _ = tick.tick() => {
                    if !ended && end.try_recv().is_ok() {
                        ended = true;
                        said.send(count).unwrap();
                    }
                    if ended && open.get()[0] == 0 {
                        return count;
                    }
                    if !ended && open.get()[0] > 0 && count < read.load(Ordering::Relaxed) + AHEAD {
                        for _ in 0..BURST {
                            let _ = news.send(format!(r#"{{"id":{count}}}"#));
                            count += 1;
                        }
                    }
                }
            }
        }
    });
    drop(tasks);
    Seen { said: count, heard: heard.take(), codes: codes.take(), most: open.get()[1] }
}

#[test]
fn twenty_rotations_under_load_lose_nothing_and_double_nothing() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let ((end, ended), (said, told)) = (mpsc::channel(), mpsc::channel());
    let read = Arc::new(AtomicU64::new(0));
    let server = thread::spawn({
        let read = Arc::clone(&read);
        move || serve(listener, ended, said, read)
    });
    let mut daemon = Daemon::start(&format!(
        "[upstream]\nurl = \"ws://127.0.0.1:{port}/\"\n\
         [reconnect]\ninitial_delay = \"20ms\"\nmax_delay = \"50ms\"\n\
        [rotate]\nwhen = {{ \"/type\" = \"disconnect\" }}\ndedupe = \"/id\"\n\
         [history]\nmax_bytes = \"256MiB\"\n"
    ));
    let mut reader = daemon.client();
    let since = json!({"epoch": reader.hello["epoch"], "seq": 0});
    reader.request(json!({"op": "attach", "since": since}));

    daemon.notified("STATUS=link up");
    // a program that sends all the while, one after another
    let mut sender = daemon.client();
    let (stop, stopped) = mpsc::channel::<()>();
    let sending = thread::spawn(move || {
        let mut sent = 0_u64;
        while stopped.recv_timeout(Duration::from_millis(1)).is_err() {
            let answer = sender.request(json!({"op": "send", "text": sent.to_string()}));
            assert_eq!(answer["result"], "written", "{answer}");
            sent += 1;
        }
        sent
    });

    let (mut ids, mut conns) = (Vec::new(), 0);
    while conns <= ROTATIONS {
        let line = reader.line();
        match (line["type"].as_str(), line["state"].as_str()) {
            (Some("message"), _) => {
                ids.extend(line["json"]["id"].as_u64());
                read.store(ids.len() as u64, Ordering::Relaxed);
            }
            (Some("link"), Some("up")) => {
                conns += 1;
                assert_eq!(line["conn"], conns);
            }
            (Some("link"), state) => assert_eq!((state, conns), (Some("connecting"), 0)),
            _ => {}
        }
    }
    stop.send(()).unwrap();
    let sent = sending.join().unwrap();
    end.send(()).unwrap();
    let count = told.recv().unwrap();
    while (ids.len() as u64) < count {
        ids.extend(reader.line()["json"]["id"].as_u64());
    }
    daemon.signal("TERM");
    daemon.wait();
    // nothing more comes, but for changes of the link
    ids.extend(reader.rest().iter().filter_map(|line| line["json"]["id"].as_u64()));
    ids.sort_unstable();
    assert_eq!(ids.len() as u64, count, "nothing is lost, nothing is doubled");
    assert!(ids.iter().zip(0..).all(|(id, n)| *id == n));

    let seen = server.join().unwrap();
    assert_eq!(seen.said, count);
    assert_eq!(seen.most, 2, "two connections at once, and never more");
    assert!(seen.codes.len() > ROTATIONS);
    assert!(seen.codes[..ROTATIONS].iter().all(|code| *code == Some(1000)), "{:?}", seen.codes);
    // each connection heard a stretch, and all together they make up the whole
    let heard: Vec<u64> = seen.heard.concat();
    assert!(heard.iter().zip(0..).all(|(id, n)| *id == n), "{heard:?}");
    assert_eq!(heard.len() as u64, sent);
}
