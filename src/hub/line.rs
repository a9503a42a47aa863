//! The lines of log entries: a message or a change of the link becomes bytes, once. Pure.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::value::RawValue;

use super::{Data, LinkStatus};

/// Writes the line of a message, and its raw form.
///
/// Text that is JSON (RFC 8259, as serde_json reads it) stands in the line byte for byte: it is
/// checked, never parsed and printed again. A line break in valid JSON can only stand between
/// tokens, so it becomes a space. Lone surrogate escapes (`\ud800`) pass, as the grammar allows.
pub(super) fn message(seq: u64, time_us: u64, data: Data<'_>, envelope: &mut Vec<u8>, raw: Option<&mut Vec<u8>>) {
    head("message", Some(seq), time_us, envelope);
    match data {
        Data::Text(text) => match serde_json::from_str::<&RawValue>(text) {
            Ok(json) => {
                envelope.extend_from_slice(b",\"json\":");
                one_line(json.get(), envelope);
            }
            Err(_) => {
                envelope.extend_from_slice(b",\"text\":");
                string(text, envelope);
            }
        },
        Data::Binary(bytes) => {
            envelope.extend_from_slice(b",\"binary\":\"");
            base64(bytes, envelope);
            envelope.push(b'"');
        }
    }
    envelope.extend_from_slice(b"}\n");
    if let Some(raw) = raw {
        match data {
            Data::Text(text) => one_line(text, raw),
            Data::Binary(bytes) => base64(bytes, raw),
        }
        raw.push(b'\n');
    }
}

/// Writes the line of the link's status; without `seq` it is a restatement.
pub(super) fn link(seq: Option<u64>, status: &LinkStatus, line: &mut Vec<u8>) {
    head("link", seq, status.since_us, line);
    line.push(b',');
    let fields = line.len();
    serde_json::to_writer(&mut *line, status).expect("a status is plain data");
    line.remove(fields); // its opening brace: the fields belong to this object
    line.push(b'\n');
}

fn head(kind: &str, seq: Option<u64>, time_us: u64, line: &mut Vec<u8>) {
    let mut number = itoa::Buffer::new();
    line.extend_from_slice(b"{\"type\":\"");
    line.extend_from_slice(kind.as_bytes());
    line.push(b'"');
    if let Some(seq) = seq {
        line.extend_from_slice(b",\"seq\":");
        line.extend_from_slice(number.format(seq).as_bytes());
    }
    line.extend_from_slice(b",\"time_us\":");
    line.extend_from_slice(number.format(time_us).as_bytes());
}

/// Appends `text` with each line break as a space.
fn one_line(text: &str, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(text.as_bytes());
    let mut from = start;
    while let Some(at) = memchr::memchr2(b'\n', b'\r', &out[from..]) {
        out[from + at] = b' ';
        from += at + 1;
    }
}

fn string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a string is plain data");
}

fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let length = base64::encoded_len(bytes.len(), true).expect("a message is far smaller than the address space");
    out.resize(start + length, 0);
    BASE64.encode_slice(bytes, &mut out[start..]).expect("the slice has the encoded length");
}
