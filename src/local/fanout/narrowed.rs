//! Clients that narrow: they are visited for what they want, and for nothing else.

use std::{cell::Cell, path::Path, rc::Rc};

use super::{Clients, Fanout, Member};
use crate::{config::TopicPattern, local::selections::Narrowing};

impl Fanout {
    /// Has a client get something else than before: at once, or with the move of its cursor that follows. False, and
    /// nothing changes: what it asks for takes more than there is room for.
    pub(super) fn narrow(
        &self,
        id: u64,
        change: impl FnOnce(&Narrowing) -> Narrowing,
        at_once: bool,
    ) -> bool {
        let mut clients = self.0.clients.borrow_mut();
        let Some(client) = clients.get(id) else { return true };
        let narrowing = change(&client.narrowing);
        if narrowing == client.narrowing || !client.about.receive {
            return true;
        }
        let (uid, old, new) = (client.about.peer.uid, client.narrowing.memory(), narrowing.memory());
        if !self.0.patterns.borrow_mut().change(uid, old, new) {
            return false;
        }
        let Some(mut client) = clients.remove(id) else { return true };
        let mut selections = self.0.selections.borrow_mut();
        let head = self.0.hub.log().head();
        let joined = (!narrowing.is_all()).then(|| selections.join(narrowing.clone(), id, head));
        client.narrowing = narrowing;
        client.outgoing.fall_behind();
        if let Some(left) = std::mem::replace(&mut client.selection, joined) {
            selections.leave(left, id);
        }
        let mut behind = self.0.behind.borrow_mut();
        if joined.is_some() {
            behind.insert(id)
        } else {
            behind.remove(&id)
        };
        if at_once {
            client.outgoing.narrow(joined.map(|_| selections.upto()));
        }
        clients.insert(id, client);
        true
    }

    /// What a client's cursor is narrowed with; none where it gets everything.
    pub(super) fn upto_of(&self, id: u64) -> Option<Rc<Cell<u64>>> {
        let clients = self.0.clients.borrow();
        clients.get(id)?.selection.map(|_| self.0.selections.borrow().upto())
    }

    /// Has a listener let other topics through, for those who are connected as well.
    pub(in crate::local) fn narrow_all_of(&self, listener: &Path, topics: Option<&[TopicPattern]>) {
        let ids: Vec<u64> = {
            let clients = self.0.clients.borrow();
            clients.iter().filter(|(_, client)| client.about.listener == listener).map(|(id, _)| id).collect()
        };
        for id in ids {
            self.narrow(id, |narrowing| narrowing.clone().within(topics), true);
            self.one(id, |fanout, client| fanout.pump_and_hold(id, client));
        }
    }

    /// Runs `work` for every client that gets everything; those leave for which it returns false.
    pub(super) fn each_whole(&self, work: impl Fn(&Fanout, u64, &mut Member) -> bool) {
        let Clients { all, .. } = &mut *self.0.clients.borrow_mut();
        all.retain(|id, client| {
            let stays = work(self, *id, client);
            if !stays {
                self.part(*id, client);
            }
            stays
        });
    }

    /// Runs `work` for those who narrow and want something of what is new, and for those of them who are behind.
    pub(super) fn offer_narrowed(&self, work: impl Fn(&Fanout, u64, &mut Member) -> bool) {
        if self.0.selections.borrow().is_empty() {
            return;
        }
        let head = self.0.hub.log().head();
        let ids: Vec<u64> = {
            let (mut selections, behind) = (self.0.selections.borrow_mut(), self.0.behind.borrow());
            selections.scan(&self.0.hub.log());
            let touched = selections.touched().filter(|id| !behind.contains(id));
            touched.chain(behind.iter().copied()).collect()
        };
        ids.into_iter().for_each(|id| self.one(id, |fanout, client| work(fanout, id, client)));
        self.0.selections.borrow_mut().offered(head);
    }

    /// Notes whether one that narrows has all that there is, so that it needn't be looked at but for what it wants.
    pub(super) fn settle_narrowed(&self, id: u64, client: &mut Member) {
        let follows = !client.lagging && client.outgoing.follow(&self.0.hub.log());
        let mut behind = self.0.behind.borrow_mut();
        if follows {
            behind.remove(&id);
        } else {
            client.outgoing.fall_behind();
            behind.insert(id);
        }
    }
}
