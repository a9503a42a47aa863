//! A configuration with its profile's settings below its own, as TOML: for people, with what is secret masked.
//!

use toml::{
    Spanned, Table, Value,
    de::{DeTable, DeValue},
};

use super::{
    Config,
    language::{environment::Environment, secret::sounds_secret},
    profile::{self, PROFILES, Profile},
    reader::{error::Invalid, url::find_outside},
    sections::{cluster::Cluster, command::Program, script::Say, upstream::Upstream},
};

/// What stands in the place of a literal secret: it may stand in a URL, in a header and in JSON.
pub(super) const MASK: &str = "***";
/// What an `Authorization` may begin with, which is no secret.
const SCHEMES: [&str; 5] = ["basic", "bearer", "bot", "digest", "token"];
/// What else a secret in a header or in a URL's query is called.
const MORE_WORDS: [&str; 5] = ["auth", "key", "pass", "session", "sig"];
/// A value of a query that is so long, in bytes, with letters and digits, is taken for a secret.
const LONG: usize = 16;
/// Keys whose value is, or may hold, what goes to the server or comes from it.
const MESSAGES: [&str; 15] = [
    "cancel",
    "end",
    "error",
    "expect",
    "item",
    "match",
    "message",
    "payload",
    "rewrite_when",
    "send",
    "send_when",
    "stop",
    "subscribe",
    "unsubscribe",
    "when",
];

/// A configuration's text, with its profile's settings in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The profile whose settings are in it; the key `profile` isn't there any more.
    pub profile: Option<String>,
    /// The text, with placeholders as they were written.
    pub text: String,
    /// Whether something is masked, and must be written anew before this text is used.
    pub is_masked: bool,
}

impl Config {
    /// The configuration of this text with its profile's settings below the file's own, as text that means
    /// the same but for what is masked: literal texts in the file that look like secrets, by their keys.
    ///
    /// # Errors
    ///
    /// As [`Config::parse`].
    pub fn merged(text: &str, environment: &Environment) -> Result<Merged, Invalid> {
        Self::parse(text, environment)?;
        Ok(merged(text, PROFILES))
    }
}

/// The same, of a text that was found to be right.
fn merged(text: &str, profiles: &[Profile]) -> Merged {
    let mut table = DeTable::parse(text).map(Spanned::into_inner).unwrap_or_default();
    let profile = profile::asked_for(&table, profiles).ok().flatten();
    if let Some((_, fragment)) = profile
        && let Ok(fragment) = DeTable::parse(fragment)
    {
        profile::merge(&mut table, fragment.into_inner(), text.len() + 1);
    }
    table.remove("profile");
    let mut mask = Mask { own: text.len(), is_used: false };
    let table = mask.table(&table, &mut Vec::new());
    Merged {
        profile: profile.map(|(name, _)| name.to_owned()),
        text: toml::to_string_pretty(&table).unwrap_or_default(),
        is_masked: mask.is_used,
    }
}

impl Say {
    /// As it may be shown: with its placeholders as configured, and what looks like a secret masked.
    pub fn shown(&self) -> String {
        match self {
            Self::Text(template) => masked(&template.to_string(), &Kind::Message),
            Self::Binary(bytes) => format!("binary, {} bytes", bytes.len()),
            Self::Command(command) => format!("what {} prints", command.program.shown().join(" ")),
        }
    }
}

impl Program {
    /// Its path and arguments, in full, as they may be shown: what looks like a secret in them is masked.
    pub fn shown(&self) -> Vec<String> {
        let mut list: Vec<Value> = self.run.iter().map(|text| text.as_str().into()).collect();
        Mask { own: 0, is_used: false }.arguments(&mut list);
        list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }
}

/// How a text is looked at.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// It isn't secret.
    Plain,
    /// All that is literal in it is.
    Secret,
    /// It may hold a login, and more in its query.
    Url,
    /// It may be JSON, or have a URL in it.
    Message,
}

struct Mask {
    /// Where the file ends; a profile's texts are behind it, and nothing in them is secret.
    own: usize,
    is_used: bool,
}

