//! `wsfan send`: send messages to the upstream and say what became of them.

use std::{
    io::{self, BufRead as _, Write as _},
    iter,
    time::Duration,
};

use super::{
    daemon::{DaemonArgs, Need},
    failure::{Failure, Outcome, UNSURE, note, wrote},
    format::counted,
    payload::{Payload, given, text, unreadable, without_break},
    reach::{Pause, Way},
};
use crate::protocol::MAX_UNIT;

mod dialogue;

use dialogue::{Dialogue, Fate, Message, Miss};

const EXAMPLES: &str = "\
Examples:
  wsfan send '{\"op\":\"subscribe\",\"topic\":\"btc\"}'
  echo hello | wsfan send --text
  wsfan send --binary < frame.bin
  producer | wsfan send --lines       a message for each line, as it comes
  wsfan send --unit '{\"header\":1}' '{\"content\":2}'     both, with nothing between
  wsfan send --lines --from-line 18 < orders.jsonl

With --unit, nothing comes between the messages, whoever else sends, and they have one fate. Each argument is one, or \
each line of stdin.

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
    /// With --unit, further messages
    #[arg(value_name = "PAYLOAD")]
    more: Vec<String>,
    /// Send several messages as a unit: up to 1000, one right after another, with one fate
    #[arg(long, conflicts_with = "lines")]
    unit: bool,
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

pub(super) fn send(args: &Args) -> Outcome {
    // what to send is found out before the daemon is troubled
    let message = match args {
        Args { lines: true, .. } => None,
        Args { unit: true, .. } => Some(Message::Unit(unit(args)?)),
        Args { more, .. } if !more.is_empty() => {
            return Err(Failure::usage(
                "several messages are given: --unit sends them together; quote one that has blanks in it",
            ));
        }
        _ => Some(Message::One(one(args)?)),
    };
    let mut sending = Sending::new(args.daemon.way(Need::Send)?, args)?;
    match message {
        Some(message) => {
            match sending.send(&message)? {
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
    let mut bytes = given(args.payload.as_deref(), "send")?;
    let is_stdins = args.payload.as_deref().is_none_or(|payload| payload == "-");
    if is_stdins && !args.binary {
        bytes.truncate(without_break(&bytes).len());
    }
    read(args, bytes)
}

/// The messages of a unit, from the arguments or the lines of stdin.
fn unit(args: &Args) -> Outcome<Vec<Payload>> {
    let messages: Vec<Vec<u8>> = match args.payload.as_deref() {
        Some(first) if first != "-" || !args.more.is_empty() => {
            let all = iter::once(first).chain(args.more.iter().map(String::as_str));
            all.map(|message| message.as_bytes().to_owned()).collect()
        }
        stdin => {
            let bytes = given(stdin, "send")?;
            let lines = bytes.split_inclusive(|byte| *byte == b'\n').map(without_break);
            lines.filter(|line| !line.is_empty()).map(<[u8]>::to_owned).collect()
        }
    };
    match messages.len() {
        1..=MAX_UNIT => messages.into_iter().map(|bytes| read(args, bytes)).collect(),
        0 => Err(Failure::failed("stdin has no message: nothing was sent")),
        many => Err(Failure::failed(format!("{many} messages are more than the {MAX_UNIT} of a unit"))),
    }
}

/// What a message's bytes are sent as.
fn read(args: &Args, bytes: Vec<u8>) -> Outcome<Payload> {
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
            .and_then(|payload| sending.send(&Message::One(payload)))
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

/// A connection that only sends, and is made anew where it may be.
struct Sending<'a> {
    args: &'a Args,
    way: Way,
    /// None after it has ended.
    line: Option<Dialogue>,
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
    fn send(&mut self, message: &Message) -> Outcome<Fate> {
        let (mut pause, mut told) = (Pause::default(), String::new());
        loop {
            let miss = match self.attempt(message) {
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

    fn attempt(&mut self, message: &Message) -> Result<Fate, Miss> {
        let dialogue = match &mut self.line {
            Some(dialogue) => dialogue,
            none => none.insert(self.way.connect().and_then(Dialogue::new).map_err(Miss::Gone)?),
        };
        dialogue.send(message, self.args)
    }
}
