//! `[command.NAME]`: programs whose output goes into templates.

use std::{collections::BTreeMap, path::Path, time::Duration};

use super::{
    Reject, Remedy, Template,
    names::{Names, Use, check_name},
    reader::{Item, Section},
    reject::ON_FAIL,
};

/// `[command.NAME]`: what `${command:NAME}` runs, by name.
pub type Commands = BTreeMap<String, Command>;

/// A program that is run afresh for each attempt, once, however often its output is used.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// `run`: the program by its absolute path, and its arguments; no shell. Never empty.
    pub run: Vec<String>,
    /// `timeout`: after so long it is killed, with all that it started; 10 ms to 10 min. Default 5 s.
    pub timeout: Duration,
    /// `stdin`: what it reads; a template, but for commands and captures. None by default: nothing.
    pub stdin: Option<Template>,
}

/// `upstream.url_command`: a program that says where to connect.
#[derive(Debug, Clone, PartialEq)]
pub struct UrlCommand {
    /// What is run.
    pub command: Command,
    /// `reject`: what it may print instead of a URL. None by default.
    pub reject: Vec<Reject>,
    /// `on_fail`: what a rejection leads to that says nothing itself. Default [`Remedy::Retry`].
    pub on_fail: Remedy,
}

impl Command {
    /// A command with the default for everything but what it runs.
    pub fn new(run: Vec<String>) -> Self {
        Self { run, timeout: Duration::from_secs(5), stdin: None }
    }
}

/// Reads `[command.NAME]`.
pub(super) fn read_all(section: Section<'_>, names: &Names) -> Commands {
    let mut commands = Commands::new();
    for item in section.items() {
        if check_name(&item)
            && let Some(command) = Command::read(&item, names)
        {
            commands.insert(item.name.to_owned(), command);
        }
    }
    commands
}

impl Command {
    fn read(item: &Item<'_>, names: &Names) -> Option<Self> {
        let section = item.section();
        let command = Self::read_keys(&section, names, Use::Input);
        section.finish();
        command
    }

    /// Reads `run`, `timeout` and `stdin`.
    fn read_keys(section: &Section<'_>, names: &Names, used: Use) -> Option<Self> {
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
        let stdin = section.item("stdin").and_then(|item| names.text(&item, used));
        (section.problems() == before).then_some(Self { timeout, stdin, ..default })
    }
}

impl UrlCommand {
    /// Reads `upstream.url_command`.
    pub(super) fn read(item: &Item<'_>, names: &Names) -> Option<Self> {
        let section = item.section();
        let command = Command::read_keys(&section, names, Use::Attempt);
        let reject = Reject::read_all(&section, "reject");
        let on_fail = section.one_of("on_fail", &ON_FAIL).unwrap_or_default();
        section.finish();
        Some(Self { command: command?, reject, on_fail })
    }
}
