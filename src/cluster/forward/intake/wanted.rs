//! Topics that other nodes' clients want: each node holds them as one client.

use std::{rc::Rc, time::Instant};

use super::{
    Intake,
    told::{Happened, Told},
};
use crate::{
    cluster::forward::words::{Trouble, Word},
    hub::{Asking, Hub, Origin, SubscriptionError, Topic, Word as Said},
};

impl Intake {
    /// A node's clients want topics.
    pub(super) fn want(
        &mut self,
        id: &str,
        n: u64,
        topics: Vec<String>,
        payload: Option<String>,
        again: bool,
    ) {
        let next = &mut self.next_client;
        let Some(session) = self.sessions.get_mut(id) else { return };
        let holder = session.holder.get_or_insert_with(|| {
            *next += 1;
            Rc::new(Origin::remote(u32::MAX, *next))
        });
        let holder = Rc::clone(holder);
        let wanted = topics.clone();
        let (told, session, hub, client) =
            (Rc::clone(&self.told), id.to_owned(), self.hub.clone(), holder.client);
        let answer = move |said: &Said| answer(&told, &session, &hub, (client, n), &wanted, said);
        let (told, session) = (Rc::clone(&self.told), id.to_owned());
        let losses = move |said: &Said| {
            if let Said::Failed { trouble, topics, why } = said {
                let is_kept = *trouble == SubscriptionError::Timeout;
                let trouble = Trouble { kind: (*trouble).into(), why: why.clone() };
                let word = Word::Lost { topics: names(topics), trouble, is_kept };
                told.push(Happened::Said { session: session.clone(), word });
            }
        };
        let (answer, losses) = (Rc::new(answer), Rc::new(losses));
        let asking = Asking { topics, payload, answer, losses, keeps: again };
        self.hub.subscribe(&holder, asking);
    }

    /// They don't want these any more.
    pub(super) fn unwant(&mut self, now: Instant, id: &str, topics: &[String]) {
        let holder = self.sessions.get(id).and_then(|session| session.holder.as_ref());
        if let Some(holder) = holder {
            self.hub.release_topics(now, holder.client, topics);
        }
    }
}

/// Tells what came of a wish. The node is denied what it doesn't hold after it.
fn answer(told: &Told, session: &str, hub: &Hub, (client, n): (u64, u64), wanted: &[String], said: &Said) {
    let (denied, trouble) = match said {
        Said::Subscribed => (Vec::new(), None),
        Said::Failed { trouble, topics, why } => {
            let table = hub.topics();
            let is_named = |topic: &str| topics.iter().any(|named| &**named == topic);
            let is_held = |topic: &str| table.of(client).any(|held| &**held == topic);
            let denied = wanted.iter().filter(|topic| is_named(topic) || !is_held(topic)).cloned().collect();
            (denied, Some(Trouble { kind: (*trouble).into(), why: why.clone() }))
        }
        Said::Queued | Said::Holds { .. } => return,
    };
    told.push(Happened::Said { session: session.to_owned(), word: Word::Wanted { n, denied, trouble } });
}

fn names(topics: &[Topic]) -> Vec<String> {
    topics.iter().map(ToString::to_string).collect()
}
