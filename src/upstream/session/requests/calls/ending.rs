//! Who waits no longer. Pure.

use std::time::Instant;

use super::{
    Calls,
    call::{Call, Who},
    heard::Cancel,
};
use crate::{
    hub::NoAnswer,
    upstream::session::requests::{rules::RequestRules, splice::Key},
};

/// So many requests that nobody waits for any more are remembered whole; of others their ids, so that their answers go to
/// nobody.
pub(super) const MAX_GHOSTS: usize = 1_000;
/// So many are remembered whose clients still wait, though wsfan doesn't: as many as there may be of the others.
pub(super) const MAX_OVERDUE: usize = 10_000;

impl Calls {
    /// A client wants no more answers to what it names so: a request, or the requests of a send. None where there is
    /// nothing of this name.
    pub(in crate::upstream::session) fn cancel(
        &mut self,
        rules: &RequestRules,
        client: u64,
        name: &str,
    ) -> Option<Vec<Cancel>> {
        let is_it = |call: &Call| match &call.who {
            Who::Client(asks) => {
                asks.caller.from().client == client
                    && asks.caller.id() == Some(name)
                    && !asks.caller.is_over()
            }
            _ => false,
        };
        let named = self.calls.iter().filter(|(_, call)| is_it(call)).map(|(id, _)| id.clone());
        let ids: Vec<_> = named.collect();
        (!ids.is_empty()).then(|| ids.iter().filter_map(|id| self.give_up(rules, id)).collect())
    }

    /// A client has left.
    pub(in crate::upstream::session) fn leave(&mut self, rules: &RequestRules, client: u64) -> Vec<Cancel> {
        let own = self.calls.iter().filter(|(_, call)| call.client() == Some(client));
        let ids: Vec<_> = own.map(|(id, _)| id.clone()).collect();
        ids.iter().filter_map(|id| self.give_up(rules, id)).collect()
    }

    fn give_up(&mut self, rules: &RequestRules, id: &Key) -> Option<Cancel> {
        let call = self.calls.get_mut(id)?;
        call.fail(NoAnswer::Cancelled);
        call.is_cancelled = call.stream.is_some() && call.key.is_none();
        let cancel = self.cancel_of(id);
        match self.calls.get_mut(id) {
            // the server is at it still, and is asked no more meanwhile than it takes
            Some(call) if rules.max_in_flight > 0 && call.is_in_flight => call.who = Who::Nobody,
            _ => self.let_go(id),
        }
        cancel
    }

    /// Tells those whose time is over.
    pub(in crate::upstream::session) fn expire(&mut self, now: Instant) {
        while let Some((_, id)) = self.ends.first().filter(|(at, _)| *at <= now).cloned() {
            match self.calls.get_mut(&id).map(|call| &mut call.who) {
                // the program has a time-out of its own, and may wait for longer
                Some(Who::Client(asks)) if !asks.is_request => {
                    asks.quota = None;
                    self.let_wait(&id);
                }
                // its answer may still come, and is no one's who gets this id
                Some(Who::Plain) => self.land(&id),
                None => drop(self.ends.pop_first()),
                Some(Who::Client(asks)) => {
                    asks.caller.fail(NoAnswer::Timeout { written: true });
                    // what begins all the same has nobody to take it
                    if let Some(call) = self.calls.get_mut(&id) {
                        call.is_cancelled = call.stream.is_some();
                    }
                    self.let_go(&id);
                }
                Some(Who::Own | Who::Nobody) => self.let_go(&id),
            }
        }
    }

    /// How its stream is cancelled, if its key is known, and nobody else takes what comes by it.
    pub(super) fn cancel_of(&self, id: &Key) -> Option<Cancel> {
        let (stream, key, written) = self.calls.get(id)?.key.as_ref()?;
        let takes = |id: &Key| self.calls.get(id).is_some_and(|call| !matches!(call.who, Who::Nobody));
        let is_others = self.by_key(*stream, key).iter().any(|other| other != id && takes(other));
        (!is_others).then(|| Cancel { stream: *stream, key: written.clone() })
    }

    /// Nobody waits for it any more, but its answer may still come.
    pub(super) fn let_go(&mut self, id: &Key) {
        let Some(call) = self.calls.get_mut(id) else { return };
        call.who = Who::Nobody;
        self.let_wait(id);
    }

    /// wsfan waits for its answer no longer, which may still come.
    fn let_wait(&mut self, id: &Key) {
        self.land(id);
        let Calls { calls, ghosts, overdue, .. } = self;
        let Some(call) = calls.get(id) else { return };
        overdue.remove(&call.number);
        let (waiting, most) = match call.who {
            Who::Client(_) => (overdue, MAX_OVERDUE),
            _ => (ghosts, MAX_GHOSTS),
        };
        waiting.insert(call.number, id.clone());
        let oldest = waiting.first_key_value().filter(|_| waiting.len() > most).map(|(_, id)| id.clone());
        if let Some(oldest) = oldest {
            self.remove(&oldest);
            self.forgotten.add(&oldest);
        }
    }
}
