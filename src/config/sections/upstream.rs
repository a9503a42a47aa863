//! `[upstream]`: the server and how to reach it.

use std::time::Duration;

use toml::de::DeValue;

use super::{command::UrlCommand, compression::Compression, hosts::HostPattern, proxy::Proxy, tls::Tls};
use crate::config::{
    language::{
        names::Names, pattern::Pattern, placeholder::Placeholder, pointer::Pointer, template::Template,
        uses::Use,
    },
    reader::{
        Item, Section,
        url::{check_url, safe_url},
        values::{kind, quoted},
    },
};

/// Headers that belong to the handshake or to the framing of HTTP itself, and what to do instead.
const RESERVED: [(&str, &str); 9] = [
    ("connection", "leave it out"),
    ("upgrade", "leave it out"),
    ("content-length", "leave it out"),
    ("transfer-encoding", "leave it out"),
    ("sec-websocket-key", "leave it out"),
    ("sec-websocket-version", "leave it out"),
    ("sec-websocket-accept", "leave it out"),
    ("sec-websocket-extensions", "leave it out"),
    ("sec-websocket-protocol", "write upstream.subprotocols"),
];

/// `[upstream]`: the WebSocket server and how to reach it.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// `url`: one or more `ws://` or `wss://` URLs, tried in turn. Empty only with `url_command`.
    pub urls: Vec<Template>,
    /// `url_command`: run for each attempt instead of `url`. What it prints is a URL on one line, or JSON:
    /// `{"url": "…", "headers": {…}}`, whose headers are added to `headers`. None by default.
    pub url_command: Option<UrlCommand>,
    /// `resume_url`: used instead of the others while every capture in it is there. None by default.
    pub resume_url: Option<Template>,
    /// `resume_url_failures`: after so many failed attempts in a row with it, the captures in it are
    /// forgotten; 1 to 1,000. Default 3.
    pub resume_url_failures: u32,
    /// `allowed_hosts`: where `resume_url` may lead besides the hosts of `url`; headers, credentials and the client's
    /// certificate don't go there. None by default.
    pub allowed_hosts: Vec<HostPattern>,
    /// `subprotocols`: offered in `Sec-WebSocket-Protocol`, in order of preference.
    pub subprotocols: Vec<Template>,
    /// `connect_timeout`: DNS, TCP, TLS and upgrade together; 100 ms to 10 min. Default 10 s.
    pub connect_timeout: Duration,
    /// `max_message`: the largest inbound message in bytes; a larger one closes the connection with
    /// 1009. 1 KiB to 512 MiB. Default 16 MiB.
    pub max_message: usize,
    /// `split`: where messages have a list whose elements are messages of their own to all that follows; `true` where
    /// the message itself is the list. What has no such list, an empty one, or one of over 100,000 elements stays as
    /// it is. None (`false`) by default.
    pub split: Option<Pointer>,
    /// `hide`: messages that clients don't get, such as a server's own heartbeats; all else is as with others. None by
    /// default.
    pub hide: Option<Pattern>,
    /// `headers`: sent with the upgrade request, in the file's order.
    pub headers: Vec<(String, Template)>,
    /// `proxy`: the way to the server. Default: as the environment says.
    pub proxy: Proxy,
    /// `tls`: trust and client certificate for `wss://`.
    pub tls: Tls,
    /// `compression`: permessage-deflate, if the server takes the offer. None (`false`) by default.
    pub compression: Option<Compression>,
}

impl Upstream {
    /// The keys whose values are URLs, with their placeholders written as a URL has them.
    pub const URL_KEYS: [&str; 3] = ["url", "resume_url", "proxy"];

    /// An upstream with these URLs, and the default for everything else.
    pub fn new(urls: Vec<Template>) -> Self {
        Self {
            urls,
            url_command: None,
            resume_url: None,
            resume_url_failures: 3,
            allowed_hosts: Vec::new(),
            subprotocols: Vec::new(),
            connect_timeout: Duration::from_secs(10),
            max_message: 16 << 20,
            split: None,
            hide: None,
            headers: Vec::new(),
            proxy: Proxy::default(),
            tls: Tls::default(),
            compression: None,
        }
    }

