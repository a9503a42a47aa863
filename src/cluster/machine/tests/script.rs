//! One machine, told event by event, and what it wants for each.

use std::time::Duration;

use crate::cluster::machine::{
    Answer, AppendId, AskId, Away, Body, Event, Fenced, Header, Machine, Message, Moment, Opening, Order,
    ReadId, Role, Settings, Standing, Stored, Tell, Wanted, opening,
};

const LEASE: Duration = Duration::from_secs(2);
const MS: Duration = Duration::from_millis(1);

/// A machine, and what the stream holds.
struct Rig {
    machine: Machine,
    now: Moment,
    stream: Vec<Stored>,
    reading: Option<ReadId>,
}

/// What an order says of an append.
#[derive(Debug, Clone)]
struct Sent {
    id: AppendId,
    expect: u64,
    message: Message,
}

impl Rig {
    fn new() -> Rig {
        Rig::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Settings)) -> Rig {
        let mut settings = Settings { max_batch: 100, max_unacked: 1_000, ..Settings::new("a", LEASE) };
        change(&mut settings);
        let now = Moment::after_boot(Duration::from_secs(1_000));
        Rig { machine: Machine::new(now, settings, 1), now, stream: Vec::new(), reading: None }
    }

    /// Tells it, and gives its orders, but for the reading.
    fn tell(&mut self, event: Event) -> Vec<Order> {
        self.machine.handle(self.now, event);
        let mut orders: Vec<Order> = std::iter::from_fn(|| self.machine.poll_order()).collect();
        orders.retain(|order| match order {
            Order::Read { id, .. } => {
                self.reading = Some(*id);
                false
            }
            Order::StopReading => false,
            _ => true,
        });
        orders
    }

    fn after(&mut self, time: Duration) -> Vec<Order> {
        self.now = self.now + time;
        self.tell(Event::Timeout)
    }

    /// Goes on to the moment that it asks for, which is no later than this from now.
    fn next_within(&mut self, time: Duration) -> Vec<Order> {
        let next = self.machine.next_timeout().expect("it waits for something");
        assert!(next - self.now <= time, "{:?} is later than {time:?}", next - self.now);
        self.now = self.now.max(next);
        self.tell(Event::Timeout)
    }

    /// An append is refused, and it asks, sooner or later.
    fn refuse(&mut self, id: AppendId) -> Vec<Order> {
        let orders = self.tell(Event::Refused(id));
        if orders.is_empty() { self.next_within(LEASE / 80) } else { orders }
    }

    fn answer(&mut self, orders: &[Order]) -> Vec<Order> {
        let (id, from) = asked(orders);
        let messages = self.stream.iter().filter(|stored| stored.place >= from).cloned().collect();
        let last = self.last();
        self.tell(Event::Answer(Answer { id, last, covered: last, messages }))
    }

    fn standing(&self) -> Standing {
        self.machine.standing(self.now)
    }

    fn last(&self) -> u64 {
        self.stream.last().map_or(0, |stored| stored.place)
    }

    /// The stream stores this.
    fn store(&mut self, message: &Message) -> u64 {
        let place = self.last() + 1;
        let body = message.body.bytes().to_vec();
        self.stream.push(Stored { place, header: Some(message.header.clone()), body });
        place
    }

    fn write_stray(&mut self) {
        let place = self.last() + 1;
        self.stream.push(Stored { place, header: None, body: b"?".to_vec() });
    }

    /// The stream stores it, and says so.
    fn ack(&mut self, sent: &Sent) -> Vec<Order> {
        assert_eq!(sent.expect, self.last());
        let place = self.store(&sent.message);
        self.tell(Event::Acked(sent.id, place))
    }

    /// From the start to the opening of the first term.
    fn stand(&mut self) -> Sent {
        let orders = self.tell(Event::NatsUp);
        self.answer(&orders);
        self.next_within(LEASE + 100 * MS);
        self.open()
    }

    fn open(&mut self) -> Sent {
        let orders = self.tell(Event::Opened { term: 1, lines: lines_of_opening(1) });
        appends(&orders).remove(0)
    }

    /// The leader of the first term, with its link.
    fn led() -> Rig {
        let mut rig = Rig::new();
        rig.lead();
        rig
    }

    fn lead(&mut self) {
        let opening = self.stand();
        let orders = self.ack(&opening);
        assert!(orders.contains(&Order::StartLink));
    }

    /// So many short entries are staged, and all that is wanted of them is given, one a message.
    fn stage(&mut self, first: u64, count: u64) -> Vec<Sent> {
        let mut orders = self.tell(Event::Staged { end: first + count, bytes: 60 * count as usize });
        while let Some(Wanted { first, .. }) = self.machine.wanted() {
            orders.extend(self.tell(Event::Lines { first, end: first + 1, lines: line(first) }));
        }
        appends(&orders)
    }
}

