//! Where a rule finds a value in a message: at a pointer, or in one of the elements of a list. Pure.

use std::ops::ControlFlow;

use super::{
    elements::each,
    matcher::{AllOf, Look, Matcher, Slots},
    probe::{Probe, Probed},
};
use crate::config::{Pattern, Placeholder, Pointer, Template, Test};

/// Where a value is.
#[derive(Debug)]
pub(in crate::upstream) enum Spot {
    One(Way),
    /// As the first of these says that matches the message.
    FirstOf(Vec<(Matcher, Way)>),
}

/// The way to a value, from a message or an element on.
#[derive(Debug)]
pub(in crate::upstream) enum Way {
    /// At the pointer of this number.
    At(usize),
    /// In an element of a list.
    Among(Box<Among>),
}

/// In which element, and where there.
#[derive(Debug)]
pub(in crate::upstream) struct Among {
    /// The number of the list's pointer.
    list: usize,
    /// What is looked for in an element.
    probe: Probe,
    /// Which elements count.
    only: AllOf,
    value: Way,
    pick: Pick,
}

/// Which of several elements, of those that have the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) enum Pick {
    First,
    /// Of those where it isn't null.
    FirstSaid,
    Last,
    /// Of those where it isn't null.
    LastSaid,
}

impl Pick {
    fn is_first(self) -> bool {
        matches!(self, Pick::First | Pick::FirstSaid)
    }

    fn counts(self, value: &str) -> bool {
        matches!(self, Pick::First | Pick::Last) || value != "null"
    }
}

impl Spot {
    /// The spot at a pointer, for messages that a pattern is about: where both lead through the same list, only those
    /// elements count that make the pattern hold.
    pub(in crate::upstream) fn new(
        pointer: &Pointer,
        of: Option<&Pattern>,
        pick: Pick,
        slots: &mut Slots,
    ) -> Spot {
        match of {
            Some(Pattern::Any(patterns)) if pointer.at_any().is_some() => {
                let way = |pattern: &Pattern| {
                    (Matcher::new(pattern, slots), Way::new(pointer, &tests_of(pattern), pick, slots))
                };
                Spot::FirstOf(patterns.iter().map(way).collect())
            }
            _ => {
                let tests = of.map(tests_of).unwrap_or_default();
                Spot::One(Way::new(pointer, &tests, pick, slots))
            }
        }
    }

    /// The value there, as the message has it.
    pub(in crate::upstream) fn get<'m>(&self, look: &Look<'m>) -> Option<&'m str> {
        let way = match self {
            Spot::One(way) => way,
            Spot::FirstOf(ways) => &ways.iter().find(|(matcher, _)| matcher.matches(look))?.1,
        };
        way.get(look.found?)
    }
}

/// The value at a pointer of a text that a pattern is about, in the first element where it leads through a list: for one
/// look alone, since all is compiled for it.
pub(in crate::upstream) fn find(text: &str, pointer: &Pointer, of: &Pattern) -> Option<String> {
    let mut slots = Slots::default();
    let spot = Spot::new(pointer, Some(of), Pick::First, &mut slots);
    let found = Probe::new(slots.pointers()).look(text)?;
    spot.get(&Look::at(text, Some(&found))).map(str::to_owned)
}

fn tests_of(pattern: &Pattern) -> Vec<(Pointer, &Test)> {
    match pattern {
        Pattern::Json(tests) => tests.iter().map(|(pointer, test)| (pointer.clone(), test)).collect(),
        _ => Vec::new(),
    }
}

impl Way {
    fn new(pointer: &Pointer, tests: &[(Pointer, &Test)], pick: Pick, slots: &mut Slots) -> Way {
        let Some((list, rest)) = pointer.at_any() else { return Way::At(slots.of(pointer)) };
        let mut of_the_list = Vec::new();
        for (pointer, test) in tests {
            if let Some((there, rest)) = pointer.at_any()
                && there == list
            {
                of_the_list.push((rest, *test));
            }
        }
        let mut inner = Slots::default();
        let only = AllOf::new(of_the_list.clone(), &mut inner);
        let value = Way::new(&rest, &of_the_list, pick, &mut inner);
        let probe = Probe::new(inner.pointers());
        Way::Among(Box::new(Among { list: slots.of(&list), probe, only, value, pick }))
    }

    fn get<'m>(&self, found: &Probed<'m>) -> Option<&'m str> {
        let among = match self {
            Way::At(slot) => return found.get(*slot),
            Way::Among(among) => among,
        };
        let mut picked = None;
        let whole = each(found.get(among.list)?, |element| {
            let here = among.probe.look(element).filter(|found| among.only.hold(Some(found)));
            let value = here.and_then(|found| among.value.get(&found));
            if let Some(value) = value.filter(|value| among.pick.counts(value)) {
                picked = Some(value);
                if among.pick.is_first() {
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        });
        picked.filter(|_| whole.is_ok())
    }
}

/// The spots of those `${field:}` of a template that lead through a list.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Fields(Vec<(Pointer, Spot)>);

impl Fields {
    /// Those of a template that is rendered for messages of a pattern.
    pub(in crate::upstream) fn new(template: &Template, of: Option<&Pattern>, slots: &mut Slots) -> Fields {
        let mut fields = Vec::new();
        for (placeholder, _) in template.placeholders() {
            if let Placeholder::Field(pointer) = placeholder
                && pointer.at_any().is_some()
                && !fields.iter().any(|(there, _)| there == pointer)
            {
                fields.push((pointer.clone(), Spot::new(pointer, of, Pick::First, slots)));
            }
        }
        Fields(fields)
    }

    /// The spot of a field, if it leads through a list.
    pub(in crate::upstream) fn get(&self, pointer: &Pointer) -> Option<&Spot> {
        self.0.iter().find(|(there, _)| there == pointer).map(|(_, spot)| spot)
    }
}
