//! A protocol line as coloured text for a terminal. Pure: the caller's stream drops the colours where
//! they don't belong.

use std::{fmt::Write as _, time::Duration};

use anstyle::{AnsiColor, Color, Style};

use super::format::{self, clean, counted};
use crate::protocol::{
    Ended, FailoverGap, Gap, Hello, Line, Link, LinkState, Message, PublicValues, UpstreamGap, Why,
};

pub(super) const DIM: Style = Style::new().dimmed();
pub(super) const TOLD: Style = Style::new().bold();
const KEY: Style = fg(AnsiColor::Cyan);
pub(super) const GOOD: Style = fg(AnsiColor::Green).bold();
pub(super) const BUSY: Style = fg(AnsiColor::Yellow).bold();
pub(super) const BAD: Style = fg(AnsiColor::Red).bold();
const LOUD: Style = BAD.invert();

const fn fg(color: AnsiColor) -> Style {
    Style::new().fg_color(Some(Color::Ansi(color)))
}

/// Text in a style.
pub(super) fn styled(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// The colour of a link's state.
pub(super) fn state_style(state: Option<LinkState>) -> Style {
    match state {
        Some(LinkState::Up) => GOOD,
        Some(LinkState::Connecting | LinkState::Waiting) => BUSY,
        Some(LinkState::Failed | LinkState::Closed) | None => BAD,
    }
}

/// Turns lines into text. It remembers the day, so that a date is shown when it changes, and the
/// last entry.
#[derive(Debug)]
pub(super) struct Pretty {
    day: u64,
    /// The last entry that was shown.
    last: Option<u64>,
}

impl Pretty {
    /// Starts on the day of this time.
    pub(super) fn new(now_us: u64) -> Pretty {
        Pretty { day: format::day(now_us), last: None }
    }

    /// The text for a line, with its end; a line that isn't understood is shown as it is.
    pub(super) fn line(&mut self, line: &[u8]) -> String {
        let Some(parsed) = Line::parse(line) else {
            return format!("{}\n", clean(&String::from_utf8_lossy(line)));
        };
        let mut text = String::new();
        if let Some(time_us) = parsed.time_us() {
            self.time(time_us, &mut text);
            // a restated link has a time and no place in the log
            match parsed.seq() {
                Some(seq) => write!(text, "{DIM}{seq:>6}{DIM:#}  "),
                None => write!(text, "{DIM}{:>6}{DIM:#}  ", "-"),
            }
            .expect("a String takes all");
        }
        match &parsed {
            Line::Message(line) => message(line, &mut text),
            Line::Link(line) => link(line, &mut text),
            Line::Hello(line) => hello(line, &mut text),
            Line::Gap(line) => gap(&self.lost(line), line.from.zip(line.to), &mut text),
            Line::UpstreamGap(line) => gap(&never_came(line), Some((line.from, line.to)), &mut text),
            Line::FailoverGap(line) => gap(&taken_over(line), None, &mut text),
            Line::Bye(line) => {
                let _ = write!(text, "{BUSY}the daemon says bye{BUSY:#} ({})", clean(line.why.name()));
            }
            Line::Error(line) => {
                let (message, name) = (clean(&line.message), clean(line.code.name()));
                let _ = write!(text, "{BAD}error{BAD:#} {message} ({name})");
            }
            Line::Public(line) => text.push_str(&public(&line.public)),
            Line::Snapshot(line) => {
                let dropped = match line.dropped {
                    0 => String::new(),
                    dropped => format!("; {dropped} were let go for want of room"),
                };
                let _ = write!(text, "{DIM}{} last values{DIM:#}{dropped}", line.count);
            }
            Line::Ok(_) | Line::Answer(_) | Line::Status(_) | Line::Other(_) => {
                text.push_str(&clean(&String::from_utf8_lossy(line)));
            }
        }
        text.push('\n');
        let is_old = matches!(&parsed, Line::Message(Message { snapshot: true, .. }));
        if let (Some(seq), Some(_), false) = (parsed.seq(), parsed.time_us(), is_old) {
            self.last = Some(seq);
        }
        text
    }

    /// What a `gap` line says, in a clause; of a restart with the entry that is the last one seen.
    fn lost(&self, line: &Gap<'_>) -> String {
        match (line.why.known(), self.last) {
            (Some(Why::Epoch), Some(last)) => restarted(line, &format!("it had after entry {last}")),
            _ => lost(line),
        }
    }

    fn time(&mut self, time_us: u64, text: &mut String) {
        let day = format::day(time_us);
        if day != self.day {
            self.day = day;
            let _ = writeln!(text, "{DIM}── {} ──{DIM:#}", format::date(day));
        }
        let _ = write!(text, "{DIM}{}{DIM:#}  ", format::clock(time_us));
    }
}

/// JSON in colour, on one line.
pub(super) fn payload(payload: &str) -> String {
    let mut text = String::with_capacity(payload.len());
    json(&clean_json(payload), &mut text);
    text
}

/// The values of public captures.
pub(super) fn public(values: &PublicValues) -> String {
    let all = values.0.iter().map(|(name, value)| format!("{} = {}", clean(name), clean(value.get())));
    match values.is_empty() {
        true => "no public capture has a value".to_owned(),
        false => all.collect::<Vec<_>>().join(", "),
    }
}

fn message(line: &Message<'_>, text: &mut String) {
    if line.snapshot {
        let _ = write!(text, "{DIM}last{DIM:#}  ");
    }
    if let Some(topic) = line.topic.as_deref().filter(|topic| !topic.is_empty()) {
        let _ = write!(text, "{KEY}{}{KEY:#}  ", clean(topic));
    }
    if let Some(payload) = line.json {
        json(&clean_json(payload.get()), text);
    } else if let Some(payload) = &line.text {
        text.push_str(&clean(payload));
    } else if let Some(payload) = &line.binary {
        let bytes = payload.len() / 4 * 3 - payload.bytes().rev().take_while(|b| *b == b'=').count().min(2);
        let _ = write!(text, "{DIM}binary, {}:{DIM:#} {}", format::bytes(bytes as u64), clean(payload));
    }
}

/// JSON without the blanks between its tokens but for one after a comma, and its keys in colour. It is
/// never parsed: numbers, order and duplicate keys are shown as they came.
fn json(payload: &str, text: &mut String) {
    let mut rest = payload;
    while let Some(c) = rest.chars().next() {
        let token = if c == '"' { string_end(rest) } else { c.len_utf8() };
        let (token, after) = rest.split_at(token);
        rest = after;
        match c {
            ' ' | '\t' => {}
            '"' if after.trim_start_matches([' ', '\t']).starts_with(':') => {
                text.push_str(&styled(KEY, token));
            }
            ',' => text.push_str(", "),
            _ => text.push_str(token),
        }
    }
}

/// Where the string that `text` begins with ends, its quotes included.
fn string_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

/// JSON has no bare control characters below a blank, but may have others.
fn clean_json(payload: &str) -> std::borrow::Cow<'_, str> {
    match payload.contains(['\n', '\r', '\t']) {
        true => clean(&payload.replace(['\n', '\r', '\t'], " ")).into_owned().into(),
        false => clean(payload),
    }
}

