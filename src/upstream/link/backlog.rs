//! Sends that aren't handed to the connection yet, and what they are told. No sockets, no clocks.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque, btree_map::Entry},
    rc::Rc,
    time::{Duration, Instant},
};

use crate::{
    config,
    hub::{Fate, LinkState, NoAnswer, Send, Turns},
    upstream::machine::{Kind, Leeway},
};

/// What waits for the connection that is up, and the outbox for when none is. Users take turns, and of each its
/// clients; the sends of one client keep their order.
#[derive(Debug)]
pub(in crate::upstream) struct Backlog {
    limits: config::Outbox,
    /// Those that aren't in the outbox are bounded by the lane: each holds its room there until its fate is
    /// told.
    waiting: Turns<Waiting>,
    /// Answers to the server's requests, which may wait for one: they go before everything else.
    answers: VecDeque<Waiting>,
    /// When requests that wait here have waited for too long, with their numbers.
    ends: BTreeSet<(Instant, u64)>,
    /// What the outbox has: in all, of each user, and of each client.
    outbox: Share,
    users: BTreeMap<u32, Share>,
    clients: BTreeMap<(u32, u64), Share>,
    /// How many messages wait, those in the outbox and the others.
    messages: usize,
    /// The unit that waits for the limits to let out all of it at once.
    saving: Option<Saving>,
    /// The connection closes: what has a lower number is still for it, and the rest is for the next.
    closing: Option<u64>,
    next_number: u64,
    /// Something was said of topics, and now it is the turn of what waits here.
    pub(super) is_next: bool,
}

#[derive(Debug)]
struct Waiting {
    send: Send,
    /// In the order of their coming.
    number: u64,
    /// Its answer is awaited, so that it may have to wait for those of others.
    is_request: bool,
    /// It is of no use on another connection.
    is_bound: bool,
    /// Since when it is in the outbox. What is there is older than what else its client has waiting.
    since: Option<Instant>,
}

/// A unit for which the limits don't have enough at once. Each turn of its client saves it one message of what they
/// let out, so that others go on meanwhile and yet don't keep it from ever going. It is the only one for which is saved.
#[derive(Debug, Clone, Copy)]
struct Saving {
    /// Its number.
    number: u64,
    /// So many messages are saved.
    saved: usize,
}

/// What somebody has in the outbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Share {
    sends: usize,
    messages: usize,
    bytes: usize,
}

impl Backlog {
    pub(in crate::upstream) fn new(limits: config::Outbox) -> Backlog {
        Backlog {
            limits,
            waiting: Turns::default(),
            answers: VecDeque::new(),
            ends: BTreeSet::new(),
            outbox: Share::default(),
            users: BTreeMap::new(),
            clients: BTreeMap::new(),
            messages: 0,
            saving: None,
            closing: None,
            next_number: 0,
            is_next: false,
        }
    }

    /// Applies new limits. What waits already stays, for the new `ttl`.
    pub(in crate::upstream) fn set_limits(&mut self, limits: config::Outbox) {
        self.limits = limits;
    }

    /// Takes a send for the connection that is up.
    pub(in crate::upstream) fn push(&mut self, send: Send, kind: &Kind) {
        let waiting = self.numbered(send, kind);
        if let Kind::Answer(_) = kind {
            self.messages += waiting.send.count();
            return self.answers.push_back(waiting);
        }
        self.add(waiting);
    }

    fn numbered(&mut self, send: Send, kind: &Kind) -> Waiting {
        let number = self.next_number;
        self.next_number += 1;
        let asks = send.asks.as_deref();
        let is_request = *kind == Kind::Request || asks.is_some();
        let is_bound = matches!(kind, Kind::Answer(_)) || asks.is_some_and(|asks| asks.is_request);
        Waiting { send, number, is_request, is_bound, since: None }
    }

