//! The daemon's reply to `status`, for each command that wants to know how it is.

use std::time::Instant;

use super::failure::{Failure, Outcome, refusal};
use crate::{
    client::Client,
    protocol::{Line, Op, Status},
};

/// Asks for it. `line` holds the reply afterwards.
pub(super) fn status(client: &mut Client, line: &mut Vec<u8>, deadline: Instant) -> Outcome<Status<'static>> {
    client.ask(Op::Status, line, deadline)?;
    parse(line)
}

/// Reads it.
pub(super) fn parse(line: &[u8]) -> Outcome<Status<'static>> {
    if let Some(Line::Error(why)) = Line::parse(line) {
        return Err(Failure::failed(refusal(&why)));
    }
    serde_json::from_slice(line).map_err(|error| {
        Failure::failed(format!(
            "the daemon's status can't be read ({error}): use the `wsfan` that came with it, or --json"
        ))
    })
}
