//! Who there is, for `status`.

use std::time::Duration;

use tokio::time::Instant;

use super::{Fanout, member::Member};
use crate::{
    config::Format,
    hub::Log,
    protocol::status::{ClientRow, Totals},
};

/// The sums over all clients are as good for so long.
const TOTALS_KEPT: Duration = Duration::from_millis(250);

impl Fanout {
    /// When an answer to the `status` of user `uid` may go, with the rows of all clients or of one. None: it is
    /// asked for too often.
    pub(in crate::local) fn book_status(&self, uid: u32, all: bool) -> Option<Duration> {
        let rows = if all { self.count() } else { 1 };
        self.0.shares.borrow_mut().book(uid, rows, Instant::now().into_std())
    }

    /// The rows for the `status` that client `you` asked for: all clients, or that one alone.
    pub(in crate::local) fn rows(&self, you: u64, all: bool) -> Vec<ClientRow<'static>> {
        let log = self.0.hub.log();
        let clients = self.0.clients.borrow();
        let row = |id: u64, client: &Member| client.row(id, id == you, &log);
        match all {
            true => {
                let mut rows: Vec<_> = clients.iter().map(|(id, client)| row(id, client)).collect();
                rows.sort_unstable_by_key(|row| row.client);
                rows
            }
            false => clients.get(you).map(|client| row(you, client)).into_iter().collect(),
        }
    }

    /// The sums over all clients. They cost a look at each, and may be as old as [`TOTALS_KEPT`].
    pub(in crate::local) fn totals(&self) -> Totals {
        let now = Instant::now();
        if let Some((at, totals)) = self.0.totals.get()
            && now.duration_since(at) < TOTALS_KEPT
        {
            return totals;
        }
        let log = self.0.hub.log();
        let clients = self.0.clients.borrow();
        let mut totals = Totals { clients: clients.len() as u64, ..Totals::default() };
        for client in clients.values() {
            totals.ledger += client.outgoing.ledger(&log);
            totals.unread_reply_bytes += client.outgoing.unread_replies() as u64;
        }
        self.0.totals.set(Some((now, totals)));
        totals
    }
}

impl Member {
    fn row(&self, id: u64, you: bool, log: &Log) -> ClientRow<'static> {
        ClientRow {
            client: id,
            listener: self.about.listener.to_string_lossy().into_owned().into(),
            format: match self.about.format {
                Format::Envelope => "envelope".into(),
                Format::Raw => "raw".into(),
            },
            pid: Some(self.about.peer.pid),
            uid: Some(self.about.peer.uid),
            name: self.named.as_ref().map(|named| named.name().to_string().into()),
            acknowledged: self.named.as_ref().and_then(|named| named.acknowledged),
            you,
            ledger: self.outgoing.ledger(log),
            unread_reply_bytes: self.outgoing.unread_replies() as u64,
        }
    }
}
