use super::*;

fn log(max_bytes: usize, max_age_us: Option<u64>) -> Log {
    Log::new(Retention { max_bytes, max_age_us }, false)
}

fn append(log: &mut Log, time_us: u64, length: usize) -> u64 {
    log.append_line(time_us, &vec![b'x'; length], &vec![b'y'; length / 2])
}

#[test]
fn entries_are_counted_from_1_without_holes() {
    let mut log = log(1 << 20, None);
    assert_eq!((log.head(), log.oldest()), (0, 1));
    assert_eq!((1..=5).map(|_| append(&mut log, 0, 10)).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!((log.head(), log.oldest()), (5, 1));
}

#[test]
fn it_holds_no_more_than_max_bytes_and_the_newest_chunk() {
    let mut log = log(1 << 20, None);
    for _ in 0..10_000 {
        append(&mut log, 0, 1000);
        log.trim(u64::MAX);
        assert!(log.bytes() <= 1 << 20);
    }
    assert!(log.bytes() > (1 << 20) - Log::CHUNK_BYTES, "it is well used: {}", log.bytes());
    assert_eq!(log.head(), 10_000);
}

#[test]
fn a_message_larger_than_max_bytes_is_held_until_the_next() {
    let mut log = log(64 << 10, None);
    append(&mut log, 0, 10);
    append(&mut log, 0, 1 << 20);
    log.trim(u64::MAX);
    assert_eq!((log.oldest(), log.head()), (2, 2), "it is the newest");
    append(&mut log, 0, 10);
    log.trim(u64::MAX);
    assert_eq!((log.oldest(), log.head()), (3, 3));
}

#[test]
fn a_line_can_be_read_back_by_its_seq() {
    let mut log = log(256 << 10, None);
    assert_eq!(log.line(0, Format::Envelope), None);
    assert_eq!(log.line(1, Format::Envelope), None, "it isn't there yet");
    let text = |seq: u64| format!("{seq} {}\n", "x".repeat(seq as usize % 3_000));
    for seq in 1..=1_000 {
        if seq == 900 {
            log.keep_raw(true);
        }
        let raw = if seq % 2 == 0 { format!("raw {}", text(seq)) } else { String::new() };
        assert_eq!(log.append_line(0, text(seq).as_bytes(), raw.as_bytes()), seq);
        log.trim(u64::MAX);
    }
    assert!(log.oldest() > 1, "some have left");
    for seq in 0..=1_002 {
        let is_held = (log.oldest()..=1_000).contains(&seq);
        let line = log.line(seq, Format::Envelope).map(|line| String::from_utf8(line.to_vec()).unwrap());
        assert_eq!(line, is_held.then(|| text(seq)), "{seq}");
        let raw = log.line(seq, Format::Raw).map(|line| String::from_utf8(line.to_vec()).unwrap());
        let its = if seq % 2 == 0 { format!("raw {}", text(seq)) } else { String::new() };
        assert_eq!(raw, (is_held && seq >= 900).then_some(its), "{seq}");
    }
}

#[test]
fn raw_lines_may_be_kept_from_some_entry_on() {
    use crate::hub::{Ahead, Cursor};
    let mut log = log(1 << 20, None);
    append(&mut log, 0, 10);
    let mut before = 0;
    for round in 0..3 {
        log.keep_raw(true);
        log.keep_raw(true); // once more changes nothing
        let mut cursor = Cursor::new(Format::Raw, log.head());
        let mut envelope = Cursor::new(Format::Envelope, 0);
        assert_eq!(cursor.ahead(&log), Ahead::Nothing, "round {round}");
        append(&mut log, 0, 20);
        append(&mut log, 0, 30);
        let Ahead::Bytes(bytes) = cursor.ahead(&log) else { panic!("round {round}") };
        assert_eq!((bytes.len(), bytes.place), (25, (Format::Raw, before)), "no place is named twice");
        assert!(matches!(envelope.ahead(&log), Ahead::Bytes(bytes) if bytes.len() % 10 == 0));
        before += 25;
        log.keep_raw(false);
        append(&mut log, 0, 10);
    }
    assert_eq!((log.oldest(), log.head()), (1, 10));
    log.set_retention(Retention { max_bytes: 0, max_age_us: None });
    log.keep_raw(true);
    (0..1000).for_each(|_| {
        append(&mut log, 0, 1000);
        log.trim(u64::MAX);
    });
    assert!(log.oldest() > 10);
}

#[test]
fn entries_older_than_max_age_are_not_handed_out() {
    let mut log = log(1 << 20, Some(100));
    for time in [0, 50, 100] {
        append(&mut log, time, 10);
        log.trim(u64::MAX);
    }
    assert_eq!(log.oldest(), 1);
    log.expire(101);
    assert_eq!(log.oldest(), 2);
    log.expire(1000);
    assert_eq!((log.oldest(), log.head()), (4, 3), "none is left");
    append(&mut log, 1000, 10);
    assert_eq!((log.oldest(), log.head()), (4, 4));
}

#[test]
fn what_is_needed_stays_whatever_its_age_and_size() {
    let mut log = log(64 << 10, Some(100));
    (0..100).for_each(|time| {
        append(&mut log, time * 10, 10_000);
    });
    log.trim(20);
    assert!((1..=20).contains(&log.oldest()), "{}", log.oldest());
    log.expire(1_000_000);
    assert!(log.oldest() <= 20, "{}", log.oldest());
    log.trim(u64::MAX);
    assert!(log.oldest() > 20 && log.bytes() < 64 << 10, "{}", log.oldest());
}

/// Lines of all sizes, with and without a raw form: the log takes what it says, chunks that wait
/// to be used again included, and it is well used.
#[test]
fn it_takes_what_it_says_whatever_the_lines_sizes() {
    let sizes: [&[usize]; 6] = [
        &[1],
        &[200],
        &[70_000],
        &[100, 300_000],
        &[90, 200, 2000, 40_000, 130_000, 260_000, 1_100_000],
        &[180_000, 20],
    ];
    for (sizes, raw, max_bytes) in sizes.iter().flat_map(|sizes| {
        [false, true]
            .into_iter()
            .flat_map(move |raw| [64 << 10, 1 << 20, 4 << 20].map(|max| (sizes, raw, max)))
    }) {
        let largest = 2 * (sizes.iter().max().unwrap() + 4096);
        let mut log = Log::new(Retention { max_bytes, max_age_us: None }, raw);
        let mut full = false;
        let mut appended = 0;
        for length in sizes.iter().cycle() {
            appended += length + 12;
            append(&mut log, 0, *length);
            log.trim(u64::MAX);
            assert!(log.memory() <= max_bytes.max(largest + log.pool.most() + Log::CHUNK_BYTES));
            full |= log.oldest() > 1;
            if full && max_bytes > 8 * largest && log.head().is_multiple_of(64) {
                let (envelope, raw) = (log.envelope.memory(), log.raw.as_ref().map_or(0, Series::memory));
                assert!(envelope + raw > max_bytes / 10 * 8, "{sizes:?} {raw}: {envelope} + {raw}");
                let used: usize = log.envelope.sealed().iter().map(Chunk::taken).sum();
                assert!(used > envelope / 10 * 7, "{sizes:?}: {used} of {envelope}");
            }
            if appended > 2 * max_bytes + largest {
                break;
            }
        }
    }
}

#[test]
fn chunks_are_used_again() {
    let mut log = Log::new(Retention { max_bytes: 4 << 20, max_age_us: None }, true);
    let places = |log: &Log| {
        let mut places: Vec<usize> = log
            .series()
            .flat_map(|series| series.sealed().iter().chain([series.open()]))
            .map(|chunk| chunk.lines().as_ptr() as usize)
            .chain(log.pool.spares())
            .collect();
        places.sort_unstable();
        places
    };
    let fill = |log: &mut Log| {
        (0..40_000).for_each(|_| {
            append(log, 0, 200);
            log.trim(u64::MAX);
        })
    };
    fill(&mut log);
    let before = places(&log);
    fill(&mut log);
    assert_eq!(places(&log), before, "no memory was asked for");
}

#[test]
fn of_what_has_left_only_lines_under_way_are_kept_and_for_whom_they_are() {
    let mut log = log(1 << 20, None);
    let push = |log: &mut Log| {
        (0..2_000).for_each(|_| {
            append(log, 0, 1000);
            log.trim(u64::MAX);
        })
    };
    append(&mut log, 0, 500);
    append(&mut log, 0, 700);
    let pins = [1, 2, 2].map(|seq| log.pin(seq, Format::Envelope).unwrap());
    assert_eq!(log.kept_bytes(), 0, "they are in the log");
    push(&mut log);
    assert_eq!(log.kept_bytes(), 1200, "the second once for both");
    assert_eq!(pins[1].kept().map(|line| line.len()), Some(700));
    let [one, two, same] = pins;
    drop((one, two));
    assert_eq!(log.kept_bytes(), 700);
    drop(same);
    assert_eq!(log.kept_bytes(), 0);
}

#[test]
fn a_large_line_under_way_keeps_its_memory_and_is_no_copy() {
    let mut log = log(1 << 20, None);
    append(&mut log, 0, 900_000);
    let pin = log.pin(1, Format::Envelope).unwrap();
    let place = log.chunk(1, Format::Envelope).unwrap().lines().as_ptr();
    append(&mut log, 0, 900_000);
    log.trim(u64::MAX);
    assert_eq!(pin.kept().map(|line| (line.as_ptr(), line.len())), Some((place, 900_000)));
}

#[test]
fn it_knows_how_far_back_an_entry_lies() {
    let mut log = log(8 << 20, None);
    assert!(log.is_within(1, 0));
    (0..1000).for_each(|_| {
        append(&mut log, 0, 1000);
    });
    assert!(log.is_within(1, 2 << 20));
    assert!(!log.is_within(1, 512 << 10));
    assert!(log.is_within(1000, Log::CHUNK_BYTES));
    assert!(log.is_within(700, 700 << 10));
}

#[test]
fn new_limits_apply_with_the_next_trim() {
    let mut log = log(1 << 20, None);
    (0..1000).for_each(|_| {
        append(&mut log, 0, 1000);
    });
    log.set_retention(Retention { max_bytes: 256 << 10, max_age_us: None });
    assert_eq!(log.oldest(), 1, "what nobody was offered yet stays");
    log.trim(u64::MAX);
    assert!(log.bytes() <= 256 << 10);
}

#[test]
fn an_empty_log_holds_next_to_nothing() {
    let log = log(1 << 30, None);
    assert_eq!(log.envelope.memory() + log.envelope.sealed().capacity(), 0);
}

#[test]
fn what_is_staged_is_seen_once_it_is_committed() {
    use crate::hub::{Ahead, Cursor};
    let mut log = log(1 << 20, None);
    let mut cursor = Cursor::new(Format::Envelope, 0);
    append(&mut log, 0, 10);
    log.stage();
    log.stage(); // once more changes nothing
    assert_eq!([append(&mut log, 0, 20), append(&mut log, 0, 30)], [2, 3]);
    let ahead = |cursor: &mut Cursor, log: &Log| match cursor.ahead(log) {
        Ahead::Bytes(bytes) => bytes.len(),
        _ => 0,
    };
    assert_eq!((log.head(), log.next(), ahead(&mut cursor, &log)), (1, 4, 10));
    assert_eq!(log.line(2, Format::Envelope), None);
    log.commit(2);
    log.commit(1); // it stays committed
    assert_eq!((log.head(), ahead(&mut cursor, &log)), (2, 30));
    assert_eq!(log.cut_staged(), 1);
    assert_eq!(append(&mut log, 0, 5), 3, "the next one has its place");
    assert_eq!((log.head(), log.cut_staged(), log.cut_staged()), (2, 1, 0));
    log.commit(100); // no further than there are entries
    assert_eq!(append(&mut log, 0, 7), 3);
    assert_eq!(log.head(), 2, "it is staged like those before");
    log.commit_all();
    append(&mut log, 0, 8);
    assert_eq!((log.head(), log.cut_staged(), ahead(&mut cursor, &log)), (4, 0, 45));
}

#[test]
fn what_is_staged_stays_and_is_cut_over_many_chunks() {
    let mut log = Log::new(Retention { max_bytes: 64 << 10, max_age_us: None }, true);
    (0..10).for_each(|_| {
        append(&mut log, 0, 1000);
    });
    log.stage();
    for round in 0..3 {
        (0..1000).for_each(|_| {
            append(&mut log, 0, 1000);
            log.trim(u64::MAX);
        });
        assert_eq!(log.next() - log.head(), 1001, "{round}");
        assert_eq!(log.cut_staged(), 1000);
    }
    assert_eq!((log.head(), log.next()), (10, 11));
    assert!(log.bytes() < 32 << 10, "{}", log.bytes());
    let line = append(&mut log, 0, 50);
    log.commit(line);
    assert_eq!(log.line(line, Format::Raw).map(<[u8]>::len), Some(25));
}

#[test]
fn entries_that_will_never_be_had_are_lost_in_one_piece_and_nobody_was_too_slow() {
    use crate::{
        hub::{Ahead, Cursor, Lost},
        protocol::Why,
    };
    let mut log = log(1 << 20, None);
    let mut cursor = Cursor::new(Format::Envelope, 0);
    (0..3).for_each(|_| {
        append(&mut log, 0, 10);
    });
    let Ahead::Bytes(_) = cursor.ahead(&log) else { panic!("there are entries") };
    cursor.wrote(&mut log, 15); // in the middle of the second
    assert_eq!(log.skip_to(10), Ok(6));
    assert_eq!((log.oldest(), log.head(), log.next()), (10, 9, 10));
    cursor.wrote(&mut log, 5);
    assert_eq!(cursor.ahead(&log), Ahead::Lost);
    assert!(cursor.is_lost(&log) && !cursor.is_too_slow(&log));
    assert_eq!(cursor.skip_lost(&log), Some(Lost::all(3, 9, Why::Discarded)));
    assert_eq!(append(&mut log, 0, 10), 10);
    assert!(matches!(cursor.ahead(&log), Ahead::Bytes(bytes) if bytes.len() == 10));
    let ledger = cursor.ledger(&log);
    assert_eq!((ledger.entries, ledger.delivered, ledger.lost, ledger.ahead), (10, 2, 7, 1));
}

#[test]
fn what_a_hole_takes_and_what_slowness_costs_are_told_apart() {
    use crate::{
        hub::{Cursor, Lost},
        protocol::Why,
    };
    let mut log = log(64 << 10, None);
    let grow = |log: &mut Log, entries: u64| {
        (0..entries).for_each(|_| {
            append(log, 0, 1000);
            log.trim(u64::MAX);
        });
    };
    let lost = |cursor: &mut Cursor, log: &Log| {
        std::iter::from_fn(|| cursor.skip_lost(log))
            .map(|Lost { from, to, why, .. }| (from, to, why))
            .collect()
    };
    let all = |log: &Log, place: u64| -> Vec<_> { lost(&mut Cursor::new(Format::Envelope, place), log) };
    grow(&mut log, 3);
    assert_eq!(log.skip_to(10), Ok(6));
    assert_eq!(log.skip_to(20), Ok(10));
    assert_eq!(all(&log, 2), [(3, 19, Why::Discarded)], "two holes with nothing between are one");
    grow(&mut log, 5);
    assert_eq!(log.skip_to(30), Ok(5));
    assert_eq!(all(&log, 0), [(1, 29, Why::Discarded)], "what lay between has left with the second one");
    grow(&mut log, 200);
    let oldest = log.oldest();
    assert!(oldest > 30);
    assert_eq!(all(&log, 2), [(3, 29, Why::Discarded), (30, oldest - 1, Why::SlowClient)]);
    assert!(Cursor::new(Format::Envelope, 2).is_too_slow(&log), "what came after the hole it could have had");
    assert_eq!(log.skip_to(1_000), Ok(770));
    let since = |place| all(&log, place);
    assert_eq!(since(29), [(30, oldest - 1, Why::SlowClient), (oldest, 999, Why::Discarded)]);
    assert_eq!(since(oldest), [(oldest + 1, 999, Why::Discarded)]);
    assert_eq!(since(999), []);
}

#[test]
fn the_first_topic_may_be_of_an_entry_that_is_cut() {
    use crate::{
        hub::TopicOf,
        protocol::{Data, Encoder, MessageTopic},
    };
    let mut log = log(1 << 20, None);
    let publish = |log: &mut Log, topic: &MessageTopic| {
        let message = Encoder::new(Data::Text("1")).with_topic(topic);
        log.append(1, message.room(), Some(topic), |seq, envelope, raw| message.write(seq, 1, envelope, raw))
    };
    let [one, other] = ["one", "other"].map(|name| MessageTopic::new(name.to_owned()));
    publish(&mut log, &MessageTopic::None);
    log.stage();
    publish(&mut log, &MessageTopic::None);
    publish(&mut log, &one);
    assert_eq!(log.cut_staged(), 2);
    for (seq, topic) in [(2, &other), (3, &MessageTopic::None), (4, &one)] {
        assert_eq!(publish(&mut log, topic), seq);
    }
    log.commit_all();
    let names = (1..=4).map(|seq| match log.topic_of(seq) {
        TopicOf::Topic { name, .. } => name,
        TopicOf::None => "none",
        TopicOf::Everybody => "everybody",
        TopicOf::Unfit => "unfit",
    });
    assert_eq!(names.collect::<Vec<_>>(), ["none", "other", "none", "one"]);
}
