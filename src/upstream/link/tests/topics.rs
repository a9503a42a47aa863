//! Topics that clients share: when the server hears of them, on one connection after the other.

use super::{sends::send, *};
use crate::{
    config::{Pattern, Pointer, Resubscribe, SubscriptionAnswer, Subscriptions},
    hub::{Asking, Callback, Word},
};

type Server = WebSocketStream<DuplexStream>;

fn terms() -> Subscriptions {
    let mut terms = Subscriptions::new(r#"{"sub":[${topics}],"id":${next_id}}"#);
    terms.unsubscribe = Some(Template::parse_message(r#"{"unsub":[${topics}],"id":${next_id}}"#).unwrap());
    let has = |key: &str| Pattern::Json(vec![(Pointer::parse(key).unwrap(), config::Test::Exists(true))]);
    terms.answer = Some(SubscriptionAnswer {
        accept: Some(has("/ok")),
        reject: Some(has("/no")),
        id: Some(Pointer::parse("/id").unwrap()),
        timeout: 10 * S,
        ..SubscriptionAnswer::default()
    });
    terms
}

fn topics(change: impl FnOnce(&mut Subscriptions)) -> Settings {
    let mut terms = terms();
    change(&mut terms);
    with(|settings| settings.terms.subscriptions = Some(terms))
}

/// A client, and what it hears.
struct Program {
    from: Rc<Origin>,
    heard: Rc<RefCell<Vec<String>>>,
}

impl Program {
    fn new(client: u64) -> Program {
        Program { from: Rc::new(Origin::new(1, client)), heard: Rc::default() }
    }

    fn listener(&self, name: &'static str) -> Callback {
        let heard = Rc::clone(&self.heard);
        Rc::new(move |word: &Word| {
            let word = match word {
                Word::Holds { .. } => return,
                Word::Queued => "queued".to_owned(),
                Word::Subscribed => "subscribed".to_owned(),
                Word::Failed { trouble, topics, why } => format!("{trouble:?} {}: {why}", topics.join(",")),
            };
            heard.borrow_mut().push(format!("{name} {word}"));
        })
    }

    fn subscribe(&self, rig: &Rig, topics: &[&str]) {
        let topics = topics.iter().map(ToString::to_string).collect();
        let (answer, losses) = (self.listener("answer"), self.listener("loss"));
        rig.hub.subscribe(&self.from, Asking { topics, payload: None, answer, losses, keeps: false });
    }

    fn unsubscribe(&self, rig: &Rig, topic: &str) {
        rig.hub.unsubscribe(now(), self.from.client, &[topic.to_owned()]).unwrap();
    }

    fn heard(&self) -> Vec<String> {
        self.heard.take()
    }
}

/// A link that is up, its server, and a program that has subscribed to `a`.
async fn subscribed() -> (Rig, Server, Program) {
    let mut rig = Rig::start(topics(|_| {}));
    let program = Program::new(1);
    program.subscribe(&rig, &["a"]);
    let mut server = rig.accept().await;
    accepts(&mut server, "sub", &["a"]).await;
    rig.state("up").await;
    (rig, server, program)
}

/// Waits for the connection's end.
async fn ends(server: &mut Server) {
    while soon("the end", server.next()).await.is_some_and(|message| message.is_ok()) {}
}

/// What the server hears next.
async fn hears(server: &mut Server) -> Value {
    match soon("a message", server.next()).await {
        Some(Ok(Message::Text(text))) => serde_json::from_str(&text).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// The server hears nothing for so long.
async fn hears_nothing(server: &mut Server, time: Duration) {
    let heard = time::timeout(time, server.next()).await;
    assert!(heard.is_err(), "{heard:?}");
}

async fn answers(server: &mut Server, said: &Value, word: &str) {
    let answer = serde_json::json!({ word: true, "id": said["id"] });
    server.send(Message::text(answer.to_string())).await.unwrap();
}

async fn accepts(server: &mut Server, key: &str, topics: &[&str]) {
    let said = hears(server).await;
    assert_eq!(said[key], serde_json::json!(topics), "{said}");
    answers(server, &said, "ok").await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_server_hears_of_the_first_and_of_the_last_after_the_linger() {
    let mut rig = Rig::start(topics(|_| {}));
    let mut server = rig.accept().await;
    rig.state("up").await;
    let (one, other) = (Program::new(1), Program::new(2));
    one.subscribe(&rig, &["a", "b"]);
    let said = hears(&mut server).await;
    other.subscribe(&rig, &["a"]);
    hears_nothing(&mut server, S).await;
    assert_eq!((one.heard(), other.heard()), (vec![], vec![]), "there is no answer yet");
    answers(&mut server, &said, "ok").await;
    server.send(Message::text(r#"{"data":1}"#)).await.unwrap();
    assert_eq!(rig.line().await["json"]["data"], 1, "the answer is nobody's message");
    assert_eq!(
        (one.heard(), other.heard()),
        (vec!["answer subscribed".into()], vec!["answer subscribed".into()])
    );
    one.unsubscribe(&rig, "a");
    // flapping within the linger costs nothing
    for _ in 0..5 {
        other.unsubscribe(&rig, "a");
        hears_nothing(&mut server, S).await;
        other.subscribe(&rig, &["a"]);
    }
    hears_nothing(&mut server, 10 * S).await;
    let left = time::Instant::now();
    rig.hub.leave(&other.from, now());
    accepts(&mut server, "unsub", &["a"]).await;
    assert_eq!(left.elapsed(), 2 * S);
    assert_eq!(rig.hub.topics().rows(None).count(), 1);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn on_a_new_connection_all_are_said_again_after_the_script_and_before_it_is_up() {
    let mut settings = topics(|_| {});
    let mut step = config::Step::new("log in");
    step.send = Some(config::Say::Text(Template::parse(r#"{"login":1}"#).unwrap()));
    step.expect = Some(Pattern::Text("welcome".to_owned()));
    settings.terms.script.steps.push(step);
    let mut rig = Rig::start(settings);
    let program = Program::new(1);
    program.subscribe(&rig, &["a", "b"]);
    assert_eq!(program.heard(), ["answer queued"]);
    for round in 0..3 {
        let mut server = rig.accept().await;
        assert_eq!(hears(&mut server).await["login"], 1);
        hears_nothing(&mut server, S).await;
        server.send(Message::text("welcome")).await.unwrap();
        let said = hears(&mut server).await;
        assert_eq!(said["sub"], serde_json::json!(["a", "b"]));
        time::sleep(S).await;
        assert_ne!(rig.hub.link().state, LinkState::Up, "round {round}");
        answers(&mut server, &said, "ok").await;
        rig.state("up").await;
        let heard = if round == 0 { vec!["answer subscribed".to_owned()] } else { vec![] };
        assert_eq!(program.heard(), heard);
        drop(server);
        rig.state("waiting").await;
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_a_new_connection_refuses_is_told_to_all_who_hold_it_and_the_link_is_up() {
    let mut rig = Rig::start(topics(|_| {}));
    let (one, other) = (Program::new(1), Program::new(2));
    one.subscribe(&rig, &["a", "b"]);
    other.subscribe(&rig, &["a"]);
    let mut server = rig.accept().await;
    accepts(&mut server, "sub", &["a", "b"]).await;
    rig.state("up").await;
    drop(server);
    one.heard();
    other.heard();
    let mut server = rig.accept().await;
    let said = hears(&mut server).await;
    answers(&mut server, &said, "no").await;
    let said = hears(&mut server).await;
    assert_eq!(said["sub"], serde_json::json!(["a"]), "one of them is to blame");
    answers(&mut server, &said, "no").await;
    accepts(&mut server, "sub", &["b"]).await;
    rig.state("up").await;
    let refused = format!("loss Refused a: {{\"id\":{},\"no\":true}}", said["id"]);
    assert_eq!((one.heard(), other.heard()), (vec![refused.clone()], vec![refused]));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_server_that_does_not_answer_keeps_the_link_down_no_longer_than_its_timeout() {
    let mut rig = Rig::start(topics(|_| {}));
    let program = Program::new(1);
    program.subscribe(&rig, &["a"]);
    let mut server = rig.accept().await;
    hears(&mut server).await;
    let asked = time::Instant::now();
    rig.state("up").await;
    assert_eq!(asked.elapsed(), 10 * S);
    let heard = program.heard();
    assert_eq!(heard[1], "answer Timeout a: the server hasn't answered within topics.answer.timeout");
    accepts(&mut server, "unsub", &["a"]).await; // it may have it all the same
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn after_up_is_after_up() {
    let mut rig = Rig::start(topics(|terms| terms.resubscribe = Resubscribe::AfterUp));
    let program = Program::new(1);
    program.subscribe(&rig, &["a"]);
    let mut server = rig.accept().await;
    rig.state("up").await;
    accepts(&mut server, "sub", &["a"]).await;
    drop(server);
    let mut server = rig.accept().await;
    rig.state("up").await;
    accepts(&mut server, "sub", &["a"]).await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_next_connection_has_all_topics_before_it_takes_over() {
    let mut settings = topics(|_| {});
    settings.terms.rotate.after = Some(60 * S);
    let mut rig = Rig::start(settings);
    let program = Program::new(1);
    program.subscribe(&rig, &["a"]);
    let mut old = rig.accept().await;
    accepts(&mut old, "sub", &["a"]).await;
    rig.state("up").await;
    let mut new = rig.accept().await;
    let said = hears(&mut new).await;
    assert_eq!(said["sub"], serde_json::json!(["a"]));
    // what comes meanwhile is said to both
    program.subscribe(&rig, &["b"]);
    accepts(&mut old, "sub", &["b"]).await;
    let more = hears(&mut new).await;
    assert_eq!(rig.hub.link().conn, 1, "the old one goes on");
    answers(&mut new, &said, "ok").await;
    answers(&mut new, &more, "ok").await;
    assert_eq!(rig.state("up").await["conn"], 2);
    program.subscribe(&rig, &["c"]);
    accepts(&mut new, "sub", &["c"]).await;
    new.send(Message::text("news")).await.unwrap();
    assert_eq!(rig.line().await["text"], "news");
    // the old one hears nothing more of topics
    loop {
        match soon("the end", old.next()).await {
            Some(Ok(Message::Close(_))) | None => break,
            Some(Ok(Message::Text(text))) => panic!("{text}"),
            _ => {}
        }
    }
    assert_eq!(program.heard().iter().filter(|heard| heard.contains("subscribed")).count(), 3);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_limits_pace_topics_and_clients_sends_have_every_other_turn() {
    let mut settings = topics(|terms| {
        (terms.batch, terms.answer) = (1, None);
    });
    settings.terms.limits.messages = vec![config::Window { count: 2, per: S }];
    let mut rig = Rig::start(settings);
    let mut server = rig.accept().await;
    rig.state("up").await;
    let begun = time::Instant::now();
    let program = Program::new(1);
    program.subscribe(&rig, &["a", "b", "c", "d"]);
    for number in 0..4 {
        send(&rig, format!(r#"{{"send":{number}}}"#)).await;
    }
    let mut heard = Vec::new();
    for _ in 0..8 {
        let said = hears(&mut server).await;
        let what = if said["sub"].is_array() { "topic" } else { "send" };
        heard.push((what, begun.elapsed().as_secs()));
    }
    for second in 0..4 {
        let within: Vec<_> = heard.iter().filter(|(_, at)| *at == second).map(|(what, _)| *what).collect();
        assert_eq!(within.len(), 2, "{heard:?}");
    }
    let sends = heard[..4].iter().filter(|(what, _)| *what == "send").count();
    assert!((1..=3).contains(&sends), "neither waits for all of the other: {heard:?}");
    assert_eq!(program.heard(), ["answer subscribed"]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn other_words_for_topics_mean_another_connection_and_none_at_all_their_end() {
    let (mut rig, mut server, program) = subscribed().await;
    program.heard();
    rig.settings.send(topics(|terms| terms.linger = 5 * S)).unwrap();
    hears_nothing(&mut server, S).await;
    let other = |terms: &mut Subscriptions| {
        terms.subscribe = Template::parse_message(r#"{"please":[${topics}],"id":${next_id}}"#).unwrap();
    };
    rig.settings.send(topics(other)).unwrap();
    ends(&mut server).await;
    let mut server = rig.accept().await;
    accepts(&mut server, "please", &["a"]).await;
    rig.state("up").await;
    rig.settings.send(settings()).unwrap();
    ends(&mut server).await;
    let _server = rig.accept().await;
    rig.state("up").await;
    assert_eq!(program.heard(), ["loss Ended a: the configuration has no topics.subscribe any more"]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn another_link_says_them_all_again() {
    let (mut rig, mut server, _program) = subscribed().await;
    rig.link.abort();
    ends(&mut server).await;
    soon("its end", &mut rig.link).await.unwrap_err();
    rig.again(topics(|_| {}));
    let mut server = rig.accept().await;
    accepts(&mut server, "sub", &["a"]).await;
    rig.state("up").await;
}
