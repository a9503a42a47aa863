//! Which proxy the environment names for a server.
//!
//! No standard says what these variables mean. This follows curl where programs differ, but for
//! `HTTP_PROXY`, which is honoured outside CGI, as Go and Python do.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::{
    config::{Environment, Secret},
    upstream::wire::target::Target,
};

/// The variable that names a proxy for `target`, and its URL; none where the server is reached directly.
///
/// # Errors
/// Names a variable that is not text.
pub(super) fn proxy(
    target: &Target,
    environment: &Environment,
) -> Result<Option<(&'static str, Secret)>, String> {
    let variables: &[&str] = match target.tls {
        true => &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"],
        // in CGI a request's header `Proxy:` becomes HTTP_PROXY: anybody could set it
        false if environment.var("REQUEST_METHOD").is_some() => &["http_proxy", "all_proxy", "ALL_PROXY"],
        false => &["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"],
    };
    let Some((variable, url)) = first(variables, environment)? else { return Ok(None) };
    let exceptions = first(&["no_proxy", "NO_PROXY"], environment)?;
    if exceptions.is_some_and(|(_, list)| is_excepted(&target.host, target.port, &list)) {
        return Ok(None);
    }
    // "proxy:3128" is what many write, and all take for an HTTP proxy
    let url = if url.contains("://") { url } else { format!("http://{url}") };
    Ok(Some((variable, Secret::new(url))))
}

/// The first variable that isn't empty.
fn first(
    variables: &[&'static str],
    environment: &Environment,
) -> Result<Option<(&'static str, String)>, String> {
    for &variable in variables {
        let Some(value) = environment.var(variable) else { continue };
        let value =
            value.into_string().map_err(|_| format!("the environment's {variable} is not UTF-8 text"))?;
        if !value.trim().is_empty() {
            return Ok(Some((variable, value.trim().to_owned())));
        }
    }
    Ok(None)
}

/// Whether `no_proxy` names this server: by `*`, by its name or a domain above it (with a leading dot
/// or without), by its address, or by a network in CIDR notation. With a port, for that port alone.
/// A name isn't resolved for this.
fn is_excepted(host: &str, port: u16, list: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host);
    let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
    list.split(|c: char| c == ',' || c.is_whitespace()).filter(|entry| !entry.is_empty()).any(|entry| {
        let (name, only) = split_port(entry);
        if only.is_some_and(|only| only.parse() != Ok(port)) {
            return false;
        }
        match address {
            _ if name == "*" => true,
            Some(address) => match name.parse::<IpNet>() {
                Ok(network) => network.contains(&address),
                Err(_) => name.parse::<IpAddr>().is_ok_and(|name| name.to_canonical() == address),
            },
            None => is_under(host, name),
        }
    })
}

/// Whether `host`, in lower case, is `domain` or below it.
fn is_under(host: &str, domain: &str) -> bool {
    let domain = domain.strip_prefix('*').unwrap_or(domain);
    let domain = domain.strip_prefix('.').unwrap_or(domain);
    let domain = domain.strip_suffix('.').unwrap_or(domain).to_ascii_lowercase();
    match host.strip_suffix(&*domain) {
        _ if domain.is_empty() => false,
        Some(before) => before.is_empty() || before.ends_with('.'),
        None => false,
    }
}

