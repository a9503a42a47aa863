//! The rows of a walk, for people and for programs.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use serde_json::{Map, Value, json};

use super::super::{
    format::{clean, counted, date},
    pretty::{BAD, BUSY, DIM, GOOD, styled},
};
use crate::{
    config::format_duration,
    upstream::live_check::{Certificate, Found, Narrow, Part, Row, Running},
};

/// A certificate that ends sooner is warned of.
const WARN_DAYS: i64 = 14;
/// So many names of a certificate are shown to people.
const NAMES: usize = 6;
/// Where the text of a row begins.
const INDENT: usize = 37;

/// The line above a server's rows.
pub(super) fn head(url: &str) -> String {
    format!("{}\n", clean(url))
}

/// The line below a server's rows, if all went well, as far as it was tried.
pub(super) fn well(elapsed: Duration, is_whole: bool) -> String {
    let words = if is_whole { "all well" } else { "all well as far as it was tried" };
    format!("  {}, in {}\n", styled(GOOD, words), ms(elapsed))
}

/// A program that is about to be run.
pub(super) fn running(running: &Running) -> String {
    let words: Vec<_> = running.run.iter().map(|word| quoted(word)).collect();
    let mut text = format!("  {}  {}", styled(BUSY, "runs    "), clean(&running.key));
    let _ = write!(text, ": {}", words.join(" "));
    if running.keep {
        let _ = write!(text, "\n{:12}(the daemon keeps what it prints; this check runs it for itself)", "");
    }
    text.push('\n');
    text
}

/// The same for a program.
pub(super) fn running_object(url: &str, running: &Running) -> Value {
    json!({ "type": "run", "url": url, "key": running.key, "run": running.run, "keep": running.keep })
}

/// A word as a shell wants it, on one line.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+:=,@%".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", clean(&word.replace('\'', "'\\''"))),
    }
}

/// A part that isn't tried, for a program.
pub(super) fn untried(url: &str, row: &Row) -> Value {
    let why = match &row.found {
        Some(Found::Untried { why }) => why.as_str(),
        _ => "",
    };
    json!({ "url": url, "stage": name(row.part), "name": row.name, "why": why })
}

