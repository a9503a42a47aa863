//! Clients that linger: what is new gathers for them, and they get it in one write. What doesn't wait, such as an
//! answer, comes after what has gathered.

use std::{
    cell::Cell,
    path::Path,
    rc::Rc,
    time::{Duration, Instant},
};

use super::{Fanout, Member, clients::Group, laggards::Wake};
use crate::{
    hub::Log,
    local::linger::{Delivery, Gathered},
};

/// Where some get everything, no more gathers than one write takes at once: more brings nothing.
const MOST_FOR_ALL: usize = 128 << 10;

/// The runtime's clock ticks so often, and rounds up: a look is set so much too early.
const TICK: Duration = Duration::from_millis(1);

impl Fanout {
    /// Gives those who linger what has gathered, as far as it is time. What still waits is needed.
    pub(super) fn offer_lingering(&self, needed: &Cell<u64>) {
        let (now, head) = (now(), self.0.hub.log().head());
        for length in self.lingers() {
            let verdict = {
                let mut clients = self.0.clients.borrow_mut();
                let Some(group) = clients.group(length) else { continue };
                let log = self.0.hub.log();
                let is_much = self.is_much(group, &log);
                group.crowd.linger.borrow_mut().news(now, Gathered { head, notice: log.notice(), is_much })
            };
            if !self.heed(length, verdict, needed) {
                self.note_waiting(length, needed);
            }
        }
    }

    /// What has gathered for those who linger for so long may be due.
    pub(super) fn look_at_lingering(&self, length: Duration) {
        let verdict = {
            let mut clients = self.0.clients.borrow_mut();
            let Some(group) = clients.group(length) else { return };
            group.crowd.linger.borrow_mut().look(now() + TICK) // it was set so much too early
        };
        self.0.burst.borrow_mut().begin(self.count());
        self.heed(length, verdict, &Cell::new(u64::MAX)); // what was needed stays so until the next offer
        self.0.burst.borrow_mut().end();
    }

    /// The first entry that waits for those who linger; `u64::MAX` while none does.
    pub(super) fn first_lingering(&self) -> u64 {
        let clients = self.0.clients.borrow();
        let first = clients.lingering.iter().filter_map(|group| group.crowd.linger.borrow().first());
        first.min().unwrap_or(u64::MAX)
    }

    /// Gives a client what has gathered for it, so that what is said now comes after that. False: it is gone.
    pub(super) fn hurry(&self, id: u64, client: &mut Member) -> bool {
        !client.crowd.lingers() || self.pump(id, client)
    }

    /// The same, by its number.
    pub(in crate::local) fn hurry_one(&self, id: u64) {
        self.one(id, |fanout, client| fanout.hurry(id, client));
    }

    /// Has the clients of a listener linger for so long from now on. They get what has gathered.
    pub(in crate::local) fn linger_all_of(&self, listener: &Path, length: Duration) {
        for (id, _) in self.clients_of(listener) {
            self.hurry_one(id);
            let mut clients = self.0.clients.borrow_mut();
            let Some(mut client) = clients.remove(id) else { continue };
            client.about.linger = length;
            let crowd = clients.crowd(length, self.0.hub.log().head());
            self.regroup(id, &mut client, crowd, |_| {}, true);
            clients.insert(id, client);
        }
    }

    fn lingers(&self) -> Vec<Duration> {
        self.0.clients.borrow().lingering.iter().map(|group| group.crowd.length()).collect()
    }

    /// Does what is to be done about what has gathered. True: it was given.
    fn heed(&self, length: Duration, verdict: Delivery, needed: &Cell<u64>) -> bool {
        match verdict {
            Delivery::Give => self.give(length, needed),
            Delivery::Wait => {}
            Delivery::WatchFor(due) => {
                let due = tokio::time::Instant::from_std(due) - TICK;
                self.wait(Box::pin(async move {
                    tokio::time::sleep_until(due).await;
                    Wake::Linger(length)
                }));
            }
        }
        verdict == Delivery::Give
    }

    /// Gives those who linger for so long all that lies ahead of them.
    fn give(&self, length: Duration, needed: &Cell<u64>) {
        let head = self.0.hub.log().head();
        let crowd = {
            let mut clients = self.0.clients.borrow_mut();
            let Some(group) = clients.group(length) else { return };
            self.offer_to(&mut group.all, needed);
            Rc::clone(&group.crowd)
        };
        self.offer_narrowed(&crowd, |fanout, id, client| fanout.offer_one(id, client, needed));
        crowd.linger.borrow_mut().gave(head);
    }

    /// Whether more has gathered than should: waiting may not cost anyone an entry.
    fn is_much(&self, group: &Group, log: &Log) -> bool {
        let quarter = self.0.policy.get().max_bytes / 4;
        let most = if group.all.is_empty() { quarter } else { quarter.min(MOST_FOR_ALL) };
        let first = group.crowd.linger.borrow().given() + 1;
        !log.holds_from(first) || log.bytes_from(first) > most as u64
    }

    fn note_waiting(&self, length: Duration, needed: &Cell<u64>) {
        let mut clients = self.0.clients.borrow_mut();
        let Some(group) = clients.group(length) else { return };
        if let Some(first) = group.crowd.linger.borrow().first() {
            needed.set(needed.get().min(first));
        }
        group.iter().for_each(|(_, client)| self.note_needed(client, needed));
    }
}

/// The clock of the runtime.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
