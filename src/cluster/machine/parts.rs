//! A line that comes in parts.

use super::batch::Part;

/// What has come of a line so far.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// The line's `seq`, its bytes, and the number of the next part.
    line: Option<(u64, Vec<u8>, u32)>,
}

impl Parts {
    /// Takes the next part, and gives the line when that was the last. A line of which a part is missing, or that is
    /// longer than `max`, is never given.
    pub(super) fn take(&mut self, seq: u64, part: Part, bytes: &[u8], max: usize) -> Option<Vec<u8>> {
        if part.number == 1 {
            self.line = Some((seq, Vec::new(), 1));
        }
        let (begun, mut line, next) = self.line.take()?;
        if begun != seq || next != part.number || line.len() + bytes.len() > max {
            return None;
        }
        line.extend_from_slice(bytes);
        if part.number == part.of {
            return Some(line);
        }
        self.line = Some((seq, line, next + 1));
        None
    }

    /// What is begun will not be ended.
    pub(super) fn clear(&mut self) {
        self.line = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(number: u32, of: u32) -> Part {
        Part { number, of }
    }

    #[test]
    fn a_line_is_given_when_its_last_part_is_there_and_never_with_a_part_missing() {
        let mut parts = Parts::default();
        assert_eq!(parts.take(5, part(1, 3), b"a", 9), None);
        assert_eq!(parts.take(5, part(2, 3), b"b", 9), None);
        assert_eq!(parts.take(5, part(3, 3), b"c", 9), Some(b"abc".to_vec()));
        assert_eq!(parts.take(5, part(3, 3), b"c", 9), None, "it is given once");

        assert_eq!(parts.take(6, part(2, 2), b"b", 9), None, "it began before");
        assert_eq!(parts.take(6, part(1, 3), b"a", 9), None);
        assert_eq!(parts.take(6, part(3, 3), b"c", 9), None, "one is missing");
        assert_eq!(parts.take(6, part(1, 2), b"a", 9), None);
        assert_eq!(parts.take(7, part(2, 2), b"b", 9), None, "that is another line");
        assert_eq!(parts.take(7, part(1, 2), b"a", 9), None);
        parts.clear();
        assert_eq!(parts.take(7, part(2, 2), b"b", 9), None);
    }

    #[test]
    fn a_line_that_is_too_long_is_let_go_of() {
        let mut parts = Parts::default();
        assert_eq!(parts.take(5, part(1, 3), b"abcd", 6), None);
        assert_eq!(parts.take(5, part(2, 3), b"efg", 6), None);
        assert!(parts.line.is_none(), "nothing of it is kept");
        assert_eq!(parts.take(5, part(3, 3), b"h", 6), None);
    }
}
