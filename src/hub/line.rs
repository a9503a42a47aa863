//! The lines of the hub's own entries. Pure.

use super::{Hole, LinkStatus};

/// Writes the line of the link's status; without `seq` it is a restatement.
pub(super) fn link(seq: Option<u64>, status: &LinkStatus, line: &mut Vec<u8>) {
    head("link", seq, status.since_us, line);
    let fields = line.len();
    serde_json::to_writer(&mut *line, status).expect("a status is plain data");
    line[fields] = b','; // instead of its opening brace: the fields belong to this object
    line.push(b'\n');
}

/// Writes the line that declares a hole in the server's messages.
pub(super) fn hole(seq: u64, time_us: u64, hole: &Hole, line: &mut Vec<u8>) {
    head("gap", Some(seq), time_us, line);
    let mut number = itoa::Buffer::new();
    line.extend_from_slice(b",\"why\":\"upstream\"");
    for (key, value) in [("from", hole.from), ("to", hole.to), ("count", hole.to - hole.from + 1)] {
        line.extend_from_slice(b",\"");
        line.extend_from_slice(key.as_bytes());
        line.extend_from_slice(b"\":");
        line.extend_from_slice(number.format(value).as_bytes());
    }
    if let Some(per) = &hole.per {
        line.extend_from_slice(b",\"per\":");
        line.extend(per.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
    }
    line.extend_from_slice(b"}\n");
}

fn head(kind: &str, seq: Option<u64>, time_us: u64, line: &mut Vec<u8>) {
    let mut number = itoa::Buffer::new();
    line.extend_from_slice(b"{\"type\":\"");
    line.extend_from_slice(kind.as_bytes());
    line.extend_from_slice(b"\"");
    if let Some(seq) = seq {
        line.extend_from_slice(b",\"seq\":");
        line.extend_from_slice(number.format(seq).as_bytes());
    }
    line.extend_from_slice(b",\"time_us\":");
    line.extend_from_slice(number.format(time_us).as_bytes());
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::hub::LinkState;

    #[test]
    fn a_status_becomes_a_line_with_what_is_known() {
        let status = LinkStatus {
            state: LinkState::Waiting,
            since_us: 9,
            conn: 12,
            url: "wss://host/path".into(),
            code: Some(1006),
            attempt: 3,
            retry_in: Some(Duration::from_millis(3200)),
            ..LinkStatus::default()
        };
        let mut line = Vec::new();
        link(Some(8), &status, &mut line);
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "{\"type\":\"link\",\"seq\":8,\"time_us\":9,\"state\":\"waiting\",\"conn\":12,\
             \"url\":\"wss://host/path\",\"code\":1006,\"attempt\":3,\"retry_in_ms\":3200}\n"
        );
    }
}
