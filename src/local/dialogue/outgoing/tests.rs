use proptest::prelude::*;

use super::*;
use crate::{config::Format, hub::Retention};

fn log() -> Log {
    Log::new(Retention { max_bytes: 64 << 10, max_age_us: None }, false)
}

fn append(log: &mut Log, length: usize) {
    log.trim(u64::MAX);
    let line = format!("{} {}\n", log.head() + 1, "x".repeat(length));
    log.append_line(0, line.as_bytes(), b"");
}

fn receiver() -> Outgoing {
    Outgoing::new(Some(Cursor::new(Format::Envelope, 0)), Rc::default())
}

/// Writes up to `bytes`, as a socket would take them.
fn write(outgoing: &mut Outgoing, log: &mut Log, bytes: usize) -> Vec<u8> {
    let taken = match outgoing.next(log) {
        Next::Write(ahead) => ahead[..bytes.min(ahead.len())].to_vec(),
        Next::Lines(ahead) => ahead[..bytes.min(ahead.len())].to_vec(),
        _ => return Vec::new(),
    };
    outgoing.wrote(log, taken.len());
    taken
}

fn all(outgoing: &mut Outgoing, log: &mut Log) -> String {
    let mut seen = Vec::new();
    while let Next::Write(_) | Next::Lines(_) = outgoing.next(log) {
        seen.extend(write(outgoing, log, usize::MAX));
    }
    String::from_utf8(seen).unwrap()
}

#[test]
fn a_reply_goes_before_data_but_never_into_a_line() {
    let (mut log, mut outgoing) = (log(), receiver());
    append(&mut log, 3);
    append(&mut log, 3);
    let begun = write(&mut outgoing, &mut log, 2);
    outgoing.reply(b"reply\n");
    assert_eq!(String::from_utf8(begun).unwrap() + &all(&mut outgoing, &mut log), "1 xxx\nreply\n2 xxx\n");
    assert_eq!(outgoing.unread_replies(), 0);
}

#[test]
fn a_seek_waits_for_the_end_of_the_line_under_way() {
    let (mut log, mut outgoing) = (log(), receiver());
    (0..3).for_each(|_| append(&mut log, 1));
    write(&mut outgoing, &mut log, 4);
    write(&mut outgoing, &mut log, 1);
    outgoing.seek(b"attached\n", Seek { after: 0, start: 0, head: 0, snapshot: false, narrow: None });
    assert_eq!(all(&mut outgoing, &mut log), " x\nattached\n1 x\n2 x\n3 x\n");
    assert_eq!(outgoing.ledger(&log), Ledger { entries: 3, delivered: 3, lost: 0, passed: 0, ahead: 0 });
}

#[test]
fn a_ledger_begins_with_the_attach_that_was_answered() {
    let mut log = log();
    (0..3).for_each(|_| append(&mut log, 10));
    let mut outgoing = receiver();
    write(&mut outgoing, &mut log, 15); // into the second line
    assert_eq!(outgoing.ledger(&log).delivered, 1);
    outgoing.seek(b"attached\n", Seek { after: 1, start: 2, head: 3, snapshot: false, narrow: None });
    // the line under way is still to be ended
    let now = outgoing.ledger(&log);
    assert_eq!(now, Ledger { entries: 2, lost: 1, ahead: 1, ..Ledger::default() });
    assert!(now.balances());
    all(&mut outgoing, &mut log);
    assert_eq!(outgoing.ledger(&log), Ledger { delivered: 1, ahead: 0, ..now });
}

#[test]
fn what_a_seek_declares_lost_counts_and_what_is_lost_later_is_lost_after_it() {
    let (mut log, mut outgoing) = (log(), receiver());
    let fill = |log: &mut Log| (0..10).for_each(|_| append(log, 20_000));
    fill(&mut log);
    let start = log.oldest() - 1;
    outgoing.seek(b"attached, and a gap\n", Seek { after: 0, start, head: 0, snapshot: false, narrow: None });
    fill(&mut log); // before the answer is read
    assert_eq!(
        outgoing.ledger(&log),
        Ledger { entries: 20, delivered: 0, lost: start, passed: 0, ahead: 20 - start }
    );
    write(&mut outgoing, &mut log, usize::MAX);
    assert_eq!(outgoing.next(&log), Next::Lost);
    let mut declared = None;
    outgoing.declare(&log, |lost| {
        declared = Some(lost.from);
        Vec::new()
    });
    assert_eq!(declared, Some(start + 1));
}

