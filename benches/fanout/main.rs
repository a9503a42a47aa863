//! What fan-out costs: wsfan beside other bridges, and beside a program that only moves the bytes.
//!
//! `cargo bench --bench fanout` runs the whole matrix; `-- --help` tells how to run part of it. The
//! server, the bridge and the clients are processes of their own. CPU time is the kernel's account
//! of the bridge alone, so that the others' load on the machine counts less than in a wall clock;
//! the rounds are interleaved, and ratios are of medians of one run.

#![allow(clippy::disallowed_methods, reason = "its processes have no runtime that a sleep could block")]

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

use clap::Parser;

mod bridges;
mod clients;
mod limit;
mod line;
mod linger;
mod measure;
mod narrow;
mod plot;
mod trial;
mod upstream;

use bridges::Bridge;
use trial::{Load, Outcome};

/// Fan-out of one WebSocket to many Unix sockets: wsfan, other bridges, and the limit.
#[derive(Parser)]
struct Options {
    /// Interleaved rounds; the figures are medians.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Numbers of clients.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 100, 1000])]
    clients: Vec<usize>,
    /// Sizes of a message in bytes.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 200, 1024, 16384])]
    sizes: Vec<usize>,
    /// Sections to run: flood, paced, history, stopped, idle, narrow, linger.
    #[arg(long, value_delimiter = ',', default_value = "flood,paced,history,stopped,idle,narrow,linger")]
    sections: Vec<String>,
    /// Bridges to compare with: websocat, python, node.
    #[arg(long, value_delimiter = ',', default_value = "websocat,python,node")]
    peers: Vec<String>,
    /// Write the chart of 200-byte messages, as fast as they go, to this file.
    #[arg(long)]
    svg: Option<PathBuf>,
    /// What this process is; for the benchmark itself.
    #[arg(long, hide = true)]
    role: Option<String>,
    /// Arguments of a role, and the --bench that cargo adds.
    #[arg(hide = true)]
    rest: Vec<String>,
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(role) = &options.role {
        play(role, &options.rest);
        return ExitCode::SUCCESS;
    }
    let mut bridges = vec![Bridge::Limit, Bridge::Wsfan];
    for bridge in Bridge::ALL.into_iter().filter(|bridge| options.peers.contains(&bridge.name())) {
        match bridge.prepare() {
            Ok(()) => bridges.push(bridge),
            Err(why) => println!("MISSING {}: {why}", bridge.name()),
        }
    }
    let mut clean = true;
    for section in &options.sections {
        clean &= match section.as_str() {
            "flood" => flood(&options, &bridges),
            "paced" => paced(&options, &bridges),
            "history" => history(&options),
            "stopped" => stopped(&options),
            "idle" => idle(),
            "narrow" => narrow::section(options.rounds),
            "linger" => linger::section(options.rounds),
            other => {
                println!("there is no section {other:?}");
                false
            }
        };
    }
    if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn play(role: &str, rest: &[String]) {
    let number = |index: usize| rest[index].parse::<u64>().expect("a number");
    match role {
        "upstream" => upstream::run(number(0) == 1),
        "limit" => limit::run(number(0) as u16, rest[1].as_ref(), number(2) as usize),
        "clients" => clients::run(
            rest[0].as_ref(),
            &clients::Options {
                clients: number(1) as usize,
                messages: number(2),
                latency: number(3) == 1,
                stopped: number(4) == 1,
                wish: clients::Wish::named(&rest[5]),
                threads: number(6) == 1,
                ticks: number(7) == 1,
            },
        ),
        "none" => drop(std::io::stdin().lines().next()),
        other => panic!("{other:?} is no role"),
    }
}

/// As fast as it goes: everyone waits for the slowest.
fn flood(options: &Options, bridges: &[Bridge]) -> bool {
    let mut clean = true;
    let mut series: BTreeMap<String, Vec<(f64, f64, f64)>> = BTreeMap::new();
    for &size in &options.sizes {
        for &clients in &options.clients {
            // about as many deliveries, or bytes, in each trial
            let messages =
                (6_000_000 / clients.max(10)).min(2_000_000_000 / (size * clients.max(2))).max(500) as u64;
            let load = Load { clients, size, messages, ..Load::NONE };
            let title =
                format!("as fast as it goes: {clients} clients, {size} B, {messages} messages or more");
            // these two are done with so few in an instant, and a history that fills isn't the rule
            let lasting = |bridge| match bridge {
                Bridge::Limit | Bridge::Wsfan if clients <= 10 => Load { messages: 4 * messages, ..load },
                _ => load,
            };
            let outcomes = compare_with(&title, options.rounds, bridges, lasting);
            clean &= report(&outcomes, false);
            if size == 200 {
                for (bridge, outcomes) in &outcomes {
                    let of = |of: fn(&Outcome) -> f64| {
                        measure::median(&outcomes.iter().map(of).collect::<Vec<_>>())
                    };
                    let point = (clients as f64, of(Outcome::rate), of(Outcome::cpu_per_delivery));
                    series.entry(bridge.name()).or_default().push(point);
                }
            }
        }
    }
    if let Some(path) = &options.svg {
        let order =
            bridges.iter().filter_map(|bridge| series.remove_entry(&bridge.name())).collect::<Vec<_>>();
        match plot::draw(path, "200-byte messages, as fast as they go", &order) {
            Ok(()) => println!("\ndrew {}", path.display()),
            Err(error) => {
                println!("\n{}: {error}", path.display());
                clean = false;
            }
        }
    }
    clean
}

/// 1,000 messages a second, with the time that each takes.
fn paced(options: &Options, bridges: &[Bridge]) -> bool {
    let mut clean = true;
    for &size in options.sizes.iter().filter(|size| **size <= 1024) {
        for &clients in &options.clients {
            let load = Load { clients, size, messages: 3000, rate: 1000, ..Load::NONE };
            let title = format!("1,000 messages/s: {clients} clients, {size} B");
            let outcomes = compare(&title, options.rounds, bridges, load);
            clean &= report(&outcomes, true);
        }
    }
    clean
}

/// What is not filled is not paid for.
fn history(options: &Options) -> bool {
    let bridges = [Bridge::Limit, Bridge::WsfanHistory("1MiB"), Bridge::Wsfan, Bridge::WsfanHistory("1GiB")];
    let load = Load { clients: 10, size: 200, messages: 1_000_000, ..Load::NONE };
    let outcomes = compare("history: 10 clients, 200 B, as fast as it goes", options.rounds, &bridges, load);
    report(&outcomes, false)
}

/// One client of ten reads no more: what do the other nine notice?
fn stopped(options: &Options) -> bool {
    let rate = 50_000;
    let load = Load { clients: 10, size: 200, messages: 5 * rate, rate, ..Load::NONE };
    let all = compare("ten clients of ten read, 50,000 messages/s", options.rounds, &[Bridge::Wsfan], load);
    let mut clean = report(&all, true);
    let load = Load { stopped: true, ..load };
    let nine = compare("nine clients of ten read, 50,000 messages/s", options.rounds, &[Bridge::Wsfan], load);
    clean &= report(&nine, true);
    let per_reader = |outcomes: &[Outcome], readers: f64| {
        measure::median(&outcomes.iter().map(|outcome| outcome.rate() / readers).collect::<Vec<_>>())
    };
    let pauses: Vec<f64> = nine[0].1.iter().map(|outcome| outcome.seen.longest_pause_ms).collect();
    println!(
        "rate of a reader beside a stopped one: {:.1} % of that without; longest pause {:.1} ms",
        100.0 * per_reader(&nine[0].1, 9.0) / per_reader(&all[0].1, 10.0),
        measure::median(&pauses),
    );
    clean
}

/// Clients that do nothing.
fn idle() -> bool {
    println!("\n# idle clients of wsfan\n");
    println!(
        "{:>8}  {:>12} {:>12} {:>14} {:>13} {:>14} {:>13}",
        "clients", "resident kB", "own kB", "own kB/client", "connected ms", "each served ms", "CPU µs/s"
    );
    let mut empty = 0.0;
    for clients in [0, 1000, 10_000] {
        match trial::idle(Bridge::Wsfan, clients) {
            Ok(idle) => {
                if clients == 0 {
                    empty = idle.own_kb as f64;
                }
                println!(
                    "{clients:>8}  {:>12} {:>12} {:>14.2} {:>13.0} {:>14.0} {:>13.0}",
                    idle.resident_kb,
                    idle.own_kb,
                    (idle.own_kb as f64 - empty) / clients.max(1) as f64,
                    idle.connected_ms,
                    idle.served_ms,
                    idle.cpu_us,
                );
            }
            Err(why) => {
                println!("{clients:>8}  {why}");
                return false;
            }
        }
    }
    true
}

type Outcomes = Vec<(Bridge, Vec<Outcome>)>;

/// Runs `load` through each bridge in turn, round by round.
fn compare(title: &str, rounds: usize, bridges: &[Bridge], load: Load) -> Outcomes {
    compare_with(title, rounds, bridges, |_| load)
}

/// As [`compare`], with a load for each bridge: what is measured is for each delivery.
fn compare_with(title: &str, rounds: usize, bridges: &[Bridge], load: impl Fn(Bridge) -> Load) -> Outcomes {
    println!("\n# {title}\n");
    let mut outcomes: Outcomes = bridges.iter().map(|bridge| (*bridge, Vec::new())).collect();
    for _ in 0..rounds {
        for (bridge, outcomes) in &mut outcomes {
            match trial::run(*bridge, load(*bridge)) {
                Ok(outcome) => outcomes.push(outcome),
                Err(why) => println!("{}: {why}", bridge.name()),
            }
        }
    }
    outcomes.retain(|(_, outcomes)| !outcomes.is_empty());
    outcomes
}

/// Prints the medians. False when wsfan lost, doubled or reordered anything.
fn report(outcomes: &Outcomes, latency: bool) -> bool {
    print!("{:<22} {:>13} {:>13} {:>9} {:>9}", "", "deliveries/s", "CPU µs each", "/ limit", "peak kB");
    if latency {
        print!(" {:>9} {:>9} {:>9} {:>9}", "p50 µs", "p99 µs", "/ limit", "p99.9 µs");
    }
    println!("  lost, doubled, reordered");
    let medians = |outcomes: &[Outcome], of: fn(&Outcome) -> f64| {
        measure::median(&outcomes.iter().map(of).collect::<Vec<_>>())
    };
    let limit = outcomes.iter().find(|(bridge, _)| *bridge == Bridge::Limit).map(|(_, outcomes)| outcomes);
    let limit_of = |of: fn(&Outcome) -> f64| limit.map_or(f64::NAN, |outcomes| medians(outcomes, of));
    let mut clean = true;
    for (bridge, outcomes) in outcomes {
        let of = |of: fn(&Outcome) -> f64| medians(outcomes, of);
        let cpu = of(Outcome::cpu_per_delivery);
        print!(
            "{:<22} {:>13.0} {cpu:>13.3} {:>9.2} {:>9.0}",
            bridge.name(),
            of(Outcome::rate),
            cpu / limit_of(Outcome::cpu_per_delivery),
            of(|outcome| outcome.peak_kb as f64),
        );
        if latency {
            let p99 = of(|outcome| outcome.seen.p99_us);
            print!(
                " {:>9.0} {p99:>9.0} {:>9.2} {:>9.0}",
                of(|outcome| outcome.seen.p50_us),
                p99 / limit_of(|outcome| outcome.seen.p99_us),
                of(|outcome| outcome.seen.p999_us),
            );
        }
        let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
        let (lost, doubled, reordered) = (
            sum(|outcome| outcome.seen.lost),
            sum(|outcome| outcome.seen.doubled),
            sum(|outcome| outcome.seen.reordered),
        );
        println!("  {lost}, {doubled}, {reordered}");
        clean &= !bridge.is_ours() || lost + doubled + reordered == 0;
    }
    clean
}
