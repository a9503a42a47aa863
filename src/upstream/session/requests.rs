//! Requests and their answers on one connection: which message is which, whose each answer is, and what the server
//! asks. Pure.

pub(in crate::upstream) mod calls;
pub(super) mod rules;
pub(super) mod serving;
pub(in crate::upstream) mod splice;

pub(in crate::upstream) use splice::Key;

/// How something goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) enum How {
    /// With the id that it has.
    Plain,
    /// It was asked as a request.
    Request,
    /// It is a send that gets an id if it is a request.
    Rewritten,
}

/// What a send of one or more messages has in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::upstream) struct Kinds {
    /// So many requests.
    pub(in crate::upstream) requests: usize,
    /// Answers to the server's requests of these ids.
    pub(in crate::upstream) answers: Vec<Key>,
}

impl Kinds {
    /// Whether there is nothing but answers in a send of so many messages.
    pub(in crate::upstream) fn are_answers(&self, messages: usize) -> bool {
        self.answers.len() == messages
    }
}

/// How many requests may go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) struct Room {
    /// So many now.
    pub(in crate::upstream) free: usize,
    /// So many at once, ever.
    pub(in crate::upstream) most: usize,
}

impl Room {
    /// No bound.
    pub(in crate::upstream) const ALL: Room = Room { free: usize::MAX, most: usize::MAX };
}

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
