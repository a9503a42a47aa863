//! What is counted since the daemon's start.

use std::cell::Cell;

use super::{Fate, Hole, LinkState, LinkStatus, MayAnswer, NoAnswer, Unexpanded};
use crate::protocol::{Bye, Why, status};

/// All counters, kept as `status` shows them.
#[derive(Debug, Default)]
pub struct Counters {
    traffic: Cell<status::Traffic>,
    dropped: Cell<u64>,
    troubles: Cell<status::Counters>,
}

impl Counters {
    /// What went over the link so far.
    pub fn traffic(&self) -> status::Traffic {
        self.traffic.get()
    }

    /// How many sends failed when their client had gone.
    pub fn dropped(&self) -> u64 {
        self.dropped.get()
    }

    /// What has gone wrong so far, by cause.
    pub fn troubles(&self) -> status::Counters {
        self.troubles.get()
    }

    /// Counts a message from the upstream.
    pub(super) fn received(&self, bytes: usize, time_us: u64) {
        let mut traffic = self.traffic.get();
        traffic.received += 1;
        traffic.received_bytes += bytes as u64;
        traffic.last_received_us = Some(time_us);
        self.traffic.set(traffic);
    }

    /// Counts a message from the upstream that is no entry.
    pub(super) fn withheld(&self, bytes: usize, time_us: u64) {
        self.received(bytes, time_us);
        let mut traffic = self.traffic.get();
        traffic.withheld += 1;
        self.traffic.set(traffic);
    }

    /// Counts messages written to the upstream.
    pub(super) fn sent(&self, messages: usize, bytes: usize) {
        let mut traffic = self.traffic.get();
        traffic.sent += messages as u64;
        traffic.sent_bytes += bytes as u64;
        self.traffic.set(traffic);
    }

    /// Counts a hole in the server's messages.
    pub(super) fn hole(&self, hole: &Hole) {
        self.count(|counters| {
            counters.upstream_gaps.declared += 1;
            // what a server counts is as large as it likes
            let missing = hole.to.saturating_sub(hole.from).saturating_add(1);
            let messages = &mut counters.upstream_gaps.messages;
            *messages = messages.saturating_add(missing);
        });
    }

    /// Counts what a change of the link tells of.
    pub(super) fn link(&self, before: LinkState, status: &LinkStatus) {
        self.count(|counters| {
            let link = &mut counters.link;
            let is_over = status.state != LinkState::Up;
            // a step that is put off, or a close that is asked for, tells of an error once more
            let has_failed = matches!(status.state, LinkState::Waiting | LinkState::Failed);
            match before {
                LinkState::Up if is_over && status.code.is_some_and(|code| code != 1006) => link.closed += 1,
                LinkState::Up if is_over && (status.code.is_some() || status.error.is_some()) => {
                    link.lost += 1
                }
                LinkState::Connecting if has_failed && status.http_status.is_some() => link.refused += 1,
                LinkState::Connecting if has_failed && status.error.is_some() => link.failed += 1,
                _ => {}
            }
            match status.state {
                LinkState::Connecting if before != LinkState::Connecting => link.attempts += 1,
                LinkState::Up => link.up += 1,
                LinkState::Connecting | LinkState::Waiting | LinkState::Failed | LinkState::Closed => {}
            }
        });
    }

    /// Counts a message whose topic can't be written.
    pub(super) fn unfit_topic(&self) {
        self.count(|counters| counters.unfit_topics += 1);
    }

    /// Counts a connection that was to take over and didn't.
    pub(super) fn failed_takeover(&self) {
        self.count(|counters| counters.link.failed_takeovers += 1);
    }

    /// Counts a reply or a heartbeat that isn't sent, since its program made none.
    pub(super) fn failed_program(&self) {
        self.count(|counters| counters.failed_programs += 1);
    }

    /// Counts a gap of so many entries that a client is told of; 0 where nobody knows how many.
    pub fn gap(&self, why: Why, entries: u64) {
        self.count(|counters| {
            let gaps = &mut counters.gaps;
            match why {
                Why::SlowClient => gaps.slow_client += 1,
                Why::Discarded => gaps.discarded += 1,
                Why::Expired => gaps.expired += 1,
                Why::Epoch => gaps.epoch += 1,
                Why::Conflated => gaps.conflated += 1,
                Why::Upstream | Why::Failover => return,
            }
            gaps.entries += entries;
        });
    }

    /// Counts so many gaps of so many entries together that a client is told of which catches up.
    pub fn conflated(&self, gaps: u64, entries: u64) {
        self.count(|counters| {
            counters.gaps.conflated += gaps;
            counters.gaps.entries += entries;
        });
    }

