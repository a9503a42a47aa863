//! A `ws://` or `wss://` URL, taken apart (RFC 6455, section 3).

use std::net::IpAddr;

use crate::config::percent_decode;

/// The longest host name that DNS can have (RFC 1035, 3.1).
const MAX_NAME: usize = 253;

/// Where an attempt goes.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::upstream) struct Target {
    /// `wss`.
    pub(in crate::upstream) tls: bool,
    /// A name or an address, without the brackets of IPv6.
    pub(in crate::upstream) host: String,
    pub(in crate::upstream) port: u16,
    /// The path with its query; begins with a slash.
    pub(in crate::upstream) path: String,
    /// `user:password`, percent-decoded.
    pub(in crate::upstream) userinfo: Option<Vec<u8>>,
}

impl Target {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// What is wrong with it, without a word of what it says: it may hold a secret.
    pub(in crate::upstream) fn parse(url: &str) -> Result<Target, &'static str> {
        if url.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
            return Err("upstream.url has a space or a control character in it");
        }
        let (scheme, rest) =
            url.split_once("://").ok_or("upstream.url doesn't begin with ws:// or wss://")?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "ws" => false,
            "wss" => true,
            _ => return Err("upstream.url doesn't begin with ws:// or wss://"),
        };
        if rest.contains('#') {
            return Err("upstream.url has a fragment (#), which a WebSocket URL may not");
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let (userinfo, host_port) = match authority.rsplit_once('@') {
            Some((userinfo, host_port)) => (Some(percent_decode(userinfo)), host_port),
            None => (None, authority),
        };
        let (host, port) = host_and_port(host_port)?;
        let port = match port {
            None | Some("") => default_port(tls),
            Some(port) => {
                port.parse().ok().filter(|port| *port != 0).ok_or("upstream.url has a bad port number")?
            }
        };
        Ok(Target { tls, host, port, path, userinfo })
    }

    /// The `Host` header: the port only where it isn't the scheme's own.
    pub(in crate::upstream) fn host_header(&self) -> String {
        let host = self.bracketed_host();
        if self.port == default_port(self.tls) { host } else { format!("{host}:{}", self.port) }
    }

    /// `host:port`, for people.
    pub(in crate::upstream) fn address(&self) -> String {
        format!("{}:{}", self.bracketed_host(), self.port)
    }

    /// Scheme, host and port as a URL has them: nothing in it is secret.
    pub(in crate::upstream) fn origin(&self) -> String {
        format!("{}://{}", if self.tls { "wss" } else { "ws" }, self.host_header())
    }

    /// Whether it is the same server, by scheme, host and port.
    pub(in crate::upstream) fn is_at(&self, other: &Target) -> bool {
        self.tls == other.tls && self.port == other.port && self.host.eq_ignore_ascii_case(&other.host)
    }

    fn bracketed_host(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

/// A message or a program may have said it, and it is shown to people.
fn check_name(host: &str) -> Result<(), &'static str> {
    if host.is_empty() {
        return Err("upstream.url names no host");
    }
    if !host.is_ascii() {
        return Err("upstream.url has a host name that is not ASCII: it must be in punycode (xn--…)");
    }
    if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
        return Err("upstream.url has a character in its host name that no host name may have");
    }
    if host.len() > MAX_NAME {
        return Err("upstream.url has a host name that is longer than 253 bytes");
    }
    Ok(())
}

fn host_and_port(text: &str) -> Result<(String, Option<&str>), &'static str> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or("upstream.url has a [ without its ]")?;
        if !matches!(host.parse(), Ok(IpAddr::V6(_))) {
            return Err("upstream.url has something other than an IPv6 address in its brackets");
        }
        return match after.strip_prefix(':') {
            Some(port) => Ok((host.to_owned(), Some(port))),
            None if after.is_empty() => Ok((host.to_owned(), None)),
            None => Err("upstream.url has something between the host and the path"),
        };
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    check_name(host)?;
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn takes_urls_apart() {
        for (url, tls, host, port, path, header) in [
            ("ws://h", false, "h", 80, "/", "h"),
            ("WSS://h", true, "h", 443, "/", "h"),
            ("wss://h:8443/a?b=c", true, "h", 8443, "/a?b=c", "h:8443"),
            ("ws://h?b", false, "h", 80, "/?b", "h"),
            ("ws://[::1]:9/x", false, "::1", 9, "/x", "[::1]:9"),
            ("ws://[::1]", false, "::1", 80, "/", "[::1]"),
            ("ws://u:p@h:80/", false, "h", 80, "/", "h"),
            ("ws://h:/", false, "h", 80, "/", "h"),
        ] {
            let target = Target::parse(url).unwrap();
            let got = (target.tls, target.host.as_str(), target.port, target.path.as_str());
            assert_eq!(got, (tls, host, port, path), "{url}");
            assert_eq!(target.host_header(), header, "{url}");
        }
    }

    #[test]
    fn decodes_userinfo() {
        for (url, userinfo) in [
            ("ws://u:p@h/", Some(&b"u:p"[..])),
            ("ws://u%40x:p%3A%20@h/", Some(b"u@x:p: ")),
            ("ws://a@b:c%@h/", Some(b"a@b:c%")),
            ("ws://h/@", None),
        ] {
            assert_eq!(Target::parse(url).unwrap().userinfo.as_deref(), userinfo, "{url}");
        }
    }

    #[test]
    fn refuses_what_is_no_websocket_url() {
        for url in [
            "",
            "h",
            "http://h",
            "ws:/h",
            "ws://",
            "ws:///x",
            "ws://:80",
            "ws://h:0",
            "ws://h:65536",
            "ws://h:x",
            "ws://h/#f",
            "ws://[::1",
            "ws://[h]",
            "ws://[::1]x",
            "ws://h/ x",
            "ws://h/\r\nX: y",
            "ws://a!b/",
            "ws://h%41/",
            "ws://h\u{202e}moc.live/",
            "ws://h\u{200b}.example/",
            "wss://\u{2066}@h\u{ad}/",
            &format!("ws://{}/", "a.".repeat(127)),
        ] {
            assert!(Target::parse(url).is_err(), "{url:?}");
        }
        assert!(Target::parse("ws://bücher.example/").err().unwrap().contains("punycode"));
        assert!(Target::parse(&format!("ws://{}a/", "a.".repeat(126))).is_ok());
        assert!(Target::parse("ws://xn--bcher-kva.example_1.:80/").is_ok());
    }

    proptest! {
        #[test]
        fn never_panics_and_keeps_userinfo_out_of_the_request(text in r"\PC{0,40}") {
            let _ = Target::parse(&text);
            if let Ok(target) = Target::parse(&format!("wss://SECRET@h/{text}")) {
                let said = [target.host_header(), target.address(), target.path];
                prop_assert!(!said.concat().contains("SECRET"));
            }
        }
    }
}
