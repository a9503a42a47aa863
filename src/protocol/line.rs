//! A line from the daemon, whatever it is.

use std::borrow::Cow;

use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::value::RawValue;

use super::{
    Answer, FailoverGap, Farewell, Gap, Hello, Link, Message, Public, Refusal, SnapshotEnd, Status, Success,
    UpstreamGap,
};

/// A line from the daemon.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Line<'a> {
    /// The first one.
    Hello(Hello<'a>),
    /// An entry: a message from the upstream.
    Message(Message<'a>),
    /// An entry: the link has a new state. Without a `seq`, the state is said again.
    Link(Link<'a>),
    /// Entries that this client will not get.
    Gap(Gap<'a>),
    /// An entry: messages that never came from the server.
    #[serde(rename = "gap")]
    UpstreamGap(UpstreamGap<'a>),
    /// An entry: what the server said while no machine of a cluster had the link.
    #[serde(rename = "gap")]
    FailoverGap(FailoverGap<'a>),
    /// An entry: public captures have other values. Without a `seq`, they are said again.
    Public(Public),
    /// All last values are said that an `attach` asked for.
    Snapshot(SnapshotEnd),
    /// A request is done.
    Ok(Success<'a>),
    /// An answer of the server's to a request.
    Answer(Answer<'a>),
    /// The answer to `status`.
    Status(Box<Status<'a>>),
    /// A request or a line failed.
    Error(Refusal<'a>),
    /// wsfan closes the connection.
    Bye(Farewell<'a>),
    /// Of a type that a newer version knows; its name.
    #[serde(skip)]
    Other(Cow<'a, str>),
}

impl<'a> Line<'a> {
    /// Reads a line, without its end. None when it isn't a JSON object of the protocol.
    ///
    /// The type is looked for first, since serde would parse and keep all fields of what it has to choose by a tag, and
    /// a payload must not be parsed and printed again.
    pub fn parse(line: &'a [u8]) -> Option<Line<'a>> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Tag<'a> {
            #[serde(rename = "type", borrow)]
            kind: Cow<'a, str>,
            seq: Option<IgnoredAny>,
            after_us: Option<IgnoredAny>,
        }
        if Message::is_one(line) {
            return read(line).map(Line::Message);
        }
        // serde would take an array for a struct too
        if !line.trim_ascii_start().starts_with(b"{") {
            return None;
        }
        let tag: Tag<'_> = read(line)?;
        match &*tag.kind {
            "hello" => read(line).map(Line::Hello),
            "message" => read(line).map(Line::Message),
            "link" => read(line).map(Line::Link),
            "gap" if tag.seq.is_none() => read(line).map(Line::Gap),
            "gap" if tag.after_us.is_some() => read(line).map(Line::FailoverGap),
            "gap" => read(line).map(Line::UpstreamGap),
            "public" => read(line).map(Line::Public),
            "snapshot" => read(line).map(Line::Snapshot),
            "ok" => read(line).map(Line::Ok),
            "answer" => read(line).map(Line::Answer),
            "status" => read(line).map(Line::Status),
            "error" => read(line).map(Line::Error),
            "bye" => read(line).map(Line::Bye),
            _ => Some(Line::Other(tag.kind)),
        }
    }

    /// The line, with its end.
    ///
    /// # Panics
    /// For [`Line::Other`], which is only read.
    pub fn write(&self) -> Vec<u8> {
        let mut line = Vec::with_capacity(128);
        serde_json::to_writer(&mut line, self).expect("a line is plain data");
        line.push(b'\n');
        line
    }

    /// Its place in the log, if it is an entry.
    pub fn seq(&self) -> Option<u64> {
        match self {
            Line::Message(message) => Some(message.seq),
            Line::Link(link) => link.seq,
            Line::UpstreamGap(gap) => Some(gap.seq),
            Line::FailoverGap(gap) => Some(gap.seq),
            Line::Public(public) => public.seq,
            _ => None,
        }
    }

    /// When it happened, in microseconds since the Unix epoch, if it says so.
    pub fn time_us(&self) -> Option<u64> {
        match self {
            Line::Message(message) => Some(message.time_us),
            Line::Link(link) => Some(link.time_us),
            Line::UpstreamGap(gap) => Some(gap.time_us),
            Line::FailoverGap(gap) => Some(gap.time_us),
            Line::Public(public) => Some(public.time_us),
            _ => None,
        }
    }

    /// The id of the request that it answers.
    pub fn id(&self) -> Option<&RawValue> {
        match self {
            Line::Ok(Success { id, .. }) | Line::Error(Refusal { id, .. }) => id.as_deref(),
            Line::Answer(answer) => answer.id.as_deref(),
            Line::Status(status) => status.id.as_deref(),
            _ => None,
        }
    }

    /// Whether it answers the request with this id.
    pub fn replies_to(&self, id: u64) -> bool {
        self.id().is_some_and(|mine| mine.get() == id.to_string())
    }
}

fn read<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Option<T> {
    serde_json::from_slice(line).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Code, Done, LinkState};

    #[test]
    fn ids_and_codes() {
        let line = Line::parse(br#"{"type":"error","id":7,"code":"link_down","message":"m"}"#).unwrap();
        assert!(line.replies_to(7) && !line.replies_to(8));
        assert!(matches!(line, Line::Error(refusal) if refusal.code == Code::LinkDown));
        let line = Line::parse(br#"{"type":"link","state":"waiting","code":1006,"new":{"x":[]}}"#).unwrap();
        assert!(!line.replies_to(7));
        assert!(matches!(line, Line::Link(link) if link.fields.ended.code == Some(1006)));
        // the same field means more in another line
        let line = Line::parse(br#"{"type":"status","id":7,"link":{"state":"up"},"log":{}}"#).unwrap();
        assert!(line.replies_to(7));
        assert!(matches!(line, Line::Status(status) if status.link.fields.state == LinkState::Up));
        let hello = Line::parse(br#"{"type":"hello","link":"up"}"#).unwrap();
        assert!(matches!(hello, Line::Hello(hello) if hello.link == LinkState::Up));
    }

    #[test]
    fn what_is_no_line_is_none() {
        for bad in ["", "x", "[]", "1", "{\"type\":1}", "{\"type\":\"link\""] {
            assert!(Line::parse(bad.as_bytes()).is_none(), "{bad}");
        }
        assert!(
            matches!(Line::parse(br#"{"type":"later","x":1}"#), Some(Line::Other(kind)) if kind == "later")
        );
    }

    #[test]
    fn what_was_written_is_read_and_written_the_same() {
        for line in [
            r#"{"type":"hello","protocol":1,"server":"wsfan/0.1.0","epoch":"9f2c51d0","seq":2,"oldest":1,"link":"up","client":1,"max_line":1048576,"max_entry":100663917}"#,
            r#"{"type":"message","seq":3,"time_us":1763847680120000,"json":{"price": 42.10, "id": 12345678901234567890123}}"#,
            r#"{"type":"message","seq":3,"time_us":1,"json":null}"#,
            r#"{"type":"message","seq":4,"time_us":2,"text":"not\nJSON"}"#,
            r#"{"type":"message","seq":5,"time_us":3,"binary":"AAEC"}"#,
            r#"{"type":"link","seq":3,"time_us":1,"state":"waiting","conn":1,"url":"ws://h/","subprotocol":"v2","code":1011,"reason":"restart","http_status":503,"error":"e","attempt":1,"retry_in_ms":20}"#,
            r#"{"type":"link","time_us":1,"state":"later","conn":1,"attempt":0}"#,
            r#"{"type":"gap","from":3,"to":41,"count":39,"why":"expired"}"#,
            r#"{"type":"gap","count":null,"why":"epoch"}"#,
            r#"{"type":"gap","seq":4,"time_us":1,"why":"upstream","from":8,"to":9,"count":2,"per":"btc"}"#,
            r#"{"type":"gap","seq":4,"time_us":9,"why":"failover","after_us":5}"#,
            r#"{"type":"link","seq":3,"time_us":1,"state":"connecting","conn":1,"attempt":0,"node":"host-a","term":3}"#,
            r#"{"type":"hello","protocol":1,"server":"wsfan/0.1.0","epoch":"","seq":0,"oldest":1,"link":"closed","client":1,"max_line":1,"max_entry":2,"node":"host-a","cluster":{"name":"c","state":"detached","why":"nats","error":"e","leader":"host-b","term":3}}"#,
            r#"{"type":"ok","id":{"a": 1.0},"result":"written"}"#,
            r#"{"type":"ok","id":1,"result":"attached","seq":2}"#,
            r#"{"type":"ok","id":1,"result":"attached","seq":2,"again_to":9}"#,
            r#"{"type":"ok","id":1,"result":"attached","seq":2,"new":true}"#,
            r#"{"type":"ok","id":5,"result":"partly","live":["a"],"reconnect":[],"restart":["b"],"error":"e"}"#,
            r#"{"type":"answer","id":6,"json":{"id": 1.0,"result":null},"more":true,"failed":true}"#,
            r#"{"type":"answer","json":null}"#,
            r#"{"type":"error","code":"line_too_long","message":"m"}"#,
            r#"{"type":"bye","why":"shutdown"}"#,
            r#"{"type":"status","id":1,"server":"wsfan/0.1.0","pid":4711,"uptime_s":86400,"config":{"file":"/f","upstream":"ws://h/","reload":{"time_us":1,"result":"refused","error":"e"},"restart":["k"]},"epoch":"9f","node":"a","cluster":{"name":"c","state":"leader","leader":"a","term":3,"lag":0,"lease_left_ms":900,"counters":{"stood":1,"elected":1,"fenced":{"lease":0,"superseded":0,"stream":0},"stepped_down":0,"settled":0,"strays":0,"breaches":0,"discarded":0,"forwarded":0}},"link":{"since_us":1,"state":"up","conn":1,"url":"ws://h/","attempt":0,"heartbeat_rtt_us":5,"last_end":{"time_us":1,"code":1006}},"traffic":{"received":0,"received_bytes":0,"last_received_us":4,"withheld":0,"sent":0,"sent_bytes":0},"outbox":{"waiting":0},"sends":{"dropped":0},"counters":{"link":{"attempts":1,"up":1,"refused":0,"failed":0,"closed":0,"lost":0,"failed_takeovers":0},"gaps":{"slow_client":0,"discarded":0,"expired":0,"epoch":0,"conflated":0,"entries":0},"cut_off":{"slow_client":0,"discarded":0,"bad_client":0,"reconfigured":0,"taken_over":0,"stalled":0},"refused_clients":0,"failed_sends":{"link_down":0,"expired":0,"outbox_full":0,"too_large":0,"rate_limited":0,"answered":0,"forbidden":0,"answerer_taken":0,"id_taken":0,"bad_request":0,"no_value":0,"unknown":0},"requests":{"answered":0,"timeout":0,"unknown":0,"link_down":0,"cancelled":0,"overrun":0,"late":0,"unanswered":0},"upstream_gaps":{"declared":0,"messages":0},"unfit_topics":0,"failed_programs":0},"log":{"seq":2,"oldest":1,"bytes":300,"max_bytes":67108864},"subscriptions":{"topics":1,"max":10000,"rows":[{"topic":"t","clients":1,"state":"subscribed"}]},"totals":{"clients":1,"ledger":{"entries":0,"delivered":0,"lost":0,"passed":0,"ahead":0},"unread_reply_bytes":0},"clients":[{"client":1,"listener":"/s","format":"envelope","pid":4712,"uid":1000,"you":true,"ledger":{"entries":0,"delivered":0,"lost":0,"passed":0,"ahead":0},"unread_reply_bytes":0}]}"#,
        ] {
            let read = Line::parse(line.as_bytes()).unwrap_or_else(|| panic!("{line}"));
            assert!(!matches!(read, Line::Other(_)), "{line}");
            assert_eq!(String::from_utf8(read.write()).unwrap(), format!("{line}\n"));
        }
        let done = Success { result: Done::Pong.into(), ..Success::default() };
        assert_eq!(Line::Ok(done).write(), b"{\"type\":\"ok\",\"result\":\"pong\"}\n");
    }
}
