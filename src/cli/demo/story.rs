//! What the demo shows: the trader's lines as they come, and between them what happens behind them.

use std::{
    env,
    io::{self, Write},
    path::Path,
    time::{Duration, Instant},
};

use serde_json::value::{RawValue, to_raw_value};

use super::{
    cast::{Actor, Role},
    server::{Act, BURST, FAULTS, SLICE},
};
use crate::{
    cli::{
        failure::{Failure, Outcome},
        format::{self, counted},
        pretty::{DIM, Pretty, TOLD, styled},
        reply,
    },
    protocol::{Attach, Content, Ledger, Line, Link, LinkState, Message, Op, Request, Since},
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
    Ask(Actor, String),
    /// Read no further.
    Sleep(Actor),
    /// Read on.
    Wake(Actor),
    /// Let the server know that so much of the burst has come through.
    SendMore(u64),
}

pub(super) struct Story<W> {
    out: W,
    pretty: Pretty,
    cast: [Role; 3],
    messages: u64,
    connections: u64,
    faults: u64,
    /// The server has a token that it hasn't seen yet.
    renewed: bool,
    /// When the link went down.
    down_us: Option<u64>,
    burst: BurstProgress,
    /// The trader has sent its order.
    ordered: bool,
    /// The sleeper was told to sleep.
    slept: bool,
    /// The link was up again after the last fault.
    mended: bool,
}

/// How far the burst has come.
enum BurstProgress {
    Ahead,
    /// How many prices the trader and the logger have had of it, those that they were too slow for
    /// included.
    Now {
        since: Instant,
        had: [u64; 2],
        lost: bool,
    },
    /// The sleeper has caught up when it has had this entry.
    Over {
        entry: u64,
    },
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
            burst: BurstProgress::Ahead,
            ordered: false,
            slept: false,
            mended: false,
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

    /// Whether all was seen once: the order, each fault and the way back, the burst, and what the sleeper
    /// missed of it.
    pub(super) fn is_told(&self) -> bool {
        let BurstProgress::Over { entry } = self.burst else { return false };
        let has_woken = self.cast[Actor::Sleeper as usize].last() >= entry;
        self.ordered && self.faults >= FAULTS.len() as u64 && self.mended && has_woken
    }

    /// The time is over, and not all was seen.
    pub(super) fn goes_on(&mut self) -> io::Result<()> {
        self.note("not all was seen by now: it goes on until it is, or until Ctrl-C")
    }

