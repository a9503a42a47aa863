//! WebSocket URLs: what is refused, and how one is shown.

use std::net::Ipv6Addr;

/// Checks that `url` is one that a WebSocket client can connect to (RFC 6455, section 3).
///
/// # Errors
///
/// What is wrong and what to do: the end of a sentence that begins with the URL's name. It never holds
/// the URL, which may be secret.
pub fn check_url(url: &str) -> Result<(), String> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err("is not a WebSocket URL: write ws://host/ or wss://host/".to_owned());
    };
    match scheme.to_ascii_lowercase().as_str() {
        "ws" | "wss" => {}
        http @ ("http" | "https") => {
            let ws = if http == "http" { "ws" } else { "wss" };
            return Err(format!("begins with {http}://, but wsfan speaks WebSocket: write {ws}://"));
        }
        _ => return Err("has an unknown scheme: write ws:// or wss://".to_owned()),
    }
    if rest.contains('#') {
        return Err("has a fragment, which a WebSocket URL can't have: take out the `#` and \
                    what follows, or write %23"
            .to_owned());
    }
    let authority = &rest[..rest.find(['/', '?']).unwrap_or(rest.len())];
    let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if !host_and_port.is_ascii() {
        return Err("has a host name that is not ASCII: write it in punycode (xn--…)".to_owned());
    }
    if !url.is_ascii() {
        return Err("has characters that are not ASCII: percent-encode them".to_owned());
    }
    let (host, port) = split_port(host_and_port);
    if host.is_empty() {
        return Err("has no host: write ws://host/ or wss://host/".to_owned());
    }
    if port.is_some_and(|port| !matches!(port.parse::<u16>(), Ok(1..))) {
        return Err("has a bad port: write a number from 1 to 65535".to_owned());
    }
    let brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let bad_address = brackets.is_some_and(|address| address.parse::<Ipv6Addr>().is_err());
    if bad_address || url.parse::<http::Uri>().is_err() {
        return Err("is not a valid URL: look for spaces and other characters that must be \
                    percent-encoded"
            .to_owned());
    }
    Ok(())
}

/// The part of a URL that may be shown in logs: scheme, host, port and path. What may hold secrets,
/// user name, password and query, is left out. The text may hold unresolved placeholders.
pub fn safe_url(url: &str) -> String {
    let url = match find_outside(url, &['?', '#']) {
        Some(end) => &url[..end],
        None => url,
    };
    let (scheme, rest) = match url.find("://") {
        Some(at) => url.split_at(at + 3),
        None => ("", url),
    };
    let (authority, path) = rest.split_at(find_outside(rest, &['/']).unwrap_or(rest.len()));
    let mut host = authority;
    while let Some(at) = find_outside(host, &['@']) {
        host = &host[at + 1..];
    }
    format!("{scheme}{host}{path}")
}

/// Scheme, host and port of a URL that [`check_url`] takes, as they are shown: nothing in it is secret.
pub fn origin(url: &str) -> Option<String> {
    check_url(url).ok()?;
    let (scheme, rest) = url.split_once("://")?;
    let authority = &rest[..rest.find(['/', '?']).unwrap_or(rest.len())];
    let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let scheme = scheme.to_ascii_lowercase();
    let (host, port) = split_port(host_and_port);
    let default = if scheme == "wss" { 443 } else { 80 };
    Some(match port.and_then(|port| port.parse().ok()).filter(|port: &u16| *port != default) {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    })
}

/// Percent-decoding (RFC 3986, 2.1); a `%` without two digits stands for itself.
pub fn percent_decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |offset: usize| bytes.get(at + offset).and_then(|byte| (*byte as char).to_digit(16));
        match (bytes[at], hex(1), hex(2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, _, _) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}

/// Splits a port off; a colon inside brackets belongs to the address.
pub(in crate::config) fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    }
}

/// Where the first of `wanted` stands, outside placeholders (whose names may hold any of them).
pub(in crate::config) fn find_outside(text: &str, wanted: &[char]) -> Option<usize> {
    let mut after = 0;
    for (at, c) in text.char_indices() {
        if at >= after && wanted.contains(&c) {
            return Some(at);
        }
        // An escaped `$${` opens nothing.
        if at >= after && c == '$' && !text[..at].ends_with('$') && opens_placeholder(&text[at..]) {
            after = at + text[at..].find('}').unwrap_or(0);
        }
    }
    None
}

fn opens_placeholder(text: &str) -> bool {
    ["${env:", "${file:", "${credential:", "${command:", "${var:", "${capture:"]
        .iter()
        .any(|start| text.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good() {
        for url in [
            "ws://localhost",
            "wss://example.com/",
            "WSS://example.com:443/v1?a=b&c=${x}".trim_end_matches("${x}"),
            "ws://[::1]:8080/x",
            "wss://user:p%40ss@example.com/",
            "wss://xn--bcher-kva.example/",
            "wss://example.com?x=1",
            "wss://example.com/ws/btcusdt@trade",
        ] {
            assert_eq!(check_url(url), Ok(()), "{url}");
        }
    }

    #[test]
    fn bad() {
        for (url, part) in [
            ("example.com", "is not a WebSocket URL"),
            ("", "is not a WebSocket URL"),
            ("http://example.com", "write ws://"),
            ("https://example.com", "write wss://"),
            ("ftp://example.com", "unknown scheme"),
            ("ws://", "no host"),
            ("ws:///path", "no host"),
            ("ws://user@/path", "no host"),
            ("ws://:80/", "no host"),
            ("ws://a:0/", "bad port"),
            ("ws://a:/", "bad port"),
            ("ws://a:65536/", "bad port"),
            ("ws://a:b/", "bad port"),
            ("ws://a/#x", "fragment"),
            ("ws://bücher.example/", "punycode"),
            ("ws://a/bücher", "percent-encode"),
            ("ws://a/b c", "not a valid URL"),
            ("ws://a b/", "not a valid URL"),
            ("ws://[::g]/", "not a valid URL"),
            ("ws://[::1/", "not a valid URL"),
        ] {
            let why = check_url(url).unwrap_err();
            assert!(why.contains(part), "{url}: {why}");
        }
    }

    #[test]
    fn what_is_shown_holds_no_secret() {
        for (url, shown) in [
            ("wss://example.com/v1", "wss://example.com/v1"),
            ("wss://example.com:8443/v1?token=x", "wss://example.com:8443/v1"),
            ("wss://user:pass@example.com/v1", "wss://example.com/v1"),
            ("wss://us@er:pa@ss@example.com", "wss://example.com"),
            ("wss://example.com/a@b", "wss://example.com/a@b"),
            ("wss://example.com#x", "wss://example.com"),
            ("wss://u:${file:/a/b?c@d}@h/p?t=${env:T}", "wss://h/p"),
            ("wss://${env:HOST}/${env:PATH}?x", "wss://${env:HOST}/${env:PATH}"),
            ("${env:URL}", "${env:URL}"),
            ("${file:/etc/url}", "${file:/etc/url}"),
            ("user:pass@host/path", "host/path"),
            ("wss://h/$${env:?x", "wss://h/$${env:"),
            ("wss://h/${?x", "wss://h/${"),
            ("", ""),
        ] {
            assert_eq!(safe_url(url), shown);
        }
    }
}
