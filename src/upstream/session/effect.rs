//! What a session wants done.

use std::time::Duration;

use super::{Mark, draft::Draft};
use crate::config::Remedy;

/// Whether clients get a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) enum Publish {
    Yes,
    No,
}

/// On whose behalf something is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) enum Purpose {
    Script,
    Reply,
    Heartbeat,
}

/// A request that came to its end without being of use to anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) enum Stray {
    /// An answer came when nobody waited for it any more.
    Late,
    /// Nobody has answered the server in time.
    Unanswered,
}

/// What a session wants done.
#[derive(Debug, PartialEq)]
pub(in crate::upstream) enum Effect {
    /// Send this.
    Send(Draft, Purpose),
    /// The script is done: the connection is good for clients.
    Ready,
    /// The server puts the step under way off, in the words of the sentence: it is said anew after `delay`,
    /// and until it is done no heartbeat's message is said.
    PutOff { why: String, delay: Duration },
    /// The step that was put off is done.
    TakenOn,
    /// The connection is of no use, for the reason in the sentence. Nothing follows but [`Effect::Stray`].
    Failed { error: String, then: Remedy },
    /// Another connection should take over, for the reason in the sentence.
    Rotate { why: String },
    /// The message that the heartbeat expects came in.
    HeartbeatAnswered,
    /// The server said how often the heartbeat beats.
    BeatInterval(Duration),
    /// After which silence the connection is dead, by what the server said; none where it said nothing of use.
    IdleTimeout(Option<Duration>),
    /// A request came to its end without being of use to anybody.
    Stray(Stray),
    /// A reply or a heartbeat isn't sent, for the reason in the sentence, since its program made none.
    Unsent { error: String },
    /// How the script goes: only where it is followed.
    Script(Mark),
}
