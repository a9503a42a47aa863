//! The documents say the same thing everywhere, and point to what is there.

use std::{
    fs,
    path::{Path, PathBuf},
};

#[cfg(feature = "cluster")]
use wsfan::config::{Config, Environment};
use wsfan::protocol::Line;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every Markdown file outside of what a build makes.
fn documents() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for directory in ["", "docs"] {
        for entry in fs::read_dir(root.join(directory)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    assert!(found.len() >= 8, "{found:?}");
    found
}

/// The places that a document's links lead to, those in examples left out.
fn links(text: &str) -> Vec<&str> {
    let mut code = false;
    let lines = text.lines().filter(|line| {
        code ^= line.starts_with("```");
        !code
    });
    let targets = lines.flat_map(|line| line.split("](").skip(1)).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://")).collect()
}

/// The files that a text names from the root of the repository on, by one of these directories.
fn files<'t>(text: &'t str, directories: &[&str]) -> Vec<&'t str> {
    let ends = |letter: char| !(letter.is_ascii_alphanumeric() || "/_-.@".contains(letter));
    let words = text.split(ends).map(|word| word.trim_end_matches(['.', '/']));
    let named = |word: &&str| {
        directories
            .iter()
            .any(|directory| word.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/')))
    };
    words.filter(named).collect()
}

#[test]
fn every_file_that_is_named_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directories = ["src", "tests", "benches", "fuzz", "docs", "examples", "systemd", ".ci"];
    // what a run makes
    let made = ["fuzz/artifacts"];
    let scripts = [".ci/run", "fuzz/run", "fuzz/Cargo.toml", "deny.toml", "clippy.toml", "config/wsfan.toml"];
    let mut count = 0;
    for document in documents().into_iter().chain(scripts.map(str::to_owned)) {
        let text = read(&document);
        for file in files(&text, &directories) {
            count += 1;
            let is_there = root.join(file).exists() || made.contains(&file);
            assert!(is_there, "{document} names {file}, which isn't there");
        }
    }
    assert!(count > 60, "{count} files");
}

/// The files of the map's first column: `dir/` and what stands behind it without one lies there too, or in the
/// directory of the file before.
#[test]
fn the_map_names_what_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = read("docs/architecture.md");
    let rows: Vec<_> = text.lines().filter(|line| line.starts_with("| `src/")).collect();
    assert!(rows.len() > 20, "{rows:?}");
    let mut named = Vec::new();
    for row in &rows {
        let column = row.split('|').nth(1).unwrap();
        let mut directory = Path::new("");
        for name in column.split('`').skip(1).step_by(2) {
            let path = if name.starts_with("src/") { name.into() } else { directory.join(name) };
            assert!(root.join(&path).exists(), "the map names {name}: {} isn't there", path.display());
            if name.starts_with("src/") {
                directory = Path::new(name).parent().unwrap();
            }
            named.push(path);
        }
    }
    // and every room is in it
    for entry in fs::read_dir(root.join("src")).unwrap() {
        let path = entry.unwrap().path();
        let path = path.strip_prefix(root).unwrap();
        let is_named = named.iter().any(|named| named.starts_with(path));
        assert!(!root.join(path).is_dir() || is_named, "the map doesn't name {}", path.display());
    }
    // the files that the second column speaks of lie somewhere in the rooms
    let sources: Vec<_> = sources(&root.join("src"));
    for row in &rows {
        for name in row.split('|').nth(2).unwrap().split('`').skip(1).step_by(2) {
            if name.ends_with(".rs") || name.ends_with('/') {
                let name = name.trim_end_matches('/');
                assert!(sources.iter().any(|source| source.ends_with(name)), "the map speaks of {name}");
            }
        }
    }
}

/// All files and directories below one.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { [sources(&path), vec![path]].concat() } else { vec![path] })
        .collect()
}

/// The anchor that a hosting page makes of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.collect::<String>().trim().to_lowercase().replace(' ', "-")
}

