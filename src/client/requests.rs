//! The way to the daemon.

use std::{
    io::{self, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Instant,
};

use serde_json::value::to_raw_value;

use super::{Error, broken, left};
use crate::protocol::{Op, Request};

/// The way to the daemon.
#[derive(Debug)]
pub struct Requests {
    path: PathBuf,
    stream: UnixStream,
    /// The longest line that the daemon takes; 0 where it didn't say.
    max_line: u64,
    next_id: u64,
}

/// A request, ready to be written.
#[derive(Debug)]
pub struct RequestLine {
    /// The id that its replies carry.
    pub id: u64,
    bytes: Vec<u8>,
}

impl Requests {
    pub(super) fn new(path: &Path, stream: UnixStream, max_line: u64) -> Requests {
        Requests { path: path.to_owned(), stream, max_line, next_id: 1 }
    }

    /// Sends a request, and gives the id that its replies will carry.
    ///
    /// # Errors
    /// As [`Requests::line`] and [`Requests::write_line`].
    pub fn send(&mut self, op: Op<'_>, deadline: Instant) -> Result<u64, Error> {
        let line = self.line(op)?;
        self.write_line(&line, deadline)?;
        Ok(line.id)
    }

    /// A request as a line that the daemon takes.
    ///
    /// # Errors
    /// [`Error::TooLong`].
    pub fn line(&mut self, op: Op<'_>) -> Result<RequestLine, Error> {
        let id = self.next_id;
        self.next_id += 1;
        let number = to_raw_value(&id).expect("a number is plain data");
        let mut bytes = Request { id: Some(&number), op, expand: false }.write();
        let (length, max) = (bytes.len() as u64, self.max_line);
        if max > 0 && length > max {
            return Err(Error::TooLong { path: self.path.clone(), length, max });
        }
        bytes.push(b'\n');
        Ok(RequestLine { id, bytes })
    }

    /// Writes a line. If it fails, the daemon has no whole line, and carries nothing out.
    ///
    /// # Errors
    /// [`Error::Late`], [`Error::Ended`] or [`Error::Broken`].
    pub fn write_line(&mut self, line: &RequestLine, deadline: Instant) -> Result<(), Error> {
        let mut rest = &line.bytes[..];
        while !rest.is_empty() {
            let timeout = left(deadline).ok_or_else(|| Error::Late { path: self.path.clone() })?;
            let result = self.stream.set_write_timeout(Some(timeout)).and_then(|()| self.stream.write(rest));
            match result {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(broken(&self.path, error)),
            }
        }
        Ok(())
    }
}
