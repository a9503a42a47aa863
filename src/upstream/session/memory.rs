//! What is kept of the server's messages, beyond the connection that they came over. Pure.

use std::{
    cell::{RefCell, RefMut},
    collections::{BTreeMap, BTreeSet},
    fmt,
    rc::Rc,
};

use super::{kept::Kept, sequence::Counts};
use crate::{
    config::{Placeholder, Pointer, Template, Value},
    upstream::{
        failure::Failure,
        secrets::{
            each_text,
            redactor::{MIN_LIKELY, Redactor},
        },
    },
};

/// The longest value that is kept, in bytes of its JSON.
pub(in crate::upstream) const MAX_VALUE: usize = 64 * 1024;

/// What was captured, what was heard last, and how far the server has counted.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Memory {
    captures: Captures,
    /// The last value heard at each pointer that something asks for.
    last: BTreeMap<Pointer, Captured>,
    counting: Rc<Counting>,
    /// What commands have printed that are run once. What a connection was made with is its own.
    kept: Kept,
    /// What it has from its own connection, and nobody else's word changes: only where it follows another.
    own: Option<Own>,
}

/// The server's count, over all connections of one life of the memory.
#[derive(Debug, Default)]
struct Counting {
    counts: RefCell<Counts>,
    /// One more for each session that is there: see [`Memory::presence`].
    present: Rc<()>,
}

/// What a connection brought itself.
#[derive(Debug, Default)]
struct Own {
    captures: BTreeSet<String>,
    last: BTreeSet<Pointer>,
}

/// What was captured, by name; a copy costs nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::upstream) struct Captures(Rc<BTreeMap<String, Captured>>);

/// A value of JSON as it was heard, which may be secret: a session's token.
#[derive(Clone, PartialEq, Eq)]
struct Captured(Rc<str>);

impl Memory {
    /// Forgets everything: the next connection begins anew.
    pub(in crate::upstream) fn forget(&mut self) {
        *self = Memory::default();
    }

    /// Forgets what was heard. What commands have printed is none of the server's.
    pub(in crate::upstream) fn forget_heard(&mut self) {
        *self = Memory { kept: self.kept.clone(), ..Memory::default() };
    }

    /// Forgets what commands have printed: the next attempt runs them. One that is under way goes by what it has.
    pub(in crate::upstream) fn forget_kept(&mut self) {
        self.kept = Kept::default();
    }

    /// What commands have printed, for an attempt to use, and to add to.
    pub(in crate::upstream) fn kept(&self) -> Kept {
        self.kept.clone()
    }

    /// Forgets what a template has captures of.
    pub(in crate::upstream) fn forget_in(&mut self, template: &Template) {
        let captures = Rc::make_mut(&mut self.captures.0);
        for (placeholder, _) in template.placeholders() {
            if let Placeholder::Capture(name) = placeholder {
                captures.remove(name);
                self.own.iter_mut().for_each(|own| own.captures.extend([name.clone()]));
            }
        }
    }

    /// The same for the connection that is to take over: what that one brings changes nothing here, and what
    /// comes in here is told it by [`Memory::follow`]. The server's count is one.
    pub(in crate::upstream) fn beside(&self) -> Memory {
        Memory {
            captures: self.captures.clone(),
            last: self.last.clone(),
            counting: Rc::clone(&self.counting),
            kept: self.kept.clone(),
            own: Some(Own::default()),
        }
    }

    /// Takes over what the older connection has heard, but for what its own has brought.
    pub(in crate::upstream) fn follow(&mut self, older: &Memory) {
        let Some(own) = &self.own else { return };
        if self.captures != older.captures {
            let captures = Rc::make_mut(&mut self.captures.0);
            for (name, kept) in older.captures.0.iter().filter(|(name, _)| !own.captures.contains(*name)) {
                captures.insert(name.clone(), kept.clone());
            }
        }
        for (pointer, kept) in older.last.iter().filter(|(pointer, _)| !own.last.contains(*pointer)) {
            match self.last.get_mut(pointer) {
                Some(last) => *last = kept.clone(),
                None => drop(self.last.insert(pointer.clone(), kept.clone())),
            }
        }
    }

