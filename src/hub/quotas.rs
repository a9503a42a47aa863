//! How many requests may wait for their answers, over all clients

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

/// So many of one client.
const OF_A_CLIENT: usize = 1_000;
/// So many of all together.
const OF_ALL: usize = 10_000;

/// What is taken. Clones are handles to the same.
#[derive(Debug, Clone, Default)]
pub struct Quotas(Rc<RefCell<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    clients: BTreeMap<u64, usize>,
}

/// The places of some requests of a client, mostly of one, given back when dropped.
#[derive(Debug)]
pub struct Quota {
    of: Quotas,
    client: u64,
    count: usize,
}

impl Quotas {
    /// A place for a request of a client, if it and all together have room.
    pub fn take(&self, client: u64) -> Option<Quota> {
        self.can_take(client, 1).then(|| Quota { of: self.clone(), client, count: 1 })
    }

    fn can_take(&self, client: u64, count: usize) -> bool {
        let mut taken = self.0.borrow_mut();
        let own = taken.clients.get(&client).copied().unwrap_or(0);
        if count > OF_ALL - taken.all || count > OF_A_CLIENT - own {
            return false;
        }
        if count > 0 {
            taken.all += count;
            taken.clients.insert(client, own + count);
        }
        true
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.0.borrow().all
    }
}

impl Quota {
    /// Takes so many places more, if there is room for all of them.
    pub fn grow(&mut self, more: usize) -> bool {
        let can = self.of.can_take(self.client, more);
        self.count += if can { more } else { 0 };
        can
    }

    /// One of its places, by itself; none where it has but one.
    pub fn split(&mut self) -> Option<Quota> {
        let Quota { of, client, count } = self;
        (*count > 1).then(|| {
            *count -= 1;
            Quota { of: of.clone(), client: *client, count: 1 }
        })
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        let mut taken = self.of.0.borrow_mut();
        taken.all -= self.count;
        if let Some(own) = taken.clients.get_mut(&self.client) {
            *own -= self.count;
            if *own == 0 {
                taken.clients.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_its_share_and_all_have_theirs() {
        let quotas = Quotas::default();
        let mut held: Vec<_> = std::iter::from_fn(|| quotas.take(1)).collect();
        assert_eq!(held.len(), OF_A_CLIENT);
        held.extend(
            (2..100).flat_map(|client| std::iter::from_fn(|| quotas.take(client)).collect::<Vec<_>>()),
        );
        assert_eq!((held.len(), quotas.taken()), (OF_ALL, OF_ALL));
        held.clear();
        assert!(quotas.taken() == 0 && quotas.0.borrow().clients.is_empty());
    }

    #[test]
    fn a_unit_takes_a_place_for_each_of_its_requests() {
        let quotas = Quotas::default();
        let mut unit = quotas.take(1).unwrap();
        assert!(!unit.grow(OF_A_CLIENT) && unit.grow(OF_A_CLIENT - 1) && unit.grow(0));
        assert!(quotas.take(1).is_none() && quotas.taken() == OF_A_CLIENT);
        let one = unit.split().unwrap();
        drop(unit);
        assert_eq!(quotas.taken(), 1);
        let mut one = one;
        assert!(one.split().is_none());
        drop(one);
        assert!(quotas.taken() == 0 && quotas.0.borrow().clients.is_empty());
    }
}
