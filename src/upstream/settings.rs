//! What the link is given, and why it ends.

use std::time::Duration;

use crate::config::{self, HeartbeatKind, Say};

/// What the link takes from the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `[upstream]`. Which changes need a new connection: [`config::Takes`].
    pub upstream: config::Upstream,
    /// How the server wants to be spoken to.
    pub terms: config::Terms,
    /// `[heartbeat]`: applied to the live link, where it needs no new connection.
    pub heartbeat: config::Heartbeat,
    /// `[reconnect]`: applied at once.
    pub reconnect: config::Reconnect,
    /// `[outbox]`: applied at once.
    pub outbox: config::Outbox,
    /// What a close may take: writing what was sent before it, and the closing handshake. For the
    /// next one.
    pub close_timeout: Duration,
}

impl Settings {
    /// What a file means that says no more than where the server is.
    pub fn of(upstream: config::Upstream) -> Settings {
        Settings {
            upstream,
            terms: config::Terms::default(),
            heartbeat: config::Heartbeat::default(),
            reconnect: config::Reconnect::default(),
            outbox: config::Outbox::default(),
            close_timeout: Duration::from_secs(1),
        }
    }
}

impl Settings {
    /// What the script, replies and the heartbeat say, but for steps that the variables leave out.
    pub(super) fn says(&self) -> impl Iterator<Item = &Say> {
        let terms = &self.terms;
        let steps = terms.script.steps.iter().filter(|step| step.is_wanted(&terms.vars));
        let steps = steps.filter_map(|step| step.send.as_ref());
        let replies = terms.replies.iter().map(|reply| &reply.send);
        let beat = match &self.heartbeat.kind {
            HeartbeatKind::Message { message, .. } => Some(message),
            HeartbeatKind::Off | HeartbeatKind::Ping => None,
        };
        steps.chain(replies).chain(beat)
    }
}

/// Why the link has ended for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It was told to.
    Stopped,
    /// `reconnect.max_attempts` are used up, or a rule says `stop`; and `on_exhausted` is `exit`.
    GivenUp,
}

#[cfg(test)]
mod tests;
