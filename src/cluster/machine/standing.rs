//! How the node stands, for `status`.

use std::{rc::Rc, time::Duration};

use super::{Fenced, Machine, Moment, State, events::Away};

/// What it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It isn't with the log.
    Detached(Away),
    /// It goes along.
    Follower,
    /// It tries to lead.
    Candidate,
    /// It leads.
    Leader,
    /// It led, and looks for its place.
    Fenced(Fenced),
}

/// How it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// What it is.
    pub(crate) role: Role,
    /// The newest term that it knows of.
    pub(crate) term: u64,
    /// Its leader; none before the first, and after one that stepped down.
    pub(crate) leader: Option<Rc<str>>,
    /// The log's epoch, as its clients have it.
    pub(crate) epoch: Option<Rc<str>>,
    /// How many messages the stream was ahead, as far as is known.
    pub(crate) lag: u64,
    /// For how long nothing was heard of a leader, by a node that doesn't lead.
    pub(crate) silence: Duration,
    /// How long this node may still lead.
    pub(crate) lease_left: Option<Duration>,
}

impl Machine {
    /// How the node stands.
    pub(crate) fn standing(&self, now: Moment) -> Standing {
        let tip = self.chain.tip();
        Standing {
            role: match &self.state {
                State::Detached(away) => Role::Detached(*away),
                State::Follower if !self.attached => Role::Detached(self.away()),
                State::Follower | State::Finished => Role::Follower,
                State::Candidate(_) => Role::Candidate,
                State::Leader(_) => Role::Leader,
                State::Fenced(why) => Role::Fenced(*why),
            },
            term: tip.map_or(0, |tip| tip.term),
            leader: tip.filter(|tip| !tip.step_down).map(|tip| Rc::clone(&tip.node)),
            epoch: self.served.as_ref().map(|served| Rc::clone(&served.epoch)),
            lag: self.target.saturating_sub(self.chain.end()),
            silence: now - self.quiet_since,
            lease_left: self.lease().map(|lease| lease.until() - now),
        }
    }
}
