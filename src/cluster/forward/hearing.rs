//! What a node hears of the leader.

use std::time::Instant;

use super::{
    Forward, UNHEARD_WAIT,
    handed::Handed,
    session::Session,
    topics::{self, OfTopics},
    words::{self, Ask, Head, Order, Word},
};
use crate::hub::{Command, LinkState, NoAnswer};

impl Forward {
    /// A message came to this node's own subjects. Says whether it was for this.
    pub(in super::super) fn heard(
        &mut self,
        now: Instant,
        subject: &str,
        status: Option<u16>,
        payload: &[u8],
    ) -> bool {
        let rest = subject.strip_prefix(&*self.settings.inbox).and_then(|rest| rest.strip_prefix(".f."));
        let Some(rest) = rest else { return false };
        let (id, frame) = rest.split_once('.').map_or((rest, None), |(id, frame)| (id, frame.parse().ok()));
        if let Some(status) = status {
            if let Some(frame) = frame.filter(|_| status == 503) {
                self.unheard(now, id, frame);
            }
            return true;
        }
        let Some((head, body)) = Head::read(payload).filter(|(head, _)| head.session == id) else {
            return true;
        };
        let sessions = self.session.iter_mut().chain(&mut self.old);
        let Some(session) = sessions.into_iter().find(|session| session.id == id) else { return true };
        let number = session.number;
        session.heard = Some(now);
        let is_broken = head.is_over || session.channel.hear(now, head.offset, head.ack, body).is_err();
        while let Some(parcel) = self.parcel(number) {
            match words::read(&parcel) {
                Some((word, body)) => self.word(now, number, word, body),
                None => tracing::warn!("the leader says something that this node doesn't understand"),
            }
        }
        if is_broken {
            self.end_session(now, number);
        }
        self.forget_orders(number);
        self.end_settled(now);
        self.go_on(now);
        true
    }

    /// Nobody has heard a frame: what it brought is this node's again, unless somebody may have heard it otherwise.
    fn unheard(&mut self, now: Instant, id: &str, frame: u64) {
        let mut sessions = self.session.iter_mut().chain(&mut self.old);
        let Some(session) = sessions.find(|session| session.id == id) else { return };
        if !session.channel.unheard(now, frame) {
            return;
        }
        let (number, doubt) = (session.number, session.channel.doubt());
        if self.session.as_ref().is_some_and(|session| session.number == number) {
            self.unheard_until = Some(now + UNHEARD_WAIT);
            let ends = self.lost_at(now);
            self.retire(now, ends);
        } else {
            self.take_back(now, number, doubt);
        }
        self.end_settled(now);
        self.go_on(now);
    }

    fn session_of(&mut self, number: u64) -> Option<&mut Session> {
        let mut sessions = self.session.iter_mut().chain(&mut self.old);
        sessions.find(|session| session.number == number)
    }

    fn parcel(&mut self, session: u64) -> Option<Vec<u8>> {
        self.session_of(session)?.channel.parcel()
    }

    fn word(&mut self, now: Instant, session: u64, word: Word, body: &[u8]) {
        match word {
            Word::Fate { n, fate } => {
                self.land(n);
                if let Some(handed) = self.handed.get_mut(&n) {
                    handed.settle(fate.into());
                    if handed.asks.is_none() {
                        self.handed.remove(&n);
                    }
                }
            }
            Word::Back { n, round, state } => self.back(now, session, n, round, state.into()),
            Word::Up => {
                if let Some(session) = self.session_of(session) {
                    session.gave_back = None;
                }
            }
            Word::Answer { n, more, failed } => {
                let Some(handed) = self.handed.get_mut(&n) else { return };
                let reaches = std::str::from_utf8(body).is_ok_and(|text| handed.answer(text, more, failed));
                if !reaches && let Some(session) = self.session_of(session) {
                    session.say(&Ask::Quit { n }, &[]);
                }
            }
            Word::Nothing { n, why } => {
                if let Some(handed) = self.handed.get_mut(&n) {
                    handed.fail(why.into());
                }
            }
            Word::Over { n } => {
                self.land(n);
                if let Some(handed) = self.handed.remove(&n) {
                    handed.end();
                }
            }
            Word::Cancelled { n, is_there } => {
                if let Some((_, tell)) = self.cancels.remove(&n) {
                    tell(is_there);
                }
            }
            Word::Wanted { n, denied, trouble } => {
                let denied = topics::names(denied);
                self.of_topics.push(OfTopics::Wanted { session, n, denied, trouble });
            }
            Word::Lost { topics, trouble, is_kept } => {
                let topics = topics::names(topics);
                self.of_topics.push(OfTopics::Lost { session, topics, trouble, is_kept });
            }
        }
    }

    /// A send is this node's again.
    fn back(&mut self, now: Instant, session: u64, n: u64, round: u64, state: LinkState) {
        if let Some(session) = self.session_of(session)
            && round > session.round
        {
            (session.round, session.gave_back) = (round, Some(state));
            self.generation += 1;
        }
        self.land(n);
        if let Some(send) = self.handed.remove(&n).and_then(|handed| Some((handed.number, handed.send?))) {
            self.give_back(now, send.0, send.1, state);
        }
    }

