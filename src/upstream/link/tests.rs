//! The loop over in-memory streams on a simulated clock.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
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
    hub::{Ahead, Counted, CountedBeside, Cursor, Fate, Hub, Origin, Payload, Permit, Reader, Send, Ticket},
    upstream::wire::{Io, Metered, Wire, dial::Route, target::Target, track::Track},
};

mod closing;
mod flood;
mod limits;
mod lists;
mod lives;
mod much;
mod rig;
mod rotation;
mod sends;
mod topics;

use rig::*;

const S: Duration = Duration::from_secs(1);

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
