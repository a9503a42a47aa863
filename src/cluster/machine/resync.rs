//! Questions to the stream, and how a node finds its place in it.

use super::{
    Machine, Moment, State,
    chain::Breach,
    events::{Answer, AskId, Away, Order, Tell},
};

/// How far from its end a stream is looked at that has lost something: somebody may have begun a new epoch.
const LAST_FEW: u64 = 64;

/// A question that waits for its answer.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) id: AskId,
    pub(super) why: Why,
    /// What the stream surely had when it was asked.
    had: u64,
    pub(super) until: Moment,
}

/// What a question is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// To find this node's place.
    Place,
    /// To find out what became of appends.
    Appends,
    /// To find out whether an entry is there that a client waits for.
    Awaited,
}

impl Machine {
    /// Asks the stream, instead of what was asked before.
    pub(super) fn ask(&mut self, now: Moment, why: Why, from: u64) {
        let id = self.ask_id();
        let had = self.chain.tip().map_or(0, |tip| tip.place);
        self.asking = Some(Asking { id, why, had, until: now + self.settings.answers_within() });
        self.ask_at = None;
        self.order(Order::Ask { id, from });
    }

    /// Finds its place in the stream, and goes along from there.
    pub(super) fn resync(&mut self, now: Moment) {
        self.ask(now, Why::Place, self.chain.ask_from());
    }

    pub(super) fn answered(&mut self, now: Moment, answer: Answer) {
        let Some(Asking { why, had, .. }) = self.asking.take_if(|asking| asking.id == answer.id) else {
            return;
        };
        match why {
            Why::Place => self.find_place(now, had, answer),
            Why::Appends if matches!(self.state, State::Leader(_)) => self.settle(now, had, answer),
            Why::Appends => self.settle_opening(now, had, answer),
            Why::Awaited => self.look_for_awaited(now, answer.last),
        }
    }

    pub(super) fn not_answered(&mut self, now: Moment, id: AskId) {
        if let Some(Asking { why, .. }) = self.asking.take_if(|asking| asking.id == id) {
            self.is_unanswered(now, why);
        }
    }

    /// Asks again where that is due, and gives up what isn't answered.
    pub(super) fn ask_on(&mut self, now: Moment) {
        if let Some(Asking { why, .. }) = self.asking.take_if(|asking| asking.until <= now) {
            self.is_unanswered(now, why);
        }
        if self.nats && self.ask_at.take_if(|at| *at <= now).is_some() {
            match &self.state {
                State::Leader(_) => self.settle_anew(now),
                State::Detached(_) | State::Fenced(_) => self.resync(now),
                State::Candidate(_) => self.ask_about_opening(now),
                State::Follower | State::Finished => {}
            }
        }
    }

    fn is_unanswered(&mut self, now: Moment, why: Why) {
        if let State::Leader(_) = &self.state {
            self.ask_at = Some(now + self.settings.spread());
            return;
        }
        if let (State::Candidate(_), _) | (_, Why::Place | Why::Awaited) = (&self.state, why) {
            self.detach(now, Away::Unanswered);
            self.ask_at = Some(now + self.settings.rests_for());
        }
    }

    fn find_place(&mut self, now: Moment, had: u64, answer: Answer) {
        let last = answer.last;
        if self.chain.look_again(&answer, had) {
            self.breached();
            if answer.messages.is_empty() && last > 0 {
                // what lies before its end is another's now, and that one may have begun anew
                let from = last.saturating_sub(LAST_FEW).max(1);
                self.chain.break_at(Breach::Seen, from - 1);
                self.ask(now, Why::Place, from);
                return;
            }
        }
        self.state = State::Follower;
        self.quiet(now);
        self.take_all(now, answer);
        self.target = last;
        if std::mem::take(&mut self.returns) {
            self.live_from = last;
        }
        let id = self.read_id();
        self.reading = Some(id);
        self.order(Order::Read { id, after: self.chain.end() });
        self.attach_if_there();
    }

    /// Takes what the stream holds, as if it had been read.
    pub(super) fn take_all(&mut self, now: Moment, answer: Answer) {
        for stored in answer.messages {
            self.take(now, stored);
        }
        self.chain.pass_to(answer.covered.min(answer.last));
    }

    /// It is seen that the stream has lost something.
    pub(super) fn breached(&mut self) {
        self.counts.breaches += 1;
        self.counted_to = 0;
        self.be_away(Away::Breach);
    }

    /// Clients go on once this node has come as far as the stream had when it asked.
    pub(super) fn attach_if_there(&mut self) {
        let is_there = matches!(self.state, State::Follower) && self.chain.end() >= self.target;
        if is_there && self.served.is_some() && self.chain.breach().is_none() && !self.attached {
            self.attached = true;
            self.order(Order::Tell(Tell::Attached));
        }
    }

    /// Why a follower isn't attached.
    pub(super) fn away(&self) -> Away {
        match () {
            () if self.chain.breach().is_some() => Away::Breach,
            () if self.served.is_none() => Away::Starting,
            () => Away::Lagging,
        }
    }
}
