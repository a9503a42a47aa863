//! `wsfan send`: send messages to the upstream and say what became of them.

use std::{
    io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _},
    path::PathBuf,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::value::RawValue;

use super::{
    client::{self, Client, Lines, NoLine, Request, Requests},
    failure::{Failure, Outcome, note, reason, wrote},
    format::counted,
    line::Line,
    target::{Need, Target},
};

const EXAMPLES: &str = "\
Examples:
  wsfan send '{\"op\":\"subscribe\",\"topic\":\"btc\"}'
  echo hello | wsfan send --text
  wsfan send --binary < frame.bin
  producer | wsfan send --lines       a message for each line, as it comes

Exit codes: 0 written to the upstream, or queued for when it is back; 1 not sent, with the cause.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
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

pub(super) fn send(args: &Args) -> Outcome {
    // what to send is found out before the daemon is troubled
    let payload = if args.lines { None } else { Some(one(args)?) };
    let client = args.target.connect(Need::Send)?;
    let mut sending = Sending::new(client, args)?;
    match payload {
        Some(payload) => {
            let fate = sending.send(&payload)?;
            say(args, fate.sentence())
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
            return say(args, &so_far(written, queued));
        }
        number += 1;
        let bytes = without_break(&line);
        if bytes.is_empty() {
            continue;
        }
        let fate = text(bytes.to_owned(), args.text)
            .map_err(Failure::failed)
            .and_then(|payload| sending.send(&payload))
            .map_err(|failure| {
                let so_far = so_far(written, queued);
                Failure::with_code(failure.code(), format!("line {number}: {failure}; {so_far} before it"))
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

/// A connection that only sends. A thread of its own reads what comes, since the daemon would take us
/// for a stuck client while we wait for stdin.
struct Sending<'a> {
    args: &'a Args,
    path: PathBuf,
    requests: Requests,
    replies: mpsc::Receiver<Result<Vec<u8>, NoLine>>,
}

impl<'a> Sending<'a> {
    fn new(client: Client, args: &'a Args) -> Outcome<Sending<'a>> {
        let Client { requests, lines, .. } = client;
        let path = lines.path().to_owned();
        let (sender, replies) = mpsc::channel();
        thread::Builder::new()
            .name("replies".to_owned())
            .spawn(move || forward(lines, &sender))
            .map_err(|error| Failure::failed(format!("no thread can be started: {}", reason(&error))))?;
        Ok(Sending { args, path, requests, replies })
    }

    fn send(&mut self, payload: &Payload) -> Outcome<Fate> {
        let mut request = Request { op: "send", ..Request::default() };
        match payload {
            Payload::Json(json) => request.json = Some(json),
            Payload::Text(text) => request.text = Some(text),
            Payload::Binary(bytes) => request.binary = Some(BASE64.encode(bytes)),
        }
        let deadline = Instant::now() + self.args.timeout;
        let id = self.requests.send(request, deadline)?;
        loop {
            let line = self.reply(id, deadline)?;
            if self.args.json {
                let mut stdout = io::stdout().lock();
                wrote(stdout.write_all(&line).and_then(|()| stdout.write_all(b"\n")))?;
            }
            match fate(&line)? {
                Fate::Queued if self.args.wait => {}
                fate => return Ok(fate),
            }
        }
    }

    fn reply(&self, id: u64, deadline: Instant) -> Outcome<Vec<u8>> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = match self.replies.recv_timeout(left) {
                Ok(Ok(line)) => line,
                Ok(Err(why)) => return Err(client::lost(&self.path, &why)),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    return Err(Failure::failed(format!(
                        "the daemon at {} didn't say in time what became of the message: it may still be \
                         sent (raise --timeout to wait for longer)",
                        self.path.display()
                    )));
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(client::lost(&self.path, &NoLine::Ended));
                }
            };
            if client::is_reply(&line, id, &self.path)? {
                return Ok(line);
            }
        }
    }
}

/// Hands on what isn't a message. There are no more such lines than requests, so nothing piles up.
fn forward(mut lines: Lines, to: &mpsc::Sender<Result<Vec<u8>, NoLine>>) {
    let mut line = Vec::new();
    loop {
        match lines.read(&mut line, None) {
            Ok(()) if Line::is_message(&line) => {}
            Ok(()) if Line::parse(&line).is_none_or(|line| line.kind == "link" || line.kind == "gap") => {}
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
fn fate(line: &[u8]) -> Outcome<Fate> {
    let reply = Line::parse(line).unwrap_or_default();
    match (&*reply.kind, &*reply.result) {
        ("ok", "written") => Ok(Fate::Written),
        ("ok", "queued") => Ok(Fate::Queued),
        ("error", _) if reply.error_name() == "unknown" => {
            Err(Failure::failed(format!("perhaps sent: {}", client::refusal(&reply))))
        }
        ("error", _) => Err(Failure::failed(format!("not sent: {}", client::refusal(&reply)))),
        _ => Err(Failure::failed(format!(
            "the daemon gave an answer that this command doesn't know: {}",
            super::format::clean(&String::from_utf8_lossy(line))
        ))),
    }
}

impl Fate {
    fn sentence(self) -> &'static str {
        match self {
            Fate::Written => "written to the upstream",
            Fate::Queued => {
                "queued: the link is down, and the daemon sends it once it is up (--wait waits for that)"
            }
        }
    }
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
        let sentence = |line: &str| fate(line.as_bytes()).unwrap_err().to_string();
        assert_eq!(fate(br#"{"type":"ok","id":1,"result":"written"}"#), Ok(Fate::Written));
        assert_eq!(fate(br#"{"type":"ok","id":1,"result":"queued"}"#), Ok(Fate::Queued));
        assert_eq!(
            sentence(r#"{"type":"error","id":1,"code":"link_down","message":"the link is waiting"}"#),
            "not sent: the link is waiting (link_down)"
        );
        assert!(
            sentence(r#"{"type":"error","id":1,"code":"unknown","message":"m"}"#).starts_with("perhaps sent")
        );
        assert!(sentence(r#"{"type":"ok","result":"later"}"#).contains("doesn't know"));
    }
}
