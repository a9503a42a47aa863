//! A client's requests: each is a send whose answer comes back in its client's own lane.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    rc::Rc,
    time::Duration,
};

use serde_json::value::RawValue;

use super::{ClientReader, dropped, now};
use crate::{
    config::{Format, cut},
    hub::{Asks, Caller, Cancellation, Command, MayAnswer, NoAnswer, Payload, Send, Ticket, Told},
    local::{dialogue::replies, fanout::Answered},
    protocol::{Bye, Code, Done},
};

impl ClientReader {
    /// `request`: the answer, or why there is none, is told in any case.
    pub(super) async fn ask(&self, id: &RawValue, json: &RawValue, timeout: Option<Duration>, expand: bool) {
        let refuse = |why| self.fanout.reply(self.id, &replies::no_answer(id, why));
        if self.asked.borrow().contains(id.get()) {
            return refuse(NoAnswer::Twice);
        }
        let payload = Payload::Text(json.get().to_owned());
        if expand && !self.can_expand(Some(id), std::iter::once(&payload)) {
            return;
        }
        if let Some((code, why)) = self.access.refuses(now(), &self.who, std::iter::once(&payload)) {
            return self.refuse(Some(id), "request", code, &why);
        }
        let Some(quota) = self.hub.take_quota(self.id) else { return refuse(NoAnswer::TooMany) };
        let extra = 2 * id.get().len();
        let Some(permit) = self.admit(Send::cost_of(&payload, &[], extra)).await else { return };
        self.asked.borrow_mut().insert(id.get().into());
        let caller = self.caller(id.to_owned());
        let (hub, fanout, client, heard) = (self.hub.clone(), self.fanout.clone(), self.id, caller.clone());
        let ticket = Ticket::new(permit, move |fate| {
            if fate.is_failure() {
                hub.counters().fate(fate);
                heard.fail(NoAnswer::Fate(fate));
                if !fanout.can_be_told(client) {
                    dropped(&hub, &fanout, client);
                }
            }
        });
        let asks = Asks { caller, is_request: true, timeout, until: None, quota: Some(quota) };
        let send = Send { asks: Some(Box::new(asks)), extra, expand, ..Send::new(payload, ticket, extra) };
        self.hub.command(Command::Send(send)).await;
    }

    fn caller(&self, id: Box<RawValue>) -> Caller {
        let (hub, fanout, client) = (self.hub.clone(), self.fanout.clone(), self.id);
        let is_answered = Cell::new(false);
        let wait = Awaited { asked: Rc::clone(&self.asked), id: id.get().into() };
        let own = id.clone();
        Caller::new(Rc::clone(&self.from), Some(id), move |told| match told {
            Told::Answer { payload, more, failed } => {
                if !is_answered.replace(true) {
                    hub.counters().answered();
                }
                if !more {
                    wait.end();
                }
                match fanout.answer(client, &replies::answer(Some(&own), payload, more, failed)) {
                    Answered::Taken => true,
                    Answered::Gone => false,
                    Answered::Overrun => {
                        wait.end();
                        hub.counters().no_answer(NoAnswer::Overrun);
                        fanout.reply(client, &replies::no_answer(&own, NoAnswer::Overrun));
                        false
                    }
                }
            }
            Told::Nothing(why) => {
                wait.end();
                hub.counters().no_answer(why);
                fanout.reply(client, &replies::no_answer(&own, why));
                true
            }
        })
    }

    /// What goes with a send, where sends may be requests. Its client hears answers; what there is to say of a send is
    /// its fate.
    pub(super) fn asks(&self, id: Option<Box<RawValue>>) -> Option<Box<Asks>> {
        if !self.hub.rewrites() {
            return None;
        }
        let (hub, fanout, client, format) = (self.hub.clone(), self.fanout.clone(), self.id, self.format);
        let own = id.clone();
        let caller = Caller::new(Rc::clone(&self.from), id, move |told| {
            let Told::Answer { payload, more, failed } = told else { return true };
            let line = match format {
                Format::Envelope => replies::answer(own.as_deref(), payload, more, failed),
                Format::Raw => replies::raw_answer(payload),
            };
            match fanout.answer(client, &line) {
                Answered::Taken => true,
                Answered::Gone => false,
                Answered::Overrun => {
                    hub.counters().no_answer(NoAnswer::Overrun);
                    match format {
                        Format::Envelope => {
                            fanout.reply(client, &replies::overrun(own.as_deref()));
                        }
                        // there is no line to say it with
                        Format::Raw => fanout.dismiss(client, Bye::BadClient),
                    }
                    false
                }
            }
        });
        let quota = self.hub.take_quota(self.id);
        Some(Box::new(Asks { caller, is_request: false, timeout: None, until: None, quota }))
    }

    /// `cancel`: no more answers to a request.
    pub(super) async fn cancel(&self, id: Option<&RawValue>, request: &RawValue) {
        let (fanout, client) = (self.fanout.clone(), self.id);
        let (id, request) = (id.map(RawValue::to_owned), request.to_owned());
        let shown = cut(request.get(), 40);
        let tell = move |is_there: bool| {
            let line = match (is_there, &id) {
                (true, Some(id)) => replies::ok(id, Done::Cancelled),
                (true, None) => return,
                (false, id) => {
                    let message = format!("no request {shown} of this client waits for an answer");
                    replies::error(id.as_deref(), Code::BadRequest, &message)
                }
            };
            fanout.reply(client, &line);
        };
        let cancellation = Cancellation { from: Rc::clone(&self.from), request, tell: Box::new(tell) };
        self.hub.command(Command::Cancel(cancellation)).await;
    }

    /// Whether it may answer the server now.
    pub(super) fn may_answer(&self) -> MayAnswer {
        self.hub.may_answer(self.id, self.access.config().answers)
    }

    /// Whether it may claim the answers to the server for itself alone.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn may_claim(&self) -> Result<(), (Code, String)> {
        match self.may_answer() {
            MayAnswer::Yes => Ok(()),
            MayAnswer::Claimed(client) => Err((
                Code::AnswererTaken,
                format!("client {client} has claimed the answers to the server's requests, until it leaves"),
            )),
            MayAnswer::OfOthers => Err((
                Code::Forbidden,
                "only clients of a listener with `answers = true` answer the server's requests".to_owned(),
            )),
        }
    }
}

/// A request that waits, by its client's id.
struct Awaited {
    asked: Rc<RefCell<BTreeSet<Box<str>>>>,
    id: Box<str>,
}

impl Awaited {
    fn end(&self) {
        self.asked.borrow_mut().remove(&self.id);
    }
}
