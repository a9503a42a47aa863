//! A connection at one end of a pipe, and bytes at the other.

use std::{cell::RefCell, collections::VecDeque, future::poll_fn, time::Duration};

use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::{
    codec::outbound::{FRAGMENT_BYTES, MAX_PONGS},
    *,
};
use crate::{
    hub::{Payload, Permit, Ticket},
    upstream::wire::Metered,
};

/// The one who drives the connection: what it hears and has to send.
#[derive(Default)]
struct Driver {
    heard: Vec<String>,
    sends: VecDeque<Send>,
    /// So many bytes come of each frame.
    beside: usize,
}

impl Exchange for Driver {
    fn received(&mut self, frame: Frame<'_>) {
        self.heard.push(match frame {
            Frame::Data(Data::Text(text)) => text.to_owned(),
            Frame::Data(Data::Binary(bytes)) => format!("{} bytes", bytes.len()),
            Frame::Ping => "ping".to_owned(),
            Frame::Pong(_) => "pong".to_owned(),
        });
    }

    fn beside(&mut self) -> usize {
        self.beside
    }

    fn next_send(&mut self) -> Option<Send> {
        self.sends.pop_front()
    }

    fn written(&mut self, _: usize, _: usize) {}
}

/// A connection whose pipe holds so many bytes each way.
fn connection(pipe: usize) -> (Connection, DuplexStream) {
    let (near, far) = duplex(pipe);
    let (near, meter) = Metered::new(near, Vec::new());
    let wire = Wire { stream: Box::new(near), meter };
    (Connection::new(wire, Inbound::new(&[], 1 << 20, None), None, 1 << 20), far)
}

/// A send, and where its fate is told.
fn send(payload: Payload) -> (Send, Rc<RefCell<Option<Fate>>>) {
    let fate = Rc::new(RefCell::new(None));
    let told = Rc::clone(&fate);
    let ticket = Ticket::new(Permit::free(), move |fate| *told.borrow_mut() = Some(fate));
    (Send::new(payload, ticket, 0), fate)
}

/// Polls once, as the link does.
fn poll(connection: &mut Connection, driver: &mut Driver) -> Option<Batch> {
    poll_fn(|cx| connection.poll(cx, Instant::now(), Listen::Yes, driver)).now_or_never()
}

/// Takes what there is at the other end.
fn taken(far: &mut DuplexStream) -> Vec<u8> {
    let mut bytes = vec![0; 1 << 20];
    let length = far.read(&mut bytes).now_or_never().map_or(0, |read| read.unwrap());
    bytes.truncate(length);
    bytes
}

/// The opcodes of a client's frames, the last one perhaps not whole.
fn opcodes(mut bytes: &[u8]) -> Vec<u8> {
    let mut opcodes = Vec::new();
    while let [first, second, rest @ ..] = bytes {
        opcodes.push(first & 15);
        let (length, extra) = match second & 127 {
            126 => (u64::from(u16::from_be_bytes([rest[0], rest[1]])), 2),
            127 => (u64::from_be_bytes(rest[..8].try_into().unwrap()), 8),
            length => (u64::from(length), 0),
        };
        bytes = rest.get(extra + 4 + length as usize..).unwrap_or_default();
    }
    opcodes
}

#[tokio::test(flavor = "local")]
async fn a_close_between_our_fragments_is_answered_and_ends_the_message() {
    let (mut connection, mut far) = connection(64 << 10);
    let (large, fate) = send(Payload::Binary(vec![7; 4 * FRAGMENT_BYTES]));
    let (next, next_fate) = send(Payload::Text("next".into()));
    let mut driver = Driver { sends: [large, next].into(), ..Driver::default() };
    assert!(poll(&mut connection, &mut driver).is_none());
    far.write_all(&[0x88, 2, 3, 0xe8]).await.unwrap();
    let batch = poll(&mut connection, &mut driver).unwrap();
    assert!(matches!(batch.end.as_deref(), Some(ConnectionEnd::Closing(_))), "{batch:?}");
    let mut bytes = Vec::new();
    loop {
        let more = taken(&mut far);
        if more.is_empty() {
            break;
        }
        bytes.extend(more);
        assert!(poll(&mut connection, &mut driver).is_none_or(|batch| batch.end.is_none()));
    }
    assert_eq!(opcodes(&bytes), [2, 8], "one fragment, and the answer");
    drop(connection);
    assert_eq!(*fate.borrow(), Some(Fate::Unknown));
    assert_eq!((&*next_fate.borrow(), driver.sends.len()), (&None, 1), "it was never taken");
}

