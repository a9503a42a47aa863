//! Programs that make messages, on connections that come and go.

use super::{script::toml, *};
use crate::upstream::session::runs::Run;

const REPLY: &str = r#"
[[reply]]
match = { "/ask" = { exists = true } }
send_command = { run = ["/bin/answer"], stdin = "${field:/ask}" }
"#;

impl Bench {
    /// Asks over the connection in this seat, and returns the number of the program that is run for it.
    fn begins(&mut self, slot: Slot) -> u64 {
        let actions = self.hear(slot, r#"{"ask":1}"#).1;
        run(&actions, slot).expect("a program is run").id
    }

    fn prints(&mut self, slot: Slot, id: u64, printed: &str) -> Vec<Action> {
        self.tell(Input::Ran { slot, id, outcome: Ok(printed.as_bytes().to_vec()) })
    }
}

fn run(actions: &[Action], wanted: Slot) -> Option<&Run> {
    actions.iter().find_map(|action| match action {
        Action::Run { slot, run } if *slot == wanted => Some(run),
        _ => None,
    })
}

#[test]
fn nobody_waits_for_a_program_whose_connection_ends() {
    type End = (&'static str, fn() -> Input);
    let ends: [End; 7] = [
        ("gone", || gone()),
        ("closing", || closing(Failure::closed_there(Some(1001), ""))),
        ("stop", || Input::Stop),
        ("close", || Input::Close),
        ("reconnect", || Input::Reconnect),
        ("other words", || Input::Settings(Box::new(toml(&REPLY.replace("/bin/answer", "/bin/other"))))),
        ("another server", || {
            Input::Settings(Box::new(toml(&format!("[upstream]\nurl = \"wss://b/\"\n{REPLY}"))))
        }),
    ];
    for (name, input) in ends {
        let mut bench = Bench::up(toml(REPLY));
        let id = bench.begins(Slot::A);
        assert!(bench.machine.awaits_run(Slot::A, id), "{name}");
        assert!(!bench.machine.awaits_run(Slot::B, id), "{name}: it is the other connection's");
        bench.tell(input());
        assert!(!bench.machine.awaits_run(Slot::A, id), "{name}");
        assert_eq!(bench.prints(Slot::A, id, "late"), [], "{name}");
        assert_eq!(bench.said(Slot::A), [""; 0], "{name}");
        assert_eq!(run(&bench.hear(Slot::A, r#"{"ask":2}"#).1, Slot::A), None, "{name}: no other begins");
    }
}

#[test]
fn what_changes_nothing_for_them_leaves_them_alone() {
    let mut bench = Bench::up(toml(REPLY));
    let id = bench.begins(Slot::A);
    bench.tell(Input::Settings(Box::new(toml(&format!("{REPLY}[limits]\nmessages = [\"9/1s\"]\n")))));
    assert_eq!(bench.prints(Slot::A, id, "answer\n"), []);
    assert_eq!(bench.said(Slot::A), ["answer"]);
}

#[test]
fn while_two_connections_are_read_each_has_its_own() {
    let mut bench = Bench::up(toml(&format!("{REPLY}[rotate]\nafter = \"60s\"\n")));
    assert_eq!(connects(&bench.pass(60 * S)), 1);
    let old = bench.begins(Slot::A);
    bench.tell(connected_on(Slot::B));
    let new = bench.begins(Slot::B);
    assert!(bench.machine.awaits_run(Slot::A, old), "the old one is still read, and answered");
    assert_eq!(bench.prints(Slot::A, old, "for the old"), []);
    assert_eq!((bench.said(Slot::A), bench.said(Slot::B)), (vec!["for the old".to_owned()], vec![]));
    let old = bench.begins(Slot::A);
    let actions = bench.pass(5 * S);
    assert!(matches!(actions[..], [Action::Close { slot: Slot::A, .. }]), "{actions:?}");
    assert!(!bench.machine.awaits_run(Slot::A, old));
    bench.prints(Slot::B, new, "for the new");
    assert_eq!(bench.said(Slot::B), ["for the new"]);
}

#[test]
fn a_failed_reply_is_told_each_time_and_aloud_seldom() {
    let mut bench = Bench::up(toml(REPLY));
    let mut told = Vec::new();
    for wait in [0, 1, 1, 20] {
        bench.pass(wait * S);
        let id = bench.begins(Slot::A);
        bench.tell(Input::Ran { slot: Slot::A, id, outcome: Err("printed nothing".to_owned()) });
        let [Note::Unsent { error, unsaid }] = bench.notes()[..] else { panic!("{:?}", bench.news) };
        assert_eq!(error, "a reply isn't sent: /bin/answer printed nothing");
        told.push(*unsaid);
    }
    assert_eq!(told, [Some(0), None, None, Some(2)]);
    assert_eq!(bench.machine.state_for_sends(), LinkState::Up);
}

#[test]
fn a_server_that_takes_nothing_has_no_more_programs_run() {
    let mut bench = Bench::up(toml(REPLY));
    let first = bench.begins(Slot::A);
    let second = bench.begins(Slot::A);
    bench.prints(Slot::A, first, &"x".repeat(1 << 20));
    assert!(bench.machine.is_choked(Slot::A));
    assert_eq!(run(&bench.hear(Slot::A, r#"{"ask":3}"#).1, Slot::A), None, "it waits");
    bench.prints(Slot::A, second, "y");
    assert!(!bench.machine.has_to_do());
    let said = bench.machine.next_own(bench.now, Slot::A).unwrap();
    assert_eq!(said.len(), 1 << 20);
    assert!(bench.machine.has_to_do(), "it is its turn");
    assert!(matches!(bench.machine.poll_action(), Some(Action::Run { run: Run { id: 3, .. }, .. })));
}

#[test]
fn a_heartbeat_is_answered_from_when_it_is_said() {
    let beat = r#"
[heartbeat]
kind = "message"
interval = "10s"
timeout = "4s"
expect = "pong"
send_command = { run = ["/bin/beat"] }
"#;
    let mut bench = Bench::up(toml(beat));
    let actions = bench.pass(10 * S);
    let id = run(&actions, Slot::A).expect("the program is run").id;
    bench.pass(3 * S);
    bench.prints(Slot::A, id, "ping\n");
    assert_eq!(bench.said(Slot::A), ["ping"]);
    assert_eq!(bench.pass(3 * S), []);
    bench.hear(Slot::A, "pong");
    assert!(matches!(bench.notes()[..], [Note::RoundTrip(trip)] if *trip == 3 * S), "{:?}", bench.news);
    // a program that makes nothing is a beat that is missed
    let actions = bench.pass(4 * S);
    let id = run(&actions, Slot::A).expect("one interval after the last was due").id;
    bench.tell(Input::Ran { slot: Slot::A, id, outcome: Err("did not end within 1s".to_owned()) });
    assert_eq!(bench.machine.state_for_sends(), LinkState::Up);
    assert!(matches!(bench.pass(4 * S)[..], [Action::Drop { slot: Slot::A }]));
    assert!(bench.announced().error.as_deref().unwrap().contains("no expected answer"));
}

#[test]
fn a_server_that_is_not_ready_hears_no_heartbeat_of_a_program_that_was_at_work() {
    let text = r#"
[[script.step]]
send = "boot"
expect = "ready"
reject = { match = "not yet", then = "again", delay = "60s" }
[heartbeat]
kind = "message"
interval = "5s"
send_command = { run = ["/bin/beat"] }
"#;
    let mut bench = Bench::up(toml(text));
    let actions = bench.pass(5 * S);
    let id = run(&actions, Slot::A).expect("the program is run").id;
    bench.hear(Slot::A, "not yet");
    assert!(!bench.machine.awaits_run(Slot::A, id));
    bench.prints(Slot::A, id, "beat");
    assert_eq!(bench.said(Slot::A), ["boot"]);
}
