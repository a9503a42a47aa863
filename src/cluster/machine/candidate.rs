//! Standing: the first message of a term, which the stream takes or doesn't.

use super::{
    CountedIs, Fenced, Machine, Moment, State,
    appends::Append,
    batch::{Body, Header, Message},
    body,
    events::{Answer, AppendId, Order},
    leader::Leader,
    lease::Lease,
    resync::Why,
};

/// An attempt to lead.
#[derive(Debug)]
pub(super) struct Candidate {
    /// It goes on with the epoch that there is.
    goes_on: bool,
    term: u64,
    first: u64,
    /// A leader may still have the link, since this node hasn't waited until none could.
    usurps: bool,
    /// The attempt ends.
    until: Moment,
    /// The first message, once its lines are there.
    opening: Option<Append>,
    /// The stream's end when it was asked last.
    asked_at: Option<u64>,
}

impl Candidate {
    pub(super) fn next_timeout(&self, machine: &Machine) -> Option<Moment> {
        let waits = machine.asking.is_none() && machine.ask_at.is_none();
        let answer = self.opening.as_ref().filter(|_| waits);
        let answer = answer.map(|opening| opening.sent() + machine.settings.answers_within());
        Some(answer.map_or(self.until, |at| at.min(self.until)))
    }
}

impl Machine {
    pub(super) fn stand(&mut self, now: Moment) {
        let usurps = self.chain.breach().is_some();
        let tip = self.chain.tip().filter(|_| !usurps);
        let (goes_on, first) = (tip.is_some(), tip.map_or(1, |tip| tip.next));
        let term = self.chain.next_term();
        let until = Lease::of(now, self.settings.lease).until();
        self.counts.stood += 1;
        let candidate = Candidate { goes_on, term, first, usurps, until, opening: None, asked_at: None };
        self.state = State::Candidate(Box::new(candidate));
        self.order(Order::Open { term, first, failover: goes_on });
    }

    pub(super) fn opened(&mut self, now: Moment, opened: u64, lines: Vec<u8>) {
        let State::Candidate(candidate) = &self.state else { return };
        let Candidate { goes_on, term, first, opening: None, .. } = **candidate else { return };
        let count = body::entries(&lines).count() as u64;
        if opened != term || !body::is_whole(first, count, &lines) {
            return;
        }
        let tip = self.chain.tip().filter(|_| goes_on);
        let (epoch, after) = tip.map(|tip| (tip.epoch.clone(), tip.nonce)).unzip();
        let header = Header {
            epoch: epoch.unwrap_or_else(|| self.new_epoch()),
            term,
            node: self.settings.node.clone(),
            first,
            count,
            nonce: self.nonce(),
            after,
            part: None,
            step_down: false,
            fingerprint: Some(self.settings.fingerprint.clone()).filter(|text| !text.is_empty()),
            lease: Some(self.settings.lease),
            counted: Some("[]".into()),
        };
        let message = Message { header, body: Body::new(lines) };
        let append = Append::new(self.append_id(), self.chain.end(), now, message);
        self.order(append.order());
        if let State::Candidate(candidate) = &mut self.state {
            candidate.opening = Some(append);
        }
    }

    /// What time brings about for a candidate.
    pub(super) fn stand_on(&mut self, now: Moment) {
        let State::Candidate(candidate) = &self.state else { return };
        if candidate.until <= now {
            self.rest(now);
        } else if candidate.next_timeout(self).is_some_and(|at| at <= now) {
            self.doubt_opening(now);
        }
    }

    /// It came to nothing; the next attempt is after a rest.
    fn rest(&mut self, now: Moment) {
        self.not_before = now + self.settings.rests_for() + self.random_time(self.settings.rests_for());
        self.state = State::Follower;
        (self.asking, self.ask_at) = (None, None);
        // the stream may have been read no more
        self.resync(now);
    }

    /// It may not append: the attempt is over, and the next one comes later each time.
    pub(super) fn denied(&mut self, now: Moment) {
        if self.own_opening().is_none() {
            return;
        }
        self.rest(now);
        self.denials = self.denials.saturating_add(1);
        let pause = self.settings.denied_for(self.denials);
        self.not_before = now + pause + self.random_time(self.settings.rests_for());
    }

