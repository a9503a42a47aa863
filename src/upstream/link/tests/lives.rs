//! Links that follow one another over the same hub.

use super::{
    sends::{a_send, in_mid_write, outbox, send},
    *,
};

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_link_may_follow_another_and_the_log_goes_on() {
    let mut rig = Rig::start(settings());
    let mut server = rig.accept().await;
    rig.state("up").await;
    assert!(rig.hub.publisher().is_none(), "there is one");
    server.send(Message::text("1")).await.unwrap();
    let before = rig.line().await;
    rig.command(Command::Stop).await;
    let closed = rig.state("closed").await;
    drop(server);
    assert_eq!(soon("the end", &mut rig.link).await.unwrap(), Exit::Stopped);
    settle().await;
    rig.read();
    assert!(rig.lines.is_empty(), "it is said once: {:?}", rig.lines);
    assert!(!rig.hub.command(Command::Open).await, "there is none");
    let (send, fates) = a_send("to nobody");
    assert!(!rig.hub.command(Command::Send(send)).await);
    assert_eq!(fates.next().await, Fate::LinkDown(LinkState::Closed));

    rig.again(settings());
    let mut server = rig.accept().await;
    let up = rig.state("up").await;
    assert_eq!(up["conn"], 2, "{up}");
    server.send(Message::text("2")).await.unwrap();
    let after = rig.line().await;
    assert_eq!((before["seq"].as_u64(), after["json"].as_u64()), (Some(3), Some(2)));
    // closed, connecting, up
    assert_eq!([&closed, &up, &after].map(|line| line["seq"].as_u64().unwrap()), [4, 6, 7]);
    assert_eq!(rig.hub.epoch(), "test");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_link_that_is_dropped_leaves_no_send_untold_and_is_closed() {
    let (mut rig, _server, begun, waiting) = in_mid_write().await;
    settle().await;
    let late = send(&rig, "still on its way").await;
    rig.link.abort();
    assert!(soon("the end", &mut rig.link).await.unwrap_err().is_cancelled());
    assert_eq!(begun.next().await, Fate::Unknown);
    assert_eq!(waiting.next().await, Fate::LinkDown(LinkState::Closed));
    assert_eq!(late.next().await, Fate::LinkDown(LinkState::Closed));
    let line = rig.state("closed").await;
    assert_eq!((line["conn"].as_u64(), line["url"].as_str()), (Some(1), Some("ws://simulated/")), "{line}");
    assert_eq!(rig.hub.link().state, LinkState::Closed);

    rig.again(settings());
    rig.accept().await;
    assert_eq!(rig.state("up").await["conn"], 2);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_link_that_is_dropped_while_it_waits_leaves_nothing_in_the_outbox() {
    let mut rig = Rig::start(with(outbox));
    drop(rig.stream().await);
    rig.state("waiting").await;
    let held = send(&rig, "for the next").await;
    assert_eq!(held.next().await, Fate::Queued);
    settle().await;
    assert_eq!(rig.hub.waiting(), 1);
    rig.link.abort();
    assert_eq!(held.next().await, Fate::LinkDown(LinkState::Closed));
    let line = rig.state("closed").await;
    assert_eq!((&line["error"], &line["retry_in_ms"]), (&Value::Null, &Value::Null), "{line}");
    assert_eq!(rig.hub.waiting(), 0);
    assert!(
        rig.hub.last_end().as_ref().is_some_and(|end| end.error.is_some()),
        "what was told of before stays"
    );
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_servers_limits_hold_over_links_that_follow_one_another() {
    let limits = || {
        with(|settings| {
            let window = |count, per| config::Window { count, per };
            settings.terms.limits.connects = vec![window(2, 60 * S)];
            settings.terms.limits.messages = vec![window(3, 60 * S)];
        })
    };
    let began = tokio::time::Instant::now();
    let mut rig = Rig::start(limits());
    let _server = rig.accept().await;
    rig.state("up").await;
    for text in ["1", "2"] {
        assert_eq!(send(&rig, text).await.next().await, Fate::Written);
    }
    rig.command(Command::Stop).await;
    soon("the end", &mut rig.link).await.unwrap();

    rig.again(limits());
    let _server = rig.accept().await;
    rig.state("up").await;
    assert!(began.elapsed() < 30 * S, "the second attempt is within the limit");
    assert_eq!(send(&rig, "3").await.next().await, Fate::Written);
    let fourth = send(&rig, "4").await;
    rig.link.abort(); // dropped, it leaves them as well
    assert_ne!(fourth.next().await, Fate::Written, "the first link's messages count");
    rig.state("closed").await;

    rig.again(limits());
    rig.accept().await;
    assert!(began.elapsed() >= 60 * S, "a third attempt would have been one too many: {:?}", began.elapsed());
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_session_is_resumed_by_the_link_that_follows_unless_it_is_anothers() {
    let session = |url: &str| {
        let text = format!(
            r#"
[upstream]
url = "{url}"
resume_url = "ws://resumed/?s=${{capture:session}}"
[[script.step]]
name = "identify"
send = '{{"last":${{last:/n}}}}'
expect = {{ "/op" = "ready" }}
capture = {{ session = "/session" }}
[[listener]]
path = "/s"
"#
        );
        let Settings { upstream, terms, .. } = Settings::parse(&text);
        Settings { upstream, terms, ..settings() }
    };
    let mut rig = Rig::start(session("ws://simulated/"));
    let mut before = "null";
    for (round, (url, resumes)) in
        [("ws://simulated/", false), ("ws://simulated/", true), ("ws://another/", false)]
            .into_iter()
            .enumerate()
    {
        if round > 0 {
            rig.again(session(url));
        }
        if round == 2 {
            before = "null";
        }
        let mut server = rig.accept().await;
        let identify = next(&mut server).await;
        assert_eq!(identify.to_text().unwrap(), format!("{{\"last\":{before}}}"), "round {round}");
        server.send(Message::text(r#"{"op":"ready","session":"secret-7","n":41}"#)).await.unwrap();
        let up = rig.state("up").await;
        assert_eq!(up["url"].as_str().unwrap().contains("resumed"), resumes, "{up}");
        match round {
            0 => {
                rig.command(Command::Stop).await;
                drop(server);
                soon("the end", &mut rig.link).await.unwrap();
            }
            // dropped in the middle, it leaves the same
            _ => rig.link.abort(),
        }
        rig.state("closed").await;
        before = "41";
    }
}

/// The same log on another machine, where no link has been yet.
fn follower(rig: &Rig) -> Hub {
    let hub = Hub::new(rig.hub.epoch().to_owned(), &config::History::default(), false);
    let (publisher, _) = hub.publisher().expect("it is the first");
    let log = rig.hub.log();
    for seq in log.oldest()..=log.head() {
        publisher.put(seq, 1, log.line(seq, Format::Envelope).expect("it is held")).unwrap();
    }
    drop(publisher);
    hub
}

/// The same log on another machine, whose link follows.
fn go_on_elsewhere(rig: &mut Rig, beside: &CountedBeside, settings: &Settings) {
    let hub = follower(rig);
    let legacy = Legacy::default();
    legacy.of_log(&hub.log(), beside, settings);
    (rig.hub, rig.legacy) = (hub, legacy);
    rig.reader = rig.hub.reader();
    rig.reader.offered(u64::MAX, u64::MAX);
    rig.again(settings.clone());
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_clients_don_t_get_is_counted_on_as_far_as_another_link_has_told_of_it() {
    let text = r#"
[upstream]
url = "ws://simulated/"
hide = { "/hidden" = true }
[sequence]
pointer = "/n"
"#;
    let Settings { upstream, terms, .. } = Settings::parse(text);
    let counting = Settings { upstream, terms, ..settings() };
    let message = |n: u64, hidden: bool| Message::text(format!("{{\"n\":{n},\"hidden\":{hidden}}}"));
    for (is_told, is_whole, then, gap) in [
        (true, true, 8, None),
        (true, true, 10, Some(((8, 9), Some(2)))),
        (true, false, 8, None),
        // it may have heard 8, and not have come to tell of it
        (true, false, 10, Some(((8, 9), None))),
        // an older version, which doesn't tell
        (false, false, 8, Some(((6, 7), None))),
        // and the next one has left in order since
        (false, true, 8, Some(((6, 7), None))),
    ] {
        let mut rig = Rig::start(counting.clone());
        rig.link.abort();
        settle().await;
        let stage = rig.hub.publisher().expect("nobody has it").0.stage().expect("it is the first");
        rig.again(counting.clone());
        let mut server = rig.accept().await;
        settle().await;
        let mut beside = CountedBeside::default();
        beside.is_whole = is_whole;
        for n in 4..8 {
            server.send(message(n, n > 5)).await.unwrap();
            settle().await;
            stage.take_counts().filter(|_| is_told).for_each(|(seq, counted)| beside.note(seq, counted));
        }
        stage.commit(u64::MAX);
        while rig.line().await["json"]["n"] != 5 {}
        if !is_told {
            beside.untold = rig.hub.log().next();
        }

        go_on_elsewhere(&mut rig, &beside, &counting);
        let mut server = rig.accept().await;
        rig.state("up").await;
        server.send(message(then, false)).await.unwrap();
        let mut line = rig.line().await;
        let mut found = None;
        if line["why"] == "upstream" {
            let range = (line["from"].as_u64().unwrap(), line["to"].as_u64().unwrap());
            found = Some((range, line["count"].as_u64()));
            line = rig.line().await;
        }
        assert_eq!((found, &line["json"]["n"]), (gap, &then.into()), "{is_told} {is_whole} {then}");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_link_over_a_log_that_another_wrote_counts_on_where_that_ends() {
    let counting = |sequence: &str| {
        let text = format!("upstream.url = \"ws://simulated/\"\nsequence = {sequence}\n");
        Settings { terms: Settings::parse(&text).terms, ..settings() }
    };
    for (sequence, said, then, gap) in [
        ("{ pointer = \"/n\" }", [r#"{"n":4}"#, r#"{"n":5}"#], r#"{"n":9}"#, Some((6, 8))),
        ("{ pointer = \"/n\" }", [r#"{"n":4}"#, r#"{"n":5}"#], r#"{"n":6}"#, None),
        ("{ pointer = \"/n\" }", [r#"{"n":7}"#, r#"{"n":5}"#], r#"{"n":1}"#, None),
        (
            "{ pointer = \"/n\", per = \"/s\" }",
            [r#" {"s":"b", "n":5}"#, r#"{"n":70,"s":"a"}"#],
            r#"{"n":7,"s":"b"}"#,
            Some((6, 6)),
        ),
        ("{ pointer = \"/n\", from = \"/f\" }", [r#"{"f":1,"n":4}"#, "x"], r#"{"f":7,"n":9}"#, Some((5, 6))),
    ] {
        let mut rig = Rig::start(counting(sequence));
        let mut server = rig.accept().await;
        rig.state("up").await;
        server.send(Message::binary(said[0])).await.unwrap();
        server.send(Message::text(said[1])).await.unwrap();
        for _ in said {
            rig.line().await;
        }

        go_on_elsewhere(&mut rig, &CountedBeside::default(), &counting(sequence));
        let mut server = rig.accept().await;
        rig.state("up").await;
        server.send(Message::text(then)).await.unwrap();
        let mut line = rig.line().await;
        if let Some((from, to)) = gap {
            assert_eq!((&line["type"], &line["why"]), (&"gap".into(), &"upstream".into()), "{line}");
            assert_eq!((&line["from"], &line["to"]), (&from.into(), &to.into()), "{line}");
            assert_eq!(line["count"], to - from + 1, "{line}");
            line = rig.line().await;
        }
        assert_eq!(line["json"].to_string(), serde_json::from_str::<Value>(then).unwrap().to_string());
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn where_one_count_came_to_what_clients_don_t_get_another_may_have_too() {
    let text = "upstream.url = \"ws://simulated/\"\nsequence = { pointer = \"/n\", per = \"/s\" }\n";
    let counting = Settings { terms: Settings::parse(text).terms, ..settings() };
    for (is_beside, count) in [(false, Some(2)), (true, None)] {
        let mut rig = Rig::start(counting.clone());
        let mut server = rig.accept().await;
        rig.state("up").await;
        for said in [r#"{"s":"a","n":4}"#, r#"{"s":"b","n":5}"#] {
            server.send(Message::text(said)).await.unwrap();
            rig.line().await;
        }
        let mut beside = CountedBeside::default();
        if is_beside {
            let counted = Counted { per: "\"a\"".to_owned(), last: 5, ..Counted::default() };
            beside.note(rig.hub.log().next(), counted);
        }

        go_on_elsewhere(&mut rig, &beside, &counting);
        let mut server = rig.accept().await;
        rig.state("up").await;
        server.send(Message::text(r#"{"s":"b","n":8}"#)).await.unwrap();
        let line = rig.line().await;
        assert_eq!((&line["from"], &line["to"]), (&6.into(), &7.into()), "{line}");
        assert_eq!(line["count"].as_u64(), count, "{line}");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn of_a_session_that_another_link_has_outdated_only_the_limits_are_kept() {
    let session = || {
        let text = r#"
[upstream]
url = "ws://simulated/"
resume_url = "ws://resumed/?s=${capture:session}"
[sequence]
pointer = "/n"
[[script.step]]
name = "identify"
send = '{"last":${last:/n}}'
expect = { "/op" = "ready" }
capture = { session = "/session" }
[[listener]]
path = "/s"
"#;
        let Settings { upstream, mut terms, .. } = Settings::parse(text);
        terms.limits.connects = vec![config::Window { count: 2, per: 60 * S }];
        Settings { upstream, terms, ..settings() }
    };
    let began = time::Instant::now();
    let mut rig = Rig::start(session());
    for round in 0..3 {
        if round > 0 {
            rig.legacy.of_log(&rig.hub.log(), &CountedBeside::default(), &session());
            rig.again(session());
        }
        let mut server = rig.accept().await;
        assert_eq!(next(&mut server).await.to_text().unwrap(), r#"{"last":null}"#, "round {round}");
        let number = 41 + 2 * round;
        server
            .send(Message::text(format!(r#"{{"op":"ready","session":"secret-7","n":{number}}}"#)))
            .await
            .unwrap();
        let hole = (round > 0).then(|| number - 1);
        let mut missing = Vec::new();
        let up = loop {
            let line = rig.line().await;
            if line["state"] == "up" {
                break line;
            }
            missing.extend(line["from"].as_u64());
        };
        assert_eq!(missing, hole.as_slice(), "round {round}");
        assert_eq!(up["url"], "ws://simulated/", "it is another session: {up}");
        rig.link.abort();
        rig.state("closed").await;
    }
    assert!(began.elapsed() >= 60 * S, "the attempts of this process count: {:?}", began.elapsed());
}
