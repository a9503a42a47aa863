//! A text becomes its line: JSON is what serde_json takes for JSON.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| wsfan::fuzzing::message(text));
