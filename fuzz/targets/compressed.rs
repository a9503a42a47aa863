//! Frames with permessage-deflate in random cuts.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, u8, &[u8])| {
    let (takeover, piece, bytes) = input;
    wsfan::fuzzing::compressed(takeover, usize::from(piece) + 1, bytes);
});