#[test]
fn entries_that_are_held_back_come_once_wherever_the_client_begins() {
    let (mut log, mut outgoing) = (log(), receiver());
    outgoing.hold_back();
    (0..3).for_each(|_| append(&mut log, 1));
    outgoing.reply(b"hello\n");
    assert_eq!(all(&mut outgoing, &mut log), "hello\n");
    assert_eq!(outgoing.next(&log), Next::Wait);
    outgoing.seek(b"attached\n", Seek { after: 1, start: 1, head: 0, snapshot: false, narrow: None });
    assert_eq!(all(&mut outgoing, &mut log), "attached\n2 x\n3 x\n");
    assert!(!outgoing.begin(), "it has begun");
    let mut silent = receiver();
    silent.hold_back();
    assert_eq!(all(&mut silent, &mut log), "");
    assert!(silent.begin());
    assert_eq!(all(&mut silent, &mut log), "1 x\n2 x\n3 x\n");
    let mut late = receiver();
    late.hold_back();
    late.finish(b"bye\n".to_vec());
    assert_eq!(all(&mut late, &mut log), "1 x\n2 x\n3 x\nbye\n");
}

#[test]
fn who_is_ahead_of_the_log_gets_nothing_of_it_before_its_place_is_known() {
    let ahead = || {
        let (mut log, mut outgoing) = (log(), receiver());
        outgoing.hold_back();
        outgoing.is_ahead();
        (0..3).for_each(|_| append(&mut log, 1));
        outgoing.reply(b"restated\n");
        assert!(!outgoing.begin(), "its time as a newcomer is over, and it has those that are here");
        assert_eq!(all(&mut outgoing, &mut log), "restated\n");
        (log, outgoing)
    };
    let (mut log, mut outgoing) = ahead();
    outgoing.is_not_ahead();
    assert_eq!(outgoing.next(&log), Next::Wait, "it hasn't been answered yet");
    outgoing.seek(b"attached\n", Seek { after: 2, start: 2, head: 3, snapshot: false, narrow: None });
    assert_eq!(all(&mut outgoing, &mut log), "attached\n3 x\n");

    let (mut log, mut refused) = ahead();
    refused.is_not_ahead();
    refused.reply(b"error\n");
    assert!(refused.begin());
    assert_eq!(all(&mut refused, &mut log), "error\n1 x\n2 x\n3 x\n");

    let (mut log, mut finished) = ahead();
    finished.finish(b"bye\n".to_vec());
    assert_eq!(all(&mut finished, &mut log), "bye\n", "nothing is given twice");

    let (mut log, mut outgoing) = (log, receiver());
    write(&mut outgoing, &mut log, 2); // into a line
    outgoing.is_ahead();
    assert_eq!(all(&mut outgoing, &mut log), "x\n", "the line under way is ended");
}

#[test]
fn the_last_words_come_after_all_data_then_it_closes() {
    let (mut log, mut outgoing) = (log(), receiver());
    append(&mut log, 1);
    outgoing.finish(b"bye\n".to_vec());
    outgoing.reply(b"reply\n");
    assert_eq!(all(&mut outgoing, &mut log), "reply\n1 x\nbye\n");
    assert_eq!(outgoing.next(&log), Next::Close);
}

#[test]
fn who_is_cut_off_gets_the_rest_of_a_line_and_the_last_words_alone() {
    let (mut log, mut outgoing) = (log(), receiver());
    append(&mut log, 3);
    append(&mut log, 3);
    write(&mut outgoing, &mut log, 3);
    outgoing.cut_off(b"bye\n".to_vec());
    assert_eq!(all(&mut outgoing, &mut log), "xx\nbye\n");
    assert_eq!(outgoing.next(&log), Next::Close);
}

#[test]
fn a_reply_under_way_is_finished_when_its_client_is_cut_off() {
    let (mut log, mut outgoing) = (log(), receiver());
    outgoing.reply(b"reply\n");
    write(&mut outgoing, &mut log, 2);
    outgoing.cut_off(b"bye\n".to_vec());
    assert_eq!(all(&mut outgoing, &mut log), "ply\nbye\n");
}

#[test]
fn who_leaves_many_replies_unread_has_enough_until_it_reads() {
    let (mut log, mut outgoing) = (log(), receiver());
    let line = vec![b'x'; 1000];
    let mut taken = 0;
    while !outgoing.has_enough() {
        outgoing.reply(&line);
        taken += 1;
    }
    assert_eq!(taken, Outgoing::MAX_REPLIES / 1000 + 1);
    write(&mut outgoing, &mut log, 1000);
    assert!(!outgoing.has_enough());
}

