//! What the daemon runs by, for `status`.

/// What the daemon says of its configuration: enough to tell one daemon from another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Configured {
    /// The file, as an absolute path in UTF-8 (what isn't is replaced). None for a configuration that came
    /// from no file.
    pub file: Option<String>,
    /// The first of the servers, or what names it, without user name, password and query.
    pub upstream: String,
    /// Whether messages may have topics.
    pub topics: bool,
}
