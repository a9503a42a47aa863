//! `wsfan status`: the link, the log, and who is connected.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    time::{Duration, Instant},
};

use super::{
    daemon::{DaemonArgs, Need},
    failure::{Outcome, wrote},
    format::{self, bytes, clean, count, counted},
    pretty::{self, DIM, state_style, styled},
    reply,
};
use crate::protocol::{
    Ledger, LinkState, Op, Status,
    status::{
        ClientRow, Configuration, Counters, Held, LinkNow, NameRow, Outbox, Retained, Sends, Subscriptions,
        TopicState, Traffic,
    },
};

mod cluster;
mod up;

const NOTES: &str = "\
A client's entries are those in the log since it attached, and they balance: entries = delivered + lost \
+ passed + ahead.

With --up, a script learns whether the link is up, and with --within waits for it: for the daemon to be there, \
then for the link's own lines, which needs the `receive` right.

Exit codes: 0 the daemon answered, whatever the state of its link, or with --up the link is up; 1 it didn't, or \
isn't.";

#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(super) struct Args {
    #[command(flatten)]
    daemon: DaemonArgs,
    /// Print the daemon's reply as it is, on one line
    #[arg(long)]
    json: bool,
    /// Succeed only if the link is up, and say no more than that
    #[arg(long)]
    up: bool,
    /// With --up, wait so long until it is
    #[arg(long, value_name = "DURATION", requires = "up", value_parser = crate::config::parse_duration)]
    within: Option<Duration>,
    /// How long the daemon may take to answer
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = crate::config::parse_duration)]
    timeout: Duration,
}

pub(super) fn status(args: &Args) -> Outcome {
    if args.up {
        return up::up(args);
    }
    let mut client = args.daemon.connect(Need::Nothing)?;
    let mut line = Vec::new();
    client.ask(Op::Status, &mut line, Instant::now() + args.timeout)?;
    if args.json {
        return print(line);
    }
    let text = text(&reply::parse(&line)?, &client.lines.path().display().to_string(), format::now_us());
    wrote(anstream::stdout().lock().write_all(text.as_bytes())).map(drop)
}

fn print(mut line: Vec<u8>) -> Outcome {
    line.push(b'\n');
    wrote(io::stdout().lock().write_all(&line)).map(drop)
}

/// The status for people.
fn text(status: &Status<'_>, socket: &str, now_us: u64) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(text, "{DIM}{name:<10}{DIM:#} {value}");
        }
    };
    let link = &status.link;
    row("link", state(link, now_us));
    if let Some(cluster) = &status.cluster {
        row("cluster", cluster::now(status.node.as_deref().unwrap_or_default(), cluster));
        row("terms", cluster::terms(cluster.counters));
    }
    row("upstream", upstream(link));
    row("last end", ending(link, now_us));
    row("next try", next_try(link, now_us));
    row("failures", failures(link));
    row(
        "heartbeat",
        link.heartbeat_rtt_us.map_or(String::new(), |rtt| {
            format!("{} there and back", format::duration(Duration::from_micros(rtt)))
        }),
    );
    row("traffic", traffic(status.traffic));
    row("newest", newest(status.traffic, now_us));
    row("outbox", outbox(status.outbox));
    row("dropped", dropped(status.sends));
    row("troubles", troubles(status.counters));
    row("log", held(status.log, &status.epoch));
    row("public", if status.public.is_empty() { String::new() } else { pretty::public(&status.public) });
    row("retained", status.retained.map_or(String::new(), retained));
    row("topics", status.subscriptions.as_ref().map_or(String::new(), topics));
    row("daemon", daemon(status));
    row("socket", clean(socket).into_owned());
    row("config", clean(status.config.file.as_deref().unwrap_or_default()).into_owned());
    row("reload", reloaded(&status.config, now_us));
    row("restart", waiting(&status.config));
    let rows = status.clients.len() as u64;
    row(
        "clients",
        match status.totals.as_ref().map_or(rows, |totals| totals.clients.max(rows)) {
            all if all > rows => format!("{}; the others' rows need the right `control`", count(all)),
            all => count(all),
        },
    );
    row("names", names(&status.names));
    if !status.clients.is_empty() {
        text.push('\n');
        clients(&status.clients, &mut text);
    }
    text
}

/// The last values that are retained.
fn retained(retained: Retained) -> String {
    let dropped = match retained.dropped {
        0 => String::new(),
        dropped => format!("; {} let go for want of room", count(dropped)),
    };
    format!(
        "{} in {} of {}{dropped}",
        counted(retained.values, "last value", "last values"),
        bytes(retained.bytes),
        bytes(retained.max_bytes)
    )
}