    /// The next send to write, as far as the limits let it out, and a request only where there `is_room` for it. One that waited for its turn for too long after its
    /// client had gone is none.
    pub(in crate::upstream) fn next(&mut self, now: Instant, leeway: Leeway, is_room: bool) -> Option<Send> {
        let closing = self.closing.unwrap_or(u64::MAX);
        let fits = |answer: &Waiting| answer.number < closing && answer.send.count() <= leeway.free;
        if self.answers.front().is_some_and(fits) {
            let answer = self.answers.pop_front()?;
            self.messages -= answer.send.count();
            return Some(answer.send);
        }
        while leeway.free > self.saving.map_or(0, |saving| saving.saved) {
            let saving = self.saving;
            let may_go = |waiting: &Waiting| {
                let may_save = || saving.is_none_or(|saving| saving.number == waiting.number);
                let may_ask = is_room || !waiting.is_request;
                waiting.number < closing && may_ask && (waiting.send.rest.is_empty() || may_save())
            };
            let waiting = self.waiting.pop(may_go)?;
            let messages = waiting.send.count();
            if waiting.is_left(now) {
                self.remove(&waiting);
                waiting.send.ticket.settle(Fate::Expired);
            } else if messages == 1 || messages <= leeway.free {
                self.remove(&waiting);
                return Some(waiting.send);
            } else if messages > leeway.most {
                // the limits have changed
                self.remove(&waiting);
                waiting.send.ticket.settle(Fate::TooMany(leeway.most));
            } else {
                let saved = 1 + saving.map_or(0, |saving| saving.saved);
                self.saving = Some(Saving { number: waiting.number, saved });
                let from = Rc::clone(waiting.send.ticket.from());
                self.waiting.put_back(&from, waiting);
            }
        }
        None
    }

    /// How many messages the limits must let out for [`Backlog::next`] to have anything to do.
    pub(in crate::upstream) fn wants(&self) -> Option<usize> {
        if let Some(answer) = self.answers.front() {
            return Some(answer.send.count());
        }
        let saved = self.saving.map_or(0, |saving| saving.saved);
        (!self.waiting.is_empty()).then_some(saved + 1)
    }

    /// What is here now is still for the connection that is about to close; what is pushed from now
    /// on is not.
    pub(in crate::upstream) fn close(&mut self) {
        self.closing.get_or_insert(self.next_number);
    }

    /// Takes a send while no connection is up: it waits in the outbox, or hears that it can't. What the
    /// connection that has gone hadn't begun goes before it.
    pub(in crate::upstream) fn hold(&mut self, now: Instant, send: Send, state: LinkState) {
        self.requeue(now, state);
        let waiting = self.numbered(send, &Kind::Plain);
        self.put_by(now, waiting, state);
    }

    /// The connection is gone: what it hadn't begun waits for the next one.
    pub(in crate::upstream) fn requeue(&mut self, now: Instant, state: LinkState) {
        (self.closing, self.saving) = (None, None);
        for answer in std::mem::take(&mut self.answers) {
            self.messages -= answer.send.count();
            answer.send.ticket.settle(Fate::LinkDown(state));
        }
        if self.waiting.len() == self.outbox.sends {
            return;
        }
        let mut rest = self.waiting.take_all(|waiting| waiting.since.is_none());
        for waiting in &rest {
            self.messages -= waiting.send.count();
            self.forget_end(waiting);
        }
        rest.sort_unstable_by_key(|waiting| waiting.number);
        for waiting in rest {
            self.put_by(now, waiting, state);
        }
    }

    /// When [`Backlog::expire`] has something to do.
    pub(in crate::upstream) fn next_expiry(&self) -> Option<Instant> {
        let request = self.ends.first().map(|(at, _)| *at);
        let front = self.waiting.fronts().filter_map(|waiting| waiting.end(self.limits.ttl)).min();
        [request, front].into_iter().flatten().min()
    }

    /// How many messages would be written before the next send.
    pub(in crate::upstream) fn ahead(&self) -> usize {
        self.messages
    }

