//! `upstream.proxy`: the way to the server through another machine.

use std::fmt;

use crate::config::{
    language::{names::Names, template::Template, uses::Use},
    reader::{
        Section,
        url::{percent_decode, split_port},
    },
};

/// `upstream.proxy`: by which proxy the server is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Proxy {
    /// Left out, or `""`: by the one that the environment names for the server, if any.
    #[default]
    Environment,
    /// `"off"`: by none, whatever the environment says.
    Off,
    /// By this one, whatever the environment says: text that [`ProxyUrl::parse`] takes.
    Url(Template),
}

/// What a proxy speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyKind {
    /// `http://`: it opens a tunnel when asked with CONNECT (RFC 9110, 9.3.6).
    Http,
    /// `socks5://` and `socks5h://`: SOCKS version 5 (RFC 1928). It resolves the server's name.
    Socks5,
}

/// A proxy's URL, taken apart. `Display` shows it without the login; there is no `Debug`, since it
/// may hold a password.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl {
    /// What the proxy speaks.
    pub kind: ProxyKind,
    /// A name or an address, without the brackets of IPv6.
    pub host: String,
    /// 80 or, for SOCKS, 1080 where the URL says nothing.
    pub port: u16,
    /// The user name and the password, percent-decoded. Either may be empty.
    pub login: Option<(Vec<u8>, Vec<u8>)>,
}

impl Proxy {
    pub(in crate::config) fn read(section: &Section<'_>, names: &Names) -> Self {
        if let Some(truth) = section.item("proxy").and_then(|item| item.value.as_bool()) {
            let advice = match truth {
                false => "is false: write \"off\" to have none, whatever the environment says",
                true => "is true: write its URL, or leave it out to go by the environment",
            };
            section.problem("proxy", advice);
            return Self::Environment;
        }
        let text = match section.text("proxy") {
            None | Some("") => return Self::Environment,
            Some("off") => return Self::Off,
            Some(text) => text,
        };
        let Some(template) = section.item("proxy").and_then(|item| names.url(&item, Use::Attempt)) else {
            return Self::Environment;
        };
        // As for upstream.url: without its scheme there is nothing to check yet.
        if (template.is_literal() || template.literal_start().contains("://"))
            && let Err(why) = ProxyUrl::parse(&template.with_stand_ins())
        {
            let off = if text.contains("://") { "" } else { ", or \"off\"" };
            section.problem("proxy", format_args!("{why}{off}"));
        }
        Self::Url(template)
    }
}

impl ProxyUrl {
    /// Takes a proxy's URL apart: `http://[USER:PASSWORD@]HOST[:PORT]`, or the same with `socks5://`
    /// or `socks5h://`.
    ///
    /// # Errors
    ///
    /// What is wrong and what to do: the end of a sentence that begins with the URL's name. It never
    /// holds the URL, which may be secret.
    pub fn parse(url: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err("has no scheme: write http://HOST:PORT or socks5://HOST:PORT".to_owned());
        };
        let (kind, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (ProxyKind::Http, 80),
            "socks5" | "socks5h" => (ProxyKind::Socks5, 1080),
            "https" => {
                return Err(
                    "begins with https://, but wsfan doesn't speak TLS with a proxy: write http:// (what \
                            goes to a wss:// server is encrypted all the same)"
                        .to_owned(),
                );
            }
            _ => return Err("has an unknown scheme: write http:// or socks5://".to_owned()),
        };
        let bad = |what: &str| {
            let hint = match rest.contains('@') {
                true => "; in the user name and the password, percent-encode `/`, `?`, `#`, `:` and `@`",
                false => "",
            };
            Err(format!("{what}{hint}"))
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if !matches!(path, "" | "/") {
            return bad("has something after the port: write no more than HOST:PORT");
        }
        let (login, host_and_port) = match authority.rsplit_once('@') {
            Some((userinfo, rest)) => (Some(userinfo), rest),
            None => (None, authority),
        };
        let (host, port) = split_port(host_and_port);
        let Some(port) = port.map_or(Some(default_port), |port| port.parse().ok().filter(|port| *port != 0))
        else {
            return bad("has a bad port: write a number from 1 to 65535");
        };
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) if address.parse::<std::net::Ipv6Addr>().is_ok() => address,
            None if is_host(host) => host,
            _ => return bad("has no valid host: write http://HOST:PORT or socks5://HOST:PORT"),
        };
        let login = login.map(|login| {
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            (percent_decode(user), percent_decode(password))
        });
        Ok(Self { kind, host: host.to_owned(), port, login })
    }
}

