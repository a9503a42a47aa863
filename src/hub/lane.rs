//! The lane from the clients to the link, bounded in bytes, with a share for each.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use tokio::sync::Notify;

use super::{Origin, turns::Turns};

/// Room for sends on their way to the link. Where it is short, the client whose send doesn't fit is read no
/// further until it does; nobody else waits for it. Nobody can take all: a user has no more than it leaves
/// free, and a client no more than half of what is free.
#[derive(Debug, Clone, Default)]
pub struct Lane(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    free: Cell<usize>,
    usage: RefCell<Usage>,
    waiters: RefCell<Turns<Rc<Waiter>>>,
}

/// What is taken, by user and by client.
#[derive(Debug, Default)]
struct Usage {
    users: BTreeMap<u32, usize>,
    clients: BTreeMap<u64, Allotted>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Allotted {
    bytes: usize,
    sends: usize,
}

#[derive(Debug)]
struct Waiter {
    from: Rc<Origin>,
    cost: usize,
    admission: Cell<Admission>,
    /// How many were let in while it was next.
    passed: Cell<usize>,
    granted: Notify,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Admission {
    Waiting,
    Granted,
    Over,
}

impl Default for Shared {
    fn default() -> Shared {
        Shared { free: Cell::new(Lane::MAX_BYTES), usage: RefCell::default(), waiters: RefCell::default() }
    }
}

impl Lane {
    /// The lane's size. A larger send takes all of it.
    pub const MAX_BYTES: usize = 4 << 20;
    /// What a send costs beside its payload, so that empty ones are bounded too.
    pub const OVERHEAD: usize = 256;
    /// So many sends fit at most.
    pub const MAX_SENDS: usize = Lane::MAX_BYTES / Lane::OVERHEAD;
    /// So many sends of one client are on their way at most: enough for a batch, and no more, since what is
    /// on its way makes large ones of others wait.
    pub const CLIENT_SENDS: usize = 256;
    /// So many may pass one that doesn't fit yet; then they wait for it.
    const PATIENCE: usize = 1024;

    /// Waits for room. Users take turns, and of each its clients. Cancel-safe.
    pub async fn admit(&self, from: &Rc<Origin>, cost: usize) -> Permit {
        let cost = cost.min(Lane::MAX_BYTES);
        let waiter = Rc::new(Waiter {
            from: Rc::clone(from),
            cost,
            admission: Cell::new(Admission::Waiting),
            passed: Cell::new(0),
            granted: Notify::new(),
        });
        self.0.waiters.borrow_mut().push(from, Rc::clone(&waiter));
        let guard = WaiterGuard { lane: self, waiter };
        self.grant();
        while guard.waiter.admission.get() == Admission::Waiting {
            guard.waiter.granted.notified().await;
        }
        guard.waiter.admission.set(Admission::Over);
        Permit { from: Rc::clone(from), held: Some((self.clone(), cost)) }
    }

    /// Lets in whose turn it is, as long as there is room.
    fn grant(&self) {
        let state = &*self.0;
        while state.free.get() >= Lane::OVERHEAD {
            let mut waiters = state.waiters.borrow_mut();
            let Some(next) = waiters.peek().cloned() else { return };
            let is_over = next.passed.get() >= Lane::PATIENCE;
            let granted = waiters.pop(|waiter| (!is_over || Rc::ptr_eq(waiter, &next)) && self.fits(waiter));
            drop(waiters);
            let Some(waiter) = granted else { return };
            if !Rc::ptr_eq(&waiter, &next) {
                next.passed.set(next.passed.get() + 1);
            }
            self.take(&waiter.from, waiter.cost);
            waiter.admission.set(Admission::Granted);
            waiter.granted.notify_one();
        }
    }

    fn fits(&self, waiter: &Waiter) -> bool {
        let (free, cost) = (self.0.free.get(), waiter.cost);
        let usage = self.0.usage.borrow();
        let user = usage.users.get(&waiter.from.uid).copied().unwrap_or_default();
        let client = usage.clients.get(&waiter.from.client).copied().unwrap_or_default();
        cost <= free
            && (user == 0 || user + cost <= free)
            && (client.sends == 0 || client.sends < Lane::CLIENT_SENDS && client.bytes + cost <= free / 2)
    }

    fn take(&self, from: &Origin, cost: usize) {
        self.0.free.set(self.0.free.get() - cost);
        let mut usage = self.0.usage.borrow_mut();
        *usage.users.entry(from.uid).or_default() += cost;
        let share = usage.clients.entry(from.client).or_default();
        *share = Allotted { bytes: share.bytes + cost, sends: share.sends + 1 };
    }

    fn give_back(&self, from: &Origin, cost: usize) {
        self.0.free.set(self.0.free.get() + cost);
        let mut usage = self.0.usage.borrow_mut();
        if let Some(user) = usage.users.get_mut(&from.uid) {
            *user -= cost;
            if *user == 0 {
                usage.users.remove(&from.uid);
            }
        }
        if let Some(share) = usage.clients.get_mut(&from.client) {
            *share = Allotted { bytes: share.bytes - cost, sends: share.sends - 1 };
            if share.sends == 0 {
                usage.clients.remove(&from.client);
            }
        }
        drop(usage);
        self.grant();
    }
}

/// A place among those that wait, given up when dropped.
struct WaiterGuard<'a> {
    lane: &'a Lane,
    waiter: Rc<Waiter>,
}

impl Drop for WaiterGuard<'_> {
    fn drop(&mut self) {
        match self.waiter.admission.replace(Admission::Over) {
            Admission::Over => {} // there is a permit for it
            Admission::Granted => self.lane.give_back(&self.waiter.from, self.waiter.cost),
            Admission::Waiting => {
                // one at a time waits for each client
                self.lane.0.waiters.borrow_mut().take_newest(self.waiter.from.client);
                self.lane.grant(); // others may have waited for it
            }
        }
    }
}

