use std::{cell::RefCell, collections::BTreeMap, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::config::{Pattern, Pointer, SubscriptionAnswer, Template};

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

    fn listener(&self, name: String) -> Listener {
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
            let sign = if saying.kind == Kind::Subscribe { '+' } else { '-' };
            said.push(format!("{sign}{}", saying.topics.join(",")));
            self.table.said(self.now, seat, &saying, Some(&saying.number.to_string()));
        }
        self.tell();
        said
    }

    /// Answers the oldest message that waits for one.
    fn answer(&mut self, seat: usize, verdict: Verdict, topic: Option<&str>) -> bool {
        let messages = &self.table.seats[seat].as_ref().unwrap().messages;
        let id = messages.values().next().and_then(|message| message.id.clone());
        let id = id.map(|id| id.to_string());
        let topic = topic.map(str::to_owned);
        let taken = self.table.heard(seat, &Answer { verdict, id, topic, words: "no".to_owned() });
        self.tell();
        taken
    }

    /// What was heard since the last look, in short.
    fn heard(&self) -> Vec<String> {
        let short = |(who, word): (String, Word)| match word {
            Word::Queued => format!("{who} queued"),
            Word::Subscribed => format!("{who} subscribed"),
            Word::Failed { trouble, topics, .. } => format!("{who} {trouble:?} {}", topics.join(",")),
        };
        let mut heard: Vec<_> = self.heard.take().into_iter().map(short).collect();
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
    assert!(bench.answer(0, Verdict::Accept, None));
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
    assert!(bench.answer(0, Verdict::Accept, None), "it is the answer to that");
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
    bench.answer(0, Verdict::Accept, None);
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
    bench.answer(0, Verdict::Accept, None);
    assert_eq!((bench.table.is_settled(0), bench.heard()), (true, vec!["1.a subscribed".to_owned()]));
    // the next one, while this one goes on: both hear what is new
    bench.table.open(1);
    bench.subscribe(2, "b", &["w"], None);
    assert_eq!(bench.say(1), ["+x,z,w"]);
    assert_eq!(bench.say(0), ["+w"]);
    assert!(bench.answer(1, Verdict::Accept, None) && bench.table.is_settled(1));
    assert_eq!(bench.heard(), ["2.b subscribed"]);
    bench.table.close(0);
    bench.subscribe(3, "a", &["v"], None);
    assert_eq!((bench.say(0), bench.say(1)), (vec![], vec!["+v".to_owned()]));
    // it falls before the answer
    bench.table.close(1);
    bench.table.open(0);
    assert_eq!(bench.say(0), ["+v,x,z", "+w"], "by turns");
    bench.answer(0, Verdict::Accept, None);
    bench.answer(0, Verdict::Accept, None);
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
    assert!(bench.answer(0, Verdict::Reject, None));
    assert_eq!((bench.heard(), bench.say(0)), (vec![], vec!["+bad".to_owned(), "+x,y".to_owned()]));
    bench.answer(0, Verdict::Reject, None);
    assert_eq!(bench.heard(), ["2.a Refused bad"]);
    bench.answer(0, Verdict::Accept, None);
    assert_eq!(bench.heard(), ["1.a Refused bad", "2.b subscribed"]);
    assert_eq!(bench.table.rows(Some(1)).map(|(topic, ..)| &**topic).collect::<Vec<_>>(), ["x"]);
    // refused on the next connection, it is told to all who hold it
    bench.subscribe(2, "c", &["x"], None);
    bench.table.close(0);
    bench.table.open(0);
    assert_eq!(bench.say(0), ["+x,y"]);
    bench.heard();
    bench.answer(0, Verdict::Reject, Some("x"));
    assert_eq!(bench.heard(), ["1 Refused x", "2 Refused x"]);
    bench.answer(0, Verdict::Accept, Some("y"));
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
    assert!(bench.answer(0, Verdict::Accept, Some("book.BTC")));
    assert!(bench.answer(0, Verdict::Accept, Some("BT")));
    assert!(!bench.answer(0, Verdict::Accept, Some("TC")), "no part begins there");
    assert!(bench.answer(0, Verdict::Accept, Some("other")));
    assert_eq!(bench.heard(), ["1.b subscribed"]);
    assert!(bench.answer(0, Verdict::Accept, None), "in order: it is the first message's");
    assert_eq!(bench.heard(), ["1.a subscribed"]);
    assert!(!bench.answer(0, Verdict::Accept, None), "nothing waits");
    // the server ends one, which may be asked for again
    assert!(bench.answer(0, Verdict::End, Some("tick.BTC")));
    assert_eq!(bench.heard(), ["1 Ended tick.BTC"]);
    bench.subscribe(1, "c", &["tick.BTC"], None);
    assert_eq!(bench.say(0), ["+tick.BTC"]);
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
    bench.answer(0, Verdict::Accept, None); // of the unsubscription
    bench.answer(0, Verdict::Accept, None);
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
fn an_id_leads_to_its_topic() {
    let mut terms = config::Subscriptions::new(r#"{"id":${next_id},"of":${topic},"p":${payload}}"#);
    terms.unsubscribe = Some(Template::parse_message(r#"{"end":${subscribed_id}}"#).unwrap());
    terms.id_topic = Some(Pointer::parse("/id").unwrap());
    terms.answer = Some(SubscriptionAnswer {
        reject: Some(Pattern::Text("error".to_owned())),
        end: Some(Pattern::Text("complete".to_owned())),
        ..SubscriptionAnswer::default()
    });
    terms.linger = Duration::ZERO;
    let mut bench = Bench::new(terms);
    bench.table.open(0);
    bench.subscribe(1, "a", &["x"], Some("1"));
    bench.subscribe(1, "b", &["y"], Some("2"));
    bench.subscribe(2, "a", &["y"], Some("3"));
    assert_eq!(bench.why(), "the topic \"y\" is subscribed to with another `json`");
    let sayings: Vec<_> = std::iter::from_fn(|| {
        let saying = bench.table.next(0)?;
        bench.table.said(bench.now, 0, &saying, Some(&format!("\"id-{}\"", saying.topics[0])));
        Some(saying)
    })
    .collect();
    assert_eq!(
        sayings.iter().map(|saying| saying.payload.as_deref()).collect::<Vec<_>>(),
        [Some("1"), Some("2")]
    );
    bench.tell();
    assert_eq!(bench.heard(), ["1.a subscribed", "1.b subscribed"]);
    assert_eq!(bench.table.topic_of(0, "\"id-x\"").map(|topic| &**topic), Some("x"));
    assert_eq!(bench.table.topic_of(0, "\"id-z\""), None);
    let late =
        |verdict, id: &str| Answer { verdict, id: Some(id.to_owned()), topic: None, words: "w".to_owned() };
    assert!(!bench.table.heard(0, &late(Verdict::Reject, "7")), "somebody else's");
    assert!(bench.table.heard(0, &late(Verdict::Reject, "\"id-x\"")));
    bench.tell();
    assert_eq!(bench.heard(), ["1 Refused x"]);
    bench.unsubscribe(1, &["y"]).unwrap();
    let end = bench.table.next(0).unwrap();
    assert_eq!((end.kind, end.subscribed_id.as_deref()), (Kind::Unsubscribe, Some("\"id-y\"")));
    assert!(bench.table.next(0).is_none(), "x is gone");
}

#[test]
fn what_is_too_large_is_said_in_parts_and_what_cannot_be_said_is_refused() {
    let mut bench = Bench::new(terms(true));
    bench.table.open(0);
    bench.subscribe(1, "a", &["x", "y", "zz"], None);
    let saying = bench.table.next(0).unwrap();
    bench.table.too_large(0, &saying, "too large");
    assert_eq!(bench.table.next(0).unwrap().topics, ["x".into()] as [Topic; 1]);
    let rest = bench.table.next(0).unwrap();
    bench.table.too_large(0, &rest, "too large");
    bench.table.next(0).unwrap();
    let last = bench.table.next(0).unwrap();
    bench.table.too_large(0, &last, "too large");
    assert!(bench.table.next(0).is_none());
    for number in bench.table.seats[0].as_ref().unwrap().messages.keys().copied().collect::<Vec<_>>() {
        let message = bench.table.seats[0].as_mut().unwrap().messages.get_mut(&number).unwrap();
        message.id = Some(number.to_string().into());
    }
    bench.answer(0, Verdict::Accept, None);
    bench.answer(0, Verdict::Accept, None);
    assert_eq!(bench.heard(), ["1.a Refused zz"]);
    assert_eq!(bench.say(0), [] as [&str; 0], "what wasn't said isn't taken back");
}

#[test]
fn what_is_not_good_is_said_and_leaves_nothing() {
    let none: [&str; 0] = [];
    let long = "x".repeat(257);
    let many: Vec<_> = (0..92).map(|number| format!("t{number}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let mut few = terms(true);
    few.max = 100;
    let mut bench = Bench::new(few);
    for (topics, payload, trouble, part) in [
        (&none[..], None, "BadRequest", "`topics` is empty"),
        (&[""], None, "BadRequest", "the topic \"\" is empty"),
        (&["a", "b\n"], None, "BadRequest", "control characters"),
        (&[&*long], None, "BadRequest", "has 257 bytes, and 256 are the most"),
        (&["a"], Some("1"), "BadRequest", "no `${payload}`"),
        (&many[..91], None, "TooMany", "91 topics of one client, of which it may have 90"),
    ] {
        bench.subscribe(11, "a", topics, payload);
        let heard = bench.heard.borrow().clone();
        assert!(bench.why().contains(part), "{part}: {heard:?}");
        assert!(format!("{heard:?}").contains(trouble), "{heard:?}");
        assert!(bench.table.is_bare());
    }
    bench.subscribe(11, "a", &many[..90], None);
    bench.subscribe(21, "a", &many[..11], None);
    assert!(bench.heard()[1].contains("TooMany"), "beside others a tenth");
    bench.subscribe(21, "b", &many[82..92], None);
    assert_eq!(bench.heard(), ["21.b queued"], "two new ones");
    let mut asks = 0;
    while bench.heard().iter().all(|heard| !heard.contains("TooMany")) {
        bench.subscribe(21, "c", &["t91"], None);
        asks += 1;
        assert!(asks < 1000);
    }
    assert_eq!(asks, 256, "one waits already");
    bench.table.leave(bench.now, 11);
    bench.table.leave(bench.now, 21);
    bench.wait(LINGER);
    assert!(bench.table.is_bare());
    let mut off = Bench::new(terms(true));
    off.table.set_terms(None);
    off.subscribe(1, "a", &["x"], None);
    assert_eq!(off.why(), "topics.subscribe isn't configured: use `send`");
}

#[test]
fn a_million_topics_are_refused_at_once() {
    let mut bench = Bench::new(terms(true));
    let topics: Vec<_> = (0..1_000_000).map(|number| number.to_string()).collect();
    let topics: Vec<_> = topics.iter().map(String::as_str).collect();
    bench.subscribe(1, "a", &topics, None);
    assert!(bench.why().contains("of which it may have 9000"));
    assert!(bench.table.is_bare());
    // and one by one they end there, too
    for topic in &topics[..9_500] {
        bench.subscribe(1, "a", &[topic], None);
    }
    assert!(bench.table.len() <= 9_000);
}

#[test]
fn those_that_leave_count_until_it_is_said() {
    let mut small = terms(true);
    (small.max, small.linger) = (10, Duration::ZERO);
    let mut bench = Bench::new(small);
    bench.table.open(0);
    let mut refused = 0;
    for number in 0..100 {
        let topic = format!("t{number}");
        bench.subscribe(1, "a", &[&topic], None);
        refused += bench.heard().iter().filter(|heard| heard.contains("TooMany")).count();
        if let Some(saying) = bench.table.next(0) {
            bench.table.said(bench.now, 0, &saying, None);
        }
        let _ = bench.unsubscribe(1, &[&topic]);
        bench.heard();
    }
    assert!(refused < 100, "each is said in its turn: {refused}");
    let seat = bench.table.seats[0].as_ref().unwrap();
    assert!(seat.leaving() <= 10 && seat.phases().count() <= 20, "{}", seat.leaving());
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

/// What happens, one after the other.
#[derive(Debug, Clone)]
enum Step {
    Subscribe(u64, Vec<usize>),
    Unsubscribe(u64, usize),
    Leave(u64),
    Wait(u64),
    Say(usize),
    Answer(usize),
    /// The connection falls, and another comes.
    Fall,
    /// The next connection is told, or takes over.
    Rotate,
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0_u64..4;
    prop_oneof![
        4 => (client.clone(), prop::collection::vec(0_usize..6, 1..4)).prop_map(|(c, t)| Step::Subscribe(c, t)),
        3 => (client.clone(), 0_usize..6).prop_map(|(client, topic)| Step::Unsubscribe(client, topic)),
        1 => client.prop_map(Step::Leave),
        2 => (1_u64..3_000).prop_map(Step::Wait),
        4 => (0_usize..2).prop_map(Step::Say),
        4 => (0_usize..2).prop_map(Step::Answer),
        1 => Just(Step::Fall),
        1 => Just(Step::Rotate),
    ]
}

const TOPICS: [&str; 6] = ["a", "b", "c", "d", "bad1", "bad2"];

/// A server's end of a connection: it refuses a message that has a bad topic in it.
#[derive(Debug, Default)]
struct Server {
    has: std::collections::BTreeSet<String>,
    answers: VecDeque<Answer>,
}

impl Server {
    fn hear(&mut self, saying: &Saying, answers: bool) {
        let is_bad = answers && saying.topics.iter().any(|topic| topic.starts_with("bad"));
        for topic in saying.topics.iter().filter(|_| !is_bad) {
            match saying.kind {
                Kind::Subscribe => assert!(self.has.insert(topic.to_string()), "{topic} is said twice"),
                Kind::Unsubscribe => drop(self.has.remove(&**topic)),
            }
        }
        if answers {
            let verdict = if is_bad { Verdict::Reject } else { Verdict::Accept };
            let id = Some(saying.number.to_string());
            self.answers.push_back(Answer { verdict, id, topic: None, words: "bad".to_owned() });
        }
    }
}

proptest! {
    #[test]
    fn the_server_has_what_clients_hold_and_each_ask_hears_its_end_once(
        steps in prop::collection::vec(step(), 1..120),
        answers: bool,
    ) {
        let mut bench = Bench::new(terms(answers));
        let mut servers: [Server; 2] = Default::default();
        let (mut main, mut asks) = (0, Vec::new());
        // the plain model: who holds what
        let mut holds: BTreeMap<(u64, String), String> = BTreeMap::new(); // by which ask, the newest

        let mut gone: std::collections::BTreeSet<String> = Default::default();
        bench.table.open(0);
        let learn = |bench: &Bench, holds: &mut BTreeMap<(u64, String), String>,
                     ends: &mut Vec<(String, bool)>| {
            for (who, word) in bench.heard.take() {
                let client: u64 = who.split('.').next().unwrap().parse().unwrap();
                if let Word::Failed { topics, trouble, .. } = &word {
                    assert!(matches!(trouble, Trouble::Refused | Trouble::Cancelled), "{word:?}");
                    for topic in topics.iter().filter(|_| *trouble == Trouble::Refused) {
                        let key = (client, topic.to_string());
                        if !who.contains('.') || holds.get(&key) == Some(&who) {
                            holds.remove(&key);
                        }
                    }
                }
                if who.contains('.') && word != Word::Queued {
                    ends.push((who, true));
                }
            }
        };
        let mut ends = Vec::new();
        let say = |bench: &mut Bench, servers: &mut [Server; 2], seat: usize| {
            if let Some(saying) = bench.table.next(seat) {
                bench.table.said(bench.now, seat, &saying, Some(&saying.number.to_string()));
                servers[seat].hear(&saying, answers);
                bench.tell();
                return true;
            }
            false
        };
        let answer = |bench: &mut Bench, servers: &mut [Server; 2], seat: usize| {
            let Some(answer) = servers[seat].answers.pop_front() else { return false };
            bench.table.heard(seat, &answer);
            bench.tell();
            true
        };
        for step in steps {
            match step {
                Step::Subscribe(client, topics) => {
                    let topics: Vec<_> = topics.into_iter().map(|at| TOPICS[at]).collect();
                    let name = format!("{client}.{}", asks.len());
                    asks.push(name.clone());
                    holds.extend(topics.iter().map(|topic| ((client, topic.to_string()), name.clone())));
                    bench.subscribe(client, name.split('.').nth(1).unwrap(), &topics, None);
                }
                Step::Unsubscribe(client, at) => {
                    let had = holds.remove(&(client, TOPICS[at].to_owned())).is_some();
                    let done = bench.unsubscribe(client, &[TOPICS[at]]).is_ok();
                    // it may be refused before its ask has heard of all that is beside it
                    prop_assert!(done == had || had && TOPICS[at].starts_with("bad"));
                }
                Step::Leave(client) => {
                    bench.table.leave(bench.now, client);
                    holds.retain(|(who, _), _| *who != client);
                    // who has gone hears nothing any more
                    gone.extend(asks.iter().filter(|ask| ask.starts_with(&format!("{client}."))).cloned());
                    bench.tell();
                }
                Step::Wait(millis) => {
                    let until = bench.now + Duration::from_millis(millis);
                    // within the answer's time
                    while answers && (0..2).any(|seat| answer(&mut bench, &mut servers, seat)) {}
                    bench.wait(until - bench.now);
                }
                Step::Say(seat) => drop(say(&mut bench, &mut servers, seat)),
                Step::Answer(seat) => drop(answer(&mut bench, &mut servers, seat)),
                Step::Fall => {
                    servers = Default::default();
                    bench.table.close(0);
                    bench.table.close(1);
                    bench.table.open(main);
                }
                Step::Rotate => {
                    let next = 1 - main;
                    if bench.table.is_open(next) {
                        bench.table.close(main);
                        servers[main] = Server::default();
                        main = next;
                    } else {
                        servers[next] = Server::default();
                        bench.table.open(next);
                    }
                }
            }
            learn(&bench, &mut holds, &mut ends);
        }
        // all comes to rest
        for _ in 0..3 {
            while (0..2).any(|seat| {
                say(&mut bench, &mut servers, seat) || answer(&mut bench, &mut servers, seat)
            }) {}
            bench.wait(LINGER);
        }
        learn(&bench, &mut holds, &mut ends);
        let held: std::collections::BTreeSet<_> = holds.keys().map(|(_, topic)| topic.clone()).collect();
        for (seat, server) in servers.iter().enumerate().filter(|(seat, _)| bench.table.is_open(*seat)) {
            prop_assert_eq!(&server.has, &held, "seat {}", seat);
            prop_assert!(bench.table.is_settled(seat));
        }
        let rows: std::collections::BTreeSet<_> =
            bench.table.rows(None).map(|(topic, ..)| topic.to_string()).collect();
        prop_assert_eq!(rows, held);
        for ask in &asks {
            let count = ends.iter().filter(|(who, _)| who == ask).count();
            prop_assert!(count == 1 || count == 0 && gone.contains(ask), "{} heard {} ends", ask, count);
        }
        for client in 0..4 {
            bench.table.leave(bench.now, client);
        }
        bench.wait(LINGER);
        prop_assert!(bench.table.is_bare());
    }
}