    /// URL number `index`, counted from 0 and around again, for logs: as configured, without user
    /// name, password and query.
    pub fn display_url(&self, index: usize) -> String {
        let url = index.checked_rem(self.urls.len()).map(|index| self.urls[index].to_string());
        match (url, &self.url_command) {
            (Some(url), _) => safe_url(&url),
            (None, Some(command)) => format!("url_command {}", command.command.run[0]),
            (None, None) => String::new(),
        }
    }

    pub(in crate::config) fn read(section: Section<'_>, names: &Names) -> Self {
        let url_command = section.item("url_command").and_then(|item| UrlCommand::read(&item, names));
        let default = Self::new(read_urls(&section, names));
        let timeouts = Duration::from_millis(100)..=Duration::from_secs(600);
        let upstream = Self {
            url_command,
            resume_url: read_resume_url(&section, names),
            resume_url_failures: section
                .integer("resume_url_failures", 1..=1000)
                .unwrap_or(default.resume_url_failures),
            allowed_hosts: HostPattern::read_all(&section, "allowed_hosts"),
            subprotocols: read_subprotocols(&section, names),
            connect_timeout: section.duration("connect_timeout", timeouts).unwrap_or(default.connect_timeout),
            max_message: section.size("max_message", 1 << 10..=512 << 20).unwrap_or(default.max_message),
            split: read_split(&section),
            hide: Pattern::read(&section, "hide"),
            headers: read_headers(section.section("headers"), names),
            proxy: Proxy::read(&section, names),
            tls: Tls::read(section.section("tls")),
            compression: Compression::read(&section),
            ..default
        };
        section.finish();
        upstream
    }
}

fn read_urls(section: &Section<'_>, names: &Names) -> Vec<Template> {
    let before = section.problems();
    if section.item("url_command").is_some() {
        if section.item("url").is_some() {
            section.problem("url_command", "is there beside upstream.url: take one of them out");
        }
        return Vec::new();
    }
    match section.one_or_more("url") {
        Some(items) if items.is_empty() => {
            // A list of what is no text has been refused already.
            if section.problems() == before {
                section.problem("url", "is an empty list: write at least one URL");
            }
            Vec::new()
        }
        Some(items) => items.iter().filter_map(|item| read_url(item, names, Use::Attempt)).collect(),
        None => {
            if section.item("url").is_none() && !section.is_refused() {
                let advice = "is missing: write url = \"wss://your.server/path\" under [upstream]";
                section.problem("url", advice);
            }
            Vec::new()
        }
    }
}

fn read_url(item: &Item<'_>, names: &Names, used: Use) -> Option<Template> {
    let template = names.url(item, used)?;
    if let Some(name) = template.as_literal().and_then(|text| text.strip_prefix('$')) {
        let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        item.problem(format_args!("begins with `$`, which isn't a shell's here: write \"${{env:{name}}}\""));
        return None;
    }
    warn_of_variables(item, &template);
    // How much can be checked depends on how much of the scheme is there; the rest waits for the
    // connection attempt.
    let start = template.literal_start().to_ascii_lowercase();
    let undecided = ["ws://", "wss://"].iter().any(|scheme| scheme.starts_with(&start));
    if template.is_literal() || !undecided {
        let shown =
            item.value.as_str().map(safe_url).filter(|text| !text.is_empty() && !text.contains("://"));
        check_url(&template.with_stand_ins())
            .map_err(|why| match shown {
                Some(text) => item.problem(format_args!("is {}, which {why}", quoted(&text))),
                None => item.problem(why),
            })
            .ok()?;
    }
    Some(template)
}

/// Warns of what a shell would put a variable's value for.
pub(super) fn warn_of_variables(item: &Item<'_>, template: &Template) {
    if let Some(name) = shell_variable(&template.with_stand_ins()) {
        item.warning(format_args!(
            "has `${name}` in it, which isn't a shell's here and goes to the server as it stands: write `${{env:{name}}}`"
        ));
    }
}

/// The first `$NAME` in a text, as environment variables are mostly called.
pub(super) fn shell_variable(text: &str) -> Option<&str> {
    text.match_indices('$').find_map(|(at, _)| {
        let rest = &text[at + 1..];
        let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        let name = &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())];
        let is_over = !rest[name.len()..].starts_with(|c: char| c.is_ascii_alphanumeric());
        (name.len() > 1 && is_over && !name.starts_with(|c: char| c.is_ascii_digit())).then_some(name)
    })
}

