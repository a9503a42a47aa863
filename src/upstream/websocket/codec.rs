//! The protocol of a connection that is open, without its I/O (RFC 6455, sections 5 to 8).

pub(super) mod closing;
pub(super) mod deflate;
pub(super) mod inbound;
pub(super) mod outbound;
pub(super) mod stall;
