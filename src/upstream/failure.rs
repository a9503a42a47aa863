//! How an attempt or a connection ended: the sentence for people and the fields for programs. Pure.
//!
//! Everything is tried again (no daemon gives up in silence) unless the configuration says otherwise
//! (`machine/verdict.rs`), so a failure has no class but what it says, and how long the server asked
//! to be left alone.

use std::time::{Duration, SystemTime};

use crate::config::{Cut, Remedy, is_invisible};

/// How an attempt or a connection ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Failure {
    /// The close code; 1005 for a close frame without one, 1006 without a close frame (RFC 6455, 7.4.1).
    pub(super) code: Option<u16>,
    /// The code is wsfan's own, not the server's.
    pub(super) is_ours: bool,
    /// The close frame's reason.
    pub(super) reason: Option<String>,
    /// The status of an HTTP answer that refused the upgrade.
    pub(super) http_status: Option<u16>,
    /// What went wrong, in a sentence; `None` when nothing did.
    pub(super) error: Option<String>,
    /// How long the server asked to be left alone, be it more than it gets.
    pub(super) retry_after: Option<Duration>,
    /// What it leads to, where that isn't for the rules to say.
    pub(super) then: Option<Remedy>,
    /// What the server said led where it must not: it is forgotten.
    pub(super) misled: bool,
    /// Where an attempt went, as its sentence may say it, whatever message it had that from.
    pub(super) place: Option<String>,
}

/// The parts of an HTTP answer that tell why an upgrade was refused.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct HttpAnswer<'a> {
    pub(super) status: u16,
    pub(super) location: Option<&'a str>,
    pub(super) retry_after: Option<&'a str>,
}

/// The longest piece of a server's own text in a failure, in bytes. A close frame's reason has at
/// most 123 (RFC 6455, 5.5).
const MAX_TEXT: usize = 200;

impl Failure {
    /// The same, with its texts as `redact` makes them.
    pub(super) fn redacted(self, redact: impl Fn(&str) -> String) -> Failure {
        let texts = [self.reason, self.error].map(|text| text.map(|text| redact(&text)));
        let [reason, error] = texts;
        Failure { reason, error, ..self }
    }

    /// An attempt that came to nothing.
    pub(super) fn attempt(error: impl Into<String>) -> Failure {
        Failure { error: Some(error.into()), ..Failure::default() }
    }

    /// What the configuration itself says the consequences of.
    pub(super) fn meant(error: impl Into<String>, then: Remedy) -> Failure {
        Failure { then: Some(then), ..Failure::attempt(error) }
    }

    /// A connection that ended without a close frame.
    pub(super) fn lost(error: impl Into<String>) -> Failure {
        Failure { code: Some(1006), ..Failure::attempt(error) }
    }

    /// A connection that wsfan closed with `code`, because of what the server sent.
    pub(super) fn refused(code: u16, error: impl Into<String>) -> Failure {
        Failure { code: Some(code), is_ours: true, ..Failure::attempt(error) }
    }

    /// A connection that was closed on request: nothing went wrong.
    pub(super) fn closed_here(code: u16, reason: &str) -> Failure {
        Failure { code: Some(code), is_ours: true, reason: Some(reason.to_owned()), ..Failure::default() }
    }

    /// A connection that the server closed. `code` is `None` for a close frame without one.
    pub(super) fn closed_there(code: Option<u16>, reason: &str) -> Failure {
        let Some(code) = code else {
            let error = "the server closed the connection without a code";
            return Failure { code: Some(1005), ..Failure::attempt(error) };
        };
        let reason = clean(reason);
        let name = match close_code_name(code) {
            "" => String::new(),
            name => format!(" ({name})"),
        };
        let error = match reason.as_str() {
            "" => format!("the server closed the connection with {code}{name}"),
            reason => format!("the server closed the connection with {code}{name}: {reason}"),
        };
        let reason = (!reason.is_empty()).then_some(reason);
        Failure { code: Some(code), reason, ..Failure::attempt(error) }
    }

    /// An upgrade that the server answered with something else than 101.
    pub(super) fn http(answer: HttpAnswer<'_>, now: SystemTime) -> Failure {
        let retry_after = answer.retry_after.and_then(|value| retry_after(value, now));
        let error = http_sentence(answer);
        Failure { http_status: Some(answer.status), retry_after, ..Failure::attempt(error) }
    }

