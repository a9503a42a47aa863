//! What `upstream.url_command` prints: where to connect, or why not.

use std::time::Duration;

use crate::{
    config::{Reject, Remedy, Secret, UrlCommand, check_header},
    upstream::failure::{Failure, clean},
};

/// Where an attempt goes, with the headers that only this one has.
#[derive(Debug, PartialEq)]
pub(in crate::upstream) struct Address {
    pub(in crate::upstream) url: Secret,
    pub(in crate::upstream) headers: Vec<(String, Secret)>,
}

/// A text of the program's own is quoted in a failure if it is no longer.
const MAX_QUOTED: usize = 100;
/// No program makes the link wait for longer.
const MAX_DELAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Address {
    /// A URL, and nothing else.
    pub(in crate::upstream) fn of(url: Secret) -> Address {
        Address { url, headers: Vec::new() }
    }

    /// Reads what the program printed: a URL on one line, or JSON with `url` and perhaps `headers`, whose
    /// other keys are the program's own business.
    ///
    /// # Errors
    ///
    /// What is wrong with it, without a word of it but a short text at `/error`; and what that leads to.
    pub(in crate::upstream) fn parse(printed: &str, command: &UrlCommand) -> Result<Address, Failure> {
        let refuse = |why: &str| refused(command, why);
        if let Some(rejected) = Address::rejected(printed, command) {
            return Err(rejected);
        }
        let Some(json) = printed.starts_with('{').then(|| serde_json::from_str(printed)) else {
            return match printed.lines().count() {
                1 => Ok(Address::of(Secret::new(printed))),
                n => Err(refuse(&format!("{n} lines, and not one URL or JSON"))),
            };
        };
        let json: serde_json::Value = json.map_err(|_| refuse("what begins as JSON, and isn't"))?;
        let Some(url) = json["url"].as_str() else {
            return Err(refuse(&format!("JSON without a `url`{}", quoted_error(printed))));
        };
        let mut headers = Vec::new();
        for (name, value) in json["headers"].as_object().into_iter().flatten() {
            let value = value.as_str().ok_or_else(|| refuse("a header whose value is no text"))?;
            if check_header(name).is_err() || !value.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')) {
                return Err(refuse(
                    "a header that can't be sent along: see upstream.headers for those that can",
                ));
            }
            headers.push((name.clone(), Secret::new(value)));
        }
        Ok(Address { url: Secret::new(url), headers })
    }

    /// The failure that the program's output stands for, if `reject` knows it.
    pub(in crate::upstream) fn rejected(printed: &str, command: &UrlCommand) -> Option<Failure> {
        let reject = command.reject.iter().find(|reject| reject.pattern.matches(printed.as_bytes()))?;
        let why = format!("what `reject` is about{}", quoted_error(printed));
        Some(Failure { then: Some(remedy(printed, reject, command)), ..refused(command, &why) })
    }
}

fn refused(command: &UrlCommand, why: &str) -> Failure {
    Failure::attempt(format!("upstream.url_command {} printed {why}", command.command.run[0]))
}

/// What a rejection leads to; the wait may be in the output itself.
fn remedy(printed: &str, reject: &Reject, command: &UrlCommand) -> Remedy {
    let then = reject.then.unwrap_or(command.on_fail);
    let Some(from) = &reject.delay_from else { return then };
    let json: serde_json::Value = serde_json::from_str(printed).unwrap_or_default();
    let number = json.pointer(from.pointer.as_str()).and_then(serde_json::Value::as_f64);
    let delay = number.and_then(|number| Duration::try_from_secs_f64(number * from.unit.as_secs_f64()).ok());
    delay.map_or(Remedy::Retry, |delay| Remedy::After(delay.min(MAX_DELAY)))
}

/// The program's own word for what is wrong, if it is short and has one.
fn quoted_error(printed: &str) -> String {
    let json: serde_json::Value = serde_json::from_str(printed).unwrap_or_default();
    match json["error"].as_str() {
        Some(error) if error.len() <= MAX_QUOTED => format!(": {}", clean(error)),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DelayFrom, Pattern, Pointer, Program, Test};

    fn command() -> UrlCommand {
        let command = Program::new(vec!["/bin/url".into()]);
        let is = |pointer, value: serde_json::Value| {
            Pattern::Json(vec![(Pointer::parse(pointer).unwrap(), Test::OneOf(vec![value]))])
        };
        let wait = Reject {
            then: Some(Remedy::After(Duration::ZERO)),
            delay_from: Some(DelayFrom {
                pointer: Pointer::parse("/wait").unwrap(),
                unit: Duration::from_secs(1),
            }),
            ..Reject::new(is("/error", "busy".into()))
        };
        UrlCommand {
            command,
            reject: vec![wait, Reject::new(is("/ok", false.into()))],
            on_fail: Remedy::Stop,
        }
    }

    #[test]
    fn a_url_is_a_line_or_a_value_of_json() {
        let parse = |printed| Address::parse(printed, &command()).unwrap();
        assert_eq!(parse("wss://h/?t=1"), Address::of(Secret::new("wss://h/?t=1")));
        let address = parse(r#"{"ok":true,"url":"wss://h/","headers":{"x-a":"1"},"more":[]}"#);
        assert_eq!(address.url.expose(), "wss://h/");
        assert_eq!(address.headers, [("x-a".to_owned(), Secret::new("1"))]);
    }

    #[test]
    fn anything_else_is_a_failure_that_quotes_nothing_secret() {
        for (printed, why, then) in [
            ("wss://SECRET\nmore", "2 lines, and not one URL or JSON", None),
            (r#"{"url":"SECRET"#, "what begins as JSON, and isn't", None),
            (r#"{"uri":"SECRET","error":"no scope"}"#, "JSON without a `url`: no scope", None),
            (r#"{"url":"SECRET","headers":{"a":1}}"#, "a header whose value is no text", None),
            (
                r#"{"url":"SECRET","headers":{"Upgrade":"SECRET"}}"#,
                "a header that can't be sent along: see upstream.headers for those that can",
                None,
            ),
            (
                r#"{"url":"SECRET","headers":{"a":"b\r\nc: SECRET"}}"#,
                "a header that can't be sent along: see upstream.headers for those that can",
                None,
            ),
            (
                r#"{"ok":false,"error":"invalid_auth"}"#,
                "what `reject` is about: invalid_auth",
                Some(Remedy::Stop),
            ),
            (
                r#"{"error":"busy","wait":90}"#,
                "what `reject` is about: busy",
                Some(Remedy::After(Duration::from_secs(90))),
            ),
            (r#"{"error":"busy","wait":-1}"#, "what `reject` is about: busy", Some(Remedy::Retry)),
        ] {
            let failure = Address::parse(printed, &command()).unwrap_err();
            assert_eq!(failure.error, Some(format!("upstream.url_command /bin/url printed {why}")));
            assert_eq!(failure.then, then, "{printed}");
        }
    }
}
