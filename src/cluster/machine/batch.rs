//! A message of the stream: its headers and its body.

use std::{ops::Range, rc::Rc, sync::Arc, time::Duration};

use super::counted::MAX_COUNTED;

/// The most bytes of lines that one message holds. (A server's `max_payload` is 1 MiB unless it says otherwise.)
pub(crate) const MAX_BATCH: usize = 256 << 10;

/// The longest name of an epoch or a node that is read, in bytes.
const MAX_NAME: usize = 256;

/// No log comes so far, and no term. What says it does would leave no room for what follows.
const MAX_NUMBER: u64 = 1 << 62;

const EPOCH: &str = "Wsfan-Epoch";
const TERM: &str = "Wsfan-Term";
const NODE: &str = "Wsfan-Node";
const FIRST: &str = "Wsfan-First";
const COUNT: &str = "Wsfan-Count";
const NONCE: &str = "Wsfan-Nonce";
const AFTER: &str = "Wsfan-After";
const PART: &str = "Wsfan-Part";
const STEP_DOWN: &str = "Wsfan-Step-Down";
const FINGERPRINT: &str = "Wsfan-Fingerprint";
const LEASE: &str = "Wsfan-Lease";
const COUNTED: &str = "Wsfan-Counted";

/// The longest lease that is believed.
const MAX_LEASE: Duration = Duration::from_secs(60);

/// A random number that names one message, on whatever place of the stream it comes to lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Nonce(pub(super) u64);

/// What the headers say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// The life of the log that the entries belong to.
    pub(crate) epoch: Rc<str>,
    /// The term of the leader that wrote it.
    pub(crate) term: u64,
    /// The leader.
    pub(crate) node: Rc<str>,
    /// The `seq` of the first entry in it; without one, of the next to come.
    pub(crate) first: u64,
    /// How many entries end in it.
    pub(crate) count: u64,
    /// Its own name.
    pub(super) nonce: Nonce,
    /// That of the message before. None begins a new epoch.
    pub(super) after: Option<Nonce>,
    /// It holds a part of one line only.
    pub(crate) part: Option<Part>,
    /// The leader has closed its link, and leads no more.
    pub(crate) step_down: bool,
    /// What the leader's settings come to, in the first message of a term.
    pub(crate) fingerprint: Option<Rc<str>>,
    /// The leader's lease, in whole milliseconds: nobody stands before so long a silence, however short its own is.
    pub(crate) lease: Option<Duration>,
    /// How far the server has counted in what is no entry, as of this message: a list in JSON of those counts that have
    /// moved since. None where whoever wrote it doesn't say.
    pub(crate) counted: Option<Rc<str>>,
}

/// Which part of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    /// From 1 on.
    pub(crate) number: u32,
    /// How many there are.
    pub(crate) of: u32,
}

/// A message to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// Its headers, beside the expected sequence.
    pub(crate) header: Header,
    /// Its lines.
    pub(crate) body: Body,
}

/// Bytes that are kept until they are surely stored, and that several messages may share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Body {
    bytes: Arc<Vec<u8>>,
    range: Range<usize>,
}

/// A message as the stream holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Its sequence in the stream.
    pub(crate) place: u64,
    /// What its headers say; none where they aren't a cluster's, or aren't whole.
    pub(crate) header: Option<Header>,
    /// Its body.
    pub(crate) body: Vec<u8>,
}

impl Header {
    /// The headers' names.
    pub(crate) const NAMES: [&'static str; 12] =
        [EPOCH, TERM, NODE, FIRST, COUNT, NONCE, AFTER, PART, STEP_DOWN, FINGERPRINT, LEASE, COUNTED];

    /// The `seq` of the entry that follows.
    pub(crate) fn end(&self) -> u64 {
        self.first.saturating_add(self.count)
    }

    /// As headers of a NATS message.
    pub(crate) fn write(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![
            (EPOCH, self.epoch.to_string()),
            (TERM, self.term.to_string()),
            (NODE, self.node.to_string()),
            (FIRST, self.first.to_string()),
            (COUNT, self.count.to_string()),
            (NONCE, format!("{:016x}", self.nonce.0)),
        ];
        all.extend(self.after.map(|nonce| (AFTER, format!("{:016x}", nonce.0))));
        all.extend(self.part.map(|part| (PART, format!("{}/{}", part.number, part.of))));
        all.extend(self.step_down.then(|| (STEP_DOWN, "1".to_owned())));
        all.extend(self.fingerprint.iter().map(|text| (FINGERPRINT, text.to_string())));
        all.extend(self.lease.map(|lease| (LEASE, lease.as_millis().to_string())));
        all.extend(self.counted.iter().map(|list| (COUNTED, list.to_string())));
        all
    }

    /// From the headers of a NATS message, each by its name. None where they aren't whole: anybody may have written it.
    pub(crate) fn read<'h>(value: impl Fn(&'static str) -> Option<&'h str>) -> Option<Header> {
        let name = |key| value(key).filter(|name| !name.is_empty() && name.len() <= MAX_NAME);
        let number = |key| value(key)?.parse::<u64>().ok();
        let nonce = |text| u64::from_str_radix(text, 16).ok().map(Nonce);
        // what is there must be right: it isn't taken for what is absent
        let after = match value(AFTER) {
            None => None,
            Some(text) => Some(nonce(text)?),
        };
        let part = match value(PART) {
            None => None,
            Some(text) => Some(Part::read(text)?),
        };
        let lease = match value(LEASE) {
            None => None,
            Some(text) => {
                Some(text.parse().ok().map(Duration::from_millis).filter(|lease| *lease <= MAX_LEASE)?)
            }
        };
        let header = Header {
            epoch: name(EPOCH)?.into(),
            term: number(TERM).filter(|term| *term < MAX_NUMBER)?,
            node: name(NODE)?.into(),
            first: number(FIRST).filter(|first| *first >= 1)?,
            count: number(COUNT)?,
            nonce: nonce(value(NONCE)?)?,
            after,
            part,
            step_down: value(STEP_DOWN).is_some(),
            fingerprint: name(FINGERPRINT).map(Into::into),
            lease,
            counted: value(COUNTED).filter(|list| list.len() <= MAX_COUNTED).map(Into::into),
        };
        let ends = |part: Part| u64::from(part.number == part.of) == header.count;
        let has_room = header.first.checked_add(header.count).is_some_and(|end| end < MAX_NUMBER);
        (header.part.is_none_or(ends) && has_room).then_some(header)
    }
}

