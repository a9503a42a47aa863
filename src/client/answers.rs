//! The answers to a request.

use std::time::{Duration, Instant};

use serde_json::value::{RawValue, to_raw_value};

use super::{Client, Error, Lines, is_reply};
use crate::protocol::{Answer, Line, Op};

/// The answers to one request, as they come: mostly one.
#[derive(Debug)]
pub struct Answers<'c> {
    client: &'c mut Client,
    id: u64,
    line: Vec<u8>,
    is_over: bool,
}

impl Client {
    /// Sends a request to the server, whose answers come to this client alone. `timeout`, which is rounded up to
    /// milliseconds, is for the first answer, from 1 ms to 24 h; left out, it is `requests.timeout` of the daemon's
    /// configuration. `deadline` is for the daemon to take the line.
    ///
    /// ```no_run
    /// use std::{path::Path, time::{Duration, Instant}};
    /// use serde_json::value::RawValue;
    /// use wsfan::client::{Client, Error};
    ///
    /// fn print_answers(socket: &Path, request: &RawValue) -> Result<(), Error> {
    ///     let mut client = Client::connect(socket)?;
    ///     let soon = Instant::now() + Duration::from_secs(10);
    ///     let mut answers = client.request(request, Some(Duration::from_secs(5)), soon)?;
    ///     // one, or those of a stream until it ends
    ///     while let Some(answer) = answers.next(None)? {
    ///         let said = if answer.failed { "refused" } else { "answered" };
    ///         println!("{said}: {}", answer.json.map_or("", RawValue::get));
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// The line isn't taken: as [`Requests::send`](super::Requests::send).
    pub fn request(
        &mut self,
        json: &RawValue,
        timeout: Option<Duration>,
        deadline: Instant,
    ) -> Result<Answers<'_>, Error> {
        let millis =
            |timeout: Duration| u64::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        let timeout_ms = timeout.map(|timeout| millis(timeout).max(1));
        let id = self.requests.send(Op::Request { json, timeout_ms }, deadline)?;
        Ok(Answers { client: self, id, line: Vec::new(), is_over: false })
    }
}

impl Answers<'_> {
    /// The id that the request has in its line, by which [`Op::Cancel`] names it.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The next answer; none after the last, which has no `more`. Whatever else comes in between is skipped. Without
    /// `deadline` it waits for as long as the daemon does: for the first no longer than the request's timeout.
    ///
    /// # Errors
    /// [`Error::Refused`] where the daemon says that there is no answer, or no other, by the names of
    /// [`Code`](crate::protocol::Code): `timeout`, `link_down`, `unknown`, `overrun`, or why the request isn't sent.
    /// What the server refuses is an answer that has `failed`. Or as [`Lines::reply`].
    pub fn next(&mut self, deadline: Option<Instant>) -> Result<Option<Answer<'_>>, Error> {
        if self.is_over {
            return Ok(None);
        }
        let Answers { client, id, line, is_over } = self;
        until_reply(&mut client.lines, *id, line, deadline)?;
        match Line::parse(line) {
            Some(Line::Answer(answer)) => {
                *is_over = !answer.more;
                Ok(Some(answer))
            }
            Some(Line::Error(refusal)) => {
                *is_over = true;
                Err(Error::refused(&refusal))
            }
            _ => {
                *is_over = true;
                Ok(None)
            }
        }
    }

    /// Ends the request before its last answer: what the configuration has for that is said to the server, and no other
    /// answer comes.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub fn cancel(self, deadline: Instant) -> Result<(), Error> {
        if self.is_over {
            return Ok(());
        }
        let Answers { client, id, mut line, .. } = self;
        let request = to_raw_value(&id).expect("a number is plain data");
        client.ask(Op::Cancel { request: &request }, &mut line, deadline)
    }
}

fn until_reply(
    lines: &mut Lines,
    id: u64,
    line: &mut Vec<u8>,
    deadline: Option<Instant>,
) -> Result<(), Error> {
    if let Some(deadline) = deadline {
        return lines.reply(id, line, deadline);
    }
    loop {
        lines.read(line, None)?;
        if is_reply(line, id, lines.path())? {
            return Ok(());
        }
    }
}
