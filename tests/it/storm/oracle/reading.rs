//! What each client read: every entry in its turn, or a gap in its place; answers; and how it ended.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    super::{
        payload::{EACH, message, raw_number},
        record::{Life, Record, Session},
    },
    Faults, Head, Logs, Places, head, parse, shown,
};

/// Puts together what all clients saw of each life's log, which must be the same.
pub(super) fn logs<'a>(record: &'a Record, faults: &mut Faults) -> Logs<'a> {
    let mut logs = Logs::new();
    for life in &record.lives {
        logs.insert(&life.epoch, BTreeMap::new());
    }
    for session in record.sessions.iter().filter(|session| !session.raw) {
        let Some(hello) = session.lines.first() else { continue };
        let epoch = parse(hello)["epoch"].as_str().unwrap_or_default().to_owned();
        let Some(life) = record.lives.iter().find(|life| life.epoch == epoch) else {
            faults.add(format!("hello: session {} began with {}", session.number, shown(hello)));
            continue;
        };
        let log = logs.get_mut(life.epoch.as_str()).expect("every life has a log");
        for line in &session.lines {
            if let Head::Entry(seq) = head(line) {
                let first = log.entry(seq).or_insert(line);
                faults.check(first == line, || {
                    format!("entries: {epoch} {seq} is both {} and {}", shown(first), shown(line))
                });
            }
        }
    }
    logs
}

pub(super) fn judge(record: &Record, logs: &Logs, places: &Places, faults: &mut Faults) {
    let mut said = RawLines::new();
    for session in &record.sessions {
        if session.raw {
            raw(record, session, places, &mut said, faults);
        } else if let Some((hello, lines)) = session.lines.split_first() {
            let hello = parse(hello);
            let Some(log) = hello["epoch"].as_str().and_then(|epoch| logs.get(epoch)) else { continue };
            let mut walk = Walk {
                record,
                session,
                faults,
                newest: log.last_key_value().map_or(0, |(seq, _)| *seq),
                expected: hello["seq"].as_u64().unwrap_or(0) + 1,
                received: 0,
                link_due: false,
                epoch_gap_due: false,
                pings: 0,
                refused: false,
                ended: None,
                hello,
            };
            lines.iter().for_each(|line| walk.line(line));
            walk.end();
        }
    }
}

/// One session's lines, one after the other.
struct Walk<'a> {
    record: &'a Record,
    session: &'a Session,
    faults: &'a mut Faults,
    hello: Value,
    /// The newest entry of the log that anybody saw.
    newest: u64,
    /// The next entry.
    expected: u64,
    received: u64,
    /// A gap was declared; the link's state follows.
    link_due: bool,
    /// It attached to another life.
    epoch_gap_due: bool,
    pings: u64,
    /// There was no room for its line.
    refused: bool,
    ended: Option<String>,
}

