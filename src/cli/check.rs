//! `wsfan check`: is this config right, and what does it mean?

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{
    daemon::{CONFIG, Instance, file_of},
    failure::{CONFIG as BAD_CONFIG, Failure, Outcome, USAGE, explain, note, wrote},
};
use crate::config::{Config, Environment, LoadError, Merged, safe_url};

mod live;
#[cfg(feature = "cluster")]
mod nats;
mod print;
mod summary;
mod timeline;
mod warnings;

use summary::summary;

const NOTES: &str = "\
Nothing is started, and without --live nobody is called. --live reads the secrets and runs the programs \
that the config names (each is named before it runs; --dry runs none), as this user and in this environment, and goes the way of the daemon: DNS, TCP, the \
proxy, TLS, the upgrade, each step of the script, one heartbeat, and the close. With [cluster] it looks at NATS first: \
the servers, the stream, limits and rights; it makes nothing there. What is secret isn't shown: \
sent messages stand there with their placeholders.

Examples:
  wsfan check --config wsfan.toml
  wsfan check --print --config wsfan.toml       what a profile says and what the file does, in one
  wsfan check --live                            the server of /etc/wsfan/wsfan.toml
  wsfan check --live wss://stream.example.com/v1
  wsfan check --live --json | jq -r 'select(.type == \"result\").advice'

Exit codes: 0 all is well; 1 the way to the server failed, and stderr says where and what to do; 2 the \
URL isn't one; 78 the config isn't right, with each problem on a line of stderr.";

#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(super) struct Args {
    /// The config file
    #[arg(short, long, value_name = "FILE", default_value = CONFIG, conflicts_with_all = ["profile", "url"])]
    config: PathBuf,
    /// The config file of the instance of this name, /etc/wsfan/NAME.toml
    #[arg(short, long, value_name = "NAME", conflicts_with_all = ["config", "profile", "url"])]
    instance: Option<Instance>,
    /// Check a profile as it is, without a config file
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// List the profiles: the servers that wsfan knows
    #[arg(long, conflicts_with_all = ["config", "instance", "profile", "url", "live", "print", "json"])]
    list_profiles: bool,
    /// Also walk to the real server, and say what each stage found and how long it took
    #[arg(long)]
    live: bool,
    /// With --live: run none of the config's programs, and say what can't be tried without them
    #[arg(long, requires = "live")]
    dry: bool,
    /// Walk to this server, without a config file
    #[arg(value_name = "URL", value_parser = no_file)]
    url: Option<String>,
    /// Print the config as TOML, with its profile's settings in it: placeholders as written, literal secrets masked
    #[arg(long, conflicts_with = "json")]
    print: bool,
    /// Print the result as one JSON object; with --live, one for each stage and one for the result
    #[arg(long)]
    json: bool,
}

/// A URL, but for what is a config file to the eye, which an option names.
fn no_file(value: &str) -> Result<String, String> {
    if value.ends_with(".toml") && !value.contains("://") {
        return Err(format!("a config file is named by an option: --config {value}"));
    }
    Ok(value.to_owned())
}

pub(super) fn check(args: &Args) -> Outcome {
    if args.list_profiles {
        return wrote(io::stdout().lock().write_all(super::config::profiles().as_bytes())).map(drop);
    }
    if args.print && args.live {
        let sentence =
            "--print shows what the config says and --live what the server does: leave one of them out";
        return Err(Failure::with_code(USAGE, sentence));
    }
    if args.url.is_some() && !args.live {
        return Err(Failure::usage("a URL is checked by going there: add --live"));
    }
    if args.profile.is_some() || args.url.is_some() {
        return check_arguments(args);
    }
    let (file, environment) = file_of(&args.config, args.instance.as_ref());
    if args.print {
        let merged = Config::load_merged(&file, &environment);
        let merged = merged.map_err(|error| {
            let _ = writeln!(io::stderr().lock(), "{}", explain(&error));
            Failure::silent(BAD_CONFIG)
        })?;
        return print(&file, &merged);
    }
    let result = Config::load_in(&file, &environment);
    let text = match (&result, args.json) {
        // the walk has a result of its own
        (Ok(_), true) if args.live => String::new(),
        (_, true) => format!("{}\n", report(&file, &result)),
        (Ok(config), false) => summary(&file, config),
        (Err(error), false) => {
            let _ = writeln!(io::stderr().lock(), "{}", explain(error));
            String::new()
        }
    };
    wrote(io::stdout().lock().write_all(text.as_bytes()))?;
    let warnings = result.as_ref().map(|config| warnings(config, Some(&file))).unwrap_or_default();
    if !args.json {
        warnings.iter().for_each(|warning| note(format_args!("warning: {warning}")));
    }
    match result {
        Ok(config) if args.live => live::walk(&config, args.dry, args.json.then_some(&warnings)),
        Ok(_) => Ok(()),
        Err(_) => Err(Failure::silent(BAD_CONFIG)),
    }
}

