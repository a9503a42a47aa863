//! `wsfan request`: ask the server something, and print its answer.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use serde_json::value::RawValue;

use super::{
    daemon::{DaemonArgs, Need},
    failure::{Failure, LATE, Outcome, UNAVAILABLE, UNSURE, Wrote, refusal, wrote},
    format::{clean, clean_json},
    payload::{given, json},
    pretty,
};
use crate::{
    client::{Client, is_reply},
    protocol::{Code, Line, MAX_TIMEOUT_MS, Message, Op, Refusal},
};

const EXAMPLES: &str = "\
Examples:
  wsfan request '{\"type\":\"get_states\"}'
  wsfan request '{\"method\":\"eth_blockNumber\",\"params\":[]}' | jq -r .result
  wsfan request --timeout 5s < ask.json
  wsfan request --more '{\"type\":\"subscribe_events\"}'    all its answers, until Ctrl-C cancels it

The daemon's [requests] say where an id is; it writes one of its own, and no other program sees the answer. \
An id that you write stands in the answer again; you needn't. Of several answers the first is printed, and the others \
are cancelled, unless --more.

Exit codes: 0 answered; 1 the server refused, and its answer says why; or nothing was asked of it, and there is no \
answer; 3 it may have been asked, and no answer comes; 69 the link is down; 124 no answer came in time.";

/// How long the daemon may take beside the wait for the server.
const ANSWER: Duration = Duration::from_secs(10);
/// The longest wait that a daemon may be configured for.
const LONGEST: Duration = Duration::from_millis(MAX_TIMEOUT_MS);

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    daemon: DaemonArgs,
    /// The request, which is JSON; `-` or nothing reads it from stdin
    #[arg(allow_hyphen_values = true, value_name = "JSON")]
    payload: Option<String>,
    /// How long its answer may take, up to 1d [default: the daemon's requests.timeout]
    #[arg(long, value_name = "DURATION", value_parser = timeout)]
    timeout: Option<Duration>,
    /// Print all its answers, a line each, until one says that it is the last
    #[arg(long)]
    more: bool,
    /// Print the daemon's lines as they are
    #[arg(long, group = "form")]
    json: bool,
    /// Print answers in colour, also in a pipe
    #[arg(long, group = "form")]
    pretty: bool,
}

/// How long an answer may take.
fn timeout(text: &str) -> Result<Duration, String> {
    let timeout = crate::config::parse_duration(text)?;
    match timeout < Duration::from_millis(1) || timeout > LONGEST {
        true => Err("write 1ms to 1d".to_owned()),
        false => Ok(timeout),
    }
}

pub(super) fn request(args: &Args) -> Outcome {
    // what to ask is found out before the daemon is troubled
    let payload = payload(args)?;
    let mut client = args.daemon.connect(Need::Send)?;
    let timeout_ms = args.timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(MAX_TIMEOUT_MS));
    // half a line is not carried out
    let op = Op::Request { json: &payload, timeout_ms };
    let id = client.requests.send(op, Instant::now() + ANSWER)?;
    answers(args, &mut client, id)
}

fn payload(args: &Args) -> Outcome<Box<RawValue>> {
    let bytes = given(args.payload.as_deref(), "request")?;
    let text = String::from_utf8(bytes).map_err(|_| Failure::failed("the request isn't UTF-8 text"))?;
    json(&text).map_err(|error| {
        Failure::failed(format!(
            "the request isn't JSON ({error}): nothing was asked; `wsfan send` sends text"
        ))
    })
}