    /// How many sends wait for the link.
    pub(in crate::upstream) fn waiting(&self) -> usize {
        self.outbox.sends
    }

    /// Tells those that waited for too long, and returns how many they were.
    pub(in crate::upstream) fn expire(&mut self, now: Instant) -> usize {
        self.end_requests(now);
        let ttl = self.limits.ttl;
        let expired = self.waiting.take_fronts(|waiting| waiting.end(ttl).is_some_and(|end| end <= now));
        let count = expired.len();
        for waiting in expired {
            self.remove(&waiting);
            waiting.send.ticket.settle(Fate::Expired);
        }
        count
    }

    /// There won't be another connection. Returns how many sends are left unsent.
    pub(in crate::upstream) fn give_up(&mut self, state: LinkState) -> usize {
        self.closing = None;
        let mut left = self.waiting.take_all(|_| true);
        left.iter().for_each(|waiting| self.remove(waiting));
        for answer in std::mem::take(&mut self.answers) {
            self.messages -= answer.send.count();
            left.push(answer);
        }
        let count = left.len();
        left.into_iter().for_each(|waiting| waiting.send.ticket.settle(Fate::LinkDown(state)));
        count
    }

    /// Tells those requests whose time is over that they aren't sent.
    fn end_requests(&mut self, now: Instant) {
        if self.ends.first().is_none_or(|(at, _)| *at > now) {
            return;
        }
        let is_over = |waiting: &Waiting| waiting.until().is_some_and(|until| until <= now);
        self.take_back(is_over, NoAnswer::Timeout { written: false });
    }

    /// A client cancels the request that it names so. False where it isn't here.
    pub(in crate::upstream) fn cancel(&mut self, client: u64, name: &str) -> bool {
        let is_it = |waiting: &Waiting| {
            let asks = waiting.send.asks.as_deref().filter(|asks| asks.is_request);
            asks.is_some_and(|asks| asks.caller.from().client == client && asks.caller.id() == Some(name))
        };
        self.take_back(is_it, NoAnswer::Cancelled) > 0
    }

    fn take_back(&mut self, which: impl Fn(&Waiting) -> bool, why: NoAnswer) -> usize {
        let back = self.waiting.take_all(which);
        back.iter().for_each(|waiting| self.remove(waiting));
        let count = back.len();
        for waiting in back {
            if let Some(asks) = &waiting.send.asks {
                asks.caller.fail(why);
            }
            waiting.send.ticket.drop_told();
        }
        count
    }

    fn forget_end(&mut self, waiting: &Waiting) {
        if let Some(until) = waiting.until() {
            self.ends.remove(&(until, waiting.number));
        }
    }

    /// Puts a send into the outbox. Where that is full, the newest of who has the most there makes room, if it
    /// has more than the send's own user, or client, would then have.
    fn put_by(&mut self, now: Instant, mut waiting: Waiting, state: LinkState) {
        if self.limits.max_messages == 0 || waiting.is_bound {
            return waiting.send.ticket.settle(Fate::LinkDown(state));
        }
        let share = waiting.share();
        let can = share.bytes <= self.limits.max_bytes && share.messages <= self.limits.max_messages;
        while can && !self.has_room(share) {
            let Some(victim) = self.who_yields(&waiting).and_then(|client| self.waiting.take_newest(client))
            else {
                break;
            };
            self.remove(&victim);
            victim.send.ticket.settle(Fate::OutboxFull);
        }
        if !can || !self.has_room(share) {
            return waiting.send.ticket.settle(Fate::OutboxFull);
        }
        waiting.since = Some(now);
        waiting.send.ticket.queued();
        self.add(waiting);
    }

    fn has_room(&self, share: Share) -> bool {
        let Share { messages, bytes, .. } = self.outbox.plus(share);
        messages <= self.limits.max_messages && bytes <= self.limits.max_bytes
    }

