use std::{cell::RefCell, rc::Rc, time::Duration};

use proptest::prelude::*;
use serde_json::{Value, json, value::RawValue};

use super::{
    ending::{MAX_GHOSTS, MAX_OVERDUE},
    *,
};
use crate::{
    config::{Config, Environment},
    hub::{Caller, Origin, Told},
    upstream::session::{matcher::Slots, probe::Probe},
};

const S: Duration = Duration::from_secs(1);
const STREAM: &str = "[[requests.stream]]\nwhen = { \"/sub\" = true }\n";

/// What clients were told: who, and what.
type Heard = Rc<RefCell<Vec<(u64, String)>>>;

struct Bench {
    rules: RequestRules,
    probe: Probe,
    calls: Calls,
    now: Instant,
    next: u64,
    told: Heard,
    /// Clients that take nothing any more.
    deaf: Rc<RefCell<Vec<u64>>>,
}

impl Bench {
    fn new(rest: &str) -> Bench {
        let text = format!("upstream.url = \"ws://a\"\n[requests]\nid = \"/id\"\n{rest}");
        let config = Config::parse(&text, &Environment::fixed([])).unwrap_or_else(|why| panic!("{why}"));
        let mut slots = Slots::default();
        let rules = RequestRules::new(&config.terms.requests.unwrap(), &mut slots);
        let probe = Probe::new(slots.pointers());
        let (told, deaf) = Default::default();
        Bench { rules, probe, calls: Calls::default(), now: Instant::now(), next: 1, told, deaf }
    }

    /// A client asks; what goes out.
    fn ask(&mut self, client: u64, name: &str, message: Value) -> Value {
        self.ask_as(client, name, message, true, None)
    }

    /// The same, as a request or as a send, and until when.
    fn ask_as(
        &mut self,
        client: u64,
        name: &str,
        message: Value,
        is_request: bool,
        until: Option<Instant>,
    ) -> Value {
        let (told, deaf, id) = (Rc::clone(&self.told), Rc::clone(&self.deaf), name.to_owned());
        let raw = RawValue::from_string(json!(name).to_string()).unwrap();
        let caller = Caller::new(Rc::new(Origin::new(0, client)), Some(raw), move |what| {
            let words = match what {
                Told::Answer { payload, more, failed } => format!("{id} {payload} {more} {failed}"),
                Told::Nothing(why) => format!("{id} {why:?}"),
            };
            told.borrow_mut().push((client, words));
            !deaf.borrow().contains(&client)
        });
        let asks = Asks { caller, is_request, timeout: None, until, quota: None };
        let Bench { rules, calls, now, next, .. } = self;
        let take = || {
            *next += 1;
            *next - 1
        };
        let payload = calls.write(*now, rules, Payload::Text(message.to_string()), Box::new(asks), take);
        let Payload::Text(text) = payload else { unreachable!() };
        serde_json::from_str(&text).unwrap()
    }

    /// A client sends a message that keeps its own id. False where that is refused.
    fn plain(&mut self, message: Value) -> bool {
        let payload = Payload::Text(message.to_string());
        let is_taken = self.calls.is_taken(&self.rules, &payload);
        if !is_taken {
            self.calls.write_plain(self.now, &self.rules, &payload);
        }
        !is_taken
    }

    fn cancel(&mut self, client: u64, name: &str) -> Option<Vec<Cancel>> {
        self.calls.cancel(&self.rules, client, name)
    }

    fn leave(&mut self, client: u64) -> Vec<Cancel> {
        self.calls.leave(&self.rules, client)
    }

    fn hear(&mut self, message: Value) -> super::Heard {
        let text = message.to_string();
        let found = self.probe.look(&text);
        self.calls.hear(&self.rules, &Look::at(&text, found.as_ref()))
    }

    fn told(&self) -> Vec<(u64, String)> {
        self.told.take()
    }
}

fn told(client: u64, words: &str) -> (u64, String) {
    (client, words.to_owned())
}