fn hello(line: &Hello<'_>, text: &mut String) {
    let style = state_style(line.link.known());
    let held = (line.seq + 1).saturating_sub(line.oldest);
    let _ = write!(
        text,
        "{DIM}{}{}, {}, {} held, client {}, link{DIM:#} {style}{}{style:#}",
        clean(&line.server),
        member(line),
        if line.epoch.is_empty() { "no log yet".to_owned() } else { format!("log {}", clean(&line.epoch)) },
        counted(held, "entry", "entries"),
        line.client,
        clean(line.link.name()),
    );
}

/// Which machine of which cluster this is, and what it is there.
fn member(line: &Hello<'_>) -> String {
    let Some(cluster) = &line.cluster else { return String::new() };
    let node = clean(line.node.as_deref().unwrap_or_default());
    format!(" on {node} ({} in {})", clean(cluster.state.name()), clean(&cluster.name))
}

fn link(line: &Link<'_>, text: &mut String) {
    let link = &line.fields;
    // one that is restated tells how it is, not that it came to be so
    let is = if line.seq.is_none() { " is" } else { "" };
    let state = link.state.known();
    // one comes with each retry, and says little
    if state == Some(LinkState::Connecting) {
        let to = if link.url.is_empty() { "" } else { " to " };
        let _ = write!(text, "{DIM}link{is} connecting{to}{}{}{DIM:#}", clean(&link.url), holder(line));
        return;
    }
    let style = state_style(state);
    let _ = write!(text, "{style}link{is} {}{style:#}", clean(link.state.name()));
    if state == Some(LinkState::Up) {
        let _ = write!(text, ", connection {}{}", link.conn, holder(line));
        return;
    }
    let after = ending(&link.ended);
    if let Some(why) = closed_here(&link.ended).filter(|_| state == Some(LinkState::Closed)) {
        let _ = write!(text, " by wsfan ({why})");
    } else if !after.is_empty() {
        let _ = write!(text, ": {after}");
    }
    if link.attempt > 1 {
        let _ = write!(text, ", {} failures in a row", link.attempt);
    }
    if let Some(retry) = link.retry_in_ms {
        let _ = write!(text, ", next attempt in {}", format::duration(Duration::from_millis(retry)));
    }
}

