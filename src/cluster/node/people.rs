//! What this node's clients and people are told of it.

use tokio::time::Instant;

use super::{Node, told};
use crate::{
    cluster::{
        Host, clock,
        machine::{Away, Role, Standing, Tell},
    },
    hub::{LinkState, Seldom},
};

/// What people were told is wrong.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    /// Messages that are none of the log's, so many.
    strays: u64,
    seldom: Seldom,
    /// Breaches, when an epoch began last.
    breaches: u64,
    /// Terms of this node's that were ended in order, so many.
    stepped_down: u64,
    /// The stream is gone, since an epoch began last.
    is_gone: bool,
}

/// That this node isn't with the log, as long as its clients need not know: it may be again before they miss anything.
#[derive(Debug)]
pub(super) struct Untold {
    /// They are told then.
    pub(super) at: Instant,
    why: String,
}

/// What clients are told while that is so.
const UNHEARD: &str = "nothing was heard yet of the machine that has the link";

impl<H: Host> Node<H> {
    pub(super) fn told(&mut self, tell: Tell) {
        match tell {
            Tell::Attached => {
                tracing::info!("this node goes along with the cluster's log");
                // whether the link is as the log says shows when something is heard of who has it
                (self.is_attached, self.is_heard) = (true, false);
                if let Some(untold) = &mut self.untold {
                    untold.why = UNHEARD.to_owned();
                    return;
                }
                self.is_unled = true;
                if self.followed.is_closed() {
                    self.follow_link();
                } else {
                    self.be_away(UNHEARD.to_owned());
                }
                self.hub.restate();
            }
            Tell::Detached(away) => {
                let why = told::away(away, self.trouble.as_deref());
                tracing::warn!("detached: {why}");
                let until = self.untold_until(away);
                self.is_attached = false;
                match until {
                    Some(at) => self.untold = Some(Untold { at, why }),
                    None => {
                        self.untold = None;
                        self.be_away(why);
                        self.hub.restate();
                    }
                }
            }
            Tell::Differs { node } => self.terms.differs(node),
            Tell::GivesUp => tracing::warn!(
                "the link hasn't come up for cluster.step_down_after: this node steps down, for another to try"
            ),
        }
    }

    /// How long clients need not hear that this node is away: until they would hear it of a leader that is silent.
    fn untold_until(&self, away: Away) -> Option<Instant> {
        match away {
            Away::Nats | Away::Unanswered | Away::Lagging => {}
            Away::Starting | Away::Gone | Away::Breach => return None, // it isn't over soon
        }
        if let Some(untold) = &self.untold {
            return Some(untold.at); // it was with the log and away again, and has heard nothing in between
        }
        let leader = self.machine.standing(clock::now()).leader;
        let another_leads = leader.is_some_and(|leader| *leader != *self.name);
        let is_up_to_date = self.is_attached && self.is_heard && !self.is_unled;
        let until = self.sends.silent_at().filter(|_| another_leads && is_up_to_date);
        until.filter(|at| *at > Instant::now())
    }

    /// Clients are told now that the link isn't to be had from here, where they weren't yet.
    pub(super) fn tell_untold(&mut self) {
        if let Some(Untold { why, .. }) = self.untold.take() {
            self.is_unled |= self.is_attached;
            self.be_away(why);
            self.hub.restate();
        }
    }

    /// What they aren't told yet has become worse, and isn't over soon: they are told now.
    pub(super) fn tell_worse(&mut self, away: Away) {
        if let Some(untold) = &mut self.untold {
            untold.why = told::away(away, self.trouble.as_deref());
            self.tell_untold();
        }
    }

    /// Where nothing is heard of a leader, the last entry of the link isn't true any more.
    pub(super) fn heed_silence(&mut self, standing: &Standing) {
        if self.untold.is_some() {
            return;
        }
        let is_here = matches!(standing.role, Role::Follower | Role::Candidate);
        let was_own = standing.leader.as_deref() == Some(&*self.name);
        let is_unled = is_here && (standing.silence >= self.lease || was_own || !self.is_heard);
        if std::mem::replace(&mut self.is_unled, is_unled) == is_unled {
            return;
        }
        let says_up = self.followed.link().is_some_and(|link| link.state != LinkState::Closed);
        if is_unled && says_up {
            self.be_away(
                "no machine has the link just now: the next one to lead will make a connection".to_owned(),
            );
            self.hub.restate();
        } else if is_here && !is_unled {
            self.follow_link();
            self.hub.restate();
        }
    }

