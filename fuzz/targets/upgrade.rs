//! A server's answer to the opening handshake.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| wsfan::fuzzing::upgrade(bytes));