    /// The client whose newest send makes room for this one: of the user with the most in the outbox, the
    /// client with the most. `None` where that is no more than this send's own would be.
    fn who_yields(&self, waiting: &Waiting) -> Option<u64> {
        let from = waiting.send.ticket.from();
        let own = waiting.share();
        let with_own = |share: Option<&Share>| self.load(share.copied().unwrap_or_default().plus(own));
        let (user, most) = self.users.iter().max_by_key(|(_, share)| self.load(**share))?;
        let has_more = *user != from.uid && self.load(*most) > with_own(self.users.get(&from.uid));
        let user = if has_more { *user } else { from.uid };
        let of_user = self.clients.range((user, 0)..=(user, u64::MAX));
        let (client, most) = of_user.max_by_key(|(_, share)| self.load(**share))?;
        let has_more = has_more || self.load(*most) > with_own(self.clients.get(&(from.uid, from.client)));
        has_more.then_some(client.1)
    }

    /// How much of the outbox a share is, whichever limit it is nearer to.
    fn load(&self, share: Share) -> u128 {
        let (messages, bytes) = (share.messages as u128, share.bytes as u128);
        (messages * self.limits.max_bytes as u128).max(bytes * self.limits.max_messages as u128)
    }

    fn add(&mut self, waiting: Waiting) {
        let from = Rc::clone(waiting.send.ticket.from());
        self.messages += waiting.send.count();
        if let Some(until) = waiting.until() {
            self.ends.insert((until, waiting.number));
        }
        if waiting.since.is_some() {
            let share = waiting.share();
            self.outbox = self.outbox.plus(share);
            let user = self.users.entry(from.uid).or_default();
            *user = user.plus(share);
            let client = self.clients.entry((from.uid, from.client)).or_default();
            *client = client.plus(share);
        }
        self.waiting.push(&from, waiting);
    }

    /// Notes that one was taken out.
    fn remove(&mut self, waiting: &Waiting) {
        self.messages -= waiting.send.count();
        self.forget_end(waiting);
        self.saving = self.saving.filter(|saving| saving.number != waiting.number);
        if waiting.since.is_none() {
            return;
        }
        let (from, share) = (waiting.send.ticket.from(), waiting.share());
        self.outbox = self.outbox.minus(share);
        if let Entry::Occupied(mut user) = self.users.entry(from.uid) {
            *user.get_mut() = user.get().minus(share);
            if *user.get() == Share::default() {
                user.remove();
            }
        }
        if let Entry::Occupied(mut client) = self.clients.entry((from.uid, from.client)) {
            *client.get_mut() = client.get().minus(share);
            if *client.get() == Share::default() {
                client.remove();
            }
        }
    }
}

impl Share {
    fn plus(self, other: Share) -> Share {
        let (sends, messages) = (self.sends + other.sends, self.messages + other.messages);
        Share { sends, messages, bytes: self.bytes + other.bytes }
    }

    fn minus(self, other: Share) -> Share {
        let (sends, messages) = (self.sends - other.sends, self.messages - other.messages);
        Share { sends, messages, bytes: self.bytes - other.bytes }
    }
}

impl Waiting {
    fn share(&self) -> Share {
        Share { sends: 1, messages: self.send.count(), bytes: self.send.cost() }
    }

    /// When it has waited for too long. In the outbox that is a matter of `ttl` alone: its client was told that
    /// it waits, and may go.
    fn end(&self, ttl: Duration) -> Option<Instant> {
        self.since.map(|since| since + ttl).or_else(|| self.send.ticket.from().end())
    }

    /// When a request has waited for too long.
    fn until(&self) -> Option<Instant> {
        self.send.asks.as_ref().filter(|asks| asks.is_request).and_then(|asks| asks.until)
    }

