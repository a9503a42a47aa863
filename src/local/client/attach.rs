//! Where a client goes on, under which name, and with what it wants.

use std::borrow::Cow;

use futures_util::future::LocalBoxFuture;
use serde_json::value::RawValue;

use super::{ClientReader, HUNG_UP_PAUSE};
use crate::{
    config::{MAX_TOPIC_PATTERNS, TopicPattern},
    hub::Lost,
    local::{
        dialogue::{outgoing::Seek, replies},
        fanout::Claimed,
        socket,
    },
    protocol::{Attach, Code, Done, Since, Why},
};

/// What one hears that names an entry before any is known.
const DETACHED: &str = "this machine doesn't know the cluster's log yet (`hello` says why, and `status`): it says `bye` \
                        with `epoch` once it does, and then is the time to connect and attach";

impl ClientReader {
    /// Where the client is further in the log of a cluster than this machine, since it has come from another: holds it
    /// until this one is as far, or it is known that it won't be.
    pub(super) fn catches_up_with(&self, attach: &Attach<'_>) -> Option<LocalBoxFuture<'_, ()>> {
        let since = attach.since.as_ref().filter(|since| {
            self.hub.cluster().is_some()
                && since.epoch == self.hub.epoch()
                && since.seq > self.hub.log().head()
                && !self.hub.epoch().is_empty()
        })?;
        let seq = since.seq;
        self.fanout.set_ahead(self.id, true);
        Some(Box::pin(async move {
            let mut comes = std::pin::pin!(self.hub.entry(seq));
            while tokio::time::timeout(HUNG_UP_PAUSE, &mut comes).await.is_err()
                && !socket::is_hung_up(self.stream.socket())
            {}
            self.fanout.set_ahead(self.id, false);
        }))
    }

    /// Moves its place, and gives it a name, which it takes over from another client or not. Where any of it is refused,
    /// nothing is done.
    pub(super) fn attach(&self, id: Option<&RawValue>, attach: Attach<'_>) {
        let Attach { since, name, takeover, topics, answers, snapshot } = attach;
        let topics = match topics.map(|topics| patterns(&topics)).transpose() {
            Ok(topics) => topics,
            Err(message) => {
                self.fanout.reply(self.id, &replies::error(id, Code::BadRequest, &message));
                return self.fanout.begin(self.id);
            }
        };
        self.fanout.hurry_one(self.id); // what it has been given so far stands before the answer
        self.fanout.expire();
        let (head, oldest) = {
            let log = self.hub.log();
            (log.head(), log.oldest())
        };
        let refuse = |code, message: &str| {
            self.fanout.reply(self.id, &replies::error(id, code, message));
            self.fanout.begin(self.id);
        };
        if since.is_some() && self.hub.epoch().is_empty() {
            return refuse(Code::Detached, DETACHED);
        }
        let is_ahead = |since: &&Since<'_>| since.epoch == self.hub.epoch() && since.seq > head;
        if let Some(since) = since.as_ref().filter(is_ahead) {
            let message = format!("`since` names entry {}, but the newest is {head}", since.seq);
            return refuse(Code::BadRequest, &message);
        }
        if let Err((code, message)) = self.may_have(topics.as_deref(), answers, snapshot) {
            return refuse(code, &message);
        }
        let claim = |name: &str| self.fanout.claim(self.id, self.peer.uid, name, takeover);
        let claimed = match name.as_deref().map(claim).transpose() {
            Ok(claimed) => claimed,
            Err((code, message)) => return refuse(code, &message),
        };
        let is_new = matches!(claimed, Some(Claimed::New | Claimed::Renewed));
        // nothing below is refused
        if answers {
            let claimed = self.hub.claim_answers(self.id);
            debug_assert!(claimed.is_ok(), "nobody has");
        }
        let (after, epoch, again_to) = match (since, claimed) {
            (None, None | Some(Claimed::New)) => (head, false, None),
            (None, Some(Claimed::Back(place))) => (place.after, false, Some(place.sent)),
            (None, Some(Claimed::Renewed)) => (0, true, None),
            (Some(since), _) if since.epoch != self.hub.epoch() => (0, true, None),
            (Some(since), _) => (since.seq, false, None),
        };
        let has_room = self.fanout.ask_for(self.id, topics.as_deref());
        debug_assert!(has_room, "it was asked for");
        self.fanout.has_said(self.id, after);
        // what is gone is declared with the answer, so that it is that which happens, whatever the log
        // does before the answer is read
        let start = after.max(oldest - 1);
        let again_to = again_to.filter(|sent| *sent > start);
        let attached = |id| replies::attached(id, start, again_to, is_new);
        let mut lines = id.map(attached).unwrap_or_default();
        if epoch {
            self.hub.counters().gap(Why::Epoch, 0);
            lines.extend_from_slice(&self.fanout.gap(&replies::epoch_gap(start)));
        } else if start > after {
            let lost = Lost::all(after + 1, start, Why::Expired);
            self.hub.counters().gap(lost.why, lost.count);
            lines.extend_from_slice(&self.fanout.gap(&replies::gap(lost)));
        }
        self.fanout.seek(self.id, Seek { after, start, head, snapshot, narrow: None }, &lines);
    }

    /// What keeps it from having entries, these topics, the answers to the server's requests, or the last values.
    fn may_have(
        &self,
        topics: Option<&[TopicPattern]>,
        answers: bool,
        snapshot: bool,
    ) -> Result<(), (Code, String)> {
        if !self.fanout.receives(self.id) {
            let why = "this connection began without the right \"receive\", which a reload gives only to those \
                       who connect anew: do that";
            return Err((Code::Forbidden, why.to_owned()));
        }
        if snapshot && self.hub.log().retained().is_none() {
            let why = "nothing is retained: topics.retain isn't configured, nor a step's `retain`";
            return Err((Code::Unsupported, why.to_owned()));
        }
        if !self.fanout.has_room_for(self.id, topics) {
            let why = "the topics that clients ask for take all the room that there is for them, or this user's \
                       share: ask for fewer";
            return Err((Code::NoRoom, why.to_owned()));
        }
        if answers { self.may_claim() } else { Ok(()) }
    }

    pub(super) fn acknowledge(&self, id: Option<&RawValue>, seq: u64) {
        match self.fanout.acknowledge(self.id, seq) {
            Ok(()) => self.ok(id, Done::Acknowledged),
            Err((code, message)) => self.fanout.reply(self.id, &replies::error(id, code, &message)),
        }
    }
}

/// The patterns of topics that a client names.
fn patterns(topics: &[Cow<'_, str>]) -> Result<Vec<TopicPattern>, String> {
    if topics.len() > MAX_TOPIC_PATTERNS {
        return Err(format!("`topics` has {} patterns, and {MAX_TOPIC_PATTERNS} are the most", topics.len()));
    }
    let pattern = |(at, text): (usize, &Cow<'_, str>)| {
        TopicPattern::parse(text).map_err(|why| format!("topics[{at}] {why}"))
    };
    topics.iter().enumerate().map(pattern).collect()
}
