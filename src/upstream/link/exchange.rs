//! What a connection reads from and writes to: the hub, the machine and the sends that wait.

use super::{
    apart::{Apart, Part},
    backlog::Backlog,
    news::{declare, tell},
    now,
};
use crate::{
    hub::{Data, Fate, MessageTopic, Publisher, Seldom, Send, now_us},
    upstream::{
        machine::{Input, Machine, Slot},
        websocket::{BATCH_BYTES, Exchange, Frame},
    },
};

/// What one connection has to do with.
pub(super) struct LinkExchange<'a> {
    pub(super) slot: Slot,
    pub(super) hub: &'a Publisher,
    pub(super) machine: &'a mut Machine,
    pub(super) backlog: &'a mut Backlog,
    /// What its messages are taken apart into.
    pub(super) apart: &'a mut Apart,
    /// When it was last said that one has too many parts.
    pub(super) too_many: &'a Seldom,
    /// Clients' sends wait until the other connection has written what it was given: they keep their
    /// order.
    pub(super) held: bool,
    /// Something was said of topics, or given up, from which more may follow: times, or that the connection is up.
    pub(super) moved_topics: bool,
    /// The wall clock, read once a batch.
    pub(super) time_us: Option<u64>,
    /// The bytes of lines that were told beside the messages, and are still to be counted.
    pub(super) told: usize,
}

impl Exchange for LinkExchange<'_> {
    fn received(&mut self, frame: Frame<'_>) {
        match frame {
            Frame::Data(data) => {
                let time_us = *self.time_us.get_or_insert_with(now_us);
                if self.apart.is_on() {
                    return self.take_apart(Part { data, time_us });
                }
                self.take(Part { data, time_us });
            }
            Frame::Ping => self.machine.sent(now(), 1), // its pong
            Frame::Pong(payload) => {
                let payload = payload.to_vec();
                self.machine.handle(now(), Input::Pong { slot: self.slot, payload });
            }
        }
    }

    fn beside(&mut self) -> usize {
        std::mem::take(&mut self.told)
    }

    fn is_full(&self) -> bool {
        self.apart.has_rest()
    }

    fn next_send(&mut self) -> Option<Send> {
        let waits = self.takes_clients() && self.backlog.ahead() > 0;
        let seat = self.slot.index();
        if !waits && !self.machine.has_own(self.slot) && !self.hub.topics().has_to_say(seat) {
            return None; // as nearly always
        }
        self.next_of(waits)
    }

    fn written(&mut self, messages: usize, bytes: usize) {
        self.hub.count_sent(messages, bytes);
    }
}

impl LinkExchange<'_> {
    /// The next send, where there may be one. `waits`: one of a client's, say.
    #[inline(never)]
    fn next_of(&mut self, waits: bool) -> Option<Send> {
        let seat = self.slot.index();
        let now = now();
        if let Some(payload) = self.machine.next_own(now, self.slot) {
            return Some(Send::unheard(payload));
        }
        // clients' sends and their topics take turns
        if self.hub.topics().has_to_say(seat) && !(waits && std::mem::take(&mut self.backlog.is_next)) {
            let said = self.hub.with_topics(|topics| self.machine.next_topics(now, self.slot, topics));
            self.moved_topics |= said.is_some() || !self.hub.topics().has_to_say(seat);
            if let Some(payload) = said {
                self.backlog.is_next = true;
                return Some(Send::unheard(payload));
            }
        }
        if !waits {
            return None;
        }
        loop {
            let room = self.machine.room(self.slot);
            let send = self.backlog.next(now, self.machine.leeway(now), room)?;
            let messages = send.count();
            let Some(send) = self.expanded(send) else { continue };
            if let Some(send) = self.machine.write(now, self.slot, send) {
                self.machine.sent(now, messages);
                return Some(send);
            }
        }
    }

    #[inline]
    fn take(&mut self, Part { data, time_us }: Part<'_>) {
        if !self.machine.wants_messages(self.slot) {
            return self.hub.publish(time_us, data, &MessageTopic::None);
        }
        self.heard(time_us, data);
    }

    /// A message that may be a list.
    #[inline(never)]
    fn take_apart(&mut self, whole: Part<'_>) {
        let mut apart = std::mem::take(self.apart);
        match apart.take(whole, |part| self.take(part)) {
            Ok(beside) => self.told += beside,
            Err(why) => {
                if let Some(more) = self.too_many.due() {
                    tracing::warn!(more, "{why}");
                }
            }
        }
        if apart.has_rest() {
            self.told += BATCH_BYTES;
        }
        *self.apart = apart;
    }

    /// Goes on with a message that is being taken apart. False where there is none.
    pub(super) fn go_on(&mut self) -> bool {
        let mut apart = std::mem::take(self.apart);
        let has_gone_on = apart.go_on(|part| self.take(part));
        *self.apart = apart;
        has_gone_on
    }

    /// A message that the machine wants to hear first. Not inlined: the others needn't make room for it.
    #[inline(never)]
    fn heard(&mut self, time_us: u64, data: Data<'_>) {
        let verdict = self.machine.hear(now(), self.slot, data);
        // what is missing before the message stands before it in the log, and what follows from it behind
        verdict.holes.iter().for_each(|hole| declare(self.hub, time_us, hole));
        let is_kept = verdict.topics.answer.is_some_and(|(answer, publish)| {
            let is_taken = self.hub.with_topics(|topics| topics.heard(self.slot.index(), &answer));
            is_taken && !publish
        });
        if verdict.publish && !is_kept {
            let of_id = verdict.topics.id.and_then(|id| {
                self.hub
                    .with_topics(|topics| topics.topic_of(self.slot.index(), &id).map(ToString::to_string))
            });
            let topic = of_id.map_or(verdict.topic, MessageTopic::new);
            self.hub.publish_retained(time_us, data, &topic, verdict.retain.as_ref());
        } else {
            self.hub.withhold(time_us, data);
            if self.hub.is_staged()
                && let Some(counted) = self.machine.counted(now(), self.slot, data)
            {
                self.hub.note_count(counted); // other machines have no entry to know it by
            }
        }
        self.told += tell(self.hub, self.machine);
    }

    /// A send with values in the places of its placeholders. None where it is told that it doesn't go out.
    fn expanded(&mut self, send: Send) -> Option<Send> {
        if !send.expand {
            return Some(send);
        }
        let answers = self.machine.answered_by(self.slot, &send);
        let send = self.fitting(send);
        if send.is_none() {
            self.machine.reopen(now(), self.slot, &answers);
        }
        send
    }

    fn fitting(&self, send: Send) -> Option<Send> {
        let send = self.hub.expand(send)?;
        match self.machine.max_message().filter(|max| send.largest() > *max) {
            Some(max) => {
                send.ticket.settle(Fate::TooLarge(max));
                None
            }
            None => Some(send),
        }
    }

    /// Whether clients' sends go to this connection.
    fn takes_clients(&self) -> bool {
        let is_theirs = self.machine.sender() == Some(self.slot) || self.machine.drained() == Some(self.slot);
        is_theirs && !self.held
    }
}
