//! A connection that stands: what goes between its session and NATS's client.

use std::{
    future::{Future as _, poll_fn},
    pin::Pin,
    sync::atomic::Ordering,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use tokio::time::Sleep;

use super::{
    Arrival,
    dial::{Connection, Sign},
    inflow::{Came, Inflow, Place},
    outflow::{self, Done, Full, Outflow},
    session::{self, Out, Session},
    trouble::Trouble,
};

/// A connection that stands.
pub(super) struct Connected {
    pub(super) session: Session,
    pub(super) connection: Connection,
    outflow: Outflow,
    inflow: Inflow,
    timer: Pin<Box<Sleep>>,
    /// Why it is to be given up, where that isn't that it is lost.
    pub(super) fault: Option<Trouble>,
}

impl Connected {
    /// One that has just been made. `base` begins JetStream's addresses, `inbox` those of other nodes' answers, and what
    /// is `heard` comes beside them.
    pub(super) fn new<'h>(
        session: Session,
        connection: Connection,
        base: &str,
        inbox: &str,
        heard: impl Iterator<Item = &'h String>,
    ) -> Connected {
        let mut outflow = Outflow::new(connection.client.clone());
        // before anything is said that is answered there
        outflow.subscribe(Place::Answers, format!("{}.>", session::answers(base)));
        outflow.subscribe(Place::Inbox, format!("{inbox}.>"));
        for subject in heard {
            outflow.subscribe(Place::Heard(subject.clone()), subject.clone());
        }
        Connected {
            session,
            connection,
            outflow,
            inflow: Inflow::new(),
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            fault: None,
        }
    }

    /// Hears what comes to this subject.
    pub(super) fn hear(&mut self, subject: &str) {
        self.outflow.subscribe(Place::Heard(subject.to_owned()), subject.to_owned());
    }

    /// Hears no more of it.
    pub(super) fn hear_no_more(&mut self, subject: &str) {
        self.outflow.unsubscribe(Place::Heard(subject.to_owned()));
    }

    /// Hands over what is to go out, as far as there is room. False where something waits, or has arrived.
    pub(super) fn flush_now(&mut self) -> bool {
        let flushed = tokio::task::unconstrained(poll_fn(|cx| Poll::Ready(self.flush(cx)))).now_or_never();
        flushed == Some(true) && self.session.arrivals.is_empty()
    }

    /// Hands over all that waits, and ends when the server has it.
    pub(super) async fn close(mut self) {
        poll_fn(|cx| if self.flush(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
        let _ = self.connection.client.flush().await; // or the connection is lost
    }

    /// The next arrival; none when the connection is to be given up.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Arrival>> {
        loop {
            if self.session.is_of_no_use() {
                return Poll::Ready(None);
            }
            self.flush(cx);
            if let Some(arrival) = self.session.arrivals.pop_front() {
                return Poll::Ready(Some(arrival));
            }
            if self.fault.is_some() {
                return Poll::Ready(None);
            }
            match self.poll_connection(cx) {
                Poll::Ready(true) => {}
                Poll::Ready(false) => return Poll::Ready(None),
                Poll::Pending => {
                    if self.poll_timer(cx).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    /// Takes one thing that has come; false where the connection is lost.
    fn poll_connection(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let now = Instant::now();
        match self.connection.signs.poll_recv(cx) {
            Poll::Ready(Some(Sign::Complaint(text))) => {
                self.session.complaint(now, &text);
                return Poll::Ready(true);
            }
            Poll::Ready(Some(Sign::Lost) | None) => return Poll::Ready(false),
            Poll::Pending => {}
        }
        if self.connection.client.connection_state() != async_nats::connection::State::Connected {
            return Poll::Ready(false);
        }
        if self.connection.overrun.swap(false, Ordering::Relaxed) {
            self.session.overrun();
            return Poll::Ready(true);
        }
        let Poll::Ready(came) = self.inflow.poll(cx) else { return Poll::Pending };
        match came {
            Came::Answer(answer) => self.session.take(now, &answer),
            Came::Said(message) => self.session.hear(message),
            Came::Read(message) => self.session.take_read(now, message),
            Came::Overrun => self.session.overrun(),
            Came::Flooded => self.fault = Some(Trouble::flooded(&self.connection.url)),
            Came::Lost => return Poll::Ready(false),
        }
        Poll::Ready(true)
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(next) = self.session.next_timeout() else { return Poll::Pending };
        let now = Instant::now();
        if next <= now {
            self.session.timeout(now);
            return Poll::Ready(());
        }
        let next = tokio::time::Instant::from_std(next);
        // a deadline that has moved away is looked at when the old one has come: it moves with each message
        if self.timer.is_elapsed() || self.timer.deadline() > next {
            self.timer.as_mut().reset(next);
        }
        match self.timer.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Hands to the connection what is to go out; false where something must wait.
    fn flush(&mut self, cx: &mut Context<'_>) -> bool {
        while let Some(out) = self.session.outs.pop_front() {
            match out {
                Out::Publish(message) => {
                    if let Err(Full) = self.outflow.publish(message, outflow::MAX_WAITING) {
                        self.fault = Some(Trouble::clogged(&self.connection.url));
                    }
                }
                Out::Say(message) => {
                    if let Err(Full) = self.outflow.publish(message, outflow::MAX_SAID) {
                        self.session.is_unsaid();
                    }
                }
                Out::ReadAt(subject) => {
                    self.inflow.remove(&Place::Read);
                    self.outflow.subscribe(Place::Read, subject);
                }
                Out::ReadNoMore => self.outflow.unsubscribe(Place::Read),
            }
        }
        while let Poll::Ready(Some(done)) = self.outflow.poll(cx) {
            match done {
                Done::Subscribed(place, subscriber) => self.inflow.set(place, subscriber),
                Done::Drop(place) => self.inflow.remove(&place),
                Done::Published => {}
            }
        }
        self.outflow.is_empty()
    }
}