#[tokio::test(flavor = "local")]
async fn nothing_follows_our_close_but_what_comes_before_the_answer_is_heard() {
    let (mut connection, mut far) = connection(64 << 10);
    let mut driver = Driver::default();
    connection.close(1000, "bye");
    connection.ping([0; 8]);
    assert!(poll(&mut connection, &mut driver).is_none());
    far.write_all(b"\x81\x02hi\x89\x00\x81\x03you\x88\x02\x03\xe8").await.unwrap();
    let batch = poll(&mut connection, &mut driver).unwrap();
    assert!(matches!(batch.end.as_deref(), Some(ConnectionEnd::Closing(_))), "{batch:?}");
    assert_eq!(driver.heard, ["hi", "you"]);
    assert!(poll(&mut connection, &mut driver).is_none());
    assert_eq!(opcodes(&taken(&mut far)), [9, 8]);
}

#[tokio::test(flavor = "local")]
async fn a_server_that_pings_without_reading_is_not_read_until_it_reads() {
    let (mut connection, mut far) = connection(4096);
    let mut driver = Driver::default();
    let ping = [&[0x89, 125][..], &[1; 125]].concat();
    let (mut sent, mut quiet) = (0, 0);
    while quiet < 3 {
        match far.write(&ping[sent % ping.len()..]).now_or_never() {
            Some(written) => (sent, quiet) = (sent + written.unwrap(), 0),
            None => quiet += 1,
        }
        let _ = poll(&mut connection, &mut driver);
        tokio::task::yield_now().await; // a task may do so much and no more in one go
    }
    // and those whose pongs the pipe took
    let unanswered = driver.heard.len() - 4096 / (ping.len() + 4);
    assert!((MAX_PONGS / 2..=MAX_PONGS).contains(&unanswered), "{unanswered}");
    // it reads: the rest is answered too, without anything else to wake the connection
    let task = async {
        while driver.heard.len() * ping.len() + ping.len() <= sent {
            poll_fn(|cx| connection.poll(cx, Instant::now(), Listen::Yes, &mut driver)).await;
        }
    };
    let reads = async {
        let mut scratch = [0; 1024];
        while far.read(&mut scratch).await.unwrap() > 0 {}
    };
    tokio::select! {
        () = task => {}
        () = reads => {}
        () = tokio::time::sleep(Duration::from_secs(20)) => panic!("nobody woke the connection"),
    }
}

#[tokio::test(flavor = "local")]
async fn what_is_left_of_a_full_batch_is_ready_at_once() {
    let (mut connection, mut far) = connection(1 << 20);
    let mut driver = Driver::default();
    far.write_all(&b"\x81\x01x".repeat(2 * BATCH_FRAMES + 1)).await.unwrap();
    for (full, heard) in [(true, BATCH_FRAMES), (true, 2 * BATCH_FRAMES), (false, 2 * BATCH_FRAMES + 1)] {
        let batch = poll(&mut connection, &mut driver).unwrap();
        assert_eq!((batch.full, driver.heard.len()), (full, heard));
    }
    assert!(poll(&mut connection, &mut driver).is_none());
}

#[tokio::test(flavor = "local")]
async fn a_long_message_out_of_few_bytes_comes_in_turns() {
    let max = 15 << 20;
    let agreed = codec::deflate::agree(&crate::config::Compression::default(), "permessage-deflate").unwrap();
    let (near, mut far) = duplex(1 << 20);
    let (near, meter) = Metered::new(near, Vec::new());
    let wire = Wire { stream: Box::new(near), meter };
    let inbound = Inbound::new(&[], max, Some(agreed.inflater()));
    let mut connection = Connection::new(wire, inbound, None, max);
    let deflated = agreed.deflater().unwrap().deflate(&vec![1; max], true);
    let length = u16::try_from(deflated.len()).unwrap().to_be_bytes();
    let mut driver = Driver::default();
    far.write_all(&[&[0xc2, 126], &length[..], &deflated, b"\x89\x00"].concat()).await.unwrap();
    let mut turns = 0;
    while driver.heard.is_empty() {
        let batch = poll(&mut connection, &mut driver).expect("the rest is ready at once");
        assert!(batch.inbound && batch.full && batch.heavy && batch.end.is_none());
        turns += 1;
    }
    assert!((15..=61).contains(&turns), "{turns} turns");
    let batch = poll(&mut connection, &mut driver).unwrap();
    assert_eq!((driver.heard, batch.heavy), (vec![format!("{max} bytes"), "ping".to_owned()], false));
}

