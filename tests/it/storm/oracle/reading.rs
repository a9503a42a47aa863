//! What each client read: every entry in its turn, or a gap in its place; answers; and how it ended.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use serde_json::Value;

use super::{
    super::{
        payload::{EACH, message, raw_number},
        record::{Attach, Life, Record, Session},
        shared::is_answer,
        topics::{Taste, kept},
    },
    Entry, Faults, Head, Logs, Places, head, parse, shown,
};

/// For so long the daemon tries to give the last words to a client that it cuts off.
const LAST_WORDS: Duration = Duration::from_secs(1);

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
                let first = log.entry(seq).or_insert_with(|| Entry { line, topic: topic(line) });
                faults.check(first.line == line, || {
                    format!("entries: {epoch} {seq} is both {} and {}", shown(first.line), shown(line))
                });
            }
        }
    }
    logs
}

/// The topic in a message's line. Those of a storm are written without escapes.
fn topic(line: &[u8]) -> Option<Option<&str>> {
    let rest = line.strip_prefix(b"{\"type\":\"message\"")?;
    let mut fields = rest[..rest.len().min(400)].splitn(4, |byte| *byte == b',').skip(3);
    let topic = fields.next().and_then(|field| field.strip_prefix(b"\"topic\":\""));
    let topic = topic.and_then(|topic| topic.split(|byte| *byte == b'"').next());
    Some(topic.map(|topic| std::str::from_utf8(topic).unwrap_or("not a topic of a storm's")))
}

