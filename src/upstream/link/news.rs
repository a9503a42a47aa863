//! What the link tells clients and people.

use std::time::{Duration, Instant};

use super::{now, topics};
use crate::{
    hub::{Hole, LinkState, LinkStatus, Publisher, now_us},
    upstream::machine::{Machine, News, Note, Stray},
};

/// Tells clients and people what there is to tell. The bytes of what may be long: of public captures.
pub(super) fn tell(hub: &Publisher, machine: &mut Machine) -> usize {
    topics::follow(hub, machine);
    let mut bytes = 0;
    while let Some(told) = machine.poll_news() {
        match told {
            News::Announce(status) => announce(hub, status),
            News::Public(values) => bytes += hub.tell_public(values),
            News::Note(note) => self::note(hub, note),
        }
    }
    bytes
}

fn announce(hub: &Publisher, status: LinkStatus) {
    let status = at_its_time(status, now_us(), now());
    log(&status);
    hub.announce(status);
}

/// Declares a hole in the server's messages.
pub(super) fn declare(hub: &Publisher, time_us: u64, hole: &Hole) {
    tracing::warn!(from = hole.from, to = hole.to, per = hole.per, "the server's messages have a hole");
    hub.declare_hole(time_us, hole);
}

fn note(hub: &Publisher, note: Note) {
    match note {
        Note::RoundTrip(round_trip) => {
            hub.update_link(|status| status.heartbeat_rtt = Some(round_trip));
        }
        Note::Stable => hub.update_link(|status| status.attempt = 0),
        Note::Stray(Stray::Late) => {
            hub.count_late_answer();
            tracing::debug!("an answer came when nobody waited for it any more");
        }
        Note::Stray(Stray::Unanswered) => {
            hub.count_unanswered();
            tracing::debug!("nobody has answered a request of the server's in time");
        }
        Note::Unsent { error, unsaid } => {
            hub.count_failed_program();
            match unsaid {
                Some(0) => tracing::warn!(error, "a program has made no message"),
                Some(unsaid) => tracing::warn!(error, unsaid, "a program has made no message"),
                None => tracing::debug!(error, "a program has made no message"),
            }
        }
        Note::PutOff(why) => tracing::info!(why, "the server isn't ready yet"),
        Note::Rotating(why) => tracing::info!(why, "a new connection is made to take over"),
        Note::RotationFailed { error, retry_in } => {
            hub.count_failed_takeover();
            tracing::warn!(error, ?retry_in, "the new connection failed; the old one goes on");
        }
    }
}

/// The status with the time of its line, from which its wait is counted: the wait itself began a little before.
fn at_its_time(status: LinkStatus, since_us: u64, now: Instant) -> LinkStatus {
    let left = |until: Instant| until.saturating_duration_since(now);
    let retry_in = status.retry_at.map(left).or(status.retry_in);
    LinkStatus { since_us, retry_in, ..status }
}

/// One line for each change of the link.
fn log(status: &LinkStatus) {
    let LinkStatus { conn, url, attempt, .. } = status;
    let error = status.error.as_deref().unwrap_or_default();
    let conn = (*conn > 0).then_some(*conn); // 0 is none: it never was up
    let retry_in = Duration::from_millis(status.retry_in.unwrap_or_default().as_millis() as u64);
    match status.state {
        LinkState::Connecting => tracing::debug!(%url, attempt, "connecting"),
        LinkState::Up => tracing::info!(conn, %url, "link up"),
        LinkState::Waiting if error.is_empty() => {
            tracing::info!(conn, ?retry_in, "link waiting");
        }
        LinkState::Waiting => {
            tracing::warn!(conn, attempt, ?retry_in, error, "link down");
        }
        LinkState::Failed => tracing::error!(conn, attempt, error, "link failed"),
        LinkState::Closed => tracing::info!(conn, "link closed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_counted_from_the_time_of_its_line() {
        let (began, ms) = (Instant::now(), Duration::from_millis(1));
        let (retry_in, retry_at) = (Some(500 * ms), Some(began + 500 * ms));
        let status = LinkStatus { state: LinkState::Waiting, retry_in, retry_at, ..LinkStatus::default() };
        for (late, left) in [(0, 500), (7, 493), (499, 1), (600, 0)] {
            let told = at_its_time(status.clone(), 99, began + late * ms);
            assert_eq!((told.since_us, told.retry_in), (99, Some(left * ms)), "{late} ms later");
        }
        let up = LinkStatus { state: LinkState::Up, ..LinkStatus::default() };
        assert_eq!(at_its_time(up, 99, began).retry_in, None);
    }
}
