//! The configuration: one TOML file, parsed once into types that can't be wrong.
//!
//! Each room takes its own part of [`Config`], never the whole. What a key means, its unit, bounds
//! and default stand beside its field here and, for the user, in `config/wsfan.toml`; a test keeps
//! the two equal. Each section's file holds its type and how it is read; what is wrong is collected,
//! so that one look at the errors is enough.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use toml::de::DeTable;

mod change;
mod fingerprint;
mod inventory;
mod language;
mod merged;
mod profile;
mod reader;
mod sections;

pub use self::{
    change::{Key, Takes},
    language::{
        environment::Environment,
        expression::{Expression, MAX_SEARCHED},
        pattern::{Pattern, Test},
        placeholder::Placeholder,
        pointer::{ANY, Pointer, array_index},
        secret::{Secret, sounds_secret},
        template::{Position, Template, TemplateError, Value},
        topic_pattern::{MAX_TOPIC_PATTERN, MAX_TOPIC_PATTERNS, TopicPattern, TopicView},
    },
    merged::Merged,
    reader::{
        cut::{Cut, cut},
        duration::{format_duration, parse_duration},
        error::{Invalid, LoadError, Problem},
        invisible::is_invisible,
        size::{format_size, parse_size},
        url::{check_url, origin, percent_decode, safe_url},
    },
    sections::{
        capture::Capture,
        cluster::{Cluster, NatsLogin, Storage},
        command::{NamedCommand, Program, Programs, UrlCommand},
        compression::Compression,
        grant::{Grant, ListenerRule},
        heartbeat::{FirstBeat, Heartbeat, HeartbeatKind, IdleFrom, IntervalFrom},
        history::{History, SlowClient},
        hosts::HostPattern,
        limits::{Excess, Limits, MAX_WINDOWS, Window},
        listener::{Format, Listener, MAX_SOCKET_PATH, default_socket},
        logging::{LogFormat, Logging},
        memory::MemoryBounds,
        names::Names,
        nats_url::NatsUrl,
        outbox::Outbox,
        proxy::{Proxy, ProxyKind, ProxyUrl},
        reconnect::{OnExhausted, Reconnect},
        reject::{DelayFrom, Reject},
        remedy::Remedy,
        reply::Reply,
        requests::{IdKind, RequestStream, Requests, ServerRequests},
        rights::{Ops, Rights},
        rotate::Rotate,
        rule::Rule,
        script::{Say, Script, Step},
        send_command::SendCommand,
        sequence::{First, OnHole, Sequence, Span},
        shutdown::Shutdown,
        subscription_answer::SubscriptionAnswer,
        subscriptions::{MAX_PAYLOAD, MAX_TOPIC, Resubscribe, Subscriptions},
        terms::Terms,
        tls::Tls,
        topics::{RetainBounds, TOPIC_GROUP, TopicName, TopicRule, Topics},
        upstream::{Upstream, check_header, is_token},
        vars::{Var, Vars},
    },
};
use self::{
    language::names::Names as KnownNames,
    profile::{PROFILES, Profile},
    reader::{Report, Section},
    sections::derived,
};

/// The largest configuration file, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// A whole, valid configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `profile`: what wsfan knows of a server or a kind of servers, by name; below it all, the file's own
    /// keys come first. None by default.
    pub profile: Option<String>,
    /// `[upstream]`: where the link goes.
    pub upstream: Upstream,
    /// `[vars]`, `[command.NAME]`, `[[script.step]]`, `[[capture]]`, `[[reply]]`, `[sequence]`, `[requests]`,
    /// `[rotate]` and `[limits]`: how the server wants to be spoken to.
    pub terms: Terms,
    /// `[heartbeat]`: how the link proves that it lives.
    pub heartbeat: Heartbeat,
    /// `[reconnect]`: what happens after a failure.
    pub reconnect: Reconnect,
    /// `[[listener]]`: the local sockets, at least one.
    pub listeners: Vec<Listener>,
    /// `[history]`: the log's bounds and what happens to a client that falls out of it.
    pub history: History,
    /// `[memory]`: what clients may make the daemon hold beside the log.
    pub memory: MemoryBounds,
    /// `[names]`: places that are kept for clients by their names.
    pub names: Names,
    /// `[outbox]`: sends that wait for the link.
    pub outbox: Outbox,
    /// `[shutdown]`: how long a stop may take.
    pub shutdown: Shutdown,
    /// `[cluster]`: several machines with one link and one log. None by default.
    pub cluster: Option<Cluster>,
    /// `[log]`: what the daemon says on stderr.
    pub log: Logging,
    /// What is right, and most likely not meant, in the order of the lines.
    pub warnings: Vec<Problem>,
}