    /// Its sentence tells also for how long the server asked to be left alone, as far as that is kept: up to
    /// `max` (`reconnect.max_retry_after`).
    pub(super) fn with_wait(mut self, max: Duration) -> Failure {
        if let (Some(asked), Some(error)) = (self.retry_after, &mut self.error) {
            let told = match asked <= max {
                true => format!("; it asks to wait {} s", asked.as_secs()),
                false => format!(
                    "; it asks to wait longer than reconnect.max_retry_after, which is {} s",
                    max.as_secs_f64()
                ),
            };
            error.push_str(&told);
        }
        self
    }
}

/// A server's own text, fit for a line and a terminal: no control characters, and what is too long marked as cut.
pub(super) fn clean(text: &str) -> String {
    let cut = Cut::of(text.trim(), MAX_TEXT);
    let clean: String = cut.text.chars().map(|c| if is_invisible(c) { ' ' } else { c }).collect();
    match clean.trim() {
        "" => String::new(),
        clean => format!("{clean}{}", cut.mark()),
    }
}

/// What RFC 6455, 7.4.1 and the IANA registry call a close code; nothing for a private one.
fn close_code_name(code: u16) -> &'static str {
    match code {
        1000 => "normal closure",
        1001 => "going away",
        1002 => "protocol error",
        1003 => "unsupported data",
        1005 => "a code that no one may send: it says that there was none",
        1006 => "a code that no one may send: it says that no close frame came",
        1007 => "invalid payload data",
        1008 => "policy violation",
        1009 => "message too big",
        1010 => "mandatory extension",
        1011 => "internal error",
        1012 => "service restart",
        1013 => "try again later",
        1014 => "bad gateway",
        1015 => "a code that no one may send: it says that TLS failed",
        3000 => "unauthorized",
        3003 => "forbidden",
        3008 => "timeout",
        0..1000 | 1004 | 1016..3000 | 5000.. => "a code that no one may send",
        _ => "",
    }
}

fn http_sentence(answer: HttpAnswer<'_>) -> String {
    let status = answer.status;
    let advice = match status {
        200..=299 => "it doesn't take this for a WebSocket request; check the path in upstream.url",
        300..=399 => match answer.location.map(without_query) {
            Some(location) if !location.is_empty() => {
                return format!(
                    "the server answered {status} and points to {location}, which isn't followed; set upstream.url to it"
                );
            }
            _ => "a redirect without an address; check upstream.url",
        },
        400 => {
            // nginx says so to a client without a certificate
            "it refuses the request as malformed, or wants a client certificate; check upstream.url, \
             upstream.headers, upstream.subprotocols and upstream.tls.cert_file"
        }
        401 => "it wants credentials, or other ones; check upstream.headers (Authorization)",
        403 => "these credentials, this address or this origin may not connect; check upstream.headers",
        404 | 410 => "there is nothing at this path; check upstream.url",
        405 | 426 => "it refuses this kind of request; check that upstream.url is a WebSocket address",
        407 => "a proxy on the way wants credentials",
        429 => "too many requests or connections",
        502..=504 => "the service is unavailable for now",
        500..=599 => "the server failed",
        _ => "it refuses the upgrade",
    };
    format!("the server answered {status}{}: {advice}", http_name(status))
}

/// The name of a status, after a space; nothing for one that is seldom met.
pub(super) fn http_name(status: u16) -> &'static str {
    match status {
        200 => " OK",
        400 => " Bad Request",
        401 => " Unauthorized",
        403 => " Forbidden",
        404 => " Not Found",
        405 => " Method Not Allowed",
        407 => " Proxy Authentication Required",
        410 => " Gone",
        426 => " Upgrade Required",
        429 => " Too Many Requests",
        500 => " Internal Server Error",
        502 => " Bad Gateway",
        503 => " Service Unavailable",
        504 => " Gateway Timeout",
        _ => "",
    }
}

/// A URL or path without what may hold a secret: userinfo, query and fragment.
fn without_query(location: &str) -> String {
    let end = location.find(['?', '#']).unwrap_or(location.len());
    let plain = &location[..end];
    let plain = match plain.split_once("//") {
        Some((scheme, rest)) => {
            let slash = rest.find('/').unwrap_or(rest.len());
            let host = rest[..slash].rfind('@').map_or(0, |at| at + 1);
            format!("{scheme}//{}", &rest[host..])
        }
        None => plain.to_owned(),
    };
    clean(&plain)
}

