//! The heartbeat: when to send one, and when its silence means that the connection is dead. Pure.
//!
//! Only what comes in is proof of life; nothing that goes out touches a timer. Any byte counts, even
//! of a frame that isn't complete yet: a pong can't overtake the rest of a long message. With
//! `expect`, only a matching message counts.

use std::time::{Duration, Instant};

use crate::config::{self, HeartbeatKind};

/// The heartbeat of the link; it beats only between [`Heartbeat::arm`] and [`Heartbeat::disarm`].
#[derive(Debug)]
pub(super) struct Heartbeat {
    settings: config::Heartbeat,
    /// Present while the connection is up.
    live: Option<Live>,
}

#[derive(Debug)]
struct Live {
    /// The last beat, or the connection's begin before the first.
    last_beat: Instant,
    /// How many beats were sent; a ping carries its number.
    beats: u64,
    /// The beat whose round trip is being measured.
    measured: Option<Instant>,
    /// The beat that nothing answered yet, and when that means death. Never more than one.
    unanswered: Option<Unanswered>,
    last_inbound: Instant,
    /// Since when wsfan itself doesn't read.
    paused: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Unanswered {
    since: Instant,
    deadline: Instant,
}

/// What to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Beat {
    /// A ping frame with this payload.
    Ping([u8; 8]),
    /// A text message.
    Message(String),
}

/// What a timeout means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Send this.
    Beat(Beat),
    /// The connection is dead, for the reason in the sentence.
    Dead(String),
}

impl Heartbeat {
    pub(super) fn new(settings: config::Heartbeat) -> Heartbeat {
        Heartbeat { settings, live: None }
    }

    /// The connection is up: the first beat is one interval away.
    pub(super) fn arm(&mut self, now: Instant) {
        self.live = Some(Live {
            last_beat: now,
            beats: 0,
            measured: None,
            unanswered: None,
            last_inbound: now,
            paused: None,
        });
    }

    /// The connection is closing or gone: silence means nothing any more.
    pub(super) fn disarm(&mut self) {
        self.live = None;
    }

    /// Applies new settings at once. The next beat is one new interval after the last one, or now.
    /// A beat already out gets the new timeout, but is never dead on the spot.
    pub(super) fn set(&mut self, now: Instant, settings: config::Heartbeat) {
        if let Some(live) = &mut self.live {
            if settings.kind != self.settings.kind {
                live.unanswered = None;
                live.measured = None;
            }
            if let Some(beat) = &mut live.unanswered {
                let deadline = beat.since + settings.timeout;
                beat.deadline =
                    if deadline > now { deadline } else { beat.deadline.min(now + settings.timeout) };
            }
            if settings.idle_timeout.is_some() && self.settings.idle_timeout.is_none() {
                live.last_inbound = live.last_inbound.max(now);
            }
        }
        self.settings = settings;
    }

    /// Something came in.
    pub(super) fn inbound(&mut self, now: Instant) {
        let strict = self.expect().is_some();
        let Some(live) = &mut self.live else { return };
        live.last_inbound = now;
        if !strict {
            live.unanswered = None;
        }
    }

    /// A pong came in. Its round trip, when it answers the newest ping.
    pub(super) fn pong(&mut self, now: Instant, payload: &[u8]) -> Option<Duration> {
        let live = self.live.as_mut()?;
        if !matches!(self.settings.kind, HeartbeatKind::Ping) || payload != live.beats.to_be_bytes() {
            return None;
        }
        Some(now - live.measured.take()?)
    }

    /// Whether [`Heartbeat::message`] wants to see the text messages.
    pub(super) fn wants_messages(&self) -> bool {
        self.live.is_some() && self.expect().is_some()
    }

    /// A text message came in. Its round trip, when it is the first match after a beat. Without
    /// `expect` there is none: nothing tells an answer from a message that was on its way anyhow.
    pub(super) fn message(&mut self, now: Instant, text: &str) -> Option<Duration> {
        if self.live.is_none() || !self.expect()?.matches(text) {
            return None;
        }
        let live = self.live.as_mut()?;
        live.unanswered = None;
        Some(now - live.measured.take()?)
    }

    /// wsfan itself stops reading: silence is its own doing.
    pub(super) fn pause(&mut self, now: Instant) {
        if let Some(live) = &mut self.live {
            live.paused.get_or_insert(now);
        }
    }

    /// wsfan reads again: the time between doesn't count.
    pub(super) fn resume(&mut self, now: Instant) {
        let Some(live) = &mut self.live else { return };
        let Some(paused) = live.paused.take() else {
            return;
        };
        live.last_inbound += now - paused;
        if let Some(beat) = &mut live.unanswered {
            beat.deadline += now - paused.max(beat.since);
        }
    }

    /// When [`Heartbeat::due`] has something to say.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        [self.next_beat(), self.next_death().map(|(at, _)| at)].into_iter().flatten().min()
    }

    /// What is due at `now`, if anything.
    pub(super) fn due(&mut self, now: Instant) -> Option<Due> {
        if let Some((at, silence)) = self.next_death()
            && at <= now
        {
            return Some(Due::Dead(self.sentence(silence)));
        }
        if self.next_beat()? > now {
            return None;
        }
        let timeout = self.settings.timeout;
        let live = self.live.as_mut()?;
        live.beats += 1;
        live.last_beat = now;
        live.measured = Some(now);
        live.unanswered.get_or_insert(Unanswered { since: now, deadline: now + timeout });
        match &self.settings.kind {
            HeartbeatKind::Off => None,
            HeartbeatKind::Ping => Some(Due::Beat(Beat::Ping(live.beats.to_be_bytes()))),
            HeartbeatKind::Message { message, .. } => {
                Some(Due::Beat(Beat::Message(message.as_literal().unwrap_or_default().to_owned())))
            }
        }
    }

    fn expect(&self) -> Option<&config::Pattern> {
        match &self.settings.kind {
            HeartbeatKind::Message { expect, .. } => expect.as_ref(),
            _ => None,
        }
    }

    fn next_beat(&self) -> Option<Instant> {
        if matches!(self.settings.kind, HeartbeatKind::Off) {
            return None;
        }
        Some(self.live.as_ref()?.last_beat + self.settings.interval)
    }

    /// The nearest deadline; none while wsfan itself doesn't read.
    fn next_death(&self) -> Option<(Instant, Silence)> {
        let live = self.live.as_ref()?;
        if live.paused.is_some() {
            return None;
        }
        let beat = live.unanswered.map(|beat| (beat.deadline, Silence::Unanswered));
        let idle = self.settings.idle_timeout.map(|limit| (live.last_inbound + limit, Silence::Idle));
        [beat, idle].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    fn sentence(&self, silence: Silence) -> String {
        match silence {
            Silence::Idle => {
                format!("nothing came in for {:?}", self.settings.idle_timeout.unwrap_or_default())
            }
            Silence::Unanswered => {
                let what = if self.expect().is_some() { "no expected answer" } else { "no sign of life" };
                format!("{what} within {:?} of a heartbeat", self.settings.timeout)
            }
        }
    }
}

/// Which silence means death.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Silence {
    Unanswered,
    Idle,
}

#[cfg(test)]
mod tests;
