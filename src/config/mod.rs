//! The configuration: one TOML file, parsed once into types that can't be wrong.
//!
//! Each room takes its own part of [`Config`], never the whole. What a key means, its unit, bounds
//! and default stand beside its field here and, for the user, in `config/wsfan.toml`; a test keeps
//! the two equal.

use std::{path::PathBuf, time::Duration};

mod template;
pub use template::{Secret, Template, TemplateError};

/// A whole, valid configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[upstream]`: where the link goes.
    pub upstream: Upstream,
    /// `[heartbeat]`: how the link proves that it lives.
    pub heartbeat: Heartbeat,
    /// `[reconnect]`: what happens after a failure.
    pub reconnect: Reconnect,
    /// `[[listener]]`: the local sockets, at least one.
    pub listeners: Vec<Listener>,
    /// `[history]`: the log's bounds and what happens to a client that falls out of it.
    pub history: History,
    /// `[outbox]`: sends that wait for the link.
    pub outbox: Outbox,
    /// `[shutdown]`: how long a stop may take.
    pub shutdown: Shutdown,
    /// `[log]`: what the daemon says on stderr.
    pub log: Log,
}

/// `[upstream]`: the WebSocket server and how to reach it.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// `url`: one or more `ws://` or `wss://` URLs, tried in turn. Never empty.
    pub urls: Vec<Template>,
    /// `subprotocols`: offered in `Sec-WebSocket-Protocol`, in order of preference.
    pub subprotocols: Vec<String>,
    /// `connect_timeout`: DNS, TCP, TLS and upgrade together. Default 10 s.
    pub connect_timeout: Duration,
    /// `max_message`: the largest inbound message in bytes; a larger one closes the connection with
    /// 1009. Default 16 MiB.
    pub max_message: usize,
    /// `headers`: sent with the upgrade request, in the file's order.
    pub headers: Vec<(String, Template)>,
    /// `tls`: trust and client certificate for `wss://`.
    pub tls: Tls,
}

/// `upstream.tls`: files in PEM form, read afresh for each attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Roots to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The client certificate chain; goes with `key_file`.
    pub cert_file: Option<PathBuf>,
    /// The client certificate's private key.
    pub key_file: Option<PathBuf>,
}

/// `[heartbeat]`: what is sent to prove that the connection lives, and the deadlines for the proof.
#[derive(Debug, Clone, PartialEq)]
pub struct Heartbeat {
    /// `kind`, with what belongs to it.
    pub kind: HeartbeatKind,
    /// `interval`: from one beat to the next. Default 30 s.
    pub interval: Duration,
    /// `timeout`: no proof of life this long after a beat means that the connection is dead.
    /// Default: the interval, at most 10 s. Never longer than the interval.
    pub timeout: Duration,
    /// `idle_timeout`: no inbound frame at all for so long means dead. Off by default.
    pub idle_timeout: Option<Duration>,
}

/// `heartbeat.kind`.
#[derive(Debug, Clone, PartialEq)]
pub enum HeartbeatKind {
    /// Nothing is sent; `idle_timeout` still applies.
    Off,
    /// A ping frame (RFC 6455, 5.5.2).
    Ping,
    /// A text message.
    Message {
        /// The text, sent as it is.
        text: String,
        /// `expect`: the messages that prove life; without it any inbound frame does.
        expect: Option<Expect>,
    },
}

/// Which messages answer a heartbeat: JSON whose value at each pointer (RFC 6901) equals the given one.
#[derive(Debug, Clone, PartialEq)]
pub struct Expect(pub Vec<(String, serde_json::Value)>);

impl Expect {
    /// Whether `text` is JSON in which every pointer leads to its value.
    pub fn matches(&self, text: &str) -> bool {
        serde_json::from_str::<serde_json::Value>(text)
            .is_ok_and(|json| self.0.iter().all(|(pointer, value)| json.pointer(pointer) == Some(value)))
    }
}

