use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::hub::{NotTaken, Retention};

fn log(max_bytes: usize, raw: bool) -> Log {
    Log::new(Retention { max_bytes, max_age_us: None }, raw)
}

fn append(log: &mut Log, length: usize) {
    log.trim(u64::MAX);
    let [envelope, raw] = [Format::Envelope, Format::Raw].map(|format| line(log.next(), length, format));
    log.append_line(0, envelope.as_bytes(), raw.as_bytes());
}

/// An entry's line; every third has no raw one, like a change of the link.
fn line(seq: u64, length: usize, format: Format) -> String {
    match format {
        Format::Envelope => format!("{seq} {}\n", "x".repeat(length)),
        Format::Raw if seq.is_multiple_of(3) => String::new(),
        Format::Raw => format!("{seq}\n"),
    }
}

fn bytes<'a>(ahead: Ahead<'a>) -> &'a [u8] {
    match ahead {
        Ahead::Bytes(stretch) => &stretch.chunk[stretch.start..],
        other => panic!("{other:?}"),
    }
}

#[test]
fn all_that_lies_ahead_in_a_chunk_is_one_run_of_bytes() {
    let mut log = log(1 << 20, false);
    let mut cursor = Cursor::new(Format::Envelope, 0);
    (0..3).for_each(|_| append(&mut log, 1));
    assert_eq!(bytes(cursor.ahead(&log)), b"1 x\n2 x\n3 x\n");
    cursor.wrote(&mut log, 4);
    assert_eq!(bytes(cursor.ahead(&log)), b"2 x\n3 x\n");
    cursor.wrote(&mut log, 8);
    assert_eq!(cursor.ahead(&log), Ahead::Nothing);
}

#[test]
fn a_line_under_way_is_kept_when_the_log_moves_on() {
    let mut log = log(64 << 10, false);
    let mut cursor = Cursor::new(Format::Envelope, 0);
    append(&mut log, 10);
    cursor.wrote(&mut log, 5);
    (0..100).for_each(|_| append(&mut log, 10_000));
    assert!(log.oldest() > 1);
    assert_eq!(cursor.rest_of_line(&log), b"xxxxxxx\n");
    assert_eq!(cursor.skip_lost(&log), None, "nothing is declared in the middle of a line");
    cursor.wrote(&mut log, 8);
    assert_eq!(cursor.ahead(&log), Ahead::Lost);
    let lost = cursor.skip_lost(&log).unwrap();
    assert_eq!((lost.from, lost.to), (2, log.oldest() - 1));
}

#[test]
fn entries_without_a_raw_line_are_passed_over() {
    let mut log = log(1 << 20, true);
    let mut cursor = Cursor::new(Format::Raw, 2);
    (0..3).for_each(|_| append(&mut log, 1));
    assert_eq!(cursor.ahead(&log), Ahead::Nothing);
    assert_eq!(cursor.ledger(&log), Ledger { entries: 1, delivered: 1, lost: 0, passed: 0, ahead: 0 });
    append(&mut log, 1);
    assert_eq!(bytes(cursor.ahead(&log)), b"4\n");
}

#[derive(Debug, Clone)]
enum Step {
    Append(usize),
    KeepRaw(bool),
    Expire(u64),
    Bound(usize),
    Write { client: usize, bytes: usize },
    Seek { client: usize, back: u64 },
    Stage,
    Commit { back: u64 },
    CommitAll,
    Cut,
    SkipBy(u64),
    Put { ahead: u64, length: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1usize..6000).prop_map(Step::Append),
        1 => any::<bool>().prop_map(Step::KeepRaw),
        1 => (0_u64..50).prop_map(Step::Expire),
        1 => (20_usize..64).prop_map(|kib| Step::Bound(kib << 10)),
        8 => (0usize..4, 1usize..40_000).prop_map(|(client, bytes)| Step::Write { client, bytes }),
        2 => (0usize..4, 0u64..50).prop_map(|(client, back)| Step::Seek { client, back }),
        1 => Just(Step::Stage),
        2 => (0u64..10).prop_map(|back| Step::Commit { back }),
        1 => Just(Step::CommitAll),
        1 => Just(Step::Cut),
        1 => (0u64..10).prop_map(Step::SkipBy),
        4 => (0u64..3, 1usize..6000).prop_map(|(ahead, length)| Step::Put { ahead, length }),
    ]
}

/// What was staged and is so no more leaves with the next trim.
fn is_untrimmed(step: &Step) -> bool {
    !matches!(step, Step::Append(_) | Step::Put { .. })
}

