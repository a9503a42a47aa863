//! The log's entries: those of the stream, and those that are staged here until the stream has them.

use super::{Followed, Node, holder};
use crate::{
    cluster::{
        Host, clock,
        machine::{Event, Opening, entries, opening},
    },
    hub::{Counted, CountedBeside, now_us},
};

impl<H: Host> Node<H> {
    /// The entries that a term begins with.
    pub(super) fn open(&mut self, term: u64, first: u64, failover: bool) {
        let lines = opening(&Opening {
            first,
            time_us: now_us(),
            node: &self.name,
            term,
            conn: self.followed.link().map_or(0, |link| link.conn),
            closed: self.followed.is_closed(),
            after_us: failover.then_some(self.followed.time_us()),
        });
        self.machine.handle(clock::now(), Event::Opened { term, lines });
    }

    pub(super) async fn begin_epoch(&mut self, epoch: &str, first: u64) {
        debug_assert!(
            self.link.is_none() && self.staging.is_none(),
            "nothing is staged when an epoch begins"
        );
        self.say_epoch();
        self.end = None;
        self.hub = self.host.renew(epoch, first).await;
        self.supervisor = self.hub.supervisor();
        self.holder = holder(&self.hub);
        self.followed = Followed::default();
        self.untold = None; // those who weren't told hear that their log has ended
        self.counted = CountedBeside::default();
        self.take_end();
    }

    pub(super) fn deliver(&mut self, first: u64, lines: &[u8]) {
        let Some((publisher, _)) = &self.end else { return };
        for entry in entries(lines) {
            if let Err(error) = publisher.put(entry.seq, entry.time_us, entry.line) {
                tracing::error!(first, seq = entry.seq, %error, "an entry has no place, which is a fault of wsfan");
                return;
            }
            self.followed.read(entry.time_us, entry.line);
            publisher.follow(entry.line);
        }
        publisher.flush();
    }

    pub(super) async fn skip(&mut self, to: u64) {
        let Some((publisher, _)) = &self.end else { return };
        match publisher.skip_to(to).await {
            Ok(missing) => {
                tracing::warn!(
                    missing,
                    "the stream had let go of entries before they came here: they are declared"
                );
                publisher.flush();
            }
            Err(error) => tracing::error!(to, %error, "a hole has no place, which is a fault of wsfan"),
        }
    }

    pub(super) fn commit(&mut self, through: u64) {
        if let Some(staging) = &self.staging {
            let link = staging.commit(through);
            self.followed.commit(self.hub.log().time_us(through), link);
            let (end, bytes) = (staging.entries().end, staging.bytes());
            self.machine.handle(clock::now(), Event::Staged { end, bytes });
        }
    }

    pub(super) fn cut(&mut self) {
        self.close_intake();
        let cut = self.staging.take().map_or(0, |staging| staging.cut());
        self.holder.hold(false);
        self.is_resting = false;
        self.hub.lead(None);
        if cut > 0 {
            tracing::warn!(
                entries = cut,
                "what the server said last isn't in the log: where the log goes on, a failover gap declares it"
            );
        }
        self.take_end();
        self.follow_link();
    }

    /// What the link has counted that is no entry is for the other nodes to know.
    pub(super) fn tell_counted(&mut self) {
        let Some(staging) = &self.staging else { return };
        for (seq, counted) in staging.take_counts() {
            let text = serde_json::to_string(&(seq, &counted)).unwrap_or_default(); // numbers and texts
            self.machine.handle(clock::now(), Event::Counted { seq, per: counted.per, text });
        }
    }

    pub(super) fn note_counted(&mut self, list: &str) {
        match serde_json::from_str::<Vec<(u64, Counted)>>(list) {
            Ok(all) => all.into_iter().for_each(|(seq, counted)| self.counted.note(seq, counted)),
            Err(error) => {
                tracing::warn!(%error, "the leader says something of the server's counts that this node doesn't understand")
            }
        }
    }

    pub(super) async fn tell_staged(&mut self) {
        if let Some(staging) = &self.staging {
            let (end, bytes) = (staging.entries().end, staging.bytes());
            self.tell(Event::Staged { end, bytes }).await;
        }
    }
}
