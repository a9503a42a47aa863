//! Whatever happens: a plain model, and a server, beside the table.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// What happens, one after the other.
#[derive(Debug, Clone)]
enum Step {
    Subscribe(u64, Vec<usize>),
    Unsubscribe(u64, usize),
    Leave(u64),
    Wait(u64),
    Say(usize),
    Answer(usize),
    /// The server answers to what a program has said itself, by an id that may look like any of wsfan's or its own.
    Stranger(usize, AnswerKind, u64),
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
        2 => (0_usize..2, prop_oneof![Just(AnswerKind::Accept), Just(AnswerKind::Reject)], 0_u64..12)
            .prop_map(|(seat, verdict, id)| Step::Stranger(seat, verdict, id)),
        1 => Just(Step::Fall),
        1 => Just(Step::Rotate),
    ]
}

const TOPICS: [&str; 6] = ["a", "b", "c", "d", "bad1", "bad2"];

/// A server's end of a connection: it refuses a message that has a bad topic in it. It may give each subscription an id
/// of its own, by which it is ended: it counts them from one.
#[derive(Debug, Default)]
struct Server {
    has: std::collections::BTreeSet<String>,
    keys: BTreeMap<String, String>,
    given: u64,
    answers: VecDeque<TopicAnswer>,
}

impl Server {
    fn hear(&mut self, saying: &Saying, answers: bool, is_keyed: bool) {
        let is_bad = answers && saying.topics.iter().any(|topic| topic.starts_with("bad"));
        for topic in saying.topics.iter().filter(|_| !is_bad) {
            match saying.kind {
                SayingKind::Subscribe => assert!(self.has.insert(topic.to_string()), "{topic} is said twice"),
                SayingKind::Unsubscribe => drop(self.has.remove(&**topic)),
            }
        }
        let mut key = None;
        match saying.kind {
            SayingKind::Subscribe if is_keyed && !is_bad => {
                self.given += 1;
                self.keys.insert(self.given.to_string(), saying.topics[0].to_string());
                key = Some(self.given.to_string());
            }
            SayingKind::Unsubscribe if is_keyed => {
                let ended = saying.subscribed_id.as_deref().and_then(|key| self.keys.remove(key));
                assert_eq!(ended.as_deref(), Some(&*saying.topics[0]), "another's is ended");
            }
            _ => {}
        }
        if answers {
            let verdict = if is_bad { AnswerKind::Reject } else { AnswerKind::Accept };
            let id = Some(saying.number.to_string());
            self.answers.push_back(TopicAnswer {
                verdict,
                id,
                topic: None,
                words: "bad".to_owned(),
                taken: None,
                key,
            });
        }
    }
}

proptest! {
    #[test]
    fn the_server_has_what_clients_hold_and_each_ask_hears_its_end_once(
        steps in prop::collection::vec(step(), 1..120),
        answers: bool,
        gives_keys: bool,
        most in 1_usize..4,
    ) {
        let is_keyed = answers && gives_keys;
        let mut terms = terms(answers);
        if let Some(answer) = terms.answer.as_mut().filter(|_| is_keyed) {
            answer.key_from = Some(Pointer::parse("/result").unwrap());
            terms.batch = 1;
        }
        let mut bench = Bench::new(terms);
        let mut servers: [Server; 2] = Default::default();
        let (mut main, mut asks) = (0, Vec::new());
        // the plain model: who holds what
        let mut holds: BTreeMap<(u64, String), String> = BTreeMap::new(); // by which ask, the newest

        let mut gone: std::collections::BTreeSet<String> = Default::default();
        bench.table.open(0);
        let mut told = std::collections::BTreeSet::new();
        let learn = |bench: &Bench, holds: &mut BTreeMap<(u64, String), String>,
                     ends: &mut Vec<(String, bool)>,
                     told: &mut std::collections::BTreeSet<(u64, Topic)>| {
            for (who, word) in bench.heard.take() {
                let client: u64 = who.split('.').next().unwrap().parse().unwrap();
                if let Word::Holds { topics, holds } = word {
                    for topic in topics {
                        if holds { told.insert((client, topic)) } else { told.remove(&(client, topic)) };
                    }
                    continue;
                }
                if let Word::Failed { topics, trouble, .. } = &word {
                    assert!(matches!(trouble, SubscriptionError::Refused | SubscriptionError::Cancelled), "{word:?}");
                    for topic in topics.iter().filter(|_| *trouble == SubscriptionError::Refused) {
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
                if saying.topics.len() > most {
                    bench.table.too_large(seat, &saying, "too large");
                } else {
                    bench.table.said(bench.now, seat, &saying, Some(&saying.number.to_string()));
                    servers[seat].hear(&saying, answers, is_keyed);
                }
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
                    told.retain(|(who, _)| *who != client);
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
                Step::Stranger(seat, verdict, id) => {
                    let id = id.to_string();
                    // without keys, what is refused by the id of a live one is that one
                    let is_awaited = bench.table.seats[seat].as_ref().is_none_or(|seat| {
                        seat.messages.values().any(|message| message.id.as_deref() == Some(&id))
                    });
                    if is_keyed && !is_awaited {
                        let (words, key) = ("no".to_owned(), Some("1".to_owned()));
                        let answer =
                            TopicAnswer { verdict, id: Some(id), topic: None, taken: None, key, words };
                        prop_assert!(!bench.table.heard(seat, &answer));
                    }
                }
                Step::Fall => {
                    servers = Default::default();
                    bench.table.close(0);
                    bench.table.close(1);
                    bench.table.open(main);
                }
                Step::Rotate => {
                    let next = 1 - main;
                    if bench.table.is_open(next) {
                        bench.table.retire(main);
                        servers[main] = Server::default();
                        main = next;
                    } else {
                        servers[next] = Server::default();
                        bench.table.open(next);
                    }
                }
            }
            learn(&bench, &mut holds, &mut ends, &mut told);
            // a message is of no other topic than the server's
            for (seat, server) in servers.iter().enumerate().filter(|(seat, _)| bench.table.is_open(*seat)) {
                for (key, topic) in &server.keys {
                    let of = bench.table.topic_of(seat, key);
                    prop_assert!(of.is_none_or(|of| **of == **topic), "{} is {}, not {:?}", key, topic, of);
                }
            }
            // what a client holds, it is always told
            let table = &bench.table;
            let of = |client| table.of(client).map(move |topic| (client, topic.clone()));
            prop_assert_eq!(&told, &(0..4).flat_map(of).collect());
        }
        // all comes to rest
        for _ in 0..3 {
            while (0..2).any(|seat| {
                say(&mut bench, &mut servers, seat) || answer(&mut bench, &mut servers, seat)
            }) {}
            bench.wait(LINGER);
        }
        learn(&bench, &mut holds, &mut ends, &mut told);
        let held: std::collections::BTreeSet<_> = holds.keys().map(|(_, topic)| topic.clone()).collect();
        for (seat, server) in servers.iter().enumerate().filter(|(seat, _)| bench.table.is_open(*seat)) {
            prop_assert_eq!(&server.has, &held, "seat {}", seat);
            prop_assert!(!is_keyed || server.keys.len() == held.len());
            for (key, topic) in &server.keys {
                prop_assert_eq!(bench.table.topic_of(seat, key).map(|of| &**of), Some(&**topic));
            }
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
