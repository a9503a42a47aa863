//! What the fuzz targets try of this room. Each function takes what anybody could send or write, and
//! panics where something is wrong.

use super::session::{
    matcher::{Look, Matcher, Sieve, Slots},
    probe::Probe,
};
use crate::config::Pattern;

pub use super::{
    websocket::fuzzing::{compressed, frames, inflate, upgrade},
    wire::proxy::fuzzing::{connect, socks},
};

/// A compiled pattern means what the plain one does, and the sieve holds back no message that it matches.
pub fn pattern(pattern: &Pattern, message: &str) {
    let mut slots = Slots::default();
    let matcher = Matcher::new(pattern, &mut slots);
    let found = Probe::new(slots.pointers()).look(message);
    let matches = pattern.matches(message.as_bytes());
    assert_eq!(matcher.matches(&Look::at(message, found.as_ref())), matches);
    let mut sieve = Sieve::default();
    sieve.pattern(pattern);
    assert!(!matches || sieve.may_concern(message.as_bytes(), &mut Vec::new()), "the sieve held it back");
}
