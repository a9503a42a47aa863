//! The clients: K connections in one process, that read all they get and look at each line.
//!
//! Says `first` when one is connected, and waits for a line; `connected` when all are, `warm` when each has seen a marker, and at the end one
//! line of JSON with what was seen.
//!
//! They are watched by one thread, as a program with many connections does it, or read by one each, as programs with
//! one do: then each is woken for itself.

use std::{
    io::{BufRead, ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::event::epoll;
use serde_json::json;

use crate::{line, measure};

/// How often they look who look of themselves.
const TICK: Duration = Duration::from_millis(5);

/// Without any news for so long, what is missing is lost.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Options {
    pub(crate) clients: usize,
    /// Messages that are sent; those that narrow get a hundredth.
    pub(crate) messages: u64,
    /// Look at the time of each line.
    pub(crate) latency: bool,
    /// The first client stops reading once it is warm.
    pub(crate) stopped: bool,
    pub(crate) wish: Wish,
    /// Each has a thread of its own.
    pub(crate) threads: bool,
    /// Once all are warm, they look every 5 ms instead of being woken by what comes.
    pub(crate) ticks: bool,
}

/// What clients want.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    All,
    /// One topic of a hundred, by its name: as many selections as topics.
    Name,
    /// The same by patterns, of which there are ten for each topic.
    Pattern,
}

impl Wish {
    const NAMES: [(Wish, &'static str); 3] =
        [(Wish::All, "all"), (Wish::Name, "name"), (Wish::Pattern, "pattern")];

    pub(crate) fn name(self) -> &'static str {
        Wish::NAMES.iter().find(|(wish, _)| *wish == self).expect("all have one").1
    }

    pub(crate) fn named(name: &str) -> Wish {
        Wish::NAMES.iter().find(|(_, of)| *of == name).expect("the name of a wish").0
    }

    /// Of so many messages, a client wants one.
    pub(crate) fn one_in(self) -> u64 {
        if self == Wish::All { 1 } else { line::TOPICS }
    }
}

struct Client {
    stream: UnixStream,
    /// The beginning of a line whose end hasn't come.
    rest: Vec<u8>,
    /// It has been told that it gets what it wants.
    attached: bool,
    warm: bool,
    /// It wants one message of so many, and of those the one at this place.
    one_in: u64,
    place: u64,
    /// The next of those that it wants.
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
    let mut clients = vec![Client::connect(socket, options.wish, 0)];
    println!("first");
    let _ = std::io::stdin().lock().lines().next();
    let more = Instant::now();
    clients.extend((1..options.clients).map(|number| Client::connect(socket, options.wish, number as u64)));
    println!("connected {}", more.elapsed().as_micros());
    let (seconds, mut latencies, cpu_us) = match options.threads {
        true => read_each(&mut clients, options, more),
        false => read_all(&mut clients, options, more),
    };
    report(&clients, options, seconds, &mut latencies, cpu_us);
    // the connections stay until the controller has looked at the bridge
    let _ = std::io::stdin().lock().lines().next();
}

/// One thread reads from all.
fn read_all(clients: &mut [Client], options: &Options, more: Instant) -> (f64, Vec<u32>, f64) {
    let watch = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
    for (index, client) in clients.iter().enumerate() {
        epoll::add(&watch, &client.stream, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)
            .expect("epoll");
    }
    let wanted_of_each = options.messages / options.wish.one_in();
    let stopped = options.stopped.then_some(0);
    let mut scratch = vec![0; 256 << 10];
    let mut latencies: Vec<u32> = Vec::new();
    let (mut cold, mut done) = (options.clients, 0);
    let mut wanted = options.clients - usize::from(options.stopped);
    let mut events = Vec::with_capacity(1024);
    let (mut first, mut last, mut heard, mut cpu_ns) = (None, Instant::now(), Instant::now(), 0);
    if options.messages == 0 {
        wanted = 0;
    }
    while done < wanted || cold > 0 {
        let ticks = options.ticks && cold == 0;
        if ticks {
            thread::sleep(TICK);
        }
        let patience = if ticks { 0 } else { PATIENCE.as_secs() as i64 };
        let timeout = rustix::event::Timespec { tv_sec: patience, tv_nsec: 0 };
        events.clear();
        epoll::wait(&watch, rustix::buffer::spare_capacity(&mut events), Some(&timeout)).expect("epoll");
        if events.is_empty() {
            if ticks && heard.elapsed() < PATIENCE {
                continue;
            }
            break;
        }
        heard = Instant::now();
        for event in &events {
            let index = event.data.u64() as usize;
            if Some(index) == stopped && clients[index].warm {
                epoll::delete(&watch, &clients[index].stream).expect("epoll");
                continue;
            }
            let client = &mut clients[index];
            let (was_warm, was_done) = (client.warm, client.next >= wanted_of_each);
            if !client.read(&mut scratch, options.latency.then_some(&mut latencies)) {
                epoll::delete(&watch, &client.stream).expect("epoll");
                wanted = wanted.saturating_sub(1);
                continue;
            }
            if client.warm && !was_warm {
                cold -= 1;
                if cold == 0 {
                    cpu_ns = measure::cpu_ns(std::process::id());
                    println!("warm {}", more.elapsed().as_micros());
                    // the counting begins when the controller has heard of it
                }
            }
            if client.received > 0 {
                first.get_or_insert_with(Instant::now);
                last = Instant::now();
            }
            if client.next >= wanted_of_each && !was_done && options.messages > 0 {
                done += 1;
            }
        }
    }
    let cpu_us = (measure::cpu_ns(std::process::id()) - cpu_ns) as f64 / 1e3;
    (first.map_or(0.0, |first| (last - first).as_secs_f64()), latencies, cpu_us)
}

/// A thread reads from each.
fn read_each(clients: &mut [Client], options: &Options, more: Instant) -> (f64, Vec<u32>, f64) {
    let wanted_of_each = options.messages / options.wish.one_in();
    let (cold, begun) = (AtomicUsize::new(clients.len()), AtomicU64::new(0));
    let spans = thread::scope(|scope| {
        let read = |client: &mut Client| {
            client.stream.set_nonblocking(false).expect("blocking");
            client.stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
            let (mut scratch, mut latencies, mut first) = (vec![0; 256 << 10], Vec::new(), None);
            loop {
                let (was_warm, began) = (client.warm, Instant::now());
                if client.next >= wanted_of_each
                    || !client.read(&mut scratch, options.latency.then_some(&mut latencies))
                    || began.elapsed() >= PATIENCE
                {
                    break;
                }
                if client.warm && !was_warm && cold.fetch_sub(1, Ordering::AcqRel) == 1 {
                    begun.store(measure::cpu_ns(std::process::id()), Ordering::Release);
                    println!("warm {}", more.elapsed().as_micros());
                }
                if client.received > 0 {
                    first.get_or_insert_with(Instant::now);
                }
            }
            // of a thread that has ended the kernel's account is gone
            (first, Instant::now(), latencies, thread_cpu_ns())
        };
        let threads: Vec<_> = clients.iter_mut().map(|client| scope.spawn(move || read(client))).collect();
        threads.into_iter().map(|thread| thread.join().expect("it reads to the end")).collect::<Vec<_>>()
    });
    let first = spans.iter().filter_map(|(first, ..)| *first).min();
    let last = spans.iter().map(|(_, last, ..)| *last).max();
    let cpu_ns: u64 = spans.iter().map(|(.., cpu_ns)| cpu_ns).sum::<u64>() + thread_cpu_ns();
    let seconds = first.zip(last).map_or(0.0, |(first, last)| (last - first).as_secs_f64());
    let latencies = spans.into_iter().flat_map(|(_, _, latencies, _)| latencies).collect();
    (seconds, latencies, (cpu_ns - begun.load(Ordering::Acquire)) as f64 / 1e3)
}

fn report(clients: &[Client], options: &Options, seconds: f64, latencies: &mut [u32], cpu_us: f64) {
    let readers = &clients[usize::from(options.stopped)..];
    let wanted = options.messages / options.wish.one_in();
    let sum = |of: fn(&Client) -> u64| readers.iter().map(of).sum::<u64>();
    let missing: u64 = readers.iter().map(|client| wanted.saturating_sub(client.next)).sum();
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
            "seconds": seconds,
            "cpu_us": cpu_us,
            "longest_pause_ms": readers.iter().map(|client| client.longest_pause).max().unwrap_or_default().as_secs_f64() * 1e3,
            "p50_us": f64::from(percentile(0.50)) / 1e3,
            "p99_us": f64::from(percentile(0.99)) / 1e3,
            "p999_us": f64::from(percentile(0.999)) / 1e3,
        })
    );
}