/// `Retry-After`: seconds or an HTTP date (RFC 9110, 10.2.3). A date in the past is no wait.
fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn http(status: u16, location: Option<&str>, retry_after: Option<&str>) -> Failure {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        Failure::http(HttpAnswer { status, location, retry_after }, now)
    }

    #[test]
    fn each_http_status_says_what_to_do() {
        for (status, words) in [
            (200, "check the path"),
            (204, "check the path"),
            (301, "redirect without an address"),
            (400, "malformed"),
            (400, "upstream.tls.cert_file"),
            (401, "wants credentials"),
            (403, "may not connect"),
            (404, "nothing at this path"),
            (418, "refuses the upgrade"),
            (429, "too many requests"),
            (500, "the server failed"),
            (503, "unavailable for now"),
        ] {
            let failure = http(status, None, None);
            assert_eq!(failure.http_status, Some(status));
            assert_eq!(failure.code, None, "an attempt that was refused had no close code");
            let error = failure.error.unwrap();
            assert!(error.contains(words) && error.contains(&status.to_string()), "{error}");
        }
    }

    #[test]
    fn a_redirect_names_its_goal_without_secrets() {
        let error = http(302, Some("wss://user:pw@new.example/feed?token=s3cret#x"), None).error.unwrap();
        assert!(error.contains("wss://new.example/feed") && error.contains("set upstream.url"), "{error}");
        assert!(!error.contains("s3cret") && !error.contains("pw"), "{error}");
        let error = http(307, Some("/login?next=abc"), None).error.unwrap();
        assert!(error.contains("points to /login,"), "{error}");
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        for (value, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("3600", Some(3_600)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Tue, 14 Nov 2023 22:14:20 GMT", Some(60)),
            ("Tue, 14 Nov 2023 22:00:00 GMT", Some(0)),
            ("soon", None),
            ("-5", None),
            ("", None),
        ] {
            let wait = http(503, None, Some(value)).retry_after;
            assert_eq!(wait, expected.map(Duration::from_secs), "{value:?}");
        }
    }

    #[test]
    fn what_is_shown_of_retry_after_is_what_is_waited() {
        let max = Duration::from_secs(3_600);
        let error = |value| http(503, None, value).with_wait(max).error.unwrap();
        assert!(error(Some("120")).ends_with("; it asks to wait 120 s"));
        assert!(error(Some("3600")).ends_with("; it asks to wait 3600 s"));
        let nines = "9".repeat(30);
        let longer = "; it asks to wait longer than reconnect.max_retry_after, which is 3600 s";
        assert!(error(Some("3601")).ends_with(longer) && error(Some(&nines)).ends_with(longer));
        assert!(!error(None).contains("asks"));
    }

    #[test]
    fn close_codes_have_their_names() {
        let failure = Failure::closed_there(None, "");
        assert_eq!((failure.code, failure.reason), (Some(1005), None));
        let failure = Failure::closed_there(Some(1013), "later");
        assert_eq!(failure.reason.as_deref(), Some("later"));
        assert_eq!(
            failure.error.unwrap(),
            "the server closed the connection with 1013 (try again later): later"
        );
        let failure = Failure::closed_there(Some(4004), "");
        assert_eq!(failure.error.unwrap(), "the server closed the connection with 4004");
        assert_eq!(Failure::lost("gone").code, Some(1006));
    }

    proptest! {
        #[test]
        fn a_servers_text_is_bounded_and_has_no_controls(text in "\\PC*|[\\s\\S]{0,600}") {
            let clean = clean(&text);
            prop_assert!(clean.len() <= MAX_TEXT + "… (+9,999 bytes)".len());
            prop_assert!(clean.len() <= MAX_TEXT || clean.ends_with(" bytes)") || clean.ends_with("… (+1 byte)"));
            prop_assert!(!clean.chars().any(is_invisible));
        }

        #[test]
        fn no_query_and_no_userinfo_survives(path in "[a-z/]{0,20}", secret in "SECRET[a-z]{0,9}") {
            for location in [
                format!("wss://{secret}:{secret}@h/{path}?{secret}"),
                format!("//{secret}@h/{path}#{secret}"),
                format!("/{path}?x={secret}"),
            ] {
                prop_assert!(!http(301, Some(&location), None).error.unwrap().contains("SECRET"));
            }
        }
    }
}
