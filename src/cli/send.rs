//! `wsfan send`: send messages to the upstream and say what became of them.

use std::{
    io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _},
    path::PathBuf,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde_json::value::RawValue;

use super::{
    daemon::{DaemonArgs, Need},
    failure::{Failure, Outcome, UNSURE, note, reason, refusal, wrote},
    format::counted,
    reach::{Pause, Way},
};
use crate::{
    client::{self, Client, Lines, Requests},
    protocol::{Code, Content, Done, Line, Message, Op},
};

const EXAMPLES: &str = "\
Examples:
  wsfan send '{\"op\":\"subscribe\",\"topic\":\"btc\"}'
  echo hello | wsfan send --text
  wsfan send --binary < frame.bin
  producer | wsfan send --lines       a message for each line, as it comes
  wsfan send --lines --from-line 18 < orders.jsonl

With --lines, what ends it is told with the number of its line. A line that wasn't sent (exit code 1) can be \
begun with again, by --from-line; one that may have gone (3) is for you to judge. With --retry, a line that \
wasn't sent since the link is down, there is no room, or the daemon is away, is tried until it goes; one that \
may have gone is not sent again.

Exit codes: 0 written to the upstream; 1 not sent, with the cause; 3 it may have been sent, or may still be, as \
what is queued for when the link is back.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    daemon: DaemonArgs,
    /// What to send; `-` or nothing reads it from stdin
    #[arg(allow_hyphen_values = true)]
    payload: Option<String>,
    /// A text message as it is, whether it is JSON or not
    #[arg(long)]
    text: bool,
    /// A binary message of stdin's bytes, or the argument's
    #[arg(long, conflicts_with_all = ["text", "lines"])]
    binary: bool,
    /// Each line of stdin is a message; empty lines are skipped
    #[arg(long, conflicts_with = "payload")]
    lines: bool,
    /// Begin with this line of stdin, counted from 1
    #[arg(long, value_name = "N", requires = "lines", conflicts_with = "payload", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    from_line: u64,
    /// Wait where a message can't be sent now, and for a daemon that isn't there, and go on
    #[arg(long)]
    retry: bool,
    /// Wait for what becomes of a message that is queued
    #[arg(long)]
    wait: bool,
    /// How long each message may take
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = crate::config::parse_duration)]
    timeout: Duration,
    /// Print the daemon's replies as they are
    #[arg(long)]
    json: bool,
}

/// What is sent.
#[derive(Debug)]
enum Payload {
    /// JSON on one line, otherwise as it came.
    Json(Box<RawValue>),
    Text(String),
    Binary(Vec<u8>),
}

/// What became of a message that didn't fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Written,
    Queued,
}

/// Why a message wasn't sent, or not surely.
#[derive(Debug, PartialEq, Eq)]
enum Miss {
    /// It would be the same again.
    Never(Failure),
    /// It wasn't sent; it may be later.
    NotNow(Failure),
    /// It wasn't sent, and the daemon is gone, or its connection.
    Gone(Failure),
    /// It may have been sent, or may still be.
    Unknown(Failure),
}

pub(super) fn send(args: &Args) -> Outcome {
    // what to send is found out before the daemon is troubled
    let payload = if args.lines { None } else { Some(one(args)?) };
    let mut sending = Sending::new(args.daemon.way(Need::Send)?, args)?;
    match payload {
        Some(payload) => {
            match sending.send(&payload)? {
                Fate::Written => say(args, "written to the upstream"),
                // nobody stays to hear what becomes of it
                Fate::Queued => Err(Failure::with_code(
                    UNSURE,
                    "queued: the link is down, and the daemon sends it if it is up in time (--wait waits for that)",
                )),
            }
        }
        None => lines(args, &mut sending),
    }
}

