//! A client of the daemon's socket, with blocking I/O and a deadline on each wait.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    failure::{Failure, Outcome, reason},
    format::clean,
    line::Line,
    reach,
};

/// How long the daemon may take to accept the connection.
const ACCEPT: Duration = Duration::from_secs(5);
/// How long it may take to greet then. It greets at once; a raw listener never does.
const GREETING: Duration = Duration::from_secs(2);
/// A longer first line is no greeting.
const MAX_GREETING: usize = 64 << 10;
/// Batches come as fast as the daemon writes; one read takes as much of them.
const BUFFER: usize = 256 << 10;

/// An open connection to the daemon.
pub(super) struct Client {
    /// What it said at the start.
    pub(super) hello: Hello,
    /// Our lines to it.
    pub(super) requests: Requests,
    /// Its lines to us.
    pub(super) lines: Lines,
}

/// The way to the daemon.
pub(super) struct Requests {
    path: PathBuf,
    stream: UnixStream,
    max_line: Option<u64>,
    next_id: u64,
}

/// The way from the daemon.
pub(super) struct Lines {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

/// What the daemon says of itself in its first line.
#[derive(Debug, Clone, Default)]
pub(super) struct Hello {
    /// The line itself.
    pub(super) line: Vec<u8>,
    /// The random name of this life of the log.
    pub(super) epoch: String,
    /// The newest entry.
    pub(super) seq: u64,
    /// The oldest entry that the daemon still holds.
    pub(super) oldest: u64,
    /// The longest line that it takes.
    pub(super) max_line: Option<u64>,
}

/// Why no line came.
#[derive(Debug)]
pub(super) enum NoLine {
    /// The deadline passed.
    Late,
    /// The daemon is gone, or its connection to us.
    Ended,
    /// The operating system says so.
    Failed(io::Error),
}

/// A request to the daemon: an operation and what belongs to it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Request<'a> {
    pub(super) op: &'a str,
    pub(super) id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) json: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<&'a str>,
    /// Base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) binary: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<Since<'a>>,
}

/// A request, ready to be written.
#[derive(Debug)]
pub(super) struct RequestLine {
    /// The id that its replies carry.
    pub(super) id: u64,
    bytes: Vec<u8>,
}

/// A place in the log: after this entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Since<'a> {
    pub(super) epoch: &'a str,
    pub(super) seq: u64,
}

impl Client {
    /// Connects to this socket, and waits for the greeting.
    pub(super) fn connect(path: &Path) -> Outcome<Client> {
        let stream = open(path)?;
        let failed = |error: io::Error| lost(path, &NoLine::Failed(error));
        let reading = BufReader::with_capacity(BUFFER, stream.try_clone().map_err(failed)?);
        let mut lines = Lines { path: path.to_owned(), stream: reading };
        let hello = lines.greeting()?;
        let requests = Requests { path: path.to_owned(), stream, max_line: hello.max_line, next_id: 1 };
        Ok(Client { hello, requests, lines })
    }

    /// Sends a request and reads on until the reply to it, which is left in `line`. Whatever else comes
    /// in between is skipped.
    pub(super) fn ask(&mut self, request: Request<'_>, line: &mut Vec<u8>, deadline: Instant) -> Outcome {
        let id = self.requests.send(request, deadline)?;
        self.lines.reply(id, line, deadline)
    }
}

impl Requests {
    /// Sends a request, and gives the id that its replies will carry.
    pub(super) fn send(&mut self, request: Request<'_>, deadline: Instant) -> Outcome<u64> {
        let line = self.line(request)?;
        self.write_line(&line, deadline)?;
        Ok(line.id)
    }