fn print(name: &Path, merged: &Merged) -> Outcome {
    let text = print::text(&name.to_string_lossy(), merged);
    wrote(io::stdout().lock().write_all(text.as_bytes())).map(drop)
}

/// Checks what the arguments alone say.
fn check_arguments(args: &Args) -> Outcome {
    let name = args.profile.clone().unwrap_or_else(|| safe_url(args.url.as_deref().unwrap_or_default()));
    let name = Path::new(&name);
    let config = match Config::parse(&text(args), &Environment::process()) {
        Ok(config) => config,
        Err(invalid) => {
            // an argument has no lines
            let sentences = invalid.problems().iter().map(|problem| match args.profile {
                None => problem.sentence.replacen("upstream.url", "the URL", 1),
                Some(_) => problem.sentence.clone(),
            });
            let sentence = if args.json { String::new() } else { sentences.collect::<Vec<_>>().join("\n") };
            if args.json {
                let error = Err(LoadError::Invalid { path: name.into(), invalid: invalid.clone() });
                wrote(writeln!(io::stdout().lock(), "{}", report(name, &error)))?;
            }
            let code = if args.profile.is_some() { BAD_CONFIG } else { USAGE };
            return Err(Failure::with_code(code, sentence));
        }
    };
    if args.print {
        let merged = Config::merged(&text(args), &Environment::process());
        return merged.map_or(Ok(()), |merged| print(name, &merged));
    }
    if !args.live {
        let result = Ok(config);
        let text = match (&result, args.json) {
            (Ok(config), false) => summary(name, config),
            _ => format!("{}\n", report(name, &result)),
        };
        return wrote(io::stdout().lock().write_all(text.as_bytes())).map(drop);
    }
    live::walk(&config, args.dry, args.json.then_some(&Vec::new()))
}

/// The config file that says what the arguments say.
fn text(args: &Args) -> String {
    // a string of JSON is one of TOML
    let line = |key: &str, value: &Option<String>| match value {
        Some(value) => format!("{key} = {}\n", json!(value)),
        None => String::new(),
    };
    format!("{}[upstream]\n{}", line("profile", &args.profile), line("url", &args.url))
}

/// The result for a program.
fn report(file: &Path, result: &Result<Config, LoadError>) -> serde_json::Value {
    let problems: Vec<_> = match result {
        Ok(_) => Vec::new(),
        Err(LoadError::Invalid { invalid, .. }) => invalid
            .problems()
            .iter()
            .map(|problem| json!({ "line": problem.line, "problem": problem.sentence }))
            .collect(),
        Err(error) => vec![json!({ "line": null, "problem": explain(error) })],
    };
    let warnings = result.as_ref().map(|config| warnings(config, Some(file))).unwrap_or_default();
    json!({ "file": file.to_string_lossy(), "ok": result.is_ok(), "problems": problems, "warnings": warnings })
}

/// What is right and yet unwise, or not so on this machine; the config may be meant for another.
fn warnings(config: &Config, file: Option<&Path>) -> Vec<String> {
    warnings::warnings(config, file, &Environment::process())
}
