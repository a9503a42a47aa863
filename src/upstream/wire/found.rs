//! What is found on the way to a server. Data alone; nothing in it is secret once it was told.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, SystemTime},
};

/// What a stage of the way has found.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// What the configuration names has a value, and each file could be read.
    Prepared {
        /// Host and port that the URL names.
        address: String,
        /// The names of the headers that go with the request.
        headers: Vec<String>,
    },
    /// The name has addresses: those of the proxy, where there is one.
    Resolved {
        /// The name, or an address that is its own.
        host: String,
        /// In the order in which they are tried. Never empty.
        addresses: Vec<IpAddr>,
    },
    /// A TCP connection is there.
    Connected {
        /// Which address answered.
        address: SocketAddr,
        /// Those that failed before it did, and why.
        failed: Vec<(IpAddr, String)>,
    },
    /// The proxy has opened a tunnel.
    Tunnel {
        /// What the proxy is called in a sentence, without its login.
        proxy: String,
    },
    /// The TLS handshake is done, and the certificate is trusted.
    Tls {
        /// `TLS 1.3`.
        version: String,
        /// The cipher suite, as the IANA names it.
        cipher: String,
        /// The protocol that was agreed on by ALPN; mostly none.
        alpn: Option<String>,
        /// What the server's certificate says, if it could be read.
        certificate: Option<Certificate>,
    },
    /// The server speaks WebSocket.
    Upgraded {
        /// The HTTP status: 101.
        status: u16,
        /// The subprotocol that it chose.
        subprotocol: Option<String>,
        /// The extensions that it chose, as it says them.
        extensions: Option<String>,
    },
    /// A step of the script.
    Step(StepReport),
    /// One beat of the heartbeat.
    Beat {
        /// The message that was sent, with its placeholders as configured; none for a ping.
        message: Option<String>,
        /// The answer's time, or that of the first sign of life where no answer can be told.
        round_trip: Option<Duration>,
        /// Whether the answer itself came: a pong, or what `heartbeat.expect` says. None where none was awaited.
        answered: Option<bool>,
    },
    /// It isn't tried, since it can't be without running a command.
    Untried {
        /// Why not: a sentence without its capital.
        why: String,
    },
    /// The closing handshake.
    Closed {
        /// The server's close code; none if it didn't answer in time.
        code: Option<u16>,
    },
}

/// What a step of the script came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepReport {
    /// What was sent, with its placeholders as configured.
    pub sent: Option<String>,
    /// What was heard: the expected message, or the last one if that never came. On one line, marked where
    /// it is cut, without the secrets and the captured texts in it.
    pub heard: Option<String>,
    /// Why it was left out, if it was.
    pub skipped: Option<String>,
}

/// What a server's certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The names and addresses that it is for.
    pub names: Vec<String>,
    /// Who signed it.
    pub issuer: String,
    /// When it ends.
    pub not_after: SystemTime,
}

impl Found {
    /// The same, with what the server says of itself as `shown` shows it: it may repeat what it was told.
    pub(in crate::upstream) fn redacted(self, shown: impl Fn(&str) -> String) -> Found {
        match self {
            Found::Tls { version, cipher, alpn, certificate } => {
                let certificate = certificate.map(|certificate| Certificate {
                    names: certificate.names.iter().map(|name| shown(name)).collect(),
                    issuer: shown(&certificate.issuer),
                    ..certificate
                });
                Found::Tls { version, cipher, alpn: alpn.map(|name| shown(&name)), certificate }
            }
            Found::Upgraded { status, subprotocol, extensions } => Found::Upgraded {
                status,
                subprotocol: subprotocol.map(|name| shown(&name)),
                extensions: extensions.map(|text| shown(&text)),
            },
            // what is this side's own, or was redacted where it was heard
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_says_of_itself_is_redacted() {
        let found = |secret: &str| {
            let some = || Some(format!("a {secret}"));
            let certificate = Certificate {
                names: vec![format!("{secret}.example"), "other.example".to_owned()],
                issuer: format!("by {secret}"),
                not_after: SystemTime::UNIX_EPOCH,
            };
            [
                Found::Tls {
                    version: "TLS 1.3".to_owned(),
                    cipher: "TLS_AES_128_GCM_SHA256".to_owned(),
                    alpn: some(),
                    certificate: Some(certificate),
                },
                Found::Upgraded { status: 101, subprotocol: some(), extensions: some() },
            ]
        };
        let shown = found("hunter2").map(|found| found.redacted(|text| text.replace("hunter2", "…")));
        assert_eq!(shown, found("…"));
    }
}