#[test]
fn who_is_deaf_holds_nothing_and_stays_until_it_is_dismissed() {
    let (mut log, mut outgoing) = (log(), receiver());
    (0..2).for_each(|_| append(&mut log, 3));
    outgoing.reply(b"reply\n");
    write(&mut outgoing, &mut log, 6);
    write(&mut outgoing, &mut log, 2);
    outgoing.reply(b"reply\n");
    outgoing.deafen();
    outgoing.reply(b"reply\n");
    assert_eq!((outgoing.unread_replies(), outgoing.needs()), (0, None));
    (0..50).for_each(|_| append(&mut log, 20_000));
    assert!(!outgoing.is_lost(&log));
    assert_eq!(outgoing.next(&log), Next::Wait);
    assert_eq!(outgoing.ledger(&log), Ledger { entries: 52, delivered: 0, lost: 0, passed: 0, ahead: 52 });
    outgoing.cut_off(b"bye\n".to_vec());
    assert_eq!(outgoing.next(&log), Next::Close);
}

#[test]
fn replies_that_are_read_take_no_memory() {
    let (mut log, held) = (log(), Rc::new(Cell::new(0)));
    let mut outgoing = Outgoing::new(Some(Cursor::new(Format::Envelope, 0)), Rc::clone(&held));
    let line = vec![b'x'; 1000];
    for _ in 0..10_000 {
        outgoing.reply(&line);
        // never all of it, so that the lane is never empty
        let unread = outgoing.unread_replies();
        write(&mut outgoing, &mut log, unread.saturating_sub(500));
    }
    assert!(held.get() < 256 << 10, "{}", held.get());
    drop(outgoing);
    assert_eq!(held.get(), 0);
}

#[test]
fn every_attach_is_answered_in_its_order() {
    let (mut log, mut outgoing) = (log(), receiver());
    (0..3).for_each(|_| append(&mut log, 1));
    write(&mut outgoing, &mut log, 2);
    outgoing.seek(b"first\n", Seek { after: 2, start: 2, head: 0, snapshot: false, narrow: None });
    outgoing.reply(b"pong\n");
    outgoing.seek(b"second\n", Seek { after: 1, start: 1, head: 0, snapshot: false, narrow: None });
    assert_eq!(all(&mut outgoing, &mut log), "x\nfirst\npong\nsecond\n2 x\n3 x\n");
}

#[test]
fn nothing_follows_the_last_words() {
    let (mut log, mut outgoing) = (log(), receiver());
    outgoing.finish(b"bye\n".to_vec());
    let begun = String::from_utf8(write(&mut outgoing, &mut log, 1)).unwrap();
    outgoing.reply(b"reply\n");
    append(&mut log, 1);
    assert_eq!(begun + &all(&mut outgoing, &mut log), "bye\n");
    assert_eq!(outgoing.next(&log), Next::Close);
}

#[test]
fn the_last_line_of_a_chunk_that_is_gone_is_no_loss() {
    let (mut log, mut outgoing) = (log(), receiver());
    append(&mut log, 100_000);
    write(&mut outgoing, &mut log, 10);
    append(&mut log, 100_000);
    log.trim(u64::MAX);
    assert_eq!(log.oldest(), 2, "the first entry is gone, but for who is in the middle of it");
    assert!(!outgoing.is_lost(&log));
    append(&mut log, 100_000);
    log.trim(u64::MAX);
    assert!(outgoing.is_lost(&log));
}

#[test]
fn who_is_cut_off_keeps_its_ledger() {
    let (mut log, mut outgoing) = (log(), receiver());
    (0..3).for_each(|_| append(&mut log, 1));
    write(&mut outgoing, &mut log, 4);
    outgoing.cut_off(Vec::new());
    assert_eq!(outgoing.ledger(&log), Ledger { entries: 3, delivered: 1, lost: 0, passed: 0, ahead: 2 });
    assert_eq!(outgoing.needs(), None);
    assert_eq!(outgoing.next(&log), Next::Close);
}

proptest! {
    /// Replies and entries, cut anywhere: each comes whole, once, and in its order.
    #[test]
    fn lines_of_both_lanes_come_whole_and_in_order(
        steps in proptest::collection::vec((0u8..3, 1usize..40), 1..200),
    ) {
        let (mut log, mut outgoing) = (log(), receiver());
        let mut seen = Vec::new();
        let mut replies = 0;
        for (step, size) in steps {
            match step {
                0 => append(&mut log, size),
                1 => {
                    replies += 1;
                    outgoing.reply(format!("r{replies}\n").as_bytes());
                }
                _ => seen.extend(write(&mut outgoing, &mut log, size)),
            }
        }
        seen.extend(all(&mut outgoing, &mut log).into_bytes());
        let text = String::from_utf8(seen).unwrap();
        let (said, data): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with('r'));
        prop_assert_eq!(said, (1..=replies).map(|n| format!("r{n}")).collect::<Vec<_>>());
        let numbers: Vec<u64> = data.iter().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
        prop_assert_eq!(numbers, (1..=log.head()).collect::<Vec<_>>());
    }
}
