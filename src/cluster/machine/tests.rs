//! The machine on simulated clocks, with a simulated stream.

mod clock;
mod failover;
mod hour;
mod node;
mod reference;
mod script;
mod server;
mod shell;
mod stream;
mod upstream;
mod weather;
mod world;
