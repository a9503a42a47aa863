//! Storms: the real daemon between a server and clients that do what the real ones do on their worst days,
//! all drawn from a seed; and a judge who holds what was seen against the promises.
//!
//! `cargo test` runs a few seeds, `.ci/run storm` twenty. Any others by hand: `STORM=21-500 cargo test --test it
//! storms`, or one of them, with all that is planned: `STORM=17 cargo test --test it storms -- --nocapture`.
//! The same seed makes the same plan; how the threads of a machine meet is never the same twice.

use std::{
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Mutex,
    thread,
    time::Instant,
};

use crate::common;

mod calls;
mod clients;
mod frames;
mod oracle;
mod payload;
mod plan;
mod plants;
mod record;
mod run;
mod server;
mod shared;
mod specimen;
mod topics;
mod units;

use plan::Plan;

/// So many storms at once: most of their time is waiting.
const AT_ONCE: usize = 4;

#[test]
fn storms_break_no_promise() {
    let seeds = seeds();
    let alone = seeds.len() == 1;
    let seeds = Mutex::new(seeds.into_iter());
    let failed = Mutex::new(Vec::new());
    let one = || {
        loop {
            let Some(seed) = seeds.lock().unwrap().next() else { return };
            if alone {
                println!("{:#?}", Plan::new(seed));
            }
            let begun = Instant::now();
            let mut summary = String::new();
            let faults = match catch_unwind(AssertUnwindSafe(|| run::run(&Plan::new(seed)))) {
                Ok(record) => {
                    summary = record.summary();
                    let mut faults = oracle::judge(&record);
                    faults.extend(unknown_lines(&record));
                    faults
                }
                Err(panic) => vec![run::words(&*panic)],
            };
            let seconds = begun.elapsed().as_secs_f32();
            println!("storm {seed}: {seconds:.1} s, {} faults; {summary}", faults.len());
            if !faults.is_empty() {
                failed.lock().unwrap().push((seed, faults));
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(one);
        }
    });
    let failed = failed.into_inner().unwrap();
    for (seed, faults) in &failed {
        eprintln!("\nstorm {seed}, again with STORM={seed} cargo test --test it storms:");
        faults.iter().for_each(|fault| eprintln!("  {fault}"));
    }
    assert!(failed.is_empty(), "{} storms broke a promise", failed.len());
}

/// What clients read that `docs/protocol.schema.json` doesn't have. Messages are looked at byte for byte elsewhere.
fn unknown_lines(record: &record::Record) -> Vec<String> {
    let read = record.sessions.iter().filter(|session| !session.raw).flat_map(|session| &session.lines);
    let others = read.filter(|line| !line.starts_with(b"{\"type\":\"message\""));
    let unknown = others.filter_map(|line| {
        let text = String::from_utf8_lossy(line);
        let line = serde_json::from_slice(line).map_err(|error| error.to_string());
        let why = line.and_then(|line| common::schema::check("Line", &line)).err()?;
        Some(format!("schema: {why}: {text}"))
    });
    unknown.collect()
}

#[test]
fn the_same_seed_makes_the_same_plan_and_another_seed_another() {
    for seed in 0..50 {
        assert_eq!(Plan::new(seed), Plan::new(seed));
        assert_ne!(Plan::new(seed), Plan::new(seed + 1));
    }
}

/// `$STORM`: a seed, or the first and the last of several.
fn seeds() -> Vec<u64> {
    let wanted = env::var("STORM").unwrap_or_else(|_| "1-5".into());
    let (first, last) = wanted.split_once('-').unwrap_or((&wanted, &wanted));
    let number =
        |text: &str| text.parse().unwrap_or_else(|_| panic!("STORM={wanted} is no seed or range of seeds"));
    (number(first)..=number(last)).collect()
}

/// The memory of a process that no file stands behind, in bytes.
fn memory(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let of = |name: &str| -> usize {
        let line = status.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
    };
    (of("RssAnon:") + of("RssShmem:")) << 10
}
