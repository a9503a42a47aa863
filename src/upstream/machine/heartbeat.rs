//! The heartbeat of one connection: when to send one, and when its silence means that the connection
//! is dead. Pure.
//!
//! Only what comes in is proof of life; nothing that goes out touches a timer. Any byte counts, even
//! of a frame that isn't complete yet: a pong can't overtake the rest of a long message. With
//! `expect`, only a matching message counts.

use std::time::{Duration, Instant};

use crate::config::{self, FirstBeat, HeartbeatKind};

/// The heartbeat of a connection, from its begin on.
#[derive(Debug)]
pub(in crate::upstream) struct Heartbeat {
    settings: config::Heartbeat,
    /// The interval that the server said.
    told_interval: Option<Duration>,
    /// The idle timeout that the server said.
    told_idle: Option<Duration>,
    /// The last beat, or the begin before the first.
    last_beat: Instant,
    /// Which part of an interval is between `last_beat` and the next beat.
    part: f64,
    /// How many beats were sent; a ping carries its number.
    beats: u64,
    /// The beat whose round trip is being measured.
    measured: Option<Instant>,
    /// The beat that nothing answered yet, and when that means death. Never more than one.
    unanswered: Option<Unanswered>,
    last_inbound: Instant,
    /// Since when wsfan itself doesn't read.
    paused: Option<Instant>,
    /// The server isn't ready for messages: pings stand in for them.
    hushed: bool,
}

/// The longest interval of the pings that stand in for messages.
const STAND_IN: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy)]
struct Unanswered {
    since: Instant,
    deadline: Instant,
    /// A program has made it, and it went out then.
    is_said: bool,
}

/// What a timeout means.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::upstream) enum Due {
    /// Send a ping frame with this payload.
    Ping([u8; 8]),
    /// Send the configured message.
    Message,
    /// The connection is dead, for the reason in the sentence.
    Dead(String),
}

impl Heartbeat {
    /// For a connection that begins at `now`. `random`, at least 0 and less than 1, is for a first beat at
    /// a random time.
    pub(in crate::upstream) fn new(settings: config::Heartbeat, now: Instant, random: f64) -> Heartbeat {
        let first = match settings.first {
            FirstBeat::Interval => 1.0,
            FirstBeat::Random => random,
            FirstBeat::Now => 0.0,
        };
        Heartbeat {
            settings,
            told_interval: None,
            told_idle: None,
            last_beat: now,
            part: first,
            beats: 0,
            measured: None,
            unanswered: None,
            last_inbound: now,
            paused: None,
            hushed: false,
        }
    }

    /// What is configured, but with a first beat that is at once, whatever came in before, and whose answer is
    /// awaited for `limit` at most.
    pub(super) fn at_once(configured: &config::Heartbeat, limit: Duration) -> config::Heartbeat {
        config::Heartbeat {
            first: FirstBeat::Now,
            interval_from: None,
            only_when_idle: false,
            idle_timeout: None,
            idle_timeout_from: None,
            timeout: configured.timeout.map(|timeout| timeout.min(limit)),
            ..configured.clone()
        }
    }

    /// Applies new settings at once. The next beat is one new interval after the last one, or now.
    /// A beat already out gets the new timeout, but is never dead on the spot.
    pub(in crate::upstream) fn set(&mut self, now: Instant, settings: config::Heartbeat) {
        if settings.kind != self.settings.kind {
            self.unanswered = None;
            self.measured = None;
        }
        let stands_in = self.stands_in();
        match (&mut self.unanswered, settings.timeout) {
            (Some(beat), Some(timeout)) => {
                let deadline = beat.since + timeout;
                beat.deadline = if deadline > now { deadline } else { beat.deadline.min(now + timeout) };
            }
            // a ping that stands in for a message is awaited all the same
            (Some(_), None) if !stands_in => self.unanswered = None,
            _ => {}
        }
        if settings.idle_timeout.is_some() && self.idle_timeout().is_none() {
            self.last_inbound = self.last_inbound.max(now);
        }
        if settings.idle_timeout_from != self.settings.idle_timeout_from {
            self.told_idle = None;
        }
        if settings.interval_from != self.settings.interval_from {
            self.told_interval = None;
        }
        self.settings = settings;
    }

