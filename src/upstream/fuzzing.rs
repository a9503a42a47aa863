//! What the fuzz targets try of this room. Each function takes what anybody could send or write, and
//! panics where something is wrong.

use serde_json::value::RawValue;

use super::session::{
    matcher::{Look, Matcher, Sieve, Slots},
    probe::Probe,
    split::{MAX_ELEMENTS, Parted, Split},
};
use crate::config::{Pattern, Pointer};

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
    split(message);
}

/// A message is taken apart into the elements that are there, byte for byte.
fn split(message: &str) {
    let whole = Pointer::parse("").expect("it is a pointer");
    let elements: Vec<&RawValue> = serde_json::from_str(message).unwrap_or_default();
    let elements: Vec<_> = elements.into_iter().map(RawValue::get).collect();
    let expected = match elements.len() {
        0 => Parted::Whole,
        1..=MAX_ELEMENTS => Parted::Elements(elements),
        _ => Parted::TooMany,
    };
    assert_eq!(Split::new(&whole).part(message), expected);
}
