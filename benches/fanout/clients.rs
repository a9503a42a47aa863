//! The clients: K connections in one process, that read all they get and look at each line.
//!
//! Says `first` when one is connected, and waits for a line; `connected` when all are, `warm` when each has seen a marker, and at the end one
//! line of JSON with what was seen.

use std::{
    io::{BufRead, ErrorKind, Read},
    os::unix::net::UnixStream,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rustix::event::epoll;
use serde_json::json;

use crate::line;

/// Without any news for so long, what is missing is lost.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Options {
    pub(crate) clients: usize,
    /// Messages that each should get.
    pub(crate) messages: u64,
    /// Look at the time of each line.
    pub(crate) latency: bool,
    /// The first client stops reading once it is warm.
    pub(crate) stopped: bool,
}

struct Client {
    stream: UnixStream,
    /// The beginning of a line whose end hasn't come.
    rest: Vec<u8>,
    warm: bool,
    next: u64,
    received: u64,
    lost: u64,
    doubled: u64,
    reordered: u64,
    last: Instant,
    longest_pause: Duration,
}

pub(crate) fn run(socket: &Path, options: &Options) {
    // some bridges call the server when their first client comes, and again for each that comes meanwhile
    let mut clients = vec![Client::connect(socket)];
    println!("first");
    let _ = std::io::stdin().lock().lines().next();
    let more = Instant::now();
    clients.extend((1..options.clients).map(|_| Client::connect(socket)));
    let connected_in = more.elapsed();
    let watch = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
    for (index, client) in clients.iter().enumerate() {
        epoll::add(&watch, &client.stream, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)
            .expect("epoll");
    }
    println!("connected {}", connected_in.as_micros());
    let stopped = options.stopped.then_some(0);
    let mut scratch = vec![0; 256 << 10];
    let mut latencies: Vec<u32> = Vec::new();
    let (mut cold, mut done) = (options.clients, 0);
    let mut wanted = options.clients - usize::from(options.stopped);
    let mut events = Vec::with_capacity(1024);
    let (mut first, mut last) = (None, Instant::now());
    if options.messages == 0 {
        wanted = 0;
    }
    while done < wanted || cold > 0 {
        let timeout = rustix::event::Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
        events.clear();
        epoll::wait(&watch, rustix::buffer::spare_capacity(&mut events), Some(&timeout)).expect("epoll");
        if events.is_empty() {
            break;
        }
        for event in &events {
            let index = event.data.u64() as usize;
            if Some(index) == stopped && clients[index].warm {
                epoll::delete(&watch, &clients[index].stream).expect("epoll");
                continue;
            }
            let client = &mut clients[index];
            let (was_warm, was_done) = (client.warm, client.next >= options.messages);
            if !client.read(&mut scratch, options.latency.then_some(&mut latencies)) {
                epoll::delete(&watch, &client.stream).expect("epoll");
                wanted = wanted.saturating_sub(1);
                continue;
            }
            if client.warm && !was_warm {
                cold -= 1;
                if cold == 0 {
                    println!("warm {}", more.elapsed().as_micros());
                    // the counting begins when the controller has heard of it
                }
            }
            if client.received > 0 {
                first.get_or_insert_with(Instant::now);
                last = Instant::now();
            }
            if client.next >= options.messages && !was_done && options.messages > 0 {
                done += 1;
            }
        }
    }
    let readers: Vec<&Client> =
        clients.iter().enumerate().filter(|(index, _)| Some(*index) != stopped).map(|(_, c)| c).collect();
    let sum = |of: fn(&Client) -> u64| readers.iter().map(|client| of(client)).sum::<u64>();
    let missing: u64 = readers.iter().map(|client| options.messages.saturating_sub(client.next)).sum();
    latencies.sort_unstable();
    let percentile = |part: f64| {
        latencies
            .get(((latencies.len() as f64 * part) as usize).min(latencies.len().saturating_sub(1)))
            .copied()
            .unwrap_or(0)
    };
    println!(
        "{}",
        json!({
            "received": sum(|client| client.received),
            "lost": sum(|client| client.lost) + missing,
            "doubled": sum(|client| client.doubled),
            "reordered": sum(|client| client.reordered),
            "seconds": first.map_or(0.0, |first| (last - first).as_secs_f64()),
            "longest_pause_ms": readers.iter().map(|client| client.longest_pause).max().unwrap_or_default().as_secs_f64() * 1e3,
            "p50_us": f64::from(percentile(0.50)) / 1e3,
            "p99_us": f64::from(percentile(0.99)) / 1e3,
            "p999_us": f64::from(percentile(0.999)) / 1e3,
        })
    );
    // the connections stay until the controller has looked at the bridge
    let _ = std::io::stdin().lock().lines().next();
}

impl Client {
    fn connect(socket: &Path) -> Client {
        let end = Instant::now() + PATIENCE;
        let stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                // a listener whose queue is full, or not there yet
                Err(_) if Instant::now() < end => thread::yield_now(),
                Err(error) => panic!("{}: {error}", socket.display()),
            }
        };
        stream.set_nonblocking(true).expect("non-blocking");
        Client {
            stream,
            rest: Vec::new(),
            warm: false,
            next: 0,
            received: 0,
            lost: 0,
            doubled: 0,
            reordered: 0,
            last: Instant::now(),
            longest_pause: Duration::ZERO,
        }
    }

    /// Reads once. False at the end of the connection.
    fn read(&mut self, scratch: &mut [u8], mut latencies: Option<&mut Vec<u32>>) -> bool {
        let length = match self.stream.read(scratch) {
            Ok(0) => return false,
            Ok(length) => length,
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        };
        let mut bytes = &scratch[..length];
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let found = if self.rest.is_empty() {
                line::read(&bytes[..end])
            } else {
                self.rest.extend_from_slice(&bytes[..end]);
                let found = line::read(&self.rest);
                self.rest.clear();
                found
            };
            bytes = &bytes[end + 1..];
            match found {
                Some((line::MARKER, _)) => self.warm = true,
                Some((number, time)) => {
                    self.count(number);
                    if let Some(latencies) = &mut latencies {
                        latencies.push(u32::try_from(line::age_ns(time)).unwrap_or(u32::MAX));
                    }
                }
                None => {}
            }
        }
        self.rest.extend_from_slice(bytes);
        true
    }

    fn count(&mut self, number: u64) {
        let now = Instant::now();
        if self.received > 0 {
            self.longest_pause = self.longest_pause.max(now - self.last);
        }
        self.last = now;
        self.received += 1;
        if number == self.next {
            self.next += 1;
        } else if number > self.next {
            self.lost += number - self.next;
            self.next = number + 1;
        } else if number + 1 == self.next {
            self.doubled += 1;
        } else {
            self.reordered += 1;
        }
    }
}