    /// Whether it waits for its turn, and its client has gone for so long that it isn't sent any more.
    fn is_left(&self, now: Instant) -> bool {
        self.since.is_none() && self.send.ticket.from().end().is_some_and(|end| end <= now)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use proptest::prelude::*;

    use super::*;
    use crate::hub::{Lane, Origin, Payload, Permit, Ticket};

    /// There are no limits.
    const ALL: Leeway = Leeway { free: usize::MAX, most: usize::MAX };

    type Fates = Rc<RefCell<Vec<(String, Fate)>>>;

    fn backlog(max_messages: usize) -> Backlog {
        Backlog::new(config::Outbox { max_messages, max_bytes: 1 << 20, ttl: Duration::from_secs(5) })
    }

    fn send(fates: &Fates, text: &str) -> Send {
        send_of(fates, &Rc::default(), text)
    }

    fn send_of(fates: &Fates, from: &Rc<Origin>, text: &str) -> Send {
        let (told, name) = (Rc::clone(fates), text.to_owned());
        let ticket = Ticket::new(Permit::of(from), move |fate| told.borrow_mut().push((name.clone(), fate)));
        Send::new(Payload::Text(text.into()), ticket, 0)
    }

    fn texts(backlog: &mut Backlog) -> Vec<String> {
        texts_at(backlog, Instant::now())
    }

    fn texts_at(backlog: &mut Backlog, now: Instant) -> Vec<String> {
        let taken = std::iter::from_fn(|| backlog.next(now, ALL, true));
        taken.map(|send| if let Payload::Text(text) = send.payload { text } else { unreachable!() }).collect()
    }

    fn client(uid: u32, client: u64) -> Rc<Origin> {
        Rc::new(Origin::new(uid, client))
    }

    #[test]
    fn a_connection_that_closes_gets_what_was_there_and_no_more() {
        let (fates, mut backlog, now) = (Fates::default(), backlog(10), Instant::now());
        backlog.hold(now, send(&fates, "old"), LinkState::Waiting);
        backlog.push(send(&fates, "a"), &Kind::Plain);
        backlog.close();
        backlog.push(send(&fates, "b"), &Kind::Plain);
        backlog.push(send_of(&fates, &client(1, 1), "another's"), &Kind::Plain);
        assert_eq!(texts(&mut backlog), ["old", "a"]);
        backlog.requeue(now, LinkState::Connecting);
        assert_eq!(texts(&mut backlog), ["b", "another's"]);
    }

    #[test]
    fn what_a_connection_that_has_gone_had_not_begun_goes_before_what_comes_then() {
        let (mut backlog, fates) = (backlog(9), Fates::default());
        backlog.push(send(&fates, "a"), &Kind::Plain);
        backlog.push(send(&fates, "b"), &Kind::Plain);
        // a send is looked at before anything else is
        backlog.hold(Instant::now(), send(&fates, "c"), LinkState::Waiting);
        assert_eq!(texts(&mut backlog), ["a", "b", "c"]);
    }

    #[test]
    fn sends_keep_their_order_and_hear_once_that_they_wait_when_a_close_is_cut_short() {
        let (fates, mut backlog, now) = (Fates::default(), backlog(10), Instant::now());
        backlog.hold(now, send(&fates, "old"), LinkState::Waiting);
        backlog.push(send(&fates, "a"), &Kind::Plain);
        backlog.close();
        backlog.push(send(&fates, "b"), &Kind::Plain);
        backlog.requeue(now + Duration::from_secs(1), LinkState::Waiting);
        let queued =
            |text: &str| fates.borrow().iter().filter(|told| **told == (text.into(), Fate::Queued)).count();
        assert_eq!([queued("old"), queued("a"), queued("b")], [1, 1, 1]);
        assert_eq!(
            backlog.next_expiry(),
            Some(now + Duration::from_secs(5)),
            "the oldest still expires first"
        );
        assert_eq!(texts(&mut backlog), ["old", "a", "b"]);
    }

    /// A unit of so many messages.
    fn unit_of(fates: &Fates, from: &Rc<Origin>, text: &str, count: usize) -> Send {
        let rest = vec![Payload::Text(String::new()); count - 1];
        Send { rest, ..send_of(fates, from, text) }
    }

    /// What goes out now, by its first message, where so many messages may of so many ever.
    fn out(backlog: &mut Backlog, free: usize, most: usize) -> Vec<String> {
        let (mut free, mut texts) = (free, Vec::new());
        while let Some(send) = backlog.next(Instant::now(), Leeway { free, most }, true) {
            assert!(send.count() <= free, "more than may");
            free -= send.count();
            let Payload::Text(text) = send.payload else { unreachable!() };
            texts.push(text);
        }
        texts
    }

    #[test]
    fn a_unit_waits_for_all_of_it_and_others_go_on_by_turns_meanwhile() {
        let (fates, mut backlog) = (Fates::default(), backlog(0));
        let (one, other) = (client(1, 1), client(2, 2));
        backlog.push(unit_of(&fates, &one, "unit", 3), &Kind::Plain);
        backlog.push(send_of(&fates, &one, "behind it"), &Kind::Plain);
        (0..5).for_each(|n| backlog.push(send_of(&fates, &other, &n.to_string()), &Kind::Plain));
        assert_eq!(backlog.ahead(), 9);
        assert_eq!(backlog.wants(), Some(1));
        assert_eq!(out(&mut backlog, 2, 4), ["0"], "its turn saves it one");
        assert_eq!((backlog.wants(), out(&mut backlog, 1, 4).len()), (Some(2), 0));
        assert_eq!(out(&mut backlog, 2, 4), [""; 0], "now it has two");
        assert_eq!((backlog.wants(), out(&mut backlog, 2, 4).len()), (Some(3), 0));
        assert_eq!(out(&mut backlog, 3, 4), ["1"]);
        assert_eq!(out(&mut backlog, 3, 4), ["unit"], "all of it, at once");
        assert_eq!(out(&mut backlog, 9, 4), ["2", "behind it", "3", "4"]);
        assert_eq!((backlog.ahead(), backlog.wants()), (0, None));
    }

    #[test]
    fn a_unit_that_the_limits_no_longer_ever_let_out_hears_so() {
        let (fates, mut backlog) = (Fates::default(), backlog(0));
        backlog.push(unit_of(&fates, &client(1, 1), "unit", 5), &Kind::Plain);
        assert!(out(&mut backlog, 3, 5).is_empty());
        backlog.push(send_of(&fates, &client(1, 1), "next"), &Kind::Plain);
        assert_eq!(out(&mut backlog, 4, 4), ["next"]);
        assert_eq!(fates.borrow()[0], ("unit".to_owned(), Fate::TooMany(4)));
    }

    #[test]
    fn the_outbox_counts_each_message_of_a_unit() {
        let (fates, mut backlog, now) = (Fates::default(), backlog(5), Instant::now());
        let (one, other) = (client(1, 1), client(2, 2));
        let mut hold = |send| backlog.hold(now, send, LinkState::Waiting);
        hold(unit_of(&fates, &one, "too many", 6));
        hold(unit_of(&fates, &one, "unit", 4));
        hold(unit_of(&fates, &other, "other", 2));
        hold(unit_of(&fates, &other, "more", 3));
        assert_eq!((backlog.waiting(), backlog.ahead()), (2, 5));
        let full: Vec<_> = fates
            .borrow()
            .iter()
            .filter(|told| told.1 == Fate::OutboxFull)
            .map(|told| told.0.clone())
            .collect();
        assert_eq!(full, ["too many", "unit"], "who has the most makes room");
        assert_eq!(backlog.expire(now + Duration::from_secs(5)), 2);
        assert_eq!((backlog.ahead(), backlog.outbox), (0, Share::default()));
    }

    proptest! {
        /// Whatever is sent by whom, and however much the limits let out: a unit goes out whole or not at all, each
        /// client's sends keep their order, each hears its fate, and all that the limits ever let out goes out in
        /// bounded time, whatever the others send.
        #[test]
        fn every_unit_goes_out_in_its_turn(
            sends in prop::collection::vec((0_u64..4, 1_usize..12), 1..40),
            freed in prop::collection::vec(1_usize..4, 1..20),
            most in 1_usize..8,
        ) {
            let (fates, mut backlog) = (Fates::default(), backlog(0));
            let clients: Vec<_> = (0..4).map(|id| client((id / 2) as u32, id)).collect();
            let mut due: BTreeMap<u64, Vec<String>> = BTreeMap::new();
            for (n, (id, count)) in sends.iter().enumerate() {
                backlog.push(unit_of(&fates, &clients[*id as usize], &n.to_string(), *count), &Kind::Plain);
                if *count <= most {
                    due.entry(*id).or_default().push(n.to_string());
                }
            }
            let all: usize = sends.iter().map(|(_, count)| count).sum();
            prop_assert_eq!(backlog.ahead(), all);
            let (mut free, mut went, mut rounds) = (0, BTreeMap::<u64, Vec<String>>::new(), 0);
            while backlog.wants().is_some() {
                free = most.min(free + freed[rounds % freed.len()]);
                rounds += 1;
                prop_assert!(rounds <= 2 * all + 2, "it takes for ever");
                while let Some(send) = backlog.next(Instant::now(), Leeway { free, most }, true) {
                    prop_assert!(send.count() <= free);
                    free -= send.count();
                    let Payload::Text(text) = &send.payload else { unreachable!() };
                    went.entry(send.ticket.from().client).or_default().push(text.clone());
                    send.ticket.settle(Fate::Written);
                }
            }
            prop_assert_eq!(went, due);
            prop_assert_eq!((backlog.ahead(), fates.borrow().len()), (0, sends.len()));
        }
    }

    #[test]
    fn without_an_outbox_what_is_left_hears_that_the_link_is_down() {
        let (fates, mut backlog) = (Fates::default(), backlog(0));
        backlog.push(send(&fates, "a"), &Kind::Plain);
        backlog.requeue(Instant::now(), LinkState::Closed);
        assert_eq!(*fates.borrow(), [("a".to_owned(), Fate::LinkDown(LinkState::Closed))]);
    }

    #[test]
    fn a_flood_delays_another_s_send_by_one_of_its_own() {
        let (fates, mut backlog) = (Fates::default(), backlog(0));
        for n in 0..100 {
            backlog.push(send_of(&fates, &client(1, 1), &format!("flood {n}")), &Kind::Plain);
        }
        backlog.push(send_of(&fates, &client(1, 2), "another"), &Kind::Plain);
        backlog.push(send_of(&fates, &client(2, 3), "another user's"), &Kind::Plain);
        let mut first = texts(&mut backlog);
        first.truncate(4);
        assert_eq!(first, ["flood 0", "another user's", "another", "flood 1"]);
    }

    #[test]
    fn what_a_client_that_has_gone_had_waiting_is_sent_in_time_or_not_at_all() {
        let (fates, mut backlog, now) = (Fates::default(), backlog(0), Instant::now());
        let (gone, there) = (client(1, 1), client(1, 2));
        for text in ["a", "b", "c"] {
            backlog.push(send_of(&fates, &gone, text), &Kind::Plain);
        }
        backlog.push(send_of(&fates, &there, "d"), &Kind::Plain);
        gone.leave(now);
        assert!(backlog.next(now, ALL, true).is_some());
        assert_eq!(backlog.next_expiry(), Some(now + Origin::AFTERLIFE));
        assert_eq!(texts_at(&mut backlog, now + Origin::AFTERLIFE), ["d"]);
        let expired = fates.borrow().iter().filter(|(_, fate)| *fate == Fate::Expired).count();
        assert_eq!(expired, 2);
        assert_eq!(backlog.ahead(), 0);
    }

    #[test]
    fn what_is_in_the_outbox_waits_for_ttl_though_its_client_has_gone() {
        let (hour, now) = (Duration::from_secs(3600), Instant::now());
        let limits = config::Outbox { max_messages: 10, max_bytes: 1 << 20, ttl: hour };
        let (fates, mut backlog, gone) = (Fates::default(), Backlog::new(limits), client(1, 1));
        // one was sent while the link was down, the other waited for its turn when it went down
        backlog.hold(now, send_of(&fates, &gone, "held"), LinkState::Waiting);
        backlog.push(send_of(&fates, &gone, "requeued"), &Kind::Plain);
        gone.leave(now);
        assert_eq!(backlog.next_expiry(), Some(now + hour));
        backlog.requeue(now, LinkState::Waiting);
        let late = now + 2 * Origin::AFTERLIFE;
        assert_eq!((backlog.next_expiry(), backlog.expire(late)), (Some(now + hour), 0));
        assert_eq!(texts_at(&mut backlog, late), ["held", "requeued"]);
        backlog.hold(late, send_of(&fates, &gone, "from the lane"), LinkState::Waiting);
        assert_eq!((backlog.expire(late + hour), backlog.waiting()), (1, 0));
    }

    #[test]
    fn the_outbox_is_bounded_in_number_bytes_and_time() {
        let limits = config::Outbox {
            max_messages: 3,
            max_bytes: 10 + 3 * Lane::OVERHEAD,
            ttl: Duration::from_secs(5),
        };
        let (fates, mut backlog, now) = (Fates::default(), Backlog::new(limits), Instant::now());
        let second = Duration::from_secs(1);
        for (at, text) in [(0, "12345"), (2, "67890"), (2, "1"), (2, ""), (2, "late")] {
            backlog.hold(now + at * second, send(&fates, text), LinkState::Waiting);
        }
        let full: Vec<_> = fates.borrow().iter().filter(|told| told.1 == Fate::OutboxFull).cloned().collect();
        assert_eq!(full.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>(), ["1", "late"]);
        assert_eq!(backlog.next_expiry(), Some(now + 5 * second));
        assert_eq!(backlog.expire(now + 5 * second - Duration::from_millis(1)), 0);
        assert_eq!(backlog.expire(now + 5 * second), 1);
        assert_eq!((backlog.waiting(), backlog.expire(now + 7 * second)), (2, 2));
        assert_eq!((backlog.waiting(), backlog.outbox), (0, Share::default()));
    }

    #[test]
    fn who_fills_the_outbox_makes_room_for_the_others_up_to_an_equal_share() {
        let (fates, mut backlog, now) = (Fates::default(), backlog(10), Instant::now());
        let hold = |backlog: &mut Backlog, from: &Rc<Origin>, text: String| {
            backlog.hold(now, send_of(&fates, from, &text), LinkState::Waiting);
        };
        let (flooder, same_user, other) = (client(1, 1), client(1, 2), client(2, 3));
        (0..20).for_each(|n| hold(&mut backlog, &flooder, format!("flood {n}")));
        assert_eq!(backlog.waiting(), 10, "one alone has all of it");
        (0..10).for_each(|n| hold(&mut backlog, &other, format!("other {n}")));
        (0..10).for_each(|n| hold(&mut backlog, &same_user, format!("same {n}")));
        let of = |from: &Origin| backlog.clients[&(from.uid, from.client)].messages;
        assert_eq!([of(&flooder), of(&same_user), of(&other)], [3, 2, 5]);
        assert_eq!(backlog.waiting(), 10);
        // the newest went, and each was told
        let sent = texts(&mut backlog);
        assert!(
            ["flood 0", "flood 1", "flood 2", "other 4"].iter().all(|text| sent.iter().any(|s| s == text))
        );
        let full = fates.borrow().iter().filter(|told| told.1 == Fate::OutboxFull).count();
        assert_eq!(full, 30);
        assert!(backlog.clients.is_empty() && backlog.users.is_empty());
    }
}