/// `[reconnect]`: the delays between attempts, and when to give up.
#[derive(Debug, Clone, PartialEq)]
pub struct Reconnect {
    /// `initial_delay`: before the first new attempt. Default 500 ms.
    pub initial_delay: Duration,
    /// `max_delay`: no delay is longer. Default 30 s.
    pub max_delay: Duration,
    /// `multiplier`: how a delay grows with each failure in a row; 1 to 100. Default 2.
    pub multiplier: f64,
    /// `jitter`: which part of a delay is random; 0 to 1. Default 1 (full).
    pub jitter: f64,
    /// `max_attempts`: failures in a row before the link is given up; 0 means never. Default 0.
    pub max_attempts: u32,
    /// `stable_after`: a connection up for so long starts the count from 0. Default 10 s.
    pub stable_after: Duration,
    /// `on_exhausted`. Default [`OnExhausted::Wait`].
    pub on_exhausted: OnExhausted,
}

/// `reconnect.on_exhausted`: what to do when `max_attempts` are used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExhausted {
    /// Stay, with the link `failed`, until someone says `open` or `reconnect`.
    Wait,
    /// End the daemon with exit code 69.
    Exit,
}

/// One `[[listener]]`: a local socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// `path`: absolute, at most 107 bytes.
    pub path: PathBuf,
    /// `mode`: the socket's permission bits. Default `0660`.
    pub mode: u32,
    /// `owner`: the user who owns the socket; a name or a number. Default: who runs the daemon.
    pub owner: Option<String>,
    /// `group`: the group that owns the socket; a name or a number. Default: the daemon's own.
    pub group: Option<String>,
    /// `format`. Default [`Format::Envelope`].
    pub format: Format,
    /// `rights`: what its clients may do. Default receive and send.
    pub rights: Rights,
    /// `max_clients`: at once; 1 to 1,000,000. Default 1024.
    pub max_clients: usize,
    /// `max_line`: the longest line from a client, in bytes without its end. Default 1 MiB.
    pub max_line: usize,
}

/// `listener.format`: how a client of this socket sees messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON lines of the local protocol.
    Envelope,
    /// The payload alone, a line each.
    Raw,
}

/// `listener.rights`: what a client of a listener may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// See messages and the link's changes.
    pub receive: bool,
    /// Send upstream.
    pub send: bool,
    /// `reconnect`, `close` and `open` the link.
    pub control: bool,
}

/// `[history]`: the log's bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// `max_bytes`: of encoded lines held; at least 64 KiB. The newest entry is always held. Default 64 MiB.
    pub max_bytes: usize,
    /// `max_age`: older entries are dropped. Off by default.
    pub max_age: Option<Duration>,
    /// `slow_client`. Default [`SlowClient::Gap`].
    pub slow_client: SlowClient,
}

/// `history.slow_client`: what happens to a client whose next entry is no longer held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowClient {
    /// It is told of the gap and goes on after it.
    Gap,
    /// It is disconnected.
    Disconnect,
}

/// `[outbox]`: sends that wait while the link is not up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outbox {
    /// `max_messages`: 0 means that a send while the link is down is an error. Default 0.
    pub max_messages: usize,
    /// `max_bytes`: of payloads that wait. Default 1 MiB.
    pub max_bytes: usize,
    /// `ttl`: a send that waited longer has expired. Default 30 s.
    pub ttl: Duration,
}

/// `[shutdown]`: the stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shutdown {
    /// `timeout`: for the closing handshake and the clients' last lines together. Default 2 s.
    pub timeout: Duration,
}

/// `[log]`: the daemon's own words, on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// `level`: `error`, `warn`, `info`, `debug` or `trace`. Default `info`.
    pub level: tracing::Level,
    /// `format`. Default [`LogFormat::Auto`].
    pub format: LogFormat,
}

/// `log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text; without timestamps where the journal adds its own.
    Auto,
    /// Text with timestamps.
    Text,
    /// One JSON object a line.
    Json,
}
