//! What the leader hears from other nodes' clients, for its link. One for each term. Pure.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
    time::{Duration, Instant},
};

use serde_json::value::RawValue;

use super::{
    MAX_HANDED, MAX_HANDED_SENDS, Out, Settings,
    words::{self, Ask, Asked, Head, MayNotAnswer, Sent, Word},
};
use crate::hub::{
    Asks, Caller, Cancellation, Command, Fate, Hub, LinkState, NoAnswer, Origin, Permit, Send, Ticket,
};

mod node;
mod told;
mod wanted;

use self::{
    node::NodeSession,
    told::{Entry, Happened, Told},
};

/// So many sessions there are at once.
const MAX_SESSIONS: usize = 256;
/// So many sessions that have ended are remembered, so that nothing of them is taken twice; beyond them none begins.
const MAX_ENDED: usize = 65_536;
/// Clients of other machines have numbers from here on.
const REMOTE: u64 = 1 << 62;
/// Before the hub is asked once more whether it has room.
const AGAIN: Duration = Duration::from_millis(5);
/// Before it is looked once more whether the link is up, for those whose sends were given back.
const LOOK: Duration = Duration::from_millis(100);
/// A node that begins anew has so long to say what its clients want, before what they wanted is given up.
const ANEW: Duration = Duration::from_secs(3);

/// The leader's end.
pub(in super::super) struct Intake {
    settings: Settings,
    hub: Hub,
    sessions: BTreeMap<String, NodeSession>,
    ended: BTreeSet<String>,
    told: Rc<Told>,
    /// What the hub has no room for yet.
    commands: VecDeque<Command>,
    out: VecDeque<Out>,
    next_client: u64,
    taken: u64,
    look_at: Option<Instant>,
    /// Whom nodes were before they began anew: what they want is theirs until then.
    former: Vec<(Instant, Rc<Origin>)>,
}

impl Intake {
    /// The end of a leader whose term has begun. `stir` is called whenever there is something to [poll](Intake::poll)
    /// for, from within what tells a send's fate: it must do no more than wake somebody.
    pub(in super::super) fn new(settings: Settings, hub: Hub, stir: impl Fn() + 'static) -> Intake {
        Intake {
            settings,
            hub,
            sessions: BTreeMap::new(),
            ended: BTreeSet::new(),
            told: Told::new(stir),
            commands: VecDeque::new(),
            out: VecDeque::new(),
            next_client: REMOTE,
            taken: 0,
            look_at: None,
            former: Vec::new(),
        }
    }

    /// How many sends came from other nodes.
    pub(in super::super) fn taken(&self) -> u64 {
        self.taken
    }

    /// A message came to the subject of this term's sends.
    pub(in super::super) fn heard(&mut self, now: Instant, reply: Option<&str>, payload: &[u8]) {
        let Some((head, body)) = Head::read(payload) else { return };
        // a frame's own subject ends with its number
        let Some((reply, _)) = reply.and_then(|reply| reply.rsplit_once('.')) else { return };
        let is_known = self.sessions.contains_key(&*head.session);
        if !is_known && head.offset > 0 && !self.ended.contains(&*head.session) {
            return; // what it begins with was lost, and comes again
        }
        if !is_known && !self.begin(now, reply, &head) {
            let payload = Head::over(&self.settings.node, &head.session);
            return self.out.push_back(Out { subject: reply.to_owned(), reply: None, payload });
        }
        let id = head.session.into_owned();
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let mut is_fit = session.channel.hear(now, head.offset, head.ack, body).is_ok();
        while is_fit && let Some(parcel) = self.sessions.get_mut(&id).and_then(|of| of.channel.parcel()) {
            is_fit = words::read(&parcel).is_some_and(|(ask, body)| self.take(now, &id, ask, body));
        }
        if !is_fit {
            tracing::warn!(
                node = &*head.node,
                "another node says something that this one doesn't understand"
            );
            self.end(now, &id);
        }
        self.flush();
    }

    /// Begins a session, if it isn't one that has ended. A node has one: who begins anew has ended the one before.
    fn begin(&mut self, now: Instant, reply: &str, head: &Head<'_>) -> bool {
        let has_room = self.sessions.len() < MAX_SESSIONS && self.ended.len() < MAX_ENDED;
        if head.is_over || self.ended.contains(&*head.session) || !has_room {
            return false;
        }
        let before = self.sessions.iter().filter(|(_, session)| session.node == head.node);
        let before: Vec<_> = before.map(|(id, _)| id.clone()).collect();
        for id in before {
            let holder = self.sessions.get_mut(&id).and_then(|session| session.holder.take());
            self.former.extend(holder.map(|holder| (now + ANEW, holder)));
            self.end(now, &id);
        }
        let session = NodeSession::new(&head.node, reply, self.settings.max_payload, Rc::clone(&self.told));
        self.sessions.insert(head.session.clone().into_owned(), session);
        true
    }