/// `http://host:port`: never the login.
impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            ProxyKind::Http => "http",
            ProxyKind::Socks5 => "socks5",
        };
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{}{close}:{}", self.host, self.port)
    }
}

/// Whether text can be a name or an IPv4 address: ASCII, and nothing that ends it or must be encoded.
fn is_host(text: &str) -> bool {
    let ok = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    !text.is_empty() && text.bytes().all(ok)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn takes_proxy_urls_apart() {
        let login = |user: &str, password: &str| Some((user.into(), password.into()));
        for (url, shown, login) in [
            ("http://proxy", "http://proxy:80", None),
            ("HTTP://proxy:3128/", "http://proxy:3128", None),
            ("socks5://proxy", "socks5://proxy:1080", None),
            ("socks5h://10.0.0.1:9050", "socks5://10.0.0.1:9050", None),
            ("http://[::1]:8080", "http://[::1]:8080", None),
            ("http://[::1]", "http://[::1]:80", None),
            ("http://me:pw@proxy:1", "http://proxy:1", login("me", "pw")),
            ("http://me@proxy:1", "http://proxy:1", login("me", "")),
            ("http://me:@proxy:1", "http://proxy:1", login("me", "")),
            ("http://a%40b:c%3Ad%2f@proxy:1", "http://proxy:1", login("a@b", "c:d/")),
            ("http://a@b:c:d@proxy:1", "http://proxy:1", login("a@b", "c:d")),
        ] {
            let parsed = ProxyUrl::parse(url).unwrap();
            assert_eq!(parsed.to_string(), shown, "{url}");
            assert_eq!(parsed.login, login, "{url}");
        }
    }

    #[test]
    fn refuses_what_is_no_proxy_url() {
        for (url, part) in [
            ("", "has no scheme"),
            ("proxy:3128", "has no scheme"),
            ("https://proxy", "write http://"),
            ("socks4://proxy", "unknown scheme"),
            ("ws://proxy", "unknown scheme"),
            ("http://", "no valid host"),
            ("http://:80", "no valid host"),
            ("http://me@:80", "no valid host"),
            ("http://[::g]:80", "no valid host"),
            ("http://[::1", "no valid host"),
            ("http://a b:80", "no valid host"),
            ("http://bücher:80", "no valid host"),
            ("http://a\r\nb:80", "no valid host"),
            ("http://proxy:", "bad port"),
            ("http://proxy:0", "bad port"),
            ("http://proxy:65536", "bad port"),
            ("http://proxy:80/x", "after the port"),
            ("http://proxy:80?x", "after the port"),
            ("http://me:p/w@proxy:80", "after the port: write no more than HOST:PORT; in the user name"),
        ] {
            let why = ProxyUrl::parse(url).err().unwrap_or_else(|| panic!("accepted {url}"));
            assert!(why.contains(part), "{url}: {why}");
        }
    }

    proptest! {
        #[test]
        fn no_login_is_ever_shown(text in r"\PC{0,30}", after in r"[a-z0-9:/?#@\[\].]{0,20}") {
            for url in [format!("http://SECRET:SECRET{text}@h{after}"), format!("SECRET{text}{after}")] {
                let shown = match ProxyUrl::parse(&url) {
                    Ok(parsed) => parsed.to_string(),
                    Err(why) => why,
                };
                prop_assert!(!shown.contains("SECRET"), "{}", shown);
            }
        }
    }
}
