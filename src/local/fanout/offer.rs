//! Offers: each client is given what lies ahead of it, as far as its socket takes it and its turn goes.

use std::{
    cell::Cell,
    collections::BTreeMap,
    io::{self, Write},
    rc::Rc,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    Fanout, Member,
    clients::{Clients, Group},
};
use crate::{
    hub::{Log, Picked},
    local::{
        burst::Burst,
        dialogue::{outgoing::Next, replies},
        latest::{self, MAX_LOOKED_AT},
        selections::MAX_LOOKS,
    },
};

/// So many writes for one client in a row; then the others have their turn.
const WRITES_PER_TURN: usize = 8;

/// What is laid out for a burst is kept so long for a client that takes nothing.
const BURST_KEPT: Duration = Duration::from_secs(1);

impl Fanout {
    /// Gives every client what lies ahead of it, but those who still linger.
    pub(super) fn offer(&self) {
        let needed = Cell::new(u64::MAX);
        self.0.burst.borrow_mut().begin(self.count());
        if !self.0.newcomers.borrow().is_empty() {
            self.hurry_newcomers(); // before it is known what is needed
        }
        let lingering = {
            let Clients { prompt: Group { crowd, all, .. }, lingering } = &mut *self.0.clients.borrow_mut();
            self.offer_to(all, &needed);
            (Rc::clone(crowd), !lingering.is_empty())
        };
        let (prompt, is_any_lingering) = lingering;
        self.offer_narrowed(&prompt, |fanout, id, client| fanout.offer_one(id, client, &needed));
        if is_any_lingering {
            self.offer_lingering(&needed);
        }
        self.0.burst.borrow_mut().end();
        self.let_go();
        let head = self.0.hub.log().head();
        self.0.reader.offered(head, needed.get());
        self.release();
        self.shed();
    }

    /// Gives each of these what lies ahead of it; those leave who are gone.
    pub(super) fn offer_to(&self, all: &mut BTreeMap<u64, Member>, needed: &Cell<u64>) {
        all.retain(|id, client| {
            let stays = self.offer_one(*id, client, needed);
            if !stays {
                self.part(*id, client);
            }
            stays
        });
    }

    /// Gives a client what lies ahead of it, and notes what has to stay for it. False: it is gone.
    #[inline]
    pub(super) fn offer_one(&self, id: u64, client: &mut Member, needed: &Cell<u64>) -> bool {
        let stays = if client.lagging { self.watch_bound(id, client) } else { self.pump(id, client) };
        if !client.lagging {
            client.watch = None; // it took all there is at once
        } else if stays {
            self.hold(id, client);
        }
        if stays {
            self.note_needed(client, needed);
        }
        stays
    }

    /// Under `block`, what a client still needs that waits stays in the log.
    #[inline]
    pub(super) fn note_needed(&self, client: &Member, needed: &Cell<u64>) {
        if (client.lagging || client.outgoing.is_held_back())
            && self.is_waited_for(client)
            && let Some(seq) = client.outgoing.needs()
        {
            needed.set(needed.get().min(seq));
        }
    }

    /// Writes until the client has all, can't take more, or has had its turn. False: it is gone.
    pub(super) fn pump(&self, id: u64, client: &mut Member) -> bool {
        let stays = self.write_out(id, client);
        if client.selection.is_some() {
            self.settle_narrowed(id, client);
        }
        stays
    }

    fn write_out(&self, id: u64, client: &mut Member) -> bool {
        if client.lagging && !client.outgoing.is_finishing() {
            return true;
        }
        let turn = {
            let (mut burst, mut latest) = (self.0.burst.borrow_mut(), self.0.latest.borrow_mut());
            self.0.reader.with_log(|log| self.turn(client, log, &mut burst, &mut latest))
        };
        client.relieve();
        match turn {
            Turn::Done => true,
            Turn::Deaf => {
                // it may have said something before: its reader goes on to the end of that
                client.outgoing.deafen();
                client.relieve();
                !client.outgoing.is_finishing()
            }
            Turn::Close => false,
            Turn::Full | Turn::Over => {
                if !std::mem::replace(&mut client.lagging, true) {
                    client.progress = Instant::now();
                    if matches!(turn, Turn::Full) {
                        self.wait_writable(id, client)
                    } else {
                        self.wait_turn(id)
                    }
                }
                true
            }
            Turn::Lost => {
                self.lost(id, client);
                self.let_catch_up(id, client);
                self.write_out(id, client)
            }
        }
    }

