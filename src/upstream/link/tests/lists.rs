//! Lists that are taken apart.

use super::*;

/// More elements than a batch has.
const COUNT: u64 = 5_000;

fn split(rest: &str) -> Settings {
    let text = format!(
        "upstream.url = \"ws://simulated/\"\nupstream.split = true\nheartbeat.kind = \"off\"\n{rest}"
    );
    Settings { reconnect: settings().reconnect, ..Settings::parse(&text) }
}

fn asks() -> String {
    let asks: Vec<_> = (0..COUNT).map(|n| format!("{{\"ask\":{n}}}")).collect();
    format!("[{}]", asks.join(","))
}

const REPLY: &str = "[[reply]]\nmatch = { \"/ask\" = { exists = true } }\nsend = '${field:/ask}'\n";

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_list_goes_on_while_its_answers_wait_and_to_its_end_when_they_cannot_go_out() {
    // so little goes out at once that answers wait, and the list with them
    let mut rig = Rig::with_buffer(split(REPLY), 1 << 10);
    let server = rig.accept().await;
    rig.state("up").await;
    let (mut sender, mut receiver) = server.split();
    let asks = asks();
    let sending = tokio::task::spawn_local(async move {
        sender.send(Message::text(asks)).await.unwrap();
        sender
    });
    let before = soon("the list", sending).await.unwrap();
    settle().await;
    let heard = rig.hub.counters().traffic().received;
    assert!(heard < COUNT, "nothing more is taken while 1,024 answers wait: {heard}");
    for n in 0..10 {
        let answer = soon("an answer", receiver.next()).await.unwrap().unwrap();
        assert_eq!(answer.into_text().unwrap().as_str(), n.to_string());
    }
    // the server is gone, and what it said counts
    drop((before, receiver));
    for n in 0..COUNT {
        assert_eq!(rig.line().await["json"]["ask"], n);
    }
    assert_eq!(rig.state("waiting").await["code"], 1006);
    rig.accept().await;
    assert_eq!(rig.state("up").await["conn"], 2);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_server_that_takes_no_answers_to_its_list_is_given_up() {
    let mut rig = Rig::with_buffer(split(REPLY), 1 << 10);
    let mut server = rig.accept().await;
    rig.state("up").await;
    server.feed(Message::text(asks())).await.unwrap();
    let begin = time::Instant::now();
    soon("the list", server.flush()).await.unwrap();
    let line = rig.state("waiting").await;
    assert!(line["error"].as_str().unwrap().contains("nothing could be written"), "{line}");
    assert!(begin.elapsed() < 120 * S);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_connection_that_is_closed_is_read_to_the_end_of_its_list() {
    let mut rig = Rig::with_buffer(split(REPLY), 1 << 10);
    let mut server = rig.accept().await;
    rig.state("up").await;
    soon("the list", server.send(Message::text(asks()))).await.unwrap();
    settle().await;
    assert!(rig.hub.counters().traffic().received < COUNT);
    rig.command(Command::Reconnect).await;
    for n in 0..COUNT {
        assert_eq!(rig.line().await["json"]["ask"], n);
    }
    let mut next = rig.accept().await;
    while rig.line().await["conn"] != 2 {}
    next.send(Message::text("[\"a\",\"b\"]")).await.unwrap();
    assert_eq!([rig.line().await["json"].clone(), rig.line().await["json"].clone()], ["a", "b"]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_long_list_leaves_others_their_turns() {
    let mut rig = Rig::with_buffer(split(""), 1 << 20);
    let mut server = rig.accept().await;
    rig.state("up").await;
    let many: Vec<_> = (0..50_000).map(|n| n.to_string()).collect();
    server.send(Message::text(format!("[{}]", many.join(",")))).await.unwrap();
    let (mut turns, mut received) = (0, 0);
    while received < 50_000 {
        tokio::task::yield_now().await;
        let now = rig.hub.counters().traffic().received;
        // one batch, and the next before others have their turn
        assert!(now - received <= 2 * 1_024, "{} elements in one go", now - received);
        (turns, received) = (turns + 1, now);
        assert!(turns < 100_000, "only {received} came");
    }
}
