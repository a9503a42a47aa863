//! What the fuzz targets try of this room: the functions panic where something is wrong.

use super::dialogue::lines::LineBuffer;
use crate::protocol;

/// The longest line here: short enough for a fuzzer to come to the bound.
const MAX_LINE: usize = 200;

/// What a client writes comes to the same lines however it is cut, and each line is understood or refused.
pub fn client(piece: usize, bytes: &[u8]) {
    let whole = lines(bytes, usize::MAX);
    for line in &whole.0 {
        match protocol::parse(line) {
            Ok(_) => {
                let value = serde_json::from_slice::<serde::de::IgnoredAny>(line);
                assert!(
                    value.is_ok() && line.trim_ascii_start().starts_with(b"{"),
                    "only objects are requests"
                );
            }
            Err(bad) => assert!(!bad.message.is_empty()),
        }
    }
    assert_eq!(lines(bytes, piece.max(1)), whole);
}

/// The lines up to the end or to one that is too long, and whether there was one.
fn lines(bytes: &[u8], piece: usize) -> (Vec<Vec<u8>>, bool) {
    let (mut lines, mut found) = (LineBuffer::default(), Vec::new());
    for part in bytes.chunks(piece) {
        lines.push(part, MAX_LINE);
        loop {
            match lines.next(MAX_LINE) {
                Ok(Some(line)) => found.push(line.to_vec()),
                Ok(None) => break,
                Err(_) => return (found, true),
            }
        }
    }
    (found, false)
}
