//! Reads typed values out of TOML tables, and records every problem instead of stopping at the first.

use std::{cell::RefCell, fmt::Display, ops::RangeInclusive, time::Duration};

use toml::de::{DeTable, DeValue};

pub(super) mod cut;
pub(super) mod duration;
pub(super) mod error;
mod home;
pub(super) mod invisible;
mod item;
pub(super) mod quantity;
mod report;
pub(super) mod size;
mod unknown;
pub(super) mod url;
pub(super) mod values;

pub(super) use item::Item;
pub(super) use report::Report;
use url::safe_url;

/// One table of the file, or its absence. Every key that is asked for is known; [`Section::finish`]
/// refuses the others.
pub(super) struct Section<'a> {
    path: String,
    /// Where it begins; none if the file doesn't have it.
    pub(super) line: Option<usize>,
    table: Option<&'a DeTable<'a>>,
    known: RefCell<Vec<&'static str>>,
    report: &'a Report,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(super) fn root(table: &'a DeTable<'a>, report: &'a Report) -> Self {
        Self::new(String::new(), None, Some(table), report)
    }

    fn new(path: String, line: Option<usize>, table: Option<&'a DeTable<'a>>, report: &'a Report) -> Self {
        Self { path, line, table, known: RefCell::default(), report }
    }

    /// Whether something is there that is no table, which has been recorded already.
    pub(super) fn is_refused(&self) -> bool {
        self.line.is_some() && self.table.is_none()
    }

    /// How many problems there are so far, to see whether what was read meanwhile is sound.
    pub(super) fn problems(&self) -> usize {
        self.report.count()
    }

    /// Records that the key's value, or its absence, `what`: the rest of the sentence.
    pub(super) fn problem(&self, key: &'static str, what: impl Display) {
        match self.item(key) {
            Some(item) => item.problem(what),
            None => self.report.add(self.line, format!("{} {what}", self.path_of(key))),
        }
    }

    /// Records that the key's value, or its absence, though right, `what`: the rest of the sentence.
    pub(super) fn warning(&self, key: &'static str, what: impl Display) {
        match self.item(key) {
            Some(item) => item.warning(what),
            None => self.report.warn(self.line, format!("{} {what}", self.path_of(key))),
        }
    }

    /// The key's value, whatever its type.
    pub(super) fn item(&self, key: &'static str) -> Option<Item<'a>> {
        self.known.borrow_mut().push(key);
        let (name, value) = self.table?.get_key_value(key)?;
        Some(Item {
            path: self.path_of(key),
            name: key,
            line: self.report.line(name.span().start),
            value: value.get_ref(),
            report: self.report,
        })
    }

    /// All keys and values in the file's order, for a table whose keys are the user's.
    pub(super) fn items(self) -> Vec<Item<'a>> {
        let mut entries: Vec<_> = self.table.into_iter().flatten().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        let item = |(name, value): (&'a toml::Spanned<_>, &'a toml::Spanned<_>)| {
            let name_text: &std::borrow::Cow<'a, str> = name.get_ref();
            Item {
                path: self.path_of(name_text),
                name: name_text,
                line: self.report.line(name.span().start),
                value: value.get_ref(),
                report: self.report,
            }
        };
        entries.into_iter().map(item).collect()
    }

    /// A table under this one; empty if the file doesn't have it.
    pub(super) fn section(&self, key: &'static str) -> Section<'a> {
        let Some(item) = self.item(key) else {
            return Self::new(self.path_of(key), None, None, self.report);
        };
        let table = item.value.as_table();
        if table.is_none() {
            let advice = match (key, item.value) {
                // a URL may hold secrets, and what is shown of it isn't the whole then
                ("upstream", DeValue::String(url)) if safe_url(url) == **url => {
                    format!("upstream.url = {}", values::quoted(url))
                }
                ("upstream", DeValue::String(_)) => "upstream.url = \"…\"".to_owned(),
                // never the value, which is mostly a secret
                ("headers", DeValue::String(header)) => {
                    let name = header.split_once(':').map_or("", |(name, _)| name.trim());
                    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
                    let is_good = !name.is_empty() && name.len() <= 40 && name.chars().all(is_name);
                    format!("{{ {} = \"…\" }}", if is_good { name } else { "Authorization" })
                }
                _ => "a table".to_owned(),
            };
            item.problem(format_args!("is {}: write {advice}", values::kind(item.value)));
        }
        Self::new(item.path, Some(item.line), table, self.report)
    }

    /// The section of this name; none where the file has none, or says `"off"` instead, which leaves out a profile's.
    pub(super) fn section_or_off(&self, key: &'static str) -> Option<Section<'a>> {
        let item = self.item(key)?;
        (item.value.as_str() != Some("off")).then(|| item.section())
    }

    /// The tables of a list; none if the file doesn't have it, or what it has is no such list.
    pub(super) fn sections(&self, key: &'static str) -> Option<Vec<Section<'a>>> {
        let item = self.item(key)?;
        let Some(elements) = item.elements() else {
            let (kind, path) = (values::kind(item.value), &item.path);
            item.problem(format_args!("is {kind}: write [[{path}]], with two brackets each"));
            return None;
        };
        Some(elements.iter().map(Item::section).collect())
    }

    /// A text or a list of texts.
    pub(super) fn one_or_more(&self, key: &'static str) -> Option<Vec<Item<'a>>> {
        let item = self.item(key)?;
        match item.value {
            DeValue::String(_) => Some(vec![item]),
            DeValue::Array(_) => self.texts(key),
            other => {
                let kind = values::kind(other);
                item.problem(format_args!("is {kind}: write text in quotes, or a list of texts"));
                None
            }
        }
    }

    /// A list of texts; elements that are none are left out, and recorded.
    pub(super) fn texts(&self, key: &'static str) -> Option<Vec<Item<'a>>> {
        let item = self.item(key)?;
        let Some(elements) = item.elements() else {
            let kind = values::kind(item.value);
            item.problem(format_args!("is {kind}: write a list of texts in square brackets"));
            return None;
        };
        Some(elements.into_iter().filter(|element| element.text().is_some()).collect())
    }

    pub(super) fn text(&self, key: &'static str) -> Option<&'a str> {
        self.item(key)?.text()
    }

    /// A text that is one of a few words.
    pub(super) fn one_of<T: Copy>(&self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        self.parsed(key, |value| values::one_of(value, words))
    }

    pub(super) fn truth(&self, key: &'static str) -> Option<bool> {
        self.parsed(key, values::truth)
    }

    pub(super) fn duration(&self, key: &'static str, bounds: RangeInclusive<Duration>) -> Option<Duration> {
        self.parsed(key, |value| values::duration(value, &bounds, ""))
    }

    /// A duration; `reason` says why it can't be zero.
    pub(super) fn duration_since(
        &self,
        key: &'static str,
        bounds: RangeInclusive<Duration>,
        reason: &str,
    ) -> Option<Duration> {
        self.parsed(key, |value| values::duration(value, &bounds, reason))
    }

    /// A duration, or none for `"off"`.
    pub(super) fn duration_or_off(
        &self,
        key: &'static str,
        bounds: RangeInclusive<Duration>,
    ) -> Option<Option<Duration>> {
        self.parsed(key, |value| values::duration_or_off(value, &bounds))
    }

    /// A size in bytes.
    pub(super) fn size(&self, key: &'static str, bounds: RangeInclusive<u64>) -> Option<usize> {
        self.parsed(key, |value| values::size(value, &bounds))
    }

    pub(super) fn integer<T: TryFrom<i64>>(
        &self,
        key: &'static str,
        bounds: RangeInclusive<i64>,
    ) -> Option<T> {
        self.parsed(key, |value| values::integer(value, &bounds))
    }

    pub(super) fn number(&self, key: &'static str, bounds: RangeInclusive<f64>) -> Option<f64> {
        self.parsed(key, |value| values::number(value, &bounds))
    }

    /// Refuses the keys that nobody asked for.
    pub(super) fn finish(self) {
        let mut known = self.known.take();
        known.sort_unstable();
        known.dedup();
        for (name, _) in self.table.into_iter().flatten() {
            if known.contains(&name.get_ref().as_ref()) {
                continue;
            }
            let name_text: &str = name.get_ref();
            let path = self.path_of(name_text);
            let hint = unknown::hint(self.report, &self.path, name_text, &known);
            let line = self.report.line(name.span().start);
            self.report.add(Some(line), format!("unknown key `{path}`: {hint}"));
        }
    }

    /// Records what `read` finds wrong with the key's value.
    fn parsed<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&DeValue<'a>) -> Result<T, String>,
    ) -> Option<T> {
        let item = self.item(key)?;
        read(item.value).map_err(|what| item.problem(what)).ok()
    }

    fn path_of(&self, key: &str) -> String {
        let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let key = match !key.is_empty() && key.chars().all(bare) {
            true => key.to_owned(),
            false => format!("{key:?}"),
        };
        if self.path.is_empty() { key } else { format!("{}.{key}", self.path) }
    }
}
