//! `wsfan status --up`: whether the link is up, for scripts.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    time::{Duration, Instant},
};

use super::{Args, ending, next_try, print};
use crate::{
    cli::{
        daemon::Need,
        failure::{Failure, Outcome, wrote},
        format::{self, clean},
        reach::Pause,
        reply,
    },
    client::{Client, Error},
    protocol::{Attach, Line, LinkState, Message, Op},
};

/// So long before the end of a wait the daemon is asked for the last time.
const LAST_WORD: Duration = Duration::from_millis(200);

/// Whether the link is up, or comes up in time.
pub(super) fn up(args: &Args) -> Outcome {
    let Some(within) = args.within else {
        let mut client = args.daemon.connect(Need::Nothing)?;
        return is_up(args, &mut client, Instant::now() + args.timeout)?.ok_or_failure();
    };
    let deadline = Instant::now() + within;
    let way = args.daemon.way(Need::Receive)?;
    let mut pause = Pause::default();
    loop {
        let failure = match way.connect().and_then(|mut client| comes_up(args, &mut client, deadline)) {
            Ok(answer) => return answer.ok_or_failure(),
            Err(failure) => failure,
        };
        // a daemon that starts, or starts again
        if Instant::now() >= deadline {
            return Err(failure);
        }
        pause.take_until(deadline);
    }
}

/// Follows the link's lines until it is up. A failure is of the connection to the daemon.
fn comes_up(args: &Args, client: &mut Client, deadline: Instant) -> Outcome<UpAnswer> {
    let mut line = Vec::new();
    client.ask(Op::Attach(Attach::default()), &mut line, deadline)?;
    if let Some(Line::Error(_)) = Line::parse(&line) {
        return asked_until_up(args, client, deadline); // without the right to receive no line would ever come
    }
    loop {
        match is_up(args, client, deadline)? {
            UpAnswer::Yes => return Ok(UpAnswer::Yes),
            UpAnswer::No(failure) if !next_up(client, &mut line, deadline)? => {
                return Ok(UpAnswer::No(failure));
            }
            UpAnswer::No(_) => {}
        }
    }
}

/// Asks again and again until the link is up.
fn asked_until_up(args: &Args, client: &mut Client, deadline: Instant) -> Outcome<UpAnswer> {
    let until = last_word(deadline);
    let mut pause = Pause::default();
    loop {
        let is_last = Instant::now() >= until;
        match is_up(args, client, deadline)? {
            UpAnswer::No(_) if !is_last => pause.take_until(until),
            answer => return Ok(answer),
        }
    }
}

/// The last word is asked for once more, and needs some time.
fn last_word(deadline: Instant) -> Instant {
    deadline.checked_sub(LAST_WORD).unwrap_or(deadline)
}

/// Reads on until a line says that the link is up. False when none came in time.
fn next_up(client: &mut Client, line: &mut Vec<u8>, deadline: Instant) -> Outcome<bool> {
    let until = last_word(deadline);
    while Instant::now() < until {
        match client.lines.read(line, Some(until)) {
            Ok(()) if Message::is_one(line) => {}
            Ok(()) => match Line::parse(line) {
                Some(Line::Link(link)) if link.fields.state == LinkState::Up => return Ok(true),
                Some(Line::Bye(_)) => {
                    return Err(Error::Ended { path: client.lines.path().to_owned() }.into());
                }
                _ => {}
            },
            Err(Error::Late { .. }) => break,
            Err(why) => return Err(why.into()),
        }
    }
    Ok(false)
}

/// Whether the link is up, from the daemon's own mouth; what it says is printed if that ends the command.
enum UpAnswer {
    Yes,
    No(Failure),
}

impl UpAnswer {
    fn ok_or_failure(self) -> Outcome {
        match self {
            UpAnswer::Yes => Ok(()),
            UpAnswer::No(failure) => Err(failure),
        }
    }
}

fn is_up(args: &Args, client: &mut Client, deadline: Instant) -> Outcome<UpAnswer> {
    let mut line = Vec::new();
    let status = reply::status(client, &mut line, deadline)?;
    let link = &status.link;
    if link.fields.state != LinkState::Up {
        let now_us = format::now_us();
        let (ending, next) = (ending(link, now_us), next_try(link, now_us));
        let mut sentence = format!("the link is {}", clean(link.fields.state.name()));
        for (what, text) in [("last end", ending), ("next try", next)] {
            if !text.is_empty() {
                let _ = write!(sentence, "; {what}: {text}");
            }
        }
        return Ok(UpAnswer::No(Failure::failed(sentence)));
    }
    match args.json {
        true => print(line)?,
        false => wrote(writeln!(io::stdout().lock(), "the link is up, connection {}", link.fields.conn))
            .map(drop)?,
    }
    Ok(UpAnswer::Yes)
}
