//! Requests, and topics, over machines.

use std::{cell::RefCell, rc::Rc, time::Duration};

use serde_json::value::RawValue;

use super::world::{LEASE, World, up};
use crate::{
    config::{self, Pattern, Pointer, SubscriptionAnswer, Template},
    hub::{
        AnswerKind, Asking, Asks, Caller, Cancellation, Command, Fate, NoAnswer, Payload, Permit, Quotas,
        Send, Subscriptions, Ticket, Told, TopicAnswer, TopicState, Word,
    },
};

const MS: Duration = Duration::from_millis(1);

type Heard = Rc<RefCell<Vec<String>>>;

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

/// A client of node 0 asks something; what it is told comes into the list.
fn ask(world: &mut World, id: &str, timeout: Option<Duration>) -> Heard {
    let from = world.client(0, 1);
    let heard = Heard::default();
    let told = Rc::clone(&heard);
    let caller = Caller::new(Rc::clone(&from), Some(raw(id)), move |word| {
        told.borrow_mut().push(match word {
            Told::Answer { payload, more, failed } => format!("{payload} {more} {failed}"),
            Told::Nothing(why) => format!("{why:?}"),
        });
        true
    });
    let waits = caller.clone();
    let ticket = Ticket::new(Permit::of(&from), move |fate| {
        if fate.is_failure() {
            waits.fail(NoAnswer::Fate(fate));
        }
    });
    let quota = Quotas::default().take(1);
    let asks = Asks { caller, is_request: true, timeout, until: None, quota };
    let send = Send { asks: Some(Box::new(asks)), ..Send::new(Payload::Text(format!("1 {id}")), ticket, 0) };
    world.nodes[0].command(world.now, Command::Send(send));
    heard
}

/// A leader, and what it was given to write.
fn given(heard: &mut World, count: usize) -> Vec<Send> {
    let end = heard.now + 1_000 * MS;
    while heard.leads[0].link.as_ref().unwrap().backlog.len() < count {
        heard.step();
        assert!(heard.now < end, "the leader doesn't get it");
    }
    heard.leads[0].link.as_mut().unwrap().backlog.drain(..).collect()
}

fn begun() -> World {
    let mut world = World::new(2, 9, 1);
    world.lead(1, true);
    world.tell_all(up(1));
    world.writes = 0;
    world
}

/// It is written, and awaits its answers.
fn written(send: Send) -> Box<Asks> {
    send.ticket.settle(Fate::Written);
    send.asks.unwrap()
}

#[test]
fn answers_come_to_who_asked_one_or_many_and_end_with_the_last() {
    let mut world = begun();
    let one = ask(&mut world, "\"a\"", None);
    let many = ask(&mut world, "7", None);
    let mut asks: Vec<_> = given(&mut world, 2).into_iter().map(written).collect();
    assert!(asks[0].caller.id() == Some("\"a\"") && asks[1].caller.id() == Some("7"));
    let large = format!("[\"{}\"]", "x".repeat(10_000));
    assert!(asks[0].caller.answer(&large, false, false));
    for (answer, more) in [("1", true), ("2", true), ("3", false)] {
        assert!(asks[1].caller.answer(answer, more, answer == "3"));
    }
    asks.clear();
    world.run(300 * MS);
    assert_eq!(*one.borrow(), [format!("{large} false false")]);
    assert_eq!(*many.borrow(), ["1 true false", "2 true false", "3 false true"]);
    world.kill(1);
    world.tell_all(None);
    world.run(2 * LEASE);
    assert!(one.borrow().len() == 1 && many.borrow().len() == 3, "all was said");
}

