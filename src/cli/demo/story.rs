//! What the demo shows: the trader's lines as they come, and between them what happens behind them.

use std::{
    env,
    io::{self, Write},
    path::Path,
    time::{Duration, Instant},
};

use super::{
    cast::{Part, Who},
    server::{Act, BURST, SLICE},
};
use crate::cli::{
    failure::{Failure, Outcome},
    format::{self, counted},
    line::Line,
    pretty::{DIM, Pretty, TOLD, styled},
    status::{self, Ledger},
};

/// The ids of the programs' requests.
const ATTACH: u64 = 1;
const ORDER: u64 = 2;
const STATUS: u64 = 3;
const LEDGER: u64 = 4;

/// After so many messages the trader sends one itself.
const ORDER_AFTER: u64 = 5;

/// No line is longer.
const COLUMNS: usize = 80;

/// What the story wants done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Do {
    /// Write this line.
    Ask(Who, String),
    /// Read no further.
    Sleep(Who),
    /// Read on.
    Wake(Who),
    /// Let the server know that so much of the burst has come through.
    SendMore(u64),
}

pub(super) struct Story<W> {
    out: W,
    pretty: Pretty,
    cast: [Part; 3],
    messages: u64,
    connections: u64,
    faults: u64,
    /// The server has a token that it hasn't seen yet.
    renewed: bool,
    /// When the link went down.
    down_us: Option<u64>,
    burst: Burst,
}

/// How far the burst has come.
enum Burst {
    Ahead,
    /// How many prices the trader and the logger have had of it, those that they were too slow for
    /// included.
    Now {
        since: Instant,
        had: [u64; 2],
        lost: bool,
    },
    Over,
}

impl<W: Write> Story<W> {
    pub(super) fn new(out: W) -> Story<W> {
        Story {
            out,
            pretty: Pretty::new(format::now_us()),
            cast: Default::default(),
            messages: 0,
            connections: 0,
            faults: 0,
            renewed: false,
            down_us: None,
            burst: Burst::Ahead,
        }
    }

    /// What this is, and how to join in.
    pub(super) fn opening(&mut self, duration: Duration, config: &str, socket: &Path) -> io::Result<()> {
        let end = match duration.is_zero() {
            true => "until Ctrl-C".to_owned(),
            false => format!("for {}, or until Ctrl-C", format::duration(duration)),
        };
        self.paragraph(&format!(
            "A built-in server with prices and faults, the real daemon in front of it, and three programs at \
             its socket, {end}: a trader, a logger, and a sleeper that stops reading.\n\nThe daemon's whole \
             config:"
        ))?;
        writeln!(self.out)?;
        for line in config.lines() {
            let indented = if line.is_empty() { String::new() } else { styled(DIM, format!("    {line}")) };
            writeln!(self.out, "{indented}")?;
        }
        let (socket, wsfan) = (socket.display(), own_command());
        writeln!(
            self.out,
            "\nJoin in from another terminal while it runs:\n\n    export WSFAN_SOCKET={socket}\n    {wsfan} \
             tail\n    {wsfan} send hello\n    nc -U $WSFAN_SOCKET\n"
        )?;
        self.out.flush()
    }

