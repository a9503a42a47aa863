//! Leading: staged entries become messages of the stream, and are committed when it has them.

use std::collections::VecDeque;

use super::{
    Fenced, Lease, Machine, Moment, State, Wanted,
    appends::{Append, Appends},
    batch::{Body, Header, Message, Part},
    chain::{Breach, Judgement},
    counted::Uncarried,
    events::{Answer, AppendId, Order},
    resigning::Resigning,
    resync::Why,
};

/// A term of this node's.
#[derive(Debug)]
pub(super) struct Leader {
    term: u64,
    pub(super) lease: Lease,
    appends: Appends,
    /// What became of appends isn't known, and nothing more is sent before it is.
    pub(super) unsettled: bool,
    /// The stream's end when it was asked last: where it hasn't moved since, nothing is asked in haste.
    asked_at: Option<u64>,
    /// When the newest append was sent.
    sent: Moment,
    pub(super) link: Link,
    /// Since when the link isn't up, though it is wanted.
    pub(super) down_since: Option<Moment>,
    /// One past the newest entry that is staged.
    staged: u64,
    /// One past the newest entry whose lines were taken.
    taken: u64,
    /// Lines that were taken and not sent.
    pieces: VecDeque<Piece>,
    /// Of the server's counts, what isn't said yet.
    pub(super) uncarried: Uncarried,
    holds_link: bool,
    pub(super) resigning: Option<Resigning>,
}

/// This node's link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// It is started then.
    From(Moment),
    Started,
    /// It is being closed in order, until then.
    Closing(Moment),
    Gone,
}

/// The lines of one message.
#[derive(Debug)]
struct Piece {
    first: u64,
    count: u64,
    part: Option<Part>,
    body: Body,
}

impl Leader {
    pub(super) fn new(now: Moment, opening: &Header, lease: Lease, link_from: Moment) -> Leader {
        Leader {
            term: opening.term,
            lease,
            appends: Appends::default(),
            unsettled: false,
            asked_at: None,
            sent: now,
            link: Link::From(link_from),
            down_since: None,
            staged: opening.end(),
            taken: opening.end(),
            pieces: VecDeque::new(),
            uncarried: Uncarried::default(),
            holds_link: false,
            resigning: None,
        }
    }

    /// Whether there may be a connection.
    pub(super) fn has_link(&self) -> bool {
        matches!(self.link, Link::Started | Link::Closing(_))
    }

    /// Whether this entry may be in the stream.
    pub(super) fn has_taken(&self, seq: u64) -> bool {
        seq < self.taken
    }

    /// All that was staged is on its way.
    pub(super) fn has_sent_all(&self) -> bool {
        self.pieces.is_empty() && self.taken >= self.staged
    }

