//! A reader of the log, of which there may be several: each is told of news, says what it has passed on, and what it
//! still needs.

use std::{
    cell::{Cell, Ref},
    rc::Rc,
};

use tokio::sync::Notify;

use super::{Hub, Log, now_us};

/// Reads the log. The link waits until each reader has offered everything to whom it reads for, and what one of them
/// needs stays in the log. Dropped, it needs nothing any more.
pub struct Reader {
    hub: Hub,
    registration: Rc<Registration>,
}

/// What the hub knows of a reader.
pub(super) struct Registration {
    /// The newest entry that it has offered.
    offered: Cell<u64>,
    /// It holds the link back.
    holds: Cell<bool>,
    /// Entries from here on stay; `u64::MAX` when none must.
    needed: Cell<u64>,
    wants_raw: Cell<bool>,
    /// Something was published.
    published: Notify,
}

impl Hub {
    /// A new reader, which begins at the head of the log.
    pub fn reader(&self) -> Reader {
        let registration = Rc::new(Registration {
            offered: Cell::new(self.log().head()),
            holds: Cell::new(false),
            needed: Cell::new(u64::MAX),
            wants_raw: Cell::new(false),
            published: Notify::new(),
        });
        self.0.readers.borrow_mut().push(Rc::clone(&registration));
        self.readers_changed();
        Reader { hub: self.clone(), registration }
    }

    /// Wakes all readers.
    pub(super) fn flush(&self) {
        if self.0.ready_to.get() == u64::MAX {
            let needed = self.needed();
            self.0.log.borrow_mut().trim(needed); // nobody will say that it may
        }
        self.0.readers.borrow().iter().for_each(|reader| reader.published.notify_one());
    }

    /// Has the readers offer once more what they have let wait, to all: it will leave the log. False: nothing waits.
    pub(super) fn hurry(&self) -> bool {
        let head = self.log().head();
        if self.needed() > head {
            return false;
        }
        self.0.log.borrow_mut().hurry();
        let waiting = |reader: &&Rc<Registration>| reader.offered.get() <= head;
        self.0.readers.borrow().iter().filter(waiting).for_each(|reader| reader.offered.set(0));
        self.readers_changed();
        self.flush();
        true
    }

    /// Sums up how far the link may go, and lets it.
    fn readers_changed(&self) {
        let readers = self.0.readers.borrow();
        self.0.ready_to.set(readers.iter().map(|reader| reader.ready_to()).min().unwrap_or(u64::MAX));
        self.0.offered.notify_one();
    }

    /// The first entry that some reader needs; `u64::MAX` for none.
    fn needed(&self) -> u64 {
        let head = self.log().head();
        self.0.readers.borrow().iter().map(|reader| reader.needed(head)).min().unwrap_or(u64::MAX)
    }
}

