//! What is on its way to NATS's client, in the order in which it was given, bounded in bytes.
//!
//! The client bounds what waits in it by number alone. So it is handed a little at a time, and more when that is written.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use async_nats::{Client, PublishError, SubscribeError, Subscriber, message::OutboundMessage};
use futures_util::SinkExt as _;

use super::inflow::Place;

/// So many bytes are handed over, or one larger message, before they must be written. (The client may say so while the
/// last of them still wait in its buffer: twice as many lie there at most.)
const MAX_HANDED: usize = 2 << 20;

/// What is said to other nodes is dropped while more than this waits, as NATS may drop it.
pub(super) const MAX_SAID: usize = 12 << 20;

/// While more than this waits nothing is taken any more.
pub(super) const MAX_WAITING: usize = 16 << 20;

/// What a message takes beside its bytes.
const EACH: usize = 256;

type Subscribing = Pin<Box<dyn Future<Output = Result<Subscriber, SubscribeError>>>>;
type Writing = Pin<Box<dyn Future<Output = bool>>>;

/// What is on its way.
pub(super) struct Outflow {
    client: Client,
    waiting: VecDeque<Waiting>,
    /// Of what waits.
    bytes: usize,
    /// Handed over, and perhaps not written.
    handed: usize,
    writing: Option<Writing>,
}

enum Waiting {
    Publish(OutboundMessage),
    Subscribe(Place, Subscribing),
    Drop(Place),
}

/// What has been handed to the client.
pub(super) enum Done {
    Published,
    Subscribed(Place, Subscriber),
    Drop(Place),
}

/// There is no room for it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Outflow {
    /// Nothing yet.
    pub(super) fn new(client: Client) -> Outflow {
        Outflow { client, waiting: VecDeque::new(), bytes: 0, handed: 0, writing: None }
    }

    /// Whether all is handed over.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Subscribes.
    pub(super) fn subscribe(&mut self, place: Place, subject: String) {
        let client = self.client.clone();
        let subscribing = Box::pin(async move { client.subscribe(subject).await });
        self.waiting.push_back(Waiting::Subscribe(place, subscribing));
    }

    /// Ends a subscription.
    pub(super) fn unsubscribe(&mut self, place: Place) {
        self.waiting.push_back(Waiting::Drop(place));
    }

    /// Publishes it, while less than `most` waits.
    pub(super) fn publish(&mut self, message: OutboundMessage, most: usize) -> Result<(), Full> {
        let size = size(&message);
        if self.bytes + size > most {
            return Err(Full);
        }
        self.bytes += size;
        self.waiting.push_back(Waiting::Publish(message));
        Ok(())
    }

    /// Hands over the oldest; ready with none when nothing waits.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Done>> {
        let next = match self.waiting.front() {
            None => return Poll::Ready(None),
            Some(Waiting::Publish(message)) => size(message),
            Some(Waiting::Subscribe(..) | Waiting::Drop(_)) => 0,
        };
        if self.handed > 0 && self.handed + next > MAX_HANDED && !ready!(self.poll_written(cx)) {
            return Poll::Ready(self.close());
        }
        let Some(oldest) = self.waiting.front_mut() else { return Poll::Ready(None) };
        let subscribed = match oldest {
            Waiting::Publish(_) => match ready!(self.client.poll_ready_unpin(cx)) {
                Ok(()) => None,
                Err(_) => return Poll::Ready(self.close()),
            },
            Waiting::Subscribe(_, subscribing) => match ready!(subscribing.as_mut().poll(cx)) {
                Ok(subscriber) => Some(subscriber),
                Err(_) => return Poll::Ready(self.close()),
            },
            Waiting::Drop(_) => None,
        };
        Poll::Ready(match (self.waiting.pop_front(), subscribed) {
            (Some(Waiting::Publish(message)), _) => {
                self.bytes -= next;
                self.handed += next;
                let sent: Result<(), PublishError> = self.client.start_send_unpin(message);
                if let Err(error) = sent {
                    tracing::warn!("NATS: {error}"); // it was too large; who waits for an answer will wait in vain
                }
                Some(Done::Published)
            }
            (Some(Waiting::Subscribe(place, _)), Some(subscriber)) => {
                Some(Done::Subscribed(place, subscriber))
            }
            (Some(Waiting::Drop(place)), _) => Some(Done::Drop(place)),
            (Some(Waiting::Subscribe(..)) | None, _) => None,
        })
    }

    /// Waits until what was handed over is written; false where the connection is lost.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let client = &self.client;
        let writing = self.writing.get_or_insert_with(|| {
            let client = client.clone();
            Box::pin(async move { client.flush().await.is_ok() })
        });
        let is_written = ready!(writing.as_mut().poll(cx));
        self.writing = None;
        self.handed = 0;
        Poll::Ready(is_written)
    }

    /// The connection's task has ended, which is told elsewhere.
    fn close<T>(&mut self) -> Option<T> {
        self.waiting.clear();
        self.bytes = 0;
        None
    }
}

fn size(message: &OutboundMessage) -> usize {
    let reply = message.reply.as_ref().map_or(0, |reply| reply.len());
    let headers = message.headers.as_ref().map_or(0, |headers| {
        let sizes = headers.iter().map(|(name, values)| {
            let name: &str = name.as_ref();
            values.iter().map(|value| name.len() + value.as_str().len() + 4).sum::<usize>()
        });
        sizes.sum()
    });
    EACH + message.subject.len() + reply + headers + message.payload.len()
}
