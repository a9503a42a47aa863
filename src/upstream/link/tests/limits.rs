//! What the server takes: messages in a window, and their size.

use super::{
    sends::{send, send_of},
    *,
};
use crate::config::{Excess, Window};

fn one_in_ten_seconds(settings: &mut Settings) {
    settings.terms.limits.messages = vec![Window { count: 1, per: 10 * S }];
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn sends_wait_for_their_turn_in_order() {
    let mut rig = Rig::start(with(one_in_ten_seconds));
    let mut server = rig.accept().await;
    rig.state("up").await;
    let begin = time::Instant::now();
    let fates = [send(&rig, "0").await, send(&rig, "1").await, send(&rig, "2").await];
    for n in 0..3 {
        assert_eq!(next(&mut server).await, Message::text(n.to_string()));
        assert_eq!(begin.elapsed().as_secs(), n * 10);
        assert_eq!(fates[n as usize].next().await, Fate::Written);
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_send_waits_for_its_turn_no_longer_than_so_long_after_its_client_has_gone() {
    let mut rig = Rig::start(with(|settings| {
        settings.terms.limits.messages = vec![Window { count: 1, per: 1_000 * S }];
    }));
    let mut server = rig.accept().await;
    rig.state("up").await;
    assert_eq!(send(&rig, "0").await.next().await, Fate::Written);
    next(&mut server).await;
    let (client, staying) = (Rc::new(Origin::new(1, 1)), Rc::new(Origin::new(1, 2)));
    let [waits, stays] = [&client, &staying].map(|from| send_of(from, "1"));
    rig.command(Command::Send(waits.0)).await;
    rig.command(Command::Send(stays.0)).await;
    settle().await;
    let begin = time::Instant::now();
    time::sleep(60 * S).await;
    rig.hub.leave(&client, now()); // the link sleeps until the next may go out
    assert_eq!(waits.1.next().await, Fate::Expired);
    assert_eq!(begin.elapsed(), 60 * S + Origin::AFTERLIFE);
    assert!(stays.1.none());
    rig.hub.leave(&staying, now());
    rig.hub.leave(&staying, now());
    assert_eq!(stays.1.next().await, Fate::Expired);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_send_that_waits_for_its_turn_is_told_when_the_link_goes_down() {
    let mut rig = Rig::start(with(one_in_ten_seconds));
    let mut server = rig.accept().await;
    rig.state("up").await;
    let (first, second) = (send(&rig, "0").await, send(&rig, "1").await);
    next(&mut server).await;
    assert_eq!(first.next().await, Fate::Written);
    drop(server);
    assert_eq!(second.next().await, Fate::LinkDown(LinkState::Waiting));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn with_excess_refuse_what_is_too_many_is_told_so_at_once() {
    let mut rig = Rig::start(with(|settings| {
        settings.terms.limits.messages = vec![Window { count: 2, per: 10 * S }];
        settings.terms.limits.excess = Excess::Refuse;
    }));
    let mut server = rig.accept().await;
    rig.state("up").await;
    let fates = [send(&rig, "0").await, send(&rig, "1").await, send(&rig, "2").await];
    assert_eq!(fates[2].next().await, Fate::RateLimited);
    assert_eq!(fates[0].next().await, Fate::Written);
    assert_eq!(fates[1].next().await, Fate::Written);
    time::sleep(10 * S).await;
    assert_eq!(send(&rig, "3").await.next().await, Fate::Written);
    for text in ["0", "1", "3"] {
        assert_eq!(next(&mut server).await, Message::text(text));
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_message_that_is_too_large_is_told_so_also_while_the_link_is_down() {
    let mut rig = Rig::start(with(|settings| settings.terms.limits.max_message = Some(10)));
    let stream = rig.stream().await;
    assert_eq!(send(&rig, "12345678901").await.next().await, Fate::TooLarge(10));
    let _server = accept_async(stream).await.unwrap();
    rig.state("up").await;
    assert_eq!(send(&rig, "12345678901").await.next().await, Fate::TooLarge(10));
    assert_eq!(send(&rig, "1234567890").await.next().await, Fate::Written);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_heartbeat_uses_the_reserve_and_a_pong_is_counted() {
    let mut rig = Rig::start(with(|settings| {
        pings(settings);
        settings.terms.limits.messages = vec![Window { count: 3, per: 1_000 * S }];
        settings.terms.limits.reserve = 1;
    }));
    let mut server = rig.accept().await;
    rig.state("up").await;
    server.send(Message::Ping("1".into())).await.unwrap();
    assert!(next(&mut server).await.is_pong());
    let (first, second) = (send(&rig, "0").await, send(&rig, "1").await);
    assert_eq!(next(&mut server).await, Message::text("0"));
    assert_eq!(first.next().await, Fate::Written);
    let begin = time::Instant::now();
    assert!(next(&mut server).await.is_ping(), "the reserve is its own");
    assert_eq!(begin.elapsed().as_secs(), 30);
    assert!(second.none());
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_server_that_asks_and_asks_and_takes_no_answer_is_noticed() {
    for (is_gone, error) in [(false, "nothing could be written"), (true, "ended the connection")] {
        let pattern = config::Pattern::Text("?".into());
        let send = config::Say::Text(Template::literal(&"!".repeat(2_000)));
        let mut rig = Rig::start(with(|settings| {
            settings.terms.replies = vec![config::Reply { pattern, send, publish: false }];
        }));
        let mut server = rig.accept().await;
        rig.state("up").await;
        // until wsfan reads no more, since too much waits to be said
        while let Ok(asked) = time::timeout(S, server.send(Message::text("?".repeat(100)))).await {
            asked.unwrap();
        }
        let _server = (!is_gone).then_some(server);
        let line = rig.state("waiting").await;
        assert!(line["error"].as_str().unwrap().contains(error), "{line}");
    }
}
