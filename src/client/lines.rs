//! The way from the daemon.

use std::{
    io::{self, BufRead as _, BufReader},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Instant,
};

use super::{Error, broken, left};
use crate::protocol::{Line, Message};

/// Batches come as fast as the daemon writes; one read takes as much of them.
const BUFFER: usize = 256 << 10;

/// The way from the daemon.
#[derive(Debug)]
pub struct Lines {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Lines {
    pub(super) fn new(path: &Path, stream: UnixStream) -> Lines {
        Lines { path: path.to_owned(), stream: BufReader::with_capacity(BUFFER, stream) }
    }

    /// The socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether another whole line is here already, so that reading it won't wait.
    pub fn has_line(&self) -> bool {
        memchr::memchr(b'\n', self.stream.buffer()).is_some()
    }

    /// Reads the next line into `line`, without its end; [`Line::parse`] says what it is. Its length has no bound but
    /// the daemon's own.
    ///
    /// # Errors
    /// [`Error::Late`], [`Error::Ended`] or [`Error::Broken`].
    pub fn read(&mut self, line: &mut Vec<u8>, deadline: Option<Instant>) -> Result<(), Error> {
        self.read_at_most(line, usize::MAX, deadline)
    }

    /// The same, for a line of about so many bytes at most: a longer one is late.
    pub(super) fn read_at_most(
        &mut self,
        line: &mut Vec<u8>,
        max: usize,
        deadline: Option<Instant>,
    ) -> Result<(), Error> {
        line.clear();
        loop {
            if self.stream.buffer().is_empty() {
                let timeout = match deadline {
                    Some(deadline) => Some(left(deadline).ok_or_else(|| self.late())?),
                    None => None,
                };
                let set = self.stream.get_ref().set_read_timeout(timeout);
                set.map_err(|error| broken(&self.path, error))?;
            }
            let bytes = match self.stream.fill_buf() {
                Ok([]) => return Err(Error::Ended { path: self.path.clone() }),
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(broken(&self.path, error)),
            };
            let end = memchr::memchr(b'\n', bytes);
            line.extend_from_slice(&bytes[..end.unwrap_or(bytes.len())]);
            let used = end.map_or(bytes.len(), |end| end + 1);
            self.stream.consume(used);
            if end.is_some() {
                return Ok(());
            }
            if line.len() > max {
                return Err(self.late());
            }
        }
    }

    /// Reads on until the reply to the request with this id, which is left in `line`.
    ///
    /// # Errors
    /// No reply came in time, or none will come.
    pub fn reply(&mut self, id: u64, line: &mut Vec<u8>, deadline: Instant) -> Result<(), Error> {
        loop {
            // a flood of messages must not outrun the deadline
            if left(deadline).is_none() {
                return Err(self.late());
            }
            self.read(line, Some(deadline))?;
            if is_reply(line, id, &self.path)? {
                return Ok(());
            }
        }
    }

    fn late(&self) -> Error {
        Error::Late { path: self.path.clone() }
    }
}

/// Whether the line is a reply to the request with this id.
///
/// # Errors
/// It means that no reply will come.
pub fn is_reply(line: &[u8], id: u64, path: &Path) -> Result<bool, Error> {
    if Message::is_one(line) {
        return Ok(false);
    }
    match Line::parse(line) {
        Some(reply) if reply.replies_to(id) => Ok(true),
        Some(Line::Bye(bye)) => Err(Error::Bye { path: path.to_owned(), why: bye.why.name().to_owned() }),
        // an error without an id is the last word on a connection that ends
        Some(Line::Error(refusal)) if refusal.id.is_none() => Err(Error::dismissed(&refusal)),
        _ => Ok(false),
    }
}
