//! What a linger brings, on both sides of the socket: each client has a thread of its own, which is woken for each
//! write.

use crate::{
    bridges::Bridge,
    measure,
    trial::{self, Load, Outcome},
};

const RATE: u64 = 1000;
const LINGERS: [&str; 4] = ["0", "1ms", "5ms", "20ms"];

pub(crate) fn section(rounds: usize) -> bool {
    [10, 100].into_iter().all(|clients| section_of(rounds, clients))
}

fn section_of(rounds: usize, clients: usize) -> bool {
    println!("\n# linger: {clients} clients with a thread each, 200 B, {RATE} messages/s\n");
    let load = Load { clients, size: 200, messages: 5 * RATE, rate: RATE, threads: true, ..Load::NONE };
    let mut outcomes: [Vec<Outcome>; LINGERS.len()] = Default::default();
    let mut clean = true;
    for _ in 0..rounds {
        for (linger, outcomes) in LINGERS.iter().zip(&mut outcomes) {
            match trial::run(Bridge::WsfanLinger(linger), load) {
                Ok(outcome) => outcomes.push(outcome),
                Err(why) => {
                    println!("{linger}: {why}");
                    clean = false;
                }
            }
        }
    }
    println!(
        "{:<8} {:>20} {:>21} {:>9} {:>9}  lost, doubled, reordered",
        "linger", "µs/delivery: daemon", "µs/delivery: clients", "p50 µs", "p99 µs"
    );
    for (linger, outcomes) in LINGERS.iter().zip(&outcomes).filter(|(_, outcomes)| !outcomes.is_empty()) {
        let of = |of: fn(&Outcome) -> f64| measure::median(&outcomes.iter().map(of).collect::<Vec<_>>());
        let strays: u64 = outcomes
            .iter()
            .map(|outcome| outcome.seen.lost + outcome.seen.doubled + outcome.seen.reordered)
            .sum();
        println!(
            "{linger:<8} {:>20.2} {:>21.2} {:>9.0} {:>9.0}  {strays}",
            of(Outcome::cpu_per_delivery),
            of(|outcome| outcome.seen.cpu_us / outcome.seen.received.max(1) as f64),
            of(|outcome| outcome.seen.p50_us),
            of(|outcome| outcome.seen.p99_us),
        );
        clean &= strays == 0;
    }
    clean
}
