//! `wsfan run`: the daemon, in the foreground.

use std::path::{Path, PathBuf};

use tokio::runtime::{Builder, LocalOptions, LocalRuntime};

use super::{
    daemon::{CONFIG, Instance, file_of},
    failure::{Failure, Outcome, UNAVAILABLE, explain, reason},
};
use crate::{
    config::{Config, Environment},
    service::{self, Exit, Source},
};

const EXAMPLES: &str = "\
Example, a whole config:
  [upstream]
  url = \"wss://stream.example.com/v1\"

SIGTERM and SIGINT stop it, a second one at once; SIGHUP reads the config again, as `wsfan reload` has it do. \
It logs to stderr.

Exit codes: 0 stopped; 1 failed; 69 the upstream was given up (reconnect.on_exhausted = \"exit\"); 78 \
the config is bad, or names what this machine hasn't.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The config file
    #[arg(short, long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    /// The instance of this name: /etc/wsfan/NAME.toml, with its socket in /run/wsfan-NAME unless that has another
    #[arg(short, long, value_name = "NAME", conflicts_with = "config")]
    instance: Option<Instance>,
    /// What people write who mean --config
    #[arg(hide = true, value_name = "FILE", value_parser = no_place)]
    misplaced: Option<String>,
}

/// No file has its place here.
fn no_place(value: &str) -> Result<String, String> {
    Err(format!("the config file is named by an option: --config {value}"))
}

pub(super) fn run(args: &Args) -> Outcome {
    let source = source(args)?;
    let _flush = service::logging::init(&source.config.log);
    let runtime = runtime()?;
    let result = runtime.block_on(service::run(source));
    // a DNS lookup that hangs must not hold the stop
    runtime.shutdown_background();
    match result {
        Ok(Exit::Stopped) => Ok(()),
        Ok(Exit::GivenUp) => Err(Failure::with_code(
            UNAVAILABLE,
            "the upstream was given up, and reconnect.on_exhausted says to exit: the log says what went wrong",
        )),
        Err(error) => Err(Failure::with_code(error.exit_code(), error.to_string())),
    }
}

/// What the daemon runs, and reads again.
fn source(args: &Args) -> Outcome<Source> {
    let (path, environment) = file_of(&args.config, args.instance.as_ref());
    let config = load_in(&path, &environment)?;
    Ok(Source { config, path: Some(path), environment })
}

/// The single-threaded runtime that the daemon lives in.
pub(super) fn runtime() -> Outcome<LocalRuntime> {
    Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .map_err(|error| Failure::failed(format!("the runtime can't be started: {}", reason(&error))))
}

/// Reads the config. All that is wrong with it stands in the failure, a line each.
pub(super) fn load_in(file: &Path, environment: &Environment) -> Outcome<Config> {
    Config::load_in(file, environment).map_err(|error| Failure::config(explain(&error)))
}