    /// The server said the interval. The first beat is counted from now, since a server that says one
    /// counts from there.
    pub(in crate::upstream) fn set_interval(&mut self, now: Instant, interval: Duration) {
        if self.beats == 0 && self.told_interval.is_none() {
            self.last_beat = now;
        }
        self.told_interval = Some(interval);
    }

    /// The server said how often it speaks, or that it doesn't say so: after which silence the connection is dead.
    /// Where nothing was said before, the silence counts from now.
    pub(in crate::upstream) fn set_idle_timeout(&mut self, now: Instant, timeout: Option<Duration>) {
        if self.idle_timeout().is_none() {
            self.last_inbound = self.last_inbound.max(now);
        }
        self.told_idle = timeout;
    }

    /// Something came in.
    pub(in crate::upstream) fn inbound(&mut self, now: Instant) {
        self.last_inbound = now;
        if !self.is_strict() {
            self.unanswered = None;
        }
    }

    /// A pong came in. Its round trip, when it answers the newest ping.
    pub(in crate::upstream) fn pong(&mut self, now: Instant, payload: &[u8]) -> Option<Duration> {
        let pings = matches!(self.settings.kind, HeartbeatKind::Ping) || self.stands_in();
        if !pings || payload != self.beats.to_be_bytes() {
            return None;
        }
        Some(now - self.measured.take()?)
    }

    /// The expected answer came in. Its round trip, when it is the first after a beat. Without
    /// `expect` there is none: nothing tells an answer from a message that was on its way anyhow.
    pub(in crate::upstream) fn answered(&mut self, now: Instant) -> Option<Duration> {
        if !self.is_strict() {
            return None;
        }
        self.unanswered = None;
        Some(now - self.measured.take()?)
    }

    /// The message of the beat that was due goes out only now, since a program has made it: its answer is awaited
    /// from now on, unless that of an earlier one still is.
    pub(super) fn said(&mut self, now: Instant) {
        self.measured = Some(now);
        let Some(timeout) = self.timeout() else { return };
        let waits = self.unanswered.filter(|beat| beat.is_said);
        let this = Unanswered { since: now, deadline: now + timeout, is_said: true };
        self.unanswered = Some(waits.unwrap_or(this));
    }

    /// wsfan itself stops reading: silence is its own doing.
    pub(in crate::upstream) fn pause(&mut self, now: Instant) {
        self.paused.get_or_insert(now);
    }

    /// Whether wsfan itself doesn't read.
    pub(in crate::upstream) fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// wsfan reads again: the time between doesn't count. It was so long.
    pub(in crate::upstream) fn resume(&mut self, now: Instant) -> Duration {
        let Some(paused) = self.paused.take() else {
            return Duration::ZERO;
        };
        self.last_inbound += now - paused;
        if let Some(beat) = &mut self.unanswered {
            beat.deadline += now - paused.max(beat.since);
        }
        now - paused
    }

    /// The server isn't ready for messages, until [`Heartbeat::speak`]: no beat that is one is sent or awaits an
    /// answer, and silence is the server's right. Pings stand in for them, for whose pongs nobody must be ready.
    pub(in crate::upstream) fn hush(&mut self) {
        if !std::mem::replace(&mut self.hushed, true) && self.is_message() {
            (self.unanswered, self.measured) = (None, None);
        }
    }

    /// The server is ready: the next beat is one interval from now.
    pub(in crate::upstream) fn speak(&mut self, now: Instant) {
        if std::mem::take(&mut self.hushed) && self.is_message() {
            (self.last_beat, self.last_inbound) = (now, now);
            (self.unanswered, self.measured) = (None, None);
        }
    }