    /// A request as a line that the daemon takes.
    pub(super) fn line(&mut self, request: Request<'_>) -> Outcome<RequestLine> {
        let id = self.next_id;
        self.next_id += 1;
        let mut line = serde_json::to_vec(&Request { id, ..request })
            .map_err(|error| Failure::failed(format!("the request can't be written as a line: {error}")))?;
        if let Some(max) = self.max_line.filter(|max| line.len() as u64 > *max) {
            return Err(Failure::failed(format!(
                "the message makes a line of {} bytes and {} takes at most {max}: raise max_line of this \
                 listener in the config",
                line.len(),
                self.path.display()
            )));
        }
        line.push(b'\n');
        Ok(RequestLine { id, bytes: line })
    }

    /// Writes a line. If it fails, the daemon has no whole line, and carries nothing out.
    pub(super) fn write_line(&mut self, line: &RequestLine, deadline: Instant) -> Outcome {
        self.write(&line.bytes, deadline).map_err(|why| lost(&self.path, &why))
    }

    fn write(&mut self, mut line: &[u8], deadline: Instant) -> Result<(), NoLine> {
        while !line.is_empty() {
            let timeout = left(deadline)?;
            let result = self.stream.set_write_timeout(Some(timeout)).and_then(|()| self.stream.write(line));
            match result {
                Ok(written) => line = &line[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl Lines {
    fn greeting(&mut self) -> Outcome<Hello> {
        let mut line = Vec::new();
        let result = self.read_at_most(&mut line, MAX_GREETING, Some(Instant::now() + GREETING));
        let path = self.path.display();
        Err(match (result, Line::parse(&line)) {
            (Ok(()), Some(hello)) if hello.kind == "hello" && hello.protocol == 1 => {
                let epoch = hello.epoch.into_owned();
                let (seq, oldest) = (hello.seq.unwrap_or(0), hello.oldest);
                return Ok(Hello { epoch, seq, oldest, max_line: hello.max_line, line });
            }
            (Ok(()), Some(hello)) if hello.kind == "hello" => Failure::failed(format!(
                "the daemon at {path} speaks version {} of the protocol and this command version 1: use the \
                 `wsfan` that came with the daemon",
                hello.protocol
            )),
            (Ok(()), Some(error)) if error.kind == "error" => Failure::failed(refusal(&error)),
            (Ok(()), Some(line)) if line.kind == "bye" => bye(&self.path, &line.why),
            (Err(NoLine::Ended), _) if line.is_empty() => Failure::failed(format!(
                "the daemon at {path} closed the connection at once: its log says why"
            )),
            (Err(NoLine::Late), _) if line.is_empty() => Failure::failed(format!(
                "nothing greets at {path}: this is probably a listener with format = \"raw\" (name an \
                 \"envelope\" one with --socket), or the daemon hangs"
            )),
            (Err(NoLine::Failed(error)), _) => lost(&self.path, &NoLine::Failed(error)),
            _ => Failure::failed(format!(
                "what listens at {path} doesn't greet as wsfan does: name a listener with format = \
                 \"envelope\" with --socket (a raw one can be read with `nc -U`)"
            )),
        })
    }

    /// The socket.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether another whole line is here already, so that reading it won't wait.
    pub(super) fn has_line(&self) -> bool {
        memchr::memchr(b'\n', self.stream.buffer()).is_some()
    }

    /// Reads the next line into `line`, without its end. Its length has no bound but the daemon's own.
    pub(super) fn read(&mut self, line: &mut Vec<u8>, deadline: Option<Instant>) -> Result<(), NoLine> {
        self.read_at_most(line, usize::MAX, deadline)
    }

    fn read_at_most(
        &mut self,
        line: &mut Vec<u8>,
        max: usize,
        deadline: Option<Instant>,
    ) -> Result<(), NoLine> {
        line.clear();
        loop {
            if self.stream.buffer().is_empty() {
                let timeout = deadline.map(left).transpose()?;
                self.stream.get_ref().set_read_timeout(timeout)?;
            }
            let bytes = match self.stream.fill_buf() {
                Ok([]) => return Err(NoLine::Ended),
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            let end = memchr::memchr(b'\n', bytes);
            line.extend_from_slice(&bytes[..end.unwrap_or(bytes.len())]);
            let used = end.map_or(bytes.len(), |end| end + 1);
            self.stream.consume(used);
            if end.is_some() {
                return Ok(());
            }
            if line.len() > max {
                return Err(NoLine::Late);
            }
        }
    }

    fn reply(&mut self, id: u64, line: &mut Vec<u8>, deadline: Instant) -> Outcome {
        loop {
            // a flood of messages must not outrun the deadline
            left(deadline)
                .and_then(|_| self.read(line, Some(deadline)))
                .map_err(|why| lost(&self.path, &why))?;
            if is_reply(line, id, &self.path)? {
                return Ok(());
            }
        }
    }
}

/// Whether the line is a reply to this request; a failure if it means that none will come.
pub(super) fn is_reply(line: &[u8], id: u64, path: &Path) -> Outcome<bool> {
    if Line::is_message(line) {
        return Ok(false);
    }
    match Line::parse(line) {
        Some(reply) if reply.replies_to(id) => Ok(true),
        Some(last) if last.kind == "bye" => Err(bye(path, &last.why)),
        // an error without an id is the last word on a connection that ends
        Some(error) if error.kind == "error" && error.id.is_none_or(|id| id.get() == "null") => {
            Err(Failure::failed(refusal(&error)))
        }
        _ => Ok(false),
    }
}

impl From<io::Error> for NoLine {
    fn from(error: io::Error) -> NoLine {
        match error.kind() {
            // a timeout has two names; which one depends on the system
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => NoLine::Late,
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => NoLine::Ended,
            _ => NoLine::Failed(error),
        }
    }
}

/// The sentence for a connection that gave no line, or took none.
pub(super) fn lost(path: &Path, why: &NoLine) -> Failure {
    let path = path.display();
    Failure::failed(match why {
        NoLine::Late => format!("the daemon at {path} gave no answer in time: try again, or raise --timeout"),
        NoLine::Ended => {
            format!("the daemon at {path} ended the connection without a word: does it still run?")
        }
        NoLine::Failed(error) => format!("the connection to {path} broke: {}", reason(error)),
    })
}

fn bye(path: &Path, why: &str) -> Failure {
    let (path, why) = (path.display(), clean(why));
    Failure::failed(format!(
        "the daemon at {path} said bye ({why}) before it answered: try again once it runs anew"
    ))
}

/// An `error` line as the end of a sentence, with the error's name, which is stable.
pub(super) fn refusal(error: &Line<'_>) -> String {
    let (message, name) = (clean(&error.message), clean(error.error_name()));
    if message.is_empty() { format!("the daemon refused ({name})") } else { format!("{message} ({name})") }
}

/// The time that is left; never zero, which would mean for ever.
fn left(deadline: Instant) -> Result<Duration, NoLine> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(NoLine::Late) } else { Ok(left.max(Duration::from_millis(1))) }
}

/// Connects. The system offers no deadline for that, and waits when the queue of a daemon that hangs
/// is full, so a thread does the waiting.
fn open(path: &Path) -> Outcome<UnixStream> {
    let (sender, receiver) = mpsc::channel();
    let socket = path.to_owned();
    let waiting = move || {
        let _ = sender.send(UnixStream::connect(socket));
    };
    let thread = thread::Builder::new().name("connect".to_owned()).spawn(waiting);
    thread.map_err(|error| Failure::failed(format!("no thread can be started: {}", reason(&error))))?;
    match receiver.recv_timeout(ACCEPT) {
        Ok(result) => result.map_err(|error| Failure::failed(reach::unreachable(path, &error))),
        Err(_) => Err(Failure::failed(format!(
            "the daemon at {} accepts no connection: it hangs, or is stopped (look at its process)",
            path.display()
        ))),
    }
}