/// Prints what comes of the request.
fn answers(args: &Args, client: &mut Client, id: u64) -> Outcome {
    let path = client.lines.path().to_owned();
    let unsure = |error| Failure::with_code(UNSURE, format!("perhaps asked: {}", Failure::from(error)));
    // the daemon says it when the time is over; this is for one that hangs
    let mut deadline = Some(Instant::now() + args.timeout.unwrap_or(LONGEST) + ANSWER);
    let (mut line, mut any) = (Vec::new(), false);
    loop {
        client.lines.read(&mut line, deadline).map_err(unsure)?;
        if !is_reply(&line, id, &path).map_err(unsure)? {
            // a flood of messages must not outrun the deadline
            if Message::is_one(&line) && deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(unsure(crate::client::Error::Late { path }));
            }
            continue;
        }
        let parsed = Line::parse(&line);
        let is_shown = args.json || matches!(parsed, Some(Line::Answer(_)));
        if is_shown && show(args, &line, parsed.as_ref())? == Wrote::Enough {
            return Ok(());
        }
        match parsed {
            Some(Line::Answer(answer)) if answer.failed => {
                return Err(Failure::failed("the server refused"));
            }
            Some(Line::Answer(answer)) if answer.more && args.more => {}
            Some(Line::Answer(_)) => return Ok(()),
            Some(Line::Error(why)) => return Err(no_answer(&why, any)),
            _ => {
                let line = String::from_utf8_lossy(&line);
                let sentence =
                    format!("the daemon gave an answer that this command doesn't know: {}", clean(&line));
                return Err(Failure::with_code(UNSURE, sentence));
            }
        }
        (any, deadline) = (true, None);
    }
}

/// Prints an answer, or the daemon's line with it.
fn show(args: &Args, line: &[u8], parsed: Option<&Line<'_>>) -> Outcome<Wrote> {
    let json = match parsed {
        Some(Line::Answer(answer)) if !args.json => answer.json.map_or("", RawValue::get).into(),
        _ => String::from_utf8_lossy(line),
    };
    let is_terminal = io::stdout().is_terminal();
    wrote(if args.pretty || is_terminal && !args.json {
        writeln!(anstream::stdout().lock(), "{}", pretty::payload(&json))
    } else if is_terminal {
        writeln!(io::stdout().lock(), "{}", clean_json(&json))
    } else {
        writeln!(io::stdout().lock(), "{json}")
    })
}

/// Why there is no answer, or no other after `any`.
fn no_answer(why: &Refusal<'_>, any: bool) -> Failure {
    let said = refusal(why);
    let (code, before) = match why.code.known() {
        Some(Code::Timeout) => (LATE, ""),
        Some(Code::Unknown) => (UNSURE, "perhaps asked: "),
        Some(Code::LinkDown) => (UNAVAILABLE, if any { "no more answers: " } else { "not asked: " }),
        _ => (super::failure::FAILED, if any { "no more answers: " } else { "not asked: " }),
    };
    Failure::with_code(code, format!("{before}{said}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_has_bounds() {
        for (text, is_one) in [("1ms", true), ("30s", true), ("1d", true), ("0s", false), ("25h", false)] {
            assert_eq!(timeout(text).is_ok(), is_one, "{text}");
        }
    }

    #[test]
    fn why_there_is_no_answer() {
        let failure = |code: &str, any| {
            let line = format!(r#"{{"type":"error","id":1,"code":"{code}","message":"m"}}"#);
            let Some(Line::Error(why)) = Line::parse(line.as_bytes()) else { panic!("{line}") };
            let failure = no_answer(&why, any);
            (failure.code(), failure.to_string())
        };
        for (code, any, exit, said) in [
            ("timeout", false, 124, "m (timeout)"),
            ("unknown", false, 3, "perhaps asked: m (unknown)"),
            ("link_down", false, 69, "not asked: m (link_down)"),
            ("link_down", true, 69, "no more answers: m (link_down)"),
            ("overrun", true, 1, "no more answers: m (overrun)"),
            ("unsupported", false, 1, "not asked: m (unsupported)"),
            ("later", false, 1, "not asked: m (later)"),
        ] {
            assert_eq!(failure(code, any), (exit, said.to_owned()));
        }
    }
}