    /// Clients are told that the link isn't to be had from here.
    pub(super) fn be_away(&self, why: String) {
        if let Some((publisher, _)) = &self.end {
            publisher.lose_link(why);
        }
    }

    pub(super) fn trouble(&mut self, trouble: String) {
        if self.trouble.as_ref() != Some(&trouble) {
            tracing::warn!("{trouble}");
        }
        self.trouble = Some(trouble);
        self.show(&self.machine.standing(clock::now()));
    }

    /// Says what has become of this node, where that is new.
    pub(super) fn say_standing(&mut self) {
        let standing = self.machine.standing(clock::now());
        let now = (standing.term, standing.role);
        let before = std::mem::replace(&mut self.known, now);
        if before == now {
            return;
        }
        self.show(&standing);
        let term = standing.term;
        let stepped_down = self.machine.counts().stepped_down;
        let has_stepped_down =
            std::mem::replace(&mut self.complaints.stepped_down, stepped_down) != stepped_down;
        let news = self.terms.look(&self.name, &standing);
        match standing.role {
            Role::Leader => match self.terms.before().filter(|before| *before != self.name) {
                Some(before) => tracing::info!(term, "this node leads, after {before}"),
                None => tracing::info!(term, "this node leads"),
            },
            Role::Fenced(why) => tracing::warn!(term, "this node leads no more: {}", told::fenced(why)),
            Role::Candidate => tracing::debug!(term, "this node stands"),
            Role::Follower | Role::Detached(_) if before.1 == Role::Leader && has_stepped_down => {
                tracing::info!(term = before.0, "this node has stepped down")
            }
            Role::Follower | Role::Detached(_) if before.1 == Role::Leader => {
                tracing::warn!(term = before.0, "this node leads no more")
            }
            Role::Follower | Role::Detached(_) => {}
        }
        if let Some(node) = news.leads {
            tracing::info!(term, "{node} leads");
        }
        if news.differs {
            let node = standing.leader.as_deref().unwrap_or_default();
            tracing::warn!(
                node,
                "the leader's [upstream], or what is said on a connection, isn't this node's: \
                                  make their configurations equal"
            );
        }
    }

    /// The stream is gone. Where no log was known, it was never there.
    pub(super) fn say_gone(&mut self) {
        if !self.hub.epoch().is_empty() && !std::mem::replace(&mut self.complaints.is_gone, true) {
            tracing::warn!("the stream {} is gone: a new one begins another log", self.names.stream());
        }
    }

    /// The log ends, and another one begins: says why, where that is known.
    pub(super) fn say_epoch(&mut self) {
        let breaches = self.machine.counts().breaches;
        let is_breach = std::mem::replace(&mut self.complaints.breaches, breaches) != breaches;
        let why = match std::mem::take(&mut self.complaints.is_gone) {
            true => "the stream was gone",
            false if is_breach => "the stream has lost entries that it had stored, or is another one",
            false => return,
        };
        if !self.hub.epoch().is_empty() {
            tracing::warn!("this log goes on no more: {why}");
        }
    }

    /// Says seldom that messages in the stream were none of the log's.
    pub(super) fn say_strays(&mut self) {
        let strays = self.machine.counts().strays;
        let new = strays.saturating_sub(self.complaints.strays);
        if new > 0 && self.complaints.seldom.due().is_some() {
            self.complaints.strays = strays;
            tracing::warn!(new, "messages in the stream were passed over, since they aren't the log's");
        }
    }

    /// Shows clients how this node stands.
    pub(super) fn show(&self, standing: &Standing) {
        let (counts, trouble) = (self.machine.counts(), self.trouble.as_deref());
        self.hub.change_cluster(|shown| {
            told::show(shown, standing, counts, trouble, Instant::now().into_std());
        });
    }
}
