//! `wsfan status`: the link, the log, and who is connected.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    time::{Duration, Instant},
};

use serde::Deserialize;

use super::{
    client::{self, Client, Request},
    failure::{Failure, Outcome, wrote},
    format::{self, bytes, clean, count, counted},
    line::Line,
    pretty::{DIM, state_style, styled},
    target::{Need, Target},
};

mod up;

const NOTES: &str = "\
A client's entries are those in the log since it attached, and they balance: entries = delivered + lost \
+ ahead.

With --up, a script learns whether the link is up, and with --within waits for it: for the daemon to be there, \
then for the link's own lines, which needs the `receive` right.

Exit codes: 0 the daemon answered, whatever the state of its link, or with --up the link is up; 1 it didn't, or \
isn't.";

#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
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

/// The daemon's reply, as far as it is shown. What is missing in it is left out.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    server: String,
    pid: Option<u32>,
    uptime_s: u64,
    pub(super) config: Config,
    epoch: String,
    pub(super) link: Link,
    traffic: Traffic,
    outbox: Outbox,
    sends: Sends,
    pub(super) log: Log,
    totals: Option<Totals>,
    pub(super) clients: Vec<ClientStatus>,
}

/// What the daemon says of its configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Config {
    pub(super) file: Option<String>,
    pub(super) upstream: String,
    reload: Option<Reload>,
    restart: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reload {
    time_us: u64,
    result: String,
    error: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Link {
    pub(super) state: String,
    since_us: u64,
    pub(super) conn: u64,
    url: Option<String>,
    subprotocol: Option<String>,
    attempt: u64,
    retry_in_ms: Option<u64>,
    pub(super) heartbeat_rtt_us: Option<u64>,
    last_end: LastEnd,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LastEnd {
    time_us: Option<u64>,
    code: Option<u16>,
    reason: Option<String>,
    http_status: Option<u16>,
    error: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Traffic {
    received: u64,
    received_bytes: u64,
    last_received_us: Option<u64>,
    sent: u64,
    sent_bytes: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Outbox {
    waiting: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Sends {
    dropped: u64,
}

/// Sums over all clients, also those that have no row.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Totals {
    clients: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Log {
    pub(super) seq: u64,
    oldest: u64,
    bytes: u64,
    max_bytes: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ClientStatus {
    pub(super) client: u64,
    listener: String,
    format: String,
    pid: Option<u32>,
    uid: Option<u32>,
    pub(super) you: bool,
    pub(super) ledger: Ledger,
}

/// A client's balance.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Ledger {
    pub(super) entries: u64,
    pub(super) delivered: u64,
    pub(super) lost: u64,
    pub(super) ahead: u64,
}

impl Ledger {
    /// Whether nothing is unaccounted for.
    pub(super) fn balances(self) -> bool {
        self.delivered.checked_add(self.lost).and_then(|sum| sum.checked_add(self.ahead))
            == Some(self.entries)
    }
}

pub(super) fn status(args: &Args) -> Outcome {
    if args.up {
        return up::up(args);
    }
    let mut client = args.target.connect(Need::Nothing)?;
    let mut line = Vec::new();
    ask(&mut client, &mut line, Instant::now() + args.timeout)?;
    if args.json {
        return print(line);
    }
    let text = text(&parse(&line)?, &client.lines.path().display().to_string(), format::now_us());
    wrote(anstream::stdout().lock().write_all(text.as_bytes())).map(drop)
}

fn ask(client: &mut Client, line: &mut Vec<u8>, deadline: Instant) -> Outcome {
    client.ask(Request { op: "status", ..Request::default() }, line, deadline)
}

fn print(mut line: Vec<u8>) -> Outcome {
    line.push(b'\n');
    wrote(io::stdout().lock().write_all(&line)).map(drop)
}

/// Reads the daemon's reply.
pub(super) fn parse(line: &[u8]) -> Outcome<Status> {
    if let Some(error) = Line::parse(line).filter(|line| line.kind == "error") {
        return Err(Failure::failed(client::refusal(&error)));
    }
    serde_json::from_slice(line).map_err(|error| {
        Failure::failed(format!(
            "the daemon's status can't be read ({error}): use the `wsfan` that came with it, or --json"
        ))
    })
}

/// The status for people.
fn text(status: &Status, socket: &str, now_us: u64) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(text, "{DIM}{name:<10}{DIM:#} {value}");
        }
    };
    let link = &status.link;
    row("link", link.state(now_us));
    row("upstream", link.upstream());
    row("last end", link.ending(now_us));
    row("next try", link.next_try(now_us));
    row("failures", link.failures());
    row(
        "heartbeat",
        link.heartbeat_rtt_us.map_or(String::new(), |rtt| {
            format!("{} there and back", format::duration(Duration::from_micros(rtt)))
        }),
    );
    row("traffic", status.traffic.text());
    row("newest", status.traffic.age(now_us));
    row("outbox", status.outbox.text());
    row("dropped", status.sends.text());
    row("log", status.log.text(&status.epoch));
    row("daemon", status.daemon());
    row("socket", clean(socket).into_owned());
    row("config", clean(status.config.file.as_deref().unwrap_or_default()).into_owned());
    row("reload", status.config.reloaded(now_us));
    row("restart", status.config.waiting());
    let rows = status.clients.len() as u64;
    row(
        "clients",
        match status.totals.as_ref().map_or(rows, |totals| totals.clients.max(rows)) {
            all if all > rows => format!("{}; the others' rows need the right `control`", count(all)),
            all => count(all),
        },
    );
    if !status.clients.is_empty() {
        text.push('\n');
        clients(&status.clients, &mut text);
    }
    text
}

impl Status {
    fn daemon(&self) -> String {
        let pid = self.pid.map_or(String::new(), |pid| format!(", process {pid}"));
        let uptime = format::duration(Duration::from_secs(self.uptime_s));
        format!("{}{pid}, running for {uptime}", clean(&self.server))
    }
}

impl Link {
    fn state(&self, now_us: u64) -> String {
        let mut text = styled(state_style(&self.state), clean(&self.state));
        if self.since_us > 0 {
            let since = Duration::from_micros(now_us.saturating_sub(self.since_us));
            let _ = write!(text, " for {}", format::duration(since));
        }
        if self.state == "up" {
            let _ = write!(text, ", connection {}", self.conn);
        } else if self.conn > 0 {
            let _ = write!(text, ", after {}", counted(self.conn, "connection", "connections"));
        }
        text
    }

    fn upstream(&self) -> String {
        let mut text = clean(self.url.as_deref().unwrap_or_default()).into_owned();
        if let Some(subprotocol) = &self.subprotocol {
            let _ = write!(text, ", subprotocol {}", clean(subprotocol));
        }
        text
    }

    /// How the last connection or attempt ended, also when the link is up again.
    fn ending(&self, now_us: u64) -> String {
        let last = &self.last_end;
        let text = super::pretty::ending(&Line {
            error: last.error.as_deref().map(Into::into),
            code: last.code.map(super::line::Code::Close),
            reason: last.reason.as_deref().map(Into::into),
            http_status: last.http_status,
            ..Line::default()
        });
        match last.time_us {
            Some(at) if !text.is_empty() => {
                let ago = Duration::from_micros(now_us.saturating_sub(at));
                format!("{text}, {} ago", format::duration(ago))
            }
            _ => text,
        }
    }

    fn next_try(&self, now_us: u64) -> String {
        let Some(retry) = self.retry_in_ms else { return String::new() };
        let at = self.since_us.saturating_add(retry.saturating_mul(1000));
        let left = format::duration(Duration::from_micros(at.saturating_sub(now_us)));
        match self.attempt {
            0 => format!("in {left}"),
            attempt => format!("in {left}, after {} in a row", counted(attempt, "failure", "failures")),
        }
    }

    /// The failures so far, where no next try stands beside them.
    fn failures(&self) -> String {
        match (self.attempt, &*self.state) {
            (0, _) => String::new(),
            _ if self.retry_in_ms.is_some() => String::new(),
            (attempt, "up") => format!("{} in a row; forgotten after a stable time up", count(attempt)),
            (attempt, _) => format!("{} in a row", count(attempt)),
        }
    }
}

impl Config {
    /// How the last reload ended. What it says may be of several lines.
    fn reloaded(&self, now_us: u64) -> String {
        let Some(reload) = &self.reload else { return String::new() };
        let ago = format::duration(Duration::from_micros(now_us.saturating_sub(reload.time_us)));
        let mut text = format!("{} {ago} ago", clean(&reload.result));
        for (at, problem) in reload.error.iter().flat_map(|error| error.lines()).enumerate() {
            let _ = write!(text, "{} {}", if at == 0 { ":" } else { ";" }, clean(problem));
        }
        text
    }

    /// What waits for a restart.
    fn waiting(&self) -> String {
        match self.restart.is_empty() {
            true => String::new(),
            false => format!("needed for {}", clean(&self.restart.join(", "))),
        }
    }
}

impl Outbox {
    fn text(&self) -> String {
        match self.waiting {
            0 => String::new(),
            waiting => format!("{} for the link", counted(waiting, "message waits", "messages wait")),
        }
    }
}

impl Sends {
    fn text(&self) -> String {
        match self.dropped {
            0 => String::new(),
            dropped => format!("{} of clients that had gone", counted(dropped, "send", "sends")),
        }
    }
}

impl Traffic {
    fn age(&self, now_us: u64) -> String {
        self.last_received_us.filter(|at| *at > 0).map_or(String::new(), |at| {
            format!("{} ago", format::duration(Duration::from_micros(now_us.saturating_sub(at))))
        })
    }

    fn text(&self) -> String {
        let received = counted(self.received, "message", "messages");
        format!(
            "{received} received ({}), {} sent ({})",
            bytes(self.received_bytes),
            count(self.sent),
            bytes(self.sent_bytes)
        )
    }
}

impl Log {
    fn text(&self, epoch: &str) -> String {
        let held = (self.seq + 1).saturating_sub(self.oldest.max(1));
        let range = match held {
            0 => String::new(),
            _ => format!(" ({} to {})", self.oldest, self.seq),
        };
        let held = counted(held, "entry", "entries");
        format!("{held} held{range}, {} of {}, {}", bytes(self.bytes), bytes(self.max_bytes), clean(epoch))
    }
}

/// The table of clients, each column as wide as it must be.
fn clients(clients: &[ClientStatus], text: &mut String) {
    const HEAD: [&str; 7] = ["CLIENT", "PID", "UID", "ENTRIES", "DELIVERED", "LOST", "AHEAD"];
    let number = |number: Option<u32>| number.map_or("-".to_owned(), |number| number.to_string());
    let rows: Vec<[String; 7]> = clients
        .iter()
        .map(|client| {
            let Ledger { entries, delivered, lost, ahead } = client.ledger;
            let [entries, delivered, lost, ahead] = [entries, delivered, lost, ahead].map(count);
            [
                client.client.to_string(),
                number(client.pid),
                number(client.uid),
                entries,
                delivered,
                lost,
                ahead,
            ]
        })
        .collect();
    let widths: [usize; 7] =
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
        let _ = writeln!(text, "{}{raw}{you}", clean(&client.listener));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str, now_us: u64) -> String {
        let text = text(&parse(line.as_bytes()).unwrap(), "/run/w.sock", now_us);
        anstream::adapter::strip_str(&text).to_string()
    }

    #[test]
    fn a_link_that_is_up() {
        let line = r#"{"type":"status","id":1,"server":"wsfan/0.1.0","pid":1234,"uptime_s":3700,"epoch":"9f2c51d0","link":{"state":"up","since_us":1000000,"conn":3,"url":"wss://host/path","subprotocol":"v2","attempt":0,"heartbeat_rtt_us":23400},"traffic":{"received":41000,"received_bytes":2097152,"sent":1,"sent_bytes":10,"last_received_us":12000000},"outbox":{"waiting":2},"sends":{"dropped":3},"config":{"file":"/etc/wsfan/wsfan.toml","upstream":"wss://host/path","reload":{"time_us":10000000,"result":"refused","error":"/etc/wsfan/wsfan.toml:3: bad\nand worse"},"restart":["log.format"]},"totals":{"clients":9},"log":{"seq":41823,"oldest":40800,"bytes":1048576,"max_bytes":67108864},"clients":[{"client":7,"listener":"/run/w.sock","format":"envelope","pid":1300,"uid":0,"you":true,"ledger":{"entries":0,"delivered":0,"lost":0,"ahead":0},"unread_reply_bytes":0},{"client":12,"listener":"/run/r.sock","format":"raw","ledger":{"entries":1700,"delivered":1600,"lost":90,"ahead":10}}]}"#;
        let text = "\
link       up for 12 s, connection 3
upstream   wss://host/path, subprotocol v2
heartbeat  23 ms there and back
traffic    41,000 messages received (2.0 MiB), 1 sent (10 B)
newest     1 s ago
outbox     2 messages wait for the link
dropped    3 sends of clients that had gone
log        1,024 entries held (40800 to 41823), 1.0 MiB of 64.0 MiB, 9f2c51d0
daemon     wsfan/0.1.0, process 1234, running for 1h 1m
socket     /run/w.sock
config     /etc/wsfan/wsfan.toml
reload     refused 3 s ago: /etc/wsfan/wsfan.toml:3: bad; and worse
restart    needed for log.format
clients    9; the others' rows need the right `control`

CLIENT   PID  UID  ENTRIES  DELIVERED  LOST  AHEAD  LISTENER
     7  1300    0        0          0     0      0  /run/w.sock (this command)
    12     -    -    1,700      1,600    90     10  /run/r.sock, raw
";
        assert_eq!(shown(line, 13_000_000), text);
    }

    #[test]
    fn a_link_that_waits() {
        let line = r#"{"type":"status","link":{"state":"waiting","since_us":1000000,"conn":2,"url":"ws://h/","http_status":503,"error":"the server refused","attempt":4,"retry_in_ms":5000,"last_end":{"time_us":1000000,"http_status":503,"error":"the server refused"}},"log":{"seq":0,"oldest":1}}"#;
        let text = shown(line, 3_000_000);
        for part in [
            "link       waiting for 2 s, after 2 connections\n",
            "last end   the server refused, HTTP 503, 2 s ago\n",
            "next try   in 3 s, after 4 failures in a row\n",
            "log        0 entries held, ",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn failures_without_a_next_try() {
        let line = r#"{"type":"status","link":{"state":"up","conn":2,"attempt":6}}"#;
        let text = shown(line, 0);
        assert!(text.contains("failures   6 in a row; forgotten after a stable time up\n"), "{text}");
        assert!(!text.contains("next try"), "{text}");
    }

    #[test]
    fn what_is_no_status_is_a_failure() {
        assert!(parse(br#"{"type":"error","id":1,"code":"forbidden","message":"no"}"#).is_err());
        assert!(parse(b"[").is_err());
    }

    #[test]
    fn a_ledger_balances_or_not() {
        let ledger = Ledger { entries: 10, delivered: 7, lost: 2, ahead: 1 };
        assert!(ledger.balances());
        assert!(!Ledger { ahead: 2, ..ledger }.balances());
        assert!(!Ledger { lost: u64::MAX, ..ledger }.balances());
    }
}
