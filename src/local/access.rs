//! Who may do what on one listener: its settings, and what is counted by them.

use std::{
    cell::{Ref, RefCell},
    os::unix::net::UnixStream,
    time::Instant,
};

use super::{
    budget::rates::Rates,
    dialogue::rights::{self, Identity, Members},
    socket::{self, Ids, Peer, own_uid},
};
use crate::{
    config::{Grant, Listener, Subscriptions, TopicPattern, TopicView, Window, cut},
    hub::{Payload, Seldom},
    protocol::{Attach, Code, Op},
};

/// What a listener gives whoever runs this process, which is not the daemon. Where that can't be known, it is what it
/// gives everybody.
pub(crate) fn own_grant(listener: &Listener) -> Grant {
    // the daemon's own user is not known here, so that it is taken for any other
    const NOBODY: u32 = u32::MAX;
    let own = UnixStream::pair().and_then(|(one, _)| socket::identity(&one));
    match (own, Ids::of(listener)) {
        (Ok(who), Ok(ids)) => rights::of(listener, &ids.members, &who, NOBODY).clone(),
        _ => listener.grant.clone(),
    }
}

/// A listener's settings, which a reload may change, for the listener and for all who are connected to it.
pub(super) struct Access {
    config: RefCell<Listener>,
    /// Whom its rules are for.
    members: RefCell<Vec<Members>>,
    own_uid: u32,
    rates: RefCell<Rates>,
    refusals_said: Seldom,
}

impl Access {
    pub(super) fn new(config: Listener, ids: &Ids) -> Access {
        Access {
            config: RefCell::new(config),
            members: RefCell::new(ids.members.clone()),
            own_uid: own_uid(),
            rates: RefCell::default(),
            refusals_said: Seldom::default(),
        }
    }

    /// What is in force.
    pub(super) fn config(&self) -> Ref<'_, Listener> {
        self.config.borrow()
    }

    /// Applies other settings; `ids` where they name others.
    pub(super) fn change(&self, config: Listener, ids: Option<&Ids>) {
        if let Some(ids) = ids {
            *self.members.borrow_mut() = ids.members.clone();
        }
        *self.config.borrow_mut() = config;
    }

    /// What a client may do now.
    pub(super) fn of(&self, who: &Identity) -> Ref<'_, Grant> {
        Ref::map(self.config(), |config| rights::of(config, &self.members.borrow(), who, self.own_uid))
    }

    /// The topics that a client gets messages of, and may subscribe to; all where nothing is said. What the listener
    /// says of them is for those, too, who may do everything: it is what this socket is for.
    pub(super) fn topics_of(&self, who: &Identity) -> Option<Vec<TopicPattern>> {
        let config = self.config();
        rights::topics_of(&config, &self.members.borrow(), who, self.own_uid).map(<[TopicPattern]>::to_vec)
    }

    /// Whether a client may have a topic.
    pub(super) fn may_have(&self, who: &Identity, topic: &str) -> bool {
        let (config, members) = (self.config(), self.members.borrow());
        rights::topics_of(&config, &members, who, self.own_uid).is_none_or(|patterns| {
            let view = TopicView::new(topic);
            patterns.iter().any(|pattern| pattern.matches(&view))
        })
    }

    /// Whether a client may subscribe to topics at all.
    pub(super) fn may_subscribe(&self, who: &Identity) -> bool {
        rights::missing(&self.of(who), &Op::Subscribe { topics: Vec::new(), json: None }).is_none()
    }

    /// Whether a client may claim the answers to the server.
    pub(super) fn may_claim_answers(&self, who: &Identity) -> bool {
        let attach = Op::Attach(Attach { answers: true, ..Attach::default() });
        rights::missing(&self.of(who), &attach).is_none()
    }

    /// What keeps a client from sending these messages now. If nothing does, they are counted.
    pub(super) fn refuses<'a>(
        &self,
        now: Instant,
        who: &Identity,
        messages: impl Iterator<Item = &'a Payload> + Clone,
    ) -> Option<(Code, String)> {
        let grant = self.of(who);
        if let Some(why) = rights::unsendable(&grant, messages.clone()) {
            return Some(why);
        }
        self.exceeds_rate(&grant, now, who, messages.count()).map(|rate| {
            let why = format!("this listener lets you send {rate} messages (rate): send again later");
            (Code::RateLimited, why)
        })
    }

    /// What keeps a client from subscribing to a topic, but for how much it has sent.
    pub(super) fn refuses_topic(
        &self,
        who: &Identity,
        terms: &Subscriptions,
        topic: &str,
        json: Option<&str>,
    ) -> Option<(Code, String)> {
        if !self.may_have(who, topic) {
            let shown = cut(topic, 40);
            let why = format!("this listener doesn't let you have the topic {shown:?} (topics)");
            return Some((Code::Forbidden, why));
        }
        rights::unaskable(&self.of(who), terms, topic, json)
    }

    /// What keeps a client from having so many messages said about topics now. If nothing does, they are counted.
    pub(super) fn refuses_topics(
        &self,
        now: Instant,
        who: &Identity,
        messages: usize,
    ) -> Option<(Code, String)> {
        self.exceeds_rate(&self.of(who), now, who, messages).map(|rate| {
            let why = format!(
                "this listener lets you send {rate} messages (rate), and for these topics it takes {messages}: \
                 subscribe later, or to fewer at once"
            );
            (Code::RateLimited, why)
        })
    }

    /// Which rate so many messages are over. If none, they are counted.
    fn exceeds_rate(&self, grant: &Grant, now: Instant, who: &Identity, messages: usize) -> Option<String> {
        if grant.rate.is_empty() || self.rates.borrow_mut().take(now, who.uid, messages, &grant.rate) {
            return None;
        }
        let rate: Vec<_> = grant.rate.iter().map(Window::to_string).collect();
        Some(rate.join(" and "))
    }

    /// Notes that a client was refused something.
    pub(super) fn say_refused(&self, client: u64, peer: Peer, op: &str, why: &str) {
        let Peer { pid, uid } = peer;
        let listener = self.config();
        let listener = listener.path.display();
        const WHAT: &str = "refused what a client asked for";
        match self.refusals_said.due() {
            Some(unsaid) => tracing::warn!(client, pid, uid, %listener, op, why, unsaid, "{WHAT}"),
            None => tracing::debug!(client, pid, uid, %listener, op, why, "{WHAT}"),
        }
    }
}
