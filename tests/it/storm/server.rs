//! The server of a storm: it does what the plan says, connection by connection, and writes down what it
//! said and heard.

use std::{
    collections::BTreeSet,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::net::sockopt::set_socket_linger;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{
    frames::{Deflater, Inflater, frame},
    payload::{EACH, Payload, message},
    plan::{Deed, Script},
    record::Attempt,
    topics,
};
use crate::common::DEADLINE;

mod answers;
mod ear;

use answers::Answers;
use ear::Ear;

/// How many messages a connection says after the storm.
pub(crate) const CALM: u64 = 20;

pub(crate) struct Server {
    pub(crate) port: u16,
    state: Arc<State>,
}

struct State {
    seed: u64,
    begun: Instant,
    attempts: Mutex<Vec<Attempt>>,
    /// How many connections have come to their end.
    over: Mutex<usize>,
    ended: Condvar,
    /// From now on every connection is upgraded and kept.
    calm: AtomicBool,
    /// The connection that [`Server::mark`] made, and how many others the server had taken before it.
    mark: Mutex<(Option<SocketAddr>, Option<usize>)>,
    marked: Condvar,
}

impl Server {
    pub(crate) fn start(seed: u64, begun: Instant, scripts: Vec<Script>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            seed,
            begun,
            attempts: Mutex::default(),
            over: Mutex::default(),
            ended: Condvar::new(),
            calm: AtomicBool::new(false),
            mark: Mutex::default(),
            marked: Condvar::new(),
        });
        let of_listener = Arc::clone(&state);
        // ends with the process
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if of_listener.is_mark(&stream) {
                    continue;
                }
                let mut attempts = of_listener.attempts.lock().unwrap();
                let index = attempts.len();
                attempts.push(Attempt { at: begun.elapsed(), ..Attempt::default() });
                let calm = of_listener.calm.load(Ordering::SeqCst);
                drop(attempts);
                // after the storm, a word and no end
                let script = match scripts.get(index) {
                    Some(script) if !calm => script.clone(),
                    _ => Script::Talk(vec![Deed::Say { count: CALM, frames: 1 }]),
                };
                let state = Arc::clone(&of_listener);
                thread::spawn(move || {
                    let peer = Peer { index, state: Arc::clone(&state) };
                    // what ends a connection is a part of the storm
                    let _ = peer.meet(stream, script);
                    peer.note(|attempt| attempt.ended = begun.elapsed());
                    *state.over.lock().unwrap() += 1;
                    state.ended.notify_all();
                });
            }
        });
        Server { port, state }
    }

    /// From now on every connection is upgraded and kept, and says [`CALM`] messages. Returns how many
    /// there were until now.
    pub(crate) fn calm_down(&self) -> u64 {
        let attempts = self.state.attempts.lock().unwrap();
        self.state.calm.store(true, Ordering::SeqCst);
        attempts.len() as u64
    }

    /// How many connections were made before now: those whose turn it isn't yet included, since connections are
    /// taken in the order in which they are made, and this makes one.
    pub(crate) fn mark(&self) -> usize {
        let mut mark = self.state.mark.lock().unwrap();
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        *mark = (Some(stream.local_addr().unwrap()), None);
        let wait = self.state.marked.wait_timeout_while(mark, DEADLINE, |(_, count)| count.is_none());
        wait.unwrap().0.1.expect("the server takes connections")
    }

    /// What topics the newest connection is to have.
    pub(crate) fn topics(&self) -> BTreeSet<String> {
        let attempts = self.state.attempts.lock().unwrap();
        attempts
            .iter()
            .rfind(|attempt| attempt.upgraded)
            .map(|attempt| attempt.has.clone())
            .unwrap_or_default()
    }

    /// Waits until all connections have ended, and tells what there was.
    pub(crate) fn finish(&self) -> Result<Vec<Attempt>, String> {
        let over = self.state.over.lock().unwrap();
        let all = || self.state.attempts.lock().unwrap().len();
        let (over, timeout) =
            self.state.ended.wait_timeout_while(over, DEADLINE, |over| *over < all()).unwrap();
        if timeout.timed_out() {
            return Err(format!("{} of {} connections to the server didn't end", all() - *over, all()));
        }
        Ok(self.state.attempts.lock().unwrap().clone())
    }
}

