//! `[vars]`: named values for templates.

use std::collections::BTreeMap;

use super::upstream::warn_of_variables;
use crate::config::{
    language::{
        names::{Names, check_name},
        template::Template,
        uses::Use,
    },
    reader::{
        Section,
        values::{json, kind},
    },
};

/// `[vars]`: what `${var:NAME}` stands for, by name.
pub type Vars = BTreeMap<String, Var>;

/// One of `[vars]`.
#[derive(Debug, Clone, PartialEq)]
pub enum Var {
    /// A text, with placeholders that are resolved for each attempt; it may be secret.
    Text(Template),
    /// A number, true or false, a list or a table: JSON, which may stand bare in JSON. Texts within it
    /// may have placeholders.
    Json(Template),
}

impl Var {
    /// Whether there is something to say: all but the text `""`, a variable that is there to be set.
    pub fn is_set(&self) -> bool {
        !matches!(self, Self::Text(template) if template.as_literal() == Some(""))
    }
}

/// Reads `[vars]`.
pub(in crate::config) fn read(section: Section<'_>, names: &Names) -> Vars {
    let mut vars = Vars::new();
    for item in section.items() {
        if !check_name(&item) {
            continue;
        }
        let template = match json(item.value) {
            _ if item.value.is_str() => names.text(&item, Use::Variable).map(Var::Text),
            Some(value) => names.json(&item, &value, Use::Variable).map(Var::Json),
            None => {
                item.problem(format_args!("is {}: write text, or what JSON has too", kind(item.value)));
                None
            }
        };
        if let Some(Var::Text(template)) = &template {
            warn_of_variables(&item, template);
        }
        if let Some(var) = template {
            vars.insert(item.name.to_owned(), var);
        }
    }
    vars
}
