//! A proxy's answers: to CONNECT, and in SOCKS5.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    wsfan::fuzzing::connect(bytes);
    wsfan::fuzzing::socks(bytes);
});