    /// Counts a client that is cut off.
    pub fn cut_off(&self, why: Bye) {
        self.count(|counters| match why {
            Bye::SlowClient => counters.cut_off.slow_client += 1,
            Bye::Discarded => counters.cut_off.discarded += 1,
            Bye::BadClient => counters.cut_off.bad_client += 1,
            Bye::Reconfigured => counters.cut_off.reconfigured += 1,
            Bye::TakenOver => counters.cut_off.taken_over += 1,
            // nothing that a client did, or is to do otherwise
            Bye::Shutdown | Bye::Epoch => {}
        });
    }

    /// Counts a client that is disconnected without a word, since it had stopped reading and too much was kept for
    /// such clients.
    pub fn shed(&self) {
        self.count(|counters| counters.cut_off.stalled += 1);
    }

    /// Counts a client that isn't taken in.
    pub fn refused_client(&self) {
        self.count(|counters| counters.refused_clients += 1);
    }

    /// Counts a send's fate, if it isn't sent.
    pub fn fate(&self, fate: Fate) {
        self.count(|counters| {
            let sends = &mut counters.failed_sends;
            match fate {
                Fate::Written | Fate::Queued => {}
                Fate::LinkDown(_) => sends.link_down += 1,
                Fate::Expired => sends.expired += 1,
                Fate::OutboxFull => sends.outbox_full += 1,
                Fate::TooLarge(_)
                | Fate::TooMany(_)
                | Fate::TooManyRequests(_)
                | Fate::Unexpanded(Unexpanded::Unfit) => sends.too_large += 1,
                Fate::Unexpanded(Unexpanded::NoValue) => sends.no_value += 1,
                Fate::RateLimited | Fate::TooManyWait => sends.rate_limited += 1,
                Fate::Answered => sends.answered += 1,
                Fate::NotAnswerer(MayAnswer::Claimed(_)) => sends.answerer_taken += 1,
                Fate::NotAnswerer(_) => sends.forbidden += 1,
                Fate::IdTaken => sends.id_taken += 1,
                Fate::Unfit(_) => sends.bad_request += 1,
                Fate::Unknown => sends.unknown += 1,
            }
        });
    }

    /// Counts a request that has its answer, the first if there are several.
    pub fn answered(&self) {
        self.count(|counters| counters.requests.answered += 1);
    }

    /// Counts a request that gets no answer, or no other.
    pub fn no_answer(&self, why: NoAnswer) {
        self.count(|counters| {
            let requests = &mut counters.requests;
            match why {
                NoAnswer::Timeout { .. } => requests.timeout += 1,
                NoAnswer::Fate(Fate::Unknown) => requests.unknown += 1,
                NoAnswer::Fate(Fate::LinkDown(_)) | NoAnswer::Ended => requests.link_down += 1,
                NoAnswer::Cancelled => requests.cancelled += 1,
                NoAnswer::Overrun => requests.overrun += 1,
                // those that were never sent are among the sends, or nothing came of the line
                NoAnswer::Fate(_)
                | NoAnswer::Unsupported
                | NoAnswer::NoPlace
                | NoAnswer::Twice
                | NoAnswer::TooMany => {}
            }
        });
    }

    /// Counts an answer that came when nobody waited for it any more.
    pub(super) fn late_answer(&self) {
        self.count(|counters| counters.requests.late += 1);
    }

    /// Counts a request of the server's that nobody has answered in time.
    pub(super) fn unanswered(&self) {
        self.count(|counters| counters.requests.unanswered += 1);
    }

    /// Counts a send that failed when its client had gone, so that nobody could be told.
    pub fn count_dropped(&self) {
        self.dropped.set(self.dropped.get() + 1);
    }

