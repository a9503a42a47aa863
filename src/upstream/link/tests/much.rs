//! A few bytes that become very much: others have their turns meanwhile.

use flate2::{Compress, FlushCompress};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::*;

/// What one message inflates to.
const SIZE: usize = 2 << 20;
const MESSAGES: u64 = 4;
/// No more may be inflated between two turns of the others: what one turn takes, and the last piece of it.
const TURN_BYTES: usize = 1 << 20;

/// A text of control characters, which is six times as long in its line, as a server's compressed frame.
fn frame() -> Vec<u8> {
    let mut deflated = Vec::with_capacity(64 << 10);
    Compress::new(flate2::Compression::fast(), false)
        .compress_vec(&vec![1; SIZE], &mut deflated, FlushCompress::Sync)
        .unwrap();
    let deflated = deflated.strip_suffix(&[0, 0, 0xff, 0xff]).expect("all of it has room");
    let length = u16::try_from(deflated.len()).unwrap().to_be_bytes();
    [&[0xc1, 126], &length[..], deflated].concat()
}

/// Upgrades the connection, with compression.
async fn upgrade(stream: &mut DuplexStream) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(soon("a request", stream.read_u8()).await.unwrap());
    }
    let request = String::from_utf8(request).unwrap();
    let is_key = |line: &&str| line.to_ascii_lowercase().starts_with("sec-websocket-key: ");
    let key = request.lines().find(is_key).unwrap().split_once(": ").unwrap().1;
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
        derive_accept_key(key.as_bytes())
    );
    stream.write_all(answer.as_bytes()).await.unwrap();
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn messages_that_become_much_leave_others_their_turns() {
    let compressed = with(|settings| {
        settings.upstream.compression = Some(config::Compression::default());
        settings.upstream.max_message = SIZE;
    });
    let mut rig = Rig::with_buffer(compressed, 1 << 20);
    let mut stream = rig.stream().await;
    upgrade(&mut stream).await;
    rig.state("up").await;
    // all of it lies there at once, so that nothing but the link's own yielding lets anybody else in
    stream.write_all(&frame().repeat(MESSAGES as usize)).await.unwrap();
    let (mut turns, mut received) = (0, 0);
    while received < MESSAGES {
        tokio::task::yield_now().await;
        let now = rig.hub.counters().traffic().received;
        assert!(now - received <= 1, "{} messages in one go", now - received);
        (turns, received) = (turns + 1, now);
        assert!(turns < 10_000, "only {received} messages came");
    }
    let least = MESSAGES as usize * SIZE / TURN_BYTES;
    assert!(turns >= least, "{turns} turns, where at least {least} are the others'");
}