fn read_resume_url(section: &Section<'_>, names: &Names) -> Option<Template> {
    let item = section.item("resume_url")?;
    let template = read_url(&item, names, Use::Resume)?;
    if !template.placeholders().any(|(placeholder, _)| matches!(placeholder, Placeholder::Capture(_))) {
        item.problem("has no `${capture:NAME}`, so that it would always be used: write it in upstream.url");
    }
    Some(template)
}

fn read_subprotocols(section: &Section<'_>, names: &Names) -> Vec<Template> {
    let mut subprotocols: Vec<Template> = Vec::new();
    for item in section.texts("subprotocols").unwrap_or_default() {
        let Some(template) = names.header(&item, Use::Attempt) else { continue };
        let Some(text) = item.text() else { continue };
        if !is_token(&template.with_stand_ins()) {
            item.problem(format_args!(
                "is {}, which no HTTP header can list: write letters, digits, `.`, `-` or `_`",
                quoted(text)
            ));
        } else if subprotocols.contains(&template) {
            item.problem(format_args!("is {} again: list each one once", quoted(text)));
        } else {
            subprotocols.push(template);
        }
    }
    subprotocols
}

fn read_split(section: &Section<'_>) -> Option<Pointer> {
    let item = section.item("split")?;
    let text = match item.value {
        DeValue::Boolean(false) => return None,
        DeValue::Boolean(true) => "",
        DeValue::String(text) => text,
        other => {
            item.problem(format_args!(
                "is {}: write true where messages are lists, or a pointer to the list in them, such as \"/data\"",
                kind(other)
            ));
            return None;
        }
    };
    let pointer = Pointer::parse(text).map_err(|why| item.problem(why)).ok()?;
    if text == "/" {
        item.problem(
            "is the member with an empty name (RFC 6901): write true where the message itself is the list",
        );
    } else if pointer.at_any().is_some() {
        item.problem("has a `*` in it, but it is one list that is taken apart: write where that is");
    }
    Some(pointer)
}

fn read_headers(section: Section<'_>, names: &Names) -> Vec<(String, Template)> {
    let mut headers: Vec<(String, Template)> = Vec::new();
    for item in section.items() {
        let name = item.name;
        if let Err(why) = check_header(name) {
            item.problem(why);
        } else if headers.iter().any(|(earlier, _)| earlier.eq_ignore_ascii_case(name)) {
            item.problem("is the same header as one above: keep one of them");
        } else if let Some(template) = names.header(&item, Use::Attempt) {
            let value = http::HeaderValue::from_str(&template.with_stand_ins());
            warn_of_variables(&item, &template);
            if !value.is_ok_and(|value| value.to_str().is_ok()) {
                item.problem("has a value that no header can carry: use ASCII on one line");
            }
            headers.push((name.to_owned(), template));
        }
    }
    headers
}

/// Checks that a header of this name may be sent along.
///
/// # Errors
/// What is wrong with it: the end of a sentence.
pub fn check_header(name: &str) -> Result<(), String> {
    if !is_token(name) {
        return Err("is no header name: write letters, digits and `-`".to_owned());
    }
    match RESERVED.iter().find(|(reserved, _)| reserved.eq_ignore_ascii_case(name)) {
        Some((_, advice)) => Err(format!("is a header that wsfan sends itself: {advice}")),
        None => Ok(()),
    }
}

/// Whether text is a token of RFC 9110, section 5.6.2.
pub fn is_token(text: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shown_url_is_unresolved_and_safe() {
        let urls = ["wss://u:${env:P}@a/x?t=${env:T}", "ws://b"].map(|url| Template::parse(url).unwrap());
        let upstream = Upstream::new(urls.to_vec());
        let shown: Vec<_> = (0..3).map(|index| upstream.display_url(index)).collect();
        assert_eq!(shown, ["wss://a/x", "ws://b", "wss://a/x"]);
    }

    #[test]
    fn tokens() {
        assert!(is_token("graphql-transport-ws") && is_token("v1.json"));
        assert!(!is_token("") && !is_token("a b") && !is_token("a,b") && !is_token("é"));
    }
}