impl Part {
    fn read(text: &str) -> Option<Part> {
        let (number, of) = text.split_once('/')?;
        let part = Part { number: number.parse().ok()?, of: of.parse().ok()? };
        (1..=part.of).contains(&part.number).then_some(part)
    }
}

impl Body {
    /// All of these bytes.
    pub(crate) fn new(bytes: Vec<u8>) -> Body {
        Body { range: 0..bytes.len(), bytes: Arc::new(bytes) }
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[self.range.clone()]
    }

    /// The same bytes as so many pieces, of this many bytes at most.
    pub(super) fn pieces(&self, size: usize) -> impl ExactSizeIterator<Item = Body> {
        let Body { bytes, range } = self.clone();
        let starts = range.clone().step_by(size.max(1));
        starts.map(move |start| Body {
            bytes: Arc::clone(&bytes),
            range: start..range.end.min(start.saturating_add(size)),
        })
    }
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            epoch: "9f2c51d0".into(),
            term: 7,
            node: "host-a".into(),
            first: 41_823,
            count: 64,
            nonce: Nonce(0xfedc_ba98_7654_3210),
            after: Some(Nonce(1)),
            part: None,
            step_down: false,
            fingerprint: None,
            lease: None,
            counted: None,
        }
    }

    fn read(headers: &[(&'static str, String)]) -> Option<Header> {
        Header::read(|key| headers.iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_str()))
    }

    #[test]
    fn headers_are_read_as_they_were_written() {
        let last = Part { number: 3, of: 3 };
        for header in [
            header(),
            Header { after: None, fingerprint: Some("5e".into()), ..header() },
            Header { lease: Some(Duration::from_millis(2_500)), ..header() },
            Header { counted: Some(r#"[[41823,{"per":"\"é\"","last":7}]]"#.into()), ..header() },
            Header { part: Some(last), count: 1, step_down: true, ..header() },
            Header { part: Some(Part { number: 2, of: 3 }), count: 0, ..header() },
        ] {
            let written = header.write();
            assert!(written.iter().all(|(name, _)| Header::NAMES.contains(name)));
            assert_eq!(read(&written), Some(header));
        }
        let text: Vec<_> =
            header().write().into_iter().map(|(key, value)| format!("{key}: {value}")).collect();
        assert_eq!(
            text,
            [
                "Wsfan-Epoch: 9f2c51d0",
                "Wsfan-Term: 7",
                "Wsfan-Node: host-a",
                "Wsfan-First: 41823",
                "Wsfan-Count: 64",
                "Wsfan-Nonce: fedcba9876543210",
                "Wsfan-After: 0000000000000001"
            ]
        );
    }

    #[test]
    fn headers_that_lack_something_or_make_no_sense_are_nobodys() {
        assert_eq!(read(&[]), None);
        for at in 0..6 {
            let mut headers = header().write();
            headers.remove(at);
            assert_eq!(read(&headers), None, "without {at}");
        }
        for (key, value) in [
            (EPOCH, ""),
            (TERM, "-1"),
            (FIRST, "0"),
            (FIRST, "18446744073709551615"),
            (FIRST, "18446744073709551000"),
            (TERM, "18446744073709551615"), // no term could follow it
            (COUNT, "many"),
            (NONCE, "xyz"),
            (AFTER, "no nonce"),
            (PART, "0/2"),
            (PART, "3/2"),
            (PART, "2"),
            (PART, "1/2"), // with a count
            (LEASE, "60001"),
            (LEASE, "2s"),
        ] {
            let mut headers = header().write();
            headers.retain(|(name, _)| *name != key);
            headers.push((key, value.to_owned()));
            assert_eq!(read(&headers), None, "{key}: {value}");
        }
    }

    #[test]
    fn a_body_is_cut_into_pieces_without_a_copy() {
        let body = Body::new(b"0123456789".to_vec());
        let pieces: Vec<Body> = body.pieces(4).collect();
        let text: Vec<&[u8]> = pieces.iter().map(Body::bytes).collect();
        assert_eq!(text, [&b"0123"[..], b"4567", b"89"]);
        assert!(pieces.iter().all(|piece| Arc::ptr_eq(&piece.bytes, &body.bytes)));
        assert_eq!(body.pieces(10).len(), 1);
    }
}
