//! What the daemon runs by, for `status`.

use serde::Serialize;

/// What the daemon says of its configuration: enough to tell one daemon from another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Configured {
    /// The file, as an absolute path in UTF-8 (what isn't is replaced). None for a configuration that came
    /// from no file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The first of the servers, or what names it, without user name, password and query.
    pub upstream: String,
}
