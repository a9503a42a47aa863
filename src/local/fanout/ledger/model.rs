//! What one client has been told, and what it may be told next.

use std::collections::{BTreeMap, VecDeque};

use proptest::{prop_assert, prop_assert_eq, test_runner::TestCaseError};
use serde_json::Value;

use crate::{
    config::{TopicPattern, TopicView},
    hub::{Ledger, MessageTopic},
};

/// What a client wants; everything where it says nothing.
pub(super) type Wants = Option<&'static [&'static str]>;

/// An entry of the log. No topic at all: it isn't a message.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) topic: Option<MessageTopic>,
    pub(super) line: String,
}

/// What everybody can know.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) entries: BTreeMap<u64, Entry>,
    /// What is staged.
    pub(super) staged: VecDeque<Option<MessageTopic>>,
    pub(super) oldest: u64,
    /// `latest` was in force at some time.
    pub(super) conflates: bool,
}

impl World {
    fn is_wanted(&self, wants: Wants, seq: u64) -> bool {
        let topic = self.entries[&seq].topic.as_ref();
        match (topic, wants) {
            (_, None) | (None | Some(MessageTopic::Unfit), _) => true,
            (Some(MessageTopic::None), Some(_)) => false,
            (Some(MessageTopic::Of(name)), Some(wants)) => is_of(name, wants),
        }
    }

    fn topic(&self, seq: u64) -> Option<&str> {
        match &self.entries.get(&seq)?.topic {
            Some(MessageTopic::Of(name)) => Some(name),
            _ => None,
        }
    }

    /// Whether a topic has an entry after this one, also a staged one.
    fn comes_again(&self, topic: &str, after: u64) -> bool {
        let staged = self.staged.iter().flatten();
        self.entries.range(after + 1..).any(|(seq, _)| self.topic(*seq) == Some(topic))
            || staged.into_iter().any(|of| matches!(of, MessageTopic::Of(name) if **name == *topic))
    }

    /// The last values that a client wants.
    pub(super) fn values(&self, wants: Wants) -> BTreeMap<u64, String> {
        let mut newest = BTreeMap::new();
        for seq in self.entries.keys() {
            if let Some(topic) = self.topic(*seq) {
                newest.insert(topic.to_owned(), *seq);
            }
        }
        let values = newest.into_iter().map(|(topic, seq)| (seq, topic));
        values.filter(|(_, topic)| wants.is_none_or(|wants| is_of(topic, wants))).collect()
    }
}

fn is_of(topic: &str, wants: &[&str]) -> bool {
    wants.iter().any(|pattern| TopicPattern::parse(pattern).unwrap().matches(&TopicView::new(topic)))
}

/// What a client has asked for by an attach.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) id: u64,
    pub(super) wants: Wants,
    /// It goes on after an entry from one to the other of these, or after what isn't held any more.
    pub(super) after: (u64, u64),
    /// The oldest entry that was held.
    pub(super) oldest: u64,
    /// It goes on exactly where it is.
    pub(super) goes_on: bool,
    pub(super) snapshot: bool,
    /// The last values that it wants.
    pub(super) values: BTreeMap<u64, String>,
    /// Somebody else has the name.
    pub(super) is_taken: bool,
}

/// A snapshot on its way.
#[derive(Debug)]
struct Snapshot {
    expected: BTreeMap<u64, String>,
    last: u64,
    count: u64,
}

/// What a client has been told so far.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) asks: VecDeque<Ask>,
    greeted: bool,
    pub(super) ended: bool,
    wants: Wants,
    base: u64,
    next: u64,
    delivered: u64,
    lost: u64,
    passed: u64,
    /// The answer to this attach was the last line: a gap may follow of what it asked for.
    answered: Option<Ask>,
    /// The link's state must follow.
    link_due: bool,
    snapshot: Option<Snapshot>,
}

