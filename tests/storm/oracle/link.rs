//! Connections to the server: no more than were told, and not before it said.

use std::time::Duration;

use super::{super::record::Record, Faults, Logs, parse};

/// What was asked for is done within this after it was accepted.
const SOON: Duration = Duration::from_millis(500);

pub(super) fn judge(record: &Record, logs: &Logs, faults: &mut Faults) {
    let (mut connecting, mut up, mut unseen) = (0, 0, 0);
    for log in logs.values() {
        let newest = log.last_key_value().map_or(0, |(seq, _)| *seq);
        unseen += newest - log.len() as u64;
        for line in log.values().filter(|line| line.starts_with(b"{\"type\":\"link\"")) {
            match parse(line)["state"].as_str() {
                Some("connecting") => connecting += 1,
                Some("up") => up += 1,
                _ => {}
            }
        }
    }
    let upgraded = record.attempts.iter().filter(|attempt| attempt.upgraded).count();
    faults.check(up <= upgraded, || format!("link: it was up {up} times over {upgraded} connections"));
    // what a killed life did at last, nobody may have seen
    if record.lives.iter().all(|life| !life.killed) {
        // one that is asked for while another is under way takes its place without a word
        let (attempts, asked) = (record.attempts.len() as u64, record.interventions.len() as u64);
        faults.check(attempts <= connecting + unseen + asked, || {
            format!(
                "link: {attempts} connections were made, and {connecting} told, with {unseen} entries unseen"
            )
        });
    }
    for pair in record.attempts.windows(2) {
        let Some(least) = pair[0].retry_after else { continue };
        let free = |(from, to): &(Duration, Duration)| *from <= pair[1].at && pair[0].at <= *to + SOON;
        let took = pair[1].at.saturating_sub(pair[0].at);
        faults.check(took >= least || record.interventions.iter().any(free), || {
            format!("link: the server asked for {least:?} (Retry-After), and was left alone for {took:?}")
        });
    }
}