/// Room in the lane, given back when dropped.
#[derive(Debug)]
pub struct Permit {
    from: Rc<Origin>,
    held: Option<(Lane, usize)>,
}

impl Permit {
    /// A permit that holds nothing, for sends that came from no client.
    pub fn free() -> Permit {
        Permit { from: Rc::default(), held: None }
    }

    /// The same, for the sends of a client.
    pub fn of(from: &Rc<Origin>) -> Permit {
        Permit { from: Rc::clone(from), held: None }
    }

    /// Who has it.
    pub fn from(&self) -> &Rc<Origin> {
        &self.from
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some((lane, cost)) = self.held.take() {
            lane.give_back(&self.from, cost);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn client(uid: u32, client: u64) -> Rc<Origin> {
        Rc::new(Origin::new(uid, client))
    }

    /// Takes room until there is none for this one.
    fn flood(lane: &Lane, from: &Rc<Origin>, cost: usize) -> Vec<Permit> {
        std::iter::from_fn(|| lane.admit(from, cost).now_or_never()).collect()
    }

    #[test]
    fn nobody_takes_all() {
        let lane = Lane::default();
        let small = flood(&lane, &client(1, 1), Lane::OVERHEAD);
        assert_eq!(small.len(), Lane::CLIENT_SENDS);
        let large = flood(&lane, &client(1, 2), 100 << 10);
        let others: Vec<_> = (3..1000).flat_map(|id| flood(&lane, &client(1, id), 100 << 10)).collect();
        assert!(!large.is_empty() && !others.is_empty());
        let free = lane.0.free.get();
        assert!(free >= Lane::MAX_BYTES / 2 - (100 << 10), "one user leaves half of it: {free}");
        assert!(lane.admit(&client(2, 1000), 1 << 20).now_or_never().is_some());
        drop((small, large, others));
        assert_eq!(lane.0.free.get(), Lane::MAX_BYTES);
        assert!(lane.0.usage.borrow().users.is_empty() && lane.0.usage.borrow().clients.is_empty());
    }

    #[test]
    fn users_and_clients_wait_by_turns() {
        let lane = Lane::default();
        let all = lane.admit(&client(9, 9), usize::MAX).now_or_never().unwrap();
        let who = [(1, 1), (1, 2), (1, 3), (2, 4)];
        let mut waiting: Vec<_> = who
            .map(|(uid, id)| {
                Some(Box::pin({
                    let (lane, from) = (lane.clone(), client(uid, id));
                    async move { lane.admit(&from, 1 << 20).await }
                }))
            })
            .into();
        assert!(waiting.iter_mut().flatten().all(|one| one.now_or_never().is_none()));
        drop(all);
        let mut held = Vec::new();
        for one in [0, 3, 1] {
            held.push(waiting[one].take().unwrap().now_or_never().expect("its turn"));
        }
        assert!(waiting[2].as_mut().unwrap().now_or_never().is_none(), "its user has half");
        held.remove(0);
        assert!(waiting[2].take().unwrap().now_or_never().is_some());
    }

    #[test]
    fn a_large_one_is_passed_by_others_but_not_for_ever() {
        let lane = Lane::default();
        let first = lane.admit(&client(1, 1), 1 << 20).now_or_never().unwrap();
        let (large, small) = (client(2, 2), client(3, 3));
        let mut waiting = Box::pin(lane.admit(&large, usize::MAX));
        assert!((&mut waiting).now_or_never().is_none());
        let passed =
            (0..10_000).take_while(|_| lane.admit(&small, Lane::OVERHEAD).now_or_never().is_some()).count();
        assert_eq!(passed, Lane::PATIENCE);
        let mut later = Box::pin(lane.admit(&small, Lane::OVERHEAD));
        assert!((&mut later).now_or_never().is_none());
        drop(first);
        let all = (&mut waiting).now_or_never().expect("all of it");
        assert!((&mut later).now_or_never().is_none());
        drop(all);
        assert!((&mut later).now_or_never().is_some());
    }

    #[test]
    fn who_gives_up_leaves_nothing_behind() {
        let lane = Lane::default();
        let all = lane.admit(&client(1, 1), usize::MAX).now_or_never().unwrap();
        let (one, other) = (client(2, 2), client(3, 3));
        let mut granted = Box::pin(lane.admit(&one, usize::MAX));
        let mut waiting = Box::pin(lane.admit(&other, usize::MAX));
        assert!((&mut granted).now_or_never().is_none() && (&mut waiting).now_or_never().is_none());
        drop(waiting);
        drop(all); // it is granted, but nobody looks
        drop(granted);
        assert_eq!(lane.0.free.get(), Lane::MAX_BYTES);
        assert!(lane.0.waiters.borrow().is_empty());
    }
}
