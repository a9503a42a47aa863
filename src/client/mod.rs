//! A client of the daemon's socket: blocking I/O with a deadline on each wait. The command line speaks with the daemon
//! through it alone, and other programs may.
//!
//! A program that follows the messages, and loses none over a restart of its own, keeps its [`Place`]:
//!
//! ```no_run
//! use std::{path::Path, time::{Duration, Instant}};
//! use wsfan::{client::{Client, Error, Place}, protocol::Line};
//!
//! /// Works off what came after `place`, until the daemon says bye.
//! fn follow(socket: &Path, place: &mut Place) -> Result<(), Error> {
//!     let mut client = Client::connect(socket)?;
//!     client.resume(place, Instant::now() + Duration::from_secs(10))?;
//!     let mut line = Vec::new();
//!     loop {
//!         client.lines.read(&mut line, None)?;
//!         let Some(read) = Line::parse(&line) else { continue };
//!         match &read {
//!             Line::Message(message) => println!("{}", message.raw()),
//!             Line::Gap(gap) => eprintln!("{:?} entries are lost: {}", gap.count, gap.why.name()),
//!             Line::Bye(_) => return Ok(()),
//!             _ => {}
//!         }
//!         place.pass(&read);
//!     }
//! }
//! ```
//!
//! And one that asks for something:
//!
//! ```no_run
//! use std::{path::Path, time::{Duration, Instant}};
//! use wsfan::{client::{Client, Error}, protocol::{Content, Op}};
//!
//! fn send(socket: &Path, text: &str) -> Result<Vec<u8>, Error> {
//!     let mut client = Client::connect(socket)?;
//!     let (op, mut reply) = (Op::Send(Content::Text(text.into())), Vec::new());
//!     client.ask(op, &mut reply, Instant::now() + Duration::from_secs(10))?;
//!     Ok(reply) // the line that says what became of it
//! }
//! ```
//!
//! [`Client::request`] asks the server itself, and gives its [`Answers`].

