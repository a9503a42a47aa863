//! Going along: messages of the stream become the entries that clients get.

use std::{rc::Rc, time::Duration};

use super::{
    CountedIs, Machine, Moment, Served, State,
    batch::{Header, Stored},
    body,
    chain::{Breach, Judgement},
    events::{Away, Order, Tell},
    resync::Why,
};

/// Clients wait for this entry, and those before it.
#[derive(Debug)]
pub(super) struct Awaited {
    seq: u64,
    pub(super) until: Moment,
}

impl Machine {
    /// The next message of the stream.
    pub(super) fn take(&mut self, now: Moment, stored: Stored) {
        let is_linked = match self.chain.judge(&stored, now >= self.quiet_since + self.silence()) {
            Judgement::Seen => return,
            Judgement::Stray => {
                self.count_stray(stored.place);
                self.chain.pass(&stored);
                return;
            }
            Judgement::Void => {
                self.chain.pass(&stored);
                return;
            }
            Judgement::Healed => {
                self.chain.heal(stored.place);
                return;
            }
            Judgement::Broken => {
                self.chain.break_at(Breach::Seen, stored.place - 1);
                self.chain.pass(&stored);
                self.abandon();
                self.breached();
                self.quiet(now);
                return;
            }
            Judgement::Linked => true,
            Judgement::Base => false,
        };
        let Some(header) = &stored.header else { return };
        if self.is_own_opening(header) {
            self.found_opening(now, stored.place);
            return;
        }
        self.abandon();
        let is_new = self.chain.tip().is_none_or(|tip| tip.term != header.term);
        let differs = header.fingerprint.as_ref().is_some_and(|text| *text != self.settings.fingerprint);
        if is_new && differs {
            let node = Rc::clone(&header.node);
            self.order(Order::Tell(Tell::Differs { node }));
        }
        self.advance(&stored, header, is_linked);
        let unled_since = self.unled_since;
        self.quiet(now);
        if stored.place <= self.target {
            self.unled_since = unled_since;
        }
        self.held.push(stored);
        if self.chain.is_sure() {
            self.give_held();
        }
    }

    /// Somebody else's message: a candidate has lost.
    fn abandon(&mut self) {
        if matches!(self.state, State::Candidate(_)) {
            self.state = State::Follower;
            (self.asking, self.ask_at) = (None, None);
        }
    }

    fn advance(&mut self, stored: &Stored, header: &Header, is_linked: bool) {
        if !is_linked {
            self.held.clear();
            self.parts.clear();
            self.counted.untold = header.first;
        }
        self.chain.advance(stored.place, header, is_linked);
        self.leader_lease = header.lease.unwrap_or_default();
        self.void_at = None;
    }

    /// For so long nothing is to be heard of a leader before another one may be: its lease may be longer than this
    /// node's.
    pub(super) fn silence(&self) -> Duration {
        self.settings.lease.max(self.leader_lease)
    }

    pub(super) fn count_stray(&mut self, place: u64) {
        if place > self.counted_to {
            self.counted_to = place;
            self.counts.strays += 1;
        }
    }

    /// What was held back is the log's.
    pub(super) fn give_held(&mut self) {
        for Stored { header, body, .. } in std::mem::take(&mut self.held) {
            if let Some(header) = header {
                self.give(&header, body);
            }
        }
    }

    /// Gives a message's entries to the clients, and declares those before that can't be had.
    pub(super) fn give(&mut self, header: &Header, body: Vec<u8>) {
        let is_new = self.served.as_ref().is_none_or(|served| served.epoch != header.epoch);
        if is_new {
            let (epoch, first) = (Rc::clone(&header.epoch), header.first);
            self.served = Some(Served { epoch: Rc::clone(&epoch), next: first });
            self.awaited = None;
            self.counted = CountedIs::default();
            self.order(Order::Epoch { epoch, first });
        }
        self.skip_to(header.first);
        let lines = match header.part {
            Some(part) => self.parts.take(header.first, part, &body, self.settings.max_entry),
            None => Some(body),
        };
        if header.count == 0 {
            return self.learn_counted(header);
        }
        self.parts.clear();
        match lines.filter(|lines| body::is_whole(header.first, header.count, lines)) {
            Some(lines) => {
                self.order(Order::Deliver { first: header.first, lines });
                self.have(header.end());
            }
            None => self.skip_to(header.end()),
        }
        self.learn_counted(header);
    }

    /// Takes note of what a message of the log says of the server's counts.
    pub(super) fn learn_counted(&mut self, header: &Header) {
        self.counted.whole = header.counted.is_some() && header.step_down;
        match &header.counted {
            // an older version, or there was too much: of what it has heard nobody can know later, either
            None => self.counted.untold = header.end(),
            Some(list) if &**list == "[]" => {}
            Some(list) => self.order(Order::Counted { list: Rc::clone(list) }),
        }
    }