impl State {
    fn is_mark(&self, stream: &TcpStream) -> bool {
        let mut mark = self.mark.lock().unwrap();
        let is_mark = mark.0.is_some() && mark.0 == stream.peer_addr().ok();
        if is_mark {
            *mark = (None, Some(self.attempts.lock().unwrap().len()));
            self.marked.notify_all();
        }
        is_mark
    }
}

/// The server's side of one connection.
struct Peer {
    index: usize,
    state: Arc<State>,
}

/// What writes to the daemon: frames whole, whoever writes.
struct Pen {
    stream: TcpStream,
    deflater: Option<Deflater>,
    closed: bool,
    /// It ends by a reset of our own.
    cut: bool,
}

impl Peer {
    fn note(&self, note: impl FnOnce(&mut Attempt)) {
        note(&mut self.state.attempts.lock().unwrap()[self.index]);
    }

    fn meet(&self, mut stream: TcpStream, script: Script) -> io::Result<()> {
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        stream.set_nodelay(true)?;
        if script == Script::Reset {
            return reset(&stream);
        }
        let request = read_request(&mut stream)?;
        let deeds = match script {
            Script::Reset => return Ok(()),
            // until the daemon has had enough
            Script::Mute => return read_away(&mut stream),
            Script::Http(status, after) => {
                let retry = after.map_or(String::new(), |after| format!("Retry-After: {after}\r\n"));
                self.note(|attempt| attempt.retry_after = after.map(Duration::from_secs));
                let answer = format!("HTTP/1.1 {status} Storm\r\n{retry}Content-Length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes())?;
                return read_away(&mut stream);
            }
            Script::Talk(deeds) => deeds,
        };
        let compressed = request.to_lowercase().contains("permessage-deflate");
        let key = header(&request, "sec-websocket-key");
        let extension = if compressed { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" };
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {}\r\n{extension}\r\n",
            derive_accept_key(key.as_bytes())
        );
        self.note(|attempt| attempt.upgraded = true);
        stream.write_all(answer.as_bytes())?;

        let deflater = compressed.then(Deflater::new);
        let pen =
            Arc::new(Mutex::new(Pen { stream: stream.try_clone()?, deflater, closed: false, cut: false }));
        let silent = Arc::new(AtomicBool::new(false));
        let answers = Arc::new(Answers::default());
        let (told, of_pen, of_silence) = (Arc::clone(&answers), Arc::clone(&pen), Arc::clone(&silent));
        let answerer = thread::spawn(move || told.say(&of_pen, &of_silence));
        let ear = Ear {
            peer: Peer { index: self.index, state: Arc::clone(&self.state) },
            answers: Arc::clone(&answers),
            pen: Arc::clone(&pen),
            silent: Arc::clone(&silent),
            inflater: compressed.then(Inflater::new),
        };
        let hearing = stream.try_clone()?;
        let reader = thread::spawn(move || ear.hear(hearing));
        let done = deeds.into_iter().try_for_each(|deed| self.act(deed, &stream, &pen, &silent));
        match done {
            // a reset leaves the socket with its last owner
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {
                pen.lock().unwrap().cut = true;
                reset(&stream)?;
                stream.shutdown(Shutdown::Read)?;
            }
            Err(_) | Ok(()) => {}
        }
        reader.join().expect("the reader doesn't panic");
        answers.end();
        answerer.join().expect("who answers doesn't panic");
        Ok(())
    }

    /// `ConnectionAborted`: the connection is to be reset.
    fn act(&self, deed: Deed, stream: &TcpStream, pen: &Mutex<Pen>, silent: &AtomicBool) -> io::Result<()> {
        match deed {
            Deed::Say { count, frames } => (0..count).try_for_each(|_| self.say(pen, frames, None)),
            Deed::Drip { pieces, pause } => self.say(pen, 1, Some((pieces, pause))),
            Deed::Ping => pen.lock().unwrap().write(&frame(0x89, b"storm")),
            Deed::Pause(time) => {
                pause(time);
                Ok(())
            }
            Deed::Silence => {
                silent.store(true, Ordering::SeqCst);
                Ok(())
            }
            Deed::Half => {
                let mut pen = pen.lock().unwrap();
                let whole = frame(0x81, &[b'x'; 5000]);
                pen.write(&whole[..2500])?;
                Err(io::ErrorKind::ConnectionAborted.into())
            }
            Deed::Close(code) => {
                let mut pen = pen.lock().unwrap();
                let reason = format!("storm {}", self.index);
                let body =
                    if code == 0 { Vec::new() } else { [&code.to_be_bytes(), reason.as_bytes()].concat() };
                let done = pen.write(&frame(0x88, &body));
                if code != 0 && done.is_ok() {
                    self.note(|attempt| attempt.closed = Some(reason));
                }
                pen.closed = true;
                done
            }
            Deed::Drop => stream.shutdown(Shutdown::Write),
            Deed::Garbage => pen.lock().unwrap().write(&frame(0xf3, b"no server may say this")),
        }
    }

    fn say(&self, pen: &Mutex<Pen>, frames: usize, drip: Option<(usize, Duration)>) -> io::Result<()> {
        let mut pen = pen.lock().unwrap();
        if pen.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let seed = self.state.seed;
        let mut payload = None;
        self.note(|attempt| {
            let n = self.index as u64 * EACH + attempt.begun;
            let topic = topics::draw(seed, n, &attempt.has);
            payload = Some(message(seed, n, topic.as_deref()));
            attempt.topics.push(topic);
            attempt.begun += 1;
        });
        let payload = payload.expect("it is noted");
        let kind = if matches!(payload, Payload::Text(_)) { 1 } else { 2 };
        let (flag, body) = pen.body(payload.bytes());
        let parts: Vec<&[u8]> = body.chunks(body.len().div_ceil(frames).max(1)).collect();
        let mut bytes = Vec::new();
        if parts.is_empty() {
            bytes = frame(0x80 | flag | kind, b"");
        }
        for (part, chunk) in parts.iter().enumerate() {
            let first = if part == 0 { flag | kind } else { 0 };
            let last = if part + 1 == parts.len() { 0x80 } else { 0 };
            bytes.extend(frame(first | last, chunk));
            if last == 0 && part % 2 == 0 {
                bytes.extend(frame(0x89, b"between"));
            }
        }
        match drip {
            None => pen.write(&bytes)?,
            Some((pieces, time)) => {
                for piece in bytes.chunks(bytes.len().div_ceil(pieces)) {
                    pen.write(piece)?;
                    pause(time);
                }
            }
        }
        self.note(|attempt| attempt.whole += 1);
        Ok(())
    }
}

impl Pen {
    /// A message as it goes out, with the flag for its first byte.
    fn body(&mut self, message: &[u8]) -> (u8, Vec<u8>) {
        match &mut self.deflater {
            Some(deflater) => (0x40, deflater.deflate(message)),
            None => (0, message.to_vec()),
        }
    }

    /// A text message, in one frame.
    fn text(&mut self, text: &str) -> io::Result<()> {
        if self.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let (flag, body) = self.body(text.as_bytes());
        self.write(&frame(0x81 | flag, &body))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.stream.write_all(bytes)
    }
}

/// A time that the plan names, as a part of the storm.
#[expect(clippy::disallowed_methods, reason = "a thread of the test's own")]
pub(crate) fn pause(time: Duration) {
    thread::sleep(time);
}

/// Ends the connection by a reset once its last owner lets go of it.
fn reset(stream: &TcpStream) -> io::Result<()> {
    Ok(set_socket_linger(stream, Some(Duration::ZERO))?)
}

fn read_away(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write).ok();
    io::copy(stream, &mut io::sink()).map(drop)
}

fn read_request(stream: &mut TcpStream) -> io::Result<String> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    String::from_utf8(request).map_err(io::Error::other)
}

fn header(request: &str, name: &str) -> String {
    let value = request.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    });
    value.expect("the request has its headers")
}
