use std::io::Write;

use flate2::write::DeflateEncoder;
use proptest::prelude::*;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;

use super::{
    reference::{Heard, library, read, without_1014},
    *,
};
use crate::{config::Compression, upstream::websocket::codec::deflate::agree};

const MAX: usize = 1 << 20;

fn inflater() -> Inflater {
    agree(&Compression::default(), "permessage-deflate").unwrap().inflater()
}

/// What a plain connection makes of it.
fn plain(bytes: &[u8]) -> (Vec<Heard>, Option<Violation>) {
    read(bytes, usize::MAX, &mut Inbound::new(&[], MAX, None))
}

fn frame(opcode: u8, fin: bool, payload: &[u8]) -> Vec<u8> {
    let opcode = OpCode::from(opcode);
    let header = FrameHeader { is_final: fin, opcode, ..FrameHeader::default() };
    let mut bytes = Vec::new();
    Frame::from_payload(header, payload.to_vec().into()).format(&mut bytes).unwrap();
    bytes
}

/// As [`frame`], with the reserved bit that says "compressed".
fn compressed(opcode: u8, fin: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame(opcode, fin, payload);
    bytes[0] |= 0x40;
    bytes
}

#[test]
fn messages_and_control_frames_come_out_as_they_went_in() {
    let stream = [
        frame(1, true, "grüße".as_bytes()),
        frame(2, true, &[0, 255]),
        frame(1, false, b"in "),
        frame(9, true, b"ping"),
        frame(0, false, "zw\u{f6}".split_at(1).0.as_bytes()),
        frame(0, true, b""),
        frame(10, true, b""),
        frame(8, true, &[0x03, 0xe8, b'b', b'y', b'e']),
        frame(1, true, b"after the end"),
    ]
    .concat();
    let expected = [
        Heard::Text("grüße".into()),
        Heard::Binary(vec![0, 255]),
        Heard::Ping(b"ping".to_vec()),
        Heard::Text("in z".into()),
        Heard::Pong(vec![]),
        Heard::Close(Some(1000), "bye".into()),
    ];
    assert_eq!(plain(&stream), (expected.to_vec(), None));
    assert_eq!(plain(&frame(8, true, b"")).0, [Heard::Close(None, String::new())]);
}