impl Config {
    /// Reads the file at `path`, in this process's environment.
    ///
    /// # Errors
    ///
    /// A file that can't be read, or all that is wrong with what it says.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        Self::load_in(path, &Environment::process())
    }

    /// As [`Config::load`], with this environment: see [`Config::parse`].
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn load_in(path: &Path, environment: &Environment) -> Result<Self, LoadError> {
        Self::load_as(path, |text| Self::parse(text, environment))
    }

    /// As [`Config::merged`], of the file at `path`.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn load_merged(path: &Path, environment: &Environment) -> Result<Merged, LoadError> {
        Self::load_as(path, |text| Self::merged(text, environment))
    }

    fn load_as<T>(path: &Path, read: impl FnOnce(&str) -> Result<T, Invalid>) -> Result<T, LoadError> {
        let bytes = read_file(path).map_err(|reason| LoadError::Unreadable { path: path.into(), reason })?;
        let read = text_of(bytes).and_then(|text| read(&text));
        read.map_err(|invalid| LoadError::Invalid { path: path.into(), invalid })
    }

    /// Reads a configuration's text. `environment` decides where a listener without a path is; the
    /// file system is only looked at for the files of `upstream.tls`.
    ///
    /// # Errors
    ///
    /// All that is wrong, each with its line.
    pub fn parse(text: &str, environment: &Environment) -> Result<Self, Invalid> {
        Self::parse_with(text, environment, PROFILES)
    }

    /// As [`Config::parse`], with these profiles.
    fn parse_with(text: &str, environment: &Environment, profiles: &[Profile]) -> Result<Self, Invalid> {
        let report = Report::new(text);
        let table = match DeTable::parse(text) {
            Ok(table) => table,
            Err(error) => {
                let line = error.span().map(|span| report.line(span.start));
                let sentence = duplicate_sentence(text, &error).or_else(|| other_format(text));
                report.add(line, sentence.unwrap_or_else(|| syntax_sentence(error.message())));
                return Err(report.into_invalid());
            }
        };
        let mut table = table.into_inner();
        let mut report = report;
        let profile = match profile::asked_for(&table, profiles) {
            Ok(profile) => profile,
            Err((at, sentence)) => {
                report.add(Some(report.line(at)), sentence);
                None
            }
        };
        if let Some((name, fragment)) = profile {
            match DeTable::parse(fragment) {
                Ok(fragment) => profile::merge(&mut table, fragment.into_inner(), text.len() + 1),
                Err(error) => return Err(Invalid(vec![profile::broken(name, &error)])),
            }
            report = Report::with_profile(text, name, fragment);
        }
        let mut names = KnownNames::gather(&table);
        let root = Section::root(&table, &report);
        root.item("profile");
        derived::read_all(root.section("derived"), &mut names);
        let terms = Terms::read(&root, &names);
        let listeners = Listener::read_all(&root, &report, environment, &terms);
        let history = History::read(root.section("history"), &terms);
        let config = Self {
            profile: profile.map(|(name, _)| name.to_owned()),
            upstream: Upstream::read(root.section("upstream"), &names),
            heartbeat: Heartbeat::read(root.section("heartbeat"), &names),
            reconnect: Reconnect::read(root.section("reconnect")),
            cluster: Cluster::read(&root, &names, environment, &history),
            history,
            memory: MemoryBounds::read(root.section("memory"), &listeners),
            names: Names::read(root.section("names")),
            listeners,
            terms,
            outbox: Outbox::read(root.section("outbox")),
            shutdown: Shutdown::read(root.section("shutdown")),
            log: Logging::read(root.section("log")),
            warnings: Vec::new(),
        };
        if report.count() == 0 {
            names.refuse_unused(root.section("vars")); // one that is misspelt where it is used is told there
        }
        root.finish();
        match report.count() {
            0 => Ok(Self { warnings: report.take_warnings(), ..config }),
            _ => Err(report.into_invalid()),
        }
    }

    /// The profiles: each one's name and its text, which begins with a comment for the person who reads it.
    pub fn profiles() -> impl Iterator<Item = (&'static str, &'static str)> {
        PROFILES.iter().copied()
    }

    /// [`default_socket`], beside the rest of the configuration.
    pub fn default_socket(environment: &Environment) -> PathBuf {
        default_socket(environment)
    }
}

fn text_of(bytes: Vec<u8>) -> Result<String, Invalid> {
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        let sentence = "this line is not UTF-8 text: save the file as UTF-8".to_owned();
        Invalid(vec![Problem { line: Some(line), sentence }])
    })
}

/// The sentence for a key that the file has twice; none for another error.
fn duplicate_sentence(text: &str, error: &toml::de::Error) -> Option<String> {
    let span = error.span().filter(|_| error.message().contains("duplicate key"))?;
    let (before, key) = (text.get(..span.start)?, text.get(span)?);
    let line = before.rsplit('\n').next()?;
    Some(match line.trim_start().starts_with('[') {
        true => format!("`{key}` is in the file twice: put everything of it under one [{key}]"),
        false => format!("`{key}` is in the file twice: keep one of them"),
    })
}

/// The sentence for a file that isn't meant to be TOML at all; none where it may be.
fn other_format(text: &str) -> Option<String> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let first = lines.next()?;
    let is_yaml = || {
        let key = first.split_once(':').filter(|(_, rest)| rest.is_empty() || rest.starts_with(' '));
        let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        first == "---" || key.is_some_and(|(key, _)| !key.is_empty() && key.chars().all(is_bare))
    };
    let format = match first.starts_with('{') {
        true => "JSON",
        false if is_yaml() => "YAML",
        false => return None,
    };
    Some(format!(
        "this is {format}, but the configuration is TOML: write [upstream], and url = \"wss://your.server/path\" below it"
    ))
}

/// The parser's words for a syntax error, or better ones for the mistakes that are made most.
fn syntax_sentence(why: &str) -> String {
    if why.contains("must be quoted") {
        return "a value has no quotes: write text, durations and sizes in quotes".to_owned();
    }
    if why.contains("leading zero") {
        return "a number has a leading zero: write a mode in quotes, such as \"0660\"".to_owned();
    }
    format!("this is not TOML: {}", why.replace('\n', " "))
}

fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(std::io::Error::other("it is larger than 1MiB"));
    }
    Ok(bytes)
}
