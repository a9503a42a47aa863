//! What the stream holds: its state, and a few messages one by one, all from the leader of its Raft group. (A direct
//! get may be answered by a replica that lags.)

use std::{collections::BTreeMap, time::Instant};

use super::api::{ApiError, NO_MESSAGE, StreamState};
use crate::cluster::machine::{Answer, AskId, Stored};

/// So many messages are asked for at once; the rest is read, or asked for after it.
pub(super) const FEW: u64 = 16;

/// A question that is being answered.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) id: AskId,
    from: u64,
    pub(super) until: Instant,
    state: Option<StreamState>,
    /// The places that are still to be told of.
    waits_for: u64,
    covered: u64,
    found: BTreeMap<u64, Stored>,
}

/// How far it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// These messages are to be asked for.
    Get(std::ops::RangeInclusive<u64>),
    /// Something more must come.
    Wait,
    /// That is the answer.
    Done(Answer),
    /// There is none.
    Failed,
}

impl Asking {
    pub(super) fn new(id: AskId, from: u64, until: Instant) -> Asking {
        Asking { id, from: from.max(1), until, state: None, waits_for: 0, covered: 0, found: BTreeMap::new() }
    }

    /// The stream's state has come.
    pub(super) fn state(&mut self, state: StreamState) -> Step {
        self.state = Some(state);
        let start = self.from.max(state.first_seq);
        if start > state.last_seq {
            self.covered = state.last_seq;
            return self.step();
        }
        self.covered = state.last_seq.min(start + (FEW - 1));
        self.waits_for = self.covered - start + 1;
        Step::Get(start..=self.covered)
    }

    /// A message has come, or word that it isn't there.
    pub(super) fn got(&mut self, answer: Result<Stored, ApiError>) -> Step {
        let Some(state) = self.state else { return Step::Failed };
        match answer {
            Ok(stored) => _ = self.found.insert(stored.place, stored),
            // somebody took it out. Otherwise the stream has let go of it since, or lost it, or its leader has just
            // become that and doesn't know it yet: that is asked anew.
            Err(error) if error.err_code == NO_MESSAGE && state.num_deleted > 0 => {}
            Err(_) => return Step::Failed,
        }
        self.waits_for = self.waits_for.saturating_sub(1);
        self.step()
    }

    fn step(&mut self) -> Step {
        let Some(state) = self.state.filter(|_| self.waits_for == 0) else { return Step::Wait };
        let messages = std::mem::take(&mut self.found).into_values().collect();
        Step::Done(Answer { id: self.id, last: state.last_seq, covered: self.covered, messages })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(first_seq: u64, last_seq: u64, num_deleted: u64) -> StreamState {
        StreamState {
            messages: (last_seq + 1).saturating_sub(first_seq),
            bytes: 0,
            first_seq,
            last_seq,
            num_deleted,
        }
    }

    fn stored(place: u64) -> Stored {
        Stored { place, header: None, body: Vec::new() }
    }

    fn none() -> ApiError {
        ApiError { code: 404, err_code: NO_MESSAGE, description: "no message found".into() }
    }

    fn asking(from: u64) -> Asking {
        Asking::new(AskId::of(1), from, Instant::now())
    }

    fn done(step: Step) -> (u64, u64, Vec<u64>) {
        match step {
            Step::Done(answer) => {
                (answer.last, answer.covered, answer.messages.iter().map(|stored| stored.place).collect())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nothing_lies_behind_the_end() {
        assert_eq!(done(asking(1).state(state(0, 0, 0))), (0, 0, vec![]));
        assert_eq!(done(asking(10).state(state(1, 9, 0))), (9, 9, vec![]));
        assert_eq!(done(asking(1).state(state(10, 9, 0))), (9, 9, vec![]), "it was emptied");
    }

    #[test]
    fn messages_come_in_the_streams_order_and_in_small_numbers() {
        let mut few = asking(3);
        assert_eq!(few.state(state(1, 5, 0)), Step::Get(3..=5));
        assert_eq!(few.got(Ok(stored(4))), Step::Wait);
        assert_eq!(few.got(Ok(stored(3))), Step::Wait);
        assert_eq!(done(few.got(Ok(stored(5)))), (5, 5, vec![3, 4, 5]));

        let mut many = asking(1);
        assert_eq!(many.state(state(101, 1000, 0)), Step::Get(101..=116));
        (101..116).for_each(|place| assert_eq!(many.got(Ok(stored(place))), Step::Wait));
        assert_eq!(done(many.got(Ok(stored(116)))), (1000, 116, (101..=116).collect()));
    }

    #[test]
    fn a_message_that_should_be_there_and_isnt_makes_no_answer() {
        let mut lost = asking(3);
        assert_eq!(lost.state(state(1, 4, 0)), Step::Get(3..=4));
        assert_eq!(lost.got(Err(none())), Step::Failed);

        let mut taken_out = asking(3);
        assert_eq!(taken_out.state(state(1, 4, 1)), Step::Get(3..=4));
        assert_eq!(taken_out.got(Err(none())), Step::Wait);
        assert_eq!(done(taken_out.got(Ok(stored(4)))), (4, 4, vec![4]));
        let mut unanswered = asking(3);
        unanswered.state(state(1, 4, 1));
        assert_eq!(unanswered.got(Err(ApiError { err_code: 10_008, ..none() })), Step::Failed);
    }
}
