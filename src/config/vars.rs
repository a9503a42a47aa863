//! `[vars]`: named values for templates.

use std::collections::BTreeMap;

use super::Template;

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
