//! What the link does for the topics that clients share: it tells connections of them as they come and go.

use std::time::Instant;

use super::now;
use crate::{
    hub::Publisher,
    upstream::machine::{Input, Machine, Slot, TopicStage},
};

/// Opens and closes the table's seats as the machine's connections come and go. What has been said again on all
/// that waited for it lets it be up.
pub(super) fn follow(hub: &Publisher, machine: &mut Machine) {
    if hub.topics().terms().is_none() {
        // the terms may have gone meanwhile
        if machine.may_resubscribe() {
            Slot::ALL.iter().for_each(|slot| machine.handle(now(), Input::Resubscribed { slot: *slot }));
        }
        return;
    }
    for slot in Slot::ALL {
        let seat = slot.index();
        let stage = machine.topic_stage(slot);
        let (is_open, is_retired) = (hub.topics().is_open(seat), hub.topics().is_retired(seat));
        match stage {
            TopicStage::Off if is_open || is_retired => hub.with_topics(|topics| topics.close(seat)),
            TopicStage::Retired if is_open => hub.with_topics(|topics| topics.retire(seat)),
            TopicStage::Resubscribing | TopicStage::Up if !is_open => {
                hub.with_topics(|topics| topics.open(seat))
            }
            _ => {}
        }
        if stage == TopicStage::Resubscribing && hub.topics().is_settled(seat) {
            machine.handle(now(), Input::Resubscribed { slot });
        }
    }
}

/// When there is something to do for topics, if nothing else happens before.
pub(super) fn deadline(hub: &Publisher, machine: &Machine, now: Instant) -> Option<Instant> {
    let topics = hub.topics();
    let is_waiting = Slot::ALL.iter().any(|slot| topics.has_to_say(slot.index()));
    let let_out = is_waiting.then(|| machine.lets_topics_out(now)).filter(|at| *at > now);
    [topics.next_timeout(), let_out].into_iter().flatten().min()
}
