//! Counts that are made of a log.

use super::*;
use crate::{
    config::History,
    hub::{Counted, CountedBeside, Hub},
    upstream::session::{recount::Recount, sequence::Counts},
};

const SEQUENCES: [&str; 5] = [
    r#"{ pointer = "/n" }"#,
    r#"{ pointer = "/n", from = "/f" }"#,
    r#"{ pointer = "/n", per = "/s" }"#,
    r#"{ pointer = "/n", per = "/s", previous = "/f", first = { match = { "/k" = "all" }, pointer = "/l", per = "/m/s" } }"#,
    r#"{ pointer = "/n", first = { match = "all" } }"#,
];

/// What a server says: numbers that mostly rise, of few kinds, in whatever form.
#[derive(Debug, Clone)]
enum Heard {
    Text(String),
    Binary(String),
    /// Clients don't get it.
    Hidden(String),
    AnotherConnection,
}

fn any_heard() -> impl Strategy<Value = Vec<Heard>> {
    let blanks = "[ \\r\\n\\t]{0,2}";
    let key = prop_oneof![Just("\"n\""), Just("\"\\u006e\""), Just("\"x\""), Just("\"\\ud800\":0,\"n\"")];
    let number = (-4_i64..5, 0_i64..4, any::<bool>());
    let parts = (key, number, "[ab]", blanks, prop::option::weighted(0.2, -6_i64..9));
    let message = (parts, 0_u8..20, blanks);
    prop::collection::vec(message, 1..60).prop_map(|all| {
        let mut at = 20;
        let heard =
            all.into_iter().map(|((key, (step, width, quoted), per, blanks, snapshot), form, around)| {
                if form == 0 {
                    return Heard::AnotherConnection;
                }
                at = (at + step + 1).max(0);
                let number = if quoted { format!("\"{at}\"") } else { at.to_string() };
                let first = at - width;
                let text = match snapshot {
                    Some(ahead) => {
                        format!(
                            "{{\"k\":\"all\",{blanks}\"l\":{},\"n\":{at},\"m\":{{\"s\":\"{per}\"}}}}",
                            (at + ahead).max(0)
                        )
                    }
                    None => format!("{{{key}{blanks}:{number},\"f\":{first}{blanks},\"s\":\"{per}\"}}"),
                };
                let text = format!("{around}{text}{around}");
                match form {
                    1 => Heard::Text(format!("{text}, he said")),
                    2..5 => Heard::Binary(text),
                    5..9 => Heard::Hidden(text.replacen('{', "{\"h\":1,", 1)),
                    _ => Heard::Text(text),
                }
            });
        heard.collect()
    })
}

const HIDE: &str = "upstream.hide = { \"/h\" = 1 }";

/// A session hears it, and everything goes into the log, or beside it.
fn hear(bench: &mut Bench, hub: &Hub, beside: &mut CountedBeside, heard: &[Heard]) {
    let publisher = hub.publisher().expect("there is no other").0;
    for heard in heard {
        let message = match heard {
            Heard::Text(text) | Heard::Hidden(text) => Data::Text(text),
            Heard::Binary(text) => Data::Binary(text.as_bytes()),
            Heard::AnotherConnection => {
                bench.again();
                continue;
            }
        };
        let (publish, effects) = bench.with(|session, context| session.heard(context, message));
        // what isn't sound JSON isn't hidden, either
        let is_hidden = publish == Publish::No;
        assert!(effects.is_empty() && (!is_hidden || matches!(heard, Heard::Hidden(_))), "{heard:?}");
        bench.session.take_holes().iter().for_each(|hole| publisher.declare_hole(7, hole));
        if is_hidden {
            let counted = bench.with(|session, context| session.counted(context, message)).0;
            counted.into_iter().for_each(|counted| beside.note(hub.log().next(), counted));
        } else {
            publisher.publish(7, message, &MessageTopic::None);
        }
    }
}

fn hub() -> Hub {
    Hub::new("test".into(), &History::default(), false)
}

fn recount(hub: &Hub, beside: &CountedBeside, sequence: &str, from: u64) -> Counts {
    let settings = settings(&format!("sequence = {sequence}"));
    let log = hub.log();
    let newest_first = (from..=log.head()).rev().map(|seq| (seq, log.payload(seq)));
    Recount::new(settings.terms.sequence.as_ref().unwrap()).of(log.next(), newest_first, beside)
}

