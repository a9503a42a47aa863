//! The command line: what a person types, and what a script may rely on.
//!
//! `run` and `demo` hold the daemon; every other command is a plain client of its socket, with blocking
//! I/O and a deadline on each wait. Exit codes: 0 done, 1 failed while running, 2 usage, 3 it may have been done,
//! 69 the link is down, 78 the config is bad, 124 the server didn't answer in time. An error is a sentence on stderr.

use std::{ffi::OsString, process::ExitCode};

use clap::{CommandFactory as _, Parser};

mod check;
#[cfg(feature = "cluster")]
mod cluster;
mod config;
mod control;
mod daemon;
mod demo;
mod failure;
mod format;
mod pages;
mod payload;
mod pretty;
mod reach;
mod reload;
mod reply;
mod request;
mod run;
mod send;
mod status;
mod subscribe;
mod tail;

use failure::Outcome;

const EXAMPLES: &str = "\
Examples:
  wsfan demo                          see it work, with no server and no config
  wsfan config > wsfan.toml           a config to begin with: every key, and its default
  wsfan check --config wsfan.toml     is this config right?
  wsfan check --live                  and does the way to the server work?
  wsfan run --config wsfan.toml       the daemon, in the foreground
  wsfan tail                          follow the messages
  wsfan tail | jq -c 'select(.type == \"message\").json'
  wsfan subscribe btc.trades          have the server send a topic, and follow it
  wsfan send '{\"op\":\"subscribe\",\"topic\":\"btc\"}'
  wsfan request '{\"type\":\"get_states\"}' | jq
  wsfan status                        the link, the log, and who is connected

Without --config, --instance or --socket, the socket is $WSFAN_SOCKET, else the one that \
/etc/wsfan/wsfan.toml names, else the default of this user, else the system's. A config or an instance that \
is named is never left for another daemon: one that says that it runs another file is refused.

Exit codes: 0 done; 1 failed while running; 2 wrong usage; 3 it may have been done, or may still be; 69 the link is \
down, or was given up; 78 the config is bad; 124 the server didn't answer in time. Each command says which it has.";

/// One persistent WebSocket connection, fanned out to local programs.
///
/// wsfan keeps one WebSocket connection to an upstream server alive and gives each of its messages to
/// every local program on a Unix socket, as JSON lines. Local programs send upstream through the same
/// socket.
#[derive(Debug, Parser)]
#[command(name = "wsfan", version, after_help = EXAMPLES, max_term_width = 100)]
#[command(arg_required_else_help = true)]
struct Args {
    #[command(subcommand)]
    command: Subcommand,
}

#[derive(Debug, clap::Subcommand)]
enum Subcommand {
    /// Run the daemon in the foreground
    Run(run::Args),
    /// Check a config file, and with --live the way to the server, without starting anything
    Check(check::Args),
    /// Print a config to begin with: every key with its default, or with --profile what wsfan knows of a server
    Config(config::Args),
    /// See it all work: a built-in server with faults, and the real daemon in front of it
    Demo(demo::Args),
    /// Follow the messages: pretty on a terminal, plain JSON lines in a pipe
    Tail(tail::Args),
    /// Send a message to the upstream and say what became of it
    Send(send::Args),
    /// Ask the server something, and print its answer
    Request(request::Args),
    /// Have the server send topics, and follow their messages
    Subscribe(subscribe::Args),
    /// Show the link, the log and the clients
    Status(status::Args),
    /// Drop the connection, or the delay before the next one, and connect anew
    Reconnect(control::Args),
    /// Open the link after it was closed or given up
    Open(control::Args),
    /// Close the link, and keep it closed until `open` or `reconnect`
    Close(control::Args),
    /// Have the daemon read its config again, and say what that changed
    Reload(reload::Args),
    /// Several machines with one link: make their stream in NATS, or show all nodes
    #[cfg(feature = "cluster")]
    Cluster(cluster::Args),
    /// Print the completion script for a shell
    Completions(pages::CompletionsArgs),
    /// Print the manual page, for `man -l -`
    Man,
}

/// Runs the command that this process's arguments name.
pub fn main() -> ExitCode {
    from_args(std::env::args_os())
}

fn from_args(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        // help and version come this way too: on stdout, with 0. A closed stdout is nobody's fault
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(failure::USAGE));
        }
    };
    match args.command.execute() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_silent() => ExitCode::from(failure.code()),
        Err(failure) => {
            failure::report(&failure);
            ExitCode::from(failure.code())
        }
    }
}

impl Subcommand {
    fn execute(self) -> Outcome {
        match self {
            Subcommand::Run(args) => run::run(&args),
            Subcommand::Check(args) => check::check(&args),
            Subcommand::Config(args) => config::config(&args),
            Subcommand::Demo(args) => demo::demo(&args),
            Subcommand::Tail(args) => tail::tail(&args),
            Subcommand::Send(args) => send::send(&args),
            Subcommand::Request(args) => request::request(&args),
            Subcommand::Subscribe(args) => subscribe::subscribe(&args),
            Subcommand::Status(args) => status::status(&args),
            Subcommand::Reconnect(args) => control::control(control::LinkOp::Reconnect, &args),
            Subcommand::Open(args) => control::control(control::LinkOp::Open, &args),
            Subcommand::Close(args) => control::control(control::LinkOp::Close, &args),
            Subcommand::Reload(args) => reload::reload(&args),
            #[cfg(feature = "cluster")]
            Subcommand::Cluster(args) => cluster::cluster(&args),
            Subcommand::Completions(args) => pages::completions(&args, &mut Args::command()),
            Subcommand::Man => pages::man(Args::command()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn config_and_socket_exclude_one_another() {
        let parse = |args: &[&str]| Args::try_parse_from(args).map_err(|error| error.exit_code());
        assert!(parse(&["wsfan", "status", "--socket", "/s"]).is_ok());
        assert_eq!(parse(&["wsfan", "status", "--socket", "/s", "--config", "/c"]).unwrap_err(), 2);
        assert_eq!(parse(&["wsfan", "tail", "--json", "--pretty"]).unwrap_err(), 2);
        assert_eq!(parse(&["wsfan", "send", "--binary", "--lines"]).unwrap_err(), 2);
        assert!(parse(&["wsfan", "check", "--live", "wss://h/"]).is_ok());
        assert!(parse(&["wsfan", "check", "--live", "--profile", "p", "wss://h/"]).is_ok());
        assert_eq!(parse(&["wsfan", "check", "wsfan.toml"]).unwrap_err(), 2);
        let misplaced = Args::try_parse_from(["wsfan", "run", "wsfan.toml"]).unwrap_err();
        assert!(misplaced.to_string().contains("--config wsfan.toml"), "{misplaced}");
        assert_eq!(parse(&["wsfan", "check", "--live", "wsfan.toml"]).unwrap_err(), 2);
        assert_eq!(parse(&["wsfan", "check", "--live", "wss://h/", "--config", "/c"]).unwrap_err(), 2);
        assert_eq!(parse(&["wsfan", "check", "--profile", "p", "--config", "/c"]).unwrap_err(), 2);
    }
}
