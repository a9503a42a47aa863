//! The names that templates may use.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use toml::de::{DeTable, DeValue};

use super::{
    derived::Derived,
    expression::Expression,
    placeholder::Placeholder,
    template::{Position, Template, TemplateError},
    uses::Use,
};
use crate::config::reader::{
    Item, Section,
    values::{either, quoted},
};

/// So many names are listed with one that isn't there, or isn't used; more help nobody, and would be said for each.
const MAX_LISTED: usize = 16;

/// What the file defines by name, gathered before its sections are read.
#[derive(Debug, Default)]
pub(in crate::config) struct Names {
    /// Of `[vars]`.
    vars: BTreeMap<String, Variable>,
    /// Of `[command.NAME]`.
    commands: BTreeSet<String>,
    /// Of every `capture` of a step and every `[[capture]]`.
    captures: BTreeSet<String>,
    /// Of `[derived.NAME]`; none where it can't be made, which is told where it stands, or isn't read yet.
    derived: BTreeMap<String, Reading>,
}

/// A derived value, and how far it is read.
#[derive(Debug)]
enum Reading {
    Later,
    Bad,
    Done(Arc<Derived>),
}

#[derive(Debug)]
struct Variable {
    is_text: bool,
    runs_command: bool,
    is_used: Cell<bool>,
}

impl Names {
    /// Looks at all that has a name. What is of a wrong type is told by those who read it.
    pub(in crate::config) fn gather(root: &DeTable<'_>) -> Self {
        let table = |key: &str| root.get(key).and_then(|value| value.get_ref().as_table());
        let lists = |value: Option<&toml::Spanned<DeValue<'_>>>, key: &str| -> Vec<String> {
            let list = value.and_then(|value| value.get_ref().as_array());
            let tables = list.into_iter().flatten().filter_map(|element| element.get_ref().as_table());
            let named = tables.filter_map(|table| table.get(key)?.get_ref().as_table());
            named.flat_map(keys).collect()
        };
        let groups = |value: Option<&toml::Spanned<DeValue<'_>>>, key: &str| -> Vec<String> {
            let list = value.and_then(|value| value.get_ref().as_array());
            let tables = list.into_iter().flatten().filter_map(|element| element.get_ref().as_table());
            let texts = tables.filter_map(|table| table.get(key)?.get_ref().as_str());
            let expressions = texts.filter_map(|text| Expression::new(text).ok());
            expressions.flat_map(|it| it.names().map(str::to_owned).collect::<Vec<_>>()).collect()
        };
        let mut captures: BTreeSet<_> = lists(root.get("capture"), "values").into_iter().collect();
        captures.extend(groups(root.get("capture"), "regex"));
        for key in ["step", "then"] {
            let steps = table("script").and_then(|script| script.get(key));
            captures.extend(lists(steps, "capture"));
            captures.extend(groups(steps, "capture_regex"));
        }
        let vars = table("vars").into_iter().flatten();
        Self {
            vars: vars
                .map(|(name, value)| (name.get_ref().to_string(), Variable::of(value.get_ref())))
                .collect(),
            commands: table("command").into_iter().flat_map(keys).collect(),
            captures,
            derived: table("derived").into_iter().flat_map(keys).map(|name| (name, Reading::Later)).collect(),
        }
    }

    /// Takes in a derived value that is read; none where it is wrong.
    pub(in crate::config) fn derive(&mut self, name: &str, derived: Option<Derived>) {
        let reading = derived.map_or(Reading::Bad, |derived| Reading::Done(Arc::new(derived)));
        self.derived.insert(name.to_owned(), reading);
    }

    /// Whether there is a derived value of this name that isn't read yet.
    pub(in crate::config) fn is_derived_later(&self, name: &str) -> bool {
        matches!(self.derived.get(name), Some(Reading::Later))
    }

    /// What a derived value is made of. Whatever one is made of that is wrong, that is told where it stands.
    fn derived(&self, name: &str) -> Result<Arc<Derived>, String> {
        match self.derived.get(name) {
            Some(Reading::Done(derived)) => Ok(Arc::clone(derived)),
            Some(_) => Ok(Arc::new(Derived::unknown(name))),
            None => {
                let write = format!("write [derived.{name}] with what it is made of");
                Err(format!("is not in [derived]: {}", advice(self.derived.keys(), &write)))
            }
        }
    }

    /// Reads a template for a header.
    pub(in crate::config) fn header(&self, item: &Item<'_>, used: Use) -> Option<Template> {
        self.read(item, item.text()?, used, Template::parse)
    }

    /// Reads a template for a text, which may be JSON and may be empty.
    pub(in crate::config) fn text(&self, item: &Item<'_>, used: Use) -> Option<Template> {
        self.read(item, item.text()?, used, Template::parse_message)
    }

    /// Reads a template for a message of which the item is a part.
    pub(in crate::config) fn part(&self, item: &Item<'_>, whole: &str, used: Use) -> Option<Template> {
        self.read(item, whole, used, Template::parse_message)
    }

    /// Makes a template of a value that may have placeholders in its texts.
    pub(in crate::config) fn json(
        &self,
        item: &Item<'_>,
        value: &serde_json::Value,
        used: Use,
    ) -> Option<Template> {
        self.read(item, &value.to_string(), used, Template::parse_message)
    }

    /// Reads a template for a URL.
    pub(in crate::config) fn url(&self, item: &Item<'_>, used: Use) -> Option<Template> {
        self.read(item, item.text()?, used, Template::parse_url)
    }

    /// Reads a template for a message, which isn't empty.
    pub(in crate::config) fn message(&self, item: &Item<'_>, used: Use) -> Option<Template> {
        let template = self.text(item, used)?;
        if template.as_literal() == Some("") {
            item.problem("is empty: write the text to send, or leave it out");
            return None;
        }
        Some(template)
    }

    /// Checks that something is captured by this name.
    pub(in crate::config) fn captured(&self, name: &str) -> Result<(), String> {
        match self.captures.contains(name) {
            true => Ok(()),
            false => Err(format!(
                "is captured nowhere: {}",
                advice(
                    self.captures.iter(),
                    "write `capture = { … }` in a step of the script, or a [[capture]]"
                )
            )),
        }
    }

    /// Checks that there is a variable of this name.
    pub(in crate::config) fn variable(&self, name: &str) -> Result<(), String> {
        match self.vars.get(name) {
            Some(variable) => {
                variable.is_used.set(true);
                Ok(())
            }
            None => {
                let write = format!("write vars.{name} = \"…\"");
                Err(format!("is not in [vars]: {}", advice(self.vars.keys(), &write)))
            }
        }
    }

    /// Refuses the file's own variables that nothing used, once all is read: they are misspelt, or left
    /// over. A profile's may be there for a script that the file replaces.
    pub(in crate::config) fn refuse_unused(&self, vars: Section<'_>) {
        let used = self.vars.iter().filter(|(_, variable)| variable.is_used.get());
        let used: Vec<&str> = used.map(|(name, _)| name.as_str()).collect();
        let known = match &used[..] {
            [] => String::new(),
            names if names.len() > MAX_LISTED => String::new(),
            names => format!("those that are used are {}; ", all(names)),
        };
        for item in vars.items().iter().filter(|item| item.is_own()) {
            if self.vars.get(item.name).is_some_and(|variable| !variable.is_used.get()) {
                item.problem(format_args!(
                    "is used nowhere: {known}use it as `${{var:{}}}`, or leave it out",
                    item.name
                ));
            }
        }
    }

    fn read(
        &self,
        item: &Item<'_>,
        text: &str,
        used: Use,
        parse: fn(&str) -> Result<Template, TemplateError>,
    ) -> Option<Template> {
        let mut template =
            parse(text).map_err(|why| item.problem(format_args!("can't be read: {why}"))).ok()?;
        let derived = template.derive(|name| self.derived(name));
        if let Err((placeholder, why)) = derived {
            item.problem(format_args!("has `{placeholder}`, which {why}"));
            return None;
        }
        for (placeholder, position) in template.placeholders() {
            if let Err(why) = self.check(placeholder, position, used) {
                item.problem(format_args!("has `{placeholder}`, which {why}"));
                return None;
            }
        }
        Some(template)
    }

    fn check(&self, placeholder: &Placeholder, position: Position, used: Use) -> Result<(), String> {
        if let Some(why) = used.refuses(placeholder, position) {
            return Err(why.to_owned());
        }
        let is_bare = position == Position::JsonValue;
        match placeholder {
            Placeholder::Var(name) => self.check_variable(name, is_bare, used),
            Placeholder::Command(name, pointer) => self.check_command(name, is_bare && pointer.is_none()),
            Placeholder::Capture(name) => self.captured(name),
            _ => Ok(()),
        }
    }

    fn check_variable(&self, name: &str, is_bare: bool, used: Use) -> Result<(), String> {
        self.variable(name)?;
        match self.vars.get(name) {
            Some(variable) if used == Use::Input && variable.runs_command => {
                Err("runs a command itself: write here what needs none".to_owned())
            }
            Some(variable) if variable.is_text && is_bare => Err(
                "is text that stands bare in JSON: put quotes around it, or give the variable a number, true or \
                 false, a list or a table"
                    .to_owned(),
            ),
            _ => Ok(()),
        }
    }

    fn check_command(&self, name: &str, is_bare_text: bool) -> Result<(), String> {
        if !self.commands.contains(name) {
            let write = format!("write [command.{name}] with what to run");
            return Err(format!("is no command: {}", advice(self.commands.iter(), &write)));
        }
        match is_bare_text {
            true => Err(
                "is text that stands bare in JSON: put quotes around it, or name a value of its output, such as \
                 `${command:NAME/pointer}`"
                    .to_owned(),
            ),
            false => Ok(()),
        }
    }
}