    /// A node isn't there any more: nothing of it is awaited, and nothing told.
    pub(in super::super) fn gone(&mut self, now: Instant, node: &str) {
        let of_node = self.sessions.iter().filter(|(_, session)| session.node == node);
        let of_node: Vec<_> = of_node.map(|(id, _)| id.clone()).collect();
        of_node.iter().for_each(|id| self.end(now, id));
    }

    fn quit(&mut self, id: &str) {
        if let Some(session) = self.sessions.remove(id) {
            session.quit();
            self.ended.insert(id.to_owned());
        }
    }

    /// Ends a session, and with it all that its clients hold.
    fn end(&mut self, now: Instant, id: &str) {
        if let Some(session) = self.sessions.get(id) {
            session.clients.values().chain(&session.holder).for_each(|from| self.hub.leave(from, now));
        }
        self.quit(id);
    }

    /// The term is over: nothing of what other nodes' clients want is wanted of this one any more.
    pub(in super::super) fn close(&mut self, now: Instant) {
        let all: Vec<_> = self.sessions.keys().cloned().collect();
        all.iter().for_each(|id| self.end(now, id));
        std::mem::take(&mut self.former).iter().for_each(|(_, from)| self.hub.leave(from, now));
    }

    /// Takes what a node asks. False where that makes no sense.
    fn take(&mut self, now: Instant, id: &str, ask: Ask, body: &[u8]) -> bool {
        match ask {
            Ask::Send(sent) => return self.send(now, id, *sent, body),
            Ask::Cancel { n, client, request } => self.cancel(id, n, client, request),
            Ask::Control { order } => {
                let node = self.sessions.get(id).map(|session| &*session.node);
                tracing::info!(?order, node, "asked of the link");
                self.commands.push_back(order.into());
            }
            Ask::Left { client } => {
                let from = self.sessions.get_mut(id).and_then(|session| session.clients.remove(&client));
                from.iter().for_each(|from| self.hub.leave(from, now));
            }
            Ask::Quit { n } => {
                if let Some(entry) = self.sessions.get(id).and_then(|session| session.entries.get(&n)) {
                    entry.quit();
                }
            }
            Ask::Want { n, topics, payload, again } => self.want(id, n, topics, payload, again),
            Ask::Unwant { topics } => self.unwant(now, id, &topics),
        }
        true
    }

    fn send(&mut self, now: Instant, id: &str, sent: Sent, body: &[u8]) -> bool {
        let Some(messages) = words::messages(&sent.messages, body) else { return false };
        let mut messages = messages.into_iter();
        let (Some(payload), Some(session)) = (messages.next(), self.sessions.get_mut(id)) else {
            return false;
        };
        let rest: Vec<_> = messages.collect();
        let extra = sent.asks.as_ref().and_then(|asks| asks.id.as_ref()).map_or(0, String::len);
        let cost = Send::cost_of(&payload, &rest, extra);
        if session.bytes > 2 * MAX_HANDED
            || session.sends > 2 * MAX_HANDED_SENDS
            || session.entries.contains_key(&sent.n)
        {
            return false; // no node does that
        }
        let state = self.hub.link().state;
        if sent.round < session.round || state != LinkState::Up {
            session.back(sent.n, sent.round, state);
            self.look_at.get_or_insert(now + LOOK);
            self.told.stir();
            return true;
        }
        let Some(from) = session.client(&mut self.next_client, sent.client, sent.uid) else { return false };
        let entry = session.open(id, sent.n, sent.round, cost);
        let heard = Rc::clone(&entry);
        let ticket = Ticket::new(Permit::of(&from), move |fate| heard.fate(fate));
        let asks = match sent.asks {
            None => None,
            Some(asked) => match self.asks(&from, asked, entry) {
                Ok(asks) => Some(asks),
                Err(caller) => {
                    caller.fail(NoAnswer::TooMany);
                    ticket.drop_told();
                    return true;
                }
            },
        };
        self.taken += 1;
        self.commands.push_back(Command::Send(Send {
            payload,
            rest,
            ticket,
            extra,
            asks,
            may_answer: MayNotAnswer::may(sent.may_not_answer),
            expand: sent.expand,
        }));
        true
    }

