//! Who may do what on one listener: its settings, and what is counted by them.

use std::{
    cell::{Ref, RefCell},
    time::Instant,
};

use super::{
    budget::rates::Rates,
    dialogue::rights::{self, Members, Who},
    seldom::Seldom,
    socket::{Ids, Peer, own_uid},
};
use crate::{
    config::{Grant, Listener, Window},
    hub::Payload,
    protocol::Code,
};

/// A listener's settings, which a reload may change, for the listener and for all who are connected to it.
pub(super) struct Access {
    config: RefCell<Listener>,
    /// Whom its rules are for.
    members: RefCell<Vec<Members>>,
    own_uid: u32,
    rates: RefCell<Rates>,
    refusals_said: Seldom,
}

impl Access {
    pub(super) fn new(config: Listener, ids: &Ids) -> Access {
        Access {
            config: RefCell::new(config),
            members: RefCell::new(ids.members.clone()),
            own_uid: own_uid(),
            rates: RefCell::default(),
            refusals_said: Seldom::default(),
        }
    }

    /// What is in force.
    pub(super) fn config(&self) -> Ref<'_, Listener> {
        self.config.borrow()
    }

    /// Applies other settings; `ids` where they name others.
    pub(super) fn change(&self, config: Listener, ids: Option<&Ids>) {
        if let Some(ids) = ids {
            *self.members.borrow_mut() = ids.members.clone();
        }
        *self.config.borrow_mut() = config;
    }

    /// What a client may do now.
    pub(super) fn of(&self, who: &Who) -> Ref<'_, Grant> {
        Ref::map(self.config(), |config| rights::of(config, &self.members.borrow(), who, self.own_uid))
    }

    /// What keeps a client from sending these messages now. If nothing does, they are counted.
    pub(super) fn refuses<'a>(
        &self,
        now: Instant,
        who: &Who,
        messages: impl Iterator<Item = &'a Payload> + Clone,
    ) -> Option<(Code, String)> {
        let grant = self.of(who);
        if let Some(why) = rights::unsendable(&grant, messages.clone()) {
            return Some(why);
        }
        if grant.rate.is_empty() || self.rates.borrow_mut().take(now, who.uid, messages.count(), &grant.rate)
        {
            return None;
        }
        let rate: Vec<_> = grant.rate.iter().map(Window::to_string).collect();
        let rate = rate.join(" and ");
        Some((
            Code::RateLimited,
            format!("this listener lets you send {rate} messages (rate): send again later"),
        ))
    }

    /// Notes that a client was refused something.
    pub(super) fn say_refused(&self, client: u64, peer: Peer, op: &str, why: &str) {
        let Peer { pid, uid } = peer;
        let listener = self.config();
        let listener = listener.path.display();
        const WHAT: &str = "refused what a client asked for";
        match self.refusals_said.due() {
            Some(unsaid) => tracing::warn!(client, pid, uid, %listener, op, why, unsaid, "{WHAT}"),
            None => tracing::debug!(client, pid, uid, %listener, op, why, "{WHAT}"),
        }
    }
}
