//! The cluster: several machines, one link, one log.
//!
//! [`machine`] decides, by what happens and when; `nats` is the way to the stream that is the log.

pub(crate) mod machine;
mod nats;
mod report;