/// The one message to send, from the argument or all of stdin.
fn one(args: &Args) -> Outcome<Payload> {
    let bytes = match args.payload.as_deref() {
        Some(payload) if payload != "-" => payload.as_bytes().to_owned(),
        given => {
            if given.is_none() && io::stdin().is_terminal() {
                return Err(Failure::usage(
                    "nothing to send: give the message as an argument, or on stdin (see `wsfan send --help`)",
                ));
            }
            let mut bytes = Vec::new();
            io::stdin().lock().read_to_end(&mut bytes).map_err(unreadable)?;
            if bytes.is_empty() {
                return Err(Failure::failed("stdin is empty: nothing was sent"));
            }
            if !args.binary {
                bytes.truncate(without_break(&bytes).len());
            }
            bytes
        }
    };
    match args.binary {
        true => Ok(Payload::Binary(bytes)),
        false => {
            text(bytes, args.text).map_err(|why| Failure::failed(format!("{why}: send it with --binary")))
        }
    }
}

fn lines(args: &Args, sending: &mut Sending) -> Outcome {
    let (mut written, mut queued, mut number) = (0, 0, 0_u64);
    let mut stdin = io::stdin().lock();
    let mut line = Vec::new();
    let so_far = |written, queued| match queued {
        0 => format!("{} written", counted(written, "message", "messages")),
        _ => format!("{} written, {queued} queued", counted(written, "message", "messages")),
    };
    loop {
        line.clear();
        if stdin.read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
            say(args, &so_far(written, queued))?;
            return if queued == 0 { Ok(()) } else { Err(Failure::silent(UNSURE)) };
        }
        number += 1;
        let bytes = without_break(&line);
        if number < args.from_line || bytes.is_empty() {
            continue;
        }
        let fate = text(bytes.to_owned(), args.text)
            .map_err(Failure::failed)
            .and_then(|payload| sending.send(&payload))
            .map_err(|failure| {
                let so_far = so_far(written, queued);
                let on = match failure.code() {
                    UNSURE => format!("see whether it came; `--from-line {}` goes on after it", number + 1),
                    _ => format!("`--from-line {number}` goes on there"),
                };
                Failure::with_code(
                    failure.code(),
                    format!("line {number}: {failure}; {so_far} before it; {on}"),
                )
            })?;
        match fate {
            Fate::Written => written += 1,
            Fate::Queued => queued += 1,
        }
    }
}

/// Says it on stdout, unless the replies stand there.
fn say(args: &Args, sentence: &str) -> Outcome {
    if args.json {
        return Ok(());
    }
    wrote(writeln!(io::stdout().lock(), "{sentence}")).map(drop)
}

fn unreadable(error: io::Error) -> Failure {
    Failure::failed(format!("stdin can't be read: {}", reason(&error)))
}

/// A line without the break at its end.
fn without_break(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// JSON if it is, else text.
fn text(bytes: Vec<u8>, force: bool) -> Result<Payload, String> {
    let text = String::from_utf8(bytes).map_err(|_| "the message isn't UTF-8 text".to_owned())?;
    if force {
        return Ok(Payload::Text(text));
    }
    match serde_json::from_str::<&RawValue>(&text) {
        // a line break in JSON can only stand between tokens
        Ok(json) => match RawValue::from_string(json.get().replace(['\n', '\r'], " ")) {
            Ok(json) => Ok(Payload::Json(json)),
            Err(error) => Err(format!("the message can't stand on one line ({error})")),
        },
        Err(error) => {
            if text.trim_start().starts_with(['{', '[']) {
                note(format!("sent as text, as it isn't JSON ({error}); --text says that this is meant"));
            }
            Ok(Payload::Text(text))
        }
    }
}

/// A connection that only sends, and is made anew where it may be.
struct Sending<'a> {
    args: &'a Args,
    way: Way,
    /// None after it has ended.
    line: Option<Dialogue>,
}

/// A thread of its own reads what comes, since the daemon would take us for a stuck client while we wait for
/// stdin.
struct Dialogue {
    path: PathBuf,
    requests: Requests,
    replies: mpsc::Receiver<Result<Vec<u8>, client::Error>>,
}

