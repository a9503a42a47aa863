//! The link's status: what `link` lines and `status` say of it.

use std::{
    borrow::Cow,
    rc::Rc,
    time::{Duration, Instant},
};

pub use crate::protocol::LinkState;
use crate::protocol::{Ended, Line, Link, LinkFields};

/// Everything there is to know of the link at one moment.
///
/// `code`, `reason`, `http_status` and `error` tell how the last connection or attempt ended. They
/// stay through `connecting` and are gone once the link is `up`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LinkStatus {
    /// The state.
    pub state: LinkState,
    /// When it began, in microseconds since the Unix epoch.
    pub since_us: u64,
    /// The number of the newest connection that came up; 0 before the first.
    pub conn: u64,
    /// The server of the present or next attempt, without query and credentials.
    pub url: String,
    /// The subprotocol that the server chose.
    pub subprotocol: Option<String>,
    /// The close code: the upstream's, or wsfan's own where wsfan closed; 1006 without a close
    /// frame, 1005 for one without a code (RFC 6455, 7.4.1).
    pub code: Option<u16>,
    /// The close frame's reason.
    pub reason: Option<String>,
    /// The status of an HTTP answer that refused the upgrade.
    pub http_status: Option<u16>,
    /// What went wrong, in a sentence.
    pub error: Option<String>,
    /// Failed attempts in a row; back to 0 after a stable time up.
    pub attempt: u32,
    /// From `since_us` to the next attempt, in `waiting`.
    pub retry_in: Option<Duration>,
    /// When the next attempt is, in `waiting`: what `retry_in` is made from when the line is.
    pub retry_at: Option<Instant>,
    /// Which machine of a cluster has the link.
    pub node: Option<Rc<str>>,
    /// In which term it has it.
    pub term: Option<u64>,
    /// The newest round trip of the heartbeat. Not in `link` lines: none was measured yet when
    /// a state begins.
    pub heartbeat_rtt: Option<Duration>,
}

/// How a connection or an attempt ended: what `status` shows of it also when the link is up again.
#[derive(Debug, Clone, PartialEq)]
pub struct Ending {
    /// When, in microseconds since the Unix epoch.
    pub time_us: u64,
    /// As in [`LinkStatus::code`].
    pub code: Option<u16>,
    /// As in [`LinkStatus::reason`].
    pub reason: Option<String>,
    /// As in [`LinkStatus::http_status`].
    pub http_status: Option<u16>,
    /// As in [`LinkStatus::error`].
    pub error: Option<String>,
    /// Whose it was, in a cluster.
    pub node: Option<Rc<str>>,
}

impl LinkStatus {
    /// The ending that this status tells of, if it is the first to do so.
    pub fn ending(&self) -> Option<Ending> {
        let ended = matches!(self.state, LinkState::Waiting | LinkState::Failed | LinkState::Closed);
        let told = self.code.is_some() || self.http_status.is_some() || self.error.is_some();
        (ended && told).then(|| Ending {
            time_us: self.since_us,
            code: self.code,
            reason: self.reason.clone(),
            http_status: self.http_status,
            error: self.error.clone(),
            node: self.node.clone(),
        })
    }

    /// What a `link` line says; none for any other line.
    pub fn of_line(line: &[u8]) -> Option<LinkStatus> {
        let line = line.strip_prefix(Link::BEGINNING).map(|_| line.trim_ascii_end())?;
        match Line::parse(line)? {
            Line::Link(link) => Some(LinkStatus::from(&link)),
            _ => None,
        }
    }

    /// What lines say of it.
    pub fn fields(&self) -> LinkFields<'_> {
        LinkFields {
            state: self.state.into(),
            conn: self.conn,
            url: self.url.as_str().into(),
            subprotocol: self.subprotocol.as_deref().map(Into::into),
            ended: ended(self.code, self.reason.as_deref(), self.http_status, self.error.as_deref()),
            attempt: self.attempt,
            retry_in_ms: self.retry_in.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
            node: self.node.as_deref().map(Into::into),
            term: self.term,
        }
    }

    /// Its line; without `seq` it is a restatement.
    pub fn line(&self, seq: Option<u64>) -> Vec<u8> {
        Line::Link(Link { seq, time_us: self.since_us, fields: self.fields() }).write()
    }
}

impl From<&Link<'_>> for LinkStatus {
    /// What a line says that another daemon has written.
    fn from(link: &Link<'_>) -> LinkStatus {
        let LinkFields { state, conn, url, subprotocol, ended, attempt, retry_in_ms, node, term } =
            &link.fields;
        let owned = |text: &Option<Cow<'_, str>>| text.as_deref().map(str::to_owned);
        LinkStatus {
            state: state.known().unwrap_or_default(),
            since_us: link.time_us,
            conn: *conn,
            url: url.to_string(),
            subprotocol: owned(subprotocol),
            code: ended.code,
            reason: owned(&ended.reason),
            http_status: ended.http_status,
            error: owned(&ended.error),
            attempt: *attempt,
            retry_in: retry_in_ms.map(Duration::from_millis),
            retry_at: None,
            node: node.as_deref().map(Into::into),
            term: *term,
            heartbeat_rtt: None,
        }
    }
}

impl Ending {
    /// What lines say of it.
    pub fn ended(&self) -> Ended<'_> {
        ended(self.code, self.reason.as_deref(), self.http_status, self.error.as_deref())
    }
}

fn ended<'a>(
    code: Option<u16>,
    reason: Option<&'a str>,
    http_status: Option<u16>,
    error: Option<&'a str>,
) -> Ended<'a> {
    Ended { code, reason: reason.map(Into::into), http_status, error: error.map(Into::into) }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(
            String::from_utf8(status.line(Some(8))).unwrap(),
            "{\"type\":\"link\",\"seq\":8,\"time_us\":9,\"state\":\"waiting\",\"conn\":12,\
             \"url\":\"wss://host/path\",\"code\":1006,\"attempt\":3,\"retry_in_ms\":3200}\n"
        );
    }

    #[test]
    fn a_line_becomes_the_status_that_it_tells_of() {
        let status = LinkStatus {
            state: LinkState::Waiting,
            since_us: 9,
            conn: 12,
            url: "wss://host/path".into(),
            subprotocol: Some("v2".into()),
            code: Some(1013),
            reason: Some("\"busy\"".into()),
            http_status: Some(503),
            error: Some("it is busy".into()),
            attempt: 3,
            retry_in: Some(Duration::from_millis(3200)),
            ..LinkStatus::default()
        };
        for seq in [None, Some(8)] {
            assert_eq!(LinkStatus::of_line(&status.line(seq)), Some(status.clone()));
        }
        for other in
            ["{\"type\":\"message\",\"seq\":1,\"time_us\":2,\"text\":\"link\"}\n", "", "{\"type\":\"link\"}"]
        {
            let read = LinkStatus::of_line(other.as_bytes());
            assert!(read.is_none_or(|read| read == LinkStatus::default()), "{other}");
        }
    }
}
