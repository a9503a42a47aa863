//! What was probably meant by a key that nobody knows.

use super::{home, report::Report};

/// The tables of the file, as [`super::Config`] reads them.
const TABLES: [&str; 22] = [
    "capture",
    "cluster",
    "command",
    "derived",
    "heartbeat",
    "history",
    "limits",
    "listener",
    "log",
    "memory",
    "names",
    "outbox",
    "reconnect",
    "reply",
    "requests",
    "rotate",
    "script",
    "sequence",
    "shutdown",
    "topics",
    "upstream",
    "vars",
];

/// What to do about the key `name` of the table at `path`, where those that are `known` stand.
pub(super) fn hint(report: &Report, path: &str, name: &str, known: &[&str]) -> String {
    if matches!(path, "" | "upstream")
        && let Some(profile) = report.profile_with_variable(name)
    {
        return format!("profile {profile} has it in [vars]: write vars.{name} = …, or put it under [vars]");
    }
    if let Some(home) = home::of(path, name) {
        return home.to_owned();
    }
    // a dotted key below a header belongs to that header's table
    if !path.is_empty() && TABLES.contains(&name) {
        let header = match name {
            "listener" | "capture" | "reply" => format!("[[{name}]]"),
            "script" => "[[script.step]]".to_owned(),
            "command" => "[command.NAME]".to_owned(),
            _ => format!("[{name}]"),
        };
        return format!("`{name}` is a table of its own: write {header}, and its keys below");
    }
    match nearest(name, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the keys here are {}", known.join(", ")),
    }
}

/// The known key that was probably meant.
fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let key = key.to_ascii_lowercase().replace('-', "_");
    let is_part = |candidate: &&str| candidate.starts_with(&key) || key.starts_with(candidate);
    if let Some(part) = known.iter().copied().find(|known| key.len() > 2 && is_part(known)) {
        return Some(part);
    }
    let distance = |candidate: &&str| strsim::osa_distance(&key, candidate);
    let near = known.iter().copied().min_by_key(distance)?;
    (distance(&near) <= near.len() / 3).then_some(near)
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_those_that_are_read() {
        let error =
            crate::config::Config::parse("zzzz = 1", &crate::config::Environment::fixed([])).unwrap_err();
        let listed = format!("the keys here are {}", TABLES.join(", "));
        assert!(error.to_string().replace("profile, ", "").contains(&listed), "{error}");
    }
    #[test]
    fn the_nearest_key() {
        let known = ["initial_delay", "jitter", "kind", "max_delay", "url"];
        for (key, near) in [
            ("jiter", Some("jitter")),
            ("Max-Delay", Some("max_delay")),
            ("maxdelay", Some("max_delay")),
            ("urls", Some("url")),
            ("initial", Some("initial_delay")),
            ("colour", None),
            ("", None),
            ("k", None),
        ] {
            assert_eq!(nearest(key, &known), near, "{key}");
        }
        assert_eq!(nearest("x", &[]), None);
    }
}