impl<'a> Sending<'a> {
    fn new(way: Way, args: &'a Args) -> Outcome<Sending<'a>> {
        let line = match way.connect().and_then(Dialogue::new) {
            Ok(dialogue) => Some(dialogue),
            Err(failure) if args.retry => {
                note(format!("{failure}; trying until it answers"));
                None
            }
            Err(failure) => return Err(failure),
        };
        Ok(Sending { args, way, line })
    }

    /// Sends a message; with `--retry` until it is sent, or may have been.
    fn send(&mut self, payload: &Payload) -> Outcome<Fate> {
        let (mut pause, mut told) = (Pause::default(), String::new());
        loop {
            let miss = match self.attempt(payload) {
                Ok(fate) => return Ok(fate),
                Err(miss) => miss,
            };
            let failure = match miss {
                Miss::NotNow(failure) if self.args.retry => failure,
                Miss::Gone(failure) if self.args.retry => {
                    self.line = None;
                    failure
                }
                Miss::Unknown(failure) => {
                    self.line = None; // its answer may still come
                    return Err(Failure::with_code(UNSURE, failure.to_string()));
                }
                Miss::Never(failure) | Miss::NotNow(failure) | Miss::Gone(failure) => return Err(failure),
            };
            let why = failure.to_string();
            if why != told {
                note(format!("{why}; trying until it goes"));
                told = why;
            }
            pause.take();
        }
    }

    fn attempt(&mut self, payload: &Payload) -> Result<Fate, Miss> {
        let connection = match &mut self.line {
            Some(connection) => connection,
            none => none.insert(self.way.connect().and_then(Dialogue::new).map_err(Miss::Gone)?),
        };
        connection.send(payload, self.args)
    }
}

impl Dialogue {
    fn new(client: Client) -> Outcome<Dialogue> {
        let Client { requests, lines, .. } = client;
        let path = lines.path().to_owned();
        let (sender, replies) = mpsc::channel();
        thread::Builder::new()
            .name("replies".to_owned())
            .spawn(move || forward(lines, &sender))
            .map_err(|error| Failure::failed(format!("no thread can be started: {}", reason(&error))))?;
        Ok(Dialogue { path, requests, replies })
    }

    fn send(&mut self, payload: &Payload, args: &Args) -> Result<Fate, Miss> {
        let content = match payload {
            Payload::Json(json) => Content::Json(json),
            Payload::Text(text) => Content::Text(text.into()),
            Payload::Binary(bytes) => Content::Binary(bytes.into()),
        };
        let deadline = Instant::now() + args.timeout;
        let gone = |error: client::Error| Miss::Gone(error.into());
        let line = self.requests.line(Op::Send(content)).map_err(|error| Miss::Never(error.into()))?;
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

/// What an ending means for a message that had no answer yet.
fn unsure(error: client::Error) -> Failure {
    Failure::failed(format!("perhaps sent: {}", Failure::from(error)))
}

/// Hands on what isn't a message. There are no more such lines than requests, so nothing piles up.
fn forward(mut lines: Lines, to: &mpsc::Sender<Result<Vec<u8>, client::Error>>) {
    let mut line = Vec::new();
    loop {
        match lines.read(&mut line, None) {
            Ok(()) if Message::is_one(&line) => {}
            Ok(())
                if matches!(
                    Line::parse(&line),
                    None | Some(Line::Message(_) | Line::Link(_) | Line::Gap(_) | Line::UpstreamGap(_))
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
            super::format::clean(&String::from_utf8_lossy(line))
        ))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_if_it_parses_else_text() {
        let shown = |bytes: &str, force| match text(bytes.as_bytes().to_owned(), force).unwrap() {
            Payload::Json(json) => format!("json {}", json.get()),
            Payload::Text(text) => format!("text {text}"),
            Payload::Binary(_) => unreachable!(),
        };
        assert_eq!(shown("{\"a\":\n 1.10}\n", false), "json {\"a\":  1.10}");
        assert_eq!(shown("12345678901234567890123", false), "json 12345678901234567890123");
        assert_eq!(shown("{\"a\":1}", true), "text {\"a\":1}");
        assert_eq!(shown("hello", false), "text hello");
        assert_eq!(shown("", false), "text ");
        assert!(text(vec![0xff], false).is_err());
    }

    #[test]
    fn one_break_ends_a_line() {
        for (line, bare) in [("a\n", "a"), ("a\r\n", "a"), ("a", "a"), ("a\n\n", "a\n"), ("\n", "")] {
            assert_eq!(without_break(line.as_bytes()), bare.as_bytes());
        }
    }

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
