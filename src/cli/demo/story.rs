//! What the demo shows: the client's lines as they come, and between them what happens behind them.

use std::{
    io::{self, Write},
    path::Path,
    time::Duration,
};

use super::{server::Act, tally::Tally};
use crate::cli::{
    failure::{Failure, Outcome},
    format::{self, counted},
    line::Line,
    pretty::{DIM, Pretty, styled},
    status::{self, Ledger, Status},
};

/// The ids of the client's requests.
const ATTACH: u64 = 1;
const ORDER: u64 = 2;
const STATUS: u64 = 3;
const LEDGER: u64 = 4;

/// After so many messages the client sends one itself.
const ORDER_AFTER: u64 = 5;

/// A request that the story wants made: the line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wish(pub(super) String);

pub(super) struct Story<W> {
    out: W,
    pretty: Pretty,
    tally: Tally,
    /// Entries count from when the client is where it wants to be in the log.
    attached: bool,
    messages: u64,
    connections: u64,
    faults: u64,
    /// The server has a token that it hasn't seen yet.
    renewed: bool,
    /// When the link went down.
    down_us: Option<u64>,
    ledger: Option<Ledger>,
}

impl<W: Write> Story<W> {
    pub(super) fn new(out: W) -> Story<W> {
        Story {
            out,
            pretty: Pretty::new(format::now_us()),
            tally: Tally::default(),
            attached: false,
            messages: 0,
            connections: 0,
            faults: 0,
            renewed: false,
            down_us: None,
            ledger: None,
        }
    }

    /// What this is, and how to join in.
    pub(super) fn opening(&mut self, duration: Duration, config: &str, socket: &Path) -> io::Result<()> {
        let end = match duration.is_zero() {
            true => "until Ctrl-C".to_owned(),
            false => format!("for {}, or until Ctrl-C", format::duration(duration)),
        };
        let socket = socket.display();
        writeln!(
            self.out,
            "A built-in server with prices and faults, the real daemon in front of it, and a client of its \
             socket, {end}.\n\nThe daemon's whole config:\n"
        )?;
        for line in config.lines() {
            let indented = if line.is_empty() { String::new() } else { styled(DIM, format!("    {line}")) };
            writeln!(self.out, "{indented}")?;
        }
        writeln!(
            self.out,
            "\nJoin in from another terminal while it runs:\n\n    wsfan tail --socket {socket}\n    \
             wsfan send --socket {socket} hello\n    nc -U {socket}\n"
        )?;
        self.out.flush()
    }

    /// Tells what the server did.
    pub(super) fn act(&mut self, act: &Act) -> io::Result<()> {
        let sentence = match act {
            Act::Login => {
                self.connections += 1;
                match self.connections {
                    1 => "the daemon calls, and the server lets it in: the token from the file is right",
                    _ if std::mem::take(&mut self.renewed) => {
                        "the server lets the daemon in, with the new token"
                    }
                    _ => "the server lets the daemon in again",
                }
            }
            Act::Unauthorized => "the server answers 401: that isn't the token it wants",
            Act::Refused => "the server answers the next attempt with 503: it is busy",
            Act::Dropped => "the server drops the connection without a word",
            Act::Restarted => {
                "the server restarts, and wants another token from now on; the daemon will find it in the file"
            }
            Act::Silent => {
                "the server falls silent, and keeps the connection: only the heartbeat can tell that it is dead"
            }
        };
        self.renewed |= *act == Act::Restarted;
        if matches!(act, Act::Refused | Act::Dropped | Act::Restarted | Act::Silent) {
            self.faults += 1;
        }
        self.note(sentence)
    }

