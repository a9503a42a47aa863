//! The loop over in-memory streams on a simulated clock.

use std::{
    cell::{Cell, RefCell},
    io,
    pin::Pin,
    rc::Rc,
    task::ready,
};

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf},
    sync::{Notify, mpsc},
    task::JoinHandle,
};
use tokio_tungstenite::{
    WebSocketStream, accept_async,
    tungstenite::{Message, protocol::Role},
};

use super::*;
use crate::{
    config::{self, Format, HeartbeatKind, Template},
    hub::{Ahead, Cursor, Fate, Hub, Origin, Payload, Permit, Reader, Ticket},
    upstream::wire::{Io, Metered, Wire, dial::Route, target::Target, track::Track},
};

mod limits;
mod lives;
mod much;
mod rig;
mod rotation;
mod sends;
mod topics;

use rig::*;

const S: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

#[tokio::test(flavor = "local", start_paused = true)]
async fn nobody_waited_for_an_answer_on_a_dead_link_but_now_it_is_noticed() {
    let mut rig = Rig::start(with(pings));
    let _silent = rig.accept().await;
    rig.state("up").await;
    let begin = time::Instant::now();
    let line = rig.state("waiting").await;
    assert_eq!(begin.elapsed().as_secs(), 40);
    assert_eq!(line["code"], 1006);
    assert!(line["error"].as_str().unwrap().contains("no sign of life"), "{line}");
    rig.accept().await;
    assert_eq!(rig.state("up").await["conn"], 2);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_pong_is_proof_and_is_measured() {
    let mut rig = Rig::start(with(pings));
    let mut server = rig.accept().await;
    rig.state("up").await;
    for _ in 0..5 {
        assert!(next(&mut server).await.is_ping());
        server.flush().await.unwrap(); // the automatic pong
        time::sleep(S).await;
    }
    assert_eq!(rig.hub.link().state, LinkState::Up);
    assert_eq!(rig.hub.link().heartbeat_rtt, Some(Duration::ZERO));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_lies_in_the_socket_counts_before_a_deadline_does() {
    let mut rig = Rig::start(with(pings));
    let mut server = rig.accept().await;
    rig.state("up").await;
    assert!(next(&mut server).await.is_ping());
    server.send(Message::text("late, but here")).await.unwrap();
    time::advance(10 * S).await;
    assert_eq!(rig.line().await["text"], "late, but here");
    settle().await;
    assert_eq!(rig.hub.link().state, LinkState::Up);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_servers_ping_is_answered_at_once() {
    let mut rig = Rig::start(settings());
    let mut server = rig.accept().await;
    rig.state("up").await;
    server.send(Message::Ping("are you there".into())).await.unwrap();
    let begin = time::Instant::now();
    assert_eq!(next(&mut server).await, Message::Pong("are you there".into()));
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_part_of_a_long_message_is_a_sign_of_life() {
    let mut rig = Rig::start(with(pings));
    let mut stream = accept_async(rig.stream().await).await.unwrap().into_inner();
    rig.state("up").await;
    stream.write_all(&[0x82, 126, 0, 100]).await.unwrap();
    for _ in 0..100 {
        time::sleep(5 * S).await;
        stream.write_all(b"x").await.unwrap();
    }
    assert!(rig.line().await["binary"].is_string());
    assert_eq!(rig.hub.link().conn, 1);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn messages_come_between_up_and_what_follows() {
    let mut rig = Rig::start(settings());
    let mut server = rig.accept().await;
    for n in 0..3_000 {
        server.feed(Message::text(n.to_string())).await.unwrap();
    }
    server.close(None).await.unwrap();
    drop(server);
    assert_eq!(rig.line().await["state"], "connecting");
    assert_eq!(rig.line().await["state"], "up");
    for n in 0..3_000 {
        assert_eq!(rig.line().await["json"], n);
    }
    let waiting = rig.line().await;
    assert_eq!((&waiting["state"], &waiting["code"]), (&"waiting".into(), &1005.into()));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_message_that_is_too_large_is_answered_with_1009() {
    let mut rig = Rig::start(with(|settings| settings.upstream.max_message = 1_000));
    let mut server = rig.accept().await;
    server.send(Message::text("x".repeat(1_000))).await.unwrap();
    server.send(Message::text("x".repeat(1_001))).await.unwrap();
    let Message::Close(Some(frame)) = next(&mut server).await else { panic!("a close frame is due") };
    assert_eq!(u16::from(frame.code), 1009);
    drop(server);
    rig.state("up").await;
    assert_eq!(rig.line().await["type"], "message");
    let line = rig.line().await;
    assert_eq!((&line["state"], &line["code"]), (&"waiting".into(), &1009.into()));
    assert!(line["error"].as_str().unwrap().contains("1000 bytes of upstream.max_message"), "{line}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_comes_during_our_closing_handshake_is_not_lost() {
    let mut rig = Rig::start(settings());
    let server = rig.accept().await;
    rig.state("up").await;
    rig.command(Command::Close).await;
    let mut stream = server.into_inner();
    let mut close = [0; 8];
    stream.read_exact(&mut close).await.unwrap();
    assert_eq!(close[0], 0x88);
    // a message that was on its way, and then the answer
    stream.write_all(&[0x81, 1, b'7', 0x88, 2, 3, 232]).await.unwrap();
    drop(stream);
    assert_eq!(rig.line().await["json"], 7);
    let closed = rig.line().await;
    assert_eq!((&closed["state"], &closed["code"]), (&"closed".into(), &1000.into()));
    rig.command(Command::Open).await;
    rig.accept().await;
    rig.state("up").await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_server_that_does_not_answer_a_close_frame_is_left_at_the_deadline() {
    let mut rig = Rig::start(settings());
    let server = rig.accept().await;
    rig.state("up").await;
    let begin = time::Instant::now();
    rig.command(Command::Stop).await;
    assert_eq!(rig.ended().await, Exit::Stopped);
    assert_eq!(begin.elapsed(), 2 * S);
    drop(server);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_second_stop_is_at_once() {
    let mut rig = Rig::start(settings());
    let _server = rig.accept().await;
    rig.state("up").await;
    let begin = time::Instant::now();
    rig.command(Command::Stop).await;
    rig.command(Command::Stop).await;
    assert_eq!(rig.ended().await, Exit::Stopped);
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_attempt_has_a_time_limit_for_all_of_it() {
    let mut rig = Rig::start(settings());
    let begin = time::Instant::now();
    let _mute = rig.stream().await;
    let line = rig.state("waiting").await;
    assert_eq!(begin.elapsed().as_secs(), 10);
    let error = line["error"].as_str().unwrap();
    assert_eq!(error, "no connection to ws://simulated/ within 10s: it didn't answer the upgrade request");
    assert_eq!(line["code"], Value::Null);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn while_the_hub_is_not_ready_nothing_is_read_and_nobody_is_declared_dead() {
    let mut rig = Rig::start(with(pings));
    let mut server = rig.accept().await;
    rig.state("up").await;
    // a fan-out that has offered what there is, and then falls behind
    let head = rig.hub.log().head();
    rig.reader.offered(head, u64::MAX);
    server.send(Message::text("1")).await.unwrap();
    assert_eq!(rig.line().await["json"], 1);
    server.send(Message::text("2")).await.unwrap();
    time::sleep(300 * S).await;
    rig.read();
    assert!(rig.lines.is_empty(), "{:?}", rig.lines);
    assert_eq!(rig.hub.link().state, LinkState::Up);
    rig.reader.offered(u64::MAX, u64::MAX);
    assert_eq!(rig.line().await["json"], 2);
}

/// A stream that has another message to read whenever one is wanted, once the upgrade is done.
struct Endless {
    inner: DuplexStream,
    upgraded: bool,
    at: usize,
}

impl AsyncRead for Endless {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.upgraded {
            ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
            self.upgraded = buf.filled().ends_with(b"\r\n\r\n");
            return Poll::Ready(Ok(()));
        }
        // the others get their turn now and then, as with a socket, though sooner
        for _ in 0..32 {
            ready!(tokio::task::coop::poll_proceed(cx)).made_progress();
        }
        for _ in 0..buf.remaining().min(4_096) {
            buf.put_slice(&[[0x81, 1, b'7'][self.at % 3]]);
            self.at += 1;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Endless {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_flood_starves_neither_heartbeats_nor_settings_nor_commands() {
    let endless = |inner| Endless { inner, upgraded: false, at: 0 };
    let mut rig = Rig::over(with(pings), 64 << 10, endless);
    let mut server = rig.accept().await;
    rig.state("up").await;
    // the flood never lets the simulated clock move by itself; nor must anything below wait for it
    time::advance(31 * S).await;
    assert!(within_turns(&mut server).await.is_ping());
    rig.settings.send_modify(|settings| settings.heartbeat.interval = S);
    time::advance(2 * S).await;
    assert!(within_turns(&mut server).await.is_ping());
    rig.command(Command::Close).await;
    assert!(within_turns(&mut server).await.is_close());
    rig.command(Command::Stop).await;
    rig.command(Command::Stop).await;
    assert_eq!(rig.ended().await, Exit::Stopped);
}

/// The next frame, before the others had many turns.
async fn within_turns(server: &mut WebSocketStream<DuplexStream>) -> Message {
    for _ in 0..200 {
        if let Some(message) = futures_util::FutureExt::now_or_never(server.next()) {
            return message.unwrap().unwrap();
        }
        tokio::task::yield_now().await;
    }
    panic!("waited in vain for a frame");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_new_interval_reaches_the_live_link() {
    let mut rig = Rig::start(with(|settings| {
        pings(settings);
        settings.heartbeat.interval = 3_000 * S;
    }));
    let mut server = rig.accept().await;
    rig.state("up").await;
    let begin = time::Instant::now();
    rig.settings.send_modify(|settings| settings.heartbeat.interval = 20 * S);
    assert!(next(&mut server).await.is_ping());
    assert_eq!(begin.elapsed().as_secs(), 20);
    assert_eq!(rig.hub.link().conn, 1, "nothing was dropped");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_ping_flood_from_a_server_that_does_not_read_is_bounded() {
    let mut rig = Rig::with_buffer(settings(), 4 << 10);
    let mut stream = accept_async(rig.stream().await).await.unwrap().into_inner();
    rig.state("up").await;
    let mut ping = vec![0x89, 125];
    ping.resize(127, b'p');
    // what the link doesn't answer any more it doesn't read any more
    let mut taken = 0;
    while time::timeout(S, stream.write_all(&ping)).await.is_ok() {
        taken += 1;
        assert!(taken < 5_000, "the pongs pile up");
    }
    let begin = time::Instant::now();
    let line = rig.state("waiting").await;
    assert!(begin.elapsed() <= 30 * S);
    assert!(line["error"].as_str().unwrap().contains("nothing could be written for 30s"), "{line}");
}

#[test]
fn a_wait_is_counted_from_the_time_of_its_line() {
    let began = Instant::now();
    let (retry_in, retry_at) = (Some(500 * MS), Some(began + 500 * MS));
    let status = LinkStatus { state: LinkState::Waiting, retry_in, retry_at, ..LinkStatus::default() };
    for (late, left) in [(0, 500), (7, 493), (499, 1), (600, 0)] {
        let told = at_its_time(status.clone(), 99, began + late * MS);
        assert_eq!((told.since_us, told.retry_in), (99, Some(left * MS)), "{late} ms later");
    }
    let up = LinkStatus { state: LinkState::Up, ..LinkStatus::default() };
    assert_eq!(at_its_time(up, 99, began).retry_in, None);
}
