//! Requests and their answers on one connection: which message is which, whose each answer is, and what the server
//! asks. Pure.

pub(in crate::upstream) mod calls;
pub(super) mod rules;
pub(super) mod serving;
pub(in crate::upstream) mod splice;

pub(in crate::upstream) use splice::Key;

/// What something that goes out is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::upstream) enum Kind {
    /// A request, whose answer is awaited.
    Request,
    /// An answer to the server's request of this id.
    Answer(Key),
    /// Neither.
    Plain,
}
