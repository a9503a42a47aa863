//! The load: a WebSocket server for one bridge, that says what it is told to on its standard input.
//!
//! `warm` sends markers until another command comes, so that everyone can see that everyone is
//! connected; `go COUNT SIZE RATE` sends that many numbered messages, RATE a second or, with 0, as
//! fast as they are taken; `ping` says `pong` once the bridge has answered a ping, and so has read all before it.

use std::{
    io::{BufRead, Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use tokio_tungstenite::tungstenite;

use crate::line;

/// Written at once when it goes as fast as it can.
const BATCH: usize = 64 << 10;

pub(crate) fn run(topics: bool) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port on the loopback");
    println!("port {}", listener.local_addr().expect("its address").port());
    let (commands, inbox) = mpsc::channel();
    thread::spawn(move || {
        for command in std::io::stdin().lock().lines().map_while(Result::ok) {
            if commands.send(command).is_err() {
                return;
            }
        }
    });
    let (stream, _) = listener.accept().expect("the bridge");
    stream.set_nodelay(true).expect("TCP_NODELAY");
    let socket = tungstenite::accept(stream).expect("a WebSocket handshake");
    let mut stream = socket.get_ref().try_clone().expect("a second handle");
    let mut drain = socket.get_ref().try_clone().expect("a third handle");
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = drain.read(&mut buffer) {
            if buffer[..length].windows(2).any(|head| head == [0x8a, 0x80]) {
                println!("pong");
            }
        }
    });
    println!("connected");
    let mut command = inbox.recv().expect("a command");
    loop {
        let words: Vec<&str> = command.split(' ').collect();
        let number = |index: usize| words[index].parse::<u64>().expect("a number");
        match words[0] {
            "warm" => {
                command = loop {
                    stream.write_all(&frame(line::MARKER, 64, topics)).expect("the bridge takes it");
                    match inbox.recv_timeout(Duration::from_millis(5)) {
                        Ok(command) => break command,
                        Err(mpsc::RecvTimeoutError::Timeout) => {}
                        Err(mpsc::RecvTimeoutError::Disconnected) => return,
                    }
                };
                continue;
            }
            "quiet" => {}
            "go" => {
                let (count, size, rate) = (number(1), number(2) as usize, number(3));
                if rate == 0 {
                    flood(&mut stream, count, size, topics)
                } else {
                    pace(&mut stream, count, size, rate, topics)
                }
                println!("sent");
            }
            "ping" => stream.write_all(&[0x89, 0]).expect("the bridge takes it"),
            other => panic!("{other:?} is no command"),
        }
        match inbox.recv() {
            Ok(next) => command = next,
            Err(_) => return,
        }
    }
}

fn flood(stream: &mut TcpStream, count: u64, size: usize, topics: bool) {
    let mut batch = Vec::with_capacity(BATCH + size + 16);
    for number in 0..count {
        batch.extend_from_slice(&frame(number, size, topics));
        if batch.len() >= BATCH {
            stream.write_all(&batch).expect("the bridge takes it");
            batch.clear();
        }
    }
    stream.write_all(&batch).expect("the bridge takes it");
}

fn pace(stream: &mut TcpStream, count: u64, size: usize, rate: u64, topics: bool) {
    let start = Instant::now();
    for number in 0..count {
        let due = start + Duration::from_nanos(number * 1_000_000_000 / rate);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        stream.write_all(&frame(number, size, topics)).expect("the bridge takes it");
    }
}

/// A text frame from a server: unmasked, in one piece (RFC 6455, 5.2).
fn frame(number: u64, size: usize, topics: bool) -> Vec<u8> {
    let payload = line::payload(number, size, topics);
    let mut frame = Vec::with_capacity(payload.len() + 10);
    frame.push(0x81);
    match payload.len() {
        length @ 0..126 => frame.push(length as u8),
        length @ 126..0x1_0000 => {
            frame.push(126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&payload);
    frame
}