    /// Shows a line of the daemon, and may wish for something in return.
    pub(super) fn line(&mut self, line: &[u8]) -> io::Result<Option<Wish>> {
        let Some(parsed) = Line::parse(line) else {
            self.show(line)?;
            return Ok(None);
        };
        if let (Some(seq), true) = (parsed.seq, matches!(&*parsed.kind, "message" | "link")) {
            if !self.attached {
                return Ok(None);
            }
            self.tally.entry(seq);
        }
        match &*parsed.kind {
            "hello" => {
                self.show(line)?;
                self.note("the client asks for all that the log holds, from its first entry on")?;
                let epoch = serde_json::Value::from(&*parsed.epoch);
                let since = format!(r#""since":{{"epoch":{epoch},"seq":0}}"#);
                Ok(Some(request("attach", ATTACH, &since)))
            }
            "message" => {
                self.show(line)?;
                self.message(&parsed)
            }
            "link" => {
                self.show(line)?;
                self.link(&parsed)?;
                Ok(None)
            }
            "gap" => {
                if self.attached {
                    self.tally.gap(parsed.from, parsed.to);
                }
                self.show(line)?;
                Ok(None)
            }
            "ok" if parsed.replies_to(ATTACH) => {
                self.attached = true;
                Ok(None)
            }
            "ok" if parsed.replies_to(ORDER) => {
                self.note("the daemon tells its fate: written to the upstream")?;
                Ok(None)
            }
            "status" => {
                self.status(&parsed, line)?;
                Ok(None)
            }
            _ => {
                self.show(line)?;
                Ok(None)
            }
        }
    }

    fn message(&mut self, message: &Line<'_>) -> io::Result<Option<Wish>> {
        self.messages += 1;
        if message.json.is_some_and(|json| json.get() == r#"{"op":"pong"}"#) {
            return Ok(Some(request("status", STATUS, "")));
        }
        if self.messages == ORDER_AFTER {
            self.note("the client sends an order through the same socket")?;
            let order = r#""json":{"op":"order","id":"demo-1","symbol":"BTC-USD","size":"0.01"}"#;
            return Ok(Some(request("send", ORDER, order)));
        }
        Ok(None)
    }

    fn link(&mut self, link: &Line<'_>) -> io::Result<()> {
        let Some(time_us) = link.time_us else { return Ok(()) };
        match &*link.state {
            "up" => {
                if let Some(down_us) = self.down_us.take() {
                    let gone = Duration::from_micros(time_us.saturating_sub(down_us));
                    self.note(&format!(
                        "back after {}, and no client had to do a thing",
                        format::duration(gone)
                    ))?;
                }
            }
            // before the first connection the link is not down: it wasn't up yet
            _ if link.conn > 0 => {
                self.down_us.get_or_insert(time_us);
            }
            _ => {}
        }
        Ok(())
    }

    fn status(&mut self, reply: &Line<'_>, line: &[u8]) -> io::Result<()> {
        let Ok(status) = status::parse(line) else { return self.show(line) };
        if reply.replies_to(LEDGER) {
            self.ledger = Some(own(&status).unwrap_or_default());
            return Ok(());
        }
        match status.link.heartbeat_rtt_us {
            Some(rtt) => {
                let rtt = format::duration(Duration::from_micros(rtt));
                self.note(&format!("that was the answer to a heartbeat: {rtt} there and back"))
            }
            None => Ok(()),
        }
    }

    /// The request whose answer ends the story.
    pub(super) fn ask_for_ledger(&self) -> String {
        request("status", LEDGER, "").0
    }

    /// Whether that answer is there.
    pub(super) fn has_ledger(&self) -> bool {
        self.ledger.is_some()
    }

    /// The end: what the daemon counted, and what the client did.
    pub(super) fn closing(&mut self) -> io::Result<()> {
        let Ledger { entries, delivered, lost, ahead } = self.ledger.unwrap_or_default();
        let tally = self.tally.sentence();
        let faults = match self.faults {
            0 => String::new(),
            faults => format!(", in spite of {}", counted(faults, "fault", "faults")),
        };
        writeln!(
            self.out,
            "\n{} over {}{faults}.\nThe daemon's ledger for this client before the stop: {entries} entries = \
             {delivered} delivered + {lost} lost + {ahead} ahead.\nBy its own count, {tally}.\n\nNow with your \
             server: a config with one line under [upstream], url = \"wss://…\", is whole.\n\n    \
             wsfan check --config wsfan.toml\n    wsfan run --config wsfan.toml",
            counted(self.messages, "message", "messages"),
            counted(self.connections, "connection", "connections"),
        )?;
        self.out.flush()
    }

    /// A failure if anything is unaccounted for.
    pub(super) fn verdict(&self) -> Outcome {
        let balanced = self.ledger.is_none_or(Ledger::balances);
        match balanced && self.tally.is_whole() {
            true => Ok(()),
            false => {
                Err(Failure::failed("the counts don't balance, which is a fault of wsfan: please report it"))
            }
        }
    }

    fn show(&mut self, line: &[u8]) -> io::Result<()> {
        let text = self.pretty.line(line);
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    fn note(&mut self, sentence: &str) -> io::Result<()> {
        writeln!(self.out, "{}", styled(DIM, format!("  » {sentence}")))?;
        self.out.flush()
    }
}

/// The line of a request; `fields` are more of its members.
fn request(op: &str, id: u64, fields: &str) -> Wish {
    let comma = if fields.is_empty() { "" } else { "," };
    Wish(format!(r#"{{"op":"{op}","id":{id}{comma}{fields}}}"#))
}

fn own(status: &Status) -> Option<Ledger> {
    status.clients.iter().find(|client| client.you).map(|client| client.ledger)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[&str]) -> (Story<Vec<u8>>, Vec<String>) {
        let mut story = Story::new(Vec::new());
        let wishes = lines.iter().filter_map(|line| story.line(line.as_bytes()).unwrap());
        let wishes = wishes.map(|Wish(request)| request).collect();
        (story, wishes)
    }

    fn text(story: &Story<Vec<u8>>) -> String {
        anstream::adapter::strip_str(std::str::from_utf8(&story.out).unwrap()).to_string()
    }

    const HELLO: &str = r#"{"type":"hello","protocol":1,"server":"wsfan/0","epoch":"ab","seq":3,"oldest":1,"link":"up","client":1}"#;
    const ATTACHED: &str = r#"{"type":"ok","id":1,"result":"attached","seq":0}"#;

    #[test]
    fn entries_count_from_the_attach_on() {
        let (story, wishes) = told(&[
            HELLO,
            r#"{"type":"message","seq":4,"time_us":1,"json":1}"#,
            ATTACHED,
            r#"{"type":"link","seq":1,"time_us":1,"state":"connecting","conn":0}"#,
            r#"{"type":"message","seq":2,"time_us":1,"json":1}"#,
        ]);
        assert!(wishes[0].contains(r#""since":{"epoch":"ab","seq":0}"#), "{wishes:?}");
        assert_eq!(story.tally, {
            let mut tally = Tally::default();
            tally.entry(1);
            tally.entry(2);
            tally
        });
        assert_eq!(story.messages, 1);
    }

    #[test]
    fn a_heartbeat_is_explained() {
        let pong = r#"{"type":"message","seq":1,"time_us":1,"json":{"op":"pong"}}"#;
        let status = r#"{"type":"status","id":3,"link":{"state":"up","heartbeat_rtt_us":310}}"#;
        let (story, wishes) = told(&[HELLO, ATTACHED, pong, status]);
        assert!(wishes[1].contains(r#""op":"status""#), "{wishes:?}");
        assert!(text(&story).contains("0.31 ms there and back"), "{}", text(&story));
    }

    #[test]
    fn a_return_is_timed() {
        let link = |seq, time_us, state, conn| {
            format!(r#"{{"type":"link","seq":{seq},"time_us":{time_us},"state":"{state}","conn":{conn}}}"#)
        };
        let lines = [
            link(1, 0, "connecting", 0),
            link(2, 1, "up", 1),
            link(3, 1_000_000, "waiting", 1),
            link(4, 1_500_000, "connecting", 1),
            link(5, 2_200_000, "up", 2),
        ];
        let mut all = vec![HELLO, ATTACHED];
        all.extend(lines.iter().map(String::as_str));
        let (story, _) = told(&all);
        assert_eq!(text(&story).matches("back after").count(), 1);
        assert!(text(&story).contains("back after 1.2 s"), "{}", text(&story));
    }

    #[test]
    fn counts_that_do_not_balance_are_a_failure() {
        let reply = |delivered| {
            format!(
                r#"{{"type":"status","id":4,"clients":[{{"you":true,"ledger":{{"entries":5,"delivered":{delivered},"lost":0,"ahead":1}}}}]}}"#
            )
        };
        assert_eq!(told(&[HELLO, ATTACHED, &reply(4)]).0.verdict(), Ok(()));
        assert!(told(&[HELLO, ATTACHED, &reply(3)]).0.verdict().is_err());
        let (mut story, _) = told(&[HELLO, ATTACHED, r#"{"type":"message","seq":7,"json":1}"#, &reply(4)]);
        assert!(story.has_ledger());
        story.closing().unwrap();
        assert!(text(&story).contains("5 entries = 4 delivered + 0 lost + 1 ahead"), "{}", text(&story));
    }
}
