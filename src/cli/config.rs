//! `wsfan config`: configurations to read, or to begin with.

use std::io::{self, Write as _};

use super::failure::{Failure, Outcome, wrote};
use crate::config::Config;

/// Every key, with its default and what it is for.
const SAMPLE: &str = include_str!("../../config/wsfan.toml");

const NOTES: &str = "\
Examples:
  wsfan config > wsfan.toml              every key, with its default and what it is for
  wsfan config --profile okx             what wsfan knows of a server, and what it wants of you
  wsfan check --list-profiles            which servers these are

Exit codes: 0 done; 2 there is no such profile.";

#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(super) struct Args {
    /// Print this profile, as it lies below a config that names it
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
}

pub(super) fn config(args: &Args) -> Outcome {
    let text = match &args.profile {
        None => SAMPLE,
        Some(name) => {
            let found = Config::profiles().find(|(known, _)| known == name);
            let (_, text) = found.ok_or_else(|| unknown(name))?;
            text
        }
    };
    wrote(io::stdout().lock().write_all(text.as_bytes())).map(drop)
}

/// The profiles' names, each with what it is for.
pub(super) fn profiles() -> String {
    let width = Config::profiles().map(|(name, _)| name.len()).max().unwrap_or_default();
    Config::profiles().map(|(name, text)| format!("{name:width$}  {}\n", about(text))).collect()
}

fn unknown(name: &str) -> Failure {
    let names: Vec<_> = Config::profiles().map(|(name, _)| name).collect();
    Failure::usage(format!("there is no profile {name:?}: there are {}", names.join(", ")))
}

/// The first sentence of a profile's first comment.
fn about(text: &str) -> &str {
    let line = text.lines().next().unwrap_or_default().trim_start_matches(['#', ' ']);
    let sentence = line.find(". ").map_or(line, |end| &line[..end]);
    sentence.trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_profile_says_in_a_line_what_it_is_for() {
        for line in profiles().lines() {
            let (name, about) = line.split_once("  ").unwrap();
            assert!(!name.is_empty() && about.trim().len() > 10 && line.len() < 120, "{line}");
            let count = |wanted: char| about.chars().filter(|c| *c == wanted).count();
            assert_eq!(count('('), count(')'), "the first sentence ends on the first line: {line}");
        }
    }
}