    fn own_opening(&self) -> Option<&Append> {
        if let State::Candidate(candidate) = &self.state { candidate.opening.as_ref() } else { None }
    }

    /// Whether this is the answer to the opening's newest try.
    pub(super) fn is_opening(&self, id: AppendId) -> bool {
        self.own_opening().is_some_and(|opening| opening.is(id))
    }

    pub(super) fn is_own_opening(&self, header: &Header) -> bool {
        self.own_opening().is_some_and(|opening| opening.nonce() == header.nonce)
    }

    pub(super) fn opening_acked(&mut self, now: Moment, place: u64) {
        let Some(opening) = self.own_opening() else { return };
        if opening.place() == place {
            let sent = opening.sent();
            self.win(now, place, sent);
        } else {
            self.doubt_opening(now);
        }
    }

    /// It is in the stream, by whichever try.
    pub(super) fn found_opening(&mut self, now: Moment, place: u64) {
        if let Some(sent) = self.own_opening().map(Append::first_sent) {
            self.win(now, place, sent);
        }
    }

    pub(super) fn doubt_opening(&mut self, now: Moment) {
        let State::Candidate(candidate) = &mut self.state else { return };
        if self.asking.is_some() || self.ask_at.is_some() {
            return;
        }
        self.counts.settled += 1;
        if candidate.asked_at.replace(self.chain.end()) == Some(self.chain.end()) {
            self.ask_at = Some(now + self.settings.hesitates_for());
        } else {
            self.ask_about_opening(now);
        }
    }

    pub(super) fn ask_about_opening(&mut self, now: Moment) {
        self.ask(now, Why::Appends, self.chain.ask_from());
    }

    /// What the stream holds, asked for since it isn't known what became of the opening.
    pub(super) fn settle_opening(&mut self, now: Moment, had: u64, answer: Answer) {
        if self.chain.look_again(&answer, had) {
            self.breached();
            self.rest(now);
            return;
        }
        let is_all = answer.covered >= answer.last;
        self.take_all(now, answer);
        match &self.state {
            State::Candidate(_) if !is_all => self.ask(now, Why::Appends, self.chain.end() + 1),
            State::Candidate(candidate) if candidate.usurps != self.chain.breach().is_some() => {
                self.rest(now)
            }
            State::Candidate(_) => self.try_again(now),
            State::Follower => self.resync(now), // what was read before had stopped, or lags
            _ => {}
        }
    }

    fn try_again(&mut self, now: Moment) {
        let (id, end) = (self.append_id(), self.chain.end());
        if let State::Candidate(candidate) = &mut self.state
            && let Some(opening) = &mut candidate.opening
        {
            let order = opening.again(id, end, now);
            self.order(order);
        }
    }

    /// The term's first message lies at this place; it was sent then.
    fn win(&mut self, now: Moment, place: u64, sent: Moment) {
        let lease = Lease::of(sent, self.settings.lease);
        let State::Candidate(candidate) = std::mem::replace(&mut self.state, State::Follower) else { return };
        let Candidate { usurps, opening: Some(opening), .. } = *candidate else { return };
        (self.asking, self.ask_at) = (None, None);
        self.denials = 0;
        let Message { header, body } = opening.message();
        let is_linked = header.after.is_some();
        if !is_linked {
            self.held.clear();
            self.parts.clear();
        }
        self.chain.advance(place, header, is_linked);
        self.chain.be_sure();
        self.give_held();
        self.counted_before = if is_linked { self.counted } else { CountedIs::default() };
        self.give(header, body.bytes().to_vec());
        self.quiet(now);
        self.void_at = None;
        self.target = self.target.max(place);
        self.attach_if_there();
        if !lease.holds(now) {
            // as good as another's, whose leader is gone: it went out too long ago
            Fenced::Lease.count(&mut self.counts.fenced);
            return;
        }
        self.counts.elected += 1;
        if self.reading.take().is_some() {
            self.order(Order::StopReading);
        }
        let link_from = if usurps { now + self.silence() } else { now };
        let leader = Leader::new(now, header, lease, link_from);
        self.state = State::Leader(Box::new(leader));
    }
}
