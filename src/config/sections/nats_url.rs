//! Where a NATS server is.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use crate::config::reader::url::split_port;

/// A NATS server's address: `nats://HOST[:PORT]`, or the same with `tls://`. There is no login in it, so that it may be
/// shown; `Display` writes it with its port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NatsUrl {
    /// `tls://`: nothing is said before the connection is encrypted and the server has shown its certificate.
    pub is_tls: bool,
    /// A name or an address, without the brackets of IPv6.
    pub host: String,
    /// 4222 where the URL says nothing.
    pub port: u16,
}

impl NatsUrl {
    /// Takes a NATS server's URL apart.
    ///
    /// # Errors
    ///
    /// What is wrong and what to do: the end of a sentence that begins with the URL's name. It never holds the URL,
    /// which may have a password in it.
    pub fn parse(url: &str) -> Result<Self, String> {
        const WRITE: &str = "write nats://HOST:PORT, or tls:// where the server has a certificate";
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(format!("has no scheme: {WRITE}"));
        };
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "nats" => false,
            "tls" => true,
            "ws" | "wss" | "http" | "https" => {
                return Err(format!(
                    "begins with {scheme}://, but NATS is spoken to over plain TCP or TLS: write nats:// or tls://, and \
                     the port of its clients, mostly 4222"
                ));
            }
            _ => return Err(format!("has an unknown scheme: {WRITE}")),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') || path.contains('@') {
            return Err(
                "has a login in it: write cluster.user and cluster.password, or cluster.token".to_owned()
            );
        }
        if rest.contains(',') {
            return Err("has several servers in it: write a list, each in quotes of its own".to_owned());
        }
        if !matches!(path, "" | "/") {
            return Err("has something after the port: write no more than nats://HOST:PORT".to_owned());
        }
        let (host, port) = split_port(authority);
        let Some(port) = port.map_or(Some(4222), |port| port.parse().ok().filter(|port| *port != 0)) else {
            return Err("has a bad port: write a number from 1 to 65535".to_owned());
        };
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) if address.parse::<Ipv6Addr>().is_ok() => address,
            None if is_host(host) => host,
            _ => return Err(format!("has no valid host: {WRITE}")),
        };
        Ok(Self { is_tls, host: host.to_owned(), port })
    }

    /// Whether what is said to it stays on this machine.
    pub fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => self.host.eq_ignore_ascii_case("localhost"),
        }
    }
}

impl fmt::Display for NatsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "tls" } else { "nats" };
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{}{close}:{}", self.host, self.port)
    }
}

/// Whether text can be a name or an IPv4 address: ASCII, and nothing that ends it or must be encoded.
fn is_host(text: &str) -> bool {
    let ok = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !text.is_empty() && text.bytes().all(ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_urls_apart() {
        for (url, shown, is_loopback) in [
            ("nats://n1", "nats://n1:4222", false),
            ("NATS://n1:4223/", "nats://n1:4223", false),
            ("tls://n1.example.com", "tls://n1.example.com:4222", false),
            ("nats://127.0.0.1:1", "nats://127.0.0.1:1", true),
            ("nats://127.3.2.1", "nats://127.3.2.1:4222", true),
            ("nats://LocalHost", "nats://LocalHost:4222", true),
            ("nats://[::1]:4222", "nats://[::1]:4222", true),
            ("nats://[::ffff:127.0.0.1]", "nats://[::ffff:127.0.0.1]:4222", true),
            ("nats://[fe80::1]", "nats://[fe80::1]:4222", false),
            ("nats://127.0.0.1.example.com", "nats://127.0.0.1.example.com:4222", false),
            ("nats://localhost.example.com", "nats://localhost.example.com:4222", false),
        ] {
            let parsed = NatsUrl::parse(url).unwrap();
            assert_eq!((&*parsed.to_string(), parsed.is_loopback()), (shown, is_loopback), "{url}");
        }
    }

    #[test]
    fn refuses_what_is_none() {
        for (url, part) in [
            ("", "no scheme"),
            ("n1:4222", "no scheme"),
            ("ws://n1", "begins with ws://"),
            ("https://n1", "begins with https://"),
            ("redis://n1", "unknown scheme"),
            ("nats://", "no valid host"),
            ("nats://:4222", "no valid host"),
            ("nats://[::g]", "no valid host"),
            ("nats://a b", "no valid host"),
            ("nats://bücher", "no valid host"),
            ("nats://a\r\nb", "no valid host"),
            ("nats://n1,nats://n2", "several servers"),
            ("nats://SECRET@n1,n2", "write cluster.user"),
            ("nats://n1:", "bad port"),
            ("nats://n1:0", "bad port"),
            ("nats://n1:65536", "bad port"),
            ("nats://n1:4222/x", "after the port"),
            ("nats://SECRET:SECRET@n1", "write cluster.user"),
            ("nats://SECRET/SECRET@n1", "write cluster.user"),
            ("nats://SECRET@n1:x", "write cluster.user"),
        ] {
            let why = NatsUrl::parse(url).err().unwrap_or_else(|| panic!("accepted {url}"));
            assert!(why.contains(part) && !why.contains("SECRET"), "{url}: {why}");
        }
    }
}
