//! The ledger, held against a plain model: a log and a fan-out with real sockets and none of their tasks, so that the
//! test says who is looked at when. What each client reads is gone through line by line, by what it asked for itself.

use proptest::prelude::*;

mod model;
mod stage;

use stage::Stage;

/// Topics that messages are of; and what clients ask for.
const TOPICS: [&str; 4] = ["a", "a.b", "b", "c.d.e"];
const PATTERNS: [&[&str]; 5] = [&["a"], &["a.*", "b"], &["**"], &[], &["**.e", "a**"]];
/// Clients, and names for them.
const CLIENTS: usize = 4;
const NAMES: [&str; 2] = ["one", "two"];

#[derive(Debug, Clone)]
enum Step {
    /// So many messages; `late` came long ago.
    Publish {
        topic: usize,
        length: usize,
        count: usize,
        late: bool,
    },
    Announce,
    Offer,
    Stage,
    Commit {
        back: u64,
    },
    CommitAll,
    /// `slow_client`, and so many KiB of history.
    Reload {
        policy: usize,
        history: usize,
    },
    /// Names lapse.
    Lapse,
    Join {
        client: usize,
    },
    Leave {
        client: usize,
    },
    Begin {
        client: usize,
    },
    Attach {
        client: usize,
        back: Option<u64>,
        patterns: Option<usize>,
        name: Option<usize>,
        takeover: bool,
        snapshot: bool,
    },
    Ack {
        client: usize,
        back: u64,
    },
    Read {
        client: usize,
        room: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let client = || 0..CLIENTS;
    let patterns = prop::option::of(0..PATTERNS.len());
    let name = prop::option::weighted(0.4, 0..NAMES.len());
    let attach = (client(), prop::option::of(0u64..40), patterns, name, any::<bool>(), any::<bool>());
    prop_oneof![
        10 => (0..TOPICS.len() + 2, 1usize..25_000, 1usize..6, any::<bool>())
            .prop_map(|(topic, length, count, late)| Step::Publish { topic, length, count, late }),
        1 => Just(Step::Announce),
        8 => Just(Step::Offer),
        1 => Just(Step::Stage),
        2 => (0u64..6).prop_map(|back| Step::Commit { back }),
        1 => Just(Step::CommitAll),
        2 => (0usize..4, 64usize..512).prop_map(|(policy, history)| Step::Reload { policy, history }),
        1 => Just(Step::Lapse),
        4 => client().prop_map(|client| Step::Join { client }),
        1 => client().prop_map(|client| Step::Leave { client }),
        2 => client().prop_map(|client| Step::Begin { client }),
        4 => attach.prop_map(|(client, back, patterns, name, takeover, snapshot)| {
            Step::Attach { client, back, patterns, name, takeover, snapshot }
        }),
        2 => (client(), 0u64..5).prop_map(|(client, back)| Step::Ack { client, back }),
        8 => (client(), 1usize..120_000).prop_map(|(client, room)| Step::Read { client, room }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever is published, staged, cut, let go, read, left unread, asked for, conflated and reloaded: each client is
    /// told what the model says, each entry once or declared, in order, and its ledger says the same.
    #[test]
    fn each_line_is_what_the_model_says_and_the_ledger_is_its_sum(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        play(steps)?;
    }
}

/// Once in some thousand plays this comes about by itself.
#[test]
fn who_attaches_again_by_its_own_name_within_a_line_gets_the_line_once() {
    let attach = |patterns| Step::Attach {
        client: 1,
        back: None,
        patterns,
        name: Some(1),
        takeover: false,
        snapshot: false,
    };
    let publish = |(length, count)| Step::Publish { topic: 0, length, count, late: false };
    let mut steps = vec![Step::Join { client: 1 }, attach(Some(2))];
    steps.extend([(12_241, 4), (16_534, 4), (7_403, 2), (22_062, 4)].map(publish));
    steps.extend([Step::Read { client: 1, room: 208 }, Step::Offer, attach(None)]);
    play(steps).unwrap();
}

fn play(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let _entered = runtime.enter();
    let mut stage = Stage::new();
    for step in steps {
        if let Step::Lapse = step {
            runtime.block_on(tokio::time::advance(stage::KEEP));
        }
        stage.step(step)?;
    }
    stage.finish()
}
