//! Nodes and leaders that talk through a carrier that loses, delays and doubles, on a clock of their own.

mod asked;
mod story;
mod weather;
mod world;
