//! `[vars]`: named values for templates.

use std::collections::BTreeMap;

use super::{
    Template,
    names::{Names, Use, check_name},
    reader::Section,
    values::{json, kind},
};

/// `[vars]`: what `${var:NAME}` stands for, by name.
pub type Vars = BTreeMap<String, Var>;

/// One of `[vars]`.
#[derive(Debug, Clone, PartialEq)]
pub enum Var {
    /// A text, with placeholders that are resolved for each attempt; it may be secret.
    Text(Template),
    /// A number, true or false, a list or a table: JSON, which may stand bare in JSON.
    Json(serde_json::Value),
}

/// Reads `[vars]`.
pub(super) fn read(section: Section<'_>, names: &Names) -> Vars {
    let mut vars = Vars::new();
    for item in section.items() {
        if !check_name(&item) {
            continue;
        }
        let var = if item.value.is_str() {
            names.text(&item, Use::Variable).map(Var::Text)
        } else {
            let value = json(item.value);
            match &value {
                None => {
                    item.problem(format_args!("is {}: write text, or what JSON has too", kind(item.value)))
                }
                Some(value) if has_placeholder(value) => item.problem(
                    "has a placeholder within a list or a table, where it would stay as it is: write it in \
                     the message",
                ),
                Some(_) => {}
            }
            value.map(Var::Json)
        };
        if let Some(var) = var {
            vars.insert(item.name.to_owned(), var);
        }
    }
    vars
}

fn has_placeholder(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::String(text) => text.contains("${"),
        serde_json::Value::Array(list) => list.iter().any(has_placeholder),
        serde_json::Value::Object(table) => table.values().any(has_placeholder),
        _ => false,
    }
}
