//! `wsfan check`: is this config right, and what does it mean?

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{
    daemon::{CONFIG, Instance, file_of},
    failure::{CONFIG as BAD_CONFIG, Failure, Outcome, USAGE, note, wrote},
    format::{bytes, clean},
    run::explain,
};
use crate::config::{
    Config, Environment, Excess, Format, Heartbeat, HeartbeatKind, History, Limits, Listener, LoadError,
    Merged, OnExhausted, OnHole, Proxy, Reconnect, Rotate, Say, Sequence, SlowClient, Span, Upstream, Window, cut,
    format_duration, safe_url,
};

mod live;
mod print;
mod timeline;
mod warnings;

const NOTES: &str = "\
Nothing is started, and without --live nobody is called. --live reads the secrets and runs the programs \
that the config names (each is named before it runs; --dry runs none), as this user and in this environment, and goes the way of the daemon: DNS, TCP, the \
proxy, TLS, the upgrade, each step of the script, one heartbeat, and the close. What is secret isn't shown: \
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

/// What a right config means, in a few lines.
fn summary(file: &Path, config: &Config) -> String {
    let mut text = format!("{}: OK\n", file.display());
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<10} {value}");
    };
    if let Some(profile) = &config.profile {
        row("profile", profile.clone());
    }
    row("upstream", upstream(&config.upstream));
    match &config.upstream.proxy {
        Proxy::Environment => {}
        Proxy::Off => row("proxy", "none, whatever the environment says".to_owned()),
        Proxy::Url(url) => row("proxy", safe_url(&url.to_string())),
    }
    row("heartbeat", heartbeat(&config.heartbeat));
    let terms = &config.terms;
    if !terms.script.steps.is_empty() {
        let names: Vec<&str> = terms.script.steps.iter().map(|step| step.name.as_str()).collect();
        row("script", names.join(", then "));
    }
    if !terms.replies.is_empty() {
        let patterns: Vec<_> = terms.replies.iter().map(|reply| reply.pattern.to_string()).collect();
        row("replies", format!("to {}", patterns.join("; to ")));
    }
    row("reconnect", reconnect(&config.reconnect));
    if let Some(text) = rotate(&terms.rotate) {
        row("rotate", text);
    }
    if let Some(text) = limits(&terms.limits) {
        row("limits", text);
    }
    if let Some(sequence) = &terms.sequence {
        row("sequence", self::sequence(sequence));
    }
    row("history", history(&config.history));
    row(
        "outbox",
        match config.outbox.max_messages {
            0 => "off: a send while the link is down is an error".to_owned(),
            max => format!("{max} messages, {} each", format_duration(config.outbox.ttl)),
        },
    );
    for one in &config.listeners {
        row("listener", listener(one));
    }
    text
}

fn upstream(upstream: &Upstream) -> String {
    let mut urls: Vec<String> = (0..upstream.urls.len()).map(|index| upstream.display_url(index)).collect();
    if let Some(command) = &upstream.url_command {
        urls.push(format!("what {} prints", command.command.run[0]));
    }
    let names: Vec<&str> = upstream.headers.iter().map(|(name, _)| name.as_str()).collect();
    match names.is_empty() {
        true => urls.join(", then "),
        false => format!("{}, with {}", urls.join(", then "), names.join(", ")),
    }
}

fn heartbeat(heartbeat: &Heartbeat) -> String {
    let interval = match &heartbeat.interval_from {
        Some(from) => format!("${{capture:{}}}", from.capture),
        None => format_duration(heartbeat.interval),
    };
    let (dead, dead_unanswered) = match heartbeat.timeout.map(format_duration) {
        Some(timeout) => (
            format!("dead without a sign of life within {timeout}"),
            format!("dead without the expected answer within {timeout}"),
        ),
        None => ("which nothing answers".to_owned(), "whose answer isn't awaited".to_owned()),
    };
    let mut text = match &heartbeat.kind {
        HeartbeatKind::Off => "off".to_owned(),
        HeartbeatKind::Ping => format!("a ping each {interval}, {dead}"),
        HeartbeatKind::Message { expect: None, message } => {
            format!("{} each {interval}, {dead}", shown(message))
        }
        HeartbeatKind::Message { expect: Some(_), message } => {
            format!("{} each {interval}, {dead_unanswered}", shown(message))
        }
    };
    let told = heartbeat.idle_timeout_from.as_ref().map(ToString::to_string);
    if let Some(idle) = told.or(heartbeat.idle_timeout.map(format_duration)) {
        let _ = write!(text, "; dead when nothing comes for {idle}");
    }
    text
}

