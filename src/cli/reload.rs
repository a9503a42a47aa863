//! `wsfan reload`: the daemon reads its config again, and says what came of it.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    time::{Duration, Instant},
};

use super::{
    daemon::{DaemonArgs, Need},
    failure::{FAILED, Failure, Outcome, note, reason, refusal, wrote},
    format::clean,
};
use crate::{
    client::Client,
    protocol::{Code, Line, Op, Success},
    service,
};

const NOTES: &str = "\
Needs the `control` right on the listener; root and the daemon's own user have it on each. For ExecReload in a \
unit, beside SIGHUP, which says nothing of what came of it.

Exit codes: 0 the new config is in force, but for what waits for a restart; 1 a part of it could not be \
applied, or nobody answered; 78 the new config is refused, and the old one stays in force.";

#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(super) struct Args {
    #[command(flatten)]
    daemon: DaemonArgs,
    /// Where no daemon can be asked, or it gives no right to ask, send SIGHUP to this process, and don't wait for
    /// what comes of it
    #[arg(long, value_name = "PID")]
    or_signal: Option<i32>,
    /// How long it may take
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = crate::config::parse_duration)]
    timeout: Duration,
    /// Print the daemon's reply as it is
    #[arg(long)]
    json: bool,
}

pub(super) fn reload(args: &Args) -> Outcome {
    let unasked = match args.daemon.connect_to_any(Need::Control) {
        Ok(client) => match ask(args, client)? {
            Some(refusal) => refusal,
            None => return Ok(()),
        },
        Err(failure) => failure,
    };
    match args.or_signal {
        // a daemon that reads what isn't right only says so in its log
        Some(pid) if !args.daemon.names_a_bad_config() => signal(pid, &unasked),
        _ if args.daemon.names_a_bad_config() => {
            Err(Failure::config(format!("{unasked}\nnothing is reloaded: the old config stays in force")))
        }
        _ => Err(unasked),
    }
}

/// Asks the daemon. What is returned is a refusal to reload at all: for want of the right, or of room.
fn ask(args: &Args, mut client: Client) -> Outcome<Option<Failure>> {
    let deadline = Instant::now() + args.timeout;
    let mut line = Vec::new();
    client.ask(Op::Reload, &mut line, deadline)?;
    let parsed = Line::parse(&line);
    let unasked = match &parsed {
        Some(Line::Error(why)) if why.code != Code::BadConfig => {
            Some(Failure::failed(format!("reload refused: {}", refusal(why))))
        }
        _ => None,
    };
    if args.json && !(unasked.is_some() && args.or_signal.is_some()) {
        let mut stdout = io::stdout().lock();
        wrote(stdout.write_all(&line).and_then(|()| stdout.write_all(b"\n")))?;
    }
    if unasked.is_some() {
        return Ok(unasked);
    }
    let done = match parsed {
        Some(Line::Error(why)) => {
            return Err(Failure::config(
                sentences(&why.message) + "\nthe config is refused: the old one stays in force",
            ));
        }
        Some(Line::Ok(done)) => done,
        _ => Success::default(),
    };
    if !args.json {
        wrote(io::stdout().lock().write_all(summary(&done).as_bytes()))?;
    }
    match &done.error {
        Some(error) => Err(Failure::with_code(FAILED, partly(error))),
        None => Ok(None),
    }
}

/// Asks by SIGHUP, which has no answer.
fn signal(pid: i32, why: &Failure) -> Outcome {
    service::ask_by_signal(pid).map_err(|error| {
        Failure::failed(format!("{why}; and SIGHUP to process {pid}: {}", reason(&error)))
    })?;
    note(format_args!("{why}; sent SIGHUP to process {pid}: its log says what comes of it"));
    Ok(())
}

/// What couldn't be applied: the causes below the fact.
fn partly(causes: &str) -> String {
    format!("this could not be applied, and stays as it was:\n{}", sentences(causes))
}

/// A text of several sentences, each fit for a terminal, a line each.
fn sentences(text: &str) -> String {
    text.lines().map(|line| clean(line).into_owned()).collect::<Vec<_>>().join("\n")
}

/// What has changed, a line for each kind.
fn summary(done: &Success<'_>) -> String {
    let rows = [
        ("at once", done.live.as_deref().unwrap_or_default()),
        ("with a new connection", done.reconnect.as_deref().unwrap_or_default()),
        ("after a restart", done.restart.as_deref().unwrap_or_default()),
    ];
    let mut text = String::new();
    for (when, names) in rows.iter().filter(|(_, names)| !names.is_empty()) {
        let _ = writeln!(text, "{when}: {}", clean(&names.join(", ")));
    }
    if text.is_empty() { "nothing has changed\n".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_applied_stands_below_the_fact() {
        let text = partly("/a: in use\n/b: no\u{1b} such group");
        let lines: Vec<_> = text.lines().collect();
        assert!(lines.len() == 3 && lines[0].contains("could not be applied"), "{text:?}");
        assert_eq!(lines[1], "/a: in use");
        assert!(lines[2].starts_with("/b: no") && !text.contains('\u{1b}'), "{text:?}");
    }

    #[test]
    fn what_changed_is_told_by_when_it_holds() {
        let reply = |text| serde_json::from_str::<Success<'_>>(text).unwrap();
        assert_eq!(summary(&reply(r#"{"live":[],"restart":[]}"#)), "nothing has changed\n");
        let all = reply(r#"{"live":["a","b"],"reconnect":["c\u001b[2J"],"restart":["d"],"more":1}"#);
        let text = summary(&all);
        assert!(
            text.starts_with("at once: a, b\nwith a new connection: c") && !text.contains('\u{1b}'),
            "{text}"
        );
        assert!(text.ends_with("after a restart: d\n"), "{text}");
    }
}
