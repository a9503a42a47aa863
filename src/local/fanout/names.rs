//! Clients with names: their places are kept when they have gone, and another connection may take them over.

use std::{rc::Rc, time::Instant};

use super::{Fanout, Member};
use crate::{
    hub::{Claim, KeptPlace},
    local::socket,
    protocol::{Bye, Code},
};

/// The name that a client has.
#[derive(Debug)]
pub(super) struct Named {
    name: Rc<str>,
    /// Its number.
    client: u64,
    /// The newest entry that it has acknowledged, if it ever does.
    pub(super) acknowledged: Option<u64>,
}

impl Named {
    pub(super) fn name(&self) -> &Rc<str> {
        &self.name
    }
}

/// What is kept under the name that a client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::local) enum Claimed {
    /// Nothing.
    New,
    /// This place.
    Back(KeptPlace),
    /// A place in a log that is over.
    Renewed,
}

/// Why a client doesn't get a name, or can't acknowledge.
type Refused = (Code, String);

impl Fanout {
    /// Gives a client a name, and returns what is kept under it. With
    /// `takeover`, a client that has it loses it, and is told so.
    ///
    /// # Errors
    /// Why it doesn't get it.
    pub(in crate::local) fn claim(
        &self,
        id: u64,
        uid: u32,
        name: &str,
        takeover: bool,
    ) -> Result<Claimed, Refused> {
        if let Some((own, place)) = self.named(id) {
            return match *own == *name {
                true => Ok(Claimed::Back(KeptPlace { after: place.acknowledged_or_sent(), ..place })),
                false => Err((
                    Code::BadRequest,
                    format!("this connection has the name {own:?} already: one connection has one name"),
                )),
            };
        }
        let now = now();
        let mut claim = self.0.hub.names().claim(now, name, uid, id);
        if let Claim::Held(holder) = claim
            && takeover
        {
            self.take_over(holder, name, id);
            claim = self.0.hub.names().claim(now, name, uid, id);
        }
        let claimed = match claim {
            Claim::New => Claimed::New,
            Claim::Back(place) => Claimed::Back(place),
            Claim::Renewed => Claimed::Renewed,
            Claim::Held(holder) => {
                let message = format!(
                    "client {holder} has the name {name:?}: attach with `takeover`, or under another name"
                );
                return Err((Code::NameTaken, message));
            }
            Claim::Anothers => {
                let message = format!("the name {name:?} is another user's: choose another");
                return Err((Code::NameTaken, message));
            }
            Claim::Full { most } => {
                let message = format!("there are {most} names already, those that are kept included");
                return Err((Code::TooManyNames, message));
            }
        };
        let acknowledged = match claimed {
            Claimed::Back(place) if place.acknowledges => Some(place.after),
            _ => None,
        };
        let named = Named { name: name.into(), client: id, acknowledged };
        tracing::debug!(client = id, uid, name, "a client has a name");
        self.one(id, |_, client| {
            client.outgoing.track(socket::most_unread(client.stream.socket()));
            client.named = Some(Box::new(named));
            true
        });
        Ok(claimed)
    }

    /// A client begins after this entry, of its own choice: it has all before.
    pub(in crate::local) fn has_said(&self, id: u64, seq: u64) {
        self.one(id, |_, client| {
            if let Some(acknowledged) = client.named.as_mut().and_then(|named| named.acknowledged.as_mut()) {
                *acknowledged = seq;
            }
            true
        });
    }

    /// A client has taken all entries up to this one.
    ///
    /// # Errors
    /// Why that can't be.
    pub(in crate::local) fn acknowledge(&self, id: u64, seq: u64) -> Result<(), Refused> {
        let mut done = Ok(());
        self.one(id, |_, client| {
            let sent = client.outgoing.sent();
            done = match &mut client.named {
                None => Err("an ack is for a name: attach with one first".to_owned()),
                Some(_) if seq > sent => {
                    Err(format!("`seq` names entry {seq}, but the newest that you were sent is {sent}"))
                }
                Some(named) => {
                    named.acknowledged = Some(named.acknowledged.unwrap_or_default().max(seq));
                    Ok(())
                }
            };
            true
        });
        done.map_err(|why| (Code::BadRequest, why))
    }

    /// The name of a client, and how far it has come.
    fn named(&self, id: u64) -> Option<(Rc<str>, KeptPlace)> {
        let clients = self.0.clients.borrow();
        let client = clients.get(id)?;
        Some((Rc::clone(client.named.as_ref()?.name()), client.place()?))
    }

    /// A client loses its name to another connection, and is told so.
    fn take_over(&self, holder: u64, name: &str, by: u64) {
        tracing::info!(client = holder, name, by, "another connection takes over the name of a client");
        self.one(holder, |fanout, client| {
            if !fanout.hurry(holder, client) {
                return false;
            }
            fanout.keep_place(client);
            fanout.cut_off(holder, client, Bye::TakenOver);
            fanout.pump_and_hold(holder, client)
        });
    }

    /// Keeps the place of a client that goes, if it has a name.
    pub(super) fn keep_place(&self, client: &mut Member) {
        if let Some(place) = client.place()
            && let Some(named) = client.named.take()
        {
            self.0.hub.names().leave(now(), &named.name, named.client, place);
        }
    }
}

impl Member {
    /// How far it has come, if it has a name.
    fn place(&self) -> Option<KeptPlace> {
        let acknowledged = self.named.as_ref()?.acknowledged;
        let after = acknowledged.unwrap_or_else(|| self.outgoing.sure()).min(self.outgoing.sent());
        Some(KeptPlace { after, sent: self.outgoing.begun(), acknowledges: acknowledged.is_some() })
    }
}

impl KeptPlace {
    /// Where one goes on that is there all the time.
    fn acknowledged_or_sent(self) -> u64 {
        if self.acknowledges { self.after } else { self.sent }
    }
}

/// The clock of the runtime.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
