//! Counts that are made of a log.

use super::*;
use crate::{
    config::History,
    hub::Hub,
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
                    _ => Heard::Text(text),
                }
            });
        heard.collect()
    })
}

/// A session hears it, and everything goes into the log.
fn hear(bench: &mut Bench, hub: &Hub, heard: &[Heard]) {
    let publisher = hub.publisher().expect("there is no other").0;
    for heard in heard {
        let message = match heard {
            Heard::Text(text) => Data::Text(text),
            Heard::Binary(text) => Data::Binary(text.as_bytes()),
            Heard::AnotherConnection => {
                bench.again();
                continue;
            }
        };
        let (publish, effects) = bench.with(|session, context| session.heard(context, message));
        assert_eq!((publish, effects), (Publish::Yes, vec![]), "{heard:?}");
        bench.session.take_holes().iter().for_each(|hole| publisher.declare_hole(7, hole));
        publisher.publish(7, message, &MessageTopic::None);
    }
}

fn hub() -> Hub {
    Hub::new("test".into(), &History::default(), false)
}

fn recount(hub: &Hub, sequence: &str, from: u64) -> Counts {
    let settings = settings(&format!("sequence = {sequence}"));
    let log = hub.log();
    let newest_first = (from..=log.head()).rev().filter_map(|seq| log.payload(seq));
    Recount::new(settings.terms.sequence.as_ref().unwrap()).of(newest_first)
}

proptest! {
    #[test]
    fn counts_of_a_log_are_those_of_who_published_it(
        before in any_heard(),
        heard in any_heard(),
        sequence in prop::sample::select(&SEQUENCES[..]),
    ) {
        let text = format!("sequence = {sequence}");
        let (hub, mut bench) = (hub(), Bench::ready(&text));
        hear(&mut bench, &hub, &before);
        let oldest = hub.log().head() + 1;
        hear(&mut bench, &hub, &heard);
        prop_assert_eq!(&recount(&hub, sequence, 1), &*bench.memory.counts());

        // of a part they are those of who has heard that part
        let mut late = Bench::ready(&text);
        hear(&mut late, &self::hub(), &heard);
        prop_assert_eq!(&recount(&hub, sequence, oldest), &*late.memory.counts());
    }
}

#[test]
fn one_count_needs_no_more_than_the_newest_messages() {
    let (hub, mut bench) = (hub(), Bench::ready("sequence.pointer = \"/n\""));
    let heard: Vec<_> = (1..5_000).map(|number| Heard::Text(format!("{{\"n\":{number}}}"))).collect();
    hear(&mut bench, &hub, &heard);
    for (sequence, needed) in [(SEQUENCES[0], 1_024), (SEQUENCES[2], 4_999)] {
        let settings = settings(&format!("sequence = {sequence}"));
        let (log, mut asked) = (hub.log(), 0);
        let newest_first = (1..=log.head()).rev().filter_map(|seq| log.payload(seq)).inspect(|_| asked += 1);
        let counts = Recount::new(settings.terms.sequence.as_ref().unwrap()).of(newest_first);
        assert_eq!((counts.last(""), asked), (Some(4_999), needed), "{sequence}");
    }
}
