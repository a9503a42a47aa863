//! What people hear when terms come and go. Pure.

use std::{collections::BTreeSet, rc::Rc};

use crate::cluster::machine::{Role, Standing};

/// So many leaders are remembered as told of.
const MAX_TOLD: usize = 256;

/// The terms that this node has seen, as far as people are to hear of them.
#[derive(Debug, Default)]
pub(super) struct Terms {
    /// The newest, and its leader, which may have stepped down since.
    newest: (u64, Option<Rc<str>>),
    /// The leader of the term before it, as far as is known.
    before: Option<Rc<str>>,
    /// The term whose leader was told of last.
    told: u64,
    /// This one's settings were seen to differ since the newest term was looked at.
    seen: Option<Rc<str>>,
    /// The settings of the newest term's leader differ.
    differs: bool,
    /// Those whose settings differ, which was told.
    differing: BTreeSet<Rc<str>>,
}

/// What is to be said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// Another node leads now.
    pub(super) leads: Option<Rc<str>>,
    /// Its settings differ.
    pub(super) differs: bool,
}

impl Terms {
    /// The settings of this leader differ.
    pub(super) fn differs(&mut self, node: Rc<str>) {
        self.seen = Some(node);
    }

    /// Who led before the newest term.
    pub(super) fn before(&self) -> Option<&str> {
        self.before.as_deref()
    }

    /// Looks at how `node` stands now. While it isn't with the log, terms that are over go by, and nothing is said.
    pub(super) fn look(&mut self, node: &str, standing: &Standing) -> News {
        if self.newest.0 != standing.term {
            let newest = (standing.term, standing.leader.clone());
            self.before = std::mem::replace(&mut self.newest, newest).1.or(self.before.take());
            let seen = self.seen.take();
            self.differs = seen.is_some() && seen == standing.leader;
            if let Some(leader) = standing.leader.as_ref().filter(|_| !self.differs) {
                self.differing.remove(leader);
            }
        }
        let Some(leader) = standing.leader.as_ref().filter(|leader| &***leader != node) else {
            return News::default();
        };
        if matches!(standing.role, Role::Detached(_)) {
            return News::default();
        }
        let is_new = std::mem::replace(&mut self.told, standing.term) != standing.term;
        let differs =
            self.differs && self.differing.len() < MAX_TOLD && self.differing.insert(Rc::clone(leader));
        News { leads: is_new.then(|| Rc::clone(leader)), differs }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cluster::machine::Away;

    fn standing(role: Role, term: u64, leader: Option<&str>) -> Standing {
        Standing {
            role,
            term,
            leader: leader.map(Rc::from),
            epoch: None,
            lag: 0,
            silence: Duration::ZERO,
            lease_left: None,
        }
    }

    fn news(leads: Option<&str>, differs: bool) -> News {
        News { leads: leads.map(Rc::from), differs }
    }

    #[test]
    fn who_leads_is_told_once_and_not_of_terms_that_are_over() {
        let mut terms = Terms::default();
        let away = Role::Detached(Away::Starting);
        for (term, leader) in [(1, "a"), (2, "b"), (3, "c")] {
            terms.differs(leader.into());
            assert_eq!(terms.look("a", &standing(away, term, Some(leader))), news(None, false));
        }
        assert_eq!(terms.look("a", &standing(Role::Follower, 3, Some("c"))), news(Some("c"), true));
        assert_eq!(terms.look("a", &standing(Role::Candidate, 3, None)), news(None, false));
        assert_eq!(terms.look("a", &standing(Role::Leader, 4, Some("a"))), news(None, false));
        assert_eq!(terms.before(), Some("c"));
        assert_eq!(terms.look("a", &standing(Role::Follower, 5, Some("b"))), news(Some("b"), false));
        assert_eq!(terms.before(), Some("a"));
    }

    #[test]
    fn that_a_leader_s_settings_differ_is_told_once_until_they_don_t() {
        let mut terms = Terms::default();
        let mut differs = |term, leader: &str, is_so: bool| {
            if is_so {
                terms.differs(leader.into());
            }
            terms.look("a", &standing(Role::Follower, term, Some(leader))).differs
        };
        assert!(differs(1, "b", true) && !differs(2, "b", true), "once");
        assert!(differs(3, "c", true), "each");
        assert!(!differs(4, "a", true) && !differs(5, "b", false), "not itself");
        assert!(differs(6, "b", true), "anew");
    }
}
