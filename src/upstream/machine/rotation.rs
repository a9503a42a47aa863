//! Rotation: the next connection is made, and its script is done, while the old one is live; then
//! they change places, and the old one is read to its end.
//!
//! Before the change the next one's failures concern nobody: the old connection stays, and another
//! attempt follows after a delay. After it the old one's do not.

use std::time::{Duration, Instant};

use super::{Attempt, Channel, Slot, dedupe::Seen, fault::is_under_way, world::World};
use crate::{config, hub::Data};

mod course;

/// Names of messages are kept for so long at least once only one connection is left.
const REMEMBERED: Duration = Duration::from_secs(5);

/// The second connection.
#[derive(Debug, Default)]
pub(super) struct Rotation {
    phase: Phase,
    /// Attempts in a row that came to nothing.
    failures: u32,
    /// Rotations in a row that the server called for on a connection that wasn't stable.
    hasty: u32,
    /// Another rotation is called for, once the old connection of this one is gone.
    wanted: Option<String>,
    /// The names of messages, while two connections are read.
    seen: Option<Seen>,
    /// When the names aren't needed any more.
    forget_at: Option<Instant>,
    /// What the next connection goes without of what the link remembers.
    forgets: Forgets,
}

/// What failed attempts of a rotation have it forget, until one takes over; the old connection needs it still.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Forgets {
    #[default]
    Nothing,
    /// What `resume_url` needs.
    ResumeUrl,
    /// A rule, or a step, says `forget`.
    All,
}

/// How far it has come.
#[derive(Debug, Default)]
pub(super) enum Phase {
    #[default]
    Idle,
    /// Before the next attempt.
    Waiting {
        until: Instant,
    },
    Dialling(Attempt),
    /// The next connection's script is under way.
    Opening(Box<Channel>),
    /// The next connection is the link's; the old one is still read, until nothing is missed without it
    /// or this time comes.
    Overlap {
        old: Box<Channel>,
        since: Instant,
        until: Instant,
    },
    /// The old connection closes; what it still says counts.
    Leaving {
        old: Box<Channel>,
        since: Instant,
        until: Instant,
    },
    /// A rule said not to try again.
    Stopped,
}

impl Rotation {
    /// A connection is up that wasn't made in a rotation.
    pub(super) fn begin(&mut self) {
        self.failures = 0;
        if matches!(self.phase, Phase::Stopped) {
            self.phase = Phase::Idle;
        }
    }

    /// The link's connection is stable.
    pub(super) fn settled(&mut self) {
        self.hasty = 0;
    }

    /// The seat that is taken.
    pub(super) fn slot(&self) -> Option<Slot> {
        match &self.phase {
            Phase::Dialling(attempt) => Some(attempt.slot),
            _ => self.any_channel().map(|channel| channel.slot),
        }
    }

    pub(super) fn phase(&self) -> &Phase {
        &self.phase
    }

    pub(super) fn attempt(&self, slot: Slot) -> Option<Attempt> {
        match &self.phase {
            Phase::Dialling(attempt) if attempt.slot == slot => Some(*attempt),
            _ => None,
        }
    }

    pub(super) fn channel(&self, slot: Slot) -> Option<&Channel> {
        self.any_channel().filter(|channel| channel.slot == slot)
    }

    pub(super) fn channel_mut(&mut self, slot: Slot) -> Option<&mut Channel> {
        match &mut self.phase {
            Phase::Opening(channel)
            | Phase::Overlap { old: channel, .. }
            | Phase::Leaving { old: channel, .. } => {
                Some(&mut **channel).filter(|channel| channel.slot == slot)
            }
            _ => None,
        }
    }

    /// The one that is to take over from the connection in this seat, or has taken over.
    pub(super) fn newer(&self, slot: Slot) -> Option<Slot> {
        match &self.phase {
            Phase::Dialling(attempt) => Some(attempt.slot),
            Phase::Opening(next) => Some(next.slot),
            Phase::Overlap { old, .. } | Phase::Leaving { old, .. } if old.slot == slot => Some(slot.other()),
            _ => None,
        }
    }

    pub(super) fn is_leaving(&self, slot: Slot) -> bool {
        matches!(&self.phase, Phase::Leaving { old, .. } if old.slot == slot)
    }

    /// The next connection is open.
    pub(super) fn opened(&mut self, channel: Box<Channel>) {
        self.phase = Phase::Opening(channel);
    }

    /// The attempt or the script that is under way, for the link to take over.
    pub(super) fn take_next(&mut self) -> Option<Phase> {
        is_under_way(&self.phase).then(|| std::mem::take(&mut self.phase))
    }

    /// A connection closes while the link goes on with the next one.
    pub(super) fn leave(&mut self, old: Box<Channel>, now: Instant, until: Instant) {
        self.phase = Phase::Leaving { old, since: now, until };
    }

    /// wsfan reads again: while it didn't, nobody could hear what the connection still had to say.
    pub(super) fn resumed(&mut self, now: Instant, slot: Slot, pause: Duration) {
        if let Phase::Overlap { old, until, since } | Phase::Leaving { old, until, since } = &mut self.phase
            && old.slot == slot
        {
            *until += pause.min(now - *since);
        }
    }

    /// Whether names of messages are compared.
    pub(super) fn compares(&self) -> bool {
        self.seen.is_some()
    }

    /// Whether the other connection hasn't published this message yet.
    pub(super) fn is_new(&mut self, slot: Slot, message: Data<'_>) -> bool {
        let text = match message {
            Data::Text(text) => Some(text),
            Data::Binary(bytes) => str::from_utf8(bytes).ok(),
        };
        match (&mut self.seen, text) {
            (Some(seen), Some(text)) => seen.is_new(slot, text),
            _ => true,
        }
    }

    /// When the age of a connection calls for the next one.
    pub(super) fn due_at(&self, since: Instant, rotate: &config::Rotate) -> Option<Instant> {
        rotate.after.filter(|_| matches!(self.phase, Phase::Idle)).map(|age| since + age)
    }

    pub(super) fn next_timeout(&self, now: Instant, world: &World) -> Option<Instant> {
        let own = match &self.phase {
            Phase::Waiting { until } => Some(*until),
            Phase::Opening(channel) => channel.next_timeout(now, world),
            Phase::Leaving { old, until, .. } => Some(*until).filter(|_| !old.heartbeat.is_paused()),
            Phase::Overlap { old, until, .. } => {
                let until = Some(*until).filter(|_| !old.heartbeat.is_paused());
                [old.next_timeout(now, world), until].into_iter().flatten().min()
            }
            Phase::Idle | Phase::Dialling(_) | Phase::Stopped => None,
        };
        [own, self.forget_at].into_iter().flatten().min()
    }

    fn any_channel(&self) -> Option<&Channel> {
        match &self.phase {
            Phase::Opening(channel)
            | Phase::Overlap { old: channel, .. }
            | Phase::Leaving { old: channel, .. } => Some(channel),
            _ => None,
        }
    }

    /// Nothing is left of the second connection. What it said last may still come over the other.
    fn rest(&mut self, forget_at: Option<Instant>) {
        self.phase = Phase::Idle;
        self.forget_at = forget_at;
        if forget_at.is_none() {
            self.seen = None;
        }
    }
}