#[tokio::test(flavor = "local")]
async fn what_is_no_message_gives_others_their_turn_too() {
    for (stream, heard) in [
        (b"\x8a\x00".repeat(3 * BATCH_FRAMES), BATCH_FRAMES),
        ([&b"\x01\x01x"[..], &b"\x00\x00".repeat(3 * BATCH_FRAMES)].concat(), 0),
    ] {
        let (mut connection, mut far) = connection(1 << 20);
        let mut driver = Driver::default();
        far.write_all(&stream).await.unwrap();
        let batch = poll(&mut connection, &mut driver).unwrap();
        assert!(batch.full && batch.heavy, "{batch:?}");
        assert_eq!(driver.heard.len(), heard);
    }
}

#[tokio::test(flavor = "local")]
async fn a_long_message_is_compressed_in_turns() {
    let agreed = codec::deflate::agree(&crate::config::Compression::default(), "permessage-deflate").unwrap();
    let (near, mut far) = duplex(16 << 20);
    let (near, meter) = Metered::new(near, Vec::new());
    let wire = Wire { stream: Box::new(near), meter };
    let mut connection = Connection::new(wire, Inbound::new(&[], 1 << 20, None), agreed.deflater(), 1 << 20);
    let mut random = fastrand::Rng::with_seed(7);
    let text: String = (0..1 << 20).map(|_| char::from(random.u8(b'a'..b'e'))).collect();
    let (zeros, text_bytes) = (vec![0; 1 << 20], text.clone().into_bytes());
    let (first, first_fate) = send(Payload::Binary(zeros.clone()));
    let (second, second_fate) = send(Payload::Text(text));
    let mut driver = Driver { sends: [first, second].into(), ..Driver::default() };
    let (mut bytes, mut turns) = (Vec::new(), 0);
    while second_fate.borrow().is_none() {
        assert!(poll(&mut connection, &mut driver).is_none());
        loop {
            let more = taken(&mut far);
            if more.is_empty() {
                break;
            }
            bytes.extend(more);
        }
        turns += 1;
    }
    assert!((8..=10).contains(&turns), "{turns} turns for 8 pieces");
    assert_eq!((*first_fate.borrow(), *second_fate.borrow()), (Some(Fate::Written), Some(Fate::Written)));
    // masked as a client's are; a server reads them like this
    let (mut payloads, mut rest, mut inflater) = (vec![Vec::new()], &bytes[..], agreed.inflater());
    while let [first, second, more @ ..] = rest {
        let (length, extra) = match second & 127 {
            126 => (usize::from(u16::from_be_bytes([more[0], more[1]])), 2),
            127 => (u64::from_be_bytes(more[..8].try_into().unwrap()) as usize, 8),
            length => (usize::from(length), 0),
        };
        let (mask, payload) = (&more[extra..extra + 4], &more[extra + 4..][..length]);
        let payload: Vec<u8> =
            payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        let whole = payloads.last_mut().unwrap();
        assert_eq!(
            first & 0x40 != 0,
            first & 15 != 0,
            "only a message's first frame says that it is compressed"
        );
        inflater.inflate(&mut &payload[..], whole, 16 << 20, usize::MAX).unwrap();
        if first & 0x80 != 0 {
            inflater.finish(whole, 16 << 20, usize::MAX).unwrap();
            payloads.push(Vec::new());
        }
        rest = &more[extra + 4 + length..];
    }
    assert!(payloads == [zeros, text_bytes, Vec::new()], "what was sent is what comes");
}

#[tokio::test]
async fn a_unit_that_is_cut_short_has_one_fate() {
    let (mut connection, mut far) = connection(4000);
    let (first, fate) = send(Payload::Text("x".repeat(3000)));
    let unit = Send { rest: vec![Payload::Text("y".repeat(3000)); 2], ..first };
    let mut driver = Driver { sends: [unit].into(), ..Driver::default() };
    poll(&mut connection, &mut driver);
    assert!(taken(&mut far).len() > 3000, "its first message is out");
    assert_eq!(*fate.borrow(), None, "and tells nothing of the others");
    drop(connection);
    assert_eq!(*fate.borrow(), Some(Fate::Unknown));
}

#[tokio::test(flavor = "local")]
async fn what_comes_of_messages_beside_their_lines_counts_in_a_batch() {
    let (mut connection, mut far) = connection(64 << 10);
    for (beside, heard) in [(0, 100), (BATCH_BYTES / 4, 4)] {
        let mut driver = Driver { beside, ..Driver::default() };
        far.write_all(&[0x81, 1, b'x'].repeat(100)).await.unwrap();
        let batch = poll(&mut connection, &mut driver).unwrap();
        assert_eq!((driver.heard.len(), batch.full), (heard, beside > 0));
    }
}
