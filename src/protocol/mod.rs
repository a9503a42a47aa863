//! The local protocol, version 1: what stands on the lines between the daemon and its clients. Pure.
//!
//! Each line is one type, written and read by it. `docs/protocol.md` is the description.

mod json;
mod message;

pub(crate) use json::{Json, json};
pub use message::{Data, Encoder, Room, Sink, longest};
