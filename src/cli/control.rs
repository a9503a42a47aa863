//! `wsfan reconnect`, `open` and `close`: what moves the link.

use std::{
    io::{self, Write as _},
    time::{Duration, Instant},
};

use super::{
    client::{self, Client, NoLine, Request},
    failure::{Failure, Outcome, UNAVAILABLE, wrote},
    format::{self, clean},
    line::Line,
    pretty::ending,
    status::Status,
    target::{Need, Target},
};

const NOTES: &str = "\
Needs the `control` right on the listener; root and the daemon's own user have it on each.

Exit codes: 0 done; 1 refused, or not done in time; 69 the link was given up while we waited.";

#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    /// Wait until it has happened
    #[arg(long)]
    wait: bool,
    /// How long it may take
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = crate::config::parse_duration)]
    timeout: Duration,
    /// Print the daemon's reply as it is, and with --wait the line that says that it has happened
    #[arg(long)]
    json: bool,
}

/// What is asked of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Reconnect,
    Open,
    Close,
}

/// How far the link is from what was asked.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    Done,
    GivenUp,
    NotYet,
}

pub(super) fn control(op: Op, args: &Args) -> Outcome {
    let mut client = args.target.connect(Need::Control)?;
    let deadline = Instant::now() + args.timeout;
    let mut line = Vec::new();
    let before = if args.wait { Some(status(&mut client, &mut line, deadline)?) } else { None };
    client.ask(Request { op: op.name(), ..Request::default() }, &mut line, deadline)?;
    let reply = Line::parse(&line).unwrap_or_default();
    if reply.kind == "error" {
        return Err(Failure::failed(format!("{} refused: {}", op.name(), client::refusal(&reply))));
    }
    let accepted = match &*reply.result {
        "" | "accepted" => op.accepted().to_owned(),
        other => format!("the daemon answered: {}", clean(other)),
    };
    say(args, &line, &accepted)?;
    match before {
        Some(before) => wait(op, args, &mut client, &before, deadline),
        None => Ok(()),
    }
}

fn status(client: &mut Client, line: &mut Vec<u8>, deadline: Instant) -> Outcome<Status> {
    client.ask(Request { op: "status", ..Request::default() }, line, deadline)?;
    super::status::parse(line)
}

/// Follows the link's lines until it is where it was asked to be.
fn wait(op: Op, args: &Args, client: &mut Client, before: &Status, deadline: Instant) -> Outcome {
    if op.is_done_already(&before.link.state) {
        return say(args, b"", &format!("the link is {} already", before.link.state));
    }
    let mut last = format!("it is {}", before.link.state);
    let mut line = Vec::new();
    loop {
        match client.lines.read(&mut line, Some(deadline)) {
            Ok(()) => {}
            Err(NoLine::Late) => break,
            Err(why) => return Err(client::lost(client.lines.path(), &why)),
        }
        if Instant::now() >= deadline {
            break;
        }
        if Line::is_message(&line) {
            continue;
        }
        let Some(parsed) = Line::parse(&line) else { continue };
        match &*parsed.kind {
            "link" => {}
            "bye" => {
                return Err(Failure::failed(format!(
                    "the daemon said bye ({}) meanwhile",
                    clean(&parsed.why)
                )));
            }
            _ => continue,
        }
        match op.progress(&parsed, before) {
            Progress::Done => return say(args, &line, &op.done(&parsed)),
            Progress::GivenUp => {
                let sentence = format!("the daemon gave the link up: {}", told(&parsed));
                return Err(Failure::with_code(UNAVAILABLE, sentence));
            }
            Progress::NotYet => last = told(&parsed),
        }
    }
    let waited = format::duration(args.timeout);
    Err(Failure::failed(format!("not done after {waited}: {last} (raise --timeout to wait for longer)")))
}

/// A link's state and how the last attempt ended.
fn told(link: &Line<'_>) -> String {
    match ending(link) {
        after if after.is_empty() => format!("it is {}", clean(&link.state)),
        after => format!("it is {} after: {after}", clean(&link.state)),
    }
}

fn say(args: &Args, line: &[u8], sentence: &str) -> Outcome {
    let mut stdout = io::stdout().lock();
    let result = match args.json {
        true if line.is_empty() => Ok(()),
        true => stdout.write_all(line).and_then(|()| stdout.write_all(b"\n")),
        false => writeln!(stdout, "{sentence}"),
    };
    wrote(result).map(drop)
}

impl Op {
    fn name(self) -> &'static str {
        match self {
            Op::Reconnect => "reconnect",
            Op::Open => "open",
            Op::Close => "close",
        }
    }

    fn accepted(self) -> &'static str {
        match self {
            Op::Reconnect => "accepted: the daemon connects anew",
            Op::Open => "accepted: the daemon opens the link",
            Op::Close => "accepted: the daemon closes the link",
        }
    }

    fn done(self, link: &Line<'_>) -> String {
        match self {
            Op::Close => "the link is closed".to_owned(),
            Op::Open | Op::Reconnect => format!("the link is up, with connection {}", link.conn),
        }
    }

    fn is_done_already(self, state: &str) -> bool {
        match self {
            Op::Reconnect => false,
            Op::Open => state == "up",
            Op::Close => state == "closed",
        }
    }

    /// What a `link` line means for this. Lines from before the request may still be on their way.
    fn progress(self, link: &Line<'_>, before: &Status) -> Progress {
        let old = link.seq.is_some_and(|seq| seq <= before.log.seq);
        match &*link.state {
            _ if old => Progress::NotYet,
            "closed" if self == Op::Close => Progress::Done,
            "up" if self == Op::Open => Progress::Done,
            "up" if self == Op::Reconnect && link.conn > before.link.conn => Progress::Done,
            "failed" if self != Op::Close => Progress::GivenUp,
            _ => Progress::NotYet,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress() {
        let mut before = Status::default();
        before.log.seq = 10;
        before.link.conn = 3;
        let link =
            |seq, state: &'static str, conn| Line { seq, state: state.into(), conn, ..Line::default() };
        for (op, line, progress) in [
            (Op::Reconnect, link(Some(11), "up", 4), Progress::Done),
            (Op::Reconnect, link(Some(10), "up", 4), Progress::NotYet), // from before
            (Op::Reconnect, link(None, "up", 3), Progress::NotYet),     // restated
            (Op::Reconnect, link(Some(11), "waiting", 3), Progress::NotYet),
            (Op::Reconnect, link(Some(11), "failed", 3), Progress::GivenUp),
            (Op::Open, link(Some(11), "up", 3), Progress::Done),
            (Op::Open, link(Some(10), "up", 3), Progress::NotYet),
            (Op::Close, link(Some(11), "closed", 3), Progress::Done),
            (Op::Close, link(Some(11), "failed", 3), Progress::NotYet),
        ] {
            assert_eq!(op.progress(&line, &before), progress, "{op:?} {line:?}");
        }
    }
}
