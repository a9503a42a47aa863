//! A session of a node with a leader.

use std::time::Instant;

use serde::Serialize;

use super::{
    Out, Settings,
    channel::{Channel, WINDOW},
    words::{self, Head},
};
use crate::hub::LinkState;

/// What a frame has beside its bytes, at most.
pub(super) const HEAD: usize = 1024;
/// The most that one frame carries.
const MAX_BODY: usize = 256 << 10;

/// A session.
#[derive(Debug)]
pub(super) struct Session {
    /// Its name, and its number on this node.
    pub(super) id: String,
    pub(super) number: u64,
    pub(super) term: u64,
    pub(super) channel: Channel,
    /// How often the leader has given sends back.
    pub(super) round: u64,
    /// It has, and its link isn't up again; how the link was.
    pub(super) gave_back: Option<LinkState>,
    pub(super) since: Instant,
    /// When the leader was heard.
    pub(super) heard: Option<Instant>,
    /// The leader is lost: when what is untold is told.
    pub(super) ends: Option<Instant>,
}

/// The most bytes that a frame carries where NATS takes so many in a message.
pub(super) fn max_body(max_payload: usize) -> usize {
    max_payload.saturating_sub(HEAD).clamp(1, MAX_BODY)
}

impl Session {
    pub(super) fn new(now: Instant, id: String, number: u64, term: u64, max_payload: usize) -> Session {
        Session {
            id,
            number,
            term,
            channel: Channel::new(max_body(max_payload)),
            round: 0,
            gave_back: None,
            since: now,
            heard: None,
            ends: None,
        }
    }

    /// Leaves a word to be said. Where it ends.
    pub(super) fn say(&mut self, word: &impl Serialize, bodies: &[&[u8]]) -> u64 {
        let line = words::line(word);
        let parts: Vec<&[u8]> = std::iter::once(&*line).chain(bodies.iter().copied()).collect();
        self.channel.push(&parts).1
    }

    /// Whether as much waits as goes out at once.
    pub(super) fn is_full(&self) -> bool {
        self.channel.held() >= WINDOW
    }

    /// The next message; `says`: beside acknowledgements.
    pub(super) fn poll(&mut self, now: Instant, settings: &Settings, says: bool) -> Option<Out> {
        let frame = self.channel.poll(now, says)?;
        Some(Out {
            subject: format!("{}.t{}.send", settings.prefix, self.term),
            reply: Some(format!("{}.f.{}.{}", settings.inbox, self.id, frame.number)),
            payload: Head::write(&settings.node, &self.id, &frame),
        })
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.channel.next_timeout()
    }

    pub(super) fn timeout(&mut self, now: Instant) {
        self.channel.timeout(now);
    }
}
