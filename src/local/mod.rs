//! The local room: sockets, clients, and the protocol spoken with them.
//!
//! Lines out are written by the [`Fanout`] alone, for all clients; lines in are read by one small
//! task for each client. The two never wait for one another.

mod access;
mod budget;
mod burst;
mod client;
mod dialogue;
mod fanout;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod latest;
mod linger;
mod listener;
mod selections;
mod socket;
mod status;
mod sys;

pub(crate) use access::own_grant;
pub(crate) use fanout::Fanout;
pub(crate) use listener::{Handle, Listener};
pub(crate) use socket::{BindError, Ids, outlook};