    pub(super) fn next_timeout(&self, machine: &Machine) -> Option<Moment> {
        let Leader { appends, link, .. } = self;
        let settled = machine.nats && !self.unsettled;
        let overdue = appends.oldest().map(|append| append.sent() + machine.settings.answers_within());
        [
            Some(self.lease.until()),
            overdue.filter(|_| settled),
            Some(self.sent + machine.settings.renews_after()).filter(|_| machine.may_append()),
            match link {
                Link::From(at) | Link::Closing(at) => Some(*at),
                Link::Started => self.gives_up_at(machine),
                Link::Gone => None,
            },
            self.resigning.as_ref().map(|resigning| resigning.until),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

impl Machine {
    /// Staged lines that the next append may take. To be asked after each [`Machine::handle`], and answered by
    /// [`Event::Lines`](super::Event::Lines), until it wants none.
    pub(crate) fn wanted(&self) -> Option<Wanted> {
        let State::Leader(leader) = &self.state else { return None };
        let has_room = self.nats && !leader.unsettled && !leader.appends.is_full();
        let wants = has_room && leader.pieces.is_empty() && leader.taken < leader.staged;
        wants.then_some(Wanted { first: leader.taken, max_bytes: self.settings.max_batch })
    }

    pub(super) fn staged(&mut self, end: u64, bytes: usize) {
        let State::Leader(leader) = &mut self.state else { return };
        if leader.has_link() {
            leader.staged = leader.staged.max(end);
            let holds = bytes > self.settings.max_unacked;
            if holds != leader.holds_link {
                leader.holds_link = holds;
                self.order(Order::Hold(holds));
            }
        }
    }

    pub(super) fn lines(&mut self, now: Moment, first: u64, end: u64, lines: Vec<u8>) {
        let max = self.settings.max_batch;
        let State::Leader(leader) = &mut self.state else { return };
        if first != leader.taken || end <= first {
            return;
        }
        leader.taken = end;
        let (count, body) = (end - first, Body::new(lines));
        if body.bytes().len() <= max {
            leader.pieces.push_back(Piece { first, count, part: None, body });
        } else {
            // one line, larger than a message: it is an entry with its last part
            debug_assert_eq!(count, 1, "as many lines as were wanted");
            let pieces = body.pieces(max);
            let of = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
            leader.pieces.extend((1..=of).zip(pieces).map(|(number, body)| {
                let count = u64::from(number == of);
                Piece { first, count, part: Some(Part { number, of }), body }
            }));
        }
        self.send_pieces(now);
    }

    /// The server has counted so far in what isn't staged.
    pub(super) fn count(&mut self, seq: u64, per: String, text: String) {
        if let State::Leader(leader) = &mut self.state {
            leader.uncarried.push(seq, per, text);
        }
    }

    /// What time brings about for a leader.
    pub(super) fn lead_on(&mut self, now: Moment) {
        let answers_within = self.settings.answers_within();
        let State::Leader(leader) = &mut self.state else { return };
        if let Link::From(at) = leader.link
            && at <= now
        {
            leader.link = Link::Started;
            leader.down_since = Some(now);
            self.order(Order::StartLink);
        }
        let State::Leader(leader) = &self.state else { return };
        if self.nats
            && !leader.unsettled
            && leader.appends.oldest().is_some_and(|a| a.sent() + answers_within <= now)
        {
            self.doubt_appends(now);
        }
        self.resign_on(now);
        self.send_pieces(now);
        self.renew(now);
    }

    fn send_pieces(&mut self, now: Moment) {
        while self.may_append()
            && let State::Leader(leader) = &mut self.state
            && let Some(piece) = leader.pieces.pop_front()
        {
            self.append(now, piece, false);
        }
    }

    /// An empty message, when nothing else was sent for long, or others are to know something at once.
    fn renew(&mut self, now: Moment) {
        let State::Leader(leader) = &self.state else { return };
        let is_due = leader.sent + self.settings.renews_after() <= now;
        if self.may_append() && (is_due || leader.uncarried.is_urgent(self.next_to_append(leader))) {
            self.append_empty(now, false);
        }
    }

    /// Whether an append may go out now.
    pub(super) fn may_append(&self) -> bool {
        let State::Leader(leader) = &self.state else { return false };
        let has_stepped_down =
            leader.appends.newest().is_some_and(|append| append.message().header.step_down);
        self.nats && !leader.unsettled && !leader.appends.is_full() && !has_stepped_down
    }

    pub(super) fn append_empty(&mut self, now: Moment, step_down: bool) {
        let State::Leader(leader) = &self.state else { return };
        let first = self.next_to_append(leader);
        let piece = Piece { first, count: 0, part: None, body: Body::new(Vec::new()) };
        self.append(now, piece, step_down);
    }

    /// The entry that comes behind all appends.
    fn next_to_append(&self, leader: &Leader) -> u64 {
        let stored = self.chain.tip().map_or(1, |tip| tip.next);
        leader.appends.newest().map_or(stored, |append| append.message().header.end())
    }

    fn append(&mut self, now: Moment, piece: Piece, step_down: bool) {
        let (id, nonce) = (self.append_id(), self.nonce());
        let Some(tip) = self.chain.tip() else { return };
        let State::Leader(leader) = &mut self.state else { return };
        let before = leader.appends.newest();
        let header = Header {
            epoch: tip.epoch.clone(),
            term: leader.term,
            node: self.settings.node.clone(),
            first: piece.first,
            count: piece.count,
            nonce,
            after: Some(before.map_or(tip.nonce, Append::nonce)),
            part: piece.part,
            step_down,
            fingerprint: None,
            lease: Some(self.settings.lease),
            counted: leader.uncarried.take(piece.first + piece.count),
        };
        let expect = before.map_or(self.chain.end(), Append::place);
        let append = Append::new(id, expect, now, Message { header, body: piece.body });
        let order = append.order();
        leader.appends.push(append);
        leader.sent = now;
        self.order(order);
    }

    pub(super) fn acked(&mut self, now: Moment, id: AppendId, place: u64) {
        if self.is_opening(id) {
            self.opening_acked(now, place);
            return;
        }
        let State::Leader(leader) = &mut self.state else { return };
        if !leader.appends.acked(id, place) {
            self.doubt_appends(now);
            return;
        }
        while let State::Leader(leader) = &mut self.state
            && let Some(append) = leader.appends.pop_acked()
        {
            let (place, sent) = (append.place(), append.sent());
            self.is_stored(now, append, place, sent);
        }
    }

    /// The next message is in the stream, behind all before it; the try that may be there was sent then.
    fn is_stored(&mut self, now: Moment, append: Append, place: u64, sent: Moment) {
        let State::Leader(leader) = &mut self.state else { return };
        leader.lease = leader.lease.or(Lease::of(sent, self.settings.lease));
        let Message { header, body } = append.message();
        self.chain.advance(place, header, true);
        if let Some(part) = header.part {
            // should this term end before the line does, its end may be read later
            let _ = self.parts.take(header.first, part, body.bytes(), self.settings.max_entry);
        }
        if header.count > 0 {
            self.order(Order::Commit { through: header.end() - 1 });
            self.have(header.end());
        }
        self.learn_counted(header);
        if header.step_down {
            self.stepped_down(now);
        }
    }

    /// An append was refused, or isn't answered.
    pub(super) fn doubt(&mut self, now: Moment, id: AppendId) {
        if self.is_opening(id) {
            self.doubt_opening(now);
        } else if let State::Leader(leader) = &self.state
            && leader.appends.waits_for(id)
        {
            self.doubt_appends(now);
        }
    }

    fn doubt_appends(&mut self, now: Moment) {
        let State::Leader(leader) = &mut self.state else { return };
        if !std::mem::replace(&mut leader.unsettled, true) {
            self.counts.settled += 1;
            if leader.asked_at.replace(self.chain.end()) == Some(self.chain.end()) {
                self.ask_at = Some(now + self.settings.hesitates_for());
            } else {
                self.settle_anew(now);
            }
        }
    }

    /// Asks what became of all appends.
    pub(super) fn settle_anew(&mut self, now: Moment) {
        if let State::Leader(leader) = &mut self.state {
            leader.unsettled = true;
            self.ask(now, Why::Appends, self.chain.ask_from());
        }
    }

    /// What the stream holds. What is there of ours is stored; another leader's message ends the term; the rest is
    /// appended once more.
    pub(super) fn settle(&mut self, now: Moment, had: u64, answer: Answer) {
        if self.chain.look_again(&answer, had) {
            self.breached();
            self.fence(now, Fenced::Breach);
            return;
        }
        for stored in &answer.messages {
            match self.chain.judge(stored, false) {
                Judgement::Seen => {}
                Judgement::Stray => {
                    self.count_stray(stored.place);
                    self.chain.pass(stored);
                }
                Judgement::Linked if self.found(now, stored) => {}
                _ => {
                    self.fence(now, Fenced::Superseded);
                    return;
                }
            }
        }
        self.chain.pass_to(answer.covered.min(answer.last));
        if !matches!(self.state, State::Leader(_)) {
            return; // stepped down, as was found
        }
        if answer.covered < answer.last {
            self.ask(now, Why::Appends, self.chain.end() + 1);
            return;
        }
        self.append_again(now);
    }

    /// Takes note of an own message that the stream has. False where it isn't one.
    fn found(&mut self, now: Moment, stored: &super::Stored) -> bool {
        let State::Leader(leader) = &mut self.state else { return false };
        let nonce = stored.header.as_ref().map(|header| header.nonce);
        let Some(append) = nonce.and_then(|nonce| leader.appends.pop_found(nonce)) else { return false };
        let sent = append.first_sent();
        self.is_stored(now, append, stored.place, sent);
        true
    }

    fn append_again(&mut self, now: Moment) {
        let first = self.newest_id;
        let State::Leader(leader) = &mut self.state else { return };
        leader.unsettled = false;
        if !leader.appends.is_empty() {
            leader.sent = now;
        }
        let mut newest = first;
        let id = || {
            newest += 1;
            AppendId(newest)
        };
        self.orders.extend(leader.appends.again(self.chain.end(), now, id));
        self.newest_id = newest;
    }

    /// Another node has seen that the stream lost entries of this epoch: nobody goes on with it.
    pub(super) fn be_told_void(&mut self, now: Moment, epoch: &str) {
        let is_this = self.chain.tip().is_some_and(|tip| &*tip.epoch == epoch);
        if !is_this || self.chain.breach() == Some(Breach::Told) || !self.settings.candidate {
            return;
        }
        if let State::Leader(_) = &self.state {
            self.chain.be_told();
            self.breached();
            self.fence(now, Fenced::Breach);
        }
    }
}
