//! `wsfan completions` and `wsfan man`.

use std::io::{self, Write as _};

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

use super::failure::{Failure, Outcome, reason, wrote};

const EXAMPLES: &str = "\
Examples:
  wsfan completions bash > /etc/bash_completion.d/wsfan
  wsfan completions fish > ~/.config/fish/completions/wsfan.fish
  wsfan completions zsh > ~/.zfunc/_wsfan";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

pub(super) fn completions(args: &CompletionsArgs, command: &mut Command) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "wsfan", &mut script);
    wrote(io::stdout().lock().write_all(&script)).map(drop)
}

pub(super) fn man(command: Command) -> Outcome {
    let page =
        page(command).map_err(|error| Failure::failed(format!("no manual page: {}", reason(&error))))?;
    wrote(io::stdout().lock().write_all(page.as_bytes())).map(drop)
}

/// One page for the whole tool: its own sections, then one for each command.
fn page(mut command: Command) -> io::Result<String> {
    command.build(); // gives the commands their full names
    let mut page = Vec::new();
    let man = Man::new(command.clone()).manual("wsfan manual");
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    for subcommand in command.get_subcommands().filter(|one| one.get_name() != "help") {
        let man = Man::new(subcommand.clone());
        writeln!(page, ".SH \"WSFAN {}\"", subcommand.get_name().to_uppercase())?;
        let mut sections = Vec::new();
        man.render_synopsis_section(&mut sections)?;
        man.render_description_section(&mut sections)?;
        man.render_options_section(&mut sections)?;
        if subcommand.get_after_help().is_some() {
            man.render_extra_section(&mut sections)?;
        }
        page.extend(subsections(&String::from_utf8_lossy(&sections)).into_bytes());
    }
    let mut extra = Vec::new();
    man.render_extra_section(&mut extra)?;
    page.extend(notes(&String::from_utf8_lossy(&extra)).into_bytes());
    man.render_version_section(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// Sections as parts of a section.
fn subsections(roff: &str) -> String {
    notes(roff).replace("\n.SH ", "\n.SS ")
}

/// The help's last part by a better name: paragraphs are filled, and indented lines stay as they are.
fn notes(roff: &str) -> String {
    let Some((before, text)) = roff.split_once(".SH EXTRA\n") else { return roff.to_owned() };
    let mut page = format!("{before}.SH NOTES\n");
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let example = |line: &str| line.starts_with("  ");
        match line {
            "" | ".br" => page.push_str(".PP\n"),
            line if example(line) => {
                page.push_str(".nf\n");
                page.push_str(line);
                while let Some(line) = lines.next_if(|line| example(line)) {
                    page.push('\n');
                    page.push_str(line);
                }
                page.push_str("\n.fi\n");
            }
            line => {
                page.push_str(line);
                page.push('\n');
            }
        }
    }
    page
}