/// What this thread has cost, in nanoseconds.
fn thread_cpu_ns() -> u64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    used.tv_sec as u64 * 1_000_000_000 + used.tv_nsec as u64
}

impl Client {
    fn connect(socket: &Path, wish: Wish, number: u64) -> Client {
        let end = Instant::now() + PATIENCE;
        let mut stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                // a listener whose queue is full, or not there yet
                Err(_) if Instant::now() < end => thread::yield_now(),
                Err(error) => panic!("{}: {error}", socket.display()),
            }
        };
        if wish != Wish::All {
            let pattern = line::pattern(number, wish == Wish::Pattern);
            writeln!(stream, r#"{{"op":"attach","id":1,"topics":["{pattern}"]}}"#)
                .expect("the bridge takes it");
        }
        stream.set_nonblocking(true).expect("non-blocking");
        Client {
            stream,
            rest: Vec::new(),
            attached: wish == Wish::All,
            warm: false,
            one_in: wish.one_in(),
            place: number % wish.one_in(),
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
                self.attached |= line::is_attached(&bytes[..end]);
                line::read(&bytes[..end])
            } else {
                self.rest.extend_from_slice(&bytes[..end]);
                self.attached |= line::is_attached(&self.rest);
                let found = line::read(&self.rest);
                self.rest.clear();
                found
            };
            bytes = &bytes[end + 1..];
            match found {
                Some((line::MARKER, _)) => self.warm = self.attached,
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
        let (number, place) = (number / self.one_in, number % self.one_in);
        if place != self.place {
            self.reordered += 1; // it is another's
        } else if number == self.next {
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