proptest! {
    #[test]
    fn counts_of_a_log_are_those_of_who_published_it(
        before in any_heard(),
        heard in any_heard(),
        sequence in prop::sample::select(&SEQUENCES[..]),
    ) {
        let text = format!("sequence = {sequence}\n{HIDE}");
        let (hub, mut bench, mut beside) = (hub(), Bench::ready(&text), CountedBeside::default());
        hear(&mut bench, &hub, &mut beside, &before);
        let oldest = hub.log().head() + 1;
        hear(&mut bench, &hub, &mut beside, &heard);
        prop_assert_eq!(&recount(&hub, &beside, sequence, 1), &*bench.memory.counts());

        // of a part they are those of who has heard that part
        let (mut late, mut beside) = (Bench::ready(&text), CountedBeside::default());
        let part = Hub::starting_at("test".into(), oldest, &History::default(), false);
        hear(&mut late, &part, &mut beside, &heard);
        prop_assert_eq!(&recount(&part, &beside, sequence, oldest), &*late.memory.counts());
    }
}

#[test]
fn one_count_needs_no_more_than_the_newest_messages() {
    let (hub, mut bench) = (hub(), Bench::ready("sequence.pointer = \"/n\""));
    let heard: Vec<_> = (1..5_000).map(|number| Heard::Text(format!("{{\"n\":{number}}}"))).collect();
    let mut beside = CountedBeside::default();
    hear(&mut bench, &hub, &mut beside, &heard);
    for (sequence, needed) in [(SEQUENCES[0], 1_024), (SEQUENCES[2], 4_999)] {
        let settings = settings(&format!("sequence = {sequence}"));
        let (log, mut asked) = (hub.log(), 0);
        let newest_first = (1..=log.head()).rev().map(|seq| (seq, log.payload(seq))).inspect(|_| asked += 1);
        let recount = Recount::new(settings.terms.sequence.as_ref().unwrap());
        let counts = recount.of(log.next(), newest_first, &beside);
        assert_eq!((counts.last(""), asked), (Some(4_999), needed), "{sequence}");
    }
}

#[test]
fn counts_that_nothing_has_shown_since_somebody_did_not_tell_are_unsure() {
    let heard = |all: &[(&str, u64)]| -> Vec<_> {
        all.iter().map(|(per, n)| Heard::Text(format!("{{\"n\":{n},\"s\":\"{per}\"}}"))).collect()
    };
    let (hub, mut bench) = (hub(), Bench::ready(SEQUENCES[2].replacen('{', "sequence = {", 1).as_str()));
    let mut beside = CountedBeside::default();
    hear(&mut bench, &hub, &mut beside, &heard(&[("a", 1), ("b", 1), ("c", 1), ("c", 4), ("d", 1)]));
    beside.untold = hub.log().next();
    // 3 is late, and doesn't show how far that count has come
    hear(&mut bench, &hub, &mut beside, &heard(&[("a", 2), ("c", 3)]));
    let unsure = |beside: &CountedBeside| -> Vec<&str> {
        let counts = recount(&hub, beside, SEQUENCES[2], 1);
        ["a", "b", "c", "d"].into_iter().filter(|per| counts.is_unsure(&format!("\"{per}\""))).collect()
    };
    assert_eq!(unsure(&beside), ["b", "c", "d"]);
    let counted = |per: &str, last| Counted { per: format!("\"{per}\""), last, ..Counted::default() };
    beside.note(beside.untold, counted("d", 2)); // told before that
    assert_eq!(unsure(&beside), ["b", "c", "d"]);
    beside.note(hub.log().next(), counted("b", 2));
    beside.note(hub.log().next(), counted("c", 4)); // of a late one
    assert_eq!(unsure(&beside), ["c", "d"]);
}

#[test]
fn what_was_known_before_the_messages_that_are_looked_at_is_passed_over() {
    let (hub, mut bench) = (hub(), Bench::ready(SEQUENCES[0].replacen('{', "sequence = {", 1).as_str()));
    let mut beside = CountedBeside::default();
    let heard: Vec<_> = (1..2_000).map(|number| Heard::Text(format!("{{\"n\":{number}}}"))).collect();
    hear(&mut bench, &hub, &mut beside, &heard);
    let counted = |last| Counted { last, ..Counted::default() };
    beside.note(100, counted(99));
    assert_eq!(&recount(&hub, &beside, SEQUENCES[0], 1), &*bench.memory.counts());
    beside.note(2_000, counted(2_005));
    assert_eq!(recount(&hub, &beside, SEQUENCES[0], 1).last(""), Some(2_005));
    // the log has let go of what came behind
    let part = Hub::starting_at("test".into(), 500, &History::default(), false);
    beside.note(499, counted(7));
    assert_eq!(recount(&part, &beside, SEQUENCES[0], 500).last(""), None);
    beside.note(500, counted(7));
    assert_eq!(recount(&part, &beside, SEQUENCES[0], 500).last(""), Some(7));
}