use std::{
    io,
    os::unix::net::UnixStream,
    path::Path,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use crate::protocol::{Attach, Hello, Line, Op, VERSION};

mod answers;
mod error;
mod lines;
mod place;
mod requests;
mod unreachable;

pub use answers::Answers;
pub use error::Error;
pub(crate) use error::reason;
pub use lines::{Lines, is_reply};
pub use place::Place;
pub use requests::{RequestLine, Requests};
pub(crate) use unreachable::unreachable;

/// How long the daemon may take to accept the connection.
const ACCEPT: Duration = Duration::from_secs(5);
/// How long it may take to greet then. It greets at once; a raw listener never does.
const GREETING: Duration = Duration::from_secs(2);
/// A longer first line is no greeting.
const MAX_GREETING: usize = 64 << 10;

/// An open connection to the daemon.
#[derive(Debug)]
pub struct Client {
    /// What it said at the start.
    pub hello: Hello<'static>,
    /// The same, as the line that it was.
    pub greeting: Vec<u8>,
    /// Our lines to it.
    pub requests: Requests,
    /// Its lines to us. They may be read in a thread of their own: a daemon that nobody reads from reads no further.
    pub lines: Lines,
}

impl Client {
    /// Connects to this socket, and waits for the greeting.
    ///
    /// # Errors
    /// Nobody answers there, or not as wsfan does.
    pub fn connect(path: &Path) -> Result<Client, Error> {
        let stream = open(path)?;
        let reading = stream.try_clone().map_err(|error| Error::Broken { path: path.to_owned(), error })?;
        let mut lines = Lines::new(path, reading);
        let (hello, greeting) = greeting(&mut lines)?;
        let requests = Requests::new(path, stream, hello.max_line);
        Ok(Client { hello, greeting, requests, lines })
    }

    /// Sends a request and reads on until the reply to it, which is left in `line`, without its end. Whatever else
    /// comes in between is skipped. The reply may be an `error` line.
    ///
    /// # Errors
    /// No reply came in time, or none will come.
    pub fn ask(&mut self, op: Op<'_>, line: &mut Vec<u8>, deadline: Instant) -> Result<(), Error> {
        let id = self.requests.send(op, deadline)?;
        self.lines.reply(id, line, deadline)
    }

    /// Goes on after `place`, which becomes the daemon's: what can't be had any more is declared as a gap in the next
    /// lines. Entries that came before the answer belong to the old place, and are skipped.
    ///
    /// # Errors
    /// [`Error::Refused`], or as [`Client::ask`].
    pub fn resume(&mut self, place: &mut Place, deadline: Instant) -> Result<(), Error> {
        self.resume_as(place, Attach::default(), deadline)
    }

    /// As [`Client::resume`], with what else the daemon is asked for.
    ///
    /// # Errors
    /// As [`Client::resume`].
    pub fn resume_as(
        &mut self,
        place: &mut Place,
        attach: Attach<'_>,
        deadline: Instant,
    ) -> Result<(), Error> {
        let mut line = Vec::new();
        self.ask(Op::Attach(Attach { since: Some(place.since()), ..attach }), &mut line, deadline)?;
        match Line::parse(&line) {
            Some(Line::Error(refusal)) => Err(Error::refused(&refusal)),
            Some(Line::Ok(done)) => {
                let seq = done.seq.unwrap_or(place.seq);
                // a gap moves it on once it is heard: who keeps the place before is told of it again
                let is_same = place.epoch == self.hello.epoch;
                let seq = if is_same { seq.min(place.seq) } else { seq };
                *place = Place { epoch: self.hello.epoch.to_string(), seq };
                Ok(())
            }
            _ => {
                place.epoch = self.hello.epoch.to_string();
                Ok(())
            }
        }
    }
}

/// Waits for the first line, and reads it.
fn greeting(lines: &mut Lines) -> Result<(Hello<'static>, Vec<u8>), Error> {
    let mut line = Vec::new();
    let result = lines.read_at_most(&mut line, MAX_GREETING, Some(Instant::now() + GREETING));
    let path = lines.path().to_owned();
    Err(match (result, Line::parse(&line)) {
        // read once more, since what is kept may not borrow
        (Ok(()), Some(Line::Hello(hello))) if hello.protocol == VERSION => {
            let hello = serde_json::from_slice(&line).unwrap_or_default();
            return Ok((hello, line));
        }
        (Ok(()), Some(Line::Hello(hello))) => Error::OtherVersion { path, version: hello.protocol },
        (Ok(()), Some(Line::Error(refusal))) => Error::dismissed(&refusal),
        (Ok(()), Some(Line::Bye(bye))) => Error::Bye { path, why: bye.why.name().to_owned() },
        (Err(Error::Ended { .. }), _) if line.is_empty() => Error::ClosedAtOnce { path },
        (Err(Error::Late { .. }), _) if line.is_empty() => Error::NoGreeting { path },
        (Err(error @ Error::Broken { .. }), _) => error,
        _ => Error::OtherGreeting { path },
    })
}

/// Connects. The system offers no deadline for that, and waits when the queue of a daemon that hangs
/// is full, so a thread does the waiting.
fn open(path: &Path) -> Result<UnixStream, Error> {
    let (sender, receiver) = mpsc::channel();
    let socket = path.to_owned();
    let waiting = move || {
        let _ = sender.send(UnixStream::connect(socket));
    };
    thread::Builder::new().name("connect".to_owned()).spawn(waiting).map_err(Error::NoThread)?;
    let path = path.to_owned();
    match receiver.recv_timeout(ACCEPT) {
        Ok(result) => result.map_err(|error| Error::Unreachable { path, error }),
        Err(_) => Err(Error::NotAccepted { path }),
    }
}

/// The time that is left; never zero, which would mean for ever. None when it is over.
fn left(deadline: Instant) -> Option<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    (!left.is_zero()).then(|| left.max(Duration::from_millis(1)))
}

/// What an error of the stream means.
fn broken(path: &Path, error: io::Error) -> Error {
    let path = path.to_owned();
    match error.kind() {
        // a timeout has two names; which one depends on the system
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Late { path },
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Error::Ended { path },
        _ => Error::Broken { path, error },
    }
}

#[cfg(test)]
mod tests;