pub(super) fn judge(record: &Record, logs: &Logs, places: &Places, faults: &mut Faults) {
    let mut said = RawLines::new();
    for session in &record.sessions {
        if session.raw {
            raw(record, session, places, &mut said, faults);
        } else if let Some((hello, lines)) = session.lines.split_first() {
            let hello = parse(hello);
            let Some(log) = hello["epoch"].as_str().and_then(|epoch| logs.get(epoch)) else { continue };
            let start = hello["seq"].as_u64().unwrap_or(0);
            let mut walk = Walk {
                record,
                session,
                faults,
                log,
                newest: log.last_key_value().map_or(0, |(seq, _)| *seq),
                taste: Taste { of_listener: session.taste.clone(), own: None },
                since: Some(start),
                gaps: Vec::new(),
                expected: start + 1,
                received: 0,
                link_due: false,
                is_back: false,
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
    log: &'a BTreeMap<u64, Entry<'a>>,
    /// What it wants now.
    taste: Taste,
    /// The entry after which its ledger begins, where that can be known.
    since: Option<u64>,
    /// What it was told since then that it has lost.
    gaps: Vec<RangeInclusive<u64>>,
    /// The newest entry of the log that anybody saw.
    newest: u64,
    /// The next entry.
    expected: u64,
    received: u64,
    /// A gap was declared; the link's state follows.
    link_due: bool,
    /// It has just come back by a name, and may hear what of its place is gone.
    is_back: bool,
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
                let follows = self.is_next(seq) && self.is_wanted(seq);
                if !follows || self.link_due || self.epoch_gap_due {
                    let (expected, due) = (self.expected, (self.link_due, self.epoch_gap_due));
                    self.wrong("order", &format!("it got entry {seq} and not {expected}, {due:?} being due"));
                }
                self.is_back = false;
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
            "error" if line["code"] == "name_taken" && self.session.attaches.contains_key(id) => {}
            "ok" if id.starts_with('t') => self.attached(id, line),
            "ok" if id.starts_with('p') => {
                if id != format!("p{}", self.pings) {
                    self.wrong("answers", &format!("{id} was answered in the place of p{}", self.pings));
                }
                self.pings += 1;
            }
            "ok" | "error" if self.session.sends.contains_key(id) => {}
            "ok" | "error" | "answer" if self.session.calls.contains_key(id) => {}
            "ok" | "error" if self.session.units.contains_key(id) => {}
            "ok" | "error" if self.session.subs.contains_key(id) => {}
            "error" if !self.session.subs.is_empty() && line["topics"].is_array() => {}
            "ok" | "error" if self.session.cancels.contains_key(id) => {}
            "error" if line["code"] == "no_room" => self.no_room(),
            "status" if id.starts_with('q') => self.status(line),
            "bye" => self.ended = Some(line["why"].as_str().unwrap_or_default().to_owned()),
            "" | "message" | "link" | "answer" | "ok" | "error" | "status" | "hello" => {
                self.wrong("lines", &format!("nothing led to {}", shown(bytes)));
            }
            // of a later version
            _ => {}
        }
    }

    /// Whether nothing that it wants lies between what it has and this entry.
    fn is_next(&self, seq: u64) -> bool {
        match self.taste.is_all() {
            true => seq == self.expected,
            false => seq >= self.expected && !(self.expected..seq).any(|seq| self.is_wanted_and_seen(seq)),
        }
    }

    fn is_wanted(&self, seq: u64) -> bool {
        self.log.get(&seq).is_none_or(|entry| entry.is_wanted(&self.taste))
    }

    fn is_wanted_and_seen(&self, seq: u64) -> bool {
        self.log.get(&seq).is_some_and(|entry| entry.is_wanted(&self.taste))
    }

    fn gap(&mut self, gap: &Value) {
        let number = |name: &str| gap[name].as_u64();
        let (from, to) = (number("from").unwrap_or(0), number("to").unwrap_or(0));
        let is_back = std::mem::take(&mut self.is_back);
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
                || !(self.is_next(from) || (is_back && from < self.expected && to + 1 == self.expected))
                || to < from
                || number("count") != Some((to + 1).wrapping_sub(from))
            {
                self.wrong("gap", &format!("{gap} where entry {} was next", self.expected));
            }
        }
        self.expected = to + 1;
        self.gaps.push(from..=to);
        self.link_due = true;
    }

    fn attached(&mut self, id: &str, answer: &Value) {
        let Some(Attach { since, topics, name, .. }) = self.session.attaches.get(id).cloned() else {
            return self.wrong("answers", "it never attached");
        };
        self.taste.own = topics;
        self.gaps.clear();
        self.received = 0;
        if name.is_some() && answer["new"] != true {
            // its place is looked at with those of the same name
            self.since = None;
            self.expected = answer["seq"].as_u64().unwrap_or(0) + 1;
            self.is_back = true;
            return;
        }
        let Some((epoch, since)) = since else {
            self.since = answer["seq"].as_u64();
            self.expected = answer["seq"].as_u64().unwrap_or(0) + 1;
            return;
        };
        self.since = (self.hello["epoch"] == epoch.as_str()).then_some(since);
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
            if client["you"] == true {
                self.ledger(&client["ledger"]);
            }
        }
    }

    /// Its own ledger against the log: what it is given and what is passed over are those entries that it wants, and
    /// those that it doesn't.
    fn ledger(&mut self, ledger: &Value) {
        let of = |name: &str| ledger[name].as_u64().unwrap_or(u64::MAX / 8);
        let Some(since) = self.since else { return };
        let passed = ledger["passed"].as_u64().unwrap_or(0);
        let at = since + of("delivered") + of("lost") + passed;
        if (self.expected..=at).any(|seq| self.is_wanted_and_seen(seq)) {
            let expected = self.expected;
            return self.wrong("ledger", &format!("it is said to be at {at}, before {expected}: {ledger}"));
        }
        let lost: u64 = self.gaps.iter().map(|gap| gap.end() + 1 - gap.start()).sum();
        let is_lost = |seq: &u64| self.gaps.iter().any(|gap| gap.contains(seq));
        let is_known = (since + 1..=at).all(|seq| self.log.contains_key(&seq));
        if lost != of("lost") || !is_known {
            return;
        }
        let others = (since + 1..=at).filter(|seq| !is_lost(seq));
        let unwanted = others.filter(|seq| !self.is_wanted(*seq)).count() as u64;
        if unwanted != passed {
            self.wrong("ledger", &format!("{unwanted} were none that it wants, and it is told {ledger}"));
        }
    }

    fn end(&mut self) {
        let life = self.record.lives.iter().find(|life| self.hello["epoch"] == life.epoch.as_str());
        let killed = life.is_none_or(|life| life.killed);
        match self.ended.as_deref() {
            Some("shutdown") => {
                if killed || self.epoch_gap_due || !self.is_next(self.newest + 1) {
                    let (expected, newest) = (self.expected, self.newest);
                    self.wrong(
                        "bye",
                        &format!("it was told `shutdown` before {expected}, and {newest} was the last"),
                    );
                }
            }
            Some("slow_client") if self.record.slow_client != "gap" => {}
            Some("bad_client") if self.refused => {}
            Some("taken_over") if self.session.attaches.values().any(|attach| attach.name.is_some()) => {}
            None if self.session.left || killed || life.is_some_and(|life| self.is_cut(life)) => {}
            ended => {
                let cuts: Vec<_> =
                    life.into_iter().flat_map(|life| life.cuts(&self.hello["client"])).collect();
                let (from, until) = (self.session.time.0, self.session.until);
                let ended =
                    format!("its connection of {from:?} ended at {until:?} with {ended:?}, without cause");
                self.wrong("end", &format!("{ended}; the log: {cuts:?}"));
            }
        }
    }

    /// Whether the daemon logged that it cut this client off for its slowness, or so that it may not have read why.
    fn is_cut(&self, life: &Life) -> bool {
        let mut cuts = life.cuts(&self.hello["client"]);
        // one that doesn't read its last words within their time doesn't get them
        let was_long = self.session.until >= self.session.time.0 + LAST_WORDS;
        cuts.any(|line| was_long || line.contains("stopped reading") || line.contains("why=\"slow_client\""))
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

/// How an answer begins on a raw listener.
pub(super) const ANSWER: &[u8] = b"{\"answer\":";

/// Messages as a raw listener says them, by number: made once for all clients.
type RawLines = BTreeMap<u64, Vec<u8>>;

/// A raw listener's lines: each message after the one before, byte for byte.
fn raw(record: &Record, session: &Session, places: &Places, said: &mut RawLines, faults: &mut Faults) {
    let taste = Taste { of_listener: session.taste.clone(), own: None };
    // of a message of the server's, by number
    let topic = |number: u64| {
        let attempt = record.attempts.get((number / EACH) as usize)?;
        attempt.topics.get((number % EACH) as usize)?.as_deref()
    };
    let is_wanted = |number: u64| {
        let is_json = message(record.seed, number, None).raw_line().starts_with(b"{");
        taste.wants(topic(number).filter(|_| is_json).map(kept))
    };
    let mut of_connections = BTreeMap::<u64, u64>::new();
    let mut last_place: Option<(usize, usize)> = None;
    // answers to clients are looked at with their requests, and those about topics may come when nobody waits any more
    let is_other = |line: &&Vec<u8>| line.starts_with(ANSWER) || is_answer(line);
    for line in session.lines.iter().filter(|line| !is_other(line)) {
        let is_said = |number: &u64| {
            let said = said
                .entry(*number)
                .or_insert_with(|| message(record.seed, *number, topic(*number)).raw_line());
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
            Some(last) => {
                let between = from * EACH + last + 1..number;
                last < at && between.into_iter().all(|number| !taste.is_all() && !is_wanted(number))
            }
            // two connections may have been under way when it came
            None => at == 0 || !taste.is_all() || of_connections.len() <= 1 + usize::from(record.rotates),
        };
        // nothing that others got is left out
        let place = places.by_number.get(&number).copied();
        let in_turn = match (last_place, place) {
            (Some((life, last)), Some((now, at))) => {
                let between = || places.topics[life][last + 1..at].iter();
                now == life && last < at && between().all(|topic| !taste.wants(topic.as_deref()))
            }
            _ => true,
        };
        last_place = place.or(last_place);
        faults.check(follows && in_turn && (taste.is_all() || is_wanted(number)), || {
            format!("raw: session {} got {number} out of its turn, after {of_connections:?}", session.number)
        });
    }
}
