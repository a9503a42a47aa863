//! The rules of `docs/architecture.md` that a machine can hold: who may know whom, and which file
//! names which library.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Each room, and the rooms that it may know beside itself.
const ROOMS: [(&str, &[&str]); 6] = [
    ("config", &[]),
    ("hub", &["config"]),
    ("upstream", &["config", "hub"]),
    ("local", &["config", "hub"]),
    ("service", &["config", "hub", "upstream", "local"]),
    ("cli", &["config", "service"]),
];

/// What may be named only in the files whose paths begin so.
const NAMED_IN: [(&str, &[&str]); 9] = [
    ("tokio_tungstenite", &["upstream/websocket", "cli/demo/server.rs"]),
    ("tungstenite", &["upstream/websocket", "cli/demo/server.rs"]),
    // sockets, the end of a program's whole family, SIGHUP for another daemon, and what the process may
    ("rustix", &["local/socket", "upstream/commands.rs", "service/signals.rs", "service/process.rs"]),
    ("nix", &["local/socket"]),
    ("sd_notify", &["service/notify.rs"]),
    ("yasna", &["upstream/certificate.rs"]),
    ("unsafe", &["local/watched.rs"]),
    ("memmap2", &["hub/log/buffer.rs"]),
    // what starts a program
    ("Stdio", &["upstream/commands.rs"]),
];

#[test]
fn rooms_know_only_those_they_may() {
    let files = sources();
    for (room, _) in ROOMS {
        let count = files.keys().filter(|path| path.starts_with(room)).count();
        assert!(count > 1, "nothing was scanned in src/{room}");
    }
    for (path, code) in &files {
        let Some((room, may)) = ROOMS.iter().find(|(room, _)| path.starts_with(room)) else { continue };
        for named in names_after(code, "crate") {
            let known = ROOMS.iter().any(|(other, _)| *other == named);
            assert!(
                !known || named == *room || may.contains(&named.as_str()),
                "{}: {room} must not know {named}",
                path.display()
            );
        }
    }
}

#[test]
fn a_library_is_named_where_it_belongs() {
    let files = sources();
    for (name, allowed) in NAMED_IN {
        let mut found = 0;
        for (path, code) in &files {
            if !has_word(code, name) {
                continue;
            }
            found += 1;
            let here = path.display().to_string();
            assert!(allowed.iter().any(|place| here.starts_with(place)), "{here} names {name}");
        }
        assert!(found > 0, "nothing names {name}: is the rule still about something?");
    }
}

#[test]
fn rooms_take_their_own_part_of_the_configuration_and_never_the_whole() {
    for (path, code) in sources() {
        let whole = names_after(&code, "config").iter().any(|name| name == "Config");
        let may = ["config/", "cli/", "service/mod.rs", "service/reload.rs"];
        let here = path.display().to_string();
        assert!(!whole || may.iter().any(|place| here.starts_with(place)), "{here} takes the whole");
    }
}

#[test]
fn pure_files_touch_no_clock_task_or_socket() {
    let pure = [
        "hub/log.rs",
        "hub/log/buffer.rs",
        "hub/log/chunk.rs",
        "hub/log/pin.rs",
        "hub/log/series.rs",
        "hub/cursor.rs",
        "hub/json.rs",
        "hub/line.rs",
        "hub/link.rs",
        "hub/origin.rs",
        "hub/turns.rs",
        "hub/reload.rs",
        "local/lines.rs",
        "local/outgoing.rs",
        "local/places.rs",
        "local/protocol.rs",
        "config/change.rs",
        "local/rights.rs",
        "local/shares.rs",
        "local/unfinished.rs",
        "service/reload.rs",
        "upstream/address.rs",
        "upstream/addresses.rs",
        "upstream/backlog.rs",
        "upstream/certificate.rs",
        "upstream/found.rs",
        "upstream/told.rs",
        "upstream/track.rs",
        "upstream/walk/advice.rs",
        "upstream/walk/timeline.rs",
        "cli/check/timeline.rs",
        "upstream/backoff.rs",
        "upstream/context.rs",
        "upstream/failure.rs",
        "upstream/heartbeat.rs",
        "upstream/machine.rs",
        "upstream/machine/asked.rs",
        "upstream/machine/attempt.rs",
        "upstream/machine/channel.rs",
        "upstream/machine/events.rs",
        "upstream/machine/fault.rs",
        "upstream/machine/rotation.rs",
        "upstream/machine/state.rs",
        "upstream/machine/world.rs",
        "upstream/matcher.rs",
        "upstream/memory.rs",
        "upstream/pacing.rs",
        "upstream/probe.rs",
        "upstream/redactor.rs",
        "upstream/rules.rs",
        "upstream/secrets.rs",
        "upstream/seen.rs",
        "upstream/sequence.rs",
        "upstream/session.rs",
        "upstream/session/count.rs",
        "upstream/session/mark.rs",
        "upstream/session/rules.rs",
        "upstream/session/script.rs",
        "upstream/session/text.rs",
        "upstream/proxy/environment.rs",
        "upstream/websocket/deflate.rs",
        "upstream/websocket/inbound.rs",
    ];
    let files = sources();
    for path in pure {
        let code = files.get(Path::new(path)).unwrap_or_else(|| panic!("src/{path} is not there"));
        // a generator that is given is no chance
        let code = code.replace("fastrand::Rng", "");
        for word in
            ["tokio::", "Instant::now", "SystemTime::now", "std::net::Tcp", "std::fs", "fastrand", "async "]
        {
            assert!(!code.contains(word), "src/{path} is pure, but has {word:?}");
        }
    }
}

/// All sources by their path under `src`, without comments and without tests.
fn sources() -> BTreeMap<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = BTreeMap::new();
    let mut directories = vec![root.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && path.file_stem().unwrap() != "tests"
                && !path.components().any(|part| part.as_os_str() == "tests")
            {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
                let code: Vec<&str> =
                    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
                files.insert(path.strip_prefix(&root).unwrap().to_owned(), code.join("\n"));
            }
        }
    }
    assert!(files.len() > 30, "only {} files were found", files.len());
    files
}

/// The first names in all paths that begin with `root::`, those in braces included.
fn names_after(code: &str, root: &str) -> Vec<String> {
    let start = format!("{root}::");
    let mut names = Vec::new();
    for (at, _) in code.match_indices(&start) {
        let rest = &code[at + start.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut name = String::new();
            for letter in group.chars() {
                match letter {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => names.push(std::mem::take(&mut name)),
                    _ if depth == 0 => name.push(letter),
                    _ => {}
                }
            }
            names.push(name);
        } else {
            names.push(rest.to_owned());
        }
    }
    names
        .iter()
        .map(|name| name.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap().to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

/// Whether `word` stands in the code by itself, not as a part of a longer name.
fn has_word(code: &str, word: &str) -> bool {
    let in_a_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word)
        .any(|(at, _)| !code[..at].ends_with(in_a_name) && !code[at + word.len()..].starts_with(in_a_name))
}

#[test]
fn words_are_whole() {
    for (code, is_there) in [
        ("use nix::unistd;", true),
        ("use {unix, nix};", true),
        ("nix", true),
        ("use std::os::unix::net;", false),
        ("nixes", false),
        ("unix_nix", false),
    ] {
        assert_eq!(has_word(code, "nix"), is_there, "{code}");
    }
}
