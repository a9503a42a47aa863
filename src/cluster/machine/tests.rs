//! The machine on simulated clocks, with a simulated stream.

mod clock;
mod counted;
mod denied;
mod failover;
mod following;
mod hour;
mod leading;
mod node;
mod reference;
mod resigning;
mod rig;
mod server;
mod shell;
pub(in crate::cluster) mod stream;
mod upstream;
mod weather;
mod world;
