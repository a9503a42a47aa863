//! The lines in a message's body.

/// One entry of the log, as clients get it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry<'b> {
    /// Its place in the log.
    pub(crate) seq: u64,
    /// When it entered, in microseconds since the Unix epoch.
    pub(crate) time_us: u64,
    /// Its line, with its end.
    pub(crate) line: &'b [u8],
}

/// The entries in lines that lie end to end, in their order; it ends before a line that isn't an entry's.
pub(crate) fn entries(lines: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    let mut from = 0;
    memchr::memchr_iter(b'\n', lines).map_while(move |end| {
        let line = &lines[from..=end];
        from = end + 1;
        entry(line)
    })
}

/// Whether these are so many entries from this `seq` on, and nothing else: what is given to clients must be what it
/// says.
pub(super) fn is_whole(first: u64, count: u64, lines: &[u8]) -> bool {
    let mut next = first;
    let mut bytes = 0;
    for entry in entries(lines) {
        if entry.seq != next {
            return false;
        }
        next += 1;
        bytes += entry.line.len();
    }
    next - first == count && bytes == lines.len()
}

/// `{"type":"message","seq":41824,"time_us":1763847680120000,…}` and its end, as the hub writes each entry.
fn entry(line: &[u8]) -> Option<Entry<'_>> {
    let rest = line.strip_prefix(br#"{"type":""#)?;
    let quote = memchr::memchr(b'"', rest)?;
    let (seq, rest) = number(rest[quote..].strip_prefix(br#"","seq":"#)?)?;
    let (time_us, _) = number(rest.strip_prefix(br#","time_us":"#)?)?;
    Some(Entry { seq, time_us, line })
}

fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit())?;
    let value = std::str::from_utf8(&text[..end]).ok()?.parse().ok()?;
    Some((value, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &[u8] = b"{\"type\":\"message\",\"seq\":8,\"time_us\":70,\"text\":\"a\\n\"}\n\
        {\"type\":\"link\",\"seq\":9,\"time_us\":80,\"state\":\"up\"}\n";

    #[test]
    fn lines_are_entries_with_their_seq_and_time() {
        let found: Vec<_> =
            entries(LINES).map(|entry| (entry.seq, entry.time_us, entry.line.len())).collect();
        let first = LINES.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        assert_eq!(found, [(8, 70, first), (9, 80, LINES.len() - first)]);
    }

    #[test]
    fn a_body_must_hold_what_its_header_says() {
        assert!(is_whole(8, 2, LINES) && is_whole(5, 0, b""));
        for (first, count) in [(8, 1), (8, 3), (7, 2), (9, 2), (8, 0)] {
            assert!(!is_whole(first, count, LINES), "{first}, {count}");
        }
        for text in [&b"{\"type\":\"message\",\"seq\":8,\"time_us\":1}"[..], b"{\"type\":\"hello\"}\n", b"\n"]
        {
            assert!(!is_whole(8, 1, text), "{}", String::from_utf8_lossy(text));
            assert_eq!(entries(text).count(), 0);
        }
        assert!(!is_whole(8, 2, &[LINES, b"x"].concat()));
    }
}