#[test]
fn with_its_leader_a_request_ends_and_a_stream() {
    let mut world = begun();
    let (plain, stream, unwritten) =
        (ask(&mut world, "1", None), ask(&mut world, "2", None), ask(&mut world, "3", None));
    let mut sends = given(&mut world, 3);
    let last = sends.pop();
    let asks: Vec<_> = sends.into_iter().map(written).collect();
    assert!(asks[1].caller.answer("{}", true, false));
    world.run(50 * MS);
    world.leads.clear(); // it tells nothing
    drop((asks, last));
    world.tell_all(None);
    world.run(LEASE + 1_000 * MS);
    assert_eq!(*plain.borrow(), ["Fate(Unknown)"]);
    assert_eq!(*stream.borrow(), ["{} true false", "Ended"]);
    assert_eq!(*unwritten.borrow(), ["Fate(Unknown)"]);
    let refused = ask(&mut world, "4", None);
    assert_eq!(*refused.borrow(), ["Fate(LinkDown(Waiting))"], "requests don't wait in the outbox");
}

#[test]
fn a_request_is_cancelled_and_timed_out_by_the_leader_or_where_that_is_silent() {
    let mut world = begun();
    let timed = ask(&mut world, "1", Some(300 * MS));
    let cancelled = ask(&mut world, "2", None);
    let asks: Vec<_> = given(&mut world, 2).into_iter().map(written).collect();
    assert!(asks[0].timeout.is_some_and(|timeout| timeout > 250 * MS && timeout <= 300 * MS));
    let is_there = Rc::new(RefCell::new(None));
    let (from, told) = (world.client(0, 1), Rc::clone(&is_there));
    let tell = Box::new(move |there| *told.borrow_mut() = Some(there));
    let cancellation = Cancellation { from, request: raw("2"), tell };
    world.nodes[0].command(world.now, Command::Cancel(cancellation));
    world.run(50 * MS);
    match world.orders.pop() {
        Some(Command::Cancel(Cancellation { from, request, tell })) => {
            assert_eq!((from.client, request.get()), (asks[1].caller.from().client, "2"));
            asks[1].caller.fail(NoAnswer::Cancelled);
            tell(true);
        }
        other => panic!("{other:?}"),
    }
    world.run(50 * MS);
    assert_eq!((*is_there.borrow(), &cancelled.borrow()[..]), (Some(true), &["Cancelled".to_owned()][..]));
    // the leader should have said that its time is over
    world.run(1_300 * MS);
    assert_eq!(*timed.borrow(), ["Timeout { written: true }"]);
    assert!(!asks[0].caller.answer("{}", false, false), "nobody hears it any more");
}

