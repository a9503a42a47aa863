//! Clients that narrow: they are visited for what they want, and for nothing else.

use std::{cell::Cell, path::Path, rc::Rc};

use super::{Clients, Fanout, Member, crowd::Crowd};
use crate::{
    config::TopicPattern,
    hub::Topic,
    local::{dialogue::rights::Identity, selections::Narrowing},
};

impl Fanout {
    /// Whether there is room for what a client asks for.
    pub(in crate::local) fn has_room_for(&self, id: u64, topics: Option<&[TopicPattern]>) -> bool {
        let clients = self.0.clients.borrow();
        let Some(client) = clients.get(id) else { return true };
        let (uid, old) = (client.about.peer.uid, client.narrowing.memory());
        let new = Narrowing::default().asking(topics, &[]).memory();
        self.0.patterns.borrow().has_room(uid, old, new)
    }

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
        self.select(&mut clients, id, |known| *known = narrowing, at_once);
        true
    }

    /// A client is subscribed to these topics from now on, or no longer: one that narrows gets them for as long.
    pub(in crate::local) fn holds(&self, id: u64, topics: &[Topic], holds: bool) {
        self.hurry_one(id);
        let mut clients = self.0.clients.borrow_mut();
        let narrows = |client: &Member| client.narrowing.depends_on_held() && client.about.receive;
        if clients.get(id).is_some_and(narrows) {
            self.select(&mut clients, id, |narrowing| narrowing.set_held(topics, holds), true);
        }
    }

    /// Has a client want something else: it leaves its selection for another.
    fn select(&self, clients: &mut Clients, id: u64, change: impl FnOnce(&mut Narrowing), at_once: bool) {
        let Some(mut client) = clients.remove(id) else { return };
        let crowd = Rc::clone(&client.crowd);
        self.regroup(id, &mut client, crowd, change, at_once);
        clients.insert(id, client);
    }

    /// Puts a client into a crowd, and there into the selection of what it wants: from its place on at once, or with
    /// the move of its cursor that follows.
    pub(super) fn regroup(
        &self,
        id: u64,
        client: &mut Member,
        crowd: Rc<Crowd>,
        change: impl FnOnce(&mut Narrowing),
        at_once: bool,
    ) {
        client.outgoing.fall_behind();
        if let Some(left) = client.selection.take() {
            client.crowd.selections.borrow_mut().leave(left, id);
            client.crowd.behind.borrow_mut().remove(&id);
        }
        change(&mut client.narrowing);
        if !client.narrowing.is_all() {
            let (narrowing, head) = (client.narrowing.clone(), self.0.hub.log().head());
            client.selection = Some(crowd.selections.borrow_mut().join(narrowing, id, head));
            crowd.behind.borrow_mut().insert(id);
        }
        if at_once {
            client.outgoing.narrow(client.selection.map(|_| crowd.selections.borrow().upto()));
        }
        client.crowd = crowd;
    }

    /// What a client's cursor is narrowed with; none where it gets everything.
    pub(super) fn upto_of(&self, id: u64) -> Option<Rc<Cell<u64>>> {
        let clients = self.0.clients.borrow();
        let client = clients.get(id)?;
        client.selection.map(|_| client.crowd.selections.borrow().upto())
    }

    /// The clients of a listener, and who they are.
    pub(in crate::local) fn clients_of(&self, listener: &Path) -> Vec<(u64, Identity)> {
        let clients = self.0.clients.borrow();
        let own = clients.iter().filter(|(_, client)| client.about.listener == listener);
        own.map(|(id, client)| (id, client.about.who.clone())).collect()
    }

    /// Has a listener let other topics through, for those who are connected as well.
    pub(in crate::local) fn narrow_all_of(
        &self,
        listener: &Path,
        topics_of: impl Fn(&Identity) -> Option<Vec<TopicPattern>>,
    ) {
        for (id, who) in self.clients_of(listener) {
            let topics = topics_of(&who);
            self.hurry_one(id);
            self.narrow(id, |narrowing| narrowing.clone().within(topics.as_deref()), true);
            self.one(id, |fanout, client| fanout.pump_and_hold(id, client));
        }
    }

    /// Runs `work` for those of a crowd who narrow and want something of what is new, and for those of them who are
    /// behind.
    pub(super) fn offer_narrowed(&self, crowd: &Crowd, work: impl Fn(&Fanout, u64, &mut Member) -> bool) {
        if crowd.selections.borrow().is_empty() {
            return;
        }
        let head = self.0.hub.log().head();
        let ids: Vec<u64> = {
            let (mut selections, behind) = (crowd.selections.borrow_mut(), crowd.behind.borrow());
            selections.scan(&self.0.hub.log());
            let touched = selections.touched().filter(|id| !behind.contains(id));
            touched.chain(behind.iter().copied()).collect()
        };
        ids.into_iter().for_each(|id| self.one(id, |fanout, client| work(fanout, id, client)));
        crowd.selections.borrow_mut().offered(head);
    }

    /// Notes whether one that narrows has all that there is, so that it needn't be looked at but for what it wants.
    pub(super) fn settle_narrowed(&self, id: u64, client: &mut Member) {
        let follows = !client.lagging && client.outgoing.follow(&self.0.hub.log());
        let mut behind = client.crowd.behind.borrow_mut();
        if follows {
            behind.remove(&id);
        } else {
            client.outgoing.fall_behind();
            behind.insert(id);
        }
    }
}