    /// The clients have all before this entry.
    pub(super) fn have(&mut self, next: u64) {
        self.served.iter_mut().for_each(|served| served.next = next);
        self.awaited.take_if(|awaited| awaited.seq < next);
    }

    fn skip_to(&mut self, seq: u64) {
        if let Some(missing) = self.served.as_ref().and_then(|served| seq.checked_sub(served.next))
            && missing > 0
        {
            self.counts.discarded += missing;
            self.counted.untold = seq;
            self.order(Order::Skip { to: seq });
            self.have(seq);
        }
    }

    /// When this follower stands, if nothing is heard until then.
    pub(super) fn stands_at(&self) -> Option<Moment> {
        // where it looks for its place it may come to see something
        let looks = self.asking.as_ref().is_some_and(|asking| asking.why == Why::Place);
        if !self.settings.candidate || self.stopping || !self.nats || looks {
            return None;
        }
        let is_free = self.chain.breach().is_some() || self.is_vacant();
        let quiet = if is_free { self.quiet_since } else { self.silent_at() };
        Some(quiet.max(self.not_before) + self.jitter)
    }

    /// When no leader can be any more, if nothing is heard until then. What lay in the stream when this node found its
    /// place was sent before, and so was the lease of who wrote it; but behind the last of it what a leader has written
    /// since may be about to come.
    fn silent_at(&self) -> Moment {
        match self.chain.end() >= self.target {
            true => (self.unled_since + self.silence()).max(self.quiet_since + self.silence() / 2),
            false => self.quiet_since + self.silence(),
        }
    }

    /// Nobody leads, and nobody can have the link: nothing was ever in the stream, or it ends in a step-down. Where
    /// this node has been away that isn't sure, since a stream that was rolled back may end so, too.
    fn is_vacant(&self) -> bool {
        self.chain.end() >= self.target
            && match self.chain.tip() {
                None => self.target == 0 && self.live_from == 0 && !self.returns,
                Some(tip) => tip.step_down && tip.place > self.live_from,
            }
    }

    /// A node that may not begin an epoch has somebody else do it.
    pub(super) fn call_void(&mut self, now: Moment) {
        if self.chain.breach().is_none() || self.settings.candidate {
            self.void_at = None;
            return;
        }
        if self.void_at.is_some_and(|at| now < at) {
            return;
        }
        if let Some(served) = &self.served {
            let epoch = Rc::clone(&served.epoch);
            self.order(Order::AskNewEpoch { epoch });
        }
        self.void_at = Some(now + self.settings.lease);
    }

    /// A client waits for an entry that isn't there. It isn't held for longer than the lease.
    pub(super) fn await_entry(&mut self, now: Moment, seq: u64) {
        if self.served.as_ref().is_some_and(|served| seq < served.next) {
            return;
        }
        // another node may have what this leader has sent, before the leader hears that it is stored
        if matches!(&self.state, State::Leader(leader) if !leader.has_taken(seq)) {
            self.order(Order::NotThere { seq });
            return;
        }
        let until = self.awaited.as_ref().map_or(now + self.settings.lease, |awaited| awaited.until);
        let seq = self.awaited.as_ref().map_or(seq, |awaited| awaited.seq.max(seq));
        self.awaited = Some(Awaited { seq, until });
    }

    pub(super) fn await_on(&mut self, now: Moment) {
        let Some(awaited) = self.awaited.take_if(|awaited| awaited.until <= now) else { return };
        match &self.state {
            State::Follower if self.nats && self.asking.is_none() => {
                self.awaited = Some(Awaited { until: now + self.settings.lease, ..awaited });
                self.ask(now, Why::Awaited, self.chain.end() + 1);
            }
            State::Leader(_) => self.order(Order::NotThere { seq: awaited.seq }),
            // away as it is, and so its clients know; or about to lead, or to look where it is
            _ => self.awaited = Some(Awaited { until: now + self.settings.lease, ..awaited }),
        }
    }

    /// The stream has come so far, and somebody waits for an entry that this node hasn't got.
    pub(super) fn look_for_awaited(&mut self, now: Moment, last: u64) {
        let Some(awaited) = self.awaited.take() else { return };
        if !matches!(self.state, State::Follower) {
            self.awaited = Some(awaited);
        } else if last > self.chain.end() {
            self.awaited = Some(awaited);
            self.detach(now, Away::Lagging);
            self.resync(now);
        } else {
            self.order(Order::NotThere { seq: awaited.seq });
        }
    }
}
