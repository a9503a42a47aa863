//! The rules of `docs/architecture.md` that a machine can hold: who may know whom, and which file
//! names which library.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Each room, and what its code may know beside itself and the rooms within it: other rooms, each with all that it
/// shows. A room within another knows that one's siblings only by name, and never goes through the outer `mod.rs`.
const ROOMS: &[(&str, &[&str])] = &[
    ("config", &[]),
    ("config/reader", &[]),
    ("config/language", &["config/reader"]),
    ("config/sections", &["config/reader", "config/language"]),
    ("protocol", &[]),
    ("client", &["protocol"]),
    ("cluster", &["config", "protocol", "hub"]),
    ("cluster/machine", &["protocol"]),
    ("cluster/forward", &["config", "hub"]),
    ("cluster/tool", &["cluster"]),
    ("hub", &["config", "protocol"]),
    ("hub/log", &["config", "protocol"]),
    ("hub/subscriptions", &["config", "hub"]),
    ("upstream", &["config", "hub"]),
    ("upstream/failure", &["config"]),
    ("upstream/secrets", &["config"]),
    ("upstream/settings", &["config"]),
    ("upstream/session", &["config", "hub", "upstream/failure", "upstream/secrets", "upstream/settings"]),
    (
        "upstream/machine",
        &["config", "hub", "upstream/failure", "upstream/secrets", "upstream/settings", "upstream/session"],
    ),
    ("upstream/wire", &["config", "upstream/failure"]),
    ("upstream/websocket", &["config", "hub", "upstream/failure", "upstream/secrets", "upstream/wire"]),
    ("upstream/websocket/codec", &["config", "hub", "upstream/failure"]),
    (
        "upstream/attempt",
        &[
            "config",
            "hub",
            "upstream/failure",
            "upstream/secrets",
            "upstream/settings",
            "upstream/session",
            "upstream/wire",
            "upstream/websocket",
        ],
    ),
    (
        "upstream/link",
        &[
            "config",
            "hub",
            "upstream/settings",
            "upstream/session",
            "upstream/machine",
            "upstream/wire",
            "upstream/websocket",
            "upstream/attempt",
        ],
    ),
    (
        "upstream/live_check",
        &[
            "config",
            "hub",
            "upstream/failure",
            "upstream/settings",
            "upstream/session",
            "upstream/machine",
            "upstream/wire",
            "upstream/websocket",
            "upstream/attempt",
        ],
    ),
    ("local", &["config", "protocol", "hub"]),
    ("local/budget", &["config", "hub"]),
    ("local/dialogue", &["config", "protocol", "hub"]),
    ("local/latest", &["config", "protocol", "hub"]),
    ("local/selections", &["config", "hub"]),
    ("service", &["config", "cluster", "hub", "upstream", "local"]),
    ("cli", &["config", "protocol", "client", "upstream/live_check", "service", "cluster/tool"]),
];

/// The rooms in which nothing touches a clock, a task, a socket or a file.
const PURE: &[&str] = &[
    "protocol",
    "cluster/machine",
    "cluster/nats/session",
    "cluster/nats/reading",
    "cluster/nats/asking",
    "cluster/forward",
    "hub/log",
    "hub/subscriptions",
    "hub/names",
    "hub/expand",
    "hub/windows",
    "upstream/failure",
    "upstream/secrets",
    "upstream/session",
    "upstream/machine",
    "upstream/websocket/codec",
    "local/budget",
    "local/dialogue",
    "local/latest",
    "local/selections",
];

/// What may be named only in the files whose paths begin so.
const NAMED_IN: [(&str, &[&str]); 10] = [
    ("tokio_tungstenite", &["upstream/websocket", "cli/demo/server.rs"]),
    ("tungstenite", &["upstream/websocket", "cli/demo/server.rs"]),
    // sockets, the end of a program's whole family, SIGHUP for another daemon, what the process may, and
    // the boot-time clock
    (
        "rustix",
        &[
            "local/socket",
            "upstream/attempt/commands.rs",
            "service/signals.rs",
            "service/process.rs",
            "cluster/clock.rs",
        ],
    ),
    ("nix", &["local/socket", "local/sys/peer_groups.rs"]),
    ("sd_notify", &["service/notify.rs"]),
    // NATS's client, and that what it logs isn't heard
    ("async_nats", &["cluster/nats", "service/logging.rs"]),
    ("x509_cert", &["upstream/wire/certificate.rs"]),
    ("unsafe", &["local/sys"]),
    ("memmap2", &["hub/log/buffer.rs"]),
    // what starts a program
    ("Stdio", &["upstream/attempt/commands.rs"]),
];

