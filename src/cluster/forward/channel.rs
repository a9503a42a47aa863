//! A stream of parcels to another node and back, over a carrier that may lose, delay and double what it carries. Each
//! parcel arrives once, in order, or not at all. Pure.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// So much is on its way at once, in bytes.
pub(super) const WINDOW: usize = 512 << 10;
/// The longest parcel: the longest line that a listener takes, and what goes with it.
pub(super) const MAX_PARCEL: usize = (64 << 20) + (64 << 10);
/// What was not acknowledged in time is said again after so long, and then after twice as long, up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Before what nobody has heard is said again.
const UNHEARD_WAIT: Duration = Duration::from_millis(100);
/// So many frames are remembered of which it isn't known whether anybody has heard them.
const MAX_FLIGHTS: usize = 1024;
/// What stands before a parcel: its length.
const PREFIX: usize = 4;

/// One end.
#[derive(Debug)]
pub(super) struct Channel {
    /// The most that one frame carries.
    max_body: usize,
    /// What the other end hasn't acknowledged, and how much came before it.
    unacked: VecDeque<u8>,
    base: u64,
    /// What is said next.
    next: u64,
    /// What may be on its way at once: little after something was lost.
    window: usize,
    again_at: Option<Instant>,
    wait: Duration,
    /// Frames that somebody may have heard, by their numbers, with where each ended.
    flights: VecDeque<(u64, u64)>,
    /// What was said in frames that aren't remembered any more.
    surely: u64,
    next_frame: u64,
    /// What the other end has said: so much came, and is here as far as it isn't a whole parcel yet.
    got: u64,
    coming: VecDeque<u8>,
    owes_ack: bool,
}

/// What goes out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Its number, by which one that nobody heard is named.
    pub(super) number: u64,
    /// Where its bytes belong.
    pub(super) offset: u64,
    /// What has come in.
    pub(super) ack: u64,
    pub(super) body: Vec<u8>,
}

/// The other end says what can't be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

impl Channel {
    /// One end of a new stream, whose frames carry so much at most, in bytes.
    pub(super) fn new(max_body: usize) -> Channel {
        Channel {
            max_body: max_body.clamp(1, WINDOW),
            unacked: VecDeque::new(),
            base: 0,
            next: 0,
            window: WINDOW,
            again_at: None,
            wait: FIRST_WAIT,
            flights: VecDeque::new(),
            surely: 0,
            next_frame: 0,
            got: 0,
            coming: VecDeque::new(),
            owes_ack: false,
        }
    }

    /// Leaves a parcel to be said. Where it begins and ends.
    pub(super) fn push(&mut self, parcel: &[&[u8]]) -> (u64, u64) {
        let start = self.end();
        let length: usize = parcel.iter().map(|part| part.len()).sum();
        let length = u32::try_from(length).unwrap_or(u32::MAX); // none is longer than MAX_PARCEL
        self.unacked.extend(length.to_be_bytes());
        parcel.iter().for_each(|part| self.unacked.extend(*part));
        (start, self.end())
    }

    /// How much waits here, in bytes.
    pub(super) fn held(&self) -> usize {
        self.unacked.len()
    }

    /// The other end has all that lies before this.
    pub(super) fn acked(&self) -> u64 {
        self.base
    }

    fn end(&self) -> u64 {
        self.base + self.unacked.len() as u64
    }

    /// The other end may have all that lies before this, and nothing that lies behind it.
    pub(super) fn doubt(&self) -> u64 {
        let flown = self.flights.iter().map(|(_, end)| *end).max().unwrap_or_default();
        self.base.max(self.surely).max(flown)
    }

