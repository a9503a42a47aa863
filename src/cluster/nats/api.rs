//! JetStream's requests and answers, as far as they are needed: JSON over NATS.
//!
//! <https://docs.nats.io/reference/reference-protocols/nats_api_reference>

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;

use crate::cluster::machine::{Header, Stored};

/// The stream's last sequence is another one than was expected.
const WRONG_LAST_SEQUENCE: u32 = 10_071;
/// There is no such stream.
pub(super) const STREAM_NOT_FOUND: u32 = 10_059;
/// There is a stream of this name, and it is another one.
pub(super) const STREAM_NAME_IN_USE: u32 = 10_058;
/// The message isn't there (any more).
pub(super) const NO_MESSAGE: u32 = 10_037;
/// JetStream is off, for this account or altogether.
pub(super) const NOT_ENABLED: [u32; 2] = [10_039, 10_076];

/// Why JetStream did not.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct ApiError {
    /// As HTTP has them.
    #[serde(default)]
    pub(super) code: u16,
    /// Which error it is.
    #[serde(default)]
    pub(super) err_code: u32,
    /// In words.
    #[serde(default)]
    pub(super) description: String,
}

/// What became of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ack {
    /// It is stored at this place.
    Stored(u64),
    /// It isn't: the stream's last sequence is another one.
    Refused,
    /// Who knows.
    Unclear(Option<ApiError>),
}

/// A stream's configuration: what is said when it is made, and what is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StreamConfig {
    pub(super) name: String,
    #[serde(default)]
    pub(super) subjects: Vec<String>,
    pub(super) retention: String,
    pub(super) discard: String,
    pub(super) storage: String,
    pub(super) num_replicas: usize,
    pub(super) max_bytes: i64,
    /// Nanoseconds; 0 for ever.
    pub(super) max_age: i64,
    pub(super) max_msgs: i64,
    #[serde(default)]
    pub(super) max_msg_size: i64,
    #[serde(default)]
    pub(super) max_msgs_per_subject: i64,
    #[serde(default)]
    pub(super) max_consumers: i64,
    /// Nanoseconds.
    #[serde(default)]
    pub(super) duplicate_window: i64,
    #[serde(default)]
    pub(super) no_ack: bool,
    #[serde(default)]
    pub(super) sealed: bool,
    #[serde(default)]
    pub(super) allow_rollup_hdrs: bool,
    #[serde(default, skip_serializing)]
    pub(super) mirror: Option<serde_json::Value>,
    #[serde(default, skip_serializing)]
    pub(super) sources: Option<serde_json::Value>,
}

/// What a stream is, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct StreamInfo {
    pub(super) config: StreamConfig,
    pub(super) state: StreamState,
}

/// What a stream holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) struct StreamState {
    #[serde(default)]
    pub(super) messages: u64,
    #[serde(default)]
    pub(super) bytes: u64,
    #[serde(default)]
    pub(super) first_seq: u64,
    #[serde(default)]
    pub(super) last_seq: u64,
    /// So many were taken out between the first and the last.
    #[serde(default)]
    pub(super) num_deleted: u64,
}

#[derive(Deserialize)]
struct Failed {
    error: Option<ApiError>,
}

#[derive(Deserialize)]
struct PubAck {
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    duplicate: bool,
    error: Option<ApiError>,
}

#[derive(Deserialize)]
struct Got {
    message: RawMessage,
}

#[derive(Deserialize)]
struct RawMessage {
    seq: u64,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
}

/// Reads the answer to an append.
pub(super) fn ack(payload: &[u8]) -> Ack {
    match serde_json::from_slice::<PubAck>(payload) {
        Ok(PubAck { error: None, seq, duplicate: false }) if seq > 0 => Ack::Stored(seq),
        Ok(PubAck { error: Some(error), .. }) if error.err_code == WRONG_LAST_SEQUENCE => Ack::Refused,
        Ok(PubAck { error, .. }) => Ack::Unclear(error),
        Err(_) => Ack::Unclear(None),
    }
}

/// Reads any other answer.
///
/// # Errors
/// JetStream's own, or what it comes to that the answer can't be read.
pub(super) fn answer<T: DeserializeOwned>(payload: &[u8]) -> Result<T, ApiError> {
    let unreadable = |error: serde_json::Error| ApiError {
        code: 0,
        err_code: 0,
        description: format!("the answer can't be read: {error}"),
    };
    match serde_json::from_slice::<Failed>(payload) {
        Ok(Failed { error: Some(error) }) => Err(error),
        Ok(Failed { error: None }) => serde_json::from_slice(payload).map_err(unreadable),
        Err(error) => Err(unreadable(error)),
    }
}

/// Reads a message that was asked for by its place.
pub(super) fn got(payload: &[u8]) -> Result<Stored, ApiError> {
    let Got { message } = answer(payload)?;
    let bytes = |text: &str| STANDARD.decode(text).unwrap_or_default();
    let headers = bytes(&message.hdrs);
    let headers = String::from_utf8_lossy(&headers);
    let header = Header::read(|name| value_of(&headers, name));
    Ok(Stored { place: message.seq, header, body: bytes(&message.data) })
}

/// A header's value in a block of them, as they stand in the stream.
fn value_of<'h>(headers: &'h str, name: &str) -> Option<&'h str> {
    let mut lines = headers.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim())
}