impl Told {
    /// The last entry that it has got, or that was declared to it.
    pub(super) fn place(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    pub(super) fn ledger(&self, world: &World, head: u64) -> Result<Ledger, TestCaseError> {
        let mut passed = self.passed;
        for seq in self.next..=head {
            prop_assert!(!world.is_wanted(self.wants, seq), "{} is wanted, and has not come", seq);
            passed += 1;
        }
        prop_assert!(!self.link_due && self.snapshot.is_none(), "more is due");
        let Told { base, delivered, lost, .. } = *self;
        Ok(Ledger { entries: head - base, delivered, lost, passed, ahead: 0 })
    }

    /// Passes what isn't wanted, up to an entry.
    fn pass_to(&mut self, world: &World, seq: u64) -> Result<(), TestCaseError> {
        prop_assert!(seq >= self.next, "{} comes again, or too late: {} was due", seq, self.next);
        for between in self.next..seq {
            prop_assert!(world.entries.contains_key(&between), "{} was there before {}", seq, between);
            prop_assert!(!world.is_wanted(self.wants, between), "{} is wanted, and {} comes", between, seq);
        }
        self.passed += seq - self.next;
        self.next = seq;
        Ok(())
    }

    /// The next line.
    pub(super) fn line(&mut self, world: &World, line: &str) -> Result<(), TestCaseError> {
        prop_assert!(!self.ended, "{} after the last words", line);
        let value: Value = serde_json::from_str(line).expect("a line is JSON");
        let number = |key: &str| value[key].as_u64();
        let kind = value["type"].as_str().unwrap();
        let answered = self.answered.take();
        if let Some(Ask { after: (after, most), oldest, .. }) = &answered
            && after == most
        {
            let is_gap = value["why"] == "expired";
            prop_assert_eq!(is_gap, *after < oldest - 1, "{} after {:?}", line, answered);
        }
        prop_assert_eq!(self.greeted, kind != "hello");
        let is_link = kind == "link" && number("seq").is_none();
        if is_link || !["ok", "error", "bye"].contains(&kind) {
            prop_assert_eq!(is_link, std::mem::take(&mut self.link_due), "{}", line);
        }
        match (kind, number("seq")) {
            ("hello", Some(seq)) => {
                (self.greeted, self.base, self.next) = (true, seq, seq + 1);
            }
            ("ok", seq) => {
                let Some(ask) = self.asks.pop_front_if(|ask| Some(ask.id) == value["id"].as_u64()) else {
                    prop_assert_eq!(&value["result"], "acknowledged");
                    return Ok(());
                };
                let start = seq.expect("it says where");
                prop_assert!(!ask.is_taken, "{} has the name", line);
                let (least, most) = ask.after;
                let held = |after: u64| after.max(ask.oldest - 1);
                prop_assert!((held(least)..=held(most)).contains(&start), "{} for {:?}", line, ask);
                if ask.goes_on && start >= ask.oldest {
                    self.pass_to(world, start + 1)?;
                }
                prop_assert!(self.snapshot.is_none() || number("again_to").is_none_or(|to| to > start));
                let values = ask.values.range(..=start).map(|(seq, topic)| (*seq, topic.clone()));
                self.snapshot =
                    ask.snapshot.then(|| Snapshot { expected: values.collect(), last: 0, count: 0 });
                (self.wants, self.base, self.next) = (ask.wants, start, start + 1);
                (self.delivered, self.lost, self.passed) = (0, 0, 0);
                self.answered = Some(ask);
            }
            ("error", _) => {
                let ask = self.asks.pop_front_if(|ask| Some(ask.id) == value["id"].as_u64());
                let is_taken = ask.as_ref().is_some_and(|ask| ask.is_taken);
                prop_assert!(is_taken && value["code"] == "name_taken", "{} for {:?}", line, ask);
            }
            ("gap", None) => self.gap(world, line, &value, answered)?,
            ("link", None) => {}
            ("bye", _) => self.ended = true,
            ("snapshot", Some(seq)) => {
                let snapshot = self.snapshot.take().expect("one is due");
                prop_assert_eq!((seq, number("count")), (self.base.max(self.place()), Some(snapshot.count)));
                for (seq, topic) in &snapshot.expected {
                    prop_assert!(world.comes_again(topic, *seq), "{} of {} is not in it", seq, topic);
                }
            }
            (_, Some(seq)) if value["snapshot"] == true => {
                let snapshot = self.snapshot.as_mut().expect("one is due");
                let expected = line.replacen(",\"snapshot\":true", "", 1);
                prop_assert!(expected == world.entries[&seq].line, "{} is no last value", line);
                prop_assert!(snapshot.expected.remove(&seq).is_some() && seq > snapshot.last, "{}", line);
                (snapshot.last, snapshot.count) = (seq, snapshot.count + 1);
            }
            (_, Some(seq)) => {
                prop_assert!(self.snapshot.is_none(), "{} within a snapshot", line);
                self.pass_to(world, seq)?;
                prop_assert!(world.entries.contains_key(&seq), "{} was never committed", line);
                prop_assert!(world.is_wanted(self.wants, seq), "{} is not wanted", line);
                prop_assert!(world.entries[&seq].line == line, "{} is another line", line);
                (self.next, self.delivered) = (seq + 1, self.delivered + 1);
            }
            _ => prop_assert!(false, "{} is no line of these", line),
        }
        Ok(())
    }

    fn gap(
        &mut self,
        world: &World,
        line: &str,
        value: &Value,
        answered: Option<Ask>,
    ) -> Result<(), TestCaseError> {
        let [from, to, count] = ["from", "to", "count"].map(|key| value[key].as_u64().unwrap());
        match value["why"].as_str().unwrap() {
            "expired" => {
                let Some(Ask { after: (least, most), .. }) = answered else {
                    return Err(TestCaseError::fail(format!("{line} answers no attach")));
                };
                prop_assert!((least..=most).contains(&(from - 1)) && to == self.place(), "{}", line);
                prop_assert_eq!(count, to + 1 - from);
                (self.base, self.lost, self.link_due) = (from - 1, count, true);
            }
            "slow_client" => {
                self.pass_to(world, from)?;
                prop_assert!(to < world.oldest, "{}, but {} is the oldest", line, world.oldest);
                prop_assert_eq!(count, to + 1 - from);
                (self.next, self.lost, self.link_due) = (to + 1, self.lost + count, true);
            }
            "conflated" => {
                prop_assert!(world.conflates, "{}: nobody conflates", line);
                self.pass_to(world, from)?;
                let lost: Vec<u64> = (from..=to).filter(|seq| world.is_wanted(self.wants, *seq)).collect();
                prop_assert_eq!((lost.first(), lost.last()), (Some(&from), Some(&to)), "{}", line);
                prop_assert_eq!(count, lost.len() as u64, "{}", line);
                for seq in &lost {
                    let topic = world.topic(*seq);
                    let again = topic.is_some_and(|topic| {
                        world.entries.range(to + 1..).any(|(seq, _)| world.topic(*seq) == Some(topic))
                    });
                    prop_assert!(again, "{} of {:?} has no newer one: {}", seq, topic, line);
                }
                self.passed += to + 1 - from - count;
                (self.next, self.lost) = (to + 1, self.lost + count);
            }
            _ => prop_assert!(false, "{} has no cause", line),
        }
        Ok(())
    }
}