impl Walk<'_> {
    fn wrong(&mut self, kind: &str, what: &str) {
        let Session { number, what: who, .. } = self.session;
        self.faults.add(format!("{kind}: session {number} ({who}): {what}"));
    }

    fn line(&mut self, line: &[u8]) {
        if let Some(why) = self.ended.clone() {
            return self.wrong("bye", &format!("after bye ({why}) it got {}", shown(line)));
        }
        match head(line) {
            Head::Entry(seq) => {
                if seq != self.expected || self.link_due || self.epoch_gap_due {
                    let (expected, due) = (self.expected, (self.link_due, self.epoch_gap_due));
                    self.wrong("order", &format!("it got entry {seq} and not {expected}, {due:?} being due"));
                }
                self.expected = seq + 1;
                self.received += 1;
                (self.link_due, self.epoch_gap_due) = (false, false);
            }
            Head::Other => self.other(&parse(line), line),
        }
    }

    fn other(&mut self, line: &Value, bytes: &[u8]) {
        let id = line["id"].as_str().unwrap_or_default();
        match line["type"].as_str().unwrap_or_default() {
            "gap" => self.gap(line),
            "link" if self.link_due => self.link_due = false,
            "ok" if id == "t" => self.attached(line),
            "ok" if id.starts_with('p') => {
                if id != format!("p{}", self.pings) {
                    self.wrong("answers", &format!("{id} was answered in the place of p{}", self.pings));
                }
                self.pings += 1;
            }
            "ok" | "error" if self.session.sends.contains_key(id) => {}
            "error" if line["code"] == "no_room" => self.no_room(),
            "status" if id.starts_with('q') => self.status(line),
            "bye" => self.ended = Some(line["why"].as_str().unwrap_or_default().to_owned()),
            "" | "message" | "link" | "ok" | "error" | "status" | "hello" => {
                self.wrong("lines", &format!("nothing led to {}", shown(bytes)));
            }
            // of a later version
            _ => {}
        }
    }

    fn gap(&mut self, gap: &Value) {
        let number = |name: &str| gap[name].as_u64();
        let (from, to) = (number("from").unwrap_or(0), number("to").unwrap_or(0));
        if std::mem::take(&mut self.epoch_gap_due) {
            if gap["why"] != "epoch" {
                self.wrong("gap", &format!("it attached to another life, and was told {gap}"));
            }
        } else {
            let may = match gap["why"].as_str() {
                Some("slow_client") => self.record.slow_client == "gap",
                Some("expired") => !self.session.attaches.is_empty(),
                _ => false,
            };
            if !may
                || from != self.expected
                || to < from
                || number("count") != Some((to + 1).wrapping_sub(from))
            {
                self.wrong("gap", &format!("{gap} where entry {} was next", self.expected));
            }
        }
        self.expected = to + 1;
        self.link_due = true;
    }

    fn attached(&mut self, answer: &Value) {
        let Some((epoch, since)) = self.session.attaches.get("t").cloned() else {
            return self.wrong("answers", "it never attached");
        };
        if self.hello["epoch"] == epoch.as_str() {
            if answer["seq"].as_u64() < Some(since) {
                self.wrong("attach", &format!("after {since} it goes on at {answer}"));
            }
            self.expected = since + 1;
        } else {
            self.epoch_gap_due = true;
        }
    }

    fn status(&mut self, status: &Value) {
        if !balances(status) {
            self.wrong("ledger", &format!("one doesn't balance in {status}"));
        }
        for client in status["clients"].as_array().into_iter().flatten() {
            let of = |name: &str| client["ledger"][name].as_u64().unwrap_or(u64::MAX);
            if client["you"] == true
                && (of("delivered") > self.received || client["client"] != self.hello["client"])
            {
                let received = self.received;
                self.wrong("ledger", &format!("it has got {received} entries, and is told {client}"));
            }
        }
    }

    fn end(&mut self) {
        let life = self.record.lives.iter().find(|life| self.hello["epoch"] == life.epoch.as_str());
        let killed = life.is_none_or(|life| life.killed);
        match self.ended.as_deref() {
            Some("shutdown") => {
                if killed || self.epoch_gap_due || self.expected != self.newest + 1 {
                    let (expected, newest) = (self.expected, self.newest);
                    self.wrong(
                        "bye",
                        &format!("it was told `shutdown` before {expected}, and {newest} was the last"),
                    );
                }
            }
            Some("slow_client") if self.record.slow_client != "gap" => {}
            Some("bad_client") if self.refused => {}
            None if self.session.left || killed || life.is_some_and(|life| self.is_cut(life)) => {}
            ended => {
                let ended = format!("{ended:?}");
                self.wrong("end", &format!("its connection ended with {ended}, without cause"));
            }
        }
    }

    /// Whether the daemon logged that it cut this client off.
    fn is_cut(&self, life: &Life) -> bool {
        let client = format!("client={}", self.hello["client"]);
        let is_cut = |line: &str| {
            let cut = line.contains("disconnected a client that had stopped reading")
                || (line.contains("cut off a client") && line.contains("why=\"slow_client\""));
            cut && line.split_whitespace().any(|word| word == client)
        };
        life.log.lines().any(is_cut)
    }

    /// There is no room for what it has begun. That may be its own doing only if this takes an equal share at
    /// least, as the most does when there is no room. Its buffer may be twice as large.
    fn no_room(&mut self) {
        let share = self.record.unfinished.map(|most| most / self.record.clients);
        if share.is_none_or(|share| 2 * self.session.written < share) {
            let written = self.session.written;
            self.wrong(
                "room",
                &format!("it wrote {written} bytes and was refused, {share:?} being its share"),
            );
        }
        self.refused = true;
    }
}

/// Whether all ledgers in a value balance, of one client or over several.
fn balances(value: &Value) -> bool {
    let of = |name: &str| value.get(name).and_then(Value::as_u64);
    let passed = of("passed").unwrap_or_default();
    let own = match (of("entries"), of("delivered"), of("lost"), of("ahead")) {
        (Some(entries), Some(delivered), Some(lost), Some(ahead)) => {
            entries == delivered + lost + passed + ahead
        }
        _ => true,
    };
    own && match value {
        Value::Object(fields) => fields.values().all(balances),
        Value::Array(values) => values.iter().all(balances),
        _ => true,
    }
}

/// Messages as a raw listener says them, by number: made once for all clients.
type RawLines = BTreeMap<u64, Vec<u8>>;

/// A raw listener's lines: each message after the one before, byte for byte.
fn raw(record: &Record, session: &Session, places: &Places, said: &mut RawLines, faults: &mut Faults) {
    let mut of_connections = BTreeMap::<u64, u64>::new();
    let mut last_place: Option<(usize, usize)> = None;
    for line in &session.lines {
        let is_said = |number: &u64| {
            let said = said.entry(*number).or_insert_with(|| message(record.seed, *number).raw_line());
            said == line
        };
        let number = raw_number(line).filter(is_said);
        let Some(number) = number else {
            faults.add(format!(
                "raw: session {} got what the server never said: {}",
                session.number,
                shown(line)
            ));
            return;
        };
        let (from, at) = (number / EACH, number % EACH);
        let follows = match of_connections.insert(from, at) {
            Some(last) => at == last + 1,
            // two connections may have been under way when it came
            None => at == 0 || of_connections.len() <= 1 + usize::from(record.rotates),
        };
        // nothing that others got is left out
        let place = places.get(&number).copied();
        let in_turn = match (last_place, place) {
            (Some((life, at)), Some(now)) => now == (life, at + 1),
            _ => true,
        };
        last_place = place.or(last_place);
        faults.check(follows && in_turn, || {
            format!("raw: session {} got {number} out of its turn, after {of_connections:?}", session.number)
        });
    }
}
