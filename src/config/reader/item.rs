//! One value of the file.

use std::{fmt::Display, ops::RangeInclusive};

use toml::de::DeValue;

use super::{Report, Section, values};

/// A value with its key path and line, so that later checks can name it.
#[derive(Clone)]
pub(in crate::config) struct Item<'a> {
    /// The whole path: `upstream.url[1]`.
    pub(in crate::config) path: String,
    /// The last part of the path, for tables whose keys are the user's.
    pub(in crate::config) name: &'a str,
    pub(in crate::config) line: usize,
    pub(in crate::config) value: &'a DeValue<'a>,
    pub(super) report: &'a Report,
}

impl<'a> Item<'a> {
    /// Records that this value `what`: the rest of the sentence.
    pub(in crate::config) fn problem(&self, what: impl Display) {
        self.report.add(Some(self.line), format!("{} {what}", self.path));
    }

    /// Records that this value, though right, `what`: the rest of the sentence.
    pub(in crate::config) fn warning(&self, what: impl Display) {
        self.report.warn(Some(self.line), format!("{} {what}", self.path));
    }

    /// Whether it stands in the file, and not in the profile below it.
    pub(in crate::config) fn is_own(&self) -> bool {
        self.report.is_own(self.line)
    }

    /// The text; anything else is a problem.
    pub(in crate::config) fn text(&self) -> Option<&'a str> {
        match self.value {
            DeValue::String(text) => Some(text),
            other => {
                self.problem(format_args!("is {}: write text in quotes", values::kind(other)));
                None
            }
        }
    }

    /// The table; anything else is a problem.
    pub(in crate::config) fn section(&self) -> Section<'a> {
        let table = self.value.as_table();
        if table.is_none() {
            self.problem(format_args!("is {}: write a table", values::kind(self.value)));
        }
        Section::new(self.path.clone(), Some(self.line), table, self.report)
    }

    /// A whole number; anything else is a problem.
    pub(in crate::config) fn integer<T: TryFrom<i64>>(&self, bounds: RangeInclusive<i64>) -> Option<T> {
        values::integer(self.value, &bounds).map_err(|what| self.problem(what)).ok()
    }

    /// What is in a list; none if it is none.
    pub(in crate::config) fn elements(&self) -> Option<Vec<Self>> {
        let list = self.value.as_array()?;
        let element = |(at, element): (usize, &'a toml::Spanned<DeValue<'a>>)| Self {
            path: format!("{}[{at}]", self.path),
            line: self.report.line(element.span().start),
            value: element.get_ref(),
            ..self.clone()
        };
        Some(list.iter().enumerate().map(element).collect())
    }
}
