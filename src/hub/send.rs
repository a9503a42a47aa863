//! A send: a payload on its way upstream, and the duty to tell what became of it.

use std::{fmt, rc::Rc, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::LinkState;

/// What a client sends upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
}

impl Payload {
    /// The payload's size in bytes.
    pub fn len(&self) -> usize {
        match self {
            Payload::Text(text) => text.len(),
            Payload::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether there is nothing in it; an empty message may be sent all the same.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What became of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The operating system has taken all of it for the connection that is up.
    Written,
    /// It waits in the outbox; another fate follows.
    Queued,
    /// The link isn't up, and no outbox is configured.
    LinkDown(LinkState),
    /// It waited in the outbox for longer than `outbox.ttl`.
    Expired,
    /// The outbox has no room for it.
    OutboxFull,
    /// It is over the largest that `limits.max_message` lets out, which is this, in bytes.
    TooLarge(usize),
    /// It is more than `limits.messages` let out, and `limits.excess` is `refuse`.
    RateLimited,
    /// The connection ended while it was being written: it may have arrived, or not.
    Unknown,
}

/// A send on its way, with the duty to tell its fate.
#[derive(Debug)]
pub struct Send {
    /// What to send.
    pub payload: Payload,
    /// Who hears what became of it.
    pub ticket: Ticket,
    /// Bytes beside the payload that are kept for it: those of its id.
    pub extra: usize,
}

impl Send {
    /// What it costs in the lane and the outbox: its payload, its id, and a fixed sum for the rest.
    pub fn cost(&self) -> usize {
        Send::cost_of(&self.payload, self.extra)
    }

    /// The cost of a send to be.
    pub fn cost_of(payload: &Payload, extra: usize) -> usize {
        payload.len() + extra + Lane::OVERHEAD
    }
}

/// Tells a send's fate, exactly once at the end. One that is dropped untold tells
/// [`Fate::Unknown`], so that no path can forget it.
pub struct Ticket {
    tell: Option<Rc<dyn Fn(Fate)>>,
    /// Room in the lane, held until the fate is told or the send waits in the outbox.
    permit: Permit,
}

impl Ticket {
    /// A ticket that tells through `tell`.
    pub fn new(permit: Permit, tell: impl Fn(Fate) + 'static) -> Ticket {
        Ticket { tell: Some(Rc::new(tell)), permit }
    }

    /// A ticket for what nobody waits to hear of: wsfan's own messages.
    pub fn unheard() -> Ticket {
        Ticket { tell: None, permit: Permit::free() }
    }

    /// Whether anybody hears of it: a client sent it.
    pub fn is_heard(&self) -> bool {
        self.tell.is_some()
    }

    /// Says that the send waits, and frees its room in the lane; its fate follows later.
    pub fn queued(&mut self) {
        self.permit = Permit::free();
        if let Some(tell) = &self.tell {
            tell(Fate::Queued);
        }
    }

    /// Tells the fate, for good.
    pub fn settle(mut self, fate: Fate) {
        if let Some(tell) = self.tell.take() {
            tell(fate);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(tell) = self.tell.take() {
            tell(Fate::Unknown);
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket")
    }
}

/// Room in the lane, given back when dropped.
#[derive(Debug, Default)]
pub struct Permit {
    #[expect(dead_code, reason = "given back by its drop")]
    held: Option<OwnedSemaphorePermit>,
}

impl Permit {
    /// A permit that holds nothing, for sends that came from no client.
    pub fn free() -> Permit {
        Permit { held: None }
    }
}

/// The lane from the clients to the link, bounded in bytes. When it is full, the client whose send
/// doesn't fit is read no further until it does; nobody else waits for it.
#[derive(Debug)]
pub struct Lane(Arc<Semaphore>);

impl Lane {
    /// The lane's size. A larger send takes all of it.
    pub const MAX_BYTES: usize = 4 << 20;
    /// What a send costs beside its payload, so that empty ones are bounded too.
    pub const OVERHEAD: usize = 256;
    /// So many sends fit at most.
    pub const MAX_SENDS: usize = Lane::MAX_BYTES / Lane::OVERHEAD;

    pub(super) fn new() -> Lane {
        Lane(Arc::new(Semaphore::new(Lane::MAX_BYTES)))
    }

    pub(super) async fn admit(&self, cost: usize) -> Permit {
        let cost = cost.min(Lane::MAX_BYTES) as u32;
        // the semaphore is never closed; were it, the send would go on unbounded rather than be lost
        Permit { held: self.0.clone().acquire_many_owned(cost).await.ok() }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn the_lane_is_bounded_in_bytes_and_serves_in_order() {
        let lane = Lane::new();
        let held: Vec<Permit> =
            (0..Lane::MAX_SENDS).map(|_| lane.admit(Lane::OVERHEAD).now_or_never().unwrap()).collect();
        let mut large = std::pin::pin!(lane.admit(2 * Lane::OVERHEAD));
        assert!(large.as_mut().now_or_never().is_none());
        let mut small = std::pin::pin!(lane.admit(Lane::OVERHEAD));
        let mut held = held.into_iter();
        drop(held.next());
        assert!(small.as_mut().now_or_never().is_none(), "who came first is served first");
        drop(held.next());
        assert!(large.as_mut().now_or_never().is_some());
    }

    #[test]
    fn a_send_larger_than_the_lane_takes_all_of_it() {
        let lane = Lane::new();
        let all = lane.admit(usize::MAX).now_or_never().unwrap();
        assert!(lane.admit(1).now_or_never().is_none());
        drop(all);
        assert!(lane.admit(1).now_or_never().is_some());
    }
}
