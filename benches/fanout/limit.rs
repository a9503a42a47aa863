//! The limit: what moving the bytes costs at least. Reads frames in batches and writes their
//! payloads to every client; no JSON, no protocol, no history, no clients that come or go. It waits
//! for the slowest, as the other bridges do here.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
};

use rustix::event::{PollFd, PollFlags, poll};

/// Read at once.
const BATCH: usize = 256 << 10;

pub(crate) fn run(port: u16, socket: &Path, clients: usize) {
    let mut upstream = TcpStream::connect(("127.0.0.1", port)).expect("the server");
    let request = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    upstream.write_all(request.as_bytes()).expect("the request");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        upstream.read_exact(&mut byte).expect("the answer");
        answer.push(byte[0]);
    }
    let listener = UnixListener::bind(socket).expect("the socket");
    let clients: Vec<UnixStream> =
        listener.incoming().take(clients).map(|client| client.expect("a client")).collect();
    clients.iter().for_each(|client| client.set_nonblocking(true).expect("non-blocking"));

    let mut input = vec![0; BATCH + (64 << 10)];
    let (mut filled, mut lines) = (0, Vec::with_capacity(BATCH));
    loop {
        match upstream.read(&mut input[filled..]) {
            Ok(0) | Err(_) => return,
            Ok(length) => filled += length,
        }
        let used = unframe(&input[..filled], &mut lines);
        input.copy_within(used..filled, 0);
        filled -= used;
        for client in &clients {
            write_all(client, &lines);
        }
        lines.clear();
    }
}

/// Appends the payload of each whole frame and a line break, and returns how much of `input` they took.
fn unframe(input: &[u8], lines: &mut Vec<u8>) -> usize {
    let mut at = 0;
    while let Some(head) = input.get(at..at + 2) {
        let (start, length) = match head[1] {
            126 => match input.get(at + 2..at + 4) {
                Some(bytes) => (at + 4, usize::from(u16::from_be_bytes([bytes[0], bytes[1]]))),
                None => break,
            },
            127 => match input.get(at + 2..at + 10) {
                Some(bytes) => (at + 10, u64::from_be_bytes(bytes.try_into().expect("8 bytes")) as usize),
                None => break,
            },
            short => (at + 2, usize::from(short)),
        };
        let Some(payload) = input.get(start..start + length) else { break };
        lines.extend_from_slice(payload);
        lines.push(b'\n');
        at = start + length;
    }
    at
}

fn write_all(mut client: &UnixStream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match client.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let _ = poll(&mut [PollFd::new(client, PollFlags::OUT)], None);
            }
            Err(_) => return,
        }
    }
}