    /// When [`Heartbeat::due`] has something to say. No beat is sent before `free`, when the server's
    /// limits allow one.
    pub(in crate::upstream) fn next_timeout(&self, free: Instant) -> Option<Instant> {
        let beat = self.next_beat().map(|at| at.max(free));
        [beat, self.next_death().map(|(at, _)| at)].into_iter().flatten().min()
    }

    /// What is due at `now`, if anything.
    pub(in crate::upstream) fn due(&mut self, now: Instant, free: Instant) -> Option<Due> {
        if let Some((at, silence)) = self.next_death()
            && at <= now
        {
            return Some(Due::Dead(self.sentence(silence)));
        }
        if self.next_beat()?.max(free) > now {
            return None;
        }
        self.beats += 1;
        (self.last_beat, self.part) = (now, 1.0);
        self.measured = Some(now);
        if let Some(timeout) = self.timeout() {
            self.unanswered.get_or_insert(Unanswered { since: now, deadline: now + timeout, is_said: false });
        }
        match &self.settings.kind {
            HeartbeatKind::Off => None,
            HeartbeatKind::Message { .. } if self.stands_in() => Some(Due::Ping(self.beats.to_be_bytes())),
            HeartbeatKind::Ping => Some(Due::Ping(self.beats.to_be_bytes())),
            HeartbeatKind::Message { .. } => Some(Due::Message),
        }
    }

    pub(super) fn is_message(&self) -> bool {
        matches!(self.settings.kind, HeartbeatKind::Message { .. })
    }

    /// Whether pings are sent in the place of messages.
    fn stands_in(&self) -> bool {
        self.hushed && self.is_message()
    }

    /// Whether only an expected message is proof of life.
    fn is_strict(&self) -> bool {
        matches!(self.settings.kind, HeartbeatKind::Message { expect: Some(_), .. }) && !self.hushed
    }

    /// A ping in the place of a message isn't as rare as a server may want those.
    fn interval(&self) -> Duration {
        let interval = self.told_interval.unwrap_or(self.settings.interval);
        if self.stands_in() { interval.min(STAND_IN) } else { interval }
    }

    /// Never longer than the interval, whatever the server says that is. None: nothing answers a beat. But a ping
    /// that stands in for one is answered by whoever speaks WebSocket, and is all that proves life then.
    fn timeout(&self) -> Option<Duration> {
        let stand_in = self.stands_in().then(|| self.settings.default_timeout());
        Some(self.settings.timeout.or(stand_in)?.min(self.interval()))
    }

    /// After which silence the connection is dead.
    fn idle_timeout(&self) -> Option<Duration> {
        match self.settings.idle_timeout_from {
            Some(_) => self.told_idle,
            None => self.settings.idle_timeout,
        }
    }

    fn next_beat(&self) -> Option<Instant> {
        if matches!(self.settings.kind, HeartbeatKind::Off) {
            return None;
        }
        // while the server is to say the interval, `first` is a part of one that isn't known yet
        let is_untold = self.settings.interval_from.is_some() && self.told_interval.is_none();
        let part = if is_untold || self.stands_in() { 1.0 } else { self.part };
        let next = self.last_beat + self.interval().mul_f64(part);
        let idle = self.settings.only_when_idle.then(|| self.last_inbound + self.interval());
        Some(idle.map_or(next, |idle| next.max(idle)))
    }

    /// The nearest deadline; none while wsfan itself doesn't read.
    fn next_death(&self) -> Option<(Instant, Silence)> {
        if self.paused.is_some() {
            return None;
        }
        let beat = self.unanswered.map(|beat| (beat.deadline, Silence::Unanswered));
        let idle = self.idle_timeout().filter(|_| !self.stands_in());
        let idle = idle.map(|limit| (self.last_inbound + limit, Silence::Idle));
        [beat, idle].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    fn sentence(&self, silence: Silence) -> String {
        match silence {
            Silence::Idle => {
                format!("nothing came in for {:?}", self.idle_timeout().unwrap_or_default())
            }
            Silence::Unanswered => {
                let what = if self.is_strict() { "no expected answer" } else { "no sign of life" };
                format!("{what} within {:?} of a heartbeat", self.timeout().unwrap_or_default())
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