    /// The other end has said something.
    ///
    /// # Errors
    /// It is no end of this stream.
    pub(super) fn hear(&mut self, now: Instant, offset: u64, ack: u64, body: &[u8]) -> Result<(), Broken> {
        if ack > self.end() {
            return Err(Broken);
        }
        if ack > self.base {
            let acked = usize::try_from(ack - self.base).unwrap_or(usize::MAX);
            self.unacked.drain(..acked);
            self.base = ack;
            self.next = self.next.max(ack);
            self.flights.retain(|(_, end)| *end > ack);
            if self.unacked.is_empty() && self.unacked.capacity() > 2 * WINDOW {
                self.unacked = VecDeque::new();
            }
            (self.window, self.wait) = (WINDOW, FIRST_WAIT);
            self.again_at = (self.next > self.base).then(|| now + self.wait);
        }
        if body.is_empty() {
            return Ok(());
        }
        self.owes_ack = true;
        if offset > self.got {
            return Ok(()); // something before it was lost, and comes again
        }
        let known = usize::try_from(self.got - offset).unwrap_or(usize::MAX);
        let Some(new) = body.get(known..) else { return Ok(()) };
        if self.coming.len() >= self.most_coming() {
            return Ok(()); // nobody takes what is here: it comes again
        }
        self.coming.extend(new);
        self.got += new.len() as u64;
        match self.coming_length() {
            Some(length) if length > MAX_PARCEL => Err(Broken),
            _ => Ok(()),
        }
    }

    fn most_coming(&self) -> usize {
        2 * WINDOW + self.coming_length().map_or(0, |length| length.min(MAX_PARCEL))
    }

    fn coming_length(&self) -> Option<usize> {
        let mut prefix = [0; PREFIX];
        if self.coming.len() < PREFIX {
            return None;
        }
        prefix.iter_mut().zip(&self.coming).for_each(|(to, from)| *to = *from);
        Some(u32::from_be_bytes(prefix) as usize)
    }

    /// The next parcel that is here.
    pub(super) fn parcel(&mut self) -> Option<Vec<u8>> {
        let length = self.coming_length()?;
        if self.coming.len() < PREFIX + length {
            return None;
        }
        self.coming.drain(..PREFIX);
        let parcel = self.coming.drain(..length).collect();
        if self.coming.is_empty() && self.coming.capacity() > 2 * WINDOW {
            self.coming = VecDeque::new();
        }
        Some(parcel)
    }

    /// Nobody has heard a frame. Says whether one of this number was on its way.
    pub(super) fn unheard(&mut self, now: Instant, number: u64) -> bool {
        let before = self.flights.len();
        self.flights.retain(|(flown, _)| *flown != number);
        let is_one = self.flights.len() < before;
        if is_one {
            self.rewind();
            self.again_at = Some(now + UNHEARD_WAIT);
        }
        is_one
    }

    /// All is to be said again that isn't acknowledged.
    pub(super) fn rewind(&mut self) {
        self.next = self.base;
        self.window = 0;
    }

    /// What is to be said now; `says`: beside acknowledgements.
    pub(super) fn poll(&mut self, now: Instant, says: bool) -> Option<Frame> {
        let waits = self.window == 0 && self.again_at.is_some_and(|at| at > now);
        let on_its_way = usize::try_from(self.next - self.base).unwrap_or(usize::MAX);
        let may = on_its_way < self.window.max(1) && !waits;
        let length = if says && may { self.max_body.min(self.unacked.len() - on_its_way) } else { 0 };
        if length == 0 && !std::mem::take(&mut self.owes_ack) {
            return None;
        }
        self.owes_ack = false;
        let body: Vec<u8> = self.unacked.range(on_its_way..on_its_way + length).copied().collect();
        let frame = Frame { number: self.next_frame, offset: self.next, ack: self.got, body };
        self.next_frame += 1;
        if length > 0 {
            self.next += length as u64;
            self.flights.push_back((frame.number, self.next));
            if self.flights.len() > MAX_FLIGHTS
                && let Some((_, end)) = self.flights.pop_front()
            {
                self.surely = self.surely.max(end);
            }
            self.again_at = Some(now + self.wait);
        }
        Some(frame)
    }

    /// When something is to be said again.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.again_at.filter(|_| self.base < self.end())
    }

    /// Says again what wasn't acknowledged in time.
    pub(super) fn timeout(&mut self, now: Instant) {
        if self.next_timeout().is_none_or(|at| at > now) {
            return;
        }
        if self.next > self.base {
            self.rewind();
            self.wait = (2 * self.wait).min(LONGEST_WAIT);
        }
        self.again_at = None;
    }
}