#[test]
fn an_answer_goes_to_who_asked_once() {
    let mut bench = Bench::new("error = { \"/ok\" = false }");
    assert_eq!(bench.ask(1, "a", json!({"id": 1})), json!({"id": 1}));
    assert_eq!(bench.ask(2, "b", json!({"id": 1})), json!({"id": 2}));
    let heard = bench.hear(json!({"id": 2, "ok": false}));
    assert!(heard.is_answer && !heard.is_late);
    assert_eq!(bench.told(), [told(2, r#"b {"id":1,"ok":false} false true"#)]);
    assert!(!bench.hear(json!({"id": 2})).is_answer, "nobody asks any more");
    assert!(!bench.hear(json!({"id": 3})).is_answer && !bench.hear(json!({"x": 1})).is_answer);
    bench.hear(json!({"id": "1"}));
    assert_eq!(bench.told(), [told(1, r#"a {"id":1} false false"#)]);
    assert!(bench.calls.is_empty() && bench.calls.in_flight == 0 && bench.calls.ends.is_empty());
}

#[test]
fn an_id_that_wsfan_itself_has_used_is_passed_over() {
    let mut bench = Bench::new("max_in_flight = 2");
    let own = Payload::Text(r#"{"id":1,"login":true}"#.into());
    bench.calls.write_own(bench.now, &bench.rules, &own);
    assert_eq!(bench.ask(1, "a", json!({"id": 1})), json!({"id": 2}));
    assert_eq!(bench.calls.room(&bench.rules), Room { free: 0, most: 2 }, "wsfan's own counts");
    assert!(bench.hear(json!({"id": 1})).is_answer && bench.calls.room(&bench.rules).free == 1);
    assert!(bench.told().is_empty());
}

#[test]
fn a_plain_send_never_has_the_id_of_a_request_that_waits_and_the_other_way() {
    let mut bench = Bench::new(STREAM);
    bench.ask(1, "a", json!({"id": 9}));
    for taken in [json!({"id": 1}), json!({"id": "1"}), json!({"id": 1.0}), json!({"\u{69}d": 1})] {
        assert!(!bench.plain(taken.clone()), "{taken}");
    }
    assert!(bench.plain(json!({"id": 2})) && bench.plain(json!({"id": "3"})) && bench.plain(json!({"x": 1})));
    assert_eq!(bench.ask(2, "b", json!({"id": 1})), json!({"id": 4}), "2 and 3 are in use");
    assert!(bench.plain(json!({"id": 2})), "what two that keep their ids do is theirs");
    let heard = bench.hear(json!({"id": 2}));
    assert!(!heard.is_answer && bench.told().is_empty(), "its answer is for everybody");
    // what nobody waits for any more may still be answered
    bench.cancel(1, "\"a\"");
    assert!(!bench.plain(json!({"id": 1})));
    assert!(bench.hear(json!({"id": 1})).is_late && bench.plain(json!({"id": 1})));
    bench.calls.expire(bench.now + 60 * S);
    assert_eq!(bench.calls.in_flight, 0);
    let plain: Vec<_> = bench.calls.plain.values().map(|id| &**id).collect();
    assert_eq!(plain, ["3", "2", "1"], "they may still be answered, 2 once more");
}

#[test]
fn where_answers_are_taken_apart_the_ids_in_a_list_count_as_well() {
    let mut bench = Bench::new("");
    bench.ask(1, "a", json!({"id": "a"}));
    assert!(bench.plain(json!([{"id": 1}])), "its answer would be a list, and nobody's");
    bench.rules.take_apart();
    assert!(!bench.plain(json!([{"id": 7}, {"id": 1}])));
    assert!(bench.plain(json!([{"id": 2}, {"x": 1}, {"id": 3}])) && bench.plain(json!([1, "x"])));
    assert_eq!(bench.ask(1, "b", json!({"id": "b"}))["id"], 4, "2 and 3 are somebody's");
    for id in [3, 2] {
        assert!(!bench.hear(json!({"id": id})).is_answer);
    }
    assert!(bench.hear(json!({"id": 1})).is_answer);
    bench.rules.reserve(&crate::config::Template::parse(r#"[{"id":90},{"id":91}]"#).unwrap());
    assert_eq!([89, 90, 91, 92].map(|id| bench.rules.reserves(id)), [false, true, true, false]);
    let doubled = Payload::Text(r#"[{"id":5,"id":6}]"#.to_owned());
    assert!(bench.rules.kind(&doubled, crate::upstream::session::requests::How::Plain).is_err());
}

#[test]
fn a_plain_sends_stream_keeps_its_id_until_it_ends() {
    let mut bench =
        Bench::new(&format!("{STREAM}stop = {{ \"/stop\" = {{ exists = true }} }}\nstop_id = \"/stop\""));
    assert!(bench.plain(json!({"id": 1, "sub": true})));
    assert!(!bench.hear(json!({"id": 1})).is_answer);
    bench.calls.expire(bench.now + 60 * S);
    assert_eq!(bench.ask(1, "a", json!({"id": 1})), json!({"id": 2}), "events still come by it");
    assert!(!bench.hear(json!({"id": 1, "event": true})).is_answer && bench.told().is_empty());
    assert!(bench.plain(json!({"id": 7, "stop": 1})) && !bench.hear(json!({"id": 7})).is_answer);
    bench.next = 1;
    assert_eq!(bench.ask(1, "b", json!({"id": 1})), json!({"id": 1}), "it has ended");
}

#[test]
fn what_the_script_subscribes_to_is_for_everybody_and_its_other_answers_are_not() {
    let mut bench = Bench::new(STREAM);
    for own in [r#"{"id":1,"sub":true}"#, r#"{"id":2}"#] {
        bench.calls.write_own(bench.now, &bench.rules, &Payload::Text(own.into()));
    }
    assert!(!bench.hear(json!({"id": 1})).is_answer && !bench.hear(json!({"id": 1, "event": 1})).is_answer);
    assert!(bench.hear(json!({"id": 2})).is_answer);
    assert_eq!(bench.ask(1, "a", json!({"id": 1})), json!({"id": 2}), "events still come by 1");
}

#[test]
fn plain_sends_are_remembered_up_to_a_bound() {
    let mut bench = Bench::new("");
    (1..=MAX_PLAIN + 5).for_each(|id| assert!(bench.plain(json!({"id": id}))));
    assert_eq!((bench.calls.plain.len(), bench.calls.in_flight), (MAX_PLAIN, MAX_PLAIN));
    assert_eq!(bench.ask(1, "a", json!({"id": 1})), json!({"id": 1}), "the oldest is forgotten");
}

#[test]
fn what_two_have_asked_for_by_one_name_goes_to_both_and_the_last_to_leave_cancels_it() {
    let rest = format!("{STREAM}key_from = \"/result\"\nkey = \"/of\"\ncancel = '${{key}}'");
    let mut bench = Bench::new(&rest);
    bench.ask(1, "a", json!({"id": 1, "sub": true}));
    bench.ask(2, "b", json!({"id": 1, "sub": true}));
    bench.hear(json!({"id": 1, "result": "btc"}));
    bench.hear(json!({"id": 2, "result": "btc"}));
    bench.told();
    assert!(bench.hear(json!({"of": "btc"})).is_answer);
    let event = |name: &str| format!("{name} {{\"of\":\"btc\"}} true false");
    assert_eq!(bench.told(), [told(1, &event("a")), told(2, &event("b"))]);
    assert!(bench.leave(1).is_empty(), "another takes it");
    bench.hear(json!({"of": "btc"}));
    assert_eq!(bench.told(), [told(1, "a Cancelled"), told(2, &event("b"))]);
    assert_eq!(bench.leave(2), [Cancel { stream: 0, key: "\"btc\"".into() }]);
}

#[test]
fn the_servers_own_request_is_nobodys_answer() {
    let server = "[requests.server]\nwhen = { \"/method\" = \"ask\" }\nid = \"/id\"\nanswer = { \"/r\" = 1 }";
    let mut bench = Bench::new(server);
    bench.ask(1, "a", json!({"id": 1}));
    assert!(!bench.hear(json!({"id": 1, "method": "ask"})).is_answer && bench.told().is_empty());
    assert!(bench.hear(json!({"id": 1, "result": 2})).is_answer);
}

#[test]
fn an_id_that_wsfan_says_again_leaves_nobody_without_a_word() {
    let mut bench = Bench::new("");
    bench.ask(1, "a", json!({"id": 1}));
    bench.calls.write_own(bench.now, &bench.rules, &Payload::Text(r#"{"id":1}"#.into()));
    assert_eq!(bench.told(), [told(1, "a Fate(Unknown)")]);
    assert!(bench.hear(json!({"id": 1})).is_answer && bench.told().is_empty());
}

#[test]
fn who_has_waited_for_too_long_hears_so_and_a_late_answer_is_nobodys() {
    let mut bench = Bench::new("timeout = \"5s\"");
    bench.ask(1, "a", json!({"id": 1}));
    assert_eq!(bench.calls.next_timeout(), Some(bench.now + 5 * S));
    bench.calls.expire(bench.now + 5 * S - Duration::from_millis(1));
    assert!(bench.told().is_empty());
    bench.calls.expire(bench.now + 5 * S);
    assert_eq!(bench.told(), [told(1, "a Timeout { written: true }")]);
    assert_eq!((bench.calls.next_timeout(), bench.calls.in_flight), (None, 0));
    let late = bench.hear(json!({"id": 1}));
    assert!(late.is_answer && late.is_late && bench.told().is_empty() && bench.calls.is_empty());
}

#[test]
fn a_program_that_knows_nothing_of_wsfan_waits_for_as_long_as_it_likes() {
    let mut bench = Bench::new("timeout = \"5s\"\nmax_in_flight = 1");
    bench.ask_as(1, "a", json!({"id": 7}), false, None);
    bench.calls.expire(bench.now + 5 * S);
    assert_eq!((bench.calls.in_flight, bench.calls.next_timeout()), (0, None), "it doesn't hold up others");
    assert!(!bench.calls.has_clients());
    bench.calls.expire(bench.now + 3_600 * S);
    assert!(bench.told().is_empty());
    let late = bench.hear(json!({"id": 1, "ok": true}));
    assert!(late.is_answer && !late.is_late);
    assert_eq!(bench.told(), [told(1, r#"a {"id":7,"ok":true} false false"#)]);
    assert!(bench.calls.is_empty() && bench.calls.ghosts.is_empty());
    (0..MAX_OVERDUE + 5).for_each(|_| drop(bench.ask_as(1, "b", json!({"id": 1}), false, None)));
    bench.calls.expire(bench.now + 60 * S);
    assert_eq!(bench.calls.calls.len(), MAX_OVERDUE, "up to a bound");
    let late = bench.hear(json!({"id": 2}));
    assert!(late.is_late && bench.told().is_empty(), "what is forgotten is nobody's, and not everybody's");
    bench.leave(1);
    assert_eq!((bench.calls.ghosts.len(), bench.calls.overdue.len()), (MAX_GHOSTS, 0));
    for id in [3, 2_000, MAX_OVERDUE] {
        assert!(bench.hear(json!({"id": id})).is_late, "it has gone: {id}");
    }
    let next = MAX_OVERDUE + 7;
    assert!(
        !bench.hear(json!({"id": next})).is_answer
            && bench.told().iter().all(|(_, what)| what == "b Cancelled")
    );
}

#[test]
fn who_waits_for_longer_than_is_configured_does_not_hold_up_the_others() {
    for (rest, until) in [("max_in_flight = 1", 30 * S), ("", 3_600 * S)] {
        let mut bench = Bench::new(rest);
        bench.ask_as(1, "a", json!({"id": 1}), true, Some(bench.now + 3_600 * S));
        assert_eq!(bench.calls.next_timeout(), Some(bench.now + until), "{rest}");
    }
}

#[test]
fn ids_that_wsfans_own_messages_have_as_configured_are_nobodys() {
    let mut bench = Bench::new("");
    for own in [
        r#"{"id":1,"type":"ping"}"#,
        r#"{"type":"x","id":"${next_id}"}"#,
        r#"{"id":"3","n":${now_ms}}"#,
        "PING",
    ] {
        bench.rules.reserve(&crate::config::Template::parse_message(own).unwrap());
    }
    let given: Vec<_> = (0..3).map(|_| bench.ask(1, "a", json!({"id": 9}))["id"].as_u64().unwrap()).collect();
    assert_eq!(given, [2, 4, 5]);
}

#[test]
fn who_stops_a_stream_by_a_name_that_it_gave_twice_means_the_newer() {
    let rest = "stop = { \"/stop\" = { exists = true } }\nstop_id = \"/stop\"";
    let mut bench = Bench::new(&format!("{STREAM}{rest}"));
    for _ in 0..10 {
        bench.ask(1, "s", json!({"id": 5, "sub": true})); // 1 to 10: as texts, 9 is the last
    }
    assert_eq!(bench.ask(1, "t", json!({"id": 6, "stop": 5})), json!({"id": 11, "stop": 10}));
    assert_eq!(bench.cancel(1, "\"s\"").map(|cancels| cancels.len()), Some(10), "all of one name");
}

#[test]
fn a_stream_is_ended_by_its_own_client_alone() {
    let rest = "stop = { \"/stop\" = { exists = true } }\nstop_id = \"/stop\"";
    let mut bench = Bench::new(&format!("{STREAM}{rest}"));
    bench.ask(1, "s", json!({"id": 7, "sub": true}));
    let topic = Payload::Text(json!({"id": 2, "sub": true}).to_string());
    bench.calls.write_shared(bench.now, &bench.rules, &topic);
    // what one calls 1 and 2 isn't what the server does
    for (name, id) in [(1, 3), (2, 4)] {
        assert_eq!(bench.ask(2, "t", json!({"id": 1, "stop": name})), json!({"id": id, "stop": id}));
        bench.hear(json!({"id": id}));
    }
    bench.told();
    bench.hear(json!({"id": 1, "event": 1}));
    assert_eq!(bench.told(), [told(1, r#"s {"event":1,"id":7} true false"#)]);
    // a program that keeps its ids knows what it says; who hears no more is told
    assert!(bench.plain(json!({"id": 90, "stop": 1})));
    bench.hear(json!({"id": 90}));
    assert_eq!(bench.told(), [told(1, "s Cancelled")]);
}

#[test]
fn where_one_ends_what_several_have_by_one_name_the_others_hear_of_it() {
    let rest = format!(
        "{STREAM}key_from = \"/result\"\nkey = \"/of\"\nstop = {{ \"/stop\" = {{ exists = true }} }}\nstop_id = \"/stop\""
    );
    let mut bench = Bench::new(&rest);
    for client in 1..=3 {
        bench.ask(client, "s", json!({"id": 1, "sub": true}));
        bench.hear(json!({"id": client, "result": if client == 3 { "eth" } else { "btc" }}));
    }
    assert_eq!(bench.ask(1, "t", json!({"id": 2, "stop": "btc"})), json!({"id": 4, "stop": "btc"}));
    bench.told();
    bench.hear(json!({"id": 4}));
    assert_eq!(bench.told()[1..], [told(1, "s Cancelled"), told(2, "s Cancelled")]);
    bench.hear(json!({"of": "eth"}));
    assert_eq!(bench.told(), [told(3, r#"s {"of":"eth"} true false"#)]);
}

#[test]
fn what_is_given_up_takes_its_place_in_flight_until_it_is_answered_or_its_time_is_over() {
    let mut bench = Bench::new("max_in_flight = 2\ntimeout = \"5s\"");
    bench.ask(1, "a", json!({"id": 1}));
    bench.ask(2, "b", json!({"id": 1}));
    assert_eq!(bench.cancel(1, "\"a\""), Some(vec![]));
    bench.leave(2);
    assert_eq!(bench.calls.room(&bench.rules).free, 0, "the server is at them");
    bench.told();
    assert!(bench.hear(json!({"id": 1})).is_late && bench.told().is_empty());
    assert_eq!(bench.calls.room(&bench.rules).free, 1);
    bench.calls.expire(bench.now + 5 * S);
    assert_eq!((bench.calls.room(&bench.rules).free, bench.calls.ghosts.len()), (2, 1));
    assert!(bench.hear(json!({"id": 2})).is_late && bench.calls.is_empty());
}

#[test]
fn a_plain_sends_id_is_nobody_elses_however_late_and_for_as_many_as_have_it() {
    let mut bench = Bench::new("timeout = \"5s\"");
    assert!(bench.plain(json!({"id": 1})) && bench.plain(json!({"id": 2})) && bench.plain(json!({"id": 2})));
    bench.calls.expire(bench.now + 5 * S);
    assert_eq!(bench.calls.in_flight, 0);
    bench.hear(json!({"id": 2}));
    assert_eq!(bench.ask(1, "a", json!({"id": 1})), json!({"id": 3}));
    assert!(!bench.hear(json!({"id": 1})).is_answer && !bench.hear(json!({"id": 2})).is_answer);
    assert!(bench.told().is_empty());
    bench.hear(json!({"id": 3}));
    assert!(bench.calls.is_empty() && bench.calls.plain.is_empty());
}

#[test]
fn those_that_nobody_waits_for_are_remembered_up_to_a_bound() {
    let mut bench = Bench::new("");
    (0..2 * MAX_GHOSTS).for_each(|n| drop(bench.ask(1, &n.to_string(), json!({"id": 1}))));
    bench.calls.expire(bench.now + 60 * S);
    assert_eq!((bench.calls.calls.len(), bench.calls.ghosts.len()), (MAX_GHOSTS, MAX_GHOSTS));
    for id in [1, 2 * MAX_GHOSTS] {
        assert!(
            bench.hear(json!({"id": id})).is_late,
            "{id} was asked by somebody, so that it isn't everybody's"
        );
    }
    assert!(bench.plain(json!({"id": 1})) && !bench.hear(json!({"id": 1})).is_answer, "now it is a send's");
}

#[test]
fn a_stream_goes_on_until_its_client_cannot_take_it() {
    let mut bench = Bench::new(&format!("{STREAM}cancel = '${{key}}'"));
    bench.ask(1, "s", json!({"id": 7, "sub": true}));
    bench.hear(json!({"id": 1, "n": 0}));
    bench.hear(json!({"id": 1, "n": 1}));
    let first = told(1, r#"s {"id":7,"n":0} true false"#);
    assert_eq!(bench.told(), [first, told(1, r#"s {"id":7,"n":1} true false"#)]);
    assert_eq!((bench.calls.in_flight, bench.calls.next_timeout()), (0, None));
    bench.deaf.borrow_mut().push(1);
    let cancel = Some(Cancel { stream: 0, key: "1".into() });
    assert_eq!(bench.hear(json!({"id": 1, "n": 2})).cancel, cancel);
    bench.told();
    let after = bench.hear(json!({"id": 1, "n": 3}));
    assert!(after.is_answer && after.cancel.is_none() && bench.told().is_empty());
}

#[test]
fn a_stream_is_cancelled_by_the_key_that_is_still_to_come() {
    let mut bench =
        Bench::new(&format!("{STREAM}key_from = \"/result\"\nkey = \"/of\"\ncancel = '${{key}}'"));
    bench.ask(1, "s", json!({"id": 1, "sub": true}));
    assert_eq!(bench.cancel(2, "\"s\""), None, "another's");
    assert_eq!(bench.cancel(1, "\"s\""), Some(Vec::new()));
    assert_eq!(bench.told(), [told(1, "s Cancelled")]);
    let heard = bench.hear(json!({"id": 1, "result": "0xa"}));
    assert_eq!(heard.cancel, Some(Cancel { stream: 0, key: "\"0xa\"".into() }));
    assert!(bench.hear(json!({"of": "0xa"})).is_answer && bench.told().is_empty());
    assert!(!bench.hear(json!({"of": "0xb"})).is_answer);
}

#[test]
fn when_the_connection_goes_each_hears_what_is_known() {
    let mut bench = Bench::new(STREAM);
    bench.ask(1, "a", json!({"id": 1}));
    bench.ask(2, "s", json!({"id": 1, "sub": true}));
    bench.hear(json!({"id": 2}));
    bench.told();
    bench.calls = Calls::default();
    assert_eq!(bench.told(), [told(1, "a Fate(Unknown)"), told(2, "s Ended")]);
}

proptest! {
    /// Whatever is asked, answered, cancelled and left: nobody is told of another's request, each request that isn't a
    /// stream has one end, and what is counted is what is there.
    #[test]
    fn nobody_gets_anothers_answer(steps in prop::collection::vec((0_u8..6, 0_u64..4, 1_u64..30), 1..80)) {
        let mut bench = Bench::new(STREAM);
        let mut owners = std::collections::BTreeMap::new();
        let mut ends = std::collections::BTreeMap::<String, usize>::new();
        for (step, client, id) in steps {
            match step {
                0 | 1 => {
                    let name = format!("r{}", bench.next);
                    let sent = bench.ask(client, &name, json!({"id": 1, "sub": step == 1}));
                    owners.insert(sent["id"].as_u64().unwrap(), (client, name));
                }
                2 | 3 => drop(bench.hear(json!({"id": id}))),
                4 => drop(bench.cancel(client, &format!("\"r{id}\""))),
                _ if id > 25 => drop(bench.leave(client)),
                _ => {
                    bench.now += 7 * S;
                    bench.calls.expire(bench.now);
                }
            }
            for (who, words) in bench.told() {
                let name = words.split(' ').next().unwrap().to_owned();
                prop_assert!(owners.values().any(|owner| *owner == (who, name.clone())), "{who}: {words}");
                if !words.contains(" true ") {
                    *ends.entry(name).or_default() += 1;
                }
            }
            let waiting = |call: &&Call| call.is_in_flight;
            let may_wait = |call: &Call| !call.is_answered && !matches!(call.who, Who::Nobody);
            prop_assert!(bench.calls.calls.values().all(|call| !call.is_in_flight || may_wait(call)));
            prop_assert_eq!(bench.calls.in_flight, bench.calls.calls.values().filter(waiting).count());
            prop_assert_eq!(bench.calls.ends.len(), bench.calls.in_flight);
        }
        prop_assert!(ends.values().all(|count| *count == 1), "{:?}", ends);
    }
}
