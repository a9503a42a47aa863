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

/// One request's place, given back when dropped.
#[derive(Debug)]
pub struct Quota {
    of: Quotas,
    client: u64,
}

impl Quotas {
    /// A place for a request of a client, if it and all together have room.
    pub fn take(&self, client: u64) -> Option<Quota> {
        let mut taken = self.0.borrow_mut();
        if taken.all >= OF_ALL || taken.clients.get(&client).is_some_and(|own| *own >= OF_A_CLIENT) {
            return None;
        }
        taken.all += 1;
        *taken.clients.entry(client).or_default() += 1;
        Some(Quota { of: self.clone(), client })
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.0.borrow().all
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        let mut taken = self.of.0.borrow_mut();
        taken.all -= 1;
        if let Some(own) = taken.clients.get_mut(&self.client) {
            *own -= 1;
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
}
