//! Stepping down: the link is closed first, then all that it brought is appended, then others are let go at once.

use std::time::Duration;

use super::{
    Fenced, Machine, Moment, State,
    events::{Order, Tell},
    leader::{Leader, Link},
};

/// So long a server has to answer the closing handshake: whoever follows waits for it.
const CLOSES_WITHIN: Duration = Duration::from_millis(200);

/// A leader that steps down.
#[derive(Debug)]
pub(super) struct Resigning {
    /// It is over by then, in order or not.
    pub(super) until: Moment,
    /// Its last message is on its way.
    said: bool,
}

impl Leader {
    /// When others are let try, if the link doesn't come up.
    pub(super) fn gives_up_at(&self, machine: &Machine) -> Option<Moment> {
        let may = machine.others > 0 && self.resigning.is_none();
        Some(self.down_since? + machine.settings.step_down_after?).filter(|_| may)
    }
}

impl Machine {
    /// Since when the link is wanted and isn't up.
    pub(super) fn link_is_wanted(&mut self, since: Option<Moment>) {
        if let State::Leader(leader) = &mut self.state {
            leader.down_since = since.map(|since| leader.down_since.unwrap_or(since));
        }
    }

    pub(super) fn resign(&mut self, now: Moment) {
        let until = now + self.settings.lease;
        let State::Leader(leader) = &mut self.state else { return };
        if leader.resigning.is_some() {
            return;
        }
        leader.resigning = Some(Resigning { until, said: false });
        if leader.link == Link::Started {
            leader.link = Link::Closing(now + CLOSES_WITHIN.min(self.settings.spread() * 2));
            self.order(Order::CloseLink);
        } else {
            leader.link = Link::Gone;
        }
    }

    pub(super) fn link_gone(&mut self) {
        if let State::Leader(leader) = &mut self.state
            && matches!(leader.link, Link::Closing(_))
        {
            leader.link = Link::Gone;
        }
    }

    pub(super) fn resign_on(&mut self, now: Moment) {
        let State::Leader(leader) = &self.state else { return };
        if leader.link == Link::Started && leader.gives_up_at(self).is_some_and(|at| at <= now) {
            self.order(Order::Tell(Tell::GivesUp));
            self.resign(now);
        }
        let State::Leader(leader) = &mut self.state else { return };
        let Some(resigning) = &mut leader.resigning else { return };
        if resigning.until <= now {
            self.fence(now, Fenced::Lease);
            return;
        }
        if let Link::Closing(until) = leader.link
            && until <= now
        {
            leader.link = Link::Gone;
            self.orders.push_back(Order::StopLink);
        }
        self.say_it(now);
    }

    /// The last message, when the link is gone and all before is on its way.
    fn say_it(&mut self, now: Moment) {
        let may = self.may_append();
        let State::Leader(leader) = &mut self.state else { return };
        let is_last = may && leader.link == Link::Gone && leader.has_sent_all();
        if is_last && !leader.uncarried.fits() {
            return self.append_empty(now, false);
        }
        if let Some(resigning) = leader.resigning.as_mut().filter(|resigning| is_last && !resigning.said) {
            resigning.said = true;
            self.append_empty(now, true);
        }
    }

    /// The stream has the last message.
    pub(super) fn stepped_down(&mut self, now: Moment) {
        self.counts.stepped_down += 1;
        self.state = State::Follower;
        self.order(Order::Cut);
        if self.stopping {
            self.finish();
            return;
        }
        // those that wait may try, and this node when they haven't
        self.quiet(now);
        self.not_before = now + self.settings.lease * 2;
        self.resync(now);
    }
}
