//! Masks for a client's frames.

/// Masks that nobody can foresee (RFC 6455, 10.3), fetched from the system many at a time.
#[derive(Default)]
pub(super) struct Masks {
    pool: Vec<[u8; 4]>,
}

impl Masks {
    pub(super) fn next(&mut self) -> [u8; 4] {
        if self.pool.is_empty() {
            let mut bytes = [0; 256];
            if getrandom::fill(&mut bytes).is_err() {
                fastrand::fill(&mut bytes); // better a mask of little worth than no connection
            }
            self.pool.extend(bytes.as_chunks().0);
        }
        self.pool.pop().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_frames_have_the_same_mask() {
        let mut masks = Masks::default();
        let mut drawn: Vec<_> = (0..1_000).map(|_| masks.next()).collect();
        drawn.sort_unstable();
        drawn.dedup();
        assert!(drawn.len() > 990, "only {} of 1000 differ", drawn.len());
    }
}
