//! `upstream.allowed_hosts`: host names, and patterns of them.

use crate::config::reader::{Item, Section, values::quoted};

/// Hosts by name: `a.example`, or `*.example` for all below it. By whole labels, in any case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    name: String,
    /// It is meant as what a host ends with.
    below: bool,
}

impl HostPattern {
    /// Whether a host, a name or an address without brackets, is meant.
    pub fn matches(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        match self.below {
            false => host == self.name,
            true => host.strip_suffix(&self.name).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
        }
    }

    pub(in crate::config) fn read_all(section: &Section<'_>, key: &'static str) -> Vec<Self> {
        section.texts(key).unwrap_or_default().iter().filter_map(Self::read).collect()
    }

    fn read(item: &Item<'_>) -> Option<Self> {
        let text = item.text()?;
        let (name, below) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text, false),
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
        // a whole top-level domain is nobody's
        if name.is_empty() || !name.chars().all(is_name) || below && !name.contains('.') {
            item.problem(format_args!(
                "is {}: write a host's name, such as \"feed.example.com\", or \"*.example.com\" for all below it",
                quoted(text)
            ));
            return None;
        }
        Some(Self { name: name.to_ascii_lowercase(), below })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, language::environment::Environment};

    fn read(text: &str) -> Result<HostPattern, String> {
        let text = format!("[upstream]\nurl = \"ws://h/\"\nallowed_hosts = [\"{text}\"]\n");
        let config = Config::parse(&text, &Environment::fixed([])).map_err(|invalid| invalid.to_string())?;
        Ok(config.upstream.allowed_hosts[0].clone())
    }

    #[test]
    fn hosts_are_meant_by_whole_labels() {
        for (pattern, host, is_meant) in [
            ("a.example", "a.example", true),
            ("A.example", "a.EXAMPLE.", true),
            ("a.example", "b.a.example", false),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", ".example.com", false),
            ("*.example.com", "evilexample.com", false),
            ("*.example.com", "a.example.com.evil.org", false),
            ("::1", "::1", true),
        ] {
            assert_eq!(read(pattern).unwrap().matches(host), is_meant, "{pattern} {host}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in ["", "*", "*.", "*.com", "a.*.b", "wss://a.example", "a.example/x", "a b"] {
            assert!(read(text).unwrap_err().contains("write a host's name"), "{text}");
        }
    }
}
