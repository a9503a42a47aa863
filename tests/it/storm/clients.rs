//! The local programs of a storm. Each connects, does as its plan says, writes down what it got, and comes
//! back when its connection has ended, until the storm is over.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufRead, BufReader, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::net::{RecvFlags, recv};
use serde_json::Value;

use super::{
    oracle::{Head, head},
    payload::{send, send_line},
    plan::Program,
    record::{Attach, Session, Sub},
    server::pause,
    topics::OF_LISTENER,
};
use crate::common::DEADLINE;

mod writer;

use writer::Writer;

/// So many answers each client gets that asks, once the storm has passed.
const CALM_ANSWERS: usize = 10;

/// All clients of a storm.
pub(crate) struct Crowd {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Vec<Session>>>,
}

struct Shared {
    seed: u64,
    begun: Instant,
    socket: PathBuf,
    sessions: AtomicU64,
    /// What each session that is there has asked for.
    present: Mutex<BTreeMap<u64, Arc<Mutex<Asked>>>>,
    /// The storm has passed: begin nothing new, and read on to the end.
    calm: AtomicBool,
    /// The daemon stops for the last time: don't come back.
    last: AtomicBool,
    /// What is awaited: writers that have more to write, and sends whose fate isn't told yet.
    open: Mutex<usize>,
    settled: Condvar,
}

impl Crowd {
    pub(crate) fn start(seed: u64, begun: Instant, socket: &Path, programs: &[Program]) -> Crowd {
        let shared = Arc::new(Shared {
            seed,
            begun,
            socket: socket.to_owned(),
            sessions: AtomicU64::new(1),
            present: Mutex::default(),
            calm: AtomicBool::new(false),
            last: AtomicBool::new(false),
            open: Mutex::new(0),
            settled: Condvar::new(),
        });
        let threads = programs.iter().cloned().map(|program| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.live(&program))
        });
        Crowd { threads: threads.collect(), shared }
    }

    /// The storm has passed: waits until every send's fate is told.
    pub(crate) fn calm_down(&self) -> Result<(), String> {
        self.shared.calm.store(true, Ordering::SeqCst);
        let open = self.shared.open.lock().unwrap();
        let (open, timeout) =
            self.shared.settled.wait_timeout_while(open, DEADLINE, |open| *open > 0).unwrap();
        if timeout.timed_out() { Err(format!("{open} sends' fates are never told")) } else { Ok(()) }
    }

    /// How many clients have which topic, as they were told.
    pub(crate) fn holds(&self) -> BTreeMap<String, u64> {
        let mut holds = BTreeMap::new();
        for asked in self.shared.present.lock().unwrap().values() {
            for topic in &asked.lock().unwrap().holds {
                *holds.entry(topic.clone()).or_default() += 1;
            }
        }
        holds
    }

    /// The daemon is about to stop for the last time.
    pub(crate) fn last_words(&self) {
        self.shared.last.store(true, Ordering::SeqCst);
    }

    /// All that they saw.
    pub(crate) fn finish(self) -> Vec<Session> {
        self.threads.into_iter().flat_map(|thread| thread.join().expect("a client doesn't panic")).collect()
    }
}

impl Shared {
    fn live(self: &Arc<Shared>, program: &Program) -> Vec<Session> {
        let mut sessions = Vec::new();
        if let Program::Drops { sends, pause: time, deaf } = program {
            while !self.calm()
                && let Some(stream) = self.connect(program)
            {
                sessions.push(self.drop_in(stream, program, *sends, *deaf));
                pause(*time);
            }
            return sessions;
        }
        while let Some(stream) = self.connect(program) {
            let place = sessions.last().and_then(|session| place(&session.lines));
            sessions.push(self.session(stream, program, place));
            if let Program::Hoards { time, .. } | Program::Named { pause: time, .. } = program {
                // it had its time, or there was no room for it
                pause(*time);
            }
        }
        sessions
    }

    /// `None` when the storm is over.
    fn connect(&self, program: &Program) -> Option<UnixStream> {
        let kind = if is_raw(program) { ".raw" } else { "" };
        let part = if is_narrowed(program) { ".some" } else { "" };
        let path = self.socket.with_extension(format!("sock{kind}{part}"));
        let end = Instant::now() + DEADLINE;
        while !self.last.load(Ordering::SeqCst) {
            if let Ok(stream) = UnixStream::connect(&path) {
                stream.set_read_timeout(Some(DEADLINE)).unwrap();
                stream.set_write_timeout(Some(DEADLINE)).unwrap();
                return Some(stream);
            }
            assert!(Instant::now() < end, "nobody listens on {}", path.display());
            // as a program does that waits for its daemon
            pause(Duration::from_millis(2));
        }
        None
    }

    fn calm(&self) -> bool {
        self.calm.load(Ordering::SeqCst)
    }

