//! A hole in the server's own count of its messages.

use std::borrow::Cow;

use serde_json::value::{RawValue, to_raw_value};

use crate::protocol::{Line, UpstreamGap, Why};

/// Messages that the server counted and that never came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hole {
    /// The first number that is missing.
    pub from: u64,
    /// The last one.
    pub to: u64,
    /// What the count is of, as JSON, where there are several (`sequence.per`).
    pub per: Option<String>,
    /// Some of them may have come to another machine, which kept them from clients as it should: how many are missing
    /// isn't known.
    pub is_unsure: bool,
}

impl Hole {
    /// The line that declares it.
    pub(super) fn line(&self, seq: u64, time_us: u64) -> Vec<u8> {
        let Hole { from, to, per, is_unsure } = self;
        let per = per.as_ref().and_then(|per| {
            // a line break in JSON can only stand between tokens; what is none is told as a text
            let line = per.replace(['\n', '\r'], " ");
            RawValue::from_string(line).or_else(|_| to_raw_value(per)).ok()
        });
        Line::UpstreamGap(UpstreamGap {
            seq,
            time_us,
            why: Why::Upstream.into(),
            from: *from,
            to: *to,
            count: (!is_unsure).then(|| to - from + 1),
            per: per.map(Cow::Owned),
        })
        .write()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_becomes_a_line() {
        for (per, shown) in
            [(None, ""), (Some("{\"a\":\n1.0}"), ",\"per\":{\"a\": 1.0}"), (Some("x"), ",\"per\":\"x\"")]
        {
            let hole = Hole { from: 8, to: 9, per: per.map(str::to_owned), is_unsure: false };
            let line = format!(
                "{{\"type\":\"gap\",\"seq\":4,\"time_us\":5,\"why\":\"upstream\",\"from\":8,\"to\":9,\"count\":2{shown}}}\n"
            );
            assert_eq!(String::from_utf8(hole.line(4, 5)).unwrap(), line);
            let unsure = Hole { is_unsure: true, ..hole };
            let line = line.replace("\"count\":2", "\"count\":null");
            assert_eq!(String::from_utf8(unsure.line(4, 5)).unwrap(), line);
        }
    }
}
