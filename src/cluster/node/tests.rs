//! The loop: several nodes with their hubs in one runtime, on a simulated clock, with a simulated NATS and a link that
//! needs no server.

mod away;
mod daemon;
mod servers;
mod stories;
mod upstream;
mod world;