/// A message on one line, as far as one has room for it.
fn shown(message: &Say) -> String {
    const MAX: usize = 120;
    cut(&clean(&message.shown()), MAX)
}

fn reconnect(reconnect: &Reconnect) -> String {
    let (first, last) = (format_duration(reconnect.initial_delay), format_duration(reconnect.max_delay));
    let end = match (reconnect.max_attempts, reconnect.on_exhausted) {
        (0, _) => "for ever".to_owned(),
        (max, OnExhausted::Wait) => format!("{max} times in a row, then the link waits for `wsfan open`"),
        (max, OnExhausted::Exit) => format!("{max} times in a row, then the daemon ends (69)"),
    };
    format!("after {first} to {last}, {end}")
}

fn rotate(rotate: &Rotate) -> Option<String> {
    let age = rotate.after.map(|age| format!("after {}", format_duration(age)));
    let told = rotate.when.as_ref().map(|pattern| format!("on {pattern}"));
    let when: Vec<String> = age.into_iter().chain(told).collect();
    let twice = match &rotate.dedupe {
        Some(pointer) => format!("what comes twice is known by {pointer}"),
        None => "what comes twice is published twice".to_owned(),
    };
    let overlap = format_duration(rotate.overlap);
    (!when.is_empty())
        .then(|| format!("{}, with both connections for at most {overlap}; {twice}", when.join(" or ")))
}

fn limits(limits: &Limits) -> Option<String> {
    let windows = |windows: &[Window]| windows.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut parts = Vec::new();
    if !limits.messages.is_empty() {
        let excess = match limits.excess {
            Excess::Wait => "what is too many waits",
            Excess::Refuse => "what is too many is refused",
        };
        parts.push(format!("messages {}, {excess}", windows(&limits.messages)));
    }
    if !limits.connects.is_empty() {
        parts.push(format!("connects {}", windows(&limits.connects)));
    }
    if let Some(max) = limits.max_message {
        parts.push(format!("a message of at most {}", bytes(max as u64)));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn sequence(sequence: &Sequence) -> String {
    let per = sequence.per.as_ref().map(|per| format!(" for each {per}")).unwrap_or_default();
    let hole = match sequence.on_hole {
        OnHole::Declare => "is declared",
        OnHole::Reconnect => "is declared, and leads to a new connection",
        OnHole::Forget => "is declared, and leads to a connection that begins anew",
    };
    let span = match &sequence.span {
        Some(Span::From(from)) => format!(", from {from} on"),
        Some(Span::Previous(previous)) => format!(", behind {previous}"),
        None => String::new(),
    };
    let first =
        sequence.first.as_ref().map(|first| format!(", begun at {} of {}", first.pointer, first.pattern));
    format!(
        "the server's count is {}{span}{per}{}; a hole {hole}",
        sequence.pointer,
        first.unwrap_or_default()
    )
}

fn history(history: &History) -> String {
    let mut text = bytes(history.max_bytes as u64);
    if let Some(age) = history.max_age {
        let _ = write!(text, " and {}", format_duration(age));
    }
    text += match history.slow_client {
        SlowClient::Gap => "; a client that falls out of it is told of the gap",
        SlowClient::Latest => "; a client that lags is given the newest of each topic, and told of the gap",
        SlowClient::Disconnect => "; a client that falls out of it is disconnected",
        SlowClient::Block => "; the slowest client sets the pace",
    };
    text
}

fn listener(listener: &Listener) -> String {
    let rights = [
        (listener.grant.rights.receive, "receive"),
        (listener.grant.rights.send, "send"),
        (listener.grant.rights.control, "control"),
    ];
    let rights: Vec<&str> = rights.iter().filter(|(has, _)| *has).map(|(_, name)| *name).collect();
    let mut text = format!("{}, mode {:04o}", listener.path.display(), listener.mode);
    for (name, value) in [("owner", &listener.owner), ("group", &listener.group)] {
        if let Some(value) = value {
            let _ = write!(text, ", {name} {value}");
        }
    }
    if listener.format == Format::Raw {
        text.push_str(", raw");
    }
    let _ = write!(text, ": {}", rights.join(", "));
    if listener.privileged && rights.len() < 3 {
        text.push_str("; all of it for root and the daemon's own user");
    }
    text
}
