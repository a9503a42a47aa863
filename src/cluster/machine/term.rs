//! The entries that begin a term.

use serde_json::Value;

/// What the first entries of a term say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opening<'a> {
    /// The `seq` of the first of them.
    pub(crate) first: u64,
    /// Now, by the wall clock, in microseconds since the Unix epoch.
    pub(crate) time_us: u64,
    /// The leader to be.
    pub(crate) node: &'a str,
    /// The term.
    pub(crate) term: u64,
    /// The number of the newest connection that came up in any term.
    pub(crate) conn: u64,
    /// The link was closed on request, by the log's last `link` entry, and stays so.
    pub(crate) closed: bool,
    /// The entry after whose `time_us` the server wasn't heard; none where there was no term before in this epoch.
    pub(crate) after_us: Option<u64>,
}

/// The lines: `link`, which names node and term, and the `gap` for what the server said meanwhile. It is none where
/// there was nothing to fail over from.
pub(crate) fn opening(opening: &Opening<'_>) -> Vec<u8> {
    let Opening { first, time_us, node, term, conn, closed, after_us } = opening;
    let state = if *closed { "closed" } else { "connecting" };
    let node = Value::from(*node);
    let mut lines = format!(
        "{{\"type\":\"link\",\"seq\":{first},\"time_us\":{time_us},\"state\":\"{state}\",\"conn\":{conn},\
         \"attempt\":0,\"node\":{node},\"term\":{term}}}\n"
    );
    if let Some(after_us) = after_us {
        lines += &format!(
            "{{\"type\":\"gap\",\"seq\":{},\"time_us\":{time_us},\"why\":\"failover\",\"after_us\":{after_us}}}\n",
            first + 1
        );
    }
    lines.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_begins_with_its_link_and_with_a_gap_where_there_was_one_before() {
        let first = Opening {
            first: 9,
            time_us: 70,
            node: "host-a",
            term: 3,
            conn: 12,
            closed: false,
            after_us: Some(60),
        };
        assert_eq!(
            String::from_utf8(opening(&first)).unwrap(),
            "{\"type\":\"link\",\"seq\":9,\"time_us\":70,\"state\":\"connecting\",\"conn\":12,\"attempt\":0,\"node\":\"host-a\",\"term\":3}\n\
             {\"type\":\"gap\",\"seq\":10,\"time_us\":70,\"why\":\"failover\",\"after_us\":60}\n"
        );
        let lines = opening(&Opening { node: "\"", closed: true, after_us: None, ..first });
        let line: Value = serde_json::from_slice(&lines).unwrap();
        assert_eq!((&line["state"], &line["node"]), (&"closed".into(), &"\"".into()));
    }

    #[test]
    fn its_lines_are_as_the_protocol_writes_them() {
        use crate::protocol::{FailoverGap, Line, Link, LinkFields, LinkState, Why};
        for (closed, node) in [(false, "host-a"), (true, "\"\u{1}\u{e9}")] {
            let lines = opening(&Opening {
                first: 9,
                time_us: 70,
                node,
                term: 3,
                conn: 12,
                closed,
                after_us: Some(60),
            });
            let fields = LinkFields {
                state: if closed { LinkState::Closed } else { LinkState::Connecting }.into(),
                conn: 12,
                node: Some(node.into()),
                term: Some(3),
                ..LinkFields::default()
            };
            let link = Line::Link(Link { seq: Some(9), time_us: 70, fields }).write();
            let why = Why::Failover.into();
            let gap = Line::FailoverGap(FailoverGap { seq: 10, time_us: 70, why, after_us: 60 }).write();
            assert_eq!(String::from_utf8(lines).unwrap(), String::from_utf8([link, gap].concat()).unwrap());
        }
    }

    #[test]
    fn its_lines_are_entries() {
        let lines = opening(&Opening {
            first: 9,
            time_us: 70,
            node: "a",
            term: 1,
            conn: 0,
            closed: false,
            after_us: Some(1),
        });
        assert!(super::super::body::is_whole(9, 2, &lines));
    }
}