impl Mask {
    fn table<'a>(&mut self, table: &'a DeTable<'_>, path: &mut Vec<&'a str>) -> Table {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let mut copy = Table::new();
        for (key, value) in entries {
            path.push(key.get_ref().as_ref());
            copy.insert(key.get_ref().to_string(), self.value(value, path));
            path.pop();
        }
        copy
    }

    fn value<'a>(&mut self, value: &'a Spanned<DeValue<'_>>, path: &mut Vec<&'a str>) -> Value {
        let is_own = value.span().start < self.own;
        match value.get_ref() {
            DeValue::Table(table) => self.table(table, path).into(),
            DeValue::Array(list) => {
                let mut list: Vec<_> = list.iter().map(|element| self.value(element, path)).collect();
                if is_own && path.last() == Some(&"run") {
                    self.arguments(&mut list);
                }
                list.into()
            }
            DeValue::String(text) if is_own => self.text(text, &kind(path)).into(),
            DeValue::String(text) => text.as_ref().into(),
            DeValue::Integer(_) | DeValue::Float(_) if is_own && kind(path) == Kind::Secret => {
                self.is_used = true;
                0.into()
            }
            DeValue::Integer(integer) => {
                i64::from_str_radix(integer.as_str(), integer.radix()).unwrap_or_default().into()
            }
            DeValue::Float(float) => float.as_str().parse::<f64>().unwrap_or_default().into(),
            DeValue::Boolean(truth) => (*truth).into(),
            DeValue::Datetime(datetime) => (*datetime).into(),
        }
    }

    fn text(&mut self, text: &str, kind: &Kind) -> String {
        let shown = masked(text, kind);
        self.is_used |= shown != text;
        shown
    }

    /// What follows an option such as `--token`, or stands in it behind a `=`; and values of headers and variables.
    fn arguments(&mut self, list: &mut [Value]) {
        let mut is_next = false;
        for element in list {
            let Value::String(text) = element else { continue };
            let is_option =
                text.starts_with('-') && sounds_secret(text.split('=').next().unwrap_or_default());
            *text = match text.split_once('=').filter(|_| is_option) {
                Some((option, value)) => format!("{option}={}", self.text(value, &Kind::Secret)),
                None if is_next => self.text(text, &Kind::Secret),
                None => match named(text) {
                    Some(end) => format!("{}{}", &text[..end], self.text(&text[end..], &Kind::Secret)),
                    None => self.text(text, &Kind::Url),
                },
            };
            is_next = is_option && !text.contains('=');
        }
    }
}

/// Where the value begins of a header, or of a variable, whose name says that it is secret: `NAME: VALUE`, `NAME=VALUE`.
fn named(text: &str) -> Option<usize> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_'))?;
    let (name, rest) = text.split_at(end);
    let is_header = rest.starts_with(':') && !rest.starts_with("://") && may_be_secret(name);
    let blanks = rest.len() - rest[1..].trim_start().len();
    (is_header || rest.starts_with('=') && sounds_secret(name)).then_some(end + blanks)
}

fn kind(path: &[&str]) -> Kind {
    let by_name = |names: &[&str]| match names.iter().any(|name| sounds_secret(name)) {
        true => Kind::Secret,
        false => Kind::Message,
    };
    match path {
        ["upstream", key] if Upstream::URL_KEYS.contains(key) => Kind::Url,
        ["cluster", key] if Cluster::SECRET_KEYS.contains(key) => Kind::Secret,
        ["upstream", "headers", name] if may_be_secret(name) => Kind::Secret,
        ["vars", names @ ..] | ["upstream", "headers", names @ ..] => by_name(names),
        [.., "stdin"] => by_name(path),
        _ => match path.iter().position(|key| MESSAGES.contains(key)) {
            Some(at) => by_name(&path[at + 1..]),
            None => Kind::Plain,
        },
    }
}

/// The text of the key at this path, as it may be shown.
pub(super) fn shown_at(path: &[&str], text: &str) -> String {
    masked(text, &kind(path))
}

fn masked(text: &str, kind: &Kind) -> String {
    match kind {
        Kind::Plain => text.to_owned(),
        Kind::Secret => literals(text),
        Kind::Message if find_outside(text, &['"', '{', ' ']).is_none() => url(text),
        Kind::Message => message(text),
        Kind::Url => url(text),
    }
}

