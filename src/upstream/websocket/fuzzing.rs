//! What servers may send, for the fuzz targets: each function panics where something is wrong.

use super::{
    codec::{
        deflate::agree,
        inbound::reference::{library, read, without_1014},
    },
    upgrade::{Head, Offer},
    *,
};
use crate::{
    config::Compression,
    upstream::{secrets::redactor::Redactor, wire::target::Target},
};

/// A message may be so long: short enough for a fuzzer to come to the bound.
const MAX_MESSAGE: usize = 300;

/// Frames in pieces of at most `piece` bytes say what tungstenite's reader hears, and are refused where it
/// refuses them. It looks at a frame only when all of it is there.
pub fn frames(piece: usize, bytes: &[u8]) {
    let (heard, fault) = read(bytes, piece, &mut Inbound::new(&[], MAX_MESSAGE, None));
    let (heard, refused_here) = without_1014(heard, fault.is_some());
    let mut bytes = bytes.to_vec();
    // no frame that is longer gets further than its header
    let whole = bytes.len() + MAX_MESSAGE + 14;
    loop {
        let (expected, refused) = library(&bytes, MAX_MESSAGE);
        assert_eq!(heard, expected, "{fault:?}");
        if refused == refused_here {
            return;
        }
        assert!(!refused && bytes.len() < whole, "refused: {refused}, here: {fault:?}");
        bytes.push(0);
    }
}

/// Frames that may be compressed say the same however they are cut, and no message is longer than allowed.
pub fn compressed(takeover: bool, piece: usize, bytes: &[u8]) {
    let answer =
        if takeover { "permessage-deflate" } else { "permessage-deflate; server_no_context_takeover" };
    let agreed = agree(&Compression::default(), answer).expect("it is what was asked for");
    let heard = |piece| read(bytes, piece, &mut Inbound::new(&[], MAX_MESSAGE, Some(agreed.inflater())));
    let (whole, fault) = heard(usize::MAX);
    assert!(whole.iter().all(|incoming| incoming.len() <= MAX_MESSAGE), "a message is too long");
    // of two faults, it depends on the cuts which is met first
    let (cut, fault_there) = heard(piece);
    assert_eq!((cut, fault_there.is_some()), (whole, fault.is_some()), "{fault_there:?}, {fault:?}");
}

/// A piece of compressed data, inflated in parts, is what it is as a whole, up to the bound.
pub fn inflate(piece: usize, max: usize, bytes: &[u8]) {
    let agreed = agree(&Compression::default(), "permessage-deflate").expect("it is what was asked for");
    let inflated = |piece: usize| {
        let (mut inflater, mut out) = (agreed.inflater(), Vec::new());
        let mut outcome = Ok(());
        for mut part in bytes.chunks(piece.max(1)) {
            outcome = outcome.and_then(|()| inflater.inflate(&mut part, &mut out, max, usize::MAX).map(drop));
        }
        outcome = outcome.and_then(|()| inflater.finish(&mut out, max, usize::MAX).map(drop));
        assert!(out.capacity() <= (max + 1).max(16 << 10), "{} bytes for {max}", out.capacity());
        outcome.map(|()| out).ok() // of two faults, it depends on the cuts which is met first
    };
    assert_eq!(inflated(piece), inflated(usize::MAX));
}

/// A server's answer to the upgrade is read as a whole or not at all, whatever follows it.
pub fn upgrade(bytes: &[u8]) {
    let Ok(Some((head, length))) = Head::parse(bytes) else { return };
    assert!(length <= bytes.len());
    for end in 0..length {
        assert!(!matches!(Head::parse(&bytes[..end]), Ok(Some(_))), "it was there before its end");
    }
    let target = Target::parse("ws://server/").expect("it is a URL");
    let subprotocols = ["v1".to_owned()];
    let offer = Offer {
        target: &target,
        headers: Vec::new(),
        subprotocols: &subprotocols,
        compression: Some(Compression::default()),
        max_message: MAX_MESSAGE,
        redactor: &Redactor::default(),
    };
    if let Err(sentence) = head.check(&offer, "dGhlIHNhbXBsZSBub25jZQ==") {
        assert!(!sentence.is_empty());
    }
}
