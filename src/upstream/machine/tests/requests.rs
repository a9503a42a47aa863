//! Requests on their way, in simulated time.

use std::{cell::RefCell, rc::Rc};

use super::{script::toml, *};
use crate::hub::{Asks, Caller, Fate, MayAnswer, NoAnswer, Origin, Permit, Send, Ticket, Told};

const ONE_AT_A_TIME: &str = r#"
[heartbeat]
kind = "message"
message = '{"id":${next_id},"type":"ping"}'
interval = "10s"
timeout = "2s"
[requests]
id = "/id"
timeout = "1m"
max_in_flight = 1
"#;

type Ends = Rc<RefCell<Vec<NoAnswer>>>;

fn request(ends: &Ends) -> Send {
    request_of(ends, r#"{"id":1}"#, &[], true)
}

/// A request, or a send that gets ids where it is one, of one or more messages.
fn request_of(ends: &Ends, text: &str, rest: &[&str], is_request: bool) -> Send {
    let from = Rc::new(Origin::new(1, 1));
    let told = Rc::clone(ends);
    let ticket = Ticket::new(Permit::of(&from), move |fate| {
        if fate.is_failure() {
            told.borrow_mut().push(NoAnswer::Fate(fate));
        }
    });
    let ends = Rc::clone(ends);
    let caller = Caller::new(from, None, move |told| {
        if let Told::Nothing(why) = told
            && is_request
        {
            ends.borrow_mut().push(why);
        }
        true
    });
    let quota = crate::hub::Quotas::default().take(1);
    let asks = Asks { caller, is_request, timeout: None, until: None, quota };
    let rest = rest.iter().map(|text| Payload::Text((*text).into())).collect();
    Send { asks: Some(Box::new(asks)), rest, ..Send::new(Payload::Text(text.into()), ticket, 0) }
}

impl Bench {
    /// A client's request goes out: as what.
    fn asks(&mut self, ends: &Ends) -> String {
        let (send, kind) = self.machine.take(self.now, request(ends)).expect("it is taken");
        assert_eq!(kind.requests, 1);
        assert!(self.machine.has_room(Slot::A));
        text(told(self.machine.write(self.now, Slot::A, send).expect("it goes out")).payload)
    }

    /// A send goes out on a connection: as what.
    fn sends(&mut self, slot: Slot, send: Send) -> Vec<String> {
        let (send, _) = self.machine.take(self.now, send).expect("it is taken");
        let send = told(self.machine.write(self.now, slot, send).expect("it goes out"));
        std::iter::once(send.payload).chain(send.rest).map(text).collect()
    }

    fn hears(&mut self, slot: Slot, message: &str) -> bool {
        self.machine.hear(self.now, slot, Data::Text(message)).publish
    }

    fn own(&mut self) -> Option<String> {
        self.machine.next_own(self.now, Slot::A).map(text)
    }
}

/// What is written is told so.
fn told(send: Send) -> Send {
    let Send { payload, rest, ticket, extra, asks, may_answer, expand } = send;
    let from = Rc::clone(ticket.from());
    ticket.settle(Fate::Written);
    Send { payload, rest, ticket: Ticket::new(Permit::of(&from), |_| {}), extra, asks, may_answer, expand }
}

fn text(payload: Payload) -> String {
    let Payload::Text(text) = payload else { panic!("{payload:?}") };
    text
}

#[test]
fn a_heartbeat_waits_for_the_request_before_it_and_nothing_dies_of_that() {
    let (mut bench, ends) = (Bench::up(toml(ONE_AT_A_TIME)), Ends::default());
    assert_eq!(bench.asks(&ends), r#"{"id":1}"#);
    assert!(!bench.machine.has_room(Slot::A));
    assert_eq!(bench.pass(50 * S), [], "no beat, and no death");
    assert_eq!(bench.own(), None);
    let heard = bench.machine.hear(bench.now, Slot::A, Data::Text(r#"{"id":1,"result":2}"#));
    assert!(!heard.publish && bench.machine.has_room(Slot::A));
    bench.tell(inbound());
    bench.pass(S);
    assert_eq!(bench.own().as_deref(), Some(r#"{"id":2,"type":"ping"}"#), "the beat that was due");
    assert!(!bench.machine.has_room(Slot::A), "it counts");
    assert!(!bench.machine.hear(bench.now, Slot::A, Data::Text(r#"{"id":2}"#)).publish);
    assert_eq!(bench.asks(&ends), r#"{"id":3}"#);
    assert!(ends.borrow().is_empty());
}

#[test]
fn one_that_is_never_answered_makes_room_in_time() {
    let (mut bench, ends) = (Bench::up(toml(ONE_AT_A_TIME)), Ends::default());
    bench.asks(&ends);
    bench.pass(59 * S);
    assert!(!bench.machine.has_room(Slot::A) && ends.borrow().is_empty());
    bench.pass(S);
    assert_eq!(*ends.borrow(), [NoAnswer::Timeout { written: true }]);
    assert_eq!(bench.own().as_deref(), Some(r#"{"id":2,"type":"ping"}"#));
}

#[test]
fn ids_rise_in_the_order_in_which_they_are_written() {
    let replies = "[[reply]]\nmatch = \"ask\"\nsend = '{\"id\":${next_id}}'\n[requests]\nid = \"/id\"\n\
                   [limits]\nmessages = [\"1/10s\"]\nreserve = 0\n[heartbeat]\nkind = \"message\"\n\
                   message = '{\"id\":${next_id},\"beat\":1}'\ninterval = \"1s\"\ntimeout = \"1s\"\n";
    let mut bench = Bench::up(toml(replies));
    bench.machine.hear(bench.now, Slot::A, Data::Text("ask"));
    bench.machine.hear(bench.now, Slot::A, Data::Text("ask"));
    assert_eq!(bench.own().as_deref(), Some(r#"{"id":1}"#));
    bench.tell(inbound());
    bench.pass(10 * S); // the beat is made after the second reply, and goes before it
    assert_eq!(bench.own().as_deref(), Some(r#"{"id":2,"beat":1}"#));
    bench.tell(inbound());
    bench.now += 10 * S;
    assert_eq!(bench.own().as_deref(), Some(r#"{"id":3}"#));
}

#[test]
fn wsfans_own_ids_pass_over_those_that_plain_sends_have() {
    let replies = "[[reply]]\nmatch = \"ask\"\nsend = '{\"id\":${next_id}}'\n[requests]\nid = \"/id\"\n";
    let mut bench = Bench::up(toml(replies));
    let from = Rc::new(Origin::new(1, 1));
    let ticket = Ticket::new(Permit::of(&from), |fate| assert_eq!(fate, Fate::Unknown));
    let send = Send::new(Payload::Text(r#"{"id":1}"#.into()), ticket, 0);
    let (send, _) = bench.machine.take(bench.now, send).expect("it is taken");
    assert!(bench.machine.write(bench.now, Slot::A, send).is_some());
    bench.machine.hear(bench.now, Slot::A, Data::Text("ask"));
    assert_eq!(bench.own().as_deref(), Some(r#"{"id":2}"#));
}

#[test]
fn when_the_link_falls_what_was_written_is_unknown_and_what_comes_then_is_refused() {
    let (mut bench, ends) = (Bench::up(toml(ONE_AT_A_TIME)), Ends::default());
    bench.asks(&ends);
    bench.tell(gone());
    assert_eq!(*ends.borrow(), [NoAnswer::Fate(Fate::Unknown)]);
    assert!(bench.machine.take(bench.now, request(&ends)).is_none());
}

const SENDS: &str = "[requests]\nid = \"/id\"\nrewrite_sends = true\n";

#[test]
fn each_request_of_a_unit_gets_an_id_and_takes_a_place() {
    let (mut bench, ends) = (Bench::up(toml(SENDS)), Ends::default());
    let unit = request_of(&ends, r#"{"id":"a"}"#, &[r#"{"header":1}"#, r#"{"id":7,"b":{}}"#], false);
    assert_eq!(bench.sends(Slot::A, unit), [r#"{"id":1}"#, r#"{"header":1}"#, r#"{"id":2,"b":{}}"#]);
    assert!(!bench.hears(Slot::A, r#"{"id":2}"#) && !bench.hears(Slot::A, r#"{"id":1}"#));
    let many = vec![r#"{"id":1}"#; 1_000];
    assert!(bench.machine.take(bench.now, request_of(&ends, r#"{"id":1}"#, &many, false)).is_none());
    assert_eq!(*ends.borrow(), [NoAnswer::Fate(Fate::TooManyWait)], "1,000 of a client are the most");
}

#[test]
fn a_unit_of_more_requests_than_may_be_in_flight_is_refused() {
    let (mut bench, ends) = (Bench::up(toml(&format!("{SENDS}max_in_flight = 2\n"))), Ends::default());
    let unit = |rest: &[&str]| request_of(&ends, r#"{"id":1}"#, rest, false);
    assert!(bench.machine.take(bench.now, unit(&[r#"{"id":1}"#, r#"{"id":1}"#])).is_none());
    assert_eq!(*ends.borrow(), [NoAnswer::Fate(Fate::TooManyRequests(2))]);
    let (_, kinds) = bench.machine.take(bench.now, unit(&["{}", r#"{"id":1}"#])).unwrap();
    assert_eq!((kinds.requests, bench.machine.room(Slot::A)), (2, Room { free: 2, most: 2 }));
}

const OCPP: &str = r#"
[[script.step]]
name = "boot"
send = '[2,"${next_id}","BootNotification",{}]'
expect = { "/2/status" = "Accepted" }
[[script.step]]
name = "status"
send = '[2,"${next_id}","StatusNotification",{}]'
[heartbeat]
kind = "message"
message = '[2,"${next_id}","Heartbeat",{}]'
interval = "10s"
timeout = "2s"
[requests]
id = "/1"
id_kind = "text"
answer = { "/0" = [3, 4] }
rewrite_sends = true
rewrite_when = { "/0" = 2 }
max_in_flight = 1
[requests.server]
when = { "/0" = 2 }
id = "/1"
answer = { "/0" = [3, 4] }
"#;

#[test]
fn one_at_a_time_counts_the_script_and_the_beats_and_ids_are_texts() {
    let (mut bench, ends) = (Bench::up(toml(OCPP)), Ends::default());
    assert_eq!(bench.own().as_deref(), Some(r#"[2,"1","BootNotification",{}]"#));
    assert!(bench.machine.sender().is_none() && !bench.hears(Slot::A, r#"[3,"1",{"status":"Accepted"}]"#));
    assert_eq!(bench.machine.sender(), Some(Slot::A));
    assert_eq!(bench.own().as_deref(), Some(r#"[2,"2","StatusNotification",{}]"#));
    assert!(!bench.machine.has_room(Slot::A), "the script's own call has no answer yet");
    bench.tell(inbound());
    bench.pass(9 * S);
    assert_eq!(bench.own(), None);
    assert!(!bench.hears(Slot::A, r#"[3,"2",{}]"#) && bench.machine.has_room(Slot::A));
    let call = request_of(&ends, r#"[2, "mine", "Authorize", {}]"#, &[], true);
    assert_eq!(bench.sends(Slot::A, call), [r#"[2, "3", "Authorize", {}]"#]);
    bench.tell(inbound());
    bench.pass(5 * S);
    assert_eq!(bench.own(), None, "the beat waits");
    assert!(!bench.hears(Slot::A, r#"[3,"3",{}]"#));
    bench.tell(inbound());
    bench.pass(MS);
    assert_eq!(bench.own().as_deref(), Some(r#"[2,"4","Heartbeat",{}]"#));
    assert!(ends.borrow().is_empty(), "{ends:?}");
}

#[test]
fn ids_go_on_after_those_that_wsfans_own_messages_have_as_configured() {
    let words = "[[script.step]]\nsend = '{\"id\":40}'\n[requests]\nid = \"/id\"\n";
    let (mut bench, ends) = (Bench::up(toml(words)), Ends::default());
    assert!(bench.own().is_some_and(|own| own.contains("40")));
    assert!(!bench.hears(Slot::A, r#"{"id":40}"#));
    assert_eq!(bench.asks(&ends), r#"{"id":41}"#, "as on a server whose ids must rise");
}

#[test]
fn an_answer_is_given_once_and_one_that_is_refused_leaves_the_request_open() {
    let (mut bench, ends) = (Bench::up(toml(OCPP)), Ends::default());
    bench.own();
    bench.hears(Slot::A, r#"[3,"1",{"status":"Accepted"}]"#);
    assert!(bench.hears(Slot::A, r#"[2,"q","Reset",{}]"#) && bench.hears(Slot::A, r#"[2,"r","Reset",{}]"#));
    let answers = |rest: &[&str]| request_of(&ends, r#"[3,"q",{}]"#, rest, false);
    for rest in [r#"[3,"q",{"again":1}]"#, r#"[4,"s","",{}]"#] {
        assert!(bench.machine.take(bench.now, answers(&[rest])).is_none(), "{rest}");
        assert_eq!(ends.take(), [NoAnswer::Fate(Fate::Answered)]);
    }
    let mut others = answers(&[]);
    others.may_answer = MayAnswer::OfOthers;
    assert!(bench.machine.take(bench.now, others).is_none());
    assert_eq!(ends.take(), [NoAnswer::Fate(Fate::NotAnswerer(MayAnswer::OfOthers))]);
    assert!(bench.machine.take(bench.now, request_of(&ends, r#"[3,"q",{}]"#, &[], true)).is_none());
    assert_eq!(ends.take(), [NoAnswer::Fate(Fate::Unfit(crate::hub::Unfit::Answers))]);
    assert_eq!(bench.sends(Slot::A, answers(&[r#"[3,"r",{}]"#])), [r#"[3,"q",{}]"#, r#"[3,"r",{}]"#]);
    assert!(bench.machine.take(bench.now, answers(&[])).is_none());
    assert_eq!(ends.take(), [NoAnswer::Fate(Fate::Answered)]);
    bench.tell(gone());
    assert!(bench.machine.take(bench.now, answers(&[])).is_none(), "the next connection has asked nothing");
    assert!(matches!(ends.take()[..], [NoAnswer::Fate(Fate::LinkDown(_))]));
}

#[test]
fn an_answer_goes_out_on_the_connection_that_asked_or_not_at_all() {
    let server = "[requests]\nid = \"/1\"\n[requests.server]\nwhen = { \"/0\" = 2 }\nid = \"/1\"\n\
                  answer = { \"/0\" = 3 }\n[rotate]\nafter = \"10m\"\noverlap = \"30s\"\n";
    let (mut bench, ends) = (Bench::up(toml(server)), Ends::default());
    bench.pass(600 * S);
    bench.hears(Slot::A, r#"[2,"q",{}]"#);
    let answer = || request_of(&ends, r#"[3,"q",{}]"#, &[], false);
    let (waits, _) = bench.machine.take(bench.now, answer()).expect("it is taken");
    bench.tell(connected_on(Slot::B));
    assert_eq!(bench.machine.sender(), Some(Slot::B));
    assert!(bench.machine.write(bench.now, Slot::B, waits).is_none(), "B has asked nothing");
    assert_eq!(ends.take(), [NoAnswer::Fate(Fate::Answered)]);
    // B asks the same, and what doesn't go out leaves that open
    bench.hears(Slot::B, r#"[2,"q",{}]"#);
    assert!(bench.machine.take(bench.now, answer()).is_some());
    assert!(bench.machine.take(bench.now, answer()).is_none());
    bench.machine.reopen(bench.now, Slot::B, &["q".into()]);
    bench.machine.reopen(bench.now, Slot::B, &["r".into()]);
    assert_eq!(bench.sends(Slot::B, answer()), [r#"[3,"q",{}]"#]);
    bench.machine.reopen(bench.now, Slot::B, &["q".into()]);
    assert!(bench.machine.take(bench.now, answer()).is_none(), "it is answered");
}

#[test]
fn a_reload_of_the_pace_keeps_what_waits_and_one_of_the_words_ends_it() {
    let words = "[requests]\nid = \"/id\"\n[[requests.stream]]\nwhen = { \"/sub\" = true }\n";
    let (mut bench, ends) = (Bench::up(toml(words)), Ends::default());
    bench.asks(&ends);
    let sub = request_of(&ends, r#"{"id":1,"sub":true}"#, &[], true);
    assert_eq!(bench.sends(Slot::A, sub), [r#"{"id":2,"sub":true}"#]);
    bench.hears(Slot::A, r#"{"id":2}"#);
    let slower = words.replace("[[", "timeout = \"5s\"\nmax_in_flight = 1\n[[");
    assert_eq!(bench.tell(Input::Settings(Box::new(toml(&slower)))), []);
    assert!(!bench.machine.has_room(Slot::A), "the one that waits counts");
    // without streams, and without any
    let actions = bench.tell(Input::Settings(Box::new(toml("[requests]\nid = \"/id\"\n"))));
    assert!(matches!(actions[..], [Action::Close { reason: "reconfigured", .. }]), "{actions:?}");
    bench.tell(Input::Settings(Box::new(toml("[requests]\nid = \"/id\"\ntimeout = \"7s\"\n"))));
    bench.tell(Input::Settings(Box::new(toml(""))));
    assert!(!bench.hears(Slot::A, r#"{"id":2}"#), "what closes goes by the old words");
    assert!(!bench.hears(Slot::A, r#"{"id":1}"#) && ends.borrow().is_empty());
    bench.tell(gone());
    assert_eq!(*ends.borrow(), [NoAnswer::Ended], "the stream's");
}

#[test]
fn a_connection_that_is_taken_over_from_is_read_until_its_requests_are_answered() {
    let rotating = format!("{SENDS}[rotate]\nafter = \"10m\"\noverlap = \"30s\"\n");
    for answered in [true, false] {
        let (mut bench, ends) = (Bench::up(toml(&rotating)), Ends::default());
        bench.pass(590 * S);
        bench.asks(&ends);
        bench.pass(10 * S);
        bench.tell(connected_on(Slot::B));
        assert_eq!(bench.machine.sender(), Some(Slot::B));
        let other = request_of(&ends, r#"{"id":1}"#, &[], true);
        assert_eq!(bench.sends(Slot::B, other), [r#"{"id":1}"#], "each connection has its own count");
        assert!(!bench.hears(Slot::B, r#"{"id":1}"#));
        let news = || Input::Inbound { slot: Slot::B, messages: true };
        assert_eq!(bench.tell(news()), [], "one is still asked on the old connection");
        if answered {
            assert!(!bench.hears(Slot::A, r#"{"id":1}"#));
            assert!(matches!(bench.tell(news())[..], [Action::Close { slot: Slot::A, .. }]));
            bench.tell(Input::Ended { slot: Slot::A, failure: Failure::lost("") });
            assert!(ends.borrow().is_empty());
        } else {
            let actions = bench.pass(60 * S);
            assert!(actions.contains(&Action::Drop { slot: Slot::A }), "{actions:?}");
            assert_eq!(ends.borrow().len(), 1, "{ends:?}");
        }
    }
}

#[test]
fn an_answer_goes_to_who_asked_though_the_connection_is_of_no_use_any_more() {
    let text =
        "[requests]\nid = \"/id\"\n[[reconnect.rule]]\nmatch = { \"/op\" = \"bye\" }\nthen = \"retry\"\n";
    let mut bench = Bench::up(toml(text));
    let answers = Rc::new(RefCell::new(Vec::new()));
    let (from, told_of) = (Rc::new(Origin::new(1, 1)), Rc::clone(&answers));
    let ticket = Ticket::new(Permit::of(&from), |_| {});
    let caller = Caller::new(from, None, move |told| {
        told_of.borrow_mut().push(match told {
            Told::Answer { payload, .. } => payload.to_string(),
            Told::Nothing(why) => format!("{why:?}"),
        });
        true
    });
    let quota = crate::hub::Quotas::default().take(1);
    let asks = Asks { caller, is_request: true, timeout: None, until: None, quota };
    let send =
        Send { asks: Some(Box::new(asks)), ..Send::new(Payload::Text(r#"{"id":1}"#.into()), ticket, 0) };
    bench.sends(Slot::A, send);
    assert!(bench.hears(Slot::A, r#"{"op":"bye"}"#));
    assert!(bench.machine.wants_messages(Slot::A));
    assert!(!bench.hears(Slot::A, r#"{"id":1,"result":7}"#), "nobody else gets it");
    assert_eq!(*answers.borrow(), [r#"{"id":1,"result":7}"#]);
    assert!(bench.hears(Slot::A, r#"{"n":1}"#));
}
