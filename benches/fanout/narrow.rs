//! Clients that want one message in a hundred, beside those that want all.
//!
//! What a client costs is what the bridge spends more because it is there: what it spends on the same messages with no
//! client at all (the intake) is measured too, and subtracted. All are offered the same messages at the same rate.
//!
//! At a rate, all are read by one thread that looks every 5 ms. One that sleeps until something comes is woken by nearly
//! each write where there are ten, and by the first alone of a thousand: what the kernel does for that isn't what wsfan
//! does for a client.

use crate::{
    bridges::Bridge,
    clients::Wish,
    measure,
    trial::{self, Load},
};

const CLIENTS: usize = 1000;

/// Messages a second, and how many; the last as fast as it goes, when all wait for the slowest.
const RHYTHMS: [(u64, u64); 3] = [(100, 500), (300, 1500), (0, 20_000)];

const ROWS: [(&str, Bridge, Wish); 4] = [
    ("all, no [topics]", Bridge::Wsfan, Wish::All),
    ("all, [topics]", Bridge::WsfanTopics, Wish::All),
    ("1 in 100, 100 names", Bridge::WsfanTopics, Wish::Name),
    ("1 in 100, 1,000 patterns", Bridge::WsfanTopics, Wish::Pattern),
];

/// What a row has cost in each round, in µs of CPU for each message.
#[derive(Default)]
struct Row {
    intake: Vec<f64>,
    all: Vec<f64>,
    received: u64,
    strays: u64,
}

pub(crate) fn section(rounds: usize) -> bool {
    RHYTHMS.into_iter().all(|(rate, messages)| rhythm(rounds, rate, messages))
}

fn rhythm(rounds: usize, rate: u64, messages: u64) -> bool {
    let how = if rate == 0 {
        "as fast as it goes".to_owned()
    } else {
        format!("{rate} messages/s, read every 5 ms")
    };
    println!("\n# one message in a hundred: {CLIENTS} clients, 200 B, {how}\n");
    let mut rows: Vec<Row> = ROWS.iter().map(|_| Row::default()).collect();
    let mut clean = true;
    for _ in 0..rounds {
        for ((name, bridge, wish), row) in ROWS.iter().zip(&mut rows) {
            let load = Load {
                clients: CLIENTS,
                size: 200,
                messages,
                rate,
                topics: true,
                wish: *wish,
                ticks: rate > 0,
                ..Load::NONE
            };
            let outcome =
                trial::run(*bridge, load).and_then(|outcome| Ok((outcome, trial::intake(*bridge, load)?)));
            match outcome {
                Ok((outcome, intake)) => {
                    row.all.push(outcome.cpu_us / messages as f64);
                    row.intake.push(intake / messages as f64);
                    row.received += outcome.seen.received;
                    row.strays += outcome.seen.lost + outcome.seen.doubled + outcome.seen.reordered;
                }
                Err(why) => {
                    println!("{name}: {why}");
                    clean = false;
                }
            }
        }
    }
    println!(
        "{:<25} {:>11} {:>11} {:>14} {:>10} {:>12} {:>11}  lost, doubled or another's",
        "", "µs/message", "its intake", "ns/msg+client", "/ all", "with intake", "µs/delivery"
    );
    let spent = |row: &Row| measure::median(&row.all) - measure::median(&row.intake);
    for (at, ((name, ..), row)) in ROWS.iter().zip(&rows).enumerate() {
        if row.all.is_empty() {
            continue;
        }
        let (all, intake) = (measure::median(&row.all), measure::median(&row.intake));
        let deliveries = row.received as f64 / (row.all.len() as u64 * messages) as f64;
        // beside those that want all of the same
        let whole = &rows[if at == 0 { 0 } else { 1 }];
        println!(
            "{name:<25} {all:>11.2} {intake:>11.2} {:>14.2} {:>10} {:>12} {:>11.3}  {}",
            1e3 * spent(row) / CLIENTS as f64,
            format!("1/{:.1}", spent(whole) / spent(row)),
            format!("1/{:.1}", measure::median(&whole.all) / all),
            spent(row) / deliveries,
            row.strays,
        );
        clean &= row.strays == 0;
    }
    clean
}
