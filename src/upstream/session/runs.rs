//! The programs that make messages on one connection: which of them run, and which wait for a place. Pure.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::Purpose;
use crate::{
    config::{Secret, SendCommand},
    upstream::secrets::redactor::Redactor,
};

/// So many run at once.
pub(super) const MAX_RUNNING: usize = 16;
/// So many replies wait for a place, at most,
pub(super) const MAX_WAITING: usize = 1_000;
/// with so many bytes together that their programs are to read.
pub(super) const MAX_WAITING_BYTES: usize = 1 << 20;
/// One reads no more bytes than this.
pub(super) const MAX_STDIN: usize = 1 << 20;

/// A program that is to be run now. It must end within its own timeout, and with its connection.
#[derive(Debug, PartialEq)]
pub(in crate::upstream) struct Run {
    /// Its number on this connection.
    pub(in crate::upstream) id: u64,
    pub(in crate::upstream) command: Arc<SendCommand>,
    /// What it reads.
    pub(in crate::upstream) stdin: Option<Secret>,
    /// It may print so many bytes.
    pub(in crate::upstream) max: usize,
    /// What nobody may be shown of what it complains of.
    pub(in crate::upstream) redactor: Redactor,
}

/// What a program is asked for.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) command: Arc<SendCommand>,
    pub(super) stdin: Option<Secret>,
    pub(super) why: Purpose,
}

/// All of one connection.
#[derive(Debug, Default)]
pub(super) struct Runs {
    running: BTreeMap<u64, (Arc<SendCommand>, Purpose)>,
    waiting: VecDeque<Order>,
    /// What those that wait are to read, in bytes.
    bytes: usize,
    /// How many have begun.
    begun: u64,
}

impl Runs {
    /// Takes one in. The script and the heartbeat, of which one each is under way at most, go before replies, which
    /// wait in order.
    ///
    /// # Errors
    /// Too many replies wait, or too much: the end of a sentence.
    pub(super) fn take(&mut self, order: Order) -> Result<(), String> {
        let length = order.length();
        if length > MAX_STDIN {
            return Err("isn't run, since it would have to read more than 1MiB".to_owned());
        }
        let replies = self.waiting.iter().filter(|order| order.why == Purpose::Reply).count();
        let is_over = replies >= MAX_WAITING || self.bytes + length > MAX_WAITING_BYTES;
        // one that can begin now doesn't wait
        if order.why == Purpose::Reply && is_over && !(self.waiting.is_empty() && self.has_place()) {
            return Err(format!(
                "isn't run: {MAX_RUNNING} programs run on this connection, and {replies} replies wait for theirs"
            ));
        }
        self.bytes += length;
        let ahead = |other: &Order| match order.why {
            Purpose::Script => false,
            Purpose::Heartbeat => other.why == Purpose::Script,
            Purpose::Reply => true,
        };
        let at = self.waiting.iter().take_while(|other| ahead(other)).count();
        self.waiting.insert(at, order);
        Ok(())
    }

    /// The next one that runs from now on, and its number.
    pub(super) fn begin(&mut self) -> Option<(u64, Order)> {
        if !self.has_place() {
            return None;
        }
        let order = self.waiting.pop_front()?;
        self.bytes -= order.length();
        self.begun += 1;
        self.running.insert(self.begun, (Arc::clone(&order.command), order.why));
        Some((self.begun, order))
    }

    /// Whether [`Runs::begin`] has one.
    pub(super) fn may_begin(&self) -> bool {
        !self.waiting.is_empty() && self.has_place()
    }

    /// One has ended: what it was, and for what. None where nobody waits for it any more.
    pub(super) fn end(&mut self, id: u64) -> Option<(Arc<SendCommand>, Purpose)> {
        self.running.remove(&id)
    }

    /// Whether this one runs, and is waited for.
    pub(super) fn has(&self, id: u64) -> bool {
        self.running.contains_key(&id)
    }

    /// Whether one for this runs, or waits.
    pub(super) fn is_under_way(&self, wanted: Purpose) -> bool {
        self.waiting.iter().any(|order| order.why == wanted)
            || self.running.values().any(|(_, why)| *why == wanted)
    }

    /// Nobody waits for those any more that are for this.
    pub(super) fn forget(&mut self, unwanted: Purpose) {
        self.running.retain(|_, (_, why)| *why != unwanted);
        self.waiting.retain(|order| order.why != unwanted);
        self.bytes = self.waiting.iter().map(Order::length).sum();
    }

    /// Nobody waits for any.
    pub(super) fn clear(&mut self) {
        self.running.clear();
        self.waiting.clear();
        self.bytes = 0;
    }

    fn has_place(&self) -> bool {
        self.running.len() < MAX_RUNNING
    }
}

impl Order {
    fn length(&self) -> usize {
        self.stdin.as_ref().map_or(0, |text| text.expose().len())
    }
}