fn lines_of_opening(first: u64) -> Vec<u8> {
    let after_us = (first > 1).then_some(1);
    opening(&Opening { first, time_us: 1, node: "a", term: 1, conn: 0, closed: false, after_us })
}

fn line(seq: u64) -> Vec<u8> {
    format!("{{\"type\":\"message\",\"seq\":{seq},\"time_us\":1,\"json\":0}}\n").into_bytes()
}

fn appends(orders: &[Order]) -> Vec<Sent> {
    let sent = orders.iter().filter_map(|order| match order.clone() {
        Order::Append { id, expect, message } => Some(Sent { id, expect, message }),
        _ => None,
    });
    sent.collect()
}

fn asked(orders: &[Order]) -> (AskId, u64) {
    let found = orders.iter().rev().find_map(|order| match order {
        Order::Ask { id, from } => Some((*id, *from)),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("it asks: {orders:?}"))
}

fn commits(orders: &[Order]) -> Vec<u64> {
    let through = orders.iter().filter_map(|order| match order {
        Order::Commit { through } => Some(*through),
        _ => None,
    });
    through.collect()
}

/// Another node's first message of the second term.
fn second_term(rig: &Rig) -> Message {
    let tip = rig.stream.iter().rev().find_map(|stored| stored.header.clone()).unwrap();
    let (first, after) = (tip.end(), Some(tip.nonce));
    let nonce = super::super::batch::Nonce(77);
    let header = Header {
        term: 2,
        node: "b".into(),
        first,
        count: 2,
        after,
        nonce,
        part: None,
        step_down: false,
        ..tip
    };
    Message { header, body: Body::new(lines_of_opening(first)) }
}

#[test]
fn the_first_term_of_an_empty_stream_begins_at_once_and_without_a_gap() {
    let mut rig = Rig::new();
    assert_eq!(rig.standing().role, Role::Detached(Away::Starting));
    let orders = rig.tell(Event::NatsUp);
    assert_eq!(asked(&orders).1, 1);
    assert!(rig.answer(&orders).is_empty());
    let orders = rig.next_within(100 * MS);
    assert_eq!(orders, [Order::Open { term: 1, first: 1, failover: false }]);
    assert_eq!(rig.standing().role, Role::Candidate);
    let opening = rig.open();
    let header = opening.message.header.clone();
    assert_eq!((opening.expect, header.term, header.first, header.count), (0, 1, 1, 1));
    let orders = rig.ack(&opening);
    let expected = [
        Order::Epoch { epoch: header.epoch, first: 1 },
        Order::Deliver { first: 1, lines: lines_of_opening(1) },
        Order::Tell(Tell::Attached),
        Order::StartLink,
    ];
    assert_eq!(orders, expected);
    let standing = rig.standing();
    assert_eq!((standing.role, standing.term, standing.leader.as_deref()), (Role::Leader, 1, Some("a")));
    assert!(standing.lease_left.is_some_and(|left| left <= LEASE * 7 / 10));
}

#[test]
fn four_appends_are_on_their_way_each_behind_the_one_before_and_committed_in_order() {
    let mut rig = Rig::led();
    let sent = rig.stage(2, 6);
    let places: Vec<_> = sent.iter().map(|sent| (sent.expect, sent.message.header.first)).collect();
    assert_eq!(places, [(1, 2), (2, 3), (3, 4), (4, 5)]);
    for pair in sent.windows(2) {
        assert_eq!(pair[1].message.header.after, Some(pair[0].message.header.nonce));
    }
    assert_eq!(rig.machine.wanted(), None);
    sent.iter().for_each(|sent| {
        rig.store(&sent.message);
    });
    // answers may come in any order
    assert!(rig.tell(Event::Acked(sent[1].id, 3)).is_empty());
    assert_eq!(commits(&rig.tell(Event::Acked(sent[0].id, 2))), [2, 3]);
    assert_eq!(rig.machine.wanted(), Some(Wanted { first: 6, max_bytes: 100 }));
    assert_eq!(commits(&rig.tell(Event::Acked(sent[2].id, 4))), [4]);
}

#[test]
fn a_line_larger_than_a_message_goes_in_parts_and_is_an_entry_with_the_last() {
    let mut rig = Rig::led();
    rig.tell(Event::Staged { end: 3, bytes: 900 });
    let text = "x".repeat(500);
    let lines =
        format!("{{\"type\":\"message\",\"seq\":2,\"time_us\":1,\"text\":\"{text}\"}}\n").into_bytes();
    let mut sent = appends(&rig.tell(Event::Lines { first: 2, end: 3, lines: lines.clone() }));
    let mut all = Vec::new();
    let mut committed = Vec::new();
    while !sent.is_empty() {
        let part = sent.remove(0);
        all.push(part.clone());
        let orders = rig.ack(&part);
        sent.extend(appends(&orders));
        committed.extend(commits(&orders));
    }
    let of = all.len() as u32;
    let parts: Vec<_> =
        all.iter().map(|sent| sent.message.header.part.map(|part| (part.number, part.of))).collect();
    assert_eq!(parts, (1..=of).map(|number| Some((number, of))).collect::<Vec<_>>());
    assert!(all.iter().all(|sent| sent.message.body.bytes().len() <= 100 && sent.message.header.first == 2));
    assert_eq!(all.iter().map(|sent| sent.message.header.count).sum::<u64>(), 1);
    assert_eq!(all.iter().flat_map(|sent| sent.message.body.bytes()).copied().collect::<Vec<u8>>(), lines);
    assert_eq!(committed, [2]);

    // a follower puts them together again
    let mut follower = Rig::new();
    follower.stream = rig.stream;
    let orders = follower.tell(Event::NatsUp);
    let orders = follower.answer(&orders);
    assert!(orders.contains(&Order::Deliver { first: 2, lines }), "{orders:?}");
}

#[test]
fn an_idle_leader_renews_with_an_empty_message_after_a_quarter_of_the_lease() {
    let mut rig = Rig::led();
    let sent = appends(&rig.next_within(LEASE / 4)).remove(0);
    assert!(sent.message.body.bytes().is_empty() && sent.message.header.count == 0);
    let begin = rig.now;
    assert!(rig.ack(&sent).is_empty(), "there is nothing to commit");
    assert_eq!(rig.machine.lease().unwrap().until(), begin + LEASE * 7 / 10);
}

#[test]
fn a_stray_in_between_costs_a_question_and_nothing_else() {
    let mut rig = Rig::led();
    let sent = rig.stage(2, 2);
    rig.write_stray();
    let orders = rig.tell(Event::Refused(sent[0].id));
    assert!(rig.tell(Event::Refused(sent[1].id)).is_empty(), "it has asked");
    let again = appends(&rig.answer(&orders));
    let expected: Vec<_> = again.iter().map(|sent| sent.expect).collect();
    assert_eq!(expected, [2, 3]);
    for (again, sent) in again.iter().zip(&sent) {
        assert!(again.message == sent.message && again.id != sent.id);
        assert!(!commits(&rig.ack(again)).is_empty());
    }
    assert_eq!((rig.machine.counts().strays, rig.machine.counts().settled), (1, 1));
}

/// The second of two was taken where the number fitted, behind something else than the first.
#[test]
fn an_append_that_was_taken_without_the_one_before_it_is_not_committed() {
    let mut rig = Rig::led();
    let sent = rig.stage(2, 2);
    rig.write_stray();
    let place = rig.store(&sent[1].message);
    assert!(rig.tell(Event::Acked(sent[1].id, place)).is_empty());
    let orders = rig.tell(Event::Refused(sent[0].id));
    let orders = rig.answer(&orders);
    assert!(commits(&orders).is_empty());
    let again = appends(&orders);
    assert_eq!(again.iter().map(|sent| sent.expect).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(commits(&rig.ack(&again[0])), [2]);
    assert_eq!(commits(&rig.ack(&again[1])), [3]);
}

#[test]
fn what_is_unclear_is_asked_for_and_what_is_there_counts_from_its_first_sending() {
    let mut rig = Rig::led();
    let begin = rig.now;
    let sent = rig.stage(2, 2);
    let orders = rig.after(400 * MS); // no answer
    let again = appends(&rig.answer(&orders)); // nothing is there
    assert_eq!((again.len(), again[0].expect), (2, 1));
    rig.store(&sent[0].message); // late
    let orders = rig.refuse(again[0].id);
    let orders = rig.answer(&orders);
    assert_eq!(commits(&orders), [2]);
    assert_eq!(rig.machine.lease().unwrap().until(), begin + LEASE * 7 / 10, "it may be the first try");
    let again = appends(&orders);
    assert_eq!((again.len(), again[0].expect), (1, 2));
    assert!(commits(&rig.tell(Event::Unclear(again[0].id))).is_empty());
}

#[test]
fn another_leaders_message_ends_the_term_and_the_link_before_anything_else() {
    let mut rig = Rig::led();
    let sent = rig.stage(2, 2);
    let theirs = second_term(&rig);
    rig.store(&theirs);
    // the second append comes to lie behind it, since the number fits
    let place = rig.store(&sent[1].message);
    assert!(rig.tell(Event::Acked(sent[1].id, place)).is_empty());
    let orders = rig.tell(Event::Refused(sent[0].id));
    let orders = rig.answer(&orders);
    assert_eq!(orders[..2], [Order::StopLink, Order::Cut]);
    assert_eq!(rig.standing().role, Role::Fenced(Fenced::Superseded));
    let orders = rig.answer(&orders);
    assert_eq!(orders, [Order::Deliver { first: 2, lines: lines_of_opening(2) }], "and no word of its own");
    let standing = rig.standing();
    assert_eq!((standing.role, standing.leader.as_deref()), (Role::Follower, Some("b")));
}

#[test]
fn a_leader_stops_when_its_lease_is_over_also_when_it_has_slept() {
    for sleep in [LEASE * 7 / 10, LEASE * 50] {
        let mut rig = Rig::led();
        let sent = rig.stage(2, 1);
        rig.now = rig.now + sleep;
        let place = rig.store(&sent[0].message);
        let orders = rig.tell(Event::Acked(sent[0].id, place));
        assert_eq!(orders[..2], [Order::StopLink, Order::Cut]);
        assert!(commits(&orders).is_empty());
        // what was stored after all comes from the stream
        assert_eq!(rig.answer(&orders), [Order::Deliver { first: 2, lines: line(2) }]);
    }
}

#[test]
fn an_opening_that_is_acknowledged_too_late_brings_no_link() {
    let mut rig = Rig::new();
    let opening = rig.stand();
    rig.now = rig.now + LEASE * 7 / 10;
    let orders = rig.ack(&opening);
    assert!(!orders.contains(&Order::StartLink) && rig.machine.lease().is_none());
    assert_eq!(rig.machine.counts().elected, 0);
}

#[test]
fn the_upstream_is_not_read_while_too_much_is_unacknowledged() {
    let mut rig = Rig::led();
    assert_eq!(rig.tell(Event::Staged { end: 9, bytes: 1_001 }), [Order::Hold(true)]);
    assert!(rig.tell(Event::Staged { end: 9, bytes: 1_002 }).is_empty());
    assert_eq!(rig.tell(Event::Staged { end: 9, bytes: 1_000 }), [Order::Hold(false)]);
}

#[test]
fn without_nats_a_leader_goes_on_until_its_lease_is_over() {
    let mut rig = Rig::led();
    assert!(rig.tell(Event::NatsDown).is_empty());
    assert_eq!(rig.standing().role, Role::Leader);
    assert!(rig.stage(2, 1).is_empty(), "nothing is sent");
    let orders = rig.next_within(LEASE * 7 / 10);
    assert_eq!(orders, [Order::StopLink, Order::Cut, Order::Tell(Tell::Detached(Away::Nats))]);

    let mut rig = Rig::led();
    let sent = rig.stage(2, 1);
    rig.tell(Event::NatsDown);
    rig.store(&sent[0].message);
    rig.now = rig.now + 300 * MS;
    let orders = rig.tell(Event::NatsUp);
    assert_eq!(commits(&rig.answer(&orders)), [2], "it was stored before");
    assert_eq!(rig.standing().role, Role::Leader);
}

#[test]
fn a_stream_that_is_gone_ends_the_term() {
    let mut rig = Rig::led();
    let orders = rig.tell(Event::StreamGone);
    assert_eq!(orders[..2], [Order::StopLink, Order::Cut]);
    assert_eq!(rig.standing().role, Role::Detached(Away::Gone));
    rig.stream.clear();
    let orders = rig.tell(Event::NatsUp);
    assert!(rig.answer(&orders).is_empty());
    assert_eq!(rig.standing().role, Role::Detached(Away::Breach));
    let orders = rig.next_within(100 * MS);
    assert_eq!(orders, [Order::Open { term: 2, first: 1, failover: false }]);
    let orders = rig.tell(Event::Opened { term: 2, lines: lines_of_opening(1) });
    let opening = appends(&orders).remove(0);
    assert!(opening.expect == 0 && opening.message.header.after.is_none());
    let orders = rig.ack(&opening);
    assert!(matches!(orders[0], Order::Epoch { first: 1, .. }));
    assert!(!orders.contains(&Order::StartLink), "somebody may have a link who doesn't know yet");
    let mut waited = Duration::ZERO;
    loop {
        let begin = rig.now;
        let orders = rig.next_within(LEASE);
        waited += rig.now - begin;
        for sent in appends(&orders) {
            rig.ack(&sent);
        }
        if orders.contains(&Order::StartLink) {
            break;
        }
    }
    assert_eq!(waited, LEASE);
}

#[test]
fn stopped_it_closes_its_link_appends_what_there_is_and_then_lets_others_try() {
    let mut rig = Rig::led();
    let sent = rig.stage(2, 1);
    assert_eq!(rig.tell(Event::Stop), [Order::CloseLink]);
    assert_eq!(commits(&rig.ack(&sent[0])), [2]);
    let last_words = rig.stage(3, 1);
    assert_eq!(last_words.len(), 1);
    let orders = rig.tell(Event::LinkGone);
    let last = appends(&orders).remove(0);
    assert!(
        last.message.header.step_down
            && last.message.header.after == Some(last_words[0].message.header.nonce)
    );
    assert_eq!(commits(&rig.ack(&last_words[0])), [3]);
    assert_eq!(rig.ack(&last), [Order::Cut, Order::Finish]);
    assert!(rig.machine.next_timeout().is_none());

    // who follows doesn't wait
    let mut next = Rig::new();
    next.stream = rig.stream;
    let orders = next.tell(Event::NatsUp);
    next.answer(&orders);
    let orders = next.next_within(100 * MS);
    assert_eq!(orders, [Order::Open { term: 2, first: 4, failover: true }]);
}

#[test]
fn a_server_that_does_not_answer_the_close_is_not_waited_for() {
    let mut rig = Rig::led();
    rig.tell(Event::Stop);
    let orders = rig.next_within(200 * MS);
    assert_eq!(orders[0], Order::StopLink);
    assert!(appends(&orders)[0].message.header.step_down);
}

#[test]
fn who_cannot_have_the_link_up_lets_others_try_but_not_when_it_was_closed_on_request() {
    let wait = |rig: &mut Rig| {
        let end = rig.now + Duration::from_secs(40);
        while rig.now < end {
            let orders = rig.next_within(LEASE);
            if orders.contains(&Order::CloseLink) {
                return true;
            }
            for sent in appends(&orders) {
                rig.ack(&sent);
            }
        }
        false
    };
    for (event, others, steps_down) in [
        (Event::LinkDown, 1, true),
        (Event::LinkDown, 0, false),
        (Event::LinkClosed, 1, false),
        (Event::LinkUp, 1, false),
    ] {
        let mut rig = Rig::led();
        rig.tell(Event::Others(others));
        rig.tell(event.clone());
        assert_eq!(wait(&mut rig), steps_down, "{event:?}, {others}");
    }
}

#[test]
fn a_follower_stands_after_a_lease_of_silence_and_not_before() {
    let mut leader = Rig::led();
    let mut rig = Rig::with(|settings| settings.node = "b".into());
    rig.stream = leader.stream.clone();
    let orders = rig.tell(Event::NatsUp);
    rig.answer(&orders);
    for _ in 0..20 {
        rig.now = rig.now + (LEASE - MS);
        leader.now = leader.now + LEASE / 4;
        let orders = leader.tell(Event::Timeout);
        leader.ack(&appends(&orders)[0]);
        let newest = leader.stream.last().unwrap().clone();
        assert!(rig.tell(Event::Read(rig.reading.unwrap(), newest)).is_empty());
    }
    rig.now = rig.now + (LEASE - MS);
    assert!(rig.tell(Event::Timeout).is_empty());
    assert_eq!(rig.next_within(101 * MS), [Order::Open { term: 2, first: 2, failover: true }]);
}

#[test]
fn a_follower_with_a_shorter_lease_waits_for_the_leaders() {
    let mut leader = Rig::with(|settings| settings.lease = LEASE * 5);
    leader.lead();
    for (own, silence) in [(LEASE, LEASE * 5), (LEASE * 5, LEASE * 5), (LEASE * 10, LEASE * 10)] {
        let mut rig = Rig::with(|settings| (settings.node, settings.lease) = ("b".into(), own));
        rig.stream = leader.stream.clone();
        let orders = rig.tell(Event::NatsUp);
        rig.answer(&orders);
        assert!(rig.after(silence - MS).is_empty(), "{own:?}");
        assert_eq!(rig.next_within(101 * MS), [Order::Open { term: 2, first: 2, failover: true }]);
    }
}

#[test]
fn a_leader_with_other_settings_is_told_of() {
    let mut leader = Rig::with(|settings| settings.fingerprint = "5e".into());
    leader.lead();
    for (ours, differs) in [("5e", false), ("5f", true)] {
        let mut rig = Rig::with(|settings| settings.fingerprint = ours.into());
        rig.stream = leader.stream.clone();
        let orders = rig.tell(Event::NatsUp);
        let orders = rig.answer(&orders);
        assert_eq!(orders.contains(&Order::Tell(Tell::Differs { node: "a".into() })), differs);
    }
}

#[test]
fn what_was_given_is_what_it_says_and_else_is_declared() {
    let mut leader = Rig::led();
    let sent = leader.stage(2, 2);
    for sent in &sent {
        leader.ack(sent);
    }
    leader.stream[1].body = line(7); // by whoever
    let mut rig = Rig::new();
    rig.stream = leader.stream;
    let orders = rig.tell(Event::NatsUp);
    let orders = rig.answer(&orders);
    let expected = [Order::Skip { to: 3 }, Order::Deliver { first: 3, lines: line(3) }];
    assert_eq!(orders[2..4], expected);
    assert_eq!(rig.machine.counts().discarded, 1);
}

#[test]
fn a_question_that_is_not_answered_is_asked_again_and_meanwhile_the_node_is_detached() {
    let mut rig = Rig::led();
    rig.now = rig.now + LEASE;
    let orders = rig.tell(Event::Timeout);
    let (id, _) = asked(&orders);
    assert_eq!(rig.tell(Event::NoAnswer(id)), [Order::Tell(Tell::Detached(Away::Unanswered))]);
    let orders = rig.next_within(LEASE / 8);
    assert!(rig.answer(&orders).contains(&Order::Tell(Tell::Attached)));
}

#[test]
fn an_opening_that_is_found_in_the_stream_counts_from_its_first_sending() {
    for late in [0, 1] {
        let mut rig = Rig::new();
        let opening = rig.stand();
        let begin = rig.now;
        let orders = rig.after(400 * MS);
        let again = appends(&rig.answer(&orders)).remove(0);
        assert!(again.message == opening.message && again.id != opening.id);
        rig.now = rig.now + 500 * MS;
        rig.store(&opening.message);
        rig.now = rig.now + 600 * MS * late;
        let orders = rig.refuse(again.id);
        if late == 0 {
            assert!(rig.answer(&orders).contains(&Order::StartLink));
            assert_eq!(rig.machine.lease().unwrap().until(), begin + LEASE * 7 / 10);
        } else {
            // by now the attempt is over, and its term nobody's
            assert!(!rig.answer(&orders).contains(&Order::StartLink));
            assert_eq!(rig.standing().role, Role::Follower);
        }
    }
}

#[test]
fn a_line_of_which_a_leader_has_sent_a_part_is_read_to_its_end_when_it_leads_no_more() {
    let mut rig = Rig::led();
    rig.tell(Event::Staged { end: 3, bytes: 300 });
    let lines =
        format!("{{\"type\":\"message\",\"seq\":2,\"time_us\":1,\"text\":\"{}\"}}\n", "x".repeat(200));
    let sent = appends(&rig.tell(Event::Lines { first: 2, end: 3, lines: lines.clone().into_bytes() }));
    assert_eq!(sent.len(), 3);
    rig.ack(&sent[0]);
    rig.ack(&sent[1]);
    rig.store(&sent[2].message);
    rig.now = rig.now + LEASE;
    let orders = rig.tell(Event::Timeout);
    assert_eq!(orders[..2], [Order::StopLink, Order::Cut]);
    assert_eq!(rig.answer(&orders), [Order::Deliver { first: 2, lines: lines.into_bytes() }]);
}

#[test]
fn the_last_message_of_a_term_is_the_last_whatever_waits() {
    let mut rig = Rig::led();
    let mut waiting = rig.stage(2, 7);
    rig.tell(Event::Stop);
    let mut last = appends(&rig.tell(Event::LinkGone));
    assert!(last.is_empty(), "there is no room, and more to say before");
    let mut committed = Vec::new();
    while !waiting.is_empty() {
        let sent = waiting.remove(0);
        let orders = rig.ack(&sent);
        committed.extend(commits(&orders));
        last.extend(appends(&orders));
        let more = rig.stage(rig.machine.wanted().map_or(8, |wanted| wanted.first), 0);
        last.extend(more.iter().filter(|sent| sent.message.header.step_down).cloned());
        waiting.extend(more.into_iter().filter(|sent| !sent.message.header.step_down));
    }
    assert_eq!(committed, [2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(last.len(), 1);
    assert!(last[0].message.header.step_down && last[0].expect == rig.last());
    assert_eq!(rig.ack(&last[0]), [Order::Cut, Order::Finish]);
}

/// The oldest messages that a stream has may be what a former leader left behind the next one's first.
#[test]
fn who_begins_in_the_middle_gives_nothing_before_it_is_sure() {
    let mut leader = Rig::led();
    let stale = leader.stage(2, 3);
    let theirs = second_term(&leader);
    leader.store(&theirs);
    leader.store(&stale[1].message);
    leader.store(&stale[2].message);
    let mut rig = Rig::new();
    rig.stream = leader.stream.split_off(2); // the two stale ones, linked to one another
    let orders = rig.tell(Event::NatsUp);
    assert!(rig.answer(&orders).is_empty());
    let mut before = theirs;
    for nonce in 100..106 {
        let nonce = super::super::batch::Nonce(nonce);
        let (first, after) = (before.header.end(), Some(before.header.nonce));
        let header = Header { nonce, after, first, count: 1, ..before.header };
        before = Message { header, body: Body::new(line(first)) };
        let place = rig.store(&before);
        let orders = rig.tell(Event::Read(rig.reading.unwrap(), rig.stream.last().unwrap().clone()));
        match place {
            ..9 => assert!(orders.is_empty(), "{place}: {orders:?}"),
            9 => {
                let given: Vec<_> = orders[1..6].to_vec();
                let expected: Vec<_> =
                    (4..9).map(|first| Order::Deliver { first, lines: line(first) }).collect();
                assert_eq!(given, expected);
            }
            _ => assert_eq!(orders, [Order::Deliver { first, lines: line(first) }]),
        }
    }
}

#[test]
fn a_step_down_that_was_there_before_one_came_back_is_not_trusted() {
    let mut leader = Rig::led();
    leader.tell(Event::Stop);
    let last = appends(&leader.tell(Event::LinkGone)).remove(0);
    let before = leader.stream.clone();
    leader.ack(&last);
    let stands_within = |rig: &mut Rig| {
        let begin = rig.now;
        let orders = rig.next_within(LEASE + 100 * MS);
        assert!(matches!(orders[..], [Order::Open { term: 2, .. }]), "{orders:?}");
        rig.now - begin
    };
    let follower = || {
        let mut rig = Rig::with(|settings| settings.node = "b".into());
        rig.stream = before.clone();
        let orders = rig.tell(Event::NatsUp);
        rig.answer(&orders);
        rig
    };
    // as it comes
    let mut rig = follower();
    let newest = leader.stream.last().unwrap().clone();
    rig.tell(Event::Read(rig.reading.unwrap(), newest));
    assert!(stands_within(&mut rig) <= 100 * MS);
    // after a while without NATS: the stream may have been rolled back to it
    let mut rig = follower();
    rig.tell(Event::NatsDown);
    rig.stream = leader.stream.clone();
    let orders = rig.tell(Event::NatsUp);
    rig.answer(&orders);
    assert!(stands_within(&mut rig) >= LEASE);
}

#[test]
fn what_is_refused_for_no_reason_is_not_tried_in_haste() {
    let mut rig = Rig::led();
    let mut sent = rig.stage(2, 1).remove(0);
    let begin = rig.now;
    let mut tries = 0;
    loop {
        let orders = rig.refuse(sent.id);
        if orders.first() == Some(&Order::StopLink) {
            break;
        }
        sent = appends(&rig.answer(&orders)).remove(0);
        tries += 1;
    }
    assert_eq!(rig.now - begin, LEASE * 7 / 10);
    assert!(tries < 60, "{tries}");
}

#[test]
fn an_entry_that_another_node_has_first_is_waited_for_on_the_leader_too() {
    let mut rig = Rig::led();
    let sent = rig.stage(2, 2);
    assert!(rig.tell(Event::Awaited { seq: 3 }).is_empty(), "it may be stored");
    assert_eq!(rig.tell(Event::Awaited { seq: 4 }), [Order::NotThere { seq: 4 }]);
    for sent in &sent {
        assert_eq!(commits(&rig.ack(sent)).len(), 1);
    }
}
