use super::*;
use crate::config::language::{environment::Environment, template::Template};

fn config(rest: &str) -> Config {
    let text = format!("[upstream]\nurl = \"ws://a/\"\n{rest}");
    Config::parse(&text, &Environment::fixed([])).unwrap()
}

fn names(old: &str, new: &str) -> Vec<(&'static str, Takes)> {
    config(old).changes(&config(new)).iter().map(|key| (key.name, key.takes)).collect()
}

#[test]
fn equal_ones_differ_by_nothing() {
    assert_eq!(names("", ""), []);
    let listener = Listener::new("/a");
    assert_eq!(listener.changes(&listener), [] as [&Key; 0]);
}

#[test]
fn each_key_is_found_by_itself() {
    for (new, name, takes) in [
        ("[heartbeat]\ninterval = \"20s\"", "heartbeat.interval", Takes::Nothing),
        ("[reconnect]\nmax_attempts = 3", "reconnect.max_attempts", Takes::Nothing),
        ("[[reconnect.rule]]\ncodes = 4000\nthen = \"stop\"", "[[reconnect.rule]]", Takes::Nothing),
        ("[heartbeat]\ntimeout = \"off\"", "heartbeat.timeout", Takes::Nothing),
        ("[heartbeat]\nidle_timeout = \"1m\"", "heartbeat.idle_timeout", Takes::Nothing),
        ("[rotate]\nafter = \"1h\"", "rotate.after", Takes::Nothing),
        ("[limits]\nmax_message = \"1KiB\"", "limits.max_message", Takes::Nothing),
        ("[history]\nmax_age = \"1h\"", "history.max_age", Takes::Nothing),
        (
            "[topics]\nretain = true\nretain_key = \"/id\"",
            "topics.retain, retain_key, retain_max and retain_bytes",
            Takes::Nothing,
        ),
        ("[outbox]\nttl = \"1s\"", "outbox.ttl", Takes::Nothing),
        ("[shutdown]\ntimeout = \"3s\"", "shutdown.timeout", Takes::Nothing),
        ("[log]\nlevel = \"warn\"", "log.level", Takes::Nothing),
        #[cfg(feature = "cluster")]
        ("[cluster]\nname = \"c\"\nnode = \"a\"\nurls = \"nats://127.0.0.1\"", "[cluster]", Takes::Restart),
        ("[log]\nformat = \"json\"", "log.format", Takes::Restart),
        ("[[script.step]]\nsend = \"a\"", "[[script.step]]", Takes::Connection),
        ("[sequence]\npointer = \"/a\"", "[sequence]", Takes::Connection),
        ("[upstream.headers]\nX-A = \"1\"", "upstream.headers", Takes::Connection),
    ] {
        assert_eq!(names("", new), [(name, takes)], "{new}");
    }
}

#[test]
fn a_default_that_follows_another_key_is_no_change() {
    for (new, name) in [
        ("[heartbeat]\ninterval = \"5s\"", "heartbeat.interval"),
        ("[reconnect]\nmax_delay = \"100ms\"", "reconnect.max_delay"),
        ("[reconnect]\ninitial_delay = \"1m\"", "reconnect.initial_delay"),
    ] {
        assert_eq!(names("", new), [(name, Takes::Nothing)], "{new}");
    }
    let both = "[heartbeat]\ninterval = \"5s\"\ntimeout = \"4s\"";
    assert_eq!(names("", both).len(), 2);
    let long = "[[listener]]\nmax_line = \"16MiB\"";
    assert_eq!(names("", long), [], "of the listeners each tells its own");
    assert_eq!(names("", "[memory]\nunfinished_lines = \"32MiB\"").len(), 1);
}

#[test]
fn a_heartbeat_that_says_what_an_attempt_reads_needs_one() {
    let kind = |message| format!("[heartbeat]\nkind = \"message\"\nmessage = '{message}'\n");
    let live = [(HEARTBEAT[0].name, Takes::Nothing)];
    let anew = [(SECRET_BEAT.name, Takes::Connection)];
    for (old, new, says) in [
        ("a", "b", &live),
        ("a", "${now_ms}", &live),
        ("${env:A}", "a", &live),
        ("a", "${env:A}", &anew),
        ("a", "${file:/a}", &anew),
        ("a", "${credential:a}", &anew),
        ("${env:A}", "${env:B}", &anew),
    ] {
        assert_eq!(names(&kind(old), &kind(new)), says, "{old} to {new}");
    }
    assert_eq!(names("", &kind("${env:A}")), anew, "from a ping");
}

#[test]
fn the_table_has_every_key_once() {
    let mut names: Vec<_> = Config::every_key().iter().map(|key| key.name).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
    assert!(all > 50, "{all}");
}

#[test]
fn the_documentation_has_the_table() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let page = std::fs::read_to_string(page).unwrap();
    for (takes, says) in [
        (Takes::Nothing, "at once"),
        (Takes::Connection, "with a new connection, which is made at once"),
        (Takes::Restart, "after a restart; until then the old value holds"),
    ] {
        let keys = Config::every_key().into_iter().filter(|key| key.takes == takes);
        let keys: Vec<_> = keys.map(|key| format!("`{}`", key.name)).collect();
        let row = format!("| {says} | {} |", keys.join(", "));
        assert!(page.lines().any(|line| line == row), "docs/operations.md must have:\n{row}");
    }
}

#[test]
fn a_url_that_differs_is_found_whole() {
    let mut new = config("");
    new.upstream.urls.push(Template::literal("ws://b/"));
    assert_eq!(config("").changes(&new), [&UPSTREAM[0]]);
}
