//! *Pure.* Units: several messages with one fate, and nothing between them.

use fastrand::Rng;
use serde_json::Value;

/// A unit: number `k` of a client's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Unit {
    pub(crate) session: u64,
    pub(crate) k: u64,
}

/// A message of a unit, as the server got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// How many messages had come on that connection before.
    pub(crate) after: usize,
    pub(crate) unit: Unit,
    pub(crate) text: String,
}

impl Unit {
    /// Its messages, in order.
    pub(crate) fn messages(self, seed: u64) -> Vec<String> {
        let Unit { session, k } = self;
        let mut rng = Rng::with_seed(seed.rotate_left(5) ^ (session << 20) ^ k);
        let count = *[1, 2, 3, 5, 40].get(rng.usize(0..5)).unwrap_or(&2);
        let message = |at: usize| {
            let length = if rng.u32(0..20) == 0 { rng.usize(1_000..70_000) } else { rng.usize(0..200) };
            format!("{{\"unit\":[{session},{k},{at}],\"pad\":\"{}\"}}", "u".repeat(length))
        };
        (0..count).map(message).collect()
    }

    /// The unit that a message is of.
    pub(crate) fn of(text: &str) -> Option<Unit> {
        if !text.starts_with("{\"unit\":[") {
            return None;
        }
        let value: Value = serde_json::from_str(text).ok()?;
        Some(Unit { session: value["unit"][0].as_u64()?, k: value["unit"][1].as_u64()? })
    }
}
