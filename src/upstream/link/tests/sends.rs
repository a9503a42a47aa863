//! What becomes of sends.

use super::*;

/// What was told of a send.
#[derive(Clone, Default)]
pub(super) struct Fates {
    told: Rc<RefCell<Vec<Fate>>>,
    news: Rc<Notify>,
}

impl Fates {
    pub(super) async fn next(&self) -> Fate {
        soon("a fate", async {
            loop {
                if !self.told.borrow().is_empty() {
                    return self.told.borrow_mut().remove(0);
                }
                self.news.notified().await;
            }
        })
        .await
    }

    pub(super) fn none(&self) -> bool {
        self.told.borrow().is_empty()
    }
}

pub(super) async fn send(rig: &Rig, text: impl Into<String>) -> Fates {
    let (send, fates) = a_send(text);
    rig.command(Command::Send(send)).await;
    fates
}

/// A send, and where its fates are told.
pub(super) fn a_send(text: impl Into<String>) -> (Send, Fates) {
    send_of(&Rc::default(), text)
}

/// The same of a client.
pub(super) fn send_of(from: &Rc<Origin>, text: impl Into<String>) -> (Send, Fates) {
    let fates = Fates::default();
    let told = fates.clone();
    let ticket = Ticket::new(Permit::of(from), move |fate| {
        told.told.borrow_mut().push(fate);
        told.news.notify_one();
    });
    (Send::new(Payload::Text(text.into()), ticket, 0), fates)
}

/// A link that is up, its server, a send that is half written to it, and one behind that.
pub(super) async fn in_mid_write() -> (Rig, WebSocketStream<DuplexStream>, Fates, Fates) {
    let mut rig = Rig::with_buffer(with(outbox), 1_000);
    let server = rig.accept().await;
    rig.state("up").await;
    let begun = send(&rig, "x".repeat(5_000)).await;
    settle().await;
    let waiting = send(&rig, "later").await;
    (rig, server, begun, waiting)
}