    /// It has nobody to follow any more.
    pub(in crate::upstream) fn stand_alone(&mut self) {
        self.own = None;
    }

    /// How far the server has counted.
    pub(in crate::upstream) fn counts(&self) -> RefMut<'_, Counts> {
        self.counting.counts.borrow_mut()
    }

    /// What is captured at present.
    pub(in crate::upstream) fn captures(&self) -> Captures {
        self.captures.clone()
    }

    /// Whether all that a template wants to be captured is captured.
    pub(in crate::upstream) fn has_all(&self, template: &Template) -> bool {
        template.placeholders().all(|(placeholder, _)| match placeholder {
            Placeholder::Capture(name) => self.captures.has(name),
            _ => true,
        })
    }

    /// Keeps a value of JSON by name.
    ///
    /// # Errors
    /// It is too long: the end of a sentence.
    pub(in crate::upstream) fn capture(&mut self, name: &str, json: &str) -> Result<(), String> {
        let kept = Captured::new(json).ok_or_else(|| format!("is longer than {MAX_VALUE} bytes"))?;
        if self.captures.0.get(name) != Some(&kept) {
            Rc::make_mut(&mut self.captures.0).insert(name.to_owned(), kept);
        }
        if let Some(own) = self.own.as_mut().filter(|own| !own.captures.contains(name)) {
            own.captures.insert(name.to_owned());
        }
        Ok(())
    }

    /// Keeps the last value at a pointer. `null` is none, and what is too long is none either.
    pub(in crate::upstream) fn hear(&mut self, pointer: &Pointer, json: &str) {
        if json == "null" {
            return;
        }
        if let Some(own) = self.own.as_mut().filter(|own| !own.last.contains(pointer)) {
            own.last.insert(pointer.clone());
        }
        match (Captured::new(json), self.last.get_mut(pointer)) {
            (Some(kept), Some(last)) => *last = kept,
            (Some(kept), None) => {
                self.last.insert(pointer.clone(), kept);
            }
            (None, _) => {
                self.last.remove(pointer);
            }
        }
    }

    /// The last value at a pointer; `null` while there is none.
    pub(in crate::upstream) fn last(&self, pointer: &Pointer) -> Value {
        self.last.get(pointer).map_or_else(|| Value::Json("null".to_owned()), Captured::value)
    }

    /// What a session holds as long as it is there.
    pub(in crate::upstream) fn presence(&self) -> Rc<()> {
        Rc::clone(&self.counting.present)
    }

    /// How many sessions there are.
    pub(in crate::upstream) fn sessions(&self) -> usize {
        Rc::strong_count(&self.counting.present) - 1
    }
}

impl Captures {
    /// Whether it is the very same: nothing was captured or forgotten between.
    pub(in crate::upstream) fn is_same(&self, other: &Captures) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// Whether something is captured by this name.
    pub(in crate::upstream) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// What `${capture:NAME}` stands for.
    ///
    /// # Errors
    /// Nothing is captured by this name: the end of a sentence.
    pub(in crate::upstream) fn value(&self, name: &str) -> Result<Value, String> {
        self.0.get(name).map(Captured::value).ok_or_else(|| "is not captured".to_owned())
    }

    /// A text of the server's with the names of captured texts in their places: they may be secret. Short
    /// ones stay, which hide more of the text than of themselves. Its first 4 KiB at most.
    pub(in crate::upstream) fn without(&self, text: &str) -> String {
        let mut redactor = Redactor::default();
        self.hide_in(&mut redactor);
        redactor.redact(text)
    }

    /// A failure without them, but for the place that it is about.
    pub(in crate::upstream) fn without_in(&self, failure: Failure) -> Failure {
        let mut redactor = Redactor::default();
        self.hide_in(&mut redactor);
        failure.place.iter().for_each(|place| redactor.show(place));
        failure.redacted(|text| redactor.redact(text))
    }

