use proptest::prelude::*;

use super::*;
use crate::{
    hub::Retention,
    protocol::{Data, Encoder},
};

fn topics(key: bool) -> config::Topics {
    config::Topics {
        pointers: vec![Pointer::parse("/t").unwrap()],
        retain: true,
        retain_key: key.then(|| Pointer::parse("/k").unwrap()),
        ..config::Topics::default()
    }
}

fn retain(max: usize, bytes: usize) -> Retain {
    let bounds = config::RetainBounds { max, bytes };
    Retain {
        topics: Some(topics(true)),
        script: Some(config::Script { steps: vec![config::Step::new("a")] }),
        bounds,
    }
}

fn log(retain: Retain) -> Log {
    let mut log = Log::new(Retention { max_bytes: 16 << 10, max_age_us: None }, false);
    log.set_retain(retain);
    log
}

fn append(log: &mut Log, topic: &MessageTopic, text: &str) -> u64 {
    let message = Encoder::new(Data::Text(text)).with_topic(topic);
    log.trim(u64::MAX);
    log.append(1, message.room(), Some(topic), |seq, envelope, raw| message.write(seq, 1, envelope, raw))
}

fn topic(name: &str) -> MessageTopic {
    MessageTopic::new(name.to_owned())
}

/// Publishes a message that is retained by its topic.
fn say(log: &mut Log, name: &str, text: &str) -> u64 {
    let seq = append(log, &topic(name), text);
    log.retain_newest(&topic(name), &RetainAs::Newest(None));
    seq
}

fn keyed(log: &mut Log, name: &str, key: &str, text: &str) -> u64 {
    let seq = append(log, &topic(name), text);
    log.retain_newest(&topic(name), &RetainAs::Newest(Some(key.to_owned())));
    seq
}

fn answer(log: &mut Log, step: usize, text: &str) -> u64 {
    let seq = append(log, &MessageTopic::None, text);
    log.retain_newest(&MessageTopic::None, &RetainAs::Answer(step));
    seq
}

/// The entries of all values.
fn held(log: &Log) -> Vec<u64> {
    log.last_values(0, u64::MAX).map(|value| value.seq).collect()
}

#[test]
fn the_newest_of_each_topic_and_key_is_kept_as_it_was_and_marked() {
    let mut log = log(retain(100, 1 << 20));
    say(&mut log, "a", "1");
    keyed(&mut log, "a", "k", "[2]");
    keyed(&mut log, "", "k", "3");
    say(&mut log, "", "4"); // of nothing that could be named
    say(&mut log, "b", "not JSON");
    assert_eq!(held(&log), [1, 2, 3, 5]);
    say(&mut log, "a", "{}");
    keyed(&mut log, "a", "other", "7");
    assert_eq!(held(&log), [2, 3, 5, 6, 7]);
    let lines: Vec<_> = log
        .last_values(2, 6)
        .map(|value| (value.topic, String::from_utf8(value.line.to_vec()).unwrap()))
        .collect();
    assert_eq!(
        lines,
        [
            (Some("a"), "{\"type\":\"message\",\"seq\":2,\"time_us\":1,\"topic\":\"a\",\"json\":[2],\"snapshot\":true}\n".to_owned()),
            (None, "{\"type\":\"message\",\"seq\":3,\"time_us\":1,\"json\":3,\"snapshot\":true}\n".to_owned()),
            (Some("b"), "{\"type\":\"message\",\"seq\":5,\"time_us\":1,\"topic\":\"b\",\"text\":\"not JSON\",\"snapshot\":true}\n".to_owned()),
            (Some("a"), "{\"type\":\"message\",\"seq\":6,\"time_us\":1,\"topic\":\"a\",\"json\":{},\"snapshot\":true}\n".to_owned()),
        ]
    );
    assert_eq!(log.last_values(7, 6).count(), 0, "an empty range is none");
}

