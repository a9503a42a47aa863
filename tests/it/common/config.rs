//! Configurations as texts, read or refused.

use wsfan::config::{Config, Environment};

/// Reads a whole configuration, with nothing in the environment.
pub fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, &Environment::fixed([])).map_err(|invalid| invalid.to_string())
}

/// A configuration from a valid first line and these.
pub fn with(lines: &str) -> Result<Config, String> {
    parse(&format!("upstream.url = \"ws://a\"\n{lines}"))
}

/// Checks that each text, from line 2 on, is refused with exactly this.
pub fn refused(cases: &[(&str, &str)]) {
    for (lines, sentence) in cases {
        match with(lines) {
            Ok(_) => panic!("accepted: {lines}"),
            Err(found) => assert_eq!(&found, sentence, "{lines}"),
        }
    }
}
