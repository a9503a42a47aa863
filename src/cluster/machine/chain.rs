//! Which messages of the stream are the log's: each names the one before by its nonce.

use std::{collections::VecDeque, rc::Rc};

use super::{
    appends::MAX_IN_FLIGHT,
    batch::{Header, Nonce, Stored},
    events::Answer,
};

/// The newest message of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tip {
    /// Where it lies in the stream.
    pub(super) place: u64,
    pub(super) nonce: Nonce,
    pub(super) epoch: Rc<str>,
    pub(super) term: u64,
    pub(super) node: Rc<str>,
    /// The `seq` of the entry that follows it.
    pub(super) next: u64,
    pub(super) step_down: bool,
}

/// The log's messages, as far as this node has come.
#[derive(Debug, Default)]
pub(super) struct Chain {
    tip: Option<Tip>,
    /// All of the stream up to here was looked at.
    end: u64,
    /// Some of what was passed wasn't there any more.
    hole: bool,
    /// How many messages in a row are linked to the one that was taken unseen.
    links: usize,
    breach: Option<Breach>,
    /// The highest term that was met since the breach.
    met_term: u64,
    /// Epochs that are over: where one is met again, the stream has lost the end of it.
    past: VecDeque<Rc<str>>,
}

/// So many epochs are remembered.
const MAX_PAST: usize = 64;

/// Why the epoch can't go on: the stream lacks what it had acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Breach {
    /// This node has seen it.
    Seen,
    /// Another one has.
    Told,
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It was looked at before.
    Seen,
    /// Not the log's: somebody else's, or that of a leader that isn't one any more.
    Stray,
    /// It follows the tip.
    Linked,
    /// It is the first of a new epoch, or the first that can be had: what was before can't be known from it.
    Base,
    /// It contradicts what this node has seen: the stream has lost something.
    Broken,
    /// The epoch goes on without what was lost, under somebody who doesn't know. Not for clients.
    Void,
    /// Nothing was lost after all: this is the tip.
    Healed,
}

impl Chain {
    pub(super) fn tip(&self) -> Option<&Tip> {
        self.tip.as_ref()
    }

