//! The end of a fan-out: all clients get what lies ahead of them and a last word. Another may go on for those who come
//! then, where the log ends and the daemon doesn't.

use tokio::time::Instant;

use super::{Fanout, raw::RawForm};
use crate::{
    config::{History, MemoryBounds},
    hub::Hub,
    protocol::Bye,
};

impl Fanout {
    /// The one that goes on with another log, for those who come from now on. No client has the number of another.
    pub(crate) fn successor(&self, hub: Hub, history: &History, memory: &MemoryBounds) -> Fanout {
        let next = Fanout::new(hub, history, memory);
        next.0.next_id.set(self.0.next_id.get());
        next.0.raw.set(RawForm::offered(self.0.raw.get()));
        next.keep_raw();
        next
    }

    /// Says that the daemon stops, to everyone once they have all that lies ahead, and waits until they are gone, at
    /// most until `deadline`.
    pub(crate) async fn finish(&self, deadline: Instant) {
        self.say_bye(deadline, Bye::Shutdown).await;
    }

    /// The same where the log is over and the daemon goes on.
    pub(crate) async fn retire(&self, deadline: Instant) {
        self.say_bye(deadline, Bye::Epoch).await;
    }

    async fn say_bye(&self, deadline: Instant, why: Bye) {
        self.0.finishing.set(Some(why));
        self.each(|fanout, id, client| {
            client.finish(why);
            fanout.pump(id, client)
        });
        let gone = async {
            while !self.0.clients.borrow().is_empty() {
                self.0.left.notified().await;
            }
        };
        if tokio::time::timeout_at(deadline, gone).await.is_err() {
            let clients = self.0.clients.take();
            tracing::warn!(clients = clients.len(), "cut off clients that did not read to the end in time");
            for client in clients.values() {
                client.close();
                if why == Bye::Epoch {
                    client.about.dismissed.notify_one(); // the daemon goes on, and their readers don't
                }
            }
        }
    }
}