    /// Who waits for the answers, and a place among all that do.
    ///
    /// # Errors
    /// There is none for a request, which this one hears.
    fn asks(&self, from: &Rc<Origin>, asked: Asked, entry: Rc<Entry>) -> Result<Box<Asks>, Caller> {
        let Asked { id, is_request, timeout_us } = asked;
        let id = id.and_then(|id| RawValue::from_string(id).ok());
        let caller = Caller::new(Rc::clone(from), id, move |told| entry.told(told));
        let quota = self.hub.take_quota(from.client);
        if is_request && quota.is_none() {
            return Err(caller);
        }
        let timeout = timeout_us.map(Duration::from_micros);
        Ok(Box::new(Asks { caller, is_request, timeout, until: None, quota }))
    }

    fn cancel(&mut self, id: &str, n: u64, client: u64, request: String) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let from = session.clients.get(&client).cloned();
        let (Some(from), Ok(request)) = (from, RawValue::from_string(request)) else {
            return session.say(&Word::Cancelled { n, is_there: false }, &[]);
        };
        let (told, id) = (Rc::clone(&self.told), id.to_owned());
        let tell = Box::new(move |is_there| told.push(Happened::Cancelled { session: id, n, is_there }));
        self.commands.push_back(Command::Cancel(Cancellation { from, request, tell }));
    }

    /// Gives the hub what it has room for.
    fn flush(&mut self) {
        while let Some(command) = self.commands.pop_front() {
            if let Err(command) = self.hub.offer(command) {
                return self.commands.push_front(command);
            }
        }
    }

    /// The next message to send.
    pub(in super::super) fn poll(&mut self, now: Instant) -> Option<Out> {
        self.flush();
        while let Some(happened) = self.told.take() {
            self.happened(now, happened);
        }
        if self.hub.link().state == LinkState::Up {
            self.look_at = None;
            self.sessions.values_mut().for_each(NodeSession::up);
        }
        if let Some(out) = self.out.pop_front() {
            return Some(out);
        }
        self.sessions.iter_mut().find_map(|(id, session)| session.poll(now, &self.settings, id))
    }

    fn happened(&mut self, now: Instant, happened: Happened) {
        match happened {
            Happened::Fate { session, n, fate } => {
                let Some(session) = self.sessions.get_mut(&session) else { return };
                let Some(round) = session.land(n) else { return };
                match fate {
                    Fate::LinkDown(state) => {
                        session.back(n, round, state);
                        self.look_at.get_or_insert(now + LOOK);
                    }
                    fate => session.say(&Word::Fate { n, fate: fate.into() }, &[]),
                }
            }
            Happened::Answer { session, n, payload, more, failed } => {
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.say(&Word::Answer { n, more, failed }, &[payload.as_bytes()]);
                }
            }
            Happened::Nothing { session, n, why } => {
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.say(&Word::Nothing { n, why: why.into() }, &[]);
                }
            }
            Happened::Over { session, n } => {
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.land(n);
                    session.entries.remove(&n);
                    session.say(&Word::Over { n }, &[]);
                    session.forget_clients();
                }
            }
            Happened::Said { session, word } => {
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.say(&word, &[]);
                }
            }
            Happened::Cancelled { session, n, is_there } => {
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.say(&Word::Cancelled { n, is_there }, &[]);
                }
            }
        }
    }

    /// When to call [`Intake::timeout`], if nothing else happens before.
    pub(in super::super) fn next_timeout(&self, now: Instant) -> Option<Instant> {
        let again = (!self.commands.is_empty()).then(|| now + AGAIN);
        let sessions = self.sessions.values().filter_map(|session| session.channel.next_timeout());
        let former = self.former.iter().map(|(until, _)| *until);
        sessions.chain(again).chain(self.look_at).chain(former).min()
    }

    /// Time has passed.
    pub(in super::super) fn timeout(&mut self, now: Instant) {
        self.flush();
        self.look_at = self.look_at.map(|at| if at <= now { now + LOOK } else { at });
        self.sessions.values_mut().for_each(|session| session.channel.timeout(now));
        let (over, former) =
            std::mem::take(&mut self.former).into_iter().partition(|(until, _)| *until <= now);
        self.former = former;
        let over: Vec<(Instant, Rc<Origin>)> = over;
        over.iter().for_each(|(_, from)| self.hub.leave(from, now));
    }
}