    /// Tells what the server did, and may want something done.
    pub(super) fn act(&mut self, act: &Act) -> io::Result<Vec<Do>> {
        let mut wishes = Vec::new();
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
                wishes.extend(self.sleep()?); // on a busy machine it may not have been time before
                wishes.push(Do::SendMore(0));
                self.burst = BurstProgress::Now { since: Instant::now(), had: [0; 2], lost: false };
                &burst
            }
        };
        self.renewed |= *act == Act::Restarted;
        if matches!(act, Act::Refused | Act::Dropped | Act::Restarted | Act::Silent) {
            self.faults += 1;
            self.mended = false;
        }
        self.note(sentence)?;
        Ok(wishes)
    }

    /// Lets the sleeper sleep, once.
    fn sleep(&mut self) -> io::Result<Option<Do>> {
        if std::mem::replace(&mut self.slept, true) {
            return Ok(None);
        }
        self.note("the sleeper reads no further from here on")?;
        Ok(Some(Do::Sleep(Actor::Sleeper)))
    }

    /// Takes a line of the daemon's to one of the programs, and may want something done.
    pub(super) fn line(&mut self, who: Actor, line: &[u8]) -> io::Result<Vec<Do>> {
        let trader = who == Actor::Trader;
        let Some(parsed) = Line::parse(line) else {
            self.show(line)?;
            return Ok(Vec::new());
        };
        let role = &mut self.cast[who as usize];
        let replies_to = |id| parsed.replies_to(id);
        match &parsed {
            Line::Hello(hello) => {
                role.greeted(hello.client);
                if trader {
                    self.show(line)?;
                    self.note("each program asks for all that the log holds, from its first entry on")?;
                }
                let since = Some(Since { epoch: (&*hello.epoch).into(), seq: 0 });
                return Ok(vec![Do::Ask(
                    who,
                    request(Op::Attach(Attach { since, ..Attach::default() }), ATTACH),
                )]);
            }
            Line::Ok(_) if replies_to(ATTACH) => role.attach(),
            Line::Ok(_) if replies_to(ORDER) => {
                self.note("the daemon tells its fate: written to the upstream")?;
            }
            Line::Message(message) if role.entry(message.seq) => return self.message(who, message, line),
            Line::Link(link) if link.seq.is_some_and(|seq| role.entry(seq)) && trader => {
                return self.link(link, line);
            }
            Line::Message(_) | Line::Link(Link { seq: Some(_), .. }) => {}
            Line::Gap(gap) if gap.from.zip(gap.to).is_some_and(|(from, to)| role.gap(from, to)) => {
                self.note(&format!("the daemon tells the {} what it missed:", who.name()))?;
                self.show(line)?;
                return self.in_burst(who, gap.count.unwrap_or_default(), true);
            }
            Line::Status(_) => self.status(&parsed, line)?,
            _ if trader => self.show(line)?,
            _ => {}
        }
        Ok(Vec::new())
    }

    fn message(&mut self, who: Actor, message: &Message<'_>, line: &[u8]) -> io::Result<Vec<Do>> {
        let heartbeat = message.json.is_some_and(|json| json.get() == r#"{"op":"pong"}"#);
        if let (BurstProgress::Now { .. }, false) = (&self.burst, heartbeat) {
            self.messages += u64::from(who == Actor::Trader);
            return self.in_burst(who, 1, false);
        }
        if who != Actor::Trader {
            return Ok(Vec::new());
        }
        self.messages += 1;
        let text = self.pretty.line(line);
        let plain = anstream::adapter::strip_str(&text).to_string();
        writeln!(self.out, "{}", styled(DIM, plain.trim_end()))?;
        self.out.flush()?;
        if heartbeat {
            return Ok(vec![Do::Ask(who, request(Op::Status, STATUS))]);
        }
        if self.messages >= ORDER_AFTER && !std::mem::replace(&mut self.ordered, true) {
            self.note("the trader sends an order through the same socket")?;
            let order = r#"{"op":"order","id":"demo-1","symbol":"BTC-USD","size":"0.01"}"#;
            let order: &RawValue = serde_json::from_str(order)?;
            return Ok(vec![Do::Ask(who, request(Op::Send(Content::Json(order)), ORDER))]);
        }
        Ok(Vec::new())
    }

    /// Counts a program's part of the burst, and tells when two have had all of it, and the third nothing.
    fn in_burst(&mut self, who: Actor, prices: u64, are_lost: bool) -> io::Result<Vec<Do>> {
        let BurstProgress::Now { since, had, lost } = &mut self.burst else { return Ok(Vec::new()) };
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
        self.burst = BurstProgress::Over { entry: self.cast[Actor::Trader as usize].last() };
        self.note(&sentence)?;
        Ok(vec![Do::SendMore(through), Do::Wake(Actor::Sleeper)])
    }

    fn link(&mut self, link: &Link<'_>, line: &[u8]) -> io::Result<Vec<Do>> {
        self.show(line)?;
        let time_us = link.time_us;
        match link.fields.state.known() {
            Some(LinkState::Up) => {
                self.mended = true;
                if let Some(down_us) = self.down_us.take() {
                    let gone = Duration::from_micros(time_us.saturating_sub(down_us));
                    self.note(&format!(
                        "back after {}, and no program had to do a thing",
                        format::duration(gone)
                    ))?;
                }
                if link.fields.conn >= 2 {
                    return Ok(self.sleep()?.into_iter().collect());
                }
            }
            // before the first connection the link is not down: it wasn't up yet
            _ if link.fields.conn > 0 => {
                self.down_us.get_or_insert(time_us);
            }
            _ => {}
        }
        Ok(Vec::new())
    }

    fn status(&mut self, reply: &Line<'_>, line: &[u8]) -> io::Result<()> {
        let Ok(status) = reply::parse(line) else { return self.show(line) };
        if reply.replies_to(LEDGER) {
            self.cast.iter_mut().for_each(|role| role.count(&status));
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
        request(Op::Status, LEDGER)
    }

    /// Whether that answer is there.
    pub(super) fn has_ledger(&self) -> bool {
        self.cast.iter().all(|role| role.ledger.is_some())
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
        for who in Actor::ALL {
            let role = &self.cast[who as usize];
            let Ledger { entries, delivered, lost, ahead, .. } = role.ledger.unwrap_or_default();
            let own = textwrap::Options::new(COLUMNS)
                .initial_indent("           ")
                .subsequent_indent("           ");
            writeln!(
                self.out,
                "  {:<8} {entries} entries = {delivered} delivered + {lost} lost + {ahead} ahead\n{}",
                who.name(),
                textwrap::fill(&role.tally.sentence(), own)
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
        match self.cast.iter().all(Role::is_whole) {
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

/// The line of a request.
fn request(op: Op<'_>, id: u64) -> String {
    let id = to_raw_value(&id).expect("a number is plain data");
    String::from_utf8(Request { id: Some(&id), op, expand: false }.write()).expect("JSON is UTF-8")
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
mod tests;
