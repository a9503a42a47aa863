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

/// What clap doesn't know: which files and variables matter.
const SURROUNDINGS: &str = r".SH FILES
.TP
.I /etc/wsfan/wsfan.toml
The config, unless \-\-config names another.
.TP
.I /etc/wsfan/NAME.toml
The config of the instance NAME.
.TP
.I /run/wsfan\-NAME/wsfan.sock
The socket of the instance NAME, unless configured.
.TP
.I /run/wsfan/wsfan.sock
The socket of a daemon that systemd started, unless configured.
.SH ENVIRONMENT
.TP
.B WSFAN_SOCKET
The daemon's socket for client commands, before what the config names.
.TP
.B RUNTIME_DIRECTORY
A listener without a path is wsfan.sock in this directory; systemd sets it.
.TP
.B XDG_RUNTIME_DIR
The same, where RUNTIME_DIRECTORY isn't set.
.TP
.B CREDENTIALS_DIRECTORY
Where ${credential:NAME} in the config is read from; systemd sets it.
.TP
.B NO_COLOR
Anything in it turns colours off.
";

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
        synopsis(subcommand, &mut sections)?;
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
    page.extend_from_slice(SURROUNDINGS.as_bytes());
    man.render_version_section(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// How the command is called, with the values that its options take.
fn synopsis(command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    writeln!(page, ".SH SYNOPSIS")?;
    write!(page, r"\fB{}\fR", name.replace('-', r"\-"))?;
    for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
        let short = arg.get_short().map(|short| format!(r"\fB\-{short}\fR"));
        let long = arg.get_long().map(|long| format!(r"\fB\-\-{}\fR", long.replace('-', r"\-")));
        let names: Vec<String> = short.into_iter().chain(long).collect();
        let mut text = names.join("|");
        if arg.get_action().takes_values() {
            let value =
                arg.get_value_names().map_or_else(|| arg.get_id().to_string(), |names| names.join(" "));
            let space = if text.is_empty() { "" } else { " " };
            text.push_str(&format!(r"{space}\fI{value}\fR"));
        }
        match arg.is_required_set() {
            true => write!(page, " <{text}>")?,
            false => write!(page, " [{text}]")?,
        }
    }
    writeln!(page)
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
