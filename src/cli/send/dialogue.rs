//! One connection that only sends, and what becomes of a message on it.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    sync::mpsc,
    thread,
    time::Instant,
};

use super::Args;
use crate::{
    cli::{
        failure::{Failure, Outcome, reason, refusal, wrote},
        format::clean,
        payload::Payload,
    },
    client::{self, Client, Lines, Requests},
    protocol::{self, Code, Content, Done, Line, Op},
};

/// What is sent with one fate.
#[derive(Debug)]
pub(super) enum Message {
    One(Payload),
    Unit(Vec<Payload>),
}

/// What became of a message that didn't fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Written,
    Queued,
}

/// Why a message wasn't sent, or not surely.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Miss {
    /// It would be the same again.
    Never(Failure),
    /// It wasn't sent; it may be later.
    NotNow(Failure),
    /// It wasn't sent, and the daemon is gone, or its connection.
    Gone(Failure),
    /// It may have been sent, or may still be.
    Unknown(Failure),
}

/// A thread of its own reads what comes, since the daemon would take us for a stuck client while we wait for
/// stdin.
pub(super) struct Dialogue {
    path: PathBuf,
    requests: Requests,
    replies: mpsc::Receiver<Result<Vec<u8>, client::Error>>,
}

impl Dialogue {
    pub(super) fn new(client: Client) -> Outcome<Dialogue> {
        let Client { requests, lines, .. } = client;
        let path = lines.path().to_owned();
        let (sender, replies) = mpsc::channel();
        thread::Builder::new()
            .name("replies".to_owned())
            .spawn(move || forward(lines, &sender))
            .map_err(|error| Failure::failed(format!("no thread can be started: {}", reason(&error))))?;
        Ok(Dialogue { path, requests, replies })
    }

    /// Sends a message and waits, for as long as it may take, to hear what became of it.
    pub(super) fn send(&mut self, message: &Message, args: &Args) -> Result<Fate, Miss> {
        let op = match message {
            Message::One(payload) => Op::Send(content(payload)),
            Message::Unit(payloads) => Op::Unit { messages: payloads.iter().map(content).collect() },
        };
        let deadline = Instant::now() + args.timeout;
        let gone = |error: client::Error| Miss::Gone(error.into());
        let line = self.requests.line(op).map_err(|error| Miss::Never(error.into()))?;
        // what came while nothing was asked ends the connection, or is nobody's
        while let Ok(came) = self.replies.try_recv() {
            client::is_reply(&came.map_err(gone)?, 0, &self.path).map_err(gone)?;
        }
        // half a line is not carried out
        self.requests.write_line(&line, deadline).map_err(gone)?;
        let id = line.id;
        loop {
            let line = self.reply(id, deadline).map_err(Miss::Unknown)?;
            if args.json {
                let mut stdout = io::stdout().lock();
                wrote(stdout.write_all(&line).and_then(|()| stdout.write_all(b"\n")))
                    .map_err(Miss::Unknown)?;
            }
            match fate(&line)? {
                Fate::Queued if args.wait => {}
                fate => return Ok(fate),
            }
        }
    }

    fn reply(&self, id: u64, deadline: Instant) -> Outcome<Vec<u8>> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = match self.replies.recv_timeout(left) {
                Ok(Ok(line)) => line,
                Ok(Err(why)) => return Err(unsure(why)),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    return Err(Failure::failed(format!(
                        "the daemon at {} didn't say in time what became of the message: it may still be \
                         sent (raise --timeout to wait for longer)",
                        self.path.display()
                    )));
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(unsure(client::Error::Ended { path: self.path.clone() }));
                }
            };
            if client::is_reply(&line, id, &self.path).map_err(unsure)? {
                return Ok(line);
            }
        }
    }
}

fn content(payload: &Payload) -> Content<'_> {
    match payload {
        Payload::Json(json) => Content::Json(json),
        Payload::Text(text) => Content::Text(text.into()),
        Payload::Binary(bytes) => Content::Binary(bytes.into()),
    }
}

/// What an ending means for a message that had no answer yet.
fn unsure(error: client::Error) -> Failure {
    Failure::failed(format!("perhaps sent: {}", Failure::from(error)))
}

/// Hands on what isn't a message. There are no more such lines than requests, so nothing piles up.
fn forward(mut lines: Lines, to: &mpsc::Sender<Result<Vec<u8>, client::Error>>) {
    let mut line = Vec::new();
    loop {
        match lines.read(&mut line, None) {
            Ok(()) if protocol::Message::is_one(&line) => {}
            Ok(())
                if matches!(
                    Line::parse(&line),
                    None | Some(
                        Line::Message(_)
                            | Line::Link(_)
                            | Line::Gap(_)
                            | Line::UpstreamGap(_)
                            | Line::FailoverGap(_)
                    )
                ) => {}
            Ok(()) => {
                if to.send(Ok(std::mem::take(&mut line))).is_err() {
                    return;
                }
            }
            Err(why) => {
                let _ = to.send(Err(why));
                return;
            }
        }
    }
}

/// What a reply says became of the message.
fn fate(line: &[u8]) -> Result<Fate, Miss> {
    Err(match Line::parse(line) {
        Some(Line::Ok(done)) if done.result == Done::Written => return Ok(Fate::Written),
        Some(Line::Ok(done)) if done.result == Done::Queued => return Ok(Fate::Queued),
        Some(Line::Error(why)) => {
            let not_sent = Failure::failed(format!("not sent: {}", refusal(&why)));
            match why.code.known() {
                Some(Code::Unknown) => {
                    Miss::Unknown(Failure::failed(format!("perhaps sent: {}", refusal(&why))))
                }
                Some(Code::LinkDown | Code::Expired | Code::OutboxFull | Code::RateLimited) => {
                    Miss::NotNow(not_sent)
                }
                _ => Miss::Never(not_sent),
            }
        }
        _ => Miss::Unknown(Failure::failed(format!(
            "the daemon gave an answer that this command doesn't know: {}",
            clean(&String::from_utf8_lossy(line))
        ))),
    })
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fates() {
        let sentence = |line: &str| match fate(line.as_bytes()).unwrap_err() {
            Miss::Never(failure) | Miss::NotNow(failure) | Miss::Gone(failure) => failure.to_string(),
            Miss::Unknown(failure) => failure.to_string() + " (3)",
        };
        assert_eq!(fate(br#"{"type":"ok","id":1,"result":"written"}"#), Ok(Fate::Written));
        assert_eq!(fate(br#"{"type":"ok","id":1,"result":"queued"}"#), Ok(Fate::Queued));
        assert_eq!(
            sentence(r#"{"type":"error","id":1,"code":"link_down","message":"the link is waiting"}"#),
            "not sent: the link is waiting (link_down)"
        );
        assert!(
            sentence(r#"{"type":"error","id":1,"code":"unknown","message":"m"}"#).starts_with("perhaps sent")
        );
        let unknown = sentence(r#"{"type":"ok","result":"later"}"#);
        assert!(unknown.contains("doesn't know") && unknown.ends_with("(3)"), "{unknown}");
        let kind = |name: &str| fate(format!(r#"{{"type":"error","id":1,"code":"{name}"}}"#).as_bytes());
        for name in ["link_down", "expired", "outbox_full", "rate_limited"] {
            assert!(matches!(kind(name), Err(Miss::NotNow(_))), "{name}");
        }
        for name in ["too_large", "forbidden", "bad_request"] {
            assert!(matches!(kind(name), Err(Miss::Never(_))), "{name}");
        }
    }
}