    /// The newest place of the stream that was looked at.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn breach(&self) -> Option<Breach> {
        self.breach
    }

    /// Whether the tip is surely the log's. What a former leader had on its way may be linked in itself, but it is
    /// never so long.
    pub(super) fn is_sure(&self) -> bool {
        self.links >= MAX_IN_FLIGHT
    }

    /// From where on the stream tells whether it still holds what was seen.
    pub(super) fn ask_from(&self) -> u64 {
        self.tip.as_ref().map_or(1, |tip| tip.place.min(self.end + 1))
    }

    /// The term that a candidate stands for.
    pub(super) fn next_term(&self) -> u64 {
        self.tip.as_ref().map_or(0, |tip| tip.term).max(self.met_term).saturating_add(1)
    }

    /// What this message is. `orphaned`: no leader was heard for a whole lease, so that there is none; who begins an
    /// epoch then may never have heard of this one.
    pub(super) fn judge(&self, stored: &Stored, orphaned: bool) -> Judgement {
        if stored.place <= self.end {
            return Judgement::Seen;
        }
        let Some(header) = &stored.header else { return Judgement::Stray };
        let Some(tip) = &self.tip else { return Judgement::Base };
        let same_epoch = header.epoch == tip.epoch;
        if let Some(breach) = self.breach {
            return match () {
                () if header.nonce == tip.nonce && breach == Breach::Seen => Judgement::Healed,
                () if same_epoch || self.past.contains(&header.epoch) => Judgement::Void,
                () => Judgement::Base,
            };
        }
        let led = header.term > tip.term || header.term == tip.term && header.node == tip.node;
        if header.after == Some(tip.nonce) && same_epoch && led && header.first == tip.next {
            return Judgement::Linked;
        }
        if !same_epoch && self.past.contains(&header.epoch) {
            return if header.term > tip.term { Judgement::Broken } else { Judgement::Stray };
        }
        if !self.is_sure() || orphaned && !same_epoch && header.after.is_none() {
            return Judgement::Base;
        }
        let is_behind_a_hole = self.hole || stored.place > self.end + 1;
        match header.term > tip.term {
            _ if is_behind_a_hole && !same_epoch => Judgement::Base,
            false if is_behind_a_hole && header.term == tip.term && header.first >= tip.next => {
                Judgement::Base
            }
            false => Judgement::Stray,
            true if !same_epoch => Judgement::Base,
            true if is_behind_a_hole && header.first >= tip.next => Judgement::Base,
            true => Judgement::Broken,
        }
    }

    /// This message is the tip now, linked to the one before or not.
    pub(super) fn advance(&mut self, place: u64, header: &Header, is_linked: bool) {
        self.links = match is_linked {
            true => self.links.saturating_add(1),
            false if header.after.is_none() => usize::MAX,
            false => 0,
        };
        if let Some(tip) = self.tip.take_if(|tip| tip.epoch != header.epoch) {
            self.past.push_front(tip.epoch);
            self.past.truncate(MAX_PAST);
        }
        self.tip = Some(Tip {
            place,
            nonce: header.nonce,
            epoch: Rc::clone(&header.epoch),
            term: header.term,
            node: Rc::clone(&header.node),
            next: header.end(),
            step_down: header.step_down,
        });
        (self.end, self.hole, self.breach, self.met_term) = (place, false, None, 0);
    }

    /// The tip is the log's: this node leads from there.
    pub(super) fn be_sure(&mut self) {
        self.links = usize::MAX;
    }

    /// All up to this place was looked at, and nothing was the log's.
    pub(super) fn pass(&mut self, stored: &Stored) {
        self.hole |= stored.place > self.end + 1;
        self.end = stored.place;
        if self.breach.is_some() {
            let term = stored.header.as_ref().map_or(0, |header| header.term);
            self.met_term = self.met_term.max(term);
        }
    }

    /// The stream holds nothing more up to this place.
    pub(super) fn pass_to(&mut self, place: u64) {
        if place > self.end {
            self.hole = true;
            self.end = place;
        }
    }

    /// This message is the tip, after a breach was feared.
    pub(super) fn heal(&mut self, place: u64) {
        (self.end, self.breach, self.hole, self.met_term) = (place, None, false, 0);
        self.tip.iter_mut().for_each(|tip| tip.place = place);
    }

    /// The stream has lost something; it was looked at up to `end`.
    pub(super) fn break_at(&mut self, breach: Breach, end: u64) {
        (self.breach, self.end, self.hole) = (Some(breach), end, false);
    }

    /// Another node says that the stream has lost something.
    pub(super) fn be_told(&mut self) {
        self.breach = Some(Breach::Told);
    }

    /// Holds the tip against what the stream holds. `had` is the place of what was the tip when that was asked, since
    /// more may be known by now. True where the stream lacks it, and that is news.
    pub(super) fn look_again(&mut self, answer: &Answer, had: u64) -> bool {
        let Some(tip) = &self.tip else {
            self.end = self.end.min(answer.last);
            return false;
        };
        let there = answer.messages.iter().find(|stored| stored.place == tip.place);
        let nonce = there.map(|stored| stored.header.as_ref().map(|header| header.nonce));
        let place = tip.place;
        match (nonce, self.breach) {
            (Some(nonce), None | Some(Breach::Seen)) if nonce == Some(tip.nonce) => {
                if self.breach.is_some() {
                    self.heal(place);
                }
                false
            }
            (_, Some(_)) => {
                self.end = self.end.min(answer.last);
                false
            }
            (nonce, None) if nonce.is_some() || answer.last < had => {
                let looked_at = answer.messages.first().map_or(answer.last, |stored| stored.place - 1);
                self.break_at(Breach::Seen, looked_at.min(answer.last));
                true
            }
            (_, None) => false, // it was let go of
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Writer(u64);

    impl Writer {
        fn message(&mut self, term: u64, after: Option<Nonce>, first: u64, count: u64) -> Header {
            self.0 += 1;
            Header {
                epoch: "e".into(),
                term,
                node: format!("n{term}").into(),
                first,
                count,
                nonce: Nonce(self.0),
                after,
                part: None,
                step_down: false,
                fingerprint: None,
                lease: None,
                counted: None,
            }
        }
    }

    fn at(place: u64, header: &Header) -> Stored {
        Stored { place, header: Some(header.clone()), body: Vec::new() }
    }

    /// A chain whose tip, in term 3, lies at 10, and the entry 20 follows it.
    fn chain() -> (Chain, Writer, Header) {
        let mut writer = Writer(0);
        let tip = writer.message(3, None, 19, 1);
        let mut chain = Chain::default();
        chain.advance(10, &tip, false);
        assert!(chain.is_sure(), "it is the first of an epoch");
        (chain, writer, tip)
    }

    #[test]
    fn what_names_the_tip_is_linked_and_what_does_not_is_passed_over_or_a_breach() {
        let (chain, mut writer, tip) = chain();
        let after = Some(tip.nonce);
        let mut judge = |place, term, after, first| {
            chain.judge(&at(place, &writer.message(term, after, first, 2)), false)
        };
        assert_eq!(judge(11, 3, after, 20), Judgement::Linked);
        assert_eq!(judge(11, 4, after, 20), Judgement::Linked, "a new term");
        assert_eq!(judge(15, 3, after, 20), Judgement::Linked, "what lay between was nobody's");
        assert_eq!(judge(10, 3, after, 20), Judgement::Seen);
        assert_eq!(judge(11, 2, after, 20), Judgement::Stray, "a stale term");
        assert_eq!(judge(11, 3, Some(Nonce(99)), 22), Judgement::Stray, "the one before it was never stored");
        assert_eq!(judge(11, 3, after, 25), Judgement::Stray);
        assert_eq!(judge(11, 4, Some(Nonce(99)), 20), Judgement::Broken);
        assert_eq!(judge(15, 4, Some(Nonce(99)), 25), Judgement::Base, "behind a hole");
        assert_eq!(judge(15, 3, Some(Nonce(99)), 25), Judgement::Base);
        assert_eq!(judge(15, 4, Some(Nonce(99)), 19), Judgement::Broken, "the log went back");
        assert_eq!(judge(15, 3, Some(Nonce(99)), 19), Judgement::Stray);
        assert_eq!(
            chain.judge(&Stored { place: 11, header: None, body: Vec::new() }, true),
            Judgement::Stray
        );
        let other = Header { node: "other".into(), ..writer.message(3, after, 20, 1) };
        assert_eq!(chain.judge(&at(11, &other), false), Judgement::Stray, "not this term's leader");
        let other = Header { epoch: "f".into(), ..writer.message(4, None, 1, 1) };
        assert_eq!(chain.judge(&at(11, &other), false), Judgement::Base);
        let other = Header { epoch: "f".into(), ..writer.message(3, None, 1, 1) };
        assert_eq!(chain.judge(&at(11, &other), false), Judgement::Stray);
        assert_eq!(
            chain.judge(&at(11, &other), true),
            Judgement::Base,
            "by one who found nothing in the stream"
        );
        assert_eq!(
            chain.judge(&at(15, &other), false),
            Judgement::Base,
            "the stream was another's meanwhile"
        );
    }

    #[test]
    fn a_hole_is_one_also_when_a_stray_lies_behind_it() {
        let (mut chain, mut writer, _) = chain();
        chain.pass(&Stored { place: 15, header: None, body: Vec::new() });
        let message = writer.message(4, Some(Nonce(99)), 25, 1);
        assert_eq!(chain.judge(&at(16, &message), false), Judgement::Base);
    }

    #[test]
    fn where_one_began_in_the_middle_it_is_sure_when_the_chain_is_longer_than_any_leaders_last_words() {
        let mut writer = Writer(100);
        let mut chain = Chain::default();
        let mut after = Some(Nonce(1));
        for place in 5..10 {
            let message = writer.message(2, after, place, 1);
            let expected = if place == 5 { Judgement::Base } else { Judgement::Linked };
            assert_eq!(chain.judge(&at(place, &message), false), expected);
            assert!(!chain.is_sure());
            chain.advance(place, &message, expected == Judgement::Linked);
            after = Some(message.nonce);
        }
        assert!(chain.is_sure());

        let mut chain = Chain::default();
        chain.advance(5, &writer.message(3, Some(Nonce(1)), 7, 1), false);
        let stale = writer.message(2, Some(Nonce(50)), 3, 1);
        assert_eq!(
            chain.judge(&at(6, &stale), false),
            Judgement::Base,
            "nobody can say which of the two is right"
        );
    }

    fn answer(last: u64, messages: Vec<Stored>) -> Answer {
        Answer { id: super::super::AskId(1), last, covered: last, messages }
    }

    #[test]
    fn what_the_stream_has_lost_is_noticed_and_what_it_has_after_all_too() {
        let (mut chain, mut writer, tip) = chain();
        assert!(!chain.look_again(&answer(12, vec![at(10, &tip)]), 10));
        assert!(!chain.look_again(&answer(12, vec![]), 10), "it was let go of, and others came");
        assert!(!chain.look_again(&answer(8, vec![]), 8), "it was asked before the tip was there");
        assert_eq!((chain.breach(), chain.ask_from()), (None, 10));

        assert!(chain.look_again(&answer(8, vec![]), 10));
        assert_eq!((chain.breach(), chain.end(), chain.ask_from()), (Some(Breach::Seen), 8, 9));
        assert!(!chain.look_again(&answer(8, vec![]), 10), "that is no news");
        let void = writer.message(3, Some(Nonce(99)), 17, 1);
        assert_eq!(chain.judge(&at(9, &void), false), Judgement::Void);
        chain.pass(&at(9, &Header { term: 6, ..void }));
        assert_eq!(chain.next_term(), 7);
        assert_eq!(chain.judge(&at(10, &tip), false), Judgement::Healed);
        assert!(!chain.look_again(&answer(10, vec![at(10, &tip)]), 10));
        assert_eq!((chain.breach(), chain.end(), chain.next_term()), (None, 10, 4));

        let other = writer.message(4, Some(Nonce(99)), 30, 1);
        assert!(chain.look_again(&answer(12, vec![at(10, &other)]), 10));
        assert_eq!(chain.end(), 9);
        let new = Header { epoch: "f".into(), ..writer.message(1, None, 1, 1) };
        assert_eq!(chain.judge(&at(10, &new), false), Judgement::Base);
        chain.advance(10, &new, false);
        assert_eq!((chain.breach(), chain.is_sure()), (None, true));
    }

    #[test]
    fn an_epoch_that_was_over_is_not_followed_again() {
        let (mut chain, mut writer, tip) = chain();
        let new = Header { epoch: "f".into(), ..writer.message(4, None, 1, 1) };
        chain.advance(11, &new, false);
        // the stream has lost the end of the old one, and with it all of the new one
        assert!(chain.look_again(&answer(9, vec![]), 11));
        let old = writer.message(5, Some(tip.nonce), 20, 1);
        assert_eq!(chain.judge(&at(10, &old), false), Judgement::Void);
        chain.heal(11);
        assert_eq!(chain.judge(&at(12, &old), true), Judgement::Broken);
        assert_eq!(chain.judge(&at(15, &Header { term: 4, ..old }), false), Judgement::Stray);
    }

    #[test]
    fn what_another_has_seen_is_not_healed_by_what_this_one_sees() {
        let (mut chain, _, tip) = chain();
        chain.be_told();
        assert!(!chain.look_again(&answer(10, vec![at(10, &tip)]), 10));
        assert_eq!(chain.breach(), Some(Breach::Told));
    }
}
