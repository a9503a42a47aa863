//! What a session is given from outside: the time, chance, and what is remembered.

use std::time::Instant;

use super::memory::Memory;

/// What a session needs at each call.
#[derive(Debug)]
pub(in crate::upstream) struct Context<'a> {
    pub(in crate::upstream) now: Instant,
    /// Milliseconds since the Unix epoch.
    pub(in crate::upstream) now_ms: u64,
    pub(in crate::upstream) random: &'a mut fastrand::Rng,
    pub(in crate::upstream) memory: &'a mut Memory,
}

impl Context<'_> {
    /// A random UUID (RFC 9562, 5.4).
    pub(in crate::upstream) fn uuid(&mut self) -> String {
        uuid(self.random.u128(..))
    }
}

/// The UUID of these random bits.
pub(in crate::upstream) fn uuid(bits: u128) -> String {
    const VERSION: u128 = 0xf << 76;
    const VARIANT: u128 = 0b11 << 62;
    let bits = bits & !VERSION & !VARIANT | 0x4 << 76 | 0b10 << 62;
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_says_what_it_is() {
        let (mut random, mut memory) = (fastrand::Rng::with_seed(7), Memory::default());
        let mut context =
            Context { now: Instant::now(), now_ms: 0, random: &mut random, memory: &mut memory };
        for _ in 0..100 {
            let uuid = context.uuid();
            assert_eq!(uuid.len(), 36);
            assert_eq!(&uuid[14..15], "4", "{uuid}");
            assert!("89ab".contains(&uuid[19..20]), "{uuid}");
        }
        assert_ne!(context.uuid(), context.uuid());
    }
}
