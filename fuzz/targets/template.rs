//! A text with placeholders is refused, or shown as what it was read from.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wsfan::config::Template;

fuzz_target!(|text: &str| {
    for parse in [Template::parse, Template::parse_url, Template::parse_message] {
        match parse(text) {
            Ok(template) => {
                let shown = template.to_string();
                assert_eq!(parse(&shown).map(|again| again == template), Ok(true), "{shown}");
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});
