use std::{cell::RefCell, collections::BTreeMap, time::Duration};

use super::*;
use crate::config::{Pattern, Pointer, SubscriptionAnswer, Template};

mod bounds;
mod model;
mod saying;

const MS: Duration = Duration::from_millis(1);
const LINGER: Duration = Duration::from_secs(2);
const ID: &str = r#"{"sub":[${topics}],"id":${next_id}}"#;

type Heard = Rc<RefCell<Vec<(String, Word)>>>;

/// A table, and what its clients hear: by `CLIENT.ASK`, and by `CLIENT` what comes later.
struct Bench {
    table: Subscriptions,
    heard: Heard,
    origins: BTreeMap<u64, Rc<Origin>>,
    now: Instant,
}

fn terms(answers: bool) -> config::Subscriptions {
    let mut terms = config::Subscriptions::new(ID);
    terms.unsubscribe = Some(Template::parse_message(r#"{"unsub":[${topics}],"id":${next_id}}"#).unwrap());
    terms.batch = 3;
    if answers {
        terms.answer = Some(SubscriptionAnswer {
            accept: Some(Pattern::Text("ok".to_owned())),
            id: Some(Pointer::parse("/id").unwrap()),
            timeout: Duration::from_secs(10),
            ..SubscriptionAnswer::default()
        });
    }
    terms
}

impl Bench {
    fn new(terms: config::Subscriptions) -> Bench {
        let mut table = Subscriptions::default();
        table.set_terms(Some(terms));
        Bench { table, heard: Rc::default(), origins: BTreeMap::new(), now: Instant::now() }
    }

    fn listener(&self, name: String) -> Callback {
        let heard = Rc::clone(&self.heard);
        Rc::new(move |word: &Word| heard.borrow_mut().push((name.clone(), word.clone())))
    }

    /// A client's user is its number over 10.
    fn subscribe(&mut self, client: u64, ask: &str, topics: &[&str], payload: Option<&str>) {
        let origin = || Rc::new(Origin::new(u32::try_from(client / 10).unwrap(), client));
        let from = Rc::clone(self.origins.entry(client).or_insert_with(origin));
        let asking = Asking {
            topics: topics.iter().map(ToString::to_string).collect(),
            payload: payload.map(str::to_owned),
            answer: self.listener(format!("{client}.{ask}")),
            losses: self.listener(format!("{client}")),
            keeps: false,
        };
        self.table.subscribe(&from, asking);
        self.tell();
    }

    fn unsubscribe(&mut self, client: u64, topics: &[&str]) -> Result<(), Vec<String>> {
        let topics: Vec<_> = topics.iter().map(ToString::to_string).collect();
        let done = self.table.unsubscribe(self.now, client, &topics);
        self.tell();
        done
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.table.timeout(self.now);
        self.tell();
    }

    fn tell(&mut self) {
        while let Some((listener, word)) = self.table.poll_word() {
            listener(&word);
        }
    }

    /// All that is said now on a connection, in short, each under its number as an id.
    fn say(&mut self, seat: usize) -> Vec<String> {
        let mut said = Vec::new();
        while let Some(saying) = self.table.next(seat) {
            let sign = if saying.kind == SayingKind::Subscribe { '+' } else { '-' };
            said.push(format!("{sign}{}", saying.topics.join(",")));
            self.table.said(self.now, seat, &saying, Some(&saying.number.to_string()));
        }
        self.tell();
        said
    }

    /// Answers the oldest message that waits for one.
    fn answer(&mut self, seat: usize, verdict: AnswerKind, topic: Option<&str>) -> bool {
        let messages = &self.table.seats[seat].as_ref().unwrap().messages;
        let id = messages.values().next().and_then(|message| message.id.clone());
        let id = id.map(|id| id.to_string());
        let topic = topic.map(str::to_owned);
        let taken = self
            .table
            .heard(seat, &TopicAnswer { verdict, id, topic, words: "no".to_owned(), taken: None, key: None });
        self.tell();
        taken
    }

    /// What was heard since the last look, in short.
    fn heard(&self) -> Vec<String> {
        let short = |(who, word): (String, Word)| match word {
            Word::Queued => Some(format!("{who} queued")),
            Word::Subscribed => Some(format!("{who} subscribed")),
            Word::Failed { trouble, topics, .. } => Some(format!("{who} {trouble:?} {}", topics.join(","))),
            Word::Holds { .. } => None,
        };
        let mut heard: Vec<_> = self.heard.take().into_iter().filter_map(short).collect();
        heard.sort_unstable();
        heard
    }

    fn why(&self) -> String {
        match self.heard.take().pop() {
            Some((_, Word::Failed { why, .. })) => why,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_server_hears_of_the_first_and_of_the_last() {
    let mut bench = Bench::new(terms(true));
    bench.table.open(0);
    bench.subscribe(1, "a", &["x", "y"], None);
    bench.subscribe(2, "a", &["x"], None);
    assert_eq!(bench.say(0), ["+x,y"]);
    assert_eq!(bench.heard(), [] as [&str; 0]);
    assert!(bench.answer(0, AnswerKind::Accept, None));
    assert_eq!(bench.heard(), ["1.a subscribed", "2.a subscribed"]);
    bench.subscribe(3, "a", &["y"], None);
    assert_eq!((bench.say(0), bench.heard()), (vec![], vec!["3.a subscribed".to_owned()]));
    assert_eq!(bench.unsubscribe(1, &["x"]), Ok(()));
    assert_eq!(bench.unsubscribe(1, &["x", "y"]), Err(vec!["x".to_owned()]), "and y stays");
    bench.table.leave(bench.now, 2);
    bench.wait(LINGER - MS);
    assert_eq!(bench.say(0), [] as [&str; 0]);
    bench.wait(MS);
    assert_eq!(bench.say(0), ["-x"]);
    assert!(bench.answer(0, AnswerKind::Accept, None), "it is the answer to that");
    for client in [1, 3] {
        bench.table.leave(bench.now, client);
    }
    bench.wait(LINGER);
    assert_eq!((bench.say(0), bench.table.is_bare()), (vec!["-y".to_owned()], true));
}

#[test]
fn who_flaps_costs_nothing_within_the_linger() {
    let mut bench = Bench::new(terms(true));
    bench.table.open(0);
    bench.subscribe(1, "a", &["x"], None);
    assert_eq!(bench.say(0), ["+x"]);
    bench.answer(0, AnswerKind::Accept, None);
    for _ in 0..10 {
        bench.table.leave(bench.now, 1);
        bench.wait(LINGER - MS);
        bench.subscribe(1, "b", &["x"], None);
        assert_eq!(bench.say(0), [] as [&str; 0]);
    }
    bench.table.leave(bench.now, 1);
    bench.wait(LINGER);
    bench.subscribe(1, "c", &["x"], None);
    assert_eq!(bench.say(0), [] as [&str; 0], "that it goes wasn't said yet");
}

#[test]
fn a_new_connection_is_told_of_all_that_somebody_holds() {
    let mut bench = Bench::new(terms(true));
    bench.subscribe(1, "a", &["x", "z"], None);
    assert_eq!(bench.heard(), ["1.a queued"]);
    bench.subscribe(2, "a", &["y"], None);
    assert_eq!(bench.unsubscribe(2, &["y"]), Ok(()));
    assert_eq!(bench.heard(), ["2.a Cancelled y", "2.a queued"]);
    bench.table.open(0);
    assert!(!bench.table.is_settled(0));
    assert_eq!(bench.say(0), ["+x,z"], "not what lingers");
    bench.answer(0, AnswerKind::Accept, None);
    assert_eq!((bench.table.is_settled(0), bench.heard()), (true, vec!["1.a subscribed".to_owned()]));
    // the next one, while this one goes on: both hear what is new
    bench.table.open(1);
    bench.subscribe(2, "b", &["w"], None);
    assert_eq!(bench.say(1), ["+x,z,w"]);
    assert_eq!(bench.say(0), ["+w"]);
    assert!(bench.answer(1, AnswerKind::Accept, None) && bench.table.is_settled(1));
    assert_eq!(bench.heard(), ["2.b subscribed"]);
    bench.table.close(0);
    bench.subscribe(3, "a", &["v"], None);
    assert_eq!((bench.say(0), bench.say(1)), (vec![], vec!["+v".to_owned()]));
    // it falls before the answer
    bench.table.close(1);
    bench.table.open(0);
    assert_eq!(bench.say(0), ["+v,x,z", "+w"], "by turns");
    bench.answer(0, AnswerKind::Accept, None);
    bench.answer(0, AnswerKind::Accept, None);
    assert_eq!(bench.heard(), ["3.a subscribed"]);
}

#[test]
fn one_that_is_refused_takes_no_others_with_it() {
    let mut bench = Bench::new(terms(true));
    bench.table.open(0);
    bench.subscribe(1, "a", &["x", "bad"], None);
    bench.subscribe(2, "a", &["bad"], None);
    bench.subscribe(2, "b", &["y"], None);
    assert_eq!(bench.say(0), ["+bad,x,y"]);
    assert!(bench.answer(0, AnswerKind::Reject, None));
    assert_eq!((bench.heard(), bench.say(0)), (vec![], vec!["+bad".to_owned(), "+x,y".to_owned()]));
    bench.answer(0, AnswerKind::Reject, None);
    assert_eq!(bench.heard(), ["2.a Refused bad"]);
    bench.answer(0, AnswerKind::Accept, None);
    assert_eq!(bench.heard(), ["1.a Refused bad", "2.b subscribed"]);
    assert_eq!(bench.table.rows(Some(1)).map(|(topic, ..)| &**topic).collect::<Vec<_>>(), ["x"]);
    // refused on the next connection, it is told to all who hold it
    bench.subscribe(2, "c", &["x"], None);
    bench.table.close(0);
    bench.table.open(0);
    assert_eq!(bench.say(0), ["+x,y"]);
    bench.heard();
    bench.answer(0, AnswerKind::Reject, Some("x"));
    assert_eq!(bench.heard(), ["1 Refused x", "2 Refused x"]);
    bench.answer(0, AnswerKind::Accept, Some("y"));
    assert!(bench.table.is_settled(0));
    assert_eq!(bench.say(0), [] as [&str; 0]);
    assert_eq!(bench.table.rows(None).count(), 1);
}

#[test]
fn answers_name_their_topic_or_come_in_order() {
    let mut by_topic = terms(true);
    by_topic.answer.as_mut().unwrap().id = None;
    let mut bench = Bench::new(by_topic);
    bench.table.open(0);
    bench.subscribe(1, "a", &["book.BTC", "book.BT", "tick.BTC"], None);
    bench.subscribe(1, "b", &["other"], None);
    assert_eq!(bench.say(0), ["+book.BT,book.BTC,tick.BTC", "+other"]);
    assert!(bench.answer(0, AnswerKind::Accept, Some("book.BTC")));
    assert!(bench.answer(0, AnswerKind::Accept, Some("BT")));
    assert!(!bench.answer(0, AnswerKind::Accept, Some("TC")), "no part begins there");
    assert!(bench.answer(0, AnswerKind::Accept, Some("other")));
    assert_eq!(bench.heard(), ["1.b subscribed"]);
    assert!(bench.answer(0, AnswerKind::Accept, None), "in order: it is the first message's");
    assert_eq!(bench.heard(), ["1.a subscribed"]);
    assert!(!bench.answer(0, AnswerKind::Accept, None), "nothing waits");
    // the server ends one, which may be asked for again
    assert!(bench.answer(0, AnswerKind::End, Some("tick.BTC")));
    assert_eq!(bench.heard(), ["1 Ended tick.BTC"]);
    bench.subscribe(1, "c", &["tick.BTC"], None);
    assert_eq!(bench.say(0), ["+tick.BTC"]);
}

#[test]
fn what_is_lost_while_others_are_waited_for_is_no_part_of_what_is_had() {
    let mut bench = Bench::new(terms(true));
    bench.table.open(0);
    bench.subscribe(1, "a", &["x", "y"], None);
    bench.say(0);
    bench.answer(0, AnswerKind::Accept, Some("x"));
    assert_eq!(bench.heard(), [""; 0], "it waits for y");
    bench.table.close(0);
    bench.table.open(1);
    bench.say(1);
    bench.answer(1, AnswerKind::Reject, Some("x"));
    bench.answer(1, AnswerKind::Accept, Some("y"));
    assert_eq!(bench.heard(), ["1.a Refused x"], "not that it has both");
    bench.answer(1, AnswerKind::End, Some("y"));
    assert_eq!(bench.heard(), ["1 Ended y"], "what is had is lost by itself");
}

#[test]
fn what_is_not_answered_is_given_up_by_who_asked_and_kept_for_the_others() {
    let mut bench = Bench::new(terms(true));
    bench.table.open(0);
    bench.subscribe(1, "a", &["x"], None);
    assert_eq!(bench.say(0), ["+x"]);
    assert_eq!(bench.table.next_timeout(), Some(bench.now + 10_000 * MS));
    bench.wait(10_000 * MS);
    assert_eq!(bench.heard(), ["1.a Timeout x"]);
    bench.wait(LINGER);
    assert_eq!(bench.say(0), ["-x"], "it may have it");
    bench.subscribe(1, "a", &["y"], None);
    bench.say(0);
    bench.answer(0, AnswerKind::Accept, None); // of the unsubscription
    bench.answer(0, AnswerKind::Accept, None);
    bench.table.close(0);
    bench.table.open(0);
    bench.say(0);
    bench.heard();
    bench.wait(10_000 * MS);
    assert_eq!((bench.table.is_settled(0), bench.heard()), (true, vec!["1 Timeout y".to_owned()]));
    assert_eq!(bench.table.rows(Some(1)).count(), 1);
}

#[test]
fn without_answers_what_is_said_is_done() {
    let mut bench = Bench::new(terms(false));
    bench.table.open(0);
    bench.subscribe(1, "a", &["x"], None);
    assert_eq!((bench.say(0), bench.heard()), (vec!["+x".to_owned()], vec!["1.a subscribed".to_owned()]));
    assert!(bench.table.is_settled(0));
    bench.table.leave(bench.now, 1);
    bench.wait(LINGER);
    assert_eq!(bench.say(0), ["-x"]);
}

#[test]
fn what_a_client_may_not_have_any_more_it_gives_up() {
    let mut bench = Bench::new(terms(true));
    bench.table.open(0);
    bench.subscribe(1, "a", &["w", "x"], None);
    assert_eq!(bench.say(0), ["+w,x"]);
    bench.answer(0, AnswerKind::Accept, None);
    bench.subscribe(1, "b", &["x", "y"], None);
    bench.subscribe(2, "a", &["x"], None);
    bench.heard();
    bench.table.revoke(bench.now, 1, |_| true);
    bench.table.revoke(bench.now, 1, |topic| topic == "w");
    bench.table.revoke(bench.now, 7, |_| false);
    bench.tell();
    assert_eq!(bench.heard(), ["1 Forbidden x", "1.b Forbidden y"]);
    assert_eq!(bench.table.rows(Some(1)).map(|(topic, ..)| &**topic).collect::<Vec<_>>(), ["w"]);
    assert_eq!(bench.table.rows(Some(2)).count(), 1, "the other's stay");
}

#[test]
fn topics_that_a_new_configuration_cannot_say_are_lost() {
    let mut bench = Bench::new(terms(true));
    bench.subscribe(1, "a", &["x", "x.y"], None);
    bench.heard();
    let mut new = config::Subscriptions::new(r#"{"of":${topic:2},"in":${topic:1}}"#);
    new.answer = terms(true).answer;
    bench.table.set_terms(Some(new));
    bench.tell();
    assert_eq!(bench.heard(), [""; 0], "it has another topic that waits");
    bench.table.open(0);
    assert_eq!(bench.say(0), ["+x.y"]);
    bench.answer(0, AnswerKind::Accept, None);
    assert_eq!(bench.heard(), ["1.a Refused x"]);
}

#[test]
fn a_configuration_without_them_loses_them() {
    let mut bench = Bench::new(terms(true));
    bench.subscribe(1, "a", &["x"], None);
    bench.table.set_terms(None);
    bench.tell();
    assert_eq!(bench.heard(), ["1.a Ended x", "1.a queued"]);
    assert!(bench.table.is_bare());
}