#[test]
fn every_link_leads_somewhere() {
    let mut count = 0;
    for document in documents() {
        let text = read(&document);
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(&document).parent().unwrap().to_owned();
        for link in links(&text) {
            count += 1;
            let (file, place) = link.split_once('#').unwrap_or((link, ""));
            let path = if file.is_empty() { None } else { Some(directory.join(file)) };
            let missing = path.as_ref().is_some_and(|path| !path.exists());
            assert!(!missing, "{document} points to {link}, which isn't there");
            if !place.is_empty() {
                let text = path.map_or_else(|| text.clone(), |path| fs::read_to_string(path).unwrap());
                let headings = text.lines().filter(|line| line.starts_with('#'));
                let mut anchors: Vec<String> = Vec::new();
                for heading in headings.map(|line| anchor(line.trim_start_matches('#'))) {
                    let again = anchors.iter().filter(|there| **there == heading).count();
                    // a heading that comes twice is numbered from the second on
                    if again > 0 {
                        anchors.push(format!("{heading}-{again}"));
                    }
                    anchors.push(heading);
                }
                assert!(anchors.iter().any(|anchor| anchor == place), "{document} points to {link}");
            }
        }
    }
    assert!(count > 40, "{count} links");
}

/// The figure of a row of the benchmarks' first table, for a hundred clients.
fn figure(benchmarks: &str, bridge: &str) -> f64 {
    let start = format!("| {bridge} |");
    let row = benchmarks.lines().find(|line| line.starts_with(&start));
    let row = row.unwrap_or_else(|| panic!("docs/benchmarks.md has no row for {bridge}"));
    let cell = row.split('|').nth(4).unwrap_or_else(|| panic!("{row}"));
    let number = cell.split_whitespace().next().unwrap_or_else(|| panic!("{row}"));
    number.parse().unwrap_or_else(|_| panic!("{number} in {row}"))
}

/// The number between two texts.
fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    let rest =
        text.split_once(before).unwrap_or_else(|| panic!("docs/benchmarks.md doesn't say {before:?}")).1;
    rest.split_once(after).unwrap_or_else(|| panic!("docs/benchmarks.md doesn't say {after:?}")).0
}

#[test]
fn the_readme_has_its_figures_from_the_benchmarks() {
    let benchmarks = read("docs/benchmarks.md");
    let own = figure(&benchmarks, "wsfan");
    let times = |bridge| (figure(&benchmarks, bridge) / own).round();
    let sentence = format!(
        "Two hundred bytes to each of a hundred clients cost {own:.3} µs of CPU each, {} times less than websocat \
         and {} to {} times less than a script; an idle client costs {} kB, and the idle daemon {} MB.",
        times("websocat"),
        times("node"),
        times("python"),
        between(&benchmarks, "of it its own; ", " kB for each client"),
        between(&benchmarks, "- Idle: ", " MB resident"),
    );
    assert!(read("README.md").contains(&sentence), "the README wants this sentence: {sentence}");
}

/// What failures look like is said in the protocol's own words: each example is a line that this version reads.
#[test]
fn the_lines_of_a_cluster_are_the_protocols() {
    let page = read("docs/cluster.md");
    let lines: Vec<_> = page.lines().filter(|line| line.starts_with("{\"type\"")).collect();
    assert!(lines.len() >= 5, "{lines:?}");
    for line in lines {
        let read = Line::parse(line.as_bytes());
        assert!(read.as_ref().is_some_and(|read| !matches!(read, Line::Other(_))), "{line}: {read:?}");
    }
}

/// The configurations of the page are right, as they stand in it.
#[test]
#[cfg(feature = "cluster")]
fn the_configurations_of_a_cluster_are_right() {
    let page = read("docs/cluster.md");
    let (_, rest) = page.split_once("$node.toml <<END\n").expect("the quick start's config");
    let text = rest.split_once("\nEND\n").unwrap().0;
    for node in ["a", "b"] {
        let config = Config::parse(&text.replace("$node", node), &Environment::fixed([]));
        let config = config.unwrap_or_else(|why| panic!("{why}"));
        assert_eq!((config.cluster.unwrap().node.as_str(), config.warnings), (node, vec![]));
    }
    let block = page.split("```toml\n").find(|block| block.starts_with("[cluster]")).expect("a [cluster]");
    let block = block.split_once("```").unwrap().0;
    let ca_file = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let block = block.replace("/etc/wsfan/nats-ca.pem", ca_file.to_str().unwrap());
    let text = format!("{block}[upstream]\nurl = \"ws://a\"\n");
    let config = Config::parse(&text, &Environment::fixed([("HOSTNAME", "host-a.example.com")]));
    let config = config.unwrap_or_else(|why| panic!("{why}"));
    assert_eq!((config.cluster.unwrap().node.as_str(), config.warnings), ("host-a", vec![]));
}
