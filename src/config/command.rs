//! `[command.NAME]`: programs whose output goes into templates.

use std::{collections::BTreeMap, path::Path, time::Duration};

use super::{
    names::check_name,
    reader::{Item, Section},
};

/// `[command.NAME]`: what `${command:NAME}` runs, by name.
pub type Commands = BTreeMap<String, Command>;

/// A program that is run afresh for each attempt, once, however often its output is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// `run`: the program by its absolute path, and its arguments; no shell. Never empty.
    pub run: Vec<String>,
    /// `timeout`: it is killed after so long; 10 ms to 10 min. Default 5 s.
    pub timeout: Duration,
}

impl Command {
    /// A command with the default for everything but what it runs.
    pub fn new(run: Vec<String>) -> Self {
        Self { run, timeout: Duration::from_secs(5) }
    }
}

/// Reads `[command.NAME]`.
pub(super) fn read_all(section: Section<'_>) -> Commands {
    let mut commands = Commands::new();
    for item in section.items() {
        if check_name(&item)
            && let Some(command) = Command::read(&item)
        {
            commands.insert(item.name.to_owned(), command);
        }
    }
    commands
}

impl Command {
    /// Reads a table with `run` and `timeout`.
    pub(super) fn read(item: &Item<'_>) -> Option<Self> {
        let section = item.section();
        if section.is_refused() {
            return None;
        }
        let before = section.problems();
        let run: Vec<String> = section
            .texts("run")
            .map_or_else(Vec::new, |items| items.iter().filter_map(Item::text).map(str::to_owned).collect());
        let default = Self::new(run);
        let timeouts = Duration::from_millis(10)..=Duration::from_secs(600);
        let timeout = section.duration("timeout", timeouts).unwrap_or(default.timeout);
        if section.problems() == before {
            match default.run.first() {
                None => {
                    section.problem("run", "is missing: write run = [\"/path/to/program\", \"argument\"]")
                }
                Some(program) if !Path::new(program).is_absolute() => section.problem(
                    "run",
                    format_args!("begins with {program:?}: write the program's path, which starts with `/`"),
                ),
                Some(_) if default.run.iter().any(|text| text.contains('\0')) => {
                    section.problem("run", "has a NUL character in it: take it out");
                }
                Some(_) => {}
            }
        }
        let sound = section.problems() == before;
        section.finish();
        sound.then_some(Self { timeout, ..default })
    }
}