/// The text with all that is literal in it masked, but for what a header's value begins with.
fn literals(text: &str) -> String {
    let is_scheme = |word: &str| SCHEMES.contains(&&*word.to_ascii_lowercase());
    let start = text.find(' ').filter(|at| is_scheme(&text[..*at])).map_or(0, |at| at + 1);
    let (mut shown, mut rest) = (text[..start].to_owned(), &text[start..]);
    let mut put = |literal: &str, placeholder: &str| {
        // what only separates says nothing
        shown += if literal.contains(char::is_alphanumeric) { MASK } else { literal };
        shown += placeholder;
    };
    let mut from = 0;
    while let Some(at) = rest[from..].find("${").map(|at| from + at) {
        let end = match rest[at..].find('}') {
            // `$${` is a text
            Some(_) if rest[..at].ends_with('$') => {
                from = at + 2;
                continue;
            }
            Some(end) => at + end + 1,
            None => break,
        };
        put(&rest[..at], &rest[at..end]);
        (rest, from) = (&rest[end..], 0);
    }
    put(rest, "");
    shown
}

/// A URL without its login, and without what seems secret in its query.
fn url(text: &str) -> String {
    let (before, query) = match find_outside(text, &['?']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let mut shown = match before.find("://").map(|at| before.split_at(at + 3)) {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(find_outside(rest, &['/']).unwrap_or(rest.len()));
            let (login, host) = match last_outside(authority, '@') {
                Some(at) => authority.split_at(at),
                None => ("", authority),
            };
            let login = match find_outside(login, &[':']).map(|at| login.split_at(at)) {
                Some((user, password)) => format!("{}:{}", literals(user), literals(&password[1..])),
                None => literals(login),
            };
            format!("{scheme}{login}{host}{path}")
        }
        None => before.to_owned(),
    };
    let Some(mut rest) = query else { return shown };
    let mut separator = '?';
    loop {
        let end = find_outside(rest, &['&']).unwrap_or(rest.len());
        shown.push(separator);
        shown += &parameter(&rest[..end]);
        match rest.get(end + 1..) {
            Some(more) => rest = more,
            None => return shown,
        }
        separator = '&';
    }
}

/// One parameter of a query.
fn parameter(text: &str) -> String {
    let (name, value) = match find_outside(text, &['=']) {
        Some(at) => text.split_at(at + 1),
        None => ("", text),
    };
    match may_be_secret(name) || looks_random(value) {
        true => format!("{name}{}", literals(value)),
        false => text.to_owned(),
    }
}

fn may_be_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    sounds_secret(name) || MORE_WORDS.iter().any(|word| lower.contains(word))
}

fn looks_random(text: &str) -> bool {
    let is_coding = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~%+=".contains(&byte);
    text.len() >= LONG
        && text.bytes().all(is_coding)
        && text.contains(|c: char| c.is_ascii_digit())
        && text.contains(|c: char| c.is_ascii_alphabetic())
}

fn last_outside(text: &str, wanted: char) -> Option<usize> {
    let (mut last, mut from) = (None, 0);
    while let Some(at) = find_outside(&text[from..], &[wanted]).map(|at| from + at) {
        last = Some(at);
        from = at + wanted.len_utf8();
    }
    last
}

/// A text with JSON in it: masked are the texts whose keys say that they are secret.
fn message(text: &str) -> String {
    let (mut shown, mut done, mut at) = (String::new(), 0, 0);
    while let Some((key, end)) = quoted(text, at) {
        at = end;
        let after = text[end..].trim_start();
        let Some(after) = after.strip_prefix(':').map(str::trim_start).filter(|_| sounds_secret(key)) else {
            continue;
        };
        let start = text.len() - after.len();
        if let Some((value, end)) = quoted(text, start).filter(|_| after.starts_with('"')) {
            shown += &text[done..=start];
            shown += &literals(value);
            (done, at) = (end - 1, end);
        }
    }
    shown += &text[done..];
    shown
}

/// The next string of JSON from `from` on, without its quotes, and where it ends.
fn quoted(text: &str, from: usize) -> Option<(&str, usize)> {
    let start = from + text[from..].find('"')? + 1;
    let mut is_escaped = false;
    for (at, c) in text[start..].char_indices() {
        match c {
            '"' if !is_escaped => return Some((&text[start..start + at], start + at + 1)),
            _ => is_escaped = c == '\\' && !is_escaped,
        }
    }
    None
}

#[cfg(test)]
mod tests;
