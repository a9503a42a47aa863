//! Finds the values at a few pointers of a JSON message, in one pass over it. Pure.
//!
//! Nothing is built but what is asked for: the rest is passed over by the parser, and values are slices of
//! the message. Of a key that an object has twice the last one counts, as `serde_json::Value` and most
//! parsers have it. What is passed over is only checked for its grammar, so that a number or an escape
//! that no value could hold hurts nobody.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::config::{Pointer, array_index};

#[cfg(test)]
mod tests;

/// Pointers, compiled into a tree of their steps.
#[derive(Debug)]
pub(in crate::upstream) struct Probe {
    /// The first is the whole message.
    nodes: Vec<Node>,
    slots: usize,
}

#[derive(Debug, Default)]
struct Node {
    /// Where a value that is here is put.
    slot: Option<usize>,
    children: Vec<Child>,
}

#[derive(Debug)]
struct Child {
    key: Box<str>,
    /// What the key is in a list.
    index: Option<usize>,
    node: usize,
}

/// What was found in a message: for each pointer its value, as the message has it.
#[derive(Debug)]
pub(in crate::upstream) struct Probed<'m> {
    values: Vec<Option<&'m str>>,
    is_doubled: bool,
}

impl<'m> Probed<'m> {
    /// The value at the pointer of this number.
    pub(in crate::upstream) fn get(&self, slot: usize) -> Option<&'m str> {
        self.values.get(slot).copied().flatten()
    }

    /// Whether an object on the way to one of them has the key twice, of which another reader may take the first.
    pub(in crate::upstream) fn is_doubled(&self) -> bool {
        self.is_doubled
    }
}

impl Probe {
    /// Compiles pointers; what is found at each goes by its number.
    pub(in crate::upstream) fn new(pointers: &[Pointer]) -> Probe {
        let mut probe = Probe { nodes: vec![Node::default()], slots: pointers.len() };
        for (slot, pointer) in pointers.iter().enumerate() {
            let node = pointer.tokens().iter().fold(0, |node, token| probe.child(node, token));
            debug_assert!(probe.nodes[node].slot.is_none(), "{pointer} is there twice");
            probe.nodes[node].slot = Some(slot);
        }
        probe
    }

    /// What is at the pointers; none if the message isn't JSON.
    pub(in crate::upstream) fn look<'m>(&self, message: &'m str) -> Option<Probed<'m>> {
        let mut found = Probed { values: vec![None; self.slots], is_doubled: false };
        self.parse(0, message, &mut found).ok()?;
        Some(found)
    }

    fn child(&mut self, node: usize, token: &str) -> usize {
        if let Some(child) = self.nodes[node].children.iter().find(|child| *child.key == *token) {
            return child.node;
        }
        let new = self.nodes.len();
        self.nodes.push(Node::default());
        let child = Child { key: token.into(), index: array_index(token), node: new };
        self.nodes[node].children.push(child);
        new
    }

    /// Takes a whole JSON text as what is at `node`.
    fn parse<'m>(&self, node: usize, text: &'m str, found: &mut Probed<'m>) -> serde_json::Result<()> {
        let mut parser = serde_json::Deserializer::from_str(text);
        At { probe: self, node, found }.deserialize(&mut parser)?;
        parser.end()
    }

    /// Forgets what was found at a node and below: another value takes its place.
    fn clear(&self, node: usize, found: &mut Probed<'_>) {
        let node = &self.nodes[node];
        if let Some(slot) = node.slot {
            found.values[slot] = None;
        }
        node.children.iter().for_each(|child| self.clear(child.node, found));
    }
}

/// The value at a node.
struct At<'p, 'f, 'm> {
    probe: &'p Probe,
    node: usize,
    found: &'f mut Probed<'m>,
}

impl<'m> DeserializeSeed<'m> for At<'_, '_, 'm> {
    type Value = ();

    fn deserialize<D: Deserializer<'m>>(self, parser: D) -> Result<(), D::Error> {
        let node = &self.probe.nodes[self.node];
        let Some(slot) = node.slot else {
            return parser.deserialize_any(Inside(self));
        };
        let raw: &'m RawValue = serde::Deserialize::deserialize(parser)?;
        self.found.values[slot] = Some(raw.get());
        if !node.children.is_empty() && raw.get().starts_with(['{', '[']) {
            let At { probe, node, found } = self;
            let mut parser = serde_json::Deserializer::from_str(raw.get());
            // the grammar of all of it is right, but it may hold a key that is no text
            let inside = parser.deserialize_any(Inside(At { probe, node, found }));
            inside.map_err(serde::de::Error::custom)?;
        }
        Ok(())
    }
}

/// What is within the value at a node.
struct Inside<'p, 'f, 'm>(At<'p, 'f, 'm>);

impl<'m> Visitor<'m> for Inside<'_, '_, 'm> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<M: MapAccess<'m>>(self, mut map: M) -> Result<(), M::Error> {
        let At { probe, node, found } = self.0;
        let children = &probe.nodes[node].children;
        let mut seen = 0_u64; // of the first 64 children, each has a bit
        while let Some(child) = map.next_key_seed(KeySeed(children))? {
            match child {
                Some(at) => {
                    let (node, bit) = (children[at].node, 1_u64.checked_shl(at as u32).unwrap_or(0));
                    found.is_doubled |= seen & bit != 0;
                    seen |= bit;
                    probe.clear(node, found);
                    map.next_value_seed(At { probe, node, found: &mut *found })?;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'m>>(self, mut list: S) -> Result<(), S::Error> {
        let At { probe, node, found } = self.0;
        let children = &probe.nodes[node].children;
        for at in 0.. {
            let more = match children.iter().find(|child| child.index == Some(at)) {
                Some(child) => list.next_element_seed(At { probe, node: child.node, found: &mut *found })?,
                None => list.next_element::<IgnoredAny>()?.map(|_| ()),
            };
            if more.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// A key: which child it leads to, if any.
struct KeySeed<'p>(&'p [Child]);

impl<'m> DeserializeSeed<'m> for KeySeed<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'m>>(self, parser: D) -> Result<Self::Value, D::Error> {
        parser.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|child| *child.key == *key))
    }
}