proptest! {
    /// Whatever comes, is read and is cut short: every client gets whole lines in order, what it doesn't get is
    /// declared, and its ledger balances after each step, also where the raw form isn't kept all the time. What it
    /// says of the cause is true: what a hole took is nobody's slowness. The place of what lies ahead names those
    /// bytes, and no others, for ever. Of what is staged nobody gets anything before it is committed, nor ever of
    /// what is cut.
    #[test]
    fn the_ledger_balances_and_lines_come_whole_and_in_order(
        first in prop_oneof![Just(1), 1_u64..1_000_000],
        steps in proptest::collection::vec(step(), 1..300),
    ) {
        let mut log = Log::starting_at(first, Retention { max_bytes: 64 << 10, max_age_us: None }, true);
        let formats = [Format::Envelope, Format::Raw, Format::Envelope, Format::Raw];
        let mut clients = formats.map(|format| (Cursor::new(format, first - 1), Vec::<u8>::new()));
        // each entry's line, but for those that were cut
        let mut lines = BTreeMap::new();
        // where in them each entry's lines begin
        let mut lengths: Vec<(u64, [usize; 2])> = Vec::new();
        // what holes have taken, which is nobody's slowness
        let mut discarded = BTreeSet::new();
        let mut ever = [Format::Envelope, Format::Raw].map(|format| (format, Vec::<u8>::new()));
        for step in steps {
            match step.clone() {
                Step::Put { ahead, .. } if ahead != 1 || !log.staged().is_empty() => {
                    let (seq, next) = ((log.next() + ahead).saturating_sub(1), log.next());
                    let refused = if log.staged().is_empty() { NotTaken::Next(next) } else { NotTaken::Staged };
                    prop_assert_eq!(log.put(seq, 0, b"elsewhere\n", b""), Err(refused));
                    prop_assert_eq!(log.put(next, 0, b"two\nlines\n", b"").is_err(), true);
                    prop_assert_eq!(log.next(), next);
                }
                Step::Append(length) | Step::Put { length, .. } => {
                    let seq = log.next();
                    match step {
                        Step::Append(_) => append(&mut log, length),
                        _ => {
                            log.trim(u64::MAX);
                            let given = [Format::Envelope, Format::Raw].map(|format| line(seq, length, format));
                            prop_assert_eq!(log.put(seq, 0, given[0].as_bytes(), given[1].as_bytes()), Ok(()));
                        }
                    }
                    lines.insert(seq, line(seq, length, Format::Envelope));
                    lengths.push((seq, ever.each_ref().map(|(_, bytes)| bytes.len())));
                    for (format, bytes) in &mut ever {
                        if *format == Format::Envelope || log.keeps_raw() {
                            bytes.extend(line(seq, length, *format).bytes());
                        }
                    }
                }
                Step::Stage => log.stage(),
                Step::Commit { back } => {
                    let (head, through) = (log.head(), (log.next() - 1).saturating_sub(back));
                    log.commit(through);
                    prop_assert_eq!(log.head(), head.max(through), "what is committed stays so");
                }
                Step::CommitAll => log.commit_all(),
                Step::Cut => {
                    let (head, staged) = (log.head(), log.next() - 1 - log.head());
                    prop_assert_eq!(log.cut_staged(), staged);
                    prop_assert_eq!((log.head(), log.next()), (head, head + 1));
                    lines.retain(|seq, _| *seq <= head);
                    while let Some((seq, before)) = lengths.pop_if(|(seq, _)| *seq > head) {
                        prop_assert!(seq > head);
                        ever.iter_mut().zip(before).for_each(|((_, bytes), before)| bytes.truncate(before));
                    }
                }
                Step::SkipBy(entries) => {
                    let (oldest, next) = (log.oldest(), log.next());
                    let is_staged = !log.staged().is_empty();
                    match log.skip_to(next + entries) {
                        Err(refused) => prop_assert!(is_staged && refused == NotTaken::Staged),
                        Ok(missing) => {
                            prop_assert!(!is_staged && missing == entries);
                            prop_assert_eq!(log.next(), next + entries);
                            discarded.extend((entries > 0).then_some(oldest..log.next()).into_iter().flatten());
                            prop_assert_eq!(log.oldest(), if entries == 0 { oldest } else { log.next() });
                            prop_assert_eq!(log.skip_to(log.next() - 1), Err(NotTaken::Next(log.next())));
                        }
                    }
                }
                Step::KeepRaw(raw) => {
                    log.keep_raw(raw);
                    // nobody has seen the raw lines of what is staged, nor will
                    let staged = lengths.iter_mut().filter(|(seq, _)| !raw && *seq > log.head());
                    for (_, [_, before]) in staged {
                        ever[1].1.truncate(*before);
                        *before = ever[1].1.len();
                    }
                }
                // all are too old, but the newest are needed
                Step::Expire(back) => {
                    log.set_retention(Retention { max_age_us: Some(1), ..log.retention() });
                    log.expire_unneeded(10, (log.head() + 1).saturating_sub(back).max(1));
                    log.set_retention(Retention { max_age_us: None, ..log.retention() });
                }
                Step::Bound(max_bytes) => log.set_retention(Retention { max_bytes, ..log.retention() }),
                Step::Write { client, bytes } => {
                    let (cursor, seen) = &mut clients[client];
                    match cursor.ahead(&log) {
                        Ahead::Nothing | Ahead::ToPick { .. } => {}
                        Ahead::Lost => {
                            let is_too_slow = cursor.is_too_slow(&log);
                            let lost = cursor.skip_lost(&log).unwrap();
                            let is_discarded = (lost.from..=lost.to).all(|seq| discarded.contains(&seq));
                            prop_assert_eq!(lost.why == Why::Discarded, is_discarded, "{:?}", lost);
                            // nobody is blamed for what no client could have had
                            let is_lost_still = cursor.is_lost(&log);
                            prop_assert!(is_too_slow || is_discarded && !is_lost_still, "{:?}", lost);
                            prop_assert!(!is_too_slow || !is_discarded || is_lost_still, "{:?}", lost);
                            seen.extend(format!("lost {} {}\n", lost.from, lost.to).bytes());
                        }
                        Ahead::Bytes(ahead) => {
                            let (format, before) = ahead.place;
                            let ever = &ever.iter().find(|(of, _)| *of == format).unwrap().1;
                            let before = before as usize;
                            prop_assert!(ahead.chunk == &ever[before..before + ahead.chunk.len()]);
                            let part = bytes.min(ahead.len());
                            seen.extend(&ahead[..part]);
                            cursor.wrote(&mut log, part);
                        }
                    }
                }
                Step::Seek { client, back } => {
                    let (cursor, seen) = &mut clients[client];
                    if cursor.at_line_start() {
                        let after = log.head().saturating_sub(back);
                        cursor.seek(after, after);
                        seen.clear();
                        seen.extend(format!("lost 0 {after}\n").bytes());
                    }
                }
            }
            for (cursor, _) in &clients {
                let Ledger { entries, delivered, lost, passed: 0, ahead } = cursor.ledger(&log) else {
                    panic!("it gets everything")
                };
                prop_assert_eq!(entries, delivered + lost + ahead);
                prop_assert!(cursor.next() <= log.head() + 1);
            }
            // each entry that is held can be read back, and no other
            let (oldest, head) = (log.oldest(), log.head());
            for seq in [oldest.saturating_sub(1), oldest, oldest.midpoint(head), head, head + 1, log.next()] {
                let held = (oldest..=head).contains(&seq).then(|| lines[&seq].as_bytes());
                prop_assert_eq!(log.line(seq, Format::Envelope), held, "{}", seq);
            }
            // and of what is staged nothing has left
            let (mut at, mut bytes) = (head + 1, 0);
            while let Some((staged, end)) = log.staged_lines(at, 10_000) {
                prop_assert!(staged.len() <= 10_000 || end == at + 1);
                let theirs: String = (at..end).map(|seq| lines[&seq].as_str()).collect();
                prop_assert!(staged == theirs.as_bytes());
                (at, bytes) = (end, bytes + staged.len() + 12 * (end - at) as usize);
            }
            prop_assert_eq!((at, bytes), (log.next(), log.staged_bytes()));
            let staged = log.next() - 1 - log.head(); // stays whatever the limits say
            prop_assert!(staged > 0 || is_untrimmed(&step) || log.bytes() <= (64 << 10) + 14_000, "{} bytes", log.bytes());
        }
        for ((cursor, seen), format) in clients.iter().zip(formats) {
            let text = String::from_utf8(seen.clone()).unwrap();
            let mut next = None;
            for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
                let mut words = line.split_whitespace();
                let word = words.next().unwrap();
                let numbers: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
                let (from, to) = if word == "lost" { (numbers[0], numbers[1]) } else {
                    let seq = word.parse::<u64>().unwrap();
                    (seq, seq)
                };
                if let Some(expected) = next && word != "lost" {
                    let skipped = (expected..from).all(|seq| format == Format::Raw && seq % 3 == 0);
                    prop_assert!(from == expected || skipped, "{} instead of {}", from, expected);
                }
                next = Some(to + 1);
            }
            prop_assert!(cursor.next() <= log.head() + 1);
        }
    }
}