#[test]
fn what_was_updated_the_longest_ago_goes_first_and_is_counted_and_answers_go_last() {
    let mut log = log(retain(2, 1 << 20));
    answer(&mut log, 0, "1");
    say(&mut log, "a", "2");
    say(&mut log, "b", "3");
    say(&mut log, "a", "4");
    say(&mut log, "c", "5");
    assert_eq!(held(&log), [1, 4, 5], "an answer is beside the number");
    assert_eq!(log.retained().map(|retained| retained.dropped), Some(1));
    answer(&mut log, 0, "6");
    assert_eq!(held(&log), [4, 5, 6], "the next connection's takes its place");
    keyed(&mut log, "a", &"k".repeat(MAX_KEY + 1), "7");
    assert_eq!((held(&log), log.retained().map(|retained| retained.dropped)), (vec![4, 5, 6], Some(2)));
    // in bytes
    log.set_retain(retain(100, 2 * (VALUE_BYTES + 100)));
    assert_eq!(held(&log), [5, 6]);
    say(&mut log, "c", &format!("\"{}\"", "x".repeat(2 * VALUE_BYTES)));
    assert_eq!(
        held(&log),
        [6],
        "what is too large alone takes nobody else's place, and isn't what it was either"
    );
    assert_eq!(log.retained().map(|retained| retained.dropped), Some(4));
}

#[test]
fn what_is_not_meant_any_more_is_let_go() {
    let mut log = log(retain(100, 1 << 20));
    let fill = |log: &mut Log| {
        answer(log, 0, "1");
        say(log, "a", "2");
        say(log, "b", "3");
    };
    fill(&mut log);
    log.set_retain(Retain { topics: None, ..retain(100, 1 << 20) });
    assert_eq!(held(&log), [1]);
    log.set_retain(retain(100, 1 << 20));
    fill(&mut log);
    log.set_retain(Retain { script: None, ..retain(100, 1 << 20) });
    assert_eq!(held(&log), [5, 6]);
    log.set_retain(Retain { script: None, ..retain(1, 1 << 20) });
    assert_eq!(held(&log), [6], "bounds take what is too much alone");
    log.set_retain(Retain { topics: Some(topics(false)), ..retain(1, 1 << 20) });
    assert_eq!(held(&log), [] as [u64; 0], "other keys are other names");
    fill(&mut log);
    log.set_retain(Retain::default());
    assert_eq!((held(&log), log.retained()), (vec![], None));
    fill(&mut log);
    assert_eq!(held(&log), [] as [u64; 0]);
}

#[test]
fn what_is_staged_is_retained_once_it_is_committed_and_never_once_it_is_cut() {
    let mut log = log(retain(100, 1 << 20));
    say(&mut log, "a", "1");
    log.stage();
    say(&mut log, "a", "2");
    say(&mut log, "b", "3");
    say(&mut log, "a", "4");
    assert_eq!(held(&log), [1]);
    log.commit(3);
    assert_eq!(held(&log), [2, 3]);
    log.cut_staged();
    say(&mut log, "c", "4");
    log.commit_all();
    assert_eq!(held(&log), [2, 3, 4]);
    assert_eq!(log.last_values(4, 4).next().and_then(|value| value.topic), Some("c"));
}

#[test]
fn what_another_log_has_had_is_retained_here_and_a_hole_takes_it_all() {
    let mut log = log(retain(100, 1 << 20));
    let line = |seq: u64, key: &str| {
        format!(
            "{{\"type\":\"message\",\"seq\":{seq},\"time_us\":1,\"topic\":\"a\",\"json\":{{\"k\":{key}}}}}\n"
        )
    };
    for (seq, key) in [(1, "1"), (2, "\"1\""), (3, "[]"), (4, "true")] {
        log.put(seq, 1, line(seq, key).as_bytes(), b"").unwrap();
    }
    log.put(5, 1, b"{\"type\":\"link\",\"seq\":5}\n", b"").unwrap();
    assert_eq!(held(&log), [2, 3, 4], "a number is the text of it");
    log.skip_to(100).unwrap();
    assert_eq!((held(&log), log.retained().map(|retained| retained.dropped)), (vec![], Some(3)));
}

#[test]
fn a_line_that_somebody_is_in_the_middle_of_counts_until_they_are_out() {
    let mut log = log(retain(100, 1 << 20));
    say(&mut log, "a", "1");
    let line = Rc::clone(log.last_values(0, 9).next().unwrap().line);
    assert_eq!(log.kept_bytes(), 0);
    say(&mut log, "a", "2");
    assert_eq!(log.kept_bytes(), line.len());
    drop(line);
    assert_eq!(log.kept_bytes(), 0);
}