    fn give_back(&mut self, now: Instant, number: u64, send: crate::hub::Send, state: LinkState) {
        match self.leads {
            true => self.line.put_back(number, send),
            false => self.line.give_back(now, number, send, state),
        }
    }

    /// It is told, or will be: the client's next needn't wait for it.
    fn land(&mut self, n: u64) {
        let Some(handed) = self.handed.get(&n).filter(|handed| handed.send.is_some()) else { return };
        self.bytes -= handed.cost;
        self.sends -= 1;
        if let Some(of_client) = self.flying.get_mut(&handed.from.client) {
            match of_client.front() == Some(&n) {
                true => drop(of_client.pop_front()),
                false => of_client.retain(|flying| *flying != n),
            }
            if of_client.is_empty() {
                self.flying.remove(&handed.from.client);
            }
        }
    }

    /// Ends sessions whose leader is lost: when their time is over, or nothing in them is in doubt.
    pub(super) fn end_settled(&mut self, now: Instant) {
        let is_doubtful = |session: &Session| {
            let doubt = session.channel.doubt();
            self.handed.values().any(|handed| handed.session == session.number && handed.end <= doubt)
        };
        let is_over =
            |session: &&Session| session.ends.is_some_and(|ends| ends <= now || !is_doubtful(session));
        let over: Vec<_> =
            self.session.iter().chain(&self.old).filter(is_over).map(|session| session.number).collect();
        over.into_iter().for_each(|number| self.end_session(now, number));
    }

    /// Says nothing more in the present session: what nobody can have heard is this node's again at once. What may have
    /// been heard may still be told, until then.
    pub(super) fn retire(&mut self, now: Instant, ends: Instant) {
        let Some(mut session) = self.session.take() else { return };
        session.ends = Some(session.ends.map_or(ends, |before| before.min(ends)));
        let (number, doubt, acked) = (session.number, session.channel.doubt(), session.channel.acked());
        self.old.push(session);
        self.generation += 1;
        self.take_back(now, number, doubt);
        for waits in &mut self.orders {
            waits.said = waits.said.filter(|(of, end)| *of != number || *end <= acked);
        }
    }

    /// What was said behind `doubt` in a session is this node's again.
    fn take_back(&mut self, now: Instant, session: u64, doubt: u64) {
        let state = match self.state() {
            LinkState::Up => LinkState::Waiting,
            state => state,
        };
        let is_unheard = |handed: &Handed| handed.session == session && handed.end > doubt;
        let unheard = self.handed.iter().filter(|(_, handed)| is_unheard(handed) && handed.send.is_some());
        let unheard: Vec<u64> = unheard.map(|(n, _)| *n).collect();
        for n in unheard {
            self.land(n);
            if let Some((number, send)) = self.handed.remove(&n).and_then(|of| Some((of.number, of.send?))) {
                self.give_back(now, number, send, state);
            }
        }
    }

    /// Ends a session: what may have been heard may have been written, and the rest is this node's again.
    fn end_session(&mut self, now: Instant, number: u64) {
        if self.session.as_ref().is_some_and(|session| session.number == number) {
            self.retire(now, now);
        }
        let Some(at) = self.old.iter().position(|session| session.number == number) else { return };
        self.old.remove(at);
        let of_session = self.handed.iter().filter(|(_, handed)| handed.session == number);
        let all: Vec<u64> = of_session.map(|(n, _)| *n).collect();
        for n in all {
            self.land(n);
            self.handed.remove(&n).into_iter().for_each(Handed::lose);
        }
        let ended = std::mem::take(&mut self.cancels);
        for (n, (of, tell)) in ended {
            match of == number {
                true => tell(false),
                false => drop(self.cancels.insert(n, (of, tell))),
            }
        }
    }

    /// Forgets the orders that the leader has.
    fn forget_orders(&mut self, number: u64) {
        let Some(acked) = self.session_of(number).map(|session| session.channel.acked()) else { return };
        self.orders.retain(|waits| waits.said.is_none_or(|(of, end)| of != number || end > acked));
    }

    /// Requests whose leader should have said long ago that their time is over.
    pub(super) fn end_requests(&mut self, now: Instant) {
        let is_over = |handed: &Handed| handed.ends().is_some_and(|ends| ends <= now);
        let over: Vec<_> =
            self.handed.iter().filter(|(_, handed)| is_over(handed)).map(|(n, _)| *n).collect();
        for n in over {
            let Some(handed) = self.handed.get_mut(&n) else { continue };
            handed.fail(NoAnswer::Timeout { written: handed.send.is_none() });
            let number = handed.session;
            if let Some(session) = self.session.as_mut().filter(|session| session.number == number) {
                session.say(&Ask::Quit { n }, &[]);
            }
        }
    }
}

impl From<Order> for Command {
    fn from(order: Order) -> Command {
        match order {
            Order::Open => Command::Open,
            Order::Close => Command::Close,
            Order::Reconnect => Command::Reconnect,
        }
    }
}
