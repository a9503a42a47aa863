//! The cluster: several machines, one link, one log.
//!
//! [`machine`] decides, by what happens and when; `nats` is the way to the stream that is the log and to the other
//! nodes; [`node`] is the loop around them, and [`Host`] the daemon around that. `forward` carries what clients of one
//! machine ask of the link that another one holds.

mod clock;
mod forward;
mod host;
pub(crate) mod machine;
mod nats;
mod node;
mod report;
pub(crate) mod tool;

pub(crate) use host::{Host, LinkEnd};
pub(crate) use node::Node;
