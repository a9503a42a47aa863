//! The table of subscriptions, as clients and the link have it.

use std::{cell::Ref, rc::Rc, time::Instant};

use super::{Asking, Hub, Origin, Publisher, Subscriptions};

impl Hub {
    /// All subscriptions.
    pub fn topics(&self) -> Ref<'_, Subscriptions> {
        self.0.common.topics.borrow()
    }

    /// A client asks for topics, and hears what comes of it.
    pub fn subscribe(&self, from: &Rc<Origin>, asking: Asking) {
        self.0.common.topics.borrow_mut().subscribe(from, asking);
        self.topics_have_changed();
    }

    /// A client gives topics up, all of these or none.
    ///
    /// # Errors
    ///
    /// Names those that it doesn't hold.
    pub fn unsubscribe(&self, now: Instant, client: u64, topics: &[String]) -> Result<(), Vec<String>> {
        let done = self.0.common.topics.borrow_mut().unsubscribe(now, client, topics);
        self.topics_have_changed();
        done
    }

    /// A client may have those topics only that `may` names: it gives up the others that it holds, and hears so.
    pub fn revoke_topics(&self, now: Instant, client: u64, may: impl Fn(&str) -> bool) {
        self.0.common.topics.borrow_mut().revoke(now, client, may);
        self.topics_have_changed();
    }

    /// A client that has gone holds nothing any more.
    pub(super) fn leave_topics(&self, now: Instant, client: u64) {
        if !self.topics().is_empty() {
            self.0.common.topics.borrow_mut().leave(now, client);
            self.topics_have_changed();
        }
    }

    /// Another machine's clients, who are one client here, want these topics no more.
    pub fn release_topics(&self, now: Instant, client: u64, topics: &[String]) {
        self.0.common.topics.borrow_mut().release_held(now, client, topics);
        self.topics_have_changed();
    }

    fn topics_have_changed(&self) {
        self.tell_of_topics();
        self.0.common.stirred.notify_one();
    }

    /// Tells clients what they are to hear.
    fn tell_of_topics(&self) {
        loop {
            // who hears may look at the table
            let word = self.0.common.topics.borrow_mut().poll_word();
            let Some((listener, word)) = word else { return };
            listener(&word);
        }
    }
}

impl Publisher {
    /// All subscriptions.
    pub fn topics(&self) -> Ref<'_, Subscriptions> {
        self.hub().topics()
    }

    /// Does something with the table, and tells clients what comes of it.
    pub fn with_topics<T>(&self, work: impl FnOnce(&mut Subscriptions) -> T) -> T {
        let done = work(&mut self.hub().0.common.topics.borrow_mut());
        self.hub().tell_of_topics();
        done
    }
}