/// The topics that clients subscribe to, the first of them by name.
fn topics(subscriptions: &Subscriptions<'_>) -> String {
    const SHOWN: usize = 8;
    let mut text = format!("{} of {}", count(subscriptions.topics), count(subscriptions.max));
    for (at, row) in subscriptions.rows.iter().take(SHOWN).enumerate() {
        let state = match row.state.known() {
            Some(TopicState::Subscribed) => String::new(),
            _ => format!(", {}", clean(row.state.name())),
        };
        let before = if at == 0 { ": " } else { ", " };
        let _ = write!(
            text,
            "{before}{} ({}{state})",
            clean(&row.topic),
            counted(row.clients, "client", "clients")
        );
    }
    if subscriptions.rows.len() > SHOWN {
        text += ", …";
    }
    text
}

/// The names whose clients are gone, and what is kept for them.
fn names(names: &[NameRow<'_>]) -> String {
    const SHOWN: usize = 8;
    if names.is_empty() {
        return String::new();
    }
    let shown = |row: &NameRow<'_>| {
        let gone = format::duration(Duration::from_secs(row.gone_s));
        format!(
            "{} (of user {}, gone for {gone}, goes on after {})",
            clean(&row.name),
            row.uid,
            count(row.seq)
        )
    };
    let first: Vec<_> = names.iter().take(SHOWN).map(shown).collect();
    let rest = if names.len() > SHOWN { ", …" } else { "" };
    format!("{} kept: {}{rest}", count(names.len() as u64), first.join(", "))
}

fn daemon(status: &Status<'_>) -> String {
    let pid = status.pid.map_or(String::new(), |pid| format!(", process {pid}"));
    let uptime = format::duration(Duration::from_secs(status.uptime_s));
    format!("{}{pid}, running for {uptime}", clean(&status.server))
}

fn state(link: &LinkNow<'_>, now_us: u64) -> String {
    let (state, conn) = (&link.fields.state, link.fields.conn);
    let mut text = styled(state_style(state.known()), clean(state.name()));
    if link.since_us > 0 {
        let since = Duration::from_micros(now_us.saturating_sub(link.since_us));
        let _ = write!(text, " for {}", format::duration(since));
    }
    if *state == LinkState::Up {
        let _ = write!(text, ", connection {conn}");
    } else if conn > 0 {
        let _ = write!(text, ", after {}", counted(conn, "connection", "connections"));
    }
    text
}

fn upstream(link: &LinkNow<'_>) -> String {
    let mut text = clean(&link.fields.url).into_owned();
    if let Some(subprotocol) = &link.fields.subprotocol {
        let _ = write!(text, ", subprotocol {}", clean(subprotocol));
    }
    text
}

/// How the last connection or attempt ended, also when the link is up again.
fn ending(link: &LinkNow<'_>, now_us: u64) -> String {
    let Some(last) = &link.last_end else { return String::new() };
    let mut text = super::pretty::ending(&last.ended);
    if let Some(node) = last.node.as_deref().filter(|_| !text.is_empty()) {
        text = format!("on {}: {text}", clean(node));
    }
    if text.is_empty() || last.time_us == 0 {
        return text;
    }
    let ago = Duration::from_micros(now_us.saturating_sub(last.time_us));
    format!("{text}, {} ago", format::duration(ago))
}

fn next_try(link: &LinkNow<'_>, now_us: u64) -> String {
    let Some(retry) = link.fields.retry_in_ms else { return String::new() };
    let at = link.since_us.saturating_add(retry.saturating_mul(1000));
    let left = format::duration(Duration::from_micros(at.saturating_sub(now_us)));
    match link.fields.attempt {
        0 => format!("in {left}"),
        attempt => format!("in {left}, after {} in a row", counted(attempt.into(), "failure", "failures")),
    }
}

/// The failures so far, where no next try stands beside them.
fn failures(link: &LinkNow<'_>) -> String {
    let attempt = link.fields.attempt;
    if attempt == 0 || link.fields.retry_in_ms.is_some() {
        return String::new();
    }
    let count = count(attempt.into());
    match link.fields.state.known() {
        Some(LinkState::Up) => format!("{count} in a row; forgotten after a stable time up"),
        _ => format!("{count} in a row"),
    }
}

/// How the last reload ended. What it says may be of several lines.
fn reloaded(config: &Configuration<'_>, now_us: u64) -> String {
    let Some(reload) = &config.reload else { return String::new() };
    let ago = format::duration(Duration::from_micros(now_us.saturating_sub(reload.time_us)));
    let mut text = format!("{} {ago} ago", clean(reload.result.name()));
    for (at, problem) in reload.error.iter().flat_map(|error| error.lines()).enumerate() {
        let _ = write!(text, "{} {}", if at == 0 { ":" } else { ";" }, clean(problem));
    }
    text
}

/// What waits for a restart.
fn waiting(config: &Configuration<'_>) -> String {
    match config.restart.is_empty() {
        true => String::new(),
        false => format!("needed for {}", clean(&config.restart.join(", "))),
    }
}

fn outbox(outbox: Outbox) -> String {
    match outbox.waiting {
        0 => String::new(),
        waiting => format!("{} for the link", counted(waiting, "message waits", "messages wait")),
    }
}

fn dropped(sends: Sends) -> String {
    match sends.dropped {
        0 => String::new(),
        dropped => format!("{} of clients that had gone", counted(dropped, "send", "sends")),
    }
}

