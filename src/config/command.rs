//! `[command.NAME]`: programs whose output goes into templates.

use std::{collections::BTreeMap, time::Duration};

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