    /// Hides the captured texts, and those within lists and objects, behind their names.
    pub(in crate::upstream) fn hide_in(&self, redactor: &mut Redactor) {
        for (name, kept) in self.0.iter() {
            let label = format!("${{capture:{name}}}");
            let json: serde_json::Value = serde_json::from_str(&kept.0).unwrap_or_default();
            if json.is_array() || json.is_object() {
                redactor.hide_as(&kept.0, MIN_LIKELY, &label);
            }
            each_text(&json, &mut |text| redactor.hide_as(text, MIN_LIKELY, &label));
        }
    }

    /// The value's JSON.
    pub(in crate::upstream) fn json(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|kept| &*kept.0)
    }
}

impl Captured {
    fn new(json: &str) -> Option<Captured> {
        (json.len() <= MAX_VALUE).then(|| Captured(json.into()))
    }

    fn value(&self) -> Value {
        Value::Json(self.0.to_string())
    }
}

impl fmt::Debug for Captured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Captured(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Template {
        Template::parse_url(text).unwrap()
    }

    #[test]
    fn a_captured_text_is_shown_by_its_name() {
        let mut memory = Memory::default();
        for (name, json) in [("session", r#""abcd-1234""#), ("short", r#""ok""#), ("number", "41250000")] {
            memory.capture(name, json).unwrap();
        }
        let heard = r#"{"id":"abcd-1234","is":"ok","in":41250000}"#;
        let shown = r#"{"id":"${capture:session}","is":"ok","in":41250000}"#;
        assert_eq!(memory.captures().without(heard), shown);
    }

    #[test]
    fn the_texts_in_a_captured_value_are_shown_by_its_name() {
        let mut memory = Memory::default();
        let json = r#"{"token":"hunter2-hunter2","in":41250000,"list":[["swordfish"],"ok"]}"#;
        memory.capture("grant", json).unwrap();
        let captures = memory.captures();
        for (heard, shown) in [
            ("bad hunter2-hunter2", "bad ${capture:grant}"),
            (r#"{"is":"swordfish"}"#, r#"{"is":"${capture:grant}"}"#),
            ("ok, 41250000", "ok, 41250000"),
            (&format!("no: {json}"), "no: ${capture:grant}"),
        ] {
            assert_eq!(captures.without(heard), shown);
        }
    }

    #[test]
    fn what_is_captured_stays_until_it_is_forgotten() {
        let mut memory = Memory::default();
        let url = template("${capture:url}/?s=${capture:session}&t=${env:T}");
        memory.capture("url", r#""ws://b""#).unwrap();
        assert!(!memory.has_all(&url));
        memory.capture("session", "7").unwrap();
        assert!(memory.has_all(&url));
        let snapshot = memory.captures();
        memory.forget_in(&url);
        assert!(!memory.has_all(&url) && !memory.captures().has("session"));
        assert!(snapshot.has("session"), "a copy is a copy");
        assert_eq!(snapshot.value("session"), Ok(Value::Json("7".into())));
        assert_eq!(snapshot.value("x"), Err("is not captured".into()));
        assert!(!format!("{snapshot:?}").contains("ws://b"));
    }

    #[test]
    fn the_last_value_is_none_that_is_null_or_too_long() {
        let pointer = Pointer::parse("/s").unwrap();
        let mut memory = Memory::default();
        assert_eq!(memory.last(&pointer), Value::Json("null".into()));
        memory.hear(&pointer, "7");
        memory.hear(&pointer, "null");
        assert_eq!(memory.last(&pointer), Value::Json("7".into()));
        memory.hear(&pointer, &"1".repeat(MAX_VALUE + 1));
        assert_eq!(memory.last(&pointer), Value::Json("null".into()));
        memory.hear(&pointer, "8");
        memory.forget();
        assert_eq!(memory.last(&pointer), Value::Json("null".into()));
        assert!(memory.capture("a", &"1".repeat(MAX_VALUE + 1)).is_err());
    }
}