/// What may happen to the values.
#[derive(Debug, Clone)]
enum Step {
    Say { topic: u8, key: Option<u8>, length: usize },
    Answer(usize),
    Bounds { max: usize, bytes: usize },
    Stage,
    Commit(u64),
    Cut,
    Forget,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0u8..6, prop::option::of(0u8..3), 0usize..600)
            .prop_map(|(topic, key, length)| Step::Say { topic, key, length }),
        2 => (0usize..3).prop_map(Step::Answer),
        1 => (1usize..8, 600usize..6_000).prop_map(|(max, bytes)| Step::Bounds { max, bytes }),
        1 => Just(Step::Stage),
        1 => (0u64..20).prop_map(Step::Commit),
        1 => Just(Step::Cut),
        1 => Just(Step::Forget),
    ]
}

/// The same, plainly: a list of names, each with its entry and what it takes, oldest first.
#[derive(Debug, Default)]
struct Model {
    held: Vec<(String, u64, usize)>,
    staged: Vec<(String, u64, usize)>,
    dropped: u64,
}

impl Model {
    fn keep(&mut self, value: (String, u64, usize), max: usize, bytes: usize) {
        self.held.retain(|(name, ..)| *name != value.0);
        if value.2 > bytes {
            self.dropped += 1;
            return;
        }
        self.held.push(value);
        self.evict(max, bytes);
    }

    fn evict(&mut self, max: usize, bytes: usize) {
        let is_answer = |name: &str| name.starts_with(STEP);
        loop {
            let values = self.held.iter().filter(|(name, ..)| !is_answer(name)).count();
            if values <= max && self.held.iter().map(|(.., cost)| cost).sum::<usize>() <= bytes {
                return;
            }
            let first = self.held.iter().position(|(name, ..)| !is_answer(name)).unwrap_or(0);
            self.held.remove(first);
            self.dropped += 1;
        }
    }
}

proptest! {
    /// Whatever happens: held is what a plain list would hold, each as it was, and within the bounds.
    #[test]
    fn a_plain_list_would_hold_the_same(steps in prop::collection::vec(step(), 1..80)) {
        let (mut max, mut bytes) = (4, 3_000);
        let mut log = log(retain(max, bytes));
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Say { topic: number, key, length } => {
                    let name = if number == 0 { String::new() } else { format!("t{number}") };
                    let text = format!("\"{}\"", "x".repeat(length));
                    let seq = append(&mut log, &topic(&name), &text);
                    let key = key.map(|key| format!("k{key}"));
                    log.retain_newest(&topic(&name), &RetainAs::Newest(key.clone()));
                    let name = key.map_or(name.clone(), |key| format!("{name}{KEY}{key}"));
                    if !name.is_empty() {
                        let line = log.envelope.chunk(seq);
                        let length = line.lines().len() - line.start(seq);
                        model.staged.push((name.clone(), seq, cost(&name, length)));
                    }
                }
                Step::Answer(step) => {
                    let seq = answer(&mut log, step, "[]");
                    let name = format!("{STEP}{step}");
                    let line = log.envelope.chunk(seq);
                    let length = line.lines().len() - line.start(seq);
                    model.staged.push((name.clone(), seq, cost(&name, length)));
                }
                Step::Bounds { max: new_max, bytes: new_bytes } => {
                    (max, bytes) = (new_max, new_bytes);
                    log.set_retain(retain(max, bytes));
                    model.evict(max, bytes);
                }
                Step::Stage => log.stage(),
                Step::Commit(count) => log.commit(log.head() + count),
                Step::Cut => {
                    let head = log.head();
                    log.cut_staged();
                    model.staged.retain(|(_, seq, _)| *seq <= head);
                    log.commit_all();
                }
                Step::Forget => {
                    log.forget_retained();
                    model.held.clear();
                    model.staged.clear();
                }
            }
            let head = log.head();
            let (done, staged) = model.staged.drain(..).partition(|(_, seq, _)| *seq <= head);
            model.staged = staged;
            for value in Vec::from_iter::<Vec<_>>(done) {
                model.keep(value, max, bytes);
            }
            prop_assert_eq!(held(&log), model.held.iter().map(|(_, seq, _)| *seq).collect::<Vec<_>>());
            let retained = log.retained().unwrap();
            prop_assert_eq!(retained.values, model.held.len());
            prop_assert_eq!(retained.bytes, model.held.iter().map(|(.., cost)| cost).sum::<usize>());
            prop_assert_eq!(retained.dropped, model.dropped);
            for value in log.last_values(0, u64::MAX) {
                let seq = Message::seq_of(value.line);
                prop_assert_eq!(seq, Some(value.seq), "each line is that of its entry");
            }
        }
    }
}