    /// Tells what the server did.
    pub(super) fn act(&mut self, act: &Act) -> io::Result<()> {
        let burst = format!("the server sends {} prices at once", format::count(BURST));
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
            Act::Burst => {
                self.burst = Burst::Now { since: Instant::now(), had: [0; 2], lost: false };
                &burst
            }
        };
        self.renewed |= *act == Act::Restarted;
        if matches!(act, Act::Refused | Act::Dropped | Act::Restarted | Act::Silent) {
            self.faults += 1;
        }
        self.note(sentence)
    }

    /// Takes a line of the daemon's to one of the programs, and may want something done.
    pub(super) fn line(&mut self, who: Who, line: &[u8]) -> io::Result<Vec<Do>> {
        let trader = who == Who::Trader;
        let Some(parsed) = Line::parse(line) else {
            self.show(line)?;
            return Ok(Vec::new());
        };
        let part = &mut self.cast[who as usize];
        match (&*parsed.kind, parsed.seq) {
            ("hello", _) => {
                part.greeted(parsed.client);
                if trader {
                    self.show(line)?;
                    self.note("each program asks for all that the log holds, from its first entry on")?;
                }
                let epoch = serde_json::Value::from(&*parsed.epoch);
                let since = format!(r#""since":{{"epoch":{epoch},"seq":0}}"#);
                return Ok(vec![Do::Ask(who, request("attach", ATTACH, &since))]);
            }
            ("ok", _) if parsed.replies_to(ATTACH) => part.attach(),
            ("ok", _) if parsed.replies_to(ORDER) => {
                self.note("the daemon tells its fate: written to the upstream")?;
            }
            ("message", Some(seq)) if part.entry(seq) => return self.message(who, &parsed, line),
            ("link", Some(seq)) if part.entry(seq) && trader => return self.link(&parsed, line),
            ("message" | "link", Some(_)) => {}
            ("gap", None) if part.gap(parsed.from, parsed.to) => {
                self.note(&format!("the daemon tells the {} what it missed:", who.name()))?;
                self.show(line)?;
                return self.in_burst(who, parsed.to + 1 - parsed.from, true);
            }
            ("status", _) => self.status(&parsed, line)?,
            _ if trader => self.show(line)?,
            _ => {}
        }
        Ok(Vec::new())
    }

    fn message(&mut self, who: Who, message: &Line<'_>, line: &[u8]) -> io::Result<Vec<Do>> {
        let heartbeat = message.json.is_some_and(|json| json.get() == r#"{"op":"pong"}"#);
        if let (Burst::Now { .. }, false) = (&self.burst, heartbeat) {
            self.messages += u64::from(who == Who::Trader);
            return self.in_burst(who, 1, false);
        }
        if who != Who::Trader {
            return Ok(Vec::new());
        }
        self.messages += 1;
        let text = self.pretty.line(line);
        let plain = anstream::adapter::strip_str(&text).to_string();
        writeln!(self.out, "{}", styled(DIM, plain.trim_end()))?;
        self.out.flush()?;
        if heartbeat {
            return Ok(vec![Do::Ask(who, request("status", STATUS, ""))]);
        }
        if self.messages == ORDER_AFTER {
            self.note("the trader sends an order through the same socket")?;
            let order = r#""json":{"op":"order","id":"demo-1","symbol":"BTC-USD","size":"0.01"}"#;
            return Ok(vec![Do::Ask(who, request("send", ORDER, order))]);
        }
        Ok(Vec::new())
    }

    /// Counts a program's part of the burst, and tells when two have had all of it, and the third nothing.
    fn in_burst(&mut self, who: Who, prices: u64, are_lost: bool) -> io::Result<Vec<Do>> {
        let Burst::Now { since, had, lost } = &mut self.burst else { return Ok(Vec::new()) };
        let Some(own) = had.get_mut(who as usize) else { return Ok(Vec::new()) };
        *own += prices;
        *lost |= are_lost;
        let through = had[0].min(had[1]);
        if through < BURST {
            let is_due = through.is_multiple_of(SLICE) || are_lost;
            return Ok(if is_due { vec![Do::SendMore(through)] } else { Vec::new() });
        }
        let within = format::duration(since.elapsed());
        let sentence = match lost {
            false => format!(
                "the trader and the logger had all of them within {within}: the sleeper held up nobody, and \
                 wakes now"
            ),
            true => format!("that took {within}, and was too fast for all here; the sleeper wakes now"),
        };
        self.burst = Burst::Over;
        self.note(&sentence)?;
        Ok(vec![Do::Wake(Who::Sleeper)])
    }

    fn link(&mut self, link: &Line<'_>, line: &[u8]) -> io::Result<Vec<Do>> {
        self.show(line)?;
        let Some(time_us) = link.time_us else { return Ok(Vec::new()) };
        match &*link.state {
            "up" => {
                if let Some(down_us) = self.down_us.take() {
                    let gone = Duration::from_micros(time_us.saturating_sub(down_us));
                    self.note(&format!(
                        "back after {}, and no program had to do a thing",
                        format::duration(gone)
                    ))?;
                }
                if self.connections == 2 && matches!(self.burst, Burst::Ahead) {
                    self.note("the sleeper reads no further from here on")?;
                    return Ok(vec![Do::Sleep(Who::Sleeper)]);
                }
            }
            // before the first connection the link is not down: it wasn't up yet
            _ if link.conn > 0 => {
                self.down_us.get_or_insert(time_us);
            }
            _ => {}
        }
        Ok(Vec::new())
    }

    fn status(&mut self, reply: &Line<'_>, line: &[u8]) -> io::Result<()> {
        let Ok(status) = status::parse(line) else { return self.show(line) };
        if reply.replies_to(LEDGER) {
            self.cast.iter_mut().for_each(|part| part.count(&status));
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
        request("status", LEDGER, "")
    }

    /// Whether that answer is there.
    pub(super) fn has_ledger(&self) -> bool {
        self.cast.iter().all(|part| part.ledger.is_some())
    }

    /// The end: what the daemon counted, and what the programs did.
    pub(super) fn closing(&mut self) -> io::Result<()> {
        let faults = match self.faults {
            0 => String::new(),
            faults => format!(", in spite of {}", counted(faults, "fault", "faults")),
        };
        writeln!(
            self.out,
            "\n{} over {}{faults}.\n\nThe daemon's ledger before the stop, and each program's own count after \
             it:\n",
            counted(self.messages, "message", "messages"),
            counted(self.connections, "connection", "connections"),
        )?;
        for who in Who::ALL {
            let part = &self.cast[who as usize];
            let Ledger { entries, delivered, lost, ahead } = part.ledger.unwrap_or_default();
            let own = textwrap::Options::new(COLUMNS)
                .initial_indent("           ")
                .subsequent_indent("           ");
            writeln!(
                self.out,
                "  {:<8} {entries} entries = {delivered} delivered + {lost} lost + {ahead} ahead\n{}",
                who.name(),
                textwrap::fill(&part.tally.sentence(), own)
            )?;
        }
        writeln!(
            self.out,
            "\nNow with your server: one line under [upstream], url = \"wss://…\", is a whole\nconfig.\n\n    \
             {0} check --config wsfan.toml\n    {0} run --config wsfan.toml",
            own_command()
        )?;
        self.out.flush()
    }

    /// A failure if anything is unaccounted for.
    pub(super) fn verdict(&self) -> Outcome {
        match self.cast.iter().all(Part::is_whole) {
            true => Ok(()),
            false => {
                Err(Failure::failed("the counts don't balance, which is a fault of wsfan: please report it"))
            }
        }
    }

    fn show(&mut self, line: &[u8]) -> io::Result<()> {
        let wrapped = textwrap::Options::new(COLUMNS).subsequent_indent("                         ");
        for text in self.pretty.line(line).lines() {
            writeln!(self.out, "{}", textwrap::fill(text, &wrapped))?;
        }
        self.out.flush()
    }

    fn note(&mut self, sentence: &str) -> io::Result<()> {
        let wrapped = textwrap::Options::new(COLUMNS).initial_indent("  » ").subsequent_indent("    ");
        writeln!(self.out, "{}", styled(TOLD, textwrap::fill(sentence, wrapped)))?;
        self.out.flush()
    }

    fn paragraph(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{}", textwrap::fill(text, COLUMNS))
    }
}

/// The line of a request; `fields` are more of its members.
fn request(op: &str, id: u64, fields: &str) -> String {
    let comma = if fields.is_empty() { "" } else { "," };
    format!(r#"{{"op":"{op}","id":{id}{comma}{fields}}}"#)
}

/// How this program is called from where it was started: by its name where that finds it.
fn own_command() -> String {
    let Ok(own) = env::current_exe() else { return "wsfan".to_owned() };
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|directory| directory.join("wsfan")).find(|file| file.exists());
    if found.is_some_and(|found| found.canonicalize().is_ok_and(|found| found == own)) {
        return "wsfan".to_owned();
    }
    let here = env::current_dir().ok().and_then(|here| own.strip_prefix(here).ok());
    here.unwrap_or(&own).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[&str]) -> (Story<Vec<u8>>, Vec<String>) {
        let mut story = Story::new(Vec::new());
        let wishes = lines.iter().flat_map(|line| story.line(Who::Trader, line.as_bytes()).unwrap());
        let wishes = wishes.map(|wish| match wish {
            Do::Ask(Who::Trader, request) => request,
            other => panic!("{other:?}"),
        });
        let wishes = wishes.collect();
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
        assert_eq!(story.cast[0].tally, {
            let mut tally = super::super::tally::Tally::default();
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
                r#"{{"type":"status","id":4,"clients":[{{"client":1,"ledger":{{"entries":5,"delivered":{delivered},"lost":0,"ahead":1}}}}]}}"#
            )
        };
        assert_eq!(told(&[HELLO, ATTACHED, &reply(4)]).0.verdict(), Ok(()));
        assert!(told(&[HELLO, ATTACHED, &reply(3)]).0.verdict().is_err());
        let (mut story, _) = told(&[HELLO, ATTACHED, r#"{"type":"message","seq":7,"json":1}"#, &reply(4)]);
        assert!(story.has_ledger());
        story.closing().unwrap();
        assert!(text(&story).contains("5 entries = 4 delivered + 0 lost + 1 ahead"), "{}", text(&story));
    }

    #[test]
    fn who_sleeps_through_a_burst_hears_what_it_missed() {
        let mut story = Story::new(Vec::new());
        let hello = |who: Who| HELLO.replace(r#""client":1"#, &format!(r#""client":{}"#, who as u64 + 1));
        let mut wishes = Vec::new();
        for who in Who::ALL {
            story.line(who, hello(who).as_bytes()).unwrap();
            story.line(who, ATTACHED.as_bytes()).unwrap();
        }
        story.act(&Act::Login).unwrap();
        story.act(&Act::Login).unwrap();
        let up = r#"{"type":"link","seq":1,"time_us":1,"state":"up","conn":2}"#;
        for who in Who::ALL {
            wishes.extend(story.line(who, up.as_bytes()).unwrap());
        }
        story.act(&Act::Burst).unwrap();
        for seq in 2..2 + BURST {
            let line = format!(r#"{{"type":"message","seq":{seq},"time_us":1,"json":{{"price":"1"}}}}"#);
            for who in [Who::Trader, Who::Logger] {
                wishes.extend(story.line(who, line.as_bytes()).unwrap());
            }
        }
        wishes.retain(|wish| !matches!(wish, Do::SendMore(_)));
        assert_eq!(wishes, [Do::Sleep(Who::Sleeper), Do::Wake(Who::Sleeper)]);
        let gap =
            format!(r#"{{"type":"gap","from":2,"to":{0},"count":{BURST},"why":"slow_client"}}"#, BURST + 1);
        story.line(Who::Sleeper, gap.as_bytes()).unwrap();
        assert!(text(&story).contains("tells the sleeper what it missed"), "{}", text(&story));
        assert!(text(&story).contains("the sleeper held up"), "{}", text(&story));
        assert!(!text(&story).contains("\"price\""), "the burst itself isn't shown");
        assert!(story.cast.iter().all(Part::is_whole));
        assert_eq!(story.messages, BURST);
    }

    #[test]
    fn no_line_is_longer_than_a_terminal_is_wide() {
        let mut story = Story::new(Vec::new());
        let config = "[upstream]\nurl = \"ws://127.0.0.1:1/\"";
        story
            .opening(Duration::from_secs(20), config, Path::new("/tmp/wsfan-demo-1234567/wsfan.sock"))
            .unwrap();
        for act in [Act::Login, Act::Dropped, Act::Refused, Act::Restarted, Act::Silent, Act::Burst] {
            story.act(&act).unwrap();
        }
        for line in [
            HELLO,
            ATTACHED,
            r#"{"type":"message","seq":4,"time_us":1,"json":{"symbol":"BTC-USD","price":"97243.99","size":"1.007"}}"#,
            r#"{"type":"link","seq":5,"time_us":1,"state":"waiting","conn":1,"http_status":503,"error":"the server answered 503 Service Unavailable: the service is unavailable for now","attempt":2,"retry_in_ms":111}"#,
        ] {
            story.line(Who::Trader, line.as_bytes()).unwrap();
        }
        story.closing().unwrap();
        let text = text(&story);
        let own = own_command();
        for line in text.lines().filter(|line| !line.contains(&own)) {
            assert!(line.chars().count() <= COLUMNS, "{line}");
        }
    }
}