pub(super) fn outbox(settings: &mut Settings) {
    settings.outbox = config::Outbox { max_messages: 2, max_bytes: 1000, ttl: 5 * S };
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn written_is_told_when_the_other_end_has_taken_all_of_it() {
    let mut rig = Rig::with_buffer(settings(), 1_000);
    let mut server = rig.accept().await;
    rig.state("up").await;
    let fates = send(&rig, "x".repeat(5_000)).await;
    time::sleep(S).await;
    assert!(fates.none(), "the rest of it is still here");
    assert_eq!(next(&mut server).await.len(), 5_000);
    assert_eq!(fates.next().await, Fate::Written);
    assert_eq!(rig.hub.counters().traffic().sent_bytes, 5_000);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn without_an_outbox_a_send_is_told_the_state() {
    let mut rig = Rig::start(settings());
    let stream = rig.stream().await;
    assert_eq!(send(&rig, "a").await.next().await, Fate::LinkDown(LinkState::Connecting));
    drop(stream);
    rig.state("waiting").await;
    assert_eq!(send(&rig, "a").await.next().await, Fate::LinkDown(LinkState::Waiting));
    rig.command(Command::Close).await;
    rig.state("closed").await;
    assert_eq!(send(&rig, "a").await.next().await, Fate::LinkDown(LinkState::Closed));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_outbox_goes_out_in_order_before_newer_sends() {
    let mut rig = Rig::start(with(outbox));
    let stream = rig.stream().await;
    let (a, b) = (send(&rig, "a").await, send(&rig, "b").await);
    assert_eq!((a.next().await, b.next().await), (Fate::Queued, Fate::Queued));
    assert_eq!(send(&rig, "full").await.next().await, Fate::OutboxFull);
    let mut server = accept_async(stream).await.unwrap();
    rig.state("up").await;
    let c = send(&rig, "c").await;
    for text in ["a", "b", "c"] {
        assert_eq!(next(&mut server).await, Message::text(text));
    }
    for fates in [a, b, c] {
        assert_eq!(fates.next().await, Fate::Written);
        assert!(fates.none(), "exactly one fate at the end");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_outbox_is_bounded_in_bytes_and_time() {
    let mut rig = Rig::start(with(outbox));
    let _mute = rig.stream().await;
    let begin = time::Instant::now();
    let fates = send(&rig, "x".repeat(600)).await;
    assert_eq!(fates.next().await, Fate::Queued);
    assert_eq!(send(&rig, "x".repeat(600)).await.next().await, Fate::OutboxFull);
    assert_eq!(fates.next().await, Fate::Expired);
    assert_eq!(begin.elapsed().as_secs(), 5);
    assert_eq!(send(&rig, "x".repeat(600)).await.next().await, Fate::Queued, "its room is free again");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_connection_that_dies_in_mid_write_leaves_no_send_untold() {
    for with_outbox in [false, true] {
        let mut rig = Rig::with_buffer(if with_outbox { with(outbox) } else { settings() }, 1_000);
        let server = rig.accept().await;
        rig.state("up").await;
        let begun = send(&rig, "x".repeat(5_000)).await;
        settle().await;
        let waiting = send(&rig, "later").await;
        settle().await;
        assert!(begun.none() && waiting.none());
        drop(server);
        rig.state("waiting").await;
        assert_eq!(begun.next().await, Fate::Unknown, "it may have arrived");
        if with_outbox {
            assert_eq!(waiting.next().await, Fate::Queued);
            let mut server = rig.accept().await;
            assert_eq!(
                next(&mut server).await,
                Message::text("later"),
                "and what is unknown is not sent again"
            );
            assert_eq!(waiting.next().await, Fate::Written);
        } else {
            assert_eq!(waiting.next().await, Fate::LinkDown(LinkState::Waiting));
        }
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_server_that_does_not_read_is_left_after_30_s_without_progress() {
    let mut rig = Rig::with_buffer(settings(), 1_000);
    let (mut sink, stream) = rig.accept().await.split();
    rig.state("up").await;
    let fates = send(&rig, "x".repeat(5_000)).await;
    let begin = time::Instant::now();
    for _ in 0..29 {
        time::sleep(S).await;
        sink.send(Message::text("I live, but I don't read")).await.unwrap();
    }
    let line = rig.state("waiting").await;
    assert_eq!(begin.elapsed().as_secs(), 30);
    assert!(line["error"].as_str().unwrap().contains("nothing could be written for 30s"), "{line}");
    assert_eq!(fates.next().await, Fate::Unknown);
    drop(stream);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_server_that_does_not_read_is_left_though_nothing_else_happens() {
    let quiet = with(|settings| settings.heartbeat.kind = config::HeartbeatKind::Off);
    let mut rig = Rig::with_buffer(quiet, 1_000);
    let (_sink, stream) = rig.accept().await.split();
    rig.state("up").await;
    time::sleep(100 * S).await; // nothing else is due any more
    let fates = send(&rig, "x".repeat(5_000)).await;
    let begin = time::Instant::now();
    assert_eq!(fates.next().await, Fate::Unknown);
    assert_eq!(begin.elapsed().as_secs(), 30);
    drop(stream);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_the_server_sends_doesn_t_hide_that_it_does_not_read() {
    let mut rig = Rig::with_buffer(settings(), 1_000);
    let (mut sink, stream) = rig.accept().await.split();
    rig.state("up").await;
    // as the fan-out does: after each batch the link waits until it was offered
    let reader = rig.hub.reader();
    let fanout = tokio::task::spawn_local(async move {
        loop {
            reader.published().await;
            let head = reader.log().head();
            reader.offered(head, u64::MAX);
        }
    });
    let fates = send(&rig, "x".repeat(5_000)).await;
    let begin = time::Instant::now();
    let server = tokio::task::spawn_local(async move {
        loop {
            time::sleep(S).await;
            let _ = sink.send(Message::text("I live, but I don't read")).await; // it may be over
        }
    });
    assert_eq!(fates.next().await, Fate::Unknown);
    assert_eq!(begin.elapsed().as_secs(), 30);
    fanout.abort();
    server.abort();
    drop(stream);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_write_that_stalls_while_wsfan_does_not_read_is_its_own_doing() {
    let mut rig = Rig::with_buffer(settings(), 1_000);
    let mut server = rig.accept().await;
    rig.state("up").await;
    let head = rig.hub.log().head();
    rig.reader.offered(head, u64::MAX);
    server.send(Message::text("1")).await.unwrap();
    assert_eq!(rig.line().await["json"], 1);
    let fates = send(&rig, "x".repeat(5_000)).await;
    time::sleep(300 * S).await;
    assert!(fates.none());
    rig.reader.offered(u64::MAX, u64::MAX);
    assert_eq!(next(&mut server).await.len(), 5_000);
    assert_eq!(fates.next().await, Fate::Written);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_long_message_goes_out_in_fragments_with_a_ping_between() {
    let often = |settings: &mut Settings| {
        pings(settings);
        settings.heartbeat.interval = 20 * S;
    };
    let mut rig = Rig::with_buffer(with(often), 1 << 20);
    let server = rig.accept().await;
    rig.state("up").await;
    let text = "x".repeat(5 << 20);
    let fates = send(&rig, text.clone()).await;
    time::sleep(21 * S).await; // a beat is due while the message waits
    let mut server = WebSocketStream::from_raw_socket(server.into_inner(), Role::Server, None).await;
    let mut pings = 0;
    let got = loop {
        match next(&mut server).await {
            Message::Ping(_) => pings += 1,
            message => break message,
        }
    };
    assert_eq!((pings, got), (1, Message::text(text)));
    assert_eq!(fates.next().await, Fate::Written);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn while_the_link_closes_a_send_is_told_what_comes() {
    let mut rig = Rig::start(settings());
    let _server = rig.accept().await;
    rig.state("up").await;
    rig.command(Command::Reconnect).await;
    assert_eq!(send(&rig, "a").await.next().await, Fate::LinkDown(LinkState::Connecting));
    rig.command(Command::Close).await;
    assert_eq!(send(&rig, "a").await.next().await, Fate::LinkDown(LinkState::Closed));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_stop_leaves_no_send_untold() {
    let (rig, _server, begun, waiting) = in_mid_write().await;
    rig.command(Command::Stop).await;
    let late = send(&rig, "too late").await;
    assert_eq!(rig.ended().await, Exit::Stopped);
    assert_eq!(begun.next().await, Fate::Unknown);
    assert_eq!(waiting.next().await, Fate::Queued);
    assert_eq!(late.next().await, Fate::Queued);
    assert_eq!(waiting.next().await, Fate::LinkDown(LinkState::Closed));
    assert_eq!(late.next().await, Fate::LinkDown(LinkState::Closed));
}