/// A row, with its colours and its line break.
pub(super) fn row(row: &Row, now: SystemTime) -> String {
    let mut lines = row.found.as_ref().map(|found| lines(found, now)).unwrap_or_default();
    lines.extend(row.narrow.as_ref().map(narrow_line));
    let skipped = match &row.found {
        Some(Found::Step(step)) => step.skipped.is_some(),
        Some(Found::Untried { .. }) => true,
        _ => false,
    };
    let (state, style) = match (&row.trouble, lines.iter().any(|line| line.warns)) {
        (Some(_), _) => ("failed", BAD),
        (None, _) if skipped => ("left out", DIM),
        (None, true) => ("warning", BUSY),
        (None, false) => ("ok", GOOD),
    };
    let label = label(row);
    let mut text = format!("  {style}{state:<8}{style:#}  {label:<12} {:>10}  ", ms(row.elapsed));
    // a step's name may be a long one
    if label.chars().count() > 12 && !lines.is_empty() {
        text.truncate(text.trim_end().len());
        let _ = write!(text, "\n{:INDENT$}", "");
    }
    for (index, line) in lines.iter().enumerate() {
        if index > 0 {
            let _ = write!(text, "\n{:INDENT$}", "");
        }
        text += &match line.warns {
            true => styled(BUSY, &line.text),
            false => line.text.clone(),
        };
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// What failed, why, and what to do, in a sentence.
pub(super) fn sentence(url: &str, row: &Row) -> String {
    let Some(trouble) = &row.trouble else { return String::new() };
    let place = match (&row.name, row.part) {
        (Some(name), Part::Step) => format!("step {:?}", clean(name)),
        _ => name(row.part).to_owned(),
    };
    let mut text = format!("{} fails at {place}: {}", clean(url), clean(&trouble.error));
    if let Some(advice) = trouble.advice {
        let _ = write!(text, "; {advice}");
    }
    text
}

/// A row for a program.
pub(super) fn object(url: &str, row: &Row, now: SystemTime) -> Value {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
    put("type", "stage".into());
    put("url", url.into());
    put("stage", name(row.part).into());
    put("ok", row.trouble.is_none().into());
    put("ms", millis(row.elapsed));
    if let Some(name) = &row.name {
        put("name", name.as_str().into());
    }
    if let Some(Narrow { left, limit, .. }) = row.narrow {
        put("left_ms", millis(left));
        put("limit_ms", millis(limit));
    }
    if let Some(Value::Object(found)) = row.found.as_ref().map(|found| found_object(found, now)) {
        object.extend(found);
    }
    trouble_object(row, &mut object);
    Value::Object(object)
}

/// The last object: how it all went. `failed` is the first row of trouble, with its server.
/// `untried` is what was left out.
pub(super) fn result(
    failed: Option<(&str, &Row)>,
    elapsed: Duration,
    untried: Vec<Value>,
    warnings: &[String],
) -> Value {
    let mut object = Map::new();
    object.insert("type".to_owned(), "result".into());
    object.insert("ok".to_owned(), failed.is_none().into());
    object.insert("ms".to_owned(), millis(elapsed));
    object.insert("warnings".to_owned(), warnings.into());
    if !untried.is_empty() {
        object.insert("untried".to_owned(), untried.into());
    }
    if let Some((url, row)) = failed {
        object.insert("url".to_owned(), url.into());
        object.insert("stage".to_owned(), name(row.part).into());
        if let Some(name) = &row.name {
            object.insert("name".to_owned(), name.as_str().into());
        }
        trouble_object(row, &mut object);
    }
    Value::Object(object)
}

fn trouble_object(row: &Row, object: &mut Map<String, Value>) {
    let Some(trouble) = &row.trouble else { return };
    object.insert("error".to_owned(), trouble.error.as_str().into());
    object.insert("advice".to_owned(), trouble.advice.into());
    for (key, value) in [("http_status", trouble.http_status), ("code", trouble.code)] {
        if let Some(value) = value {
            object.insert(key.to_owned(), value.into());
        }
    }
}

fn found_object(found: &Found, now: SystemTime) -> Value {
    match found {
        Found::Prepared { address, headers } => json!({ "address": address, "headers": headers }),
        Found::Resolved { host, addresses } => json!({ "host": host, "addresses": addresses }),
        Found::Connected { address, failed } => {
            let failed: Vec<_> =
                failed.iter().map(|(address, error)| json!({ "address": address, "error": error })).collect();
            json!({ "address": address, "failed": failed })
        }
        Found::Tunnel { proxy } => json!({ "proxy": proxy }),
        Found::Tls { version, cipher, alpn, certificate } => {
            let certificate = certificate.as_ref().map(|certificate| {
                json!({
                    "names": certificate.names,
                    "issuer": certificate.issuer,
                    "not_after_s": seconds(certificate.not_after),
                    "days_left": days_left(certificate, now),
                })
            });
            json!({ "version": version, "cipher": cipher, "alpn": alpn, "certificate": certificate })
        }
        Found::Upgraded { status, subprotocol, extensions } => {
            json!({ "http_status": status, "subprotocol": subprotocol, "extensions": extensions })
        }
        Found::Step(step) => {
            json!({ "sent": step.sent, "heard": step.heard, "skipped": step.skipped.is_some() })
        }
        Found::Beat { message, round_trip, answered } => json!({
            "kind": if message.is_some() { "message" } else { "ping" },
            "sent": message,
            "answered": answered,
            "round_trip_ms": round_trip.map(millis),
        }),
        Found::Untried { why } => json!({ "untried": true, "why": why }),
        Found::Closed { code } => json!({ "code": code }),
    }
}

/// A line of a row's text.
struct RowLine {
    text: String,
    warns: bool,
}

impl RowLine {
    fn new(text: impl Into<String>) -> RowLine {
        RowLine { text: text.into(), warns: false }
    }

    fn warning(text: impl Into<String>) -> RowLine {
        RowLine { text: text.into(), warns: true }
    }
}

fn lines(found: &Found, now: SystemTime) -> Vec<RowLine> {
    match found {
        Found::Prepared { address, headers } if headers.is_empty() => vec![RowLine::new(clean(address))],
        Found::Prepared { address, headers } => {
            vec![RowLine::new(format!("{}, with {}", clean(address), clean(&headers.join(", "))))]
        }
        Found::Resolved { host, addresses } => {
            let all: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            let all = all.join(", ");
            vec![RowLine::new(match *host == all {
                true => "an address already".to_owned(),
                false => format!("{} is {all}", clean(host)),
            })]
        }
        Found::Connected { address, failed } => {
            let failed = failed
                .iter()
                .map(|(address, error)| RowLine::warning(format!("{address} didn't: {}", clean(error))));
            [RowLine::new(format!("{address} answered"))].into_iter().chain(failed).collect()
        }
        Found::Tunnel { proxy } => vec![RowLine::new(format!("a tunnel through {}", clean(proxy)))],
        Found::Tls { version, cipher, alpn, certificate } => {
            let alpn = alpn.as_ref().map_or("no ALPN".to_owned(), |name| format!("ALPN {}", clean(name)));
            let mut lines = vec![RowLine::new(format!("{version}, {cipher}, {alpn}"))];
            lines.extend(certificate.iter().flat_map(|certificate| certificate_lines(certificate, now)));
            lines
        }
        Found::Upgraded { status, subprotocol, extensions } => {
            let named = |what: &str, value: &Option<String>| match value {
                Some(value) => format!("{what} {}", clean(value)),
                None => format!("no {what}"),
            };
            vec![RowLine::new(format!(
                "{status}, {}, {}",
                named("subprotocol", subprotocol),
                named("extensions", extensions)
            ))]
        }
        Found::Step(step) => {
            let sent = step.sent.as_ref().map(|text| format!("sent {}", clean(text)));
            let heard = step.heard.as_ref().map(|text| format!("heard {}", clean(text)));
            let lines = [sent, heard, step.skipped.clone()].into_iter().flatten();
            lines.map(RowLine::new).collect()
        }
        Found::Beat { message, round_trip, answered } => {
            let after = round_trip.map_or(String::new(), |time| format!(" after {}", ms(time)));
            let sent = message.as_ref().map(|text| RowLine::new(format!("sent {}", clean(text))));
            let came = match (answered, message) {
                (None, None) => RowLine::new("a ping, whose answer isn't awaited"),
                (None, Some(_)) => RowLine::new("an answer isn't awaited"),
                (Some(true), None) => RowLine::new(format!("a ping, answered{after}")),
                (Some(true), Some(_)) => RowLine::new(format!("answered{after}")),
                (Some(false), Some(_)) => RowLine::new(format!(
                    "something came{after}: without `expect` nothing tells the answer from other messages"
                )),
                (Some(false), None) => {
                    RowLine::warning("a ping, which nothing answered; but other things came")
                }
            };
            sent.into_iter().chain([came]).collect()
        }
        Found::Untried { why } => vec![RowLine::new(clean(why))],
        Found::Closed { code: Some(code) } => vec![RowLine::new(format!("the server answered with {code}"))],
        Found::Closed { code: None } => vec![RowLine::warning("the server didn't answer the close in time")],
    }
}

fn narrow_line(narrow: &Narrow) -> RowLine {
    let Narrow { left, limit, key } = narrow;
    RowLine::warning(format!(
        "the answer came {} before its limit of {}: raise {key}",
        ms(*left),
        format_duration(*limit)
    ))
}

fn certificate_lines(certificate: &Certificate, now: SystemTime) -> Vec<RowLine> {
    let names: Vec<_> = certificate.names.iter().take(NAMES).map(|name| clean(name)).collect();
    let mut names = match names.is_empty() {
        true => "no name".to_owned(),
        false => names.join(", "),
    };
    let more = certificate.names.len().saturating_sub(NAMES);
    if more > 0 {
        let _ = write!(names, " and {more} more");
    }
    let left = days_left(certificate, now);
    let end = date(u64::try_from(seconds(certificate.not_after) / 86_400).unwrap_or(0));
    let days = counted(left.unsigned_abs(), "day", "days");
    let mut lines = vec![
        RowLine::new(format!("a certificate for {names}")),
        RowLine::new(format!("by {}; until {end}, {days} left", clean(&certificate.issuer))),
    ];
    if left < WARN_DAYS {
        lines.push(RowLine::warning(format!("it ends in {days}: see that it is renewed")));
    }
    lines
}

/// Whole days until a certificate ends.
fn days_left(certificate: &Certificate, now: SystemTime) -> i64 {
    (seconds(certificate.not_after) - seconds(now)).div_euclid(86_400)
}

/// Seconds since the Unix epoch.
fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn label(row: &Row) -> String {
    match &row.name {
        Some(name) => clean(name).into_owned(),
        None => name(row.part).to_owned(),
    }
}

/// A part's name, for people and programs.
fn name(part: Part) -> &'static str {
    match part {
        Part::Prepare => "prepare",
        Part::Dns => "dns",
        Part::Tcp => "tcp",
        Part::Proxy => "proxy",
        Part::Tls => "tls",
        Part::Upgrade => "http",
        Part::Step => "step",
        Part::Reply => "reply",
        Part::Heartbeat => "heartbeat",
        Part::Close => "close",
    }
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// Milliseconds, to the microsecond.
fn millis(time: Duration) -> Value {
    (time.as_micros() as f64 / 1000.0).into()
}

#[cfg(test)]
mod tests;
