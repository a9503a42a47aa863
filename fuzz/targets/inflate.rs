//! Compressed data in random cuts, up to a bound.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, u16, &[u8])| {
    let (piece, max, bytes) = input;
    wsfan::fuzzing::inflate(usize::from(piece) + 1, usize::from(max), bytes);
});
