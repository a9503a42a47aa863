//! A connection takes over from another under load: nothing is lost, nothing is doubled.

use std::ops::Range;

use tokio::sync::broadcast;

use super::{sends::send, *};

fn rotating(settings: &mut Settings) {
    settings.terms.rotate.after = Some(2 * S);
    settings.terms.rotate.overlap = S;
    settings.terms.rotate.dedupe = Some(config::Pointer::parse("/id").unwrap());
}

/// A server that says the same on all its connections, and keeps what it hears on each.
struct Service {
    news: broadcast::Sender<(time::Instant, String)>,
    heard: Rc<RefCell<Vec<Vec<u64>>>>,
    /// How many connections there were, how many are open, and how many were at once.
    connections: Rc<Cell<[usize; 3]>>,
    /// The codes that connections were closed with.
    codes: Rc<RefCell<Vec<u16>>>,
}

impl Service {
    fn new() -> Service {
        Service {
            news: broadcast::channel(1 << 16).0,
            heard: Rc::default(),
            connections: Rc::default(),
            codes: Rc::default(),
        }
    }

    /// Serves a connection for as long as it lasts. What is said is `delay` on its way.
    fn serve(&self, mut server: WebSocketStream<DuplexStream>, delay: Duration) {
        let mut news = self.news.subscribe();
        let (heard, connections, codes) = (self.heard.clone(), self.connections.clone(), self.codes.clone());
        let [all, open, most] = connections.get();
        heard.borrow_mut().push(Vec::new());
        connections.set([all + 1, open + 1, most.max(open + 1)]);
        tokio::task::spawn_local(async move {
            loop {
                tokio::select! {
                    item = news.recv() => {
                        let Ok((at, item)) = item else { break };
                        time::sleep_until(at + delay).await;
                        if server.send(Message::text(item)).await.is_err() {
                            break;
                        }
                    }
                    message = server.next() => match message {
                        Some(Ok(Message::Text(text))) => heard.borrow_mut()[all].push(text.parse().unwrap()),
                        Some(Ok(Message::Close(Some(frame)))) => {
                            codes.borrow_mut().push(frame.code.into());
                            let _ = server.flush().await; // its echo
                            break;
                        }
                        Some(Ok(_)) => {}
                        _ => break,
                    },
                }
            }
            let [all, open, most] = connections.get();
            connections.set([all, open - 1, most]);
        });
    }
}

fn ids(rig: &mut Rig) -> Vec<u64> {
    rig.read();
    let lines = std::mem::take(&mut rig.lines);
    lines.iter().filter_map(|line| line["json"]["id"].as_u64()).collect()
}

fn numbers(range: Range<u64>) -> Vec<u64> {
    range.collect()
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_rotation_under_load_loses_nothing_and_doubles_nothing() {
    for delays in [[0, 0], [30, 0], [0, 30]] {
        let mut rig = Rig::start(with(rotating));
        let service = Service::new();
        let mut next = 0;
        let mut fates = Vec::new();
        for tick in 0..3_000_u64 {
            // 100 times a second: 5 messages one way, and one the other
            for _ in 0..5 {
                let _ = service.news.send((time::Instant::now(), format!(r#"{{"id":{next}}}"#)));
                next += u64::from(service.connections.get()[0] > 0);
            }
            if rig.hub.link().state == LinkState::Up {
                fates.push(send(&rig, tick.to_string()).await);
            }
            while let Ok(stream) = rig.streams.try_recv() {
                let server = accept_async(stream).await.unwrap();
                let delay = delays[service.connections.get()[0] % 2];
                service.serve(server, Duration::from_millis(delay));
            }
            time::sleep(Duration::from_millis(10)).await;
        }
        time::sleep(Duration::from_millis(500)).await; // in no rotation's way
        let [all, _, most] = service.connections.get();
        assert!(all > 10, "{all} connections");
        assert_eq!(most, 2, "never more than two at once");
        assert!(service.codes.borrow().iter().all(|code| *code == 1000));

        let mut got = ids(&mut rig);
        let first = got[0];
        // two connections may be out of step; as a set nothing is missing and nothing there twice
        got.sort_unstable();
        assert_eq!(got, numbers(first..next), "{delays:?}");
        // each connection heard a stretch, and all together they make up the whole
        let sent = service.heard.borrow().concat();
        assert!(sent.is_sorted(), "sends keep their order");
        assert_eq!(sent.len(), fates.len());
        for fate in fates {
            assert_eq!(fate.next().await, Fate::Written);
        }
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_link_line_tells_of_the_new_connection_and_no_other() {
    let mut rig = Rig::start(with(rotating));
    let first = rig.accept().await;
    assert_eq!(rig.state("up").await["conn"], 1);
    let begin = time::Instant::now();
    let mut second = rig.accept().await;
    assert_eq!(begin.elapsed(), 2 * S);
    let line = rig.line().await;
    assert_eq!((&line["state"], &line["conn"]), (&"up".into(), &2.into()));
    second.send(Message::text("hello")).await.unwrap();
    assert_eq!(rig.line().await["text"], "hello");
    drop(first);
    time::sleep(S).await;
    rig.read();
    assert!(rig.lines.is_empty(), "{:?}", rig.lines);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_the_old_connection_says_while_it_closes_is_published() {
    let mut rig = Rig::start(with(rotating));
    let old = rig.accept().await;
    rig.state("up").await;
    let mut new = rig.accept().await;
    rig.state("up").await;
    new.send(Message::text("new")).await.unwrap();
    assert_eq!(rig.line().await["text"], "new");
    let mut stream = old.into_inner();
    let mut close = [0; 8];
    stream.read_exact(&mut close).await.unwrap();
    assert_eq!(close[0], 0x88);
    stream.write_all(&[0x81, 1, b'7', 0x88, 2, 3, 232]).await.unwrap();
    assert_eq!(rig.line().await["json"], 7);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn sends_wait_until_the_old_connection_has_written_what_it_was_given() {
    let mut rig = Rig::with_buffer(with(rotating), 1_000);
    let mut old = rig.accept().await;
    rig.state("up").await;
    let first = send(&rig, "x".repeat(5_000)).await;
    settle().await;
    let mut new = rig.accept().await;
    rig.state("up").await;
    let second = send(&rig, "later").await;
    settle().await;
    assert!(first.none() && second.none());
    assert_eq!(next(&mut old).await.len(), 5_000);
    assert_eq!(first.next().await, Fate::Written);
    assert_eq!(next(&mut new).await, Message::text("later"));
    assert_eq!(second.next().await, Fate::Written);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_next_connection_that_fails_is_noticed_by_nobody() {
    let mut rig = Rig::start(with(rotating));
    let mut server = rig.accept().await;
    rig.state("up").await;
    for _ in 0..3 {
        drop(rig.stream().await); // instead of an answer
        server.send(Message::text("still here")).await.unwrap();
        assert_eq!(rig.line().await["text"], "still here");
        let fates = send(&rig, "and sends go").await;
        assert_eq!(next(&mut server).await, Message::text("and sends go"));
        assert_eq!(fates.next().await, Fate::Written);
    }
    rig.accept().await;
    assert_eq!(rig.state("up").await["conn"], 2);
}