#[test]
fn rooms_know_only_those_they_may() {
    let files = sources();
    for (room, _) in ROOMS {
        let count = files.keys().filter(|path| room_of(&module_of(path)) == Some(room)).count();
        assert!(count > 0, "nothing was scanned in src/{room}");
    }
    let mut wrong = BTreeSet::new();
    for (path, code) in &files {
        let module = module_of(path);
        let Some(room) = room_of(&module) else { continue };
        let may = ROOMS.iter().find(|(name, _)| *name == room).unwrap().1;
        for named in paths(code, &module) {
            let Some(other) = room_of(&named) else { continue };
            if other != room && !is_within(other, room) && !may.iter().any(|known| is_within(other, known)) {
                wrong.insert(format!("{}: {room} must not know {other}, but names {named}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.into_iter().collect::<Vec<_>>().join("\n"));
}

/// A rule that nothing needs would hide an arrow that has gone the other way.
#[test]
fn each_arrow_between_rooms_is_drawn_by_some_file() {
    let files = sources();
    let mut unused = Vec::new();
    for (room, may) in ROOMS {
        for known in *may {
            let drawn = files.iter().any(|(path, code)| {
                let module = module_of(path);
                is_within(&module, room) && paths(code, &module).iter().any(|named| is_within(named, known))
            });
            if !drawn {
                unused.push(format!("{room} may know {known}, and doesn't"));
            }
        }
    }
    assert!(unused.is_empty(), "{}", unused.join("\n"));
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
        let whole = paths(&code, &module_of(&path)).iter().any(|named| named == "config/Config");
        let may = [
            "config/",
            "cli/",
            "service/mod.rs",
            "service/reading.rs",
            "service/reload.rs",
            "service/link_task.rs", // gives each its part
            "service/node.rs",
        ];
        let here = path.display().to_string();
        assert!(!whole || may.iter().any(|place| here.starts_with(place)), "{here} takes the whole");
    }
}

#[test]
fn pure_rooms_touch_no_clock_task_socket_or_file() {
    let files = sources();
    for room in PURE {
        let mut count = 0;
        for (path, code) in files.iter().filter(|(path, _)| is_within(&module_of(path), room)) {
            count += 1;
            // a generator that is given is no chance
            let code = code.replace("fastrand::Rng", "");
            for word in [
                "tokio::",
                "Instant::now",
                "SystemTime::now",
                "std::net::Tcp",
                "std::fs",
                "fastrand",
                "async ",
                "getrandom",
            ] {
                assert!(!code.contains(word), "{}: {room} is pure, but has {word:?}", path.display());
            }
        }
        assert!(count > 0, "src/{room} is not there");
    }
}

/// A row of the table says in its first cell which places of `src` it is about, the first of them in full and the
/// others from the folder that it lies in; and in the second what is in them.
#[test]
fn the_table_has_each_file_and_each_place_that_it_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/architecture.md")).unwrap();
    let table = text.split("\n## ").find(|part| part.starts_with("Where things are")).unwrap();
    let files: Vec<String> = sources().into_keys().map(|path| format!("src/{}", path.display())).collect();
    let (mut wrong, mut told) = (Vec::new(), BTreeSet::new());
    for row in table.lines().filter_map(|line| line.strip_prefix("| `src/")) {
        let row = format!("`src/{row}");
        let (places, what) = row.split_once(" | ").unwrap();
        let first = in_backticks(places).next().unwrap();
        let base = first.trim_end_matches('/').rsplit_once('/').unwrap().0;
        for place in in_backticks(places) {
            let place = if place == first { place.to_owned() } else { format!("{base}/{place}") };
            let of_place: Vec<_> = files
                .iter()
                .filter(|file| **file == place || place.ends_with('/') && file.starts_with(&place))
                .collect();
            if of_place.is_empty() {
                wrong.push(format!("{first}: {place} isn't there"));
            }
            told.extend(of_place);
        }
        for name in in_backticks(what).filter(|name| name.ends_with(".rs")) {
            let end = format!("/{name}");
            let of_name: Vec<_> =
                files.iter().filter(|file| file.starts_with(base) && file.ends_with(&end)).collect();
            if of_name.is_empty() {
                wrong.push(format!("{first}: {base} has no {name}"));
            }
            told.extend(of_name);
        }
    }
    // a folder's own file says no more than the files in it, and the fuzzers' doors are in each room
    let plain = ["src/main.rs", "src/lib.rs", "src/local/fanout/ledger"];
    let left = files.iter().filter(|file| {
        let is_root = file.ends_with("/mod.rs") || file.ends_with("/fuzzing.rs");
        let is_folder =
            told.iter().any(|other| other.starts_with(&format!("{}/", file.trim_end_matches(".rs"))));
        !told.contains(file) && !is_root && !is_folder && !plain.iter().any(|plain| file.starts_with(plain))
    });
    wrong.extend(left.map(|file| format!("no row has {file}")));
    assert!(told.len() > 200, "only {} files are in the table", told.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What stands in backticks.
fn in_backticks(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// `upstream/machine/fault.rs` is the module `upstream/machine/fault`, `upstream/mod.rs` is `upstream`.
fn module_of(path: &Path) -> String {
    let module = path.with_extension("");
    let module = if module.ends_with("mod") { module.parent().unwrap() } else { &module };
    module.display().to_string()
}

/// The innermost room that a module, or something in it, lies in.
fn room_of(module: &str) -> Option<&'static str> {
    let rooms = ROOMS.iter().map(|(room, _)| *room).filter(|room| is_within(module, room));
    rooms.max_by_key(|room| room.len())
}

fn is_within(module: &str, room: &str) -> bool {
    module.strip_prefix(room).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// All that a module's code names of this crate, from its root on, with slashes.
fn paths(code: &str, module: &str) -> Vec<String> {
    let mut all = Vec::new();
    for root in ["crate", "super"] {
        for (at, _) in code.match_indices(&format!("{root}::")) {
            let is_within_a_name =
                code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
            if is_within_a_name || code[..at].ends_with("(in ") {
                continue;
            }
            let mut rest = &code[at..];
            let mut from = if root == "crate" { "" } else { module };
            while let Some(next) = rest.strip_prefix("super::") {
                (rest, from) = (next, from.rsplit_once('/').map_or("", |(outer, _)| outer));
            }
            tree(rest.strip_prefix("crate::").unwrap_or(rest), from, &mut all);
        }
    }
    all
}

/// Takes one path, or all those of a group in braces, and gives what is behind it.
fn tree<'c>(code: &'c str, from: &str, all: &mut Vec<String>) -> &'c str {
    let code = code.trim_start();
    if let Some(mut rest) = code.strip_prefix('{') {
        loop {
            rest = rest.trim_start().trim_start_matches(',').trim_start();
            if rest.is_empty() || rest.starts_with('}') {
                return rest.strip_prefix('}').unwrap_or(rest);
            }
            let behind = tree(rest, from, all);
            let end = behind.find([',', '}']).unwrap_or(behind.len()); // over an `as`
            rest = &behind[end..];
        }
    }
    let end = code.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(code.len());
    let (name, rest) = code.split_at(end);
    let path = match (from, name) {
        (_, "" | "self") => from.to_owned(),
        ("", _) => name.to_owned(),
        _ => format!("{from}/{name}"),
    };
    match rest.strip_prefix("::") {
        Some(rest) if !rest.starts_with('<') => tree(rest, &path, all),
        _ => {
            all.push(path);
            rest
        }
    }
}

#[test]
fn paths_are_found_in_groups_and_from_within() {
    let code = "use super::{Settings, failure::{self, Failure}};\nuse crate::{config::{Rule as R, Say}, hub::Hub};\n\
                let x = super::super::cli::main();";
    let found = paths(code, "upstream/machine/fault");
    let expected = [
        "config/Rule",
        "config/Say",
        "hub/Hub",
        "upstream/machine/Settings",
        "upstream/machine/failure",
        "upstream/machine/failure/Failure",
        "upstream/cli/main",
    ];
    assert_eq!(found, expected);
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