    fn session(
        self: &Arc<Shared>,
        stream: UnixStream,
        program: &Program,
        place: Option<(String, u64)>,
    ) -> Session {
        let number = self.sessions.fetch_add(1, Ordering::SeqCst);
        let mut session = Session {
            number,
            what: format!("{program:?}"),
            raw: is_raw(program),
            taste: is_narrowed(program).then(|| OF_LISTENER.map(str::to_owned).to_vec()),
            time: (self.begun.elapsed(), Duration::MAX),
            ..Session::default()
        };
        let writing = stream.try_clone().unwrap();
        let asked = Arc::new(Mutex::new(Asked::default()));
        self.present.lock().unwrap().insert(number, Arc::clone(&asked));
        let writer = Writer { number, stream: writing, asked: Arc::clone(&asked), shared: Arc::clone(self) };
        self.opened(1);
        let (of_writer, place) = (program.clone(), place.filter(|_| !self.calm()));
        let writer = thread::spawn(move || writer.write(&of_writer, place));
        session.left = self.read(stream.try_clone().unwrap(), program, &asked, &mut session.lines);
        let (until, mut over) = (self.begun.elapsed(), asked.lock().unwrap());
        (over.is_over, over.until) = (true, until);
        over.holds.clear();
        drop(over);
        self.settled.notify_all();
        // whatever it writes, nobody is there
        let _ = stream.shutdown(Shutdown::Both);
        writer.join().expect("a writer doesn't panic");
        self.present.lock().unwrap().remove(&number);
        let asked = std::mem::take(&mut *asked.lock().unwrap());
        self.closed(asked.open.len());
        session.time.1 = self.begun.elapsed();
        session.written = asked.written;
        session.sends = asked.sends;
        session.attaches = asked.attaches;
        session.attached = asked.attached;
        session.units = asked.units;
        session.until = asked.until;
        session.subs = asked.subs;
        session.losses = asked.losses;
        session.calls = asked.calls;
        session.cancels = asked.cancels;
        session
    }

    /// Writes, and closes at once.
    fn drop_in(&self, mut stream: UnixStream, program: &Program, sends: u64, deaf: bool) -> Session {
        let number = self.sessions.fetch_add(1, Ordering::SeqCst);
        let mut session = Session {
            number,
            what: format!("{program:?}"),
            time: (self.begun.elapsed(), Duration::MAX),
            left: true,
            ..Session::default()
        };
        let mut peeked = Vec::new();
        if deaf {
            peek(&stream, &mut peeked); // until it is there
        }
        for k in 0..sends {
            let id = format!("s{k}");
            // what is said in part may arrive whole, and need not
            session.sends.insert(id.clone(), k);
            let line = send_line(&id, &send(self.seed, number, k));
            session.written += line.len();
            if stream.write_all(&line).is_err() {
                break;
            }
            session.whole = k + 1;
        }
        if deaf && stream.shutdown(Shutdown::Read).is_ok() {
            // what was told before; it is left there, so that the close is a reset
            peek(&stream, &mut peeked);
            let whole = peeked.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
            session.lines = whole.map(|line| line[..line.len() - 1].to_vec()).collect();
        }
        drop(stream);
        session.time.1 = self.begun.elapsed();
        session
    }

    /// Reads to the end, or to where the program leaves. Returns whether it left.
    fn read(
        &self,
        stream: UnixStream,
        program: &Program,
        asked: &Mutex<Asked>,
        lines: &mut Vec<Vec<u8>>,
    ) -> bool {
        if let Program::Stalled(time) = program
            && !self.calm()
        {
            pause(*time);
        }
        let mut reader = BufReader::new(stream);
        let begun = Instant::now();
        loop {
            match program {
                Program::Slow(time) if !self.calm() && lines.len() % 20 == 19 => pause(*time),
                Program::Reattacher { lines: enough } | Program::Named { lines: enough, .. }
                    if lines.len() > *enough && !self.calm() =>
                {
                    return true;
                }
                Program::HangsUp(time)
                | Program::Hoards { time, .. }
                | Program::Calls { leaves: Some(time), .. }
                | Program::Subscribes { leaves: Some(time), .. }
                    if begun.elapsed() > *time && !self.calm() =>
                {
                    return true;
                }
                _ => {}
            }
            let mut line = Vec::new();
            match reader.read_until(b'\n', &mut line) {
                Ok(_) if line.pop() == Some(b'\n') => {}
                Ok(_) => return false,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return false,
                Err(error) => panic!("{program:?} heard nothing: {error}"),
            }
            match head(&line) {
                Head::Entry(seq) => {
                    let mut asked = asked.lock().unwrap();
                    asked.acks = asked.attached.is_some() && !asked.is_nameless;
                    asked.place.iter_mut().for_each(|place| place.1 = seq);
                }
                Head::Other => {
                    self.note(&line, &mut asked.lock().unwrap());
                    if line.starts_with(b"{\"type\":\"ok\",\"id\":\"t\"")
                        || line.starts_with(b"{\"type\":\"error\",\"id\":\"t\"")
                    {
                        let mut asked = asked.lock().unwrap();
                        asked.is_nameless = line.starts_with(b"{\"type\":\"error\"");
                        asked.attached.get_or_insert(self.begun.elapsed());
                    }
                    let begins: [&[u8]; 2] = [b"{\"type\":\"answer\"", b"{\"answer\":"];
                    if self.calm() && begins.iter().any(|begin| line.starts_with(begin)) {
                        asked.lock().unwrap().answers += 1;
                    }
                    if let Some((id, true)) = fate(&line)
                        && asked.lock().unwrap().open.remove(&id)
                    {
                        self.closed(1);
                    }
                }
            }
            lines.push(line);
            if lines.len() == 1 {
                asked.lock().unwrap().place = place(lines);
            }
        }
    }

