//! What the server answers, each in its time.

use std::{
    collections::BTreeMap,
    sync::{
        Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::Pen;

/// What is still to be answered on a connection, by when.
#[derive(Default)]
pub(super) struct Answers {
    due: Mutex<Due>,
    changed: Condvar,
}

#[derive(Default)]
struct Due {
    /// By when each is to be said, and the id that it is to.
    answers: BTreeMap<(Instant, u64), (u64, String)>,
    /// No other will follow.
    is_over: bool,
}

impl Answers {
    pub(super) fn add(&self, id: u64, answers: Vec<(Duration, String)>) {
        let (now, mut due) = (Instant::now(), self.due.lock().unwrap());
        for (after, answer) in answers {
            let number = due.answers.len() as u64;
            let at = (0..).map(|more| (now + after, number + more)).find(|at| !due.answers.contains_key(at));
            due.answers.insert(at.expect("there are enough numbers"), (id, answer));
        }
        self.changed.notify_all();
    }

    /// The rest of them isn't said.
    pub(super) fn cut(&self, id: u64) {
        self.due.lock().unwrap().answers.retain(|_, (of, _)| *of != id);
    }

    pub(super) fn end(&self) {
        self.due.lock().unwrap().is_over = true;
        self.changed.notify_all();
    }

    /// Says each in its time, until the connection ends.
    pub(super) fn say(&self, pen: &Mutex<Pen>, silent: &AtomicBool) {
        let mut due = self.due.lock().unwrap();
        while !due.is_over {
            let now = Instant::now();
            let Some(next) = due.answers.first_entry() else {
                due = self.changed.wait(due).unwrap();
                continue;
            };
            let at = next.key().0;
            if at > now {
                due = self.changed.wait_timeout(due, at - now).unwrap().0;
                continue;
            }
            let (_, answer) = next.remove();
            drop(due);
            if !silent.load(Ordering::SeqCst) {
                // a connection that has ended says so to its reader
                let _ = pen.lock().unwrap().text(&answer);
            }
            due = self.due.lock().unwrap();
        }
    }
}