/// Which machine of a cluster has the link.
fn holder(line: &Link<'_>) -> String {
    let Some(node) = &line.fields.node else { return String::new() };
    let term = line.fields.term.map_or(String::new(), |term| format!(", term {term}"));
    format!(", on {}{term}", clean(node))
}

/// How the last connection or attempt ended: the daemon's sentence, and the codes that it doesn't name.
pub(super) fn ending(ended: &Ended<'_>) -> String {
    const NO_CLOSE_FRAME: u16 = 1006; // says nothing that a sentence doesn't
    if let Some(why) = closed_here(ended) {
        return format!("closed by wsfan ({why})");
    }
    let error = ended.error.as_deref().unwrap_or_default();
    let mut parts = vec![clean(error).into_owned()];
    match ended.code {
        Some(NO_CLOSE_FRAME) if !error.is_empty() => {}
        Some(code) if !error.contains(&code.to_string()) => parts.push(format!("close code {code}")),
        _ => {}
    }
    if let Some(reason) = ended.reason.as_deref().filter(|reason| !error.contains(reason)) {
        parts.push(format!("“{}”", clean(reason)));
    }
    if let Some(status) = ended.http_status.filter(|status| !error.contains(&status.to_string())) {
        parts.push(format!("HTTP {status}"));
    }
    parts.retain(|part| !part.is_empty());
    parts.join(", ")
}

/// Why wsfan closed a connection that nothing was wrong with; none if it didn't. What a server closes has
/// an error that says so.
fn closed_here(ended: &Ended<'_>) -> Option<&'static str> {
    if ended.error.is_some() {
        return None;
    }
    match (ended.code, ended.reason.as_deref()) {
        (Some(1000), Some("close")) => Some("close"),
        (Some(1000), Some("reconnect")) => Some("reconnect"),
        (Some(1000), Some("reconfigured")) => Some("reconfigured"),
        (Some(1001), Some("shutdown")) => Some("shutdown"),
        _ => None,
    }
}

fn gap(said: &str, range: Option<(u64, u64)>, text: &mut String) {
    let _ = write!(text, "{LOUD} GAP {LOUD:#} {BAD}{said}{BAD:#}");
    if let Some((from, to)) = range {
        let _ = write!(text, " ({from} to {to})");
    }
}

/// What a `gap` line says, in a clause.
pub(super) fn lost(line: &Gap<'_>) -> String {
    let count = counted(line.count.unwrap_or_default(), "entry", "entries");
    match line.why.known() {
        Some(Why::SlowClient) => format!("{count} lost, as this reader was too slow"),
        Some(Why::Discarded) => format!("{count} lost, as they were gone before they came to this daemon"),
        Some(Why::Conflated) => format!("{count} left out, as this reader lagged and newer ones follow"),
        Some(Why::Expired) => format!("{count} lost, as they are no longer held"),
        // nobody knows how many the other log had
        Some(Why::Epoch) => restarted(line, "its earlier log had"),
        Some(Why::Upstream | Why::Failover) | None => format!("{count} lost ({})", clean(line.why.name())),
    }
}

fn restarted(line: &Gap<'_>, what: &str) -> String {
    let more = if line.to.is_some() { ", and some of what it has now" } else { "" };
    format!("the daemon was restarted: what {what} and you haven't seen is lost{more}")
}

/// What a `gap` line with a `seq` says, in a clause.
pub(super) fn never_came(line: &UpstreamGap<'_>) -> String {
    let count = match line.count {
        Some(count) => counted(count, "message", "messages"),
        None => {
            let most = line.to.saturating_sub(line.from).saturating_add(1);
            format!("up to {}", counted(most, "message", "messages"))
        }
    };
    let per = line.per.as_ref().map(|per| format!(" of {}", clean(per.get()))).unwrap_or_default();
    format!("{count}{per} never came from the server, by its own numbers")
}

/// What a `gap` line says that a term of a cluster begins with, in a clause.
pub(super) fn taken_over(line: &FailoverGap<'_>) -> String {
    let seconds = line.time_us.saturating_sub(line.after_us) as f64 / 1e6;
    format!(
        "another machine takes over the link: what the server said since the entry before ({seconds:.1} s), and says until \
         the link is up, is lost"
    )
}

#[cfg(test)]
mod tests;
