//! Where a URL may lead that a message of the server's had a part in.
//!
//! Where a server passes on what its clients say, such a message may be anybody's. So it leads to no host
//! that the configuration doesn't name, to no weaker scheme, and what the configuration sends along goes
//! only where the configuration itself leads.

use crate::{
    config::HostPattern,
    upstream::{failure::clean, wire::target::Target},
};

/// How far a place is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) enum Trust {
    /// The configuration leads there: headers, credentials and the client's certificate go along.
    Configured,
    /// It may be called, and gets nothing that the configuration has for others.
    Allowed,
}

/// Judges a place that a message had a part in. `configured` are the places that the configuration leads to
/// by itself; none where a program says them.
///
/// # Errors
/// Why it may not be called, in a sentence.
pub(in crate::upstream) fn judge(
    target: &Target,
    configured: &[Target],
    allowed: &[HostPattern],
) -> Result<Trust, String> {
    let host = clean(&target.host);
    let same_host = |place: &&Target| place.host.eq_ignore_ascii_case(&target.host);
    let is_own = configured.iter().any(|place| same_host(&place));
    let is_weaker = match is_own {
        true => configured.iter().filter(same_host).all(|place| place.tls),
        false => configured.is_empty() || configured.iter().any(|place| place.tls),
    };
    if !target.tls && is_weaker {
        return Err(format!(
            "upstream.resume_url leads to ws://{host}, where nothing is encrypted: a message may lead there \
             only if the configuration has ws:// for that host, or nothing but ws://"
        ));
    }
    if configured.iter().any(|place| place.is_at(target)) {
        return Ok(Trust::Configured);
    }
    if is_own || allowed.iter().any(|pattern| pattern.matches(&target.host)) {
        return Ok(Trust::Allowed);
    }
    Err(format!(
        "upstream.resume_url leads to {host}, as a message said, which is no host of upstream.url: if it is the \
         server's, add it to upstream.allowed_hosts"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment};

    fn judged(url: &str, configured: &[&str]) -> Result<Trust, String> {
        let text = "[upstream]\nurl = \"ws://h/\"\nallowed_hosts = [\"*.cdn.example\", \"b\"]\n";
        let allowed = Config::parse(text, &Environment::fixed([])).unwrap().upstream.allowed_hosts;
        let place = |url: &str| Target::parse(url).unwrap();
        let configured: Vec<_> = configured.iter().map(|url| place(url)).collect();
        judge(&place(url), &configured, &allowed)
    }

    #[test]
    fn a_message_leads_nowhere_that_the_configuration_does_not() {
        let (yes, maybe) = (Some(Trust::Configured), Some(Trust::Allowed));
        for (url, configured, expected) in [
            ("wss://a/x", &["wss://a/"][..], yes),
            ("wss://A:443/x", &["wss://a/"], yes),
            ("wss://u:p@a/x", &["wss://a/"], yes),
            ("ws://a/x", &["ws://a/"], yes),
            ("wss://c/x", &["wss://a/", "wss://c/"], yes),
            ("wss://a:9/x", &["wss://a/"], maybe),
            ("wss://a/x", &["ws://a/"], maybe),
            ("ws://a/x", &["ws://a:9/", "wss://a/"], maybe),
            ("ws://b/", &["ws://a/"], maybe),
            ("wss://b/", &["wss://a/"], maybe),
            ("wss://x.cdn.example/", &["wss://a/"], maybe),
            ("wss://b/", &[], maybe),
            ("ws://a/x", &["wss://a/"], None),
            ("ws://b/", &["wss://a/"], None),
            ("ws://b/", &[], None),
            ("ws://a/x", &["ws://c/", "wss://a/"], None),
            ("ws://b/", &["ws://c/", "wss://a/"], None),
            ("wss://evil/", &["wss://a/"], None),
            ("wss://a@evil/", &["wss://a/"], None),
            ("wss://cdn.example/", &["wss://a/"], None),
            ("wss://evil/", &[], None),
        ] {
            assert_eq!(judged(url, configured).ok(), expected, "{url} of {configured:?}");
        }
        assert!(judged("wss://evil/", &["wss://a/"]).unwrap_err().contains("upstream.allowed_hosts"));
    }
}
