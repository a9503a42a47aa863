//! What is asked of the link: sends, orders, and settings that have changed.

use std::time::Instant;

use super::{Link, last_values, now};
use crate::{
    hub::{Cancellation, Command, Fate, Send},
    upstream::{attempt::Dial, machine::Input},
};

impl<D: Dial + 'static> Link<D> {
    /// A command. The channel never ends while the hub lives; were it so, nobody could say stop.
    pub(super) fn command(&mut self, command: Option<Command>) {
        let now = now();
        match command {
            Some(Command::Send(send)) => self.send(now, send),
            Some(Command::Cancel(cancellation)) => self.cancel(now, cancellation),
            Some(Command::Open) => self.machine.handle(now, Input::Open),
            Some(Command::Reconnect) => self.machine.handle(now, Input::Reconnect),
            Some(Command::Close) => self.machine.handle(now, Input::Close),
            Some(Command::Stop) | None => self.machine.handle(now, Input::Stop),
        }
    }

    fn send(&mut self, now: Instant, send: Send) {
        let limits = &self.present.terms.limits;
        let refused = if let Some(max) = limits.max_message.filter(|max| send.largest() > *max) {
            Some(Fate::TooLarge(max))
        } else if let Some(most) = self.is_over(now, &send) {
            Some(Fate::TooMany(most))
        } else {
            self.machine.refuses(now, self.backlog.ahead(), send.count()).then_some(Fate::RateLimited)
        };
        if let Some(fate) = refused {
            return send.ticket.settle(fate);
        }
        // what answers the server does so from here on, and nothing refuses it any more
        let Some((send, kinds)) = self.machine.take(now, send) else { return };
        if self.machine.sender().is_some() || self.is_draining() {
            self.backlog.push(send, &kinds);
        } else {
            self.backlog.hold(now, send, &kinds, self.machine.state_for_sends());
        }
    }

    /// A client wants no more answers to a request.
    fn cancel(&mut self, now: Instant, cancellation: Cancellation) {
        let Cancellation { from, request, tell } = cancellation;
        let is_there = self.backlog.cancel(from.client, request.get())
            || self.machine.cancel(now, from.client, request.get());
        tell(is_there);
    }

    /// Clients that have left take no answers any more.
    pub(super) fn part(&mut self) {
        for from in self.hub.take_left() {
            self.machine.part(now(), from.client);
        }
    }

    /// The most messages that ever go out at once, if this is a unit of more.
    fn is_over(&self, now: Instant, send: &Send) -> Option<usize> {
        let most = (!send.rest.is_empty()).then(|| self.machine.leeway(now).most)?;
        (send.count() > most).then_some(most)
    }

    /// Says whether sends may be requests.
    pub(super) fn tell_rewrites(&self) {
        let requests = self.present.terms.requests.as_ref();
        self.hub.set_rewrites(requests.is_some_and(|requests| requests.rewrite_sends));
    }

    /// Takes new settings over.
    pub(super) fn change_settings(&mut self) {
        let Some(settings) = &mut self.settings else {
            return;
        };
        let new = settings.take();
        if self.present.terms.subscriptions != new.terms.subscriptions {
            self.hub.with_topics(|topics| topics.set_terms(new.terms.subscriptions.clone()));
        }
        last_values::retain(&self.hub, Some(&self.present), &new);
        self.hub.set_public(new.terms.public_captures());
        self.present = new.clone();
        self.backlog.set_limits(new.outbox);
        self.tell_rewrites();
        self.machine.handle(now(), Input::Settings(Box::new(new)));
    }
}
