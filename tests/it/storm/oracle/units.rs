//! Units: each arrives whole, with nothing between its messages, and its one fate is true.

use std::collections::BTreeMap;

use super::{
    super::{
        record::{Record, Session},
        units::Unit,
    },
    Faults, parse,
};

/// What may be told of one that hasn't gone out.
const ERRORS: [&str; 4] = ["link_down", "expired", "outbox_full", "rate_limited"];

/// Where units arrived, and whether they did so whole.
type Arrived = BTreeMap<Unit, Vec<(usize, bool)>>;

pub(super) fn judge(record: &Record, faults: &mut Faults) {
    let mut arrived = Arrived::new();
    for (conn, attempt) in record.attempts.iter().enumerate() {
        let heard = attempt.received.len() + attempt.asked.len() + attempt.parts.len();
        let mut parts = attempt.parts.iter().peekable();
        while let Some(first) = parts.next() {
            let wanted = first.unit.messages(record.seed);
            let (mut count, mut last, mut is_right) = (1, first.after, first.text == wanted[0]);
            while let Some(part) = parts.next_if(|part| part.unit == first.unit && part.after == last + 1) {
                is_right &= wanted.get(count) == Some(&part.text);
                (count, last) = (count + 1, part.after);
            }
            let is_whole = count == wanted.len();
            faults.check(is_right && (is_whole || last + 1 == heard), || {
                format!(
                    "unit: of {:?}, {count} messages came on connection {conn}, and then another",
                    first.unit
                )
            });
            let is_known = record.sessions.iter().any(|session| {
                session.number == first.unit.session && session.units.values().any(|k| *k == first.unit.k)
            });
            faults.check(is_known, || format!("unit: nobody sent {:?}", first.unit));
            arrived.entry(first.unit).or_default().push((conn, is_whole));
        }
    }
    for session in record.sessions.iter().filter(|session| !session.units.is_empty()) {
        told(record, session, &arrived, faults);
    }
}

/// What a client was told of each.
fn told(record: &Record, session: &Session, arrived: &Arrived, faults: &mut Faults) {
    let mut fates = BTreeMap::<&str, Vec<String>>::new();
    for line in &session.lines {
        if line.starts_with(b"{\"type\":\"ok\"") || line.starts_with(b"{\"type\":\"error\"") {
            let line = parse(line);
            let fate = line["result"].as_str().or(line["code"].as_str());
            let id = line["id"].as_str().and_then(|id| session.units.get_key_value(id));
            if let (Some((id, _)), Some(fate)) = (id, fate) {
                fates.entry(id).or_default().push(fate.to_owned());
            }
        }
    }
    let is_last = session.lines.first().zip(record.lives.last());
    let is_last = is_last.is_some_and(|(hello, life)| parse(hello)["epoch"] == life.epoch.as_str());
    let by_stop = is_last && session.lines.last().is_some_and(|line| parse(line)["why"] == "shutdown");
    let may_be_lost = record.attempts.iter().any(|attempt| attempt.upgraded && !attempt.read_to_end);
    for (id, k) in &session.units {
        let unit = Unit { session: session.number, k: *k };
        let came = arrived.get(&unit).map_or(&[][..], Vec::as_slice);
        let fates: Vec<&str> = fates.get(id.as_str()).into_iter().flatten().map(String::as_str).collect();
        let is_right = match fates[..] {
            [] | ["queued"] => !by_stop,
            ["written"] | ["queued", "written"] => came.iter().any(|(_, is_whole)| *is_whole) || may_be_lost,
            ["unknown"] | ["queued", "unknown"] => true,
            [error] | ["queued", error] => ERRORS.contains(&error) && came.is_empty(),
            _ => false,
        };
        faults.check(is_right && came.len() <= 1, || {
            format!("unit: {unit:?} ({}) came on {came:?}, and was told to be {fates:?}", session.what)
        });
    }
}
