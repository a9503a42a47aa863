//! What `upstream.url_command` prints: where to connect.

use super::judgement::quoted_error;
use crate::{
    config::{Secret, UrlCommand, check_header},
    upstream::failure::Failure,
};

/// Where an attempt goes, with the headers that only this one has.
#[derive(Debug, PartialEq)]
pub(in crate::upstream) struct Address {
    pub(in crate::upstream) url: Secret,
    pub(in crate::upstream) headers: Vec<(String, Secret)>,
}

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
    /// What is wrong with it, without a word of it but a short text at `/error` or `/message`.
    pub(in crate::upstream) fn parse(printed: &str, command: &UrlCommand) -> Result<Address, Failure> {
        let refuse = |why: &str| refused(command, why);
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
}

fn refused(command: &UrlCommand, why: &str) -> Failure {
    Failure::attempt(format!("upstream.url_command {} printed {why}", command.command.run[0]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Program, Remedy};

    fn command() -> UrlCommand {
        let command = Program::new(vec!["/bin/url".into()]);
        UrlCommand { command, reject: Vec::new(), on_fail: Remedy::Stop }
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
        for (printed, why) in [
            ("wss://SECRET\nmore", "2 lines, and not one URL or JSON"),
            (r#"{"url":"SECRET"#, "what begins as JSON, and isn't"),
            (r#"{"uri":"SECRET","error":"no scope"}"#, "JSON without a `url`: no scope"),
            (r#"{"url":"SECRET","headers":{"a":1}}"#, "a header whose value is no text"),
            (
                r#"{"url":"SECRET","headers":{"Upgrade":"SECRET"}}"#,
                "a header that can't be sent along: see upstream.headers for those that can",
            ),
            (
                r#"{"url":"SECRET","headers":{"a":"b\r\nc: SECRET"}}"#,
                "a header that can't be sent along: see upstream.headers for those that can",
            ),
        ] {
            let failure = Address::parse(printed, &command()).unwrap_err();
            assert_eq!(failure.error, Some(format!("upstream.url_command /bin/url printed {why}")));
            assert_eq!(failure.then, None, "{printed}");
        }
    }
}