#[test]
fn what_breaks_the_rules_is_named() {
    let protocol = Violation::Protocol;
    let masked = [0x81, 0x81, 1, 2, 3, 4, 0];
    let cases = [
        (masked.to_vec(), protocol("a masked frame")),
        (frame(3, true, b""), protocol("a reserved opcode")),
        (frame(11, true, b""), protocol("a reserved opcode")),
        (compressed(1, true, b"x"), protocol("a reserved bit is set")),
        (vec![0xa1, 0], protocol("a reserved bit is set")),
        (frame(9, false, b""), protocol("a control frame in fragments")),
        (frame(9, true, &[0; 126]), protocol("a control frame that is too long")),
        (frame(0, true, b"x"), protocol("a fragment without a beginning")),
        ([frame(1, false, b"x"), frame(2, true, b"y")].concat(), protocol("a new message within another")),
        (frame(8, true, &[3]), protocol("a close frame with half a code")),
        (frame(8, true, &1005_u16.to_be_bytes()), Violation::CloseCode { code: 1005, reason: "".into() }),
        (frame(8, true, b"\x03\xeestale"), Violation::CloseCode { code: 1006, reason: "stale".into() }),
        (frame(8, true, b"\x03\xf7\xc3\xa9"), Violation::CloseCode { code: 1015, reason: "é".into() }),
        (frame(8, true, &999_u16.to_be_bytes()), Violation::CloseCode { code: 999, reason: "".into() }),
        (
            frame(8, true, b"\x27\x11token expired"),
            Violation::CloseCode { code: 10_001, reason: "token expired".into() },
        ),
        (frame(8, true, b"\x27\x11\xff"), Violation::NotUtf8),
        (frame(8, true, &[3, 0xe8, 0xff]), Violation::NotUtf8),
        (frame(1, true, &[0xff]), Violation::NotUtf8),
        (frame(1, true, &[0xc3]), Violation::NotUtf8),
        ([frame(1, false, &[0xc3]), frame(0, true, b"")].concat(), Violation::NotUtf8),
        (frame(2, true, &vec![0; MAX + 1]), Violation::TooBig),
        ([frame(2, false, &vec![0; MAX]), frame(0, true, b"x")].concat(), Violation::TooBig),
        // the length alone is enough
        (vec![0x82, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], Violation::TooBig),
        (
            vec![0x82, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            protocol("a length with its highest bit set"),
        ),
    ];
    for (bytes, expected) in cases {
        assert_eq!(plain(&bytes), (vec![], Some(expected)), "{:x?}", &bytes[..bytes.len().min(20)]);
    }
}

#[test]
fn text_that_goes_wrong_is_noticed_in_its_first_wrong_fragment() {
    let stream = [frame(1, false, b"good"), frame(0, false, &[0xff])].concat();
    assert_eq!(plain(&stream).1, Some(Violation::NotUtf8));
    let cut = [frame(1, false, &[0xf0, 0x9f]), frame(0, false, &[0x8c]), frame(0, true, &[0x8d])].concat();
    assert_eq!(plain(&cut).0, [Heard::Text("🌍".into())]);
}

#[test]
fn a_message_larger_than_the_buffer_is_put_together() {
    let large = "é".repeat(MAX / 2);
    let stream = [frame(1, true, large.as_bytes()), frame(1, true, b"next")].concat();
    for piece in [1000, 64 << 10, usize::MAX] {
        let mut inbound = Inbound::new(&[], MAX, None);
        let (heard, fault) = read(&stream, piece, &mut inbound);
        assert_eq!(fault, None);
        assert_eq!(heard, [Heard::Text(large.clone()), Heard::Text("next".into())]);
        assert!(inbound.whole.capacity() <= KEPT_BYTES, "its memory is given back");
    }
}

#[test]
fn a_message_in_parts_takes_no_more_memory_than_it_may_be_long() {
    for (first, rest) in [(MAX / 8 * 5, MAX / 8 * 3), (MAX, 0), (MAX - 1, 1), (10, MAX - 10)] {
        let stream = [frame(2, false, &vec![0; first]), frame(0, false, &vec![0; rest])].concat();
        let mut inbound = Inbound::new(&[], MAX, None);
        assert_eq!(read(&stream, 4096, &mut inbound), (vec![], None));
        let held = inbound.whole.capacity();
        assert!(held <= MAX, "{held} bytes for {first} and {rest}");
    }
}

#[test]
fn what_came_with_the_upgrade_is_read_first() {
    let bytes = [frame(1, true, b"first"), frame(1, true, b"second")].concat();
    let (with, rest) = bytes.split_at(9);
    let heard = read(rest, 1, &mut Inbound::new(with, MAX, None)).0;
    assert_eq!(heard, [Heard::Text("first".into()), Heard::Text("second".into())]);
}

#[test]
fn compressed_and_plain_messages_may_take_turns() {
    let deflated = deflate(b"compressed text, compressed text");
    let (one, two) = deflated.split_at(5);
    let stream = [
        compressed(1, true, &deflated),
        frame(1, true, b"plain"),
        compressed(2, false, one),
        frame(9, true, b""),
        frame(0, true, two),
        compressed(1, true, &[0]),
    ]
    .concat();
    for piece in [1, 7, usize::MAX] {
        let heard = read(&stream, piece, &mut Inbound::new(&[], MAX, Some(inflater())));
        let text = "compressed text, compressed text";
        let expected = [
            Heard::Text(text.into()),
            Heard::Text("plain".into()),
            Heard::Ping(vec![]),
            Heard::Binary(text.into()),
            Heard::Text(String::new()),
        ];
        assert_eq!(heard, (expected.to_vec(), None), "in pieces of {piece}");
    }
}

#[test]
fn faults_within_compressed_messages_are_named() {
    let cases = [
        (compressed(1, true, &[0xff; 9]), Violation::NotDeflate),
        (compressed(1, true, &deflate(&[0xff, 0xfe])), Violation::NotUtf8),
        (compressed(2, true, &deflate(&vec![0; MAX + 1])), Violation::TooBig),
        (
            [compressed(1, false, &[0]), compressed(0, true, &[])].concat(),
            Violation::Protocol("a reserved bit is set"),
        ),
        (compressed(9, true, &[]), Violation::Protocol("a reserved bit is set")),
        // no bound but this holds for the length of what is compressed
        (
            vec![0xc2, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            Violation::Protocol("a length with its highest bit set"),
        ),
        (
            vec![0xc2, 127, 0x80, 0, 0, 0, 0, 0, 0, 0],
            Violation::Protocol("a length with its highest bit set"),
        ),
    ];
    for (bytes, expected) in cases {
        let (heard, fault) = read(&bytes, usize::MAX, &mut Inbound::new(&[], MAX, Some(inflater())));
        assert_eq!((heard, fault), (vec![], Some(expected)));
    }
}

/// A message's payload as permessage-deflate has it, by way of a whole deflate stream.
fn deflate(message: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(message).unwrap();
    let mut bytes = encoder.finish().unwrap();
    bytes.push(0); // after a last block (RFC 7692, 7.2.3.4)
    bytes
}

/// A message, in fragments with pings between, and what is heard of it.
fn message() -> impl Strategy<Value = (Vec<u8>, Vec<Heard>)> {
    let payload = prop_oneof![
        "\\PC{0,300}".prop_map(|text| (1_u8, text.into_bytes())),
        proptest::collection::vec(any::<u8>(), 0..5_000).prop_map(|bytes| (2, bytes)),
    ];
    (payload, proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..4)).prop_map(
        |((opcode, payload), cuts)| {
            let mut cuts: Vec<_> =
                cuts.iter().map(|(cut, ping)| (cut.index(payload.len() + 1), *ping)).collect();
            cuts.sort_unstable();
            let (mut bytes, mut heard, mut start) = (Vec::new(), Vec::new(), 0);
            for (at, (end, ping)) in cuts.iter().enumerate() {
                bytes.extend(frame(if at == 0 { opcode } else { 0 }, false, &payload[start..*end]));
                if *ping {
                    bytes.extend(frame(9, true, &at.to_be_bytes()));
                    heard.push(Heard::Ping(at.to_be_bytes().to_vec()));
                }
                start = *end;
            }
            bytes.extend(frame(if cuts.is_empty() { opcode } else { 0 }, true, &payload[start..]));
            heard.push(match opcode {
                1 => Heard::Text(String::from_utf8(payload).unwrap()),
                _ => Heard::Binary(payload),
            });
            (bytes, heard)
        },
    )
}

/// Any frame, mostly a proper one.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop_oneof![
        6 => prop_oneof![Just(0_u8), Just(1), Just(2)],
        3 => prop_oneof![Just(8_u8), Just(9), Just(10)],
        1 => 0_u8..16,
    ];
    let odd = prop_oneof![30 => Just(0_u8), 1 => prop_oneof![Just(0x40_u8), Just(0x20), Just(0x10)]];
    let payload = prop_oneof![
        4 => "[a-zé🌍]{0,12}".prop_map(String::into_bytes),
        2 => ("[a-zé🌍]{1,12}", 0_usize..30)
            .prop_map(|(text, at)| text.as_bytes()[at % text.len()..].to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..200),
        2 => (999_u16..1016, "[a-zé]{0,5}")
            .prop_map(|(code, reason)| [&code.to_be_bytes(), reason.as_bytes()].concat()),
        1 => (any::<u16>(), 0_usize..3).prop_map(|(code, length)| code.to_be_bytes()[..length.min(2)].to_vec()),
        1 => (290_usize..310).prop_map(|length| vec![b'x'; length]),
    ];
    (opcode, prop::bool::weighted(0.7), odd, payload, prop::bool::weighted(0.03)).prop_map(
        |(opcode, fin, odd, payload, masked)| {
            let mut bytes = vec![u8::from(fin) << 7 | odd | opcode];
            let mask = u8::from(masked) << 7;
            match payload.len() {
                length @ 0..126 => bytes.push(mask | length as u8),
                length => {
                    bytes.push(mask | 126);
                    bytes.extend((length as u16).to_be_bytes());
                }
            }
            bytes.extend(&[0; 4][..if masked { 4 } else { 0 }]);
            bytes.extend(payload);
            bytes
        },
    )
}