    /// Writes until the client has all, can't take more, or has had its turn.
    fn turn(&self, client: &mut Member, log: &mut Log, burst: &mut Burst, latest: &mut Picked) -> Turn {
        for _ in 0..WRITES_PER_TURN {
            let Member { stream, outgoing, narrowing, .. } = client;
            let (length, result) = match outgoing.next(log) {
                Next::Wait => return Turn::Done,
                Next::Close => return Turn::Close,
                Next::Lost => return Turn::Lost,
                Next::Snapshot => {
                    outgoing.go_on(log, narrowing.cost(), |value| narrowing.wants_on(value.topic));
                    continue;
                }
                Next::Pick { from, latest_to } => {
                    match self.write_picked(client, log, latest, from, latest_to) {
                        Some(turn) => return turn,
                        None => continue,
                    }
                }
                Next::Write(bytes) => (bytes.len(), stream.socket().write(bytes)),
                Next::Lines(lines) => (lines.len(), burst.write(stream.socket(), lines)),
            };
            match took(result) {
                Took::Bytes(written) => {
                    outgoing.wrote(log, written);
                    if written < length {
                        return Turn::Full;
                    }
                }
                Took::Nothing => {}
                Took::End(turn) => return turn,
            }
        }
        Turn::Over
    }

    /// Picks what a client gets of the entries from one on, and writes it. How its turn ends, if it does.
    fn write_picked(
        &self,
        client: &mut Member,
        log: &mut Log,
        latest: &mut Picked,
        from: u64,
        latest_to: Option<u64>,
    ) -> Option<Turn> {
        let Member { about, crowd, stream, outgoing, selection, .. } = client;
        let mut selections = crowd.selections.borrow_mut();
        let picked = match (latest_to, *selection) {
            (Some(to), selection) => {
                if !log.link_topics(MAX_LOOKED_AT) {
                    return Some(Turn::Over);
                }
                let mut looks = MAX_LOOKS;
                let is_wanted = |seq| match selection {
                    Some(at) => selections.wants(log, at, seq, &mut looks),
                    None => Some(true),
                };
                latest::pick(latest, log, (from, to), about.format, is_wanted, replies::gap);
                &*latest
            }
            (None, Some(selection)) => selections.pick(log, selection, about.format, from),
            (None, None) => return Some(Turn::Done),
        };
        let bytes = picked.bytes();
        let result = if bytes.is_empty() { Ok(0) } else { stream.socket().write(bytes) };
        match took(result) {
            Took::Bytes(written) => {
                let is_whole = written == bytes.len();
                let told = outgoing.wrote_picked(log, picked, written);
                if told.gaps > 0 {
                    self.0.hub.counters().conflated(told.gaps, told.entries);
                }
                (!is_whole).then_some(Turn::Full)
            }
            Took::Nothing => None,
            Took::End(turn) => Some(turn),
        }
    }

    /// Gives back what is held for a burst, once nobody lags who may need it.
    pub(super) fn let_go(&self) {
        let mut burst = self.0.burst.borrow_mut();
        // one that has long been stuck may never need it
        let soon = |client: &Member| client.lagging && client.progress.elapsed() < BURST_KEPT;
        if burst.is_held() && !self.0.clients.borrow().values().any(soon) {
            burst.clear();
        }
    }
}

/// How a client's turn ended.
enum Turn {
    /// It has all there is.
    Done,
    /// It can take no more now.
    Full,
    /// It could take more, but others have their turn first.
    Over,
    /// It fell out of the log.
    Lost,
    /// Nothing reaches it any more.
    Deaf,
    /// Everything is said.
    Close,
}

/// What a socket made of a write.
enum Took {
    /// It took so many bytes.
    Bytes(usize),
    /// A signal came: it is to be written again.
    Nothing,
    /// The turn is over.
    End(Turn),
}

#[inline]
fn took(result: io::Result<usize>) -> Took {
    match result {
        Ok(written) => Took::Bytes(written),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Took::End(Turn::Full),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Took::Nothing,
        Err(_) => Took::End(Turn::Deaf),
    }
}