fn terms() -> config::Subscriptions {
    let mut terms = config::Subscriptions::new(r#"{"sub":[${topics}],"id":${next_id}}"#);
    terms.unsubscribe = Some(Template::parse_message(r#"{"unsub":[${topics}],"id":${next_id}}"#).unwrap());
    terms.linger = Duration::ZERO;
    terms.answer = Some(SubscriptionAnswer {
        accept: Some(Pattern::Text("ok".to_owned())),
        reject: Some(Pattern::Text("no".to_owned())),
        id: Some(Pointer::parse("/id").unwrap()),
        timeout: Duration::from_secs(10),
        ..SubscriptionAnswer::default()
    });
    terms
}

/// A table, and what its clients hear.
fn table() -> (Subscriptions, Heard) {
    let mut table = Subscriptions::default();
    table.set_terms(Some(terms()));
    (table, Heard::default())
}

fn subscribe(world: &mut World, table: &mut Subscriptions, heard: &Heard, client: u64, topics: &[&str]) {
    let (answer, losses) = (Rc::clone(heard), Rc::clone(heard));
    let from = world.client(0, client);
    table.subscribe(
        &from,
        Asking {
            topics: topics.iter().map(ToString::to_string).collect(),
            payload: None,
            answer: Rc::new(move |word| answer.borrow_mut().push(format!("{client} {}", shown(word)))),
            losses: Rc::new(move |word| {
                if let Word::Failed { .. } = word {
                    losses.borrow_mut().push(format!("{client} lost {}", shown(word)));
                }
            }),
            keeps: false,
        },
    );
}

fn shown(word: &Word) -> String {
    match word {
        Word::Failed { trouble, topics, .. } => format!("{trouble:?} {}", topics.join(",")),
        word => format!("{word:?}"),
    }
}

fn tend(world: &mut World, table: &mut Subscriptions) {
    for _ in 0..50 {
        world.nodes[0].tend_topics(world.now, table);
        while let Some((listener, word)) = table.poll_word() {
            listener(&word);
        }
        world.step();
    }
}

/// What the leader's table says to the server, which answers.
fn server(world: &mut World, verdict: AnswerKind) -> Vec<String> {
    let now = world.now;
    let publisher = &world.leads[0].link.as_ref().unwrap().publisher;
    publisher.with_topics(|topics| {
        let mut said = Vec::new();
        while let Some(saying) = topics.next(0) {
            let id = saying.number.to_string();
            topics.said(now, 0, &saying, Some(&id));
            said.push(format!("{:?} {}", saying.kind, saying.topics.join(",")));
            let (topic, taken, key) = (None, None, None);
            topics.heard(0, &TopicAnswer { verdict, id: Some(id), topic, taken, key, words: "no".into() });
        }
        said
    })
}

fn with_topics(world: &World) {
    let publisher = &world.leads[0].link.as_ref().unwrap().publisher;
    publisher.with_topics(|topics| {
        topics.set_terms(Some(terms()));
        topics.open(0);
    });
}

#[test]
fn topics_are_told_the_leader_and_a_new_one_and_given_up_with_the_last() {
    let mut world = begun();
    with_topics(&world);
    let (mut table, heard) = table();
    subscribe(&mut world, &mut table, &heard, 1, &["a", "b"]);
    subscribe(&mut world, &mut table, &heard, 2, &["b"]);
    tend(&mut world, &mut table);
    assert_eq!(server(&mut world, AnswerKind::Accept), ["Subscribe a,b"]);
    tend(&mut world, &mut table);
    let told: Vec<_> = heard.take();
    assert_eq!(told, ["1 Queued", "2 Queued", "1 Subscribed", "2 Subscribed"]);
    subscribe(&mut world, &mut table, &heard, 3, &["no"]);
    tend(&mut world, &mut table);
    assert_eq!(server(&mut world, AnswerKind::Reject), ["Subscribe no"]);
    tend(&mut world, &mut table);
    assert_eq!(heard.take(), ["3 Refused no"]);
    // the next leader knows nothing
    world.leads.clear();
    world.tell_all(None);
    tend(&mut world, &mut table);
    world.lead(2, true);
    with_topics(&world);
    world.tell_all(up(2));
    tend(&mut world, &mut table);
    assert_eq!(server(&mut world, AnswerKind::Accept), ["Subscribe a,b"]);
    table.unsubscribe(world.now, 2, &["b".to_owned()]).unwrap();
    tend(&mut world, &mut table);
    assert!(server(&mut world, AnswerKind::Accept).is_empty(), "another client has it still");
    table.leave(world.now, 1);
    tend(&mut world, &mut table);
    assert_eq!(server(&mut world, AnswerKind::Accept), ["Unsubscribe a,b"]);
    assert!(heard.take().is_empty());
}

/// The leader's table says to the server what it has to say, and hears nothing for so long.
fn unanswered(world: &mut World, wait: Duration) -> Vec<String> {
    let publisher = &world.leads[0].link.as_ref().unwrap().publisher;
    let said = publisher.with_topics(|topics| {
        let mut said = Vec::new();
        while let Some(saying) = topics.next(0) {
            topics.said(world.now, 0, &saying, Some(&saying.number.to_string()));
            said.push(format!("{:?} {}", saying.kind, saying.topics.join(",")));
        }
        said
    });
    world.now += wait;
    let publisher = &world.leads[0].link.as_ref().unwrap().publisher;
    publisher.with_topics(|topics| topics.timeout(world.now));
    said
}

#[test]
fn without_an_answer_under_a_new_leader_a_topic_is_kept_and_its_clients_hear_of_it() {
    let mut world = begun();
    with_topics(&world);
    let (mut table, heard) = table();
    subscribe(&mut world, &mut table, &heard, 1, &["a"]);
    tend(&mut world, &mut table);
    assert_eq!(server(&mut world, AnswerKind::Accept), ["Subscribe a"]);
    tend(&mut world, &mut table);
    assert_eq!(heard.take(), ["1 Queued", "1 Subscribed"]);
    world.leads.clear();
    world.tell_all(None);
    tend(&mut world, &mut table);
    // one more asks for it meanwhile, and one for another
    subscribe(&mut world, &mut table, &heard, 2, &["a"]);
    subscribe(&mut world, &mut table, &heard, 3, &["b"]);
    tend(&mut world, &mut table);
    assert_eq!(heard.take(), ["2 Queued", "3 Queued"]);
    world.lead(2, true);
    with_topics(&world);
    world.tell_all(up(2));
    tend(&mut world, &mut table);
    assert_eq!(unanswered(&mut world, Duration::from_secs(11)), ["Subscribe a,b"]);
    tend(&mut world, &mut table);
    // as on one machine: who asks anew hasn't got it, and who had it may be without messages
    let mut told = heard.take();
    told.sort_unstable();
    assert_eq!(told, ["1 lost Timeout a", "2 Timeout a", "3 Timeout b"]);
    assert_eq!((table.of(1).count(), table.of(2).count(), table.of(3).count()), (1, 0, 0));
    assert_eq!(table.rows(None).map(|(_, _, state)| state).collect::<Vec<_>>(), [TopicState::Subscribed]);
    assert_eq!(
        server(&mut world, AnswerKind::Accept),
        ["Unsubscribe b"],
        "the server may have it, and nobody wants it"
    );
}

#[test]
fn a_topic_lingers_once_on_the_machine_with_the_link() {
    let linger = Duration::from_secs(5);
    let terms = || config::Subscriptions { linger, ..terms() };
    let mut world = begun();
    with_topics(&world);
    world.leads[0].link.as_ref().unwrap().publisher.with_topics(|topics| topics.set_terms(Some(terms())));
    let (mut table, heard) = table();
    table.set_terms(Some(terms()));
    subscribe(&mut world, &mut table, &heard, 1, &["a"]);
    tend(&mut world, &mut table);
    assert_eq!(server(&mut world, AnswerKind::Accept), ["Subscribe a"]);
    tend(&mut world, &mut table);
    for comes_back in [true, false] {
        let gone = world.now;
        table.unsubscribe(gone, 1, &["a".to_owned()]).unwrap();
        assert_eq!(table.next_timeout(), None);
        tend(&mut world, &mut table);
        assert!(unanswered(&mut world, linger / 2).is_empty(), "it lingers");
        if comes_back {
            subscribe(&mut world, &mut table, &heard, 1, &["a"]);
            tend(&mut world, &mut table);
            assert!(unanswered(&mut world, 2 * linger).is_empty(), "it is wanted again");
            continue;
        }
        world.now = gone + linger + Duration::from_millis(100);
        assert!(unanswered(&mut world, Duration::ZERO).is_empty());
        assert_eq!(server(&mut world, AnswerKind::Accept), ["Unsubscribe a"]);
    }
}

#[test]
fn a_node_that_is_gone_gives_up_all() {
    let mut world = begun();
    with_topics(&world);
    let (mut table, heard) = table();
    subscribe(&mut world, &mut table, &heard, 1, &["a"]);
    tend(&mut world, &mut table);
    server(&mut world, AnswerKind::Accept);
    let now = world.now;
    world.leads[0].intake.gone(now, "n0");
    assert_eq!(server(&mut world, AnswerKind::Accept), ["Unsubscribe a"]);
}
