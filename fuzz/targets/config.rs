//! A configuration is taken or refused, each problem with a sentence.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wsfan::config::{Config, Environment};

fuzz_target!(|text: &str| {
    if text.contains("_file") {
        return; // whose paths are looked at
    }
    if let Err(invalid) = Config::parse(text, &Environment::fixed([])) {
        assert!(!invalid.to_string().is_empty());
    }
});
