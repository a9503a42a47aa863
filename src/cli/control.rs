//! `wsfan reconnect`, `open` and `close`: what moves the link.

use std::{
    io::{self, Write as _},
    time::{Duration, Instant},
};

use super::{
    daemon::{DaemonArgs, Need},
    failure::{Failure, Outcome, UNAVAILABLE, refusal, wrote},
    format::{self, clean},
    pretty::ending,
    reply,
};
use crate::{
    client::{self, Client},
    protocol::{self, Done, Line, Link, LinkState, Message, Status},
};

const NOTES: &str = "\
Needs the `control` right on the listener; root and the daemon's own user have it on each.

Exit codes: 0 done; 1 refused, or not done in time; 69 the link was given up while we waited.";

#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(super) struct Args {
    #[command(flatten)]
    daemon: DaemonArgs,
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
pub(super) enum LinkOp {
    Reconnect,
    Open,
    Close,
}

/// How far the link is from what was asked.
#[derive(Debug, PartialEq, Eq)]
enum Fulfilment {
    Done,
    GivenUp,
    NotYet,
}

pub(super) fn control(op: LinkOp, args: &Args) -> Outcome {
    let mut client = args.daemon.connect(Need::Control)?;
    let deadline = Instant::now() + args.timeout;
    let mut line = Vec::new();
    let before = if args.wait { Some(reply::status(&mut client, &mut line, deadline)?) } else { None };
    client.ask(op.op(), &mut line, deadline)?;
    let accepted = match Line::parse(&line) {
        Some(Line::Error(why)) => {
            return Err(Failure::failed(format!("{} refused: {}", op.op().name(), refusal(&why))));
        }
        Some(Line::Ok(done)) if done.result != Done::Accepted && !done.result.name().is_empty() => {
            format!("the daemon answered: {}", clean(done.result.name()))
        }
        _ => op.accepted().to_owned(),
    };
    say(args, &line, &accepted)?;
    match before {
        Some(before) => wait(op, args, &mut client, &before, deadline),
        None => Ok(()),
    }
}

/// Follows the link's lines until it is where it was asked to be.
fn wait(op: LinkOp, args: &Args, client: &mut Client, before: &Status<'_>, deadline: Instant) -> Outcome {
    let state = &before.link.fields.state;
    if op.is_done_already(state.known()) {
        return say(args, b"", &format!("the link is {} already", state.name()));
    }
    let mut last = format!("it is {}", clean(state.name()));
    let mut line = Vec::new();
    loop {
        match client.lines.read(&mut line, Some(deadline)) {
            Ok(()) => {}
            Err(client::Error::Late { .. }) => break,
            Err(why) => return Err(why.into()),
        }
        if Instant::now() >= deadline {
            break;
        }
        if Message::is_one(&line) {
            continue;
        }
        let link = match Line::parse(&line) {
            Some(Line::Link(link)) => link,
            Some(Line::Bye(bye)) => {
                return Err(Failure::failed(format!(
                    "the daemon said bye ({}) meanwhile",
                    clean(bye.why.name())
                )));
            }
            _ => continue,
        };
        match op.progress(&link, before) {
            Fulfilment::Done => return say(args, &line, &op.done(&link)),
            Fulfilment::GivenUp => {
                let sentence = format!("the daemon gave the link up: {}", told(&link));
                return Err(Failure::with_code(UNAVAILABLE, sentence));
            }
            Fulfilment::NotYet => last = told(&link),
        }
    }
    let waited = format::duration(args.timeout);
    Err(Failure::failed(format!("not done after {waited}: {last} (raise --timeout to wait for longer)")))
}

/// A link's state and how the last attempt ended.
fn told(link: &Link<'_>) -> String {
    let state = clean(link.fields.state.name());
    match ending(&link.fields.ended) {
        after if after.is_empty() => format!("it is {state}"),
        after => format!("it is {state} after: {after}"),
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

impl LinkOp {
    fn op(self) -> protocol::Op<'static> {
        match self {
            LinkOp::Reconnect => protocol::Op::Reconnect,
            LinkOp::Open => protocol::Op::Open,
            LinkOp::Close => protocol::Op::Close,
        }
    }

    fn accepted(self) -> &'static str {
        match self {
            LinkOp::Reconnect => "accepted: the daemon connects anew",
            LinkOp::Open => "accepted: the daemon opens the link",
            LinkOp::Close => "accepted: the daemon closes the link",
        }
    }

    fn done(self, link: &Link<'_>) -> String {
        match self {
            LinkOp::Close => "the link is closed".to_owned(),
            LinkOp::Open | LinkOp::Reconnect => {
                format!("the link is up, with connection {}", link.fields.conn)
            }
        }
    }

    fn is_done_already(self, state: Option<LinkState>) -> bool {
        match self {
            LinkOp::Reconnect => false,
            LinkOp::Open => state == Some(LinkState::Up),
            LinkOp::Close => state == Some(LinkState::Closed),
        }
    }

    /// What a `link` line means for this. Lines from before the request may still be on their way.
    fn progress(self, link: &Link<'_>, before: &Status<'_>) -> Fulfilment {
        let old = link.seq.is_some_and(|seq| seq <= before.log.seq);
        match link.fields.state.known() {
            _ if old => Fulfilment::NotYet,
            Some(LinkState::Closed) if self == LinkOp::Close => Fulfilment::Done,
            Some(LinkState::Up) if self == LinkOp::Open => Fulfilment::Done,
            Some(LinkState::Up)
                if self == LinkOp::Reconnect && link.fields.conn > before.link.fields.conn =>
            {
                Fulfilment::Done
            }
            Some(LinkState::Failed) if self != LinkOp::Close => Fulfilment::GivenUp,
            _ => Fulfilment::NotYet,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::LinkFields;

    #[test]
    fn progress() {
        let mut before = Status::default();
        before.log.seq = 10;
        before.link.fields.conn = 3;
        let link = |seq, state: LinkState, conn| {
            let fields = LinkFields { state: state.into(), conn, ..LinkFields::default() };
            Link { seq, fields, ..Link::default() }
        };
        for (op, line, progress) in [
            (LinkOp::Reconnect, link(Some(11), LinkState::Up, 4), Fulfilment::Done),
            (LinkOp::Reconnect, link(Some(10), LinkState::Up, 4), Fulfilment::NotYet), // from before
            (LinkOp::Reconnect, link(None, LinkState::Up, 3), Fulfilment::NotYet),     // restated
            (LinkOp::Reconnect, link(Some(11), LinkState::Waiting, 3), Fulfilment::NotYet),
            (LinkOp::Reconnect, link(Some(11), LinkState::Failed, 3), Fulfilment::GivenUp),
            (LinkOp::Open, link(Some(11), LinkState::Up, 3), Fulfilment::Done),
            (LinkOp::Open, link(Some(10), LinkState::Up, 3), Fulfilment::NotYet),
            (LinkOp::Close, link(Some(11), LinkState::Closed, 3), Fulfilment::Done),
            (LinkOp::Close, link(Some(11), LinkState::Failed, 3), Fulfilment::NotYet),
        ] {
            assert_eq!(op.progress(&line, &before), progress, "{op:?} {line:?}");
        }
    }
}