/// Splits a port off; a colon in an IPv6 address is none.
fn split_port(entry: &str) -> (&str, Option<&str>) {
    if let Some((address, after)) = entry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (address, after.strip_prefix(':'));
    }
    match entry.split_once(':') {
        Some((name, port)) if !port.contains(':') => (name, Some(port)),
        _ => (entry, None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WSS: &str = "wss://stream.example.com/";
    const WS: &str = "ws://stream.example.com/";

    fn named(url: &str, variables: &[(&str, &str)]) -> Option<(&'static str, String)> {
        let environment = Environment::fixed(variables.iter().copied());
        let found = proxy(&Target::parse(url).unwrap(), &environment).unwrap();
        found.map(|(variable, url)| (variable, url.expose().to_owned()))
    }

    #[test]
    fn each_scheme_has_its_variables_and_lower_case_goes_first() {
        let all: &[(&str, &str)] = &[
            ("https_proxy", "http://a"),
            ("HTTPS_PROXY", "http://b"),
            ("http_proxy", "http://c"),
            ("HTTP_PROXY", "http://d"),
            ("all_proxy", "http://e"),
            ("ALL_PROXY", "http://f"),
        ];
        let without = |gone: &[&str]| -> Vec<_> {
            all.iter().copied().filter(|(name, _)| !gone.contains(name)).collect()
        };
        for (url, gone, expected) in [
            (WSS, &[][..], Some(("https_proxy", "http://a"))),
            (WSS, &["https_proxy"], Some(("HTTPS_PROXY", "http://b"))),
            (WSS, &["https_proxy", "HTTPS_PROXY"], Some(("all_proxy", "http://e"))),
            (WSS, &["https_proxy", "HTTPS_PROXY", "all_proxy"], Some(("ALL_PROXY", "http://f"))),
            (WSS, &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"], None),
            (WS, &[], Some(("http_proxy", "http://c"))),
            (WS, &["http_proxy"], Some(("HTTP_PROXY", "http://d"))),
            (WS, &["http_proxy", "HTTP_PROXY"], Some(("all_proxy", "http://e"))),
            (WS, &["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"], None),
        ] {
            let expected = expected.map(|(name, url)| (name, url.to_owned()));
            assert_eq!(named(url, &without(gone)), expected, "{url} without {gone:?}");
        }
    }

    #[test]
    fn values_are_trimmed_and_an_empty_one_is_none() {
        for (value, expected) in [
            ("", None),
            (" ", None),
            ("proxy:3128", Some("http://proxy:3128")),
            (" socks5h://proxy ", Some("socks5h://proxy")),
            ("me:pw@proxy:3128/", Some("http://me:pw@proxy:3128/")),
        ] {
            let expected = expected.map(|url| ("https_proxy", url.to_owned()));
            assert_eq!(named(WSS, &[("https_proxy", value)]), expected, "{value:?}");
        }
        let empty_and_all = [("https_proxy", ""), ("all_proxy", "http://e")];
        assert_eq!(named(WSS, &empty_and_all), Some(("all_proxy", "http://e".to_owned())));
    }

    #[test]
    fn what_a_web_servers_client_could_have_set_is_not_trusted() {
        let cgi = [("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "http://evil"), ("HTTPS_PROXY", "http://b")];
        assert_eq!(named(WS, &cgi), None);
        assert_eq!(named(WSS, &cgi), Some(("HTTPS_PROXY", "http://b".to_owned())));
        let lower = [("REQUEST_METHOD", "GET"), ("http_proxy", "http://c")];
        assert_eq!(named(WS, &lower), Some(("http_proxy", "http://c".to_owned())));
    }

    #[test]
    fn no_proxy_names_servers_domains_addresses_and_networks() {
        for (url, list, direct) in [
            (WSS, "", false),
            (WSS, "*", true),
            (WSS, "other, *", true),
            (WSS, "stream.example.com", true),
            (WSS, "STREAM.Example.COM.", true),
            (WSS, "example.com", true),
            (WSS, ".example.com", true),
            (WSS, "*.example.com", true),
            (WSS, ".stream.example.com", true),
            (WSS, "other,example.com", true),
            (WSS, "other  example.com\tx", true),
            (WSS, "ample.com", false),
            (WSS, "stream.example", false),
            (WSS, "x.stream.example.com", false),
            (WSS, "example.com:443", true),
            (WSS, "example.com:80", false),
            (WSS, "example.com:x", false),
            (WSS, "*:80", false),
            (WSS, ".", false),
            (WSS, ",,", false),
            ("wss://stream.example.com./", "example.com", true),
            ("ws://localhost:9/", "localhost", true),
            ("ws://localhost:9/", "127.0.0.1", false),
            ("ws://localhost:9/", "", false),
            ("ws://127.0.0.1:9/", "127.0.0.1", true),
            ("ws://127.0.0.1:9/", "127.0.0.1:9", true),
            ("ws://127.0.0.1:9/", "127.0.0.1:8", false),
            ("ws://127.0.0.1:9/", "127.0.0.0/8", true),
            ("ws://127.0.0.1:9/", "127.9.9.9/8:9", true),
            ("ws://127.0.0.1:9/", "10.0.0.0/8", false),
            ("ws://127.0.0.1:9/", "127.0.0.0/33", false),
            ("ws://127.0.0.1:9/", "0.0.1", false),
            ("ws://127.0.0.1:9/", "localhost", false),
            ("ws://[::1]:9/", "::1", true),
            ("ws://[::1]:9/", "[::1]", true),
            ("ws://[::1]:9/", "[::1]:9", true),
            ("ws://[::1]:9/", "[::1]:8", false),
            ("ws://[fd00::7]/", "fd00::/8", true),
            ("ws://[fd00::7]/", "fd01::/16", false),
            ("ws://[::ffff:10.0.0.1]/", "10.0.0.0/8", true),
        ] {
            for variable in ["no_proxy", "NO_PROXY"] {
                let found = named(url, &[("all_proxy", "http://proxy"), (variable, list)]);
                assert_eq!(found.is_none(), direct, "{url} with {variable}={list}");
            }
        }
        let both = [("all_proxy", "http://proxy"), ("no_proxy", "other"), ("NO_PROXY", "*")];
        assert!(named(WSS, &both).is_some(), "lower case goes first");
    }

    proptest! {
        #[test]
        fn any_list_is_read(host in r"[a-z0-9.:\[\]]{1,12}", list in r"\PC{0,40}|[a-z0-9.:*/,\[\] ]{0,40}") {
            let excepted = is_excepted(&host, 443, &list);
            let (all, more) = (format!("{list},*"), format!("other.example,{list}"));
            prop_assert!(is_excepted(&host, 443, &all));
            prop_assert!(!excepted || is_excepted(&host, 443, &more));
        }

        #[test]
        fn a_name_is_excepted_by_itself_and_by_no_sibling(name in "[a-z]{1,8}(\\.[a-z]{1,8}){0,3}") {
            let (below, dotted, sibling) = (format!("x.{name}"), format!(".{name}"), format!("x{name}"));
            prop_assert!(is_excepted(&below, 1, &name));
            prop_assert!(is_excepted(&name, 1, &dotted));
            prop_assert!(!is_excepted(&sibling, 1, &name));
        }
    }
}