/// The request for the message at this place.
pub(super) fn get(place: u64) -> Vec<u8> {
    json!({ "seq": place }).to_string().into_bytes()
}

/// The request for a consumer that gives what lies past `after` to `deliver`, in order and for one reader.
pub(super) fn create_consumer(
    stream: &str,
    consumer: &str,
    deliver: &str,
    after: u64,
    heartbeat: Duration,
) -> Vec<u8> {
    let request = json!({
        "stream_name": stream,
        "config": {
            "name": consumer,
            "deliver_subject": deliver,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": after.saturating_add(1),
            "ack_policy": "none",
            "replay_policy": "instant",
            "max_deliver": 1,
            "flow_control": true,
            "idle_heartbeat": nanos(heartbeat),
            "inactive_threshold": nanos(Duration::from_secs(10)),
            "num_replicas": 1,
            "mem_storage": true,
        },
    });
    request.to_string().into_bytes()
}

/// As JetStream has times.
pub(super) fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_answers_to_an_append_one_is_a_no_and_one_a_yes() {
        let error = |code, err_code, description: &str| {
            Ack::Unclear(Some(ApiError { code, err_code, description: description.into() }))
        };
        for (answer, expected) in [
            (r#"{"stream":"WSFAN_x","seq":7}"#, Ack::Stored(7)),
            (r#"{"stream":"WSFAN_x","domain":"d","seq":18446744073709551615}"#, Ack::Stored(u64::MAX)),
            (
                r#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 9"},"stream":"WSFAN_x","seq":0}"#,
                Ack::Refused,
            ),
            (
                r#"{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"},"stream":"WSFAN_x","seq":0}"#,
                error(503, 10_077, "maximum bytes exceeded"),
            ),
            (r#"{"error":{},"seq":4}"#, error(0, 0, "")),
            // of a publication that the stream takes for one it has
            (r#"{"stream":"WSFAN_x","seq":7,"duplicate":true}"#, Ack::Unclear(None)),
            (r#"{"stream":"WSFAN_x","seq":0}"#, Ack::Unclear(None)),
            (r#"{"stream":"WSFAN_x"}"#, Ack::Unclear(None)),
            ("+OK", Ack::Unclear(None)),
            ("", Ack::Unclear(None)),
        ] {
            assert_eq!(ack(answer.as_bytes()), expected, "{answer}");
        }
    }

    #[test]
    fn an_answer_is_what_was_asked_for_or_says_why_not() {
        let info = br#"{"type":"io.nats.jetstream.api.v1.stream_info_response","config":{"name":"WSFAN_x",
            "subjects":["wsfan.x.log"],"retention":"limits","max_consumers":-1,"max_msgs":-1,"max_bytes":1024,"max_age":0,
            "max_msgs_per_subject":-1,"max_msg_size":-1,"discard":"old","storage":"file","num_replicas":1,
            "duplicate_window":100000000,"sealed":false,"deny_delete":false,"deny_purge":false,"allow_rollup_hdrs":false,
            "allow_direct":false,"mirror_direct":false},"created":"2026-11-27T16:00:00Z","state":{"messages":3,"bytes":9,
            "first_seq":5,"first_ts":"2026-11-27T16:00:00Z","last_seq":8,"last_ts":"2026-11-27T16:00:00Z",
            "num_subjects":1,"num_deleted":1,"consumer_count":0}}"#;
        let info: StreamInfo = answer(info).unwrap();
        assert_eq!((info.state.first_seq, info.state.last_seq, info.state.num_deleted), (5, 8, 1));
        assert_eq!(info.config.subjects, ["wsfan.x.log"]);

        let none = br#"{"type":"x","error":{"code":404,"err_code":10059,"description":"stream not found"}}"#;
        assert_eq!(answer::<StreamInfo>(none).unwrap_err().err_code, STREAM_NOT_FOUND);
        assert!(
            answer::<StreamInfo>(b"{}").unwrap_err().description.starts_with("the answer can't be read: ")
        );
    }

    #[test]
    fn a_message_that_was_asked_for_is_the_one_that_was_appended() {
        let headers = "NATS/1.0\r\nNats-Expected-Last-Sequence: 4\r\nWsfan-Epoch: e\r\nWsfan-Term: 2\r\n\
            Wsfan-Node: a\r\nWsfan-First: 3\r\nWsfan-Count: 1\r\nWsfan-Nonce: 00000000000000ff\r\n\r\n";
        let answer = json!({ "message": {
            "subject": "wsfan.x.log", "seq": 5, "hdrs": STANDARD.encode(headers), "data": STANDARD.encode("{}\n"),
        } });
        let stored = got(answer.to_string().as_bytes()).unwrap();
        assert_eq!((stored.place, stored.body.as_slice()), (5, &b"{}\n"[..]));
        let header = stored.header.unwrap();
        assert_eq!((&*header.epoch, header.term, &*header.node, header.first), ("e", 2, "a", 3));

        let bare = got(br#"{"message":{"subject":"wsfan.x.log","seq":6,"time":"2026-11-27T16:00:00Z"}}"#);
        assert_eq!(bare, Ok(Stored { place: 6, header: None, body: Vec::new() }));
        let none = br#"{"error":{"code":404,"err_code":10037,"description":"no message found"}}"#;
        assert_eq!(got(none).unwrap_err().err_code, NO_MESSAGE);
    }
}
