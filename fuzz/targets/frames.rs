//! Frames in random cuts: what tungstenite's own reader hears, and nothing else.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = input;
    wsfan::fuzzing::frames(usize::from(piece) + 1, bytes);
});
