//! The programs that run for one connection and make its messages.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use super::commands;
use crate::upstream::session::runs::Run;

/// What a program has printed, or the end of a sentence.
pub(in crate::upstream) type Outcome = Result<Vec<u8>, String>;

/// They run as long as this is there: what is dropped is killed, with all that it started. The session bounds how
/// many there are.
#[derive(Default)]
pub(in crate::upstream) struct Makers(Vec<(u64, Maker)>);

type Maker = Pin<Box<dyn Future<Output = Outcome>>>;

impl Makers {
    /// Runs a program.
    pub(in crate::upstream) fn begin(&mut self, run: Run) {
        let Run { id, command, stdin, max, redactor } = run;
        let outcome = async move {
            let printed = commands::print(&command.program, stdin, &redactor, max).await;
            printed.map_err(|failed| failed.why)
        };
        self.0.push((id, Box::pin(outcome)));
    }

    /// Kills those whose outcome nobody awaits.
    pub(in crate::upstream) fn keep(&mut self, is_awaited: impl Fn(u64) -> bool) {
        self.0.retain(|(id, _)| is_awaited(*id));
    }

    /// The outcome of one that has ended. Cancel-safe.
    pub(in crate::upstream) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(u64, Outcome)> {
        for (at, (id, outcome)) in self.0.iter_mut().enumerate() {
            if let Poll::Ready(outcome) = outcome.as_mut().poll(cx) {
                let id = *id;
                drop(self.0.swap_remove(at));
                return Poll::Ready((id, outcome));
            }
        }
        Poll::Pending
    }
}