/// What has gone wrong so far, in words; nothing where nothing has.
fn troubles(counters: Counters) -> String {
    let Counters { link, gaps, cut_off, failed_sends: sends, upstream_gaps, .. } = counters;
    let sum = |counts: &[u64]| counts.iter().fold(0, |sum: u64, count| sum.saturating_add(*count));
    let failed = sum(&[link.refused, link.failed, link.failed_takeovers]);
    let gaps_told = sum(&[gaps.slow_client, gaps.discarded, gaps.expired, gaps.epoch, gaps.conflated]);
    let cut = sum(&[
        cut_off.slow_client,
        cut_off.discarded,
        cut_off.bad_client,
        cut_off.reconfigured,
        cut_off.stalled,
    ]);
    let unsent = sum(&[
        sends.link_down,
        sends.expired,
        sends.outbox_full,
        sends.too_large,
        sends.rate_limited,
        sends.id_taken,
        sends.bad_request,
        sends.no_value,
        sends.unknown,
    ]);
    let all = [
        (failed, counted(failed, "failed attempt", "failed attempts")),
        (link.lost, counted(link.lost, "connection lost", "connections lost")),
        (
            upstream_gaps.declared,
            format!(
                "{} of the server's ({} missing)",
                counted(upstream_gaps.declared, "gap", "gaps"),
                counted(upstream_gaps.messages, "message", "messages")
            ),
        ),
        (
            gaps_told,
            format!(
                "{} told ({} lost)",
                counted(gaps_told, "gap", "gaps"),
                counted(gaps.entries, "entry", "entries")
            ),
        ),
        (cut, counted(cut, "client cut off", "clients cut off")),
        (counters.refused_clients, counted(counters.refused_clients, "client refused", "clients refused")),
        (unsent, counted(unsent, "failed send", "failed sends")),
    ];
    all.into_iter().filter(|(count, _)| *count > 0).map(|(_, text)| text).collect::<Vec<_>>().join(", ")
}

fn newest(traffic: Traffic, now_us: u64) -> String {
    traffic.last_received_us.filter(|at| *at > 0).map_or(String::new(), |at| {
        format!("{} ago", format::duration(Duration::from_micros(now_us.saturating_sub(at))))
    })
}

fn traffic(traffic: Traffic) -> String {
    let received = counted(traffic.received, "message", "messages");
    let withheld = match traffic.withheld {
        0 => String::new(),
        some => format!(", {} of them withheld", count(some)),
    };
    format!(
        "{received} received ({}{withheld}), {} sent ({})",
        bytes(traffic.received_bytes),
        count(traffic.sent),
        bytes(traffic.sent_bytes)
    )
}

fn held(log: Held, epoch: &str) -> String {
    let held = (log.seq + 1).saturating_sub(log.oldest.max(1));
    let range = match held {
        0 => String::new(),
        _ => format!(" ({} to {})", log.oldest, log.seq),
    };
    let held = counted(held, "entry", "entries");
    let epoch = if epoch.is_empty() { "no epoch yet".into() } else { clean(epoch) };
    format!("{held} held{range}, {} of {}, {epoch}", bytes(log.bytes), bytes(log.max_bytes))
}

/// The table of clients, each column as wide as it must be.
fn clients(clients: &[ClientRow<'_>], text: &mut String) {
    const HEAD: [&str; 8] = ["CLIENT", "PID", "UID", "ENTRIES", "DELIVERED", "LOST", "PASSED", "AHEAD"];
    let rows: Vec<[String; 8]> = clients
        .iter()
        .map(|client| {
            let Ledger { entries, delivered, lost, passed, ahead } = client.ledger;
            let [entries, delivered, lost, passed, ahead] =
                [entries, delivered, lost, passed, ahead].map(count);
            [
                client.client.to_string(),
                client.pid.map_or("-".to_owned(), |pid| pid.to_string()),
                client.uid.map_or("-".to_owned(), |uid| uid.to_string()),
                entries,
                delivered,
                lost,
                passed,
                ahead,
            ]
        })
        .collect();
    let widths: [usize; 8] =
        std::array::from_fn(|i| rows.iter().map(|row| row[i].len()).fold(HEAD[i].len(), usize::max));
    for (head, width) in HEAD.iter().zip(widths) {
        let _ = write!(text, "{DIM}{head:>width$}{DIM:#}  ");
    }
    let _ = writeln!(text, "{DIM}LISTENER{DIM:#}");
    for (row, client) in rows.iter().zip(clients) {
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(text, "{cell:>width$}  ");
        }
        let raw = if client.format == "raw" { ", raw" } else { "" };
        let you = if client.you { " (this command)" } else { "" };
        let name = client.name.as_ref().map_or(String::new(), |name| format!(" as {}", clean(name)));
        let _ = writeln!(text, "{}{name}{raw}{you}", clean(&client.listener));
    }
}

#[cfg(test)]
mod tests;
