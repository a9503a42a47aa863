//! Bytes from a client become lines. Pure.

/// Collects bytes and hands out whole lines. Holds no memory while nothing is buffered.
#[derive(Debug, Default)]
pub(in crate::local) struct LineBuffer {
    buffer: Vec<u8>,
    /// Lines before here are handed out already.
    start: usize,
    /// No line ends before here: a long line is not searched again for each part of it.
    searched: usize,
}

/// A line is longer than allowed; what follows it can't be told apart from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::local) struct TooLong;

impl LineBuffer {
    /// Adds bytes as they came. A line of up to `max_line` bytes takes no more than that.
    pub(in crate::local) fn push(&mut self, bytes: &[u8], max_line: usize) {
        let length = self.buffer.len() + bytes.len();
        if length > self.buffer.capacity() {
            // twice as much each time, but no more than there can be: the line, and its end
            let grown = (2 * self.buffer.capacity()).min(max_line + 2).max(length);
            self.buffer.reserve_exact(grown - self.buffer.len());
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line, without its end (`\n` or `\r\n`); `None` until more bytes come.
    ///
    /// # Errors
    /// The line, whole or not, is longer than `max_line`.
    pub(in crate::local) fn next(&mut self, max_line: usize) -> Result<Option<&[u8]>, TooLong> {
        let from = self.searched.max(self.start);
        match memchr::memchr(b'\n', &self.buffer[from..]) {
            Some(at) => {
                let line = self.start..from + at;
                self.start = line.end + 1;
                self.searched = self.start;
                let line = &self.buffer[line];
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                if line.len() > max_line { Err(TooLong) } else { Ok(Some(line)) }
            }
            None => {
                self.buffer.drain(..self.start);
                self.start = 0;
                self.searched = self.buffer.len();
                // an idle client holds what it has sent, and not what a long line once took
                if self.buffer.capacity() > 4 * self.buffer.len().max(1024) || self.buffer.is_empty() {
                    self.buffer.shrink_to_fit();
                }
                // one more: the end of the line may be the \r of an \r\n still to come
                if self.buffer.len() > max_line + 1 { Err(TooLong) } else { Ok(None) }
            }
        }
    }

    /// What it takes, in bytes.
    pub(in crate::local) fn memory(&self) -> usize {
        self.buffer.capacity()
    }

    /// Whether bytes of an unfinished line are left.
    pub(in crate::local) fn has_rest(&self) -> bool {
        self.start < self.buffer.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(lines: &mut LineBuffer, max_line: usize) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut found = Vec::new();
        while let Some(line) = lines.next(max_line)? {
            found.push(line.to_vec());
        }
        Ok(found)
    }

    #[test]
    fn a_carriage_return_before_the_end_is_no_part_of_the_line() {
        let mut lines = LineBuffer::default();
        lines.push(b"a\r\nb\n\n\r\nhalf", 9);
        assert_eq!(all(&mut lines, 9).unwrap(), [&b"a"[..], b"b", b"", b""]);
        assert!(lines.has_rest());
    }

    #[test]
    fn a_line_may_have_max_line_bytes_and_no_more() {
        for (input, fits) in
            [(&b"12345\n"[..], true), (b"12345\r\n", true), (b"123456\n", false), (b"1234567", false)]
        {
            let mut lines = LineBuffer::default();
            lines.push(input, 5);
            assert_eq!(all(&mut lines, 5).is_ok(), fits, "{input:?}");
        }
    }

    #[test]
    fn nothing_buffered_holds_no_memory() {
        let mut lines = LineBuffer::default();
        lines.push(&[b'x'; 5000], 1 << 20);
        lines.push(b"\n", 1 << 20);
        all(&mut lines, 1 << 20).unwrap();
        assert_eq!(lines.buffer.capacity(), 0);
    }

    #[test]
    fn a_long_line_takes_what_it_has() {
        let mut lines = LineBuffer::default();
        for _ in 0..1000 {
            lines.push(&[b'x'; 1000], 1_000_000);
            assert_eq!(lines.next(1_000_000), Ok(None));
        }
        assert_eq!(lines.memory(), 1_000_002);
    }

    proptest! {
        #[test]
        fn however_the_bytes_are_cut_the_lines_are_the_same(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'x')], 0..200),
            cut in 1usize..20,
        ) {
            let expected: Vec<Vec<u8>> = {
                let mut parts: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
                parts.pop();
                parts.iter().map(|line| line.strip_suffix(b"\r").unwrap_or(line).to_vec()).collect()
            };
            let mut lines = LineBuffer::default();
            let mut found = Vec::new();
            for part in text.chunks(cut) {
                lines.push(part, 1000);
                found.extend(all(&mut lines, 1000).unwrap());
            }
            prop_assert_eq!(found, expected);
        }
    }
}
