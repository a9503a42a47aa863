//! Requests on their way, in simulated time.

use std::{cell::RefCell, rc::Rc};

use super::{script::toml, *};
use crate::hub::{Asks, Caller, NoAnswer, Origin, Permit, Send, Ticket, Told};

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
    let from = Rc::new(Origin::new(1, 1));
    let ticket = Ticket::new(Permit::of(&from), |_| {});
    let ends = Rc::clone(ends);
    let caller = Caller::new(from, None, move |told| {
        if let Told::Nothing(why) = told {
            ends.borrow_mut().push(why);
        }
        true
    });
    let quota = crate::hub::Quotas::default().take(1);
    let asks = Asks { caller, is_request: true, timeout: None, until: None, quota };
    Send { asks: Some(Box::new(asks)), ..Send::new(Payload::Text(r#"{"id":1}"#.into()), ticket, 0) }
}

impl Bench {
    /// A client's request goes out: as what.
    fn asks(&mut self, ends: &Ends) -> String {
        let (send, kind) = self.machine.take(self.now, request(ends)).expect("it is taken");
        assert_eq!(kind, Kind::Request);
        assert!(self.machine.has_room(Slot::A));
        text(self.machine.write(self.now, Slot::A, send).expect("it goes out").payload)
    }

    fn own(&mut self) -> Option<String> {
        self.machine.next_own(self.now, Slot::A).map(text)
    }
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
    let ticket = Ticket::new(Permit::of(&from), |fate| assert_eq!(fate, crate::hub::Fate::Unknown));
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
    assert_eq!(*ends.borrow(), [NoAnswer::Fate(crate::hub::Fate::Unknown)]);
    assert!(bench.machine.take(bench.now, request(&ends)).is_none());
}
