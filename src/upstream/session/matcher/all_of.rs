//! Tests of a message's values, all of which must hold. Pure.

use std::ops::ControlFlow;

use super::Slots;
use crate::{
    config::{Pointer, Test},
    upstream::session::{
        elements::each,
        probe::{Probe, Probed},
    },
};

/// Tests, compiled. Without any they hold.
#[derive(Debug, Default)]
pub(in crate::upstream) struct AllOf {
    /// By the numbers of their pointers.
    tests: Vec<(usize, Test)>,
    lists: Vec<AnyOf>,
}

/// Of a list, one element must be such that all of these hold for it.
#[derive(Debug)]
struct AnyOf {
    /// The number of the list's pointer.
    list: usize,
    /// What is looked for in an element.
    probe: Probe,
    tests: AllOf,
}

impl AllOf {
    pub(in crate::upstream) fn new<'t>(
        tests: impl IntoIterator<Item = (Pointer, &'t Test)>,
        slots: &mut Slots,
    ) -> AllOf {
        let mut all = AllOf::default();
        let mut lists: Vec<(Pointer, Vec<(Pointer, &Test)>)> = Vec::new();
        for (pointer, test) in tests {
            let Some((list, rest)) = pointer.at_any() else {
                all.tests.push((slots.of(&pointer), test.clone()));
                continue;
            };
            match lists.iter_mut().find(|(there, _)| *there == list) {
                Some((_, tests)) => tests.push((rest, test)),
                None => lists.push((list, vec![(rest, test)])),
            }
        }
        let any_of = |(list, tests): (Pointer, Vec<_>)| {
            let mut inner = Slots::default();
            let tests = AllOf::new(tests, &mut inner);
            AnyOf { list: slots.of(&list), probe: Probe::new(inner.pointers()), tests }
        };
        all.lists = lists.into_iter().map(any_of).collect();
        all
    }

    /// Whether they hold for what was found; none where there is nothing to find anything in.
    pub(in crate::upstream) fn hold(&self, found: Option<&Probed<'_>>) -> bool {
        self.tests.iter().all(|(slot, test)| holds(test, found.and_then(|found| found.get(*slot))))
            && self.lists.iter().all(|any| any.holds(found.and_then(|found| found.get(any.list))))
    }
}

impl AnyOf {
    fn holds(&self, list: Option<&str>) -> bool {
        let (mut is_there, mut holds) = (false, false);
        let whole = each(list.unwrap_or("null"), |element| {
            is_there = true;
            holds = self.probe.look(element).is_some_and(|found| self.tests.hold(Some(&found)));
            if holds { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        // an empty list has no element that could make anything hold; what is none leads nowhere
        let is_list = list.is_some_and(|list| list.starts_with('['));
        holds || !is_there && !is_list && whole.is_ok() && self.tests.hold(None)
    }
}

/// Whether a test holds for a value as the message has it.
fn holds(test: &Test, raw: Option<&str>) -> bool {
    let Some(raw) = raw else { return test.holds(None) };
    match test {
        Test::Exists(there) => *there,
        // a list or an object is no scalar, and may be large
        _ if raw.starts_with(['{', '[']) => false,
        Test::OneOf(_) | Test::Contains(_) | Test::Regex(_) => {
            serde_json::from_str(raw).is_ok_and(|value: serde_json::Value| test.holds(Some(&value)))
        }
    }
}
