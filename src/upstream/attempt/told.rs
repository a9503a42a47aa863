//! What an attempt tells its server and its proxy in URLs, headers and logins, and nobody else may be shown.
//!

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

use crate::upstream::{
    secrets::redactor::{MIN, MIN_LIKELY, Redactor},
    wire::target::Target,
};

/// Headers that say nothing about who is asking.
const HARMLESS: [&str; 8] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "origin",
    "pragma",
    "user-agent",
    "x-requested-with",
];

/// Hides a URL, and all of it that nobody sees: who logs in, the query, and of the path what `shown`, the
/// same URL for people, doesn't have.
pub(in crate::upstream) fn hide_url(redactor: &mut Redactor, url: &str, target: &Target, shown: &str) {
    let mut likely = |text: &str| {
        if !shown.contains(text) {
            redactor.hide(text, MIN_LIKELY);
        }
    };
    likely(url);
    let (path, query) = target.path.split_once('?').unwrap_or((&target.path, ""));
    likely(path);
    path.split('/').for_each(&mut likely);
    likely(query);
    for pair in query.split('&') {
        likely(pair.split_once('=').map_or(pair, |(_, value)| value));
    }
    if let Some(userinfo) = &target.userinfo {
        let userinfo = String::from_utf8_lossy(userinfo);
        match userinfo.split_once(':') {
            Some((user, password)) => hide_login(redactor, user, password),
            None => redactor.hide(&userinfo, MIN),
        }
    }
}

/// Hides a header's value, the words in it, and the login that they encode.
pub(in crate::upstream) fn hide_header(redactor: &mut Redactor, name: &str, value: &str) {
    if HARMLESS.iter().any(|harmless| harmless.eq_ignore_ascii_case(name)) {
        return;
    }
    redactor.hide(value, MIN_LIKELY);
    for word in value.split([' ', ';', ',', '"']) {
        redactor.hide(word, MIN_LIKELY);
        if let Some((_, value)) = word.split_once('=') {
            redactor.hide(value, MIN_LIKELY);
        }
    }
    let basic = value.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
    let login = basic.and_then(|(_, login)| String::from_utf8(BASE64.decode(login.trim()).ok()?).ok());
    if let Some((user, password)) = login.as_deref().and_then(|login| login.split_once(':')) {
        hide_login(redactor, user, password);
    }
}

/// Hides who logs in, and as a header says it.
pub(in crate::upstream) fn hide_login(redactor: &mut Redactor, user: &str, password: &str) {
    redactor.hide(&format!("{user}:{password}"), MIN);
    redactor.hide(password, MIN);
    // where there is no password, it is the user name that is secret
    redactor.hide(user, if password.is_empty() { MIN } else { MIN_LIKELY });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(hide: impl FnOnce(&mut Redactor), text: &str) -> String {
        let mut redactor = Redactor::default();
        hide(&mut redactor);
        redactor.redact(text)
    }

    #[test]
    fn of_a_url_only_what_is_shown_stays() {
        let url = "wss://somebody:pass%2Fword@example.com/a/public-path/hidden-path?key=query-value&v=1";
        let target = Target::parse(url).unwrap();
        let display = "wss://example.com/a/public-path/${env:P}";
        for (text, left) in [
            (url, "…"),
            ("/a/public-path/hidden-path", "…"),
            ("public-path, hidden-path", "public-path, …"),
            ("example.com says query-value, v=1", "example.com says …, v=1"),
            ("somebody:pass/word somebody pass/word", "… … …"),
            (&format!("Basic {}", BASE64.encode("somebody:pass/word")), "Basic …"),
        ] {
            assert_eq!(shown(|r| hide_url(r, url, &target, display), text), left, "{text}");
        }
        let token = Target::parse("ws://tok7@h/").unwrap();
        assert_eq!(shown(|r| hide_url(r, "ws://tok7@h/", &token, "ws://h/"), "tok7"), "…");
    }

    #[test]
    fn of_a_header_nothing_stays_that_says_who_is_asking() {
        let basic = format!("Basic {}", BASE64.encode("somebody:pw12"));
        for (name, value, text, left) in [
            ("Authorization", "Bearer token-token", "Bearer token-token; token-token", "…; …"),
            ("authorization", &*basic, "somebody pw12 pw", "… … pw"),
            ("Cookie", "a=1; sid=cookie-value", "a=1 cookie-value", "a=1 …"),
            ("Origin", "https://example.com", "https://example.com may not", "https://example.com may not"),
        ] {
            assert_eq!(shown(|r| hide_header(r, name, value), text), left, "{name}");
        }
    }
}