    fn count(&self, change: impl FnOnce(&mut status::Counters)) {
        let mut troubles = self.troubles.get();
        change(&mut troubles);
        self.troubles.set(troubles);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Unfit;
    use crate::protocol::status::{CutCounts, GapCounts, HoleCounts, LinkCounts, RequestCounts, SendCounts};

    #[test]
    fn what_the_link_tells_is_counted_by_cause() {
        let counters = Counters::default();
        let mut before = LinkState::Closed;
        let mut tell = |state, code: Option<u16>, http_status: Option<u16>, error: Option<&str>| {
            let error = error.map(str::to_owned);
            counters.link(before, &LinkStatus { state, code, http_status, error, ..LinkStatus::default() });
            before = state;
            counters.troubles().link
        };
        use LinkState::{Closed, Connecting, Failed, Up, Waiting};
        let mut want = LinkCounts { attempts: 1, ..LinkCounts::default() };
        assert_eq!(tell(Connecting, None, None, None), want);
        want.refused = 1;
        assert_eq!(tell(Waiting, None, Some(503), Some("refused")), want);
        assert_eq!(tell(Waiting, None, Some(503), Some("refused")), want, "it is told again");
        want.attempts = 2;
        assert_eq!(
            tell(Connecting, None, Some(503), Some("refused")),
            want,
            "it stays through the next attempt"
        );
        want.failed = 1;
        assert_eq!(tell(Waiting, None, None, Some("nobody is there")), want);
        want.attempts = 3;
        tell(Connecting, None, None, Some("nobody is there"));
        want.up = 1;
        assert_eq!(tell(Up, None, None, None), want);
        want.up = 2;
        assert_eq!(tell(Up, None, None, None), want, "another has taken over");
        (want.lost, want.attempts) = (1, 4);
        assert_eq!(tell(Connecting, Some(1006), None, Some("reset")), want, "it goes on at once");
        want.up = 3;
        tell(Up, None, None, None);
        want.closed = 1;
        assert_eq!(tell(Failed, Some(4000), None, Some("no")), want);
        (want.attempts, want.up) = (5, 4);
        tell(Connecting, None, None, None);
        tell(Up, None, None, None);
        assert_eq!(tell(Closed, None, None, None), want, "the daemon itself has dropped it");
        counters.failed_takeover();
        assert_eq!(counters.troubles().link, LinkCounts { failed_takeovers: 1, ..want });
    }

    #[test]
    fn holes_as_large_as_the_numbers_are_are_counted_up_to_the_largest() {
        let counters = Counters::default();
        for (from, to) in [(2, u64::MAX - 1), (2, u64::MAX - 1), (0, u64::MAX), (5, 5)] {
            counters.hole(&Hole { from, to, ..Hole::default() });
        }
        assert_eq!(counters.troubles().upstream_gaps, HoleCounts { declared: 4, messages: u64::MAX });
    }

    #[test]
    fn each_cause_has_its_counter() {
        let counters = Counters::default();
        for (why, entries) in [
            (Why::SlowClient, 5),
            (Why::Discarded, 3),
            (Why::Expired, 7),
            (Why::Epoch, 0),
            (Why::Upstream, 9),
            (Why::Failover, 9),
        ] {
            counters.gap(why, entries);
        }
        counters.conflated(2, 5);
        for why in [
            Bye::SlowClient,
            Bye::Discarded,
            Bye::BadClient,
            Bye::Reconfigured,
            Bye::TakenOver,
            Bye::Shutdown,
            Bye::Epoch,
        ] {
            counters.cut_off(why);
        }
        counters.shed();
        counters.unfit_topic();
        counters.refused_client();
        counters.hole(&Hole { from: 3, to: 6, ..Hole::default() });
        for fate in [
            Fate::Written,
            Fate::Queued,
            Fate::LinkDown(LinkState::Waiting),
            Fate::Expired,
            Fate::OutboxFull,
            Fate::TooLarge(1),
            Fate::TooMany(1),
            Fate::RateLimited,
            Fate::Answered,
            Fate::NotAnswerer(MayAnswer::OfOthers),
            Fate::NotAnswerer(MayAnswer::Claimed(1)),
            Fate::IdTaken,
            Fate::TooManyRequests(1),
            Fate::TooManyWait,
            Fate::Unfit(Unfit::Doubled),
            Fate::Unexpanded(Unexpanded::NoValue),
            Fate::Unexpanded(Unexpanded::Unfit),
            Fate::Unknown,
        ] {
            counters.fate(fate);
        }
        counters.answered();
        for why in [
            NoAnswer::Timeout { written: true },
            NoAnswer::Timeout { written: false },
            NoAnswer::Fate(Fate::Unknown),
            NoAnswer::Fate(Fate::LinkDown(LinkState::Waiting)),
            NoAnswer::Ended,
            NoAnswer::Cancelled,
            NoAnswer::Overrun,
            NoAnswer::NoPlace,
        ] {
            counters.no_answer(why);
        }
        counters.late_answer();
        counters.unanswered();
        counters.failed_program();
        let all = status::Counters {
            link: LinkCounts::default(),
            gaps: GapCounts { slow_client: 1, discarded: 1, expired: 1, epoch: 1, conflated: 2, entries: 20 },
            cut_off: CutCounts {
                slow_client: 1,
                discarded: 1,
                bad_client: 1,
                reconfigured: 1,
                taken_over: 1,
                stalled: 1,
            },
            unfit_topics: 1,
            failed_programs: 1,
            refused_clients: 1,
            failed_sends: SendCounts {
                link_down: 1,
                expired: 1,
                outbox_full: 1,
                too_large: 4,
                rate_limited: 2,
                answered: 1,
                forbidden: 1,
                answerer_taken: 1,
                id_taken: 1,
                bad_request: 1,
                no_value: 1,
                unknown: 1,
            },
            requests: RequestCounts {
                answered: 1,
                timeout: 2,
                unknown: 1,
                link_down: 2,
                cancelled: 1,
                overrun: 1,
                late: 1,
                unanswered: 1,
            },
            upstream_gaps: HoleCounts { declared: 1, messages: 4 },
        };
        assert_eq!(counters.troubles(), all);
    }
}
