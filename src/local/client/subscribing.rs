//! Topics that a client wants of the server, or no more.

use std::{borrow::Cow, rc::Rc};

use serde_json::value::RawValue;
use tokio::task::{coop::consume_budget, yield_now};

use super::{ClientReader, now};
use crate::{
    hub::{Asking, Word},
    local::dialogue::replies,
    protocol::Done,
};

impl ClientReader {
    pub(super) async fn subscribe(
        &self,
        id: Option<&RawValue>,
        topics: Vec<Cow<'_, str>>,
        json: Option<&RawValue>,
    ) {
        let topics: Vec<_> = topics.into_iter().map(Cow::into_owned).collect();
        // where it isn't configured, or there are more than there may be of all, that is what is told
        let terms = self.hub.topics().terms().filter(|terms| topics.len() <= terms.max).cloned();
        if let Some(terms) = terms {
            let json = json.map(RawValue::get);
            for topic in &topics {
                if let Some((code, why)) = self.access.refuses_topic(&self.who, &terms, topic, json) {
                    return self.refuse(id, "subscribe", code, &why);
                }
                match json {
                    Some(_) => yield_now().await, // it may be long
                    None => consume_budget().await,
                }
            }
            let messages = topics.len().div_ceil(terms.batch);
            if let Some((code, why)) = self.access.refuses_topics(now(), &self.who, messages) {
                return self.refuse(id, "subscribe", code, &why);
            }
        }
        let (fanout, client, owned) = (self.fanout.clone(), self.id, id.map(RawValue::to_owned));
        let tell = move |id: Option<&RawValue>, word: &Word| {
            if let Some(line) = replies::topics(id, word) {
                fanout.reply(client, &line);
            }
        };
        let (losses, fanout) = (tell.clone(), self.fanout.clone());
        self.hub.subscribe(
            &self.from,
            Asking {
                topics,
                payload: json.map(|json| json.get().to_owned()),
                answer: Rc::new(move |word| tell(owned.as_deref(), word)),
                losses: Rc::new(move |word| match word {
                    Word::Holds { topics, holds } => fanout.holds(client, topics, *holds),
                    word => losses(None, word),
                }),
                keeps: false,
            },
        );
    }

    pub(super) fn unsubscribe(&self, id: Option<&RawValue>, topics: Vec<Cow<'_, str>>) {
        let topics: Vec<_> = topics.into_iter().map(Cow::into_owned).collect();
        match self.hub.unsubscribe(now(), self.id, &topics) {
            Ok(()) => self.ok(id, Done::Unsubscribed),
            Err(strange) => self.fanout.reply(self.id, &replies::not_subscribed(id, &strange)),
        }
    }
}