#[test]
fn empty_fragments_come_in_turns() {
    let stream =
        [frame(1, false, b"a"), frame(0, false, b"").repeat(5 * TURN_FRAMES), frame(0, true, b"b")].concat();
    let mut inbound = Inbound::new(&stream, MAX, None);
    for _ in 0..5 {
        inbound.begin_turn();
        assert!(matches!(inbound.next(), Ok(Decoded::Again)));
    }
    inbound.begin_turn();
    assert!(matches!(inbound.next(), Ok(Decoded::Incoming(Incoming::Text("ab")))));
}

proptest! {
    #[test]
    fn it_reads_and_refuses_what_the_library_does(
        frames in proptest::collection::vec(any_frame(), 1..12),
        piece in prop_oneof![1_usize..40, Just(usize::MAX)],
    ) {
        const BOUND: usize = 300;
        let stream = frames.concat();
        let (heard, fault) = read(&stream, piece, &mut Inbound::new(&[], BOUND, None));
        prop_assert_eq!(without_1014(heard, fault.is_some()), library(&stream, BOUND), "{:?}", fault);
    }
}

proptest! {
    #[test]
    fn however_a_stream_is_cut_it_says_the_same(
        messages in proptest::collection::vec(message(), 0..8),
        piece in prop_oneof![1_usize..200, Just(usize::MAX)],
    ) {
        let stream: Vec<u8> = messages.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let expected: Vec<Heard> = messages.into_iter().flat_map(|(_, heard)| heard).collect();
        prop_assert_eq!(read(&stream, piece, &mut Inbound::new(&[], MAX, None)), (expected, None));
    }

    /// Compressed, in fragments with pings between, and each as long as a message may be.
    #[test]
    fn compressed_messages_say_the_same_up_to_the_bound(
        texts in proptest::collection::vec("[a-cé]{0,200}", 1..6),
        takeover in any::<bool>(),
        cut in 1_usize..40,
        piece in prop_oneof![1_usize..60, Just(usize::MAX)],
    ) {
        let wanted = Compression {
            server_context_takeover: takeover,
            client_context_takeover: takeover,
            ..Compression::default()
        };
        let answer = if takeover { "" } else { "; server_no_context_takeover" };
        let agreed = agree(&wanted, &format!("permessage-deflate{answer}")).unwrap();
        let mut deflater = agreed.deflater().unwrap();
        let (mut stream, mut expected) = (Vec::new(), Vec::new());
        for text in &texts {
            if text.is_empty() {
                stream.extend(frame(1, true, b""));
                expected.push(Heard::Text(String::new()));
                continue;
            }
            let deflated = deflater.deflate(text.as_bytes(), true);
            let pieces: Vec<_> = deflated.chunks(cut).collect();
            for (at, piece) in pieces.iter().enumerate() {
                let last = at + 1 == pieces.len();
                stream.extend(if at == 0 { compressed(1, last, piece) } else { frame(0, last, piece) });
                if !last {
                    stream.extend(frame(9, true, b"!"));
                    expected.push(Heard::Ping(b"!".to_vec()));
                }
            }
            expected.push(Heard::Text(text.clone()));
        }
        let longest = texts.iter().map(String::len).max().unwrap();
        let mut inbound = Inbound::new(&[], longest, Some(agreed.inflater()));
        prop_assert_eq!(read(&stream, piece, &mut inbound), (expected, None));
        if let Some(one_less) = longest.checked_sub(1) {
            let mut inbound = Inbound::new(&[], one_less, Some(agreed.inflater()));
            prop_assert_eq!(read(&stream, piece, &mut inbound).1, Some(Violation::TooBig));
        }
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), deflate in any::<bool>()) {
        let _ = read(&bytes, 7, &mut Inbound::new(&[], 100, deflate.then(inflater)));
    }
}