    /// What a line says of topics that are shared.
    fn note(&self, line: &[u8], asked: &mut Asked) {
        if asked.subs.is_empty()
            || !(line.starts_with(b"{\"type\":\"ok\"") || line.starts_with(b"{\"type\":\"error\""))
        {
            return;
        }
        let now = self.begun.elapsed();
        let line: Value = serde_json::from_slice(line).unwrap_or_default();
        let named = line["topics"].as_array().into_iter().flatten();
        let named: Vec<String> = named.filter_map(|topic| Some(topic.as_str()?.to_owned())).collect();
        let Asked { subs, losses, holds, .. } = asked;
        let Some(sub) = line["id"].as_str().and_then(|id| subs.get_mut(id)) else {
            // after a time-out it still has them
            if line["id"].is_null() && !named.is_empty() && line["code"] != "timeout" {
                holds.retain(|topic| !named.contains(topic));
                losses.push((now, named));
            }
            return;
        };
        if line["result"] == "queued" {
            return;
        }
        sub.told = Some((now, line["type"] == "ok"));
        match (sub.more, line["type"] == "ok") {
            (true, _) => {
                holds.extend(sub.topics.iter().filter(|topic| !named.contains(topic)).cloned());
                holds.retain(|topic| !named.contains(topic));
            }
            (false, true) => holds.retain(|topic| !sub.topics.contains(topic)),
            (false, false) => {}
        }
    }

    fn opened(&self, count: usize) {
        *self.open.lock().unwrap() += count;
    }

    fn closed(&self, count: usize) {
        *self.open.lock().unwrap() -= count;
        self.settled.notify_all();
    }
}

fn is_raw(program: &Program) -> bool {
    matches!(program, Program::Raw { .. } | Program::RawCalls { .. })
}

fn is_narrowed(program: &Program) -> bool {
    matches!(program, Program::Raw { narrowed: true } | Program::Narrows { narrowed: true, .. })
}

/// What a session has asked for.
#[derive(Default)]
struct Asked {
    sends: BTreeMap<String, u64>,
    units: BTreeMap<String, u64>,
    /// What came of its first attach is read, and when.
    attached: Option<Duration>,
    /// It was refused its name.
    is_nameless: bool,
    /// It has its name, and something to acknowledge.
    acks: bool,
    /// When the reader came to its end.
    until: Duration,
    subs: BTreeMap<String, Sub>,
    losses: Vec<(Duration, Vec<String>)>,
    /// The topics that it has, as it was told.
    holds: BTreeSet<String>,
    /// The reader has come to its end.
    is_over: bool,
    /// How many requests were answered since the storm has passed.
    answers: usize,
    calls: BTreeMap<String, u64>,
    cancels: BTreeMap<String, String>,
    attaches: BTreeMap<String, Attach>,
    /// The epoch and the last entry that it has read, once it knows.
    place: Option<(String, u64)>,
    /// Sends whose fate isn't told.
    open: BTreeSet<String>,
    /// How much it has written, in bytes.
    written: usize,
}

/// Looks at what has come and isn't read.
fn peek(stream: &UnixStream, into: &mut Vec<u8>) {
    into.resize(4 << 20, 0);
    let length = recv(stream, &mut into[..], RecvFlags::PEEK).map_or(0, |(_, length)| length);
    into.truncate(length);
}

/// The id in an answer, and whether it is the last one to it.
fn fate(line: &[u8]) -> Option<(String, bool)> {
    let line: Value = serde_json::from_slice(line).ok()?;
    let id = line["id"].as_str()?.to_owned();
    match line["type"].as_str()? {
        "ok" | "error" => Some((id, line["result"] != "queued")),
        "answer" => Some((id, line["more"] != true)),
        _ => None,
    }
}

/// The last entry that a session has worked off: where it goes on.
fn place(lines: &[Vec<u8>]) -> Option<(String, u64)> {
    let hello: Value = serde_json::from_slice(lines.first()?).ok()?;
    let epoch = hello["epoch"].as_str()?.to_owned();
    let last = lines.iter().rev().find_map(|line| match head(line) {
        Head::Entry(seq) => Some(seq),
        Head::Other => None,
    });
    Some((epoch, last.or(hello["seq"].as_u64())?))
}
