//! What a local client writes, in random cuts.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = input;
    wsfan::fuzzing::client(usize::from(piece), bytes);
});
