//! Topics on the machine's connections: when they are told of them, and what goes out.

use std::time::Instant;

use super::{Machine, Slot, State, find, pacing::Sender, rotation::Phase};
use crate::{
    config::Resubscribe,
    hub::{Payload, Subscriptions},
    upstream::session::Unsaid,
};

/// How far a connection is with topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) enum TopicStage {
    /// It isn't told of them, or not any more.
    Off,
    /// Its script is done, and it is up, or takes over, once all are said again: [`Input::Resubscribed`](super::Input).
    Resubscribing,
    /// It is up.
    Up,
    /// Another has taken over from it, and it is still read.
    Retired,
}

impl Machine {
    /// How far a connection is with topics.
    pub(in crate::upstream) fn topic_stage(&self, slot: Slot) -> TopicStage {
        let is_next = matches!(&self.rotation.phase(), Phase::Opening(next) if next.slot == slot);
        let is_old = matches!(
            &self.rotation.phase(),
            Phase::Overlap { old, .. } | Phase::Leaving { old, .. } if old.slot == slot
        );
        match &self.state {
            State::Up { channel, .. } if channel.slot == slot => TopicStage::Up,
            _ if is_old => TopicStage::Retired,
            State::Opening { channel } if channel.slot == slot && channel.resubscribes => {
                TopicStage::Resubscribing
            }
            State::Up { .. } if is_next && self.channel(slot).is_some_and(|next| next.resubscribes) => {
                TopicStage::Resubscribing
            }
            _ => TopicStage::Off,
        }
    }

    /// Whether a connection may be at [`TopicStage::Resubscribing`].
    pub(in crate::upstream) fn may_resubscribe(&self) -> bool {
        matches!(&self.state, State::Opening { channel } if channel.resubscribes)
            || matches!(self.rotation.phase(), Phase::Opening(next) if next.resubscribes)
    }

    /// The script is done. Where topics are said again before the connection is up, that comes first.
    pub(super) fn script_done(&mut self, now: Instant, slot: Slot) {
        let terms = self.settings.terms.subscriptions.as_ref();
        let waits = terms.is_some_and(|terms| terms.resubscribe == Resubscribe::BeforeUp);
        match self.channel_mut(slot) {
            Some(channel) if waits => channel.resubscribes = true,
            _ => self.ready(now, slot),
        }
    }

    /// All topics are said again.
    pub(super) fn resubscribed(&mut self, now: Instant, slot: Slot) {
        if self.topic_stage(slot) == TopicStage::Resubscribing {
            self.channel_mut(slot).into_iter().for_each(|channel| channel.resubscribes = false);
            self.ready(now, slot);
        }
    }

    fn ready(&mut self, now: Instant, slot: Slot) {
        match self.state.slot() == Some(slot) {
            true => self.up(now),
            false => self.switch(now, slot),
        }
    }

    /// The next message about topics on this connection, as far as the limits let clients' messages out.
    pub(in crate::upstream) fn next_topics(
        &mut self,
        now: Instant,
        slot: Slot,
        topics: &mut Subscriptions,
    ) -> Option<Payload> {
        let seat = slot.index();
        while topics.has_to_say(seat) && self.lets_topics_out(now) <= now && self.has_room(slot) {
            let Machine { state, rotation, world, .. } = self;
            let channel = find(state, rotation, slot)?;
            let saying = topics.next(seat)?;
            match channel.session.say_topics(&mut world.context(now, slot), &saying) {
                Ok((payload, id)) => {
                    topics.said(now, seat, &saying, id.as_deref());
                    world.pacing.sent(now);
                    return Some(payload);
                }
                Err(Unsaid::TooLarge(why)) => topics.too_large(seat, &saying, &why),
                Err(Unsaid::NoValue(why)) => topics.unsayable(seat, &saying, &why),
            }
        }
        None
    }

    /// When the limits let a message about topics out: `now`, or later. They keep what they keep for wsfan itself.
    pub(in crate::upstream) fn lets_topics_out(&self, now: Instant) -> Instant {
        self.world.pacing.message_at(now, Sender::Client)
    }
}
