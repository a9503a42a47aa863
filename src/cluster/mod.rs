//! The cluster: several machines, one link, one log. Pure.
//!
//! The log is a JetStream stream, and an append that names the stream's last sequence
//! (`Nats-Expected-Last-Sequence`) is the lease: whoever's append is accepted leads, and silence of the stream, timed on
//! each node's own clock, is the only reason to try. What decides is one [`Machine`], with the contract of one loop:
//! [`Machine::handle`] what happened, drain [`Machine::poll_order`] and do it, give it the lines that it
//! [wants](Machine::wanted), then wait for the next happening or for [`Machine::next_timeout`].
//!
//! Why one link is open at a time: the leader closes its link 0.7 of a lease after its newest acknowledged append was
//! *sent*. A candidate's append is accepted only if it has seen all that is stored, so it saw the leader's newest after
//! that, and waited a whole lease from there. That holds while clock rates differ by less than 17 %.
//!
//! Why entries are the same everywhere: nobody is given one before its append is acknowledged, and each message names
//! the one before by its nonce. What isn't linked so is passed over: what was written by somebody else, and what a
//! former leader still had on its way, which the stream takes where the numbers happen to fit.

mod appends;
mod batch;
mod body;
mod candidate;
mod chain;
mod counts;
mod events;
mod follower;
mod leader;
mod lease;
mod machine;
mod moment;
mod parts;
mod resigning;
mod resync;
mod settings;
mod standing;
mod term;

#[cfg(test)]
mod tests;

pub(crate) use batch::{Body, Header, MAX_BATCH, Message, Stored};
pub(crate) use body::entries;
pub(crate) use counts::{Counts, Fenced};
pub(crate) use events::{Answer, AppendId, AskId, Away, Event, Order, ReadId, Tell};
pub(crate) use lease::Lease;
pub(crate) use machine::{Machine, Wanted};
pub(crate) use moment::Moment;
pub(crate) use settings::Settings;
pub(crate) use standing::{Role, Standing};
pub(crate) use term::{Opening, opening};