impl Variable {
    fn of(value: &DeValue<'_>) -> Self {
        Self { is_text: value.is_str(), runs_command: runs_command(value), is_used: Cell::new(false) }
    }
}

fn runs_command(value: &DeValue<'_>) -> bool {
    match value {
        DeValue::String(text) => text.contains("${command:"),
        DeValue::Array(list) => list.iter().any(|value| runs_command(value.get_ref())),
        DeValue::Table(table) => table.iter().any(|(_, value)| runs_command(value.get_ref())),
        _ => false,
    }
}

/// Whether a name is one that a placeholder can hold.
pub(in crate::config) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

/// Refuses what is no name.
pub(in crate::config) fn check_name(item: &Item<'_>) -> bool {
    let good = is_name(item.name);
    if !good {
        item.problem(format_args!("has the name {}: write letters, digits, `_` and `-`", quoted(item.name)));
    }
    good
}

fn keys(table: &DeTable<'_>) -> Vec<String> {
    table.iter().map(|(name, _)| name.get_ref().to_string()).collect()
}

fn all(names: &[&str]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
    names.join(", ")
}

/// What to write, or the names that there are.
fn advice<'n>(names: impl ExactSizeIterator<Item = &'n String>, write: &str) -> String {
    match names.len() {
        1..=MAX_LISTED => {
            let names: Vec<&str> = names.map(String::as_str).collect();
            format!("{write}, or one of {}", either(&names))
        }
        _ => write.to_owned(),
    }
}

#[cfg(test)]
mod tests;