impl Reader {
    /// The log, to read from.
    pub fn log(&self) -> Ref<'_, Log> {
        self.hub.log()
    }

    /// Runs `work` with the log open for writing: cursors pin chunks through it.
    #[inline(always)]
    pub fn with_log<T>(&self, work: impl FnOnce(&mut Log) -> T) -> T {
        work(&mut self.hub.0.log.borrow_mut())
    }

    /// Waits until something may have been published since the last call. Cancel-safe.
    pub async fn published(&self) {
        self.registration.published.notified().await;
    }

    /// Has [`Reader::published`] return once more.
    pub fn look_again(&self) {
        self.registration.published.notify_one();
    }

    /// Says that all that this reader reads for were offered the log up to `seq`, and need what is from `needed` on
    /// (`u64::MAX`: nothing). What the log's limits don't allow leaves it, as far as no reader needs it or has yet to
    /// offer it. Up to `u64::MAX` means that the link needn't wait for this reader at all.
    pub fn offered(&self, seq: u64, needed: u64) {
        self.registration.offered.set(seq);
        self.registration.needed.set(needed);
        let needed = self.hub.needed();
        self.hub.0.log.borrow_mut().trim(needed);
        self.hub.readers_changed();
    }

    /// Holds the link back, or no longer.
    pub fn hold(&self, holds: bool) {
        self.registration.holds.set(holds);
        self.hub.readers_changed();
    }

    /// Says whether it wants the raw form of messages from now on: the log keeps it as long as some reader does.
    pub fn want_raw(&self, wants_raw: bool) {
        self.registration.wants_raw.set(wants_raw);
        self.keep_raw();
    }

    /// Lets go of entries that are too old by now and that no reader needs; this one needs those from `needed` on.
    pub fn expire(&self, needed: u64) {
        self.registration.needed.set(needed);
        let needed = self.hub.needed();
        self.hub.0.log.borrow_mut().expire_unneeded(now_us(), needed);
    }

    /// Whether entries may be too old.
    pub fn expires(&self) -> bool {
        self.log().retention().max_age_us.is_some()
    }

    /// Reads no more: nobody waits for this reader, and nothing is kept for it.
    pub fn leave(&self) {
        self.hub.0.readers.borrow_mut().retain(|registration| !Rc::ptr_eq(registration, &self.registration));
        self.hub.readers_changed();
        self.keep_raw();
    }

    fn keep_raw(&self) {
        let raw = self.hub.0.readers.borrow().iter().any(|reader| reader.wants_raw.get());
        self.hub.0.log.borrow_mut().keep_raw(raw);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Registration {
    fn ready_to(&self) -> u64 {
        if self.holds.get() { 0 } else { self.offered.get() }
    }

    fn needed(&self, head: u64) -> u64 {
        let offered = self.offered.get();
        let unoffered = if offered < head { offered + 1 } else { u64::MAX };
        self.needed.get().min(unoffered)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::{
        config::History,
        hub::{MessageTopic, Publisher},
        protocol::Data,
    };

    fn hub() -> (Hub, Publisher) {
        let history = History { max_bytes: 64 << 10, ..History::default() };
        let hub = Hub::new("e".to_owned(), &history, false);
        let (publisher, _) = hub.publisher().expect("it is the first");
        (hub, publisher)
    }

    /// Publishes messages of 1 KiB.
    fn publish(publisher: &Publisher, count: usize) {
        (0..count).for_each(|_| publisher.publish(1, Data::Text(&"x".repeat(1 << 10)), &MessageTopic::None));
        publisher.flush();
    }

    fn hears(reader: &Reader) -> bool {
        reader.published().now_or_never().is_some()
    }

    #[test]
    fn the_link_waits_until_each_has_offered_everything() {
        let (hub, publisher) = hub();
        publish(&publisher, 1);
        assert!(publisher.is_ready(), "nobody reads");
        let (one, other) = (hub.reader(), hub.reader());
        assert!(publisher.is_ready(), "they begin at the head");
        publish(&publisher, 1);
        assert!(!publisher.is_ready());
        one.offered(2, u64::MAX);
        assert!(!publisher.is_ready(), "the other has not");
        other.offered(2, u64::MAX);
        assert!(publisher.is_ready() && publisher.ready().now_or_never().is_some());
        one.hold(true);
        other.offered(2, u64::MAX);
        assert!(!publisher.is_ready(), "one holds it");
        one.hold(false);
        assert!(publisher.is_ready());
        publish(&publisher, 1);
        one.offered(3, u64::MAX);
        assert!(publisher.ready().now_or_never().is_none());
        drop(other);
        assert!(publisher.ready().now_or_never().is_some(), "who is gone is not waited for");
        one.offered(u64::MAX, u64::MAX);
        publish(&publisher, 500);
        assert!(publisher.is_ready(), "nobody is to be waited for");
        assert!(hub.log().oldest() > 400, "and the log keeps its bounds");
    }

    #[test]
    fn each_is_woken_for_itself() {
        let (hub, publisher) = hub();
        let (one, other) = (hub.reader(), hub.reader());
        assert!(!hears(&one) && !hears(&other));
        publish(&publisher, 2);
        assert!(hears(&one) && !hears(&one), "once for all of it");
        publish(&publisher, 1);
        assert!(hears(&one) && hears(&other) && !hears(&other));
        one.look_again();
        assert!(hears(&one) && !hears(&other));
    }

    #[test]
    fn the_log_keeps_what_the_neediest_of_them_needs() {
        let (hub, publisher) = hub();
        let (one, other) = (hub.reader(), hub.reader());
        publish(&publisher, 500);
        assert_eq!(hub.log().oldest(), 1, "nothing leaves before it was offered");
        one.offered(500, u64::MAX);
        assert_eq!(hub.log().oldest(), 1, "nor before the other has offered it");
        other.offered(500, 200);
        let oldest = hub.log().oldest();
        assert!((100..=200).contains(&oldest), "the other needs 200: {oldest}");
        one.offered(500, 300);
        assert_eq!(hub.log().oldest(), oldest, "as long as it does");
        other.offered(500, 400);
        let oldest = hub.log().oldest();
        assert!((201..=300).contains(&oldest), "now the first needs the most: {oldest}");
        drop(one);
        other.offered(500, u64::MAX);
        assert!(hub.log().oldest() > 400);
    }

    #[test]
    fn what_is_too_old_goes_unless_one_of_them_needs_it() {
        let history = History { max_age: Some(std::time::Duration::from_secs(1)), ..History::default() };
        let hub = Hub::new("e".to_owned(), &history, false);
        let (publisher, _commands) = hub.publisher().expect("it is the first");
        let (one, other) = (hub.reader(), hub.reader());
        publish(&publisher, 5); // long ago
        one.expire(u64::MAX);
        assert_eq!(hub.log().oldest(), 1, "they were not offered yet");
        one.expire(2);
        one.offered(5, 2);
        other.offered(5, u64::MAX);
        other.expire(u64::MAX);
        assert_eq!(hub.log().oldest(), 2);
        one.expire(u64::MAX);
        assert_eq!(hub.log().oldest(), 6);
    }

    #[test]
    fn the_raw_form_is_kept_as_long_as_one_of_them_wants_it() {
        let (hub, _publisher) = hub();
        let (one, other) = (hub.reader(), hub.reader());
        one.want_raw(true);
        other.want_raw(true);
        one.want_raw(false);
        assert!(hub.log().keeps_raw());
        drop(one);
        assert!(hub.log().keeps_raw());
        drop(other);
        assert!(!hub.log().keeps_raw());
    }
}
