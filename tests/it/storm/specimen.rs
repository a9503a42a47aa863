//! *Pure.* A small record in which all is well: one of everything that the judge looks at.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    calls::{Asked, Call, How, What},
    payload::{EACH, Payload, message, one_line, send},
    record::{Attach, Attempt, Life, Record, Session, Sub},
    units::{Part, Unit},
};

/// Its messages are of all three kinds, and small.
pub(crate) const SEED: u64 = 896;
const EPOCH: &str = "e1e1e1e1";

/// Two connections, with a Retry-After between them, and fourteen clients.
pub(crate) fn record() -> Record {
    let log = log();
    assert!(log.iter().all(|line| line.len() < 10_000), "small, so that trials are quick");
    let entries = |from: usize, to: usize| log[from - 1..to].to_vec();
    let link = || text("{\"type\":\"link\",\"time_us\":1,\"state\":\"up\",\"conn\":1}");
    let bye = || text("{\"type\":\"bye\",\"why\":\"shutdown\"}");
    let gap = |gap: &str| text(&format!("{{\"type\":\"gap\",{gap}}}"));
    let ok = |id: &str, more: &str| text(&format!("{{\"type\":\"ok\",\"id\":\"{id}\",{more}}}"));
    let error =
        |id: &str, code: &str| text(&format!("{{\"type\":\"error\",\"id\":\"{id}\",\"code\":\"{code}\"}}"));

    let reader = [vec![hello(0, 1)], entries(1, 18), vec![bye()]].concat();
    let answers = vec![
        ok("s0", "\"result\":\"written\""),
        ok("s1", "\"result\":\"written\""),
        error("s2", "link_down"),
        ok("s3", "\"result\":\"queued\""),
        ok("s3", "\"result\":\"written\""),
        error("s4", "unknown"),
    ];
    let sender = [vec![hello(2, 2)], entries(3, 9), answers, entries(10, 18), vec![bye()]].concat();
    let fell = vec![hello(2, 3), gap("\"from\":3,\"to\":8,\"count\":6,\"why\":\"slow_client\""), link()];
    let slow = [fell, entries(9, 18), vec![bye()]].concat();
    let back = vec![hello(12, 4), ok("t", "\"result\":\"attached\",\"seq\":8")];
    let back = [back, entries(9, 18), vec![bye()]].concat();
    let other = vec![
        hello(12, 5),
        ok("t", "\"result\":\"attached\",\"seq\":2"),
        gap("\"from\":1,\"to\":2,\"count\":2,\"why\":\"epoch\""),
        link(),
    ];
    let other = [other, entries(3, 18), vec![bye()]].concat();
    let row = |client: u64, ledger: &str| format!("{{\"client\":{client},\"you\":{},{ledger}}}", client == 6);
    let status = format!(
        "{{\"type\":\"status\",\"id\":\"q0\",\"clients\":[{},{}]}}",
        row(6, "\"ledger\":{\"entries\":6,\"delivered\":4,\"lost\":0,\"ahead\":2}"),
        row(3, "\"ledger\":{\"entries\":16,\"delivered\":0,\"lost\":6,\"ahead\":10}")
    );
    let asker = [vec![hello(2, 6)], entries(3, 6), vec![text(&status)], entries(7, 18), vec![bye()]].concat();
    let asks = vec![hello(16, 7), ok("p0", "\"result\":\"pong\""), ok("p1", "\"result\":\"pong\"")];
    let asks = [asks, entries(17, 18), vec![bye()]].concat();
    // it wants half of the messages, by one pattern and then by another
    let of = |log: &[Vec<u8>]| {
        let lines = log.iter().filter(|line| {
            let line = String::from_utf8_lossy(line);
            !line.starts_with("{\"type\":\"message\"") || line.contains("\"topic\":\"btc.trades\"")
        });
        lines.cloned().collect::<Vec<_>>()
    };
    let (wanted, others) = (of(&log[2..8]), of(&log[12..17]));
    let ledger = |entries: usize, of: &[Vec<u8>]| {
        let (delivered, passed) = (of.len(), entries - of.len());
        format!(
            "\"ledger\":{{\"entries\":{entries},\"delivered\":{delivered},\"lost\":0,\"passed\":{passed},\"ahead\":0}}"
        )
    };
    let status = |id: &str, ledger: &str| {
        text(&format!(
            "{{\"type\":\"status\",\"id\":\"{id}\",\"clients\":[{{\"client\":10,\"you\":true,{ledger}}}]}}"
        ))
    };
    let narrowed = [
        vec![hello(1, 10), ok("t0", "\"result\":\"attached\",\"seq\":2")],
        wanted.clone(),
        vec![status("q0", &ledger(6, &wanted)), ok("t1", "\"result\":\"attached\",\"seq\":12")],
        others.clone(),
        vec![status("q1", &ledger(5, &others))],
        entries(18, 18),
        vec![bye()],
    ]
    .concat();
    let raw: Vec<_> =
        (0..6).chain(2 * EACH..2 * EACH + 4).map(|n| message(SEED, n, topic(n)).raw_line()).collect();

    let session = |number: u64, lines: Vec<Vec<u8>>| Session {
        number,
        what: format!("specimen {number}"),
        lines,
        ..Session::default()
    };
    let sends = (0..5).map(|k| (format!("s{k}"), k)).collect::<BTreeMap<_, _>>();
    let at = |epoch: &str, seq| {
        let attach = Attach { since: Some((epoch.to_owned(), seq)), ..Attach::default() };
        BTreeMap::from([("t".to_owned(), attach)])
    };
    let call = |how: How| {
        let mut calls = (0..).map(|k| Call { session: 11, k });
        let is_it = |call: &Call| call.how(SEED) == how && call.own_id(SEED).is_some();
        calls.find(is_it).expect("each is drawn at some time")
    };
    let calls = [How::Once, How::Stream, How::Never].map(call);
    let mut caller = vec![hello(18, 11)];
    for call in calls {
        let (id, own) = (format!("r{}", call.k), call.own_id(SEED).unwrap_or_default());
        let answers = call.answers(SEED, &own);
        for (part, (_, answer)) in answers.iter().enumerate() {
            let more = if part + 1 < answers.len() { ",\"more\":true" } else { "" };
            caller.push(text(&format!("{{\"type\":\"answer\",\"id\":\"{id}\",\"json\":{answer}{more}}}")));
        }
        if answers.is_empty() {
            caller.push(error(&id, "timeout"));
        }
    }
    caller.push(bye());
    let mut attempts = attempts();
    attempts[2].asked = (1..).zip(calls).map(|(id, call)| asked(id, call)).collect();
    let calls = calls.map(|call| (format!("r{}", call.k), call.k)).into();
    // it has a topic, and sends a unit
    let sub = Sub {
        topics: vec!["s.1".into()],
        more: true,
        at: Duration::from_secs(3),
        told: Some((Duration::from_secs(4), true)),
    };
    let unit = Unit {
        session: 12,
        k: (0..).find(|k| Unit { session: 12, k: *k }.messages(SEED).len() > 1).unwrap_or(0),
    };
    let said = What::Topics { more: true, topics: sub.topics.clone() };
    attempts[2].asked.push(Asked { at: Duration::from_millis(3500), id: 4, text: String::new(), what: said });
    let before = attempts[2].received.len() + attempts[2].asked.len();
    let parts = unit.messages(SEED).into_iter().enumerate();
    attempts[2].parts = parts.map(|(at, text)| Part { after: before + at, unit, text }).collect();
    let subscriber =
        vec![hello(18, 12), ok("u0", "\"result\":\"subscribed\""), ok("n0", "\"result\":\"written\""), bye()];
    let subscriber = Session {
        subs: BTreeMap::from([("u0".to_owned(), sub)]),
        units: BTreeMap::from([("n0".to_owned(), unit.k)]),
        time: (Duration::from_secs(2), Duration::from_secs(8)),
        until: Duration::from_secs(8),
        ..session(12, subscriber)
    };
    // it leaves, and comes back by its name
    let bot = || Attach { name: Some("bot".into()), ..Attach::default() };
    let bot = |number: u64, from: u64, until: u64, lines: Vec<Vec<u8>>| Session {
        attaches: BTreeMap::from([("t".to_owned(), bot())]),
        attached: Some(Duration::from_millis(from + 10)),
        time: (Duration::from_millis(from), Duration::from_millis(until)),
        until: Duration::from_millis(until),
        ..session(number, lines)
    };
    let attached = |more: &str| ok("t", &format!("\"result\":\"attached\",{more}"));
    let first = [vec![hello(2, 13), attached("\"seq\":2,\"new\":true")], entries(3, 9)].concat();
    let first = Session { left: true, ..bot(13, 1000, 1400, first) };
    let again = [vec![hello(12, 14), attached("\"seq\":9")], entries(10, 18), vec![bye()]].concat();
    let again = bot(14, 1500, 8000, again);
    let want = |topics: &[&str]| {
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        Attach { topics: Some(topics), ..Attach::default() }
    };
    let wants =
        BTreeMap::from([("t0".to_owned(), want(&["btc.*"])), ("t1".to_owned(), want(&["**.trades"]))]);
    Record {
        topics: true,
        seed: SEED,
        lives: vec![Life {
            epoch: EPOCH.into(),
            until: Duration::from_secs(9),
            attempts: 0..3,
            ..Life::default()
        }],
        attempts,
        sessions: vec![
            session(1, reader),
            Session { sends, ..session(2, sender) },
            session(3, slow),
            Session { attaches: at(EPOCH, 8), ..session(4, back) },
            Session { attaches: at("e0e0e0e0", 8), ..session(5, other) },
            session(6, asker),
            session(7, asks),
            Session { raw: true, ..session(8, raw) },
            Session { calls, ..session(11, caller) },
            subscriber,
            first,
            again,
            Session { attaches: wants, ..session(10, narrowed) },
            Session {
                sends: BTreeMap::from([("s0".to_owned(), 0)]),
                whole: 1,
                written: 1000,
                left: true,
                ..session(9, vec![hello(2, 9)])
            },
        ],
        slow_client: "gap",
        clients: 14,
        memory: (1, 2),
        ..Record::default()
    }
}

fn asked(id: u64, call: Call) -> Asked {
    let text = call.text(SEED, Some(&id.to_string()));
    Asked { at: Duration::from_secs(3), id, text, what: What::Call(call) }
}

fn attempts() -> Vec<Attempt> {
    let talked = |from: u64, at: f32, begun: u64, sends: &[(u64, u64)]| Attempt {
        topics: (0..begun).map(|at| topic(from * EACH + at).map(str::to_owned)).collect(),
        at: Duration::from_secs_f32(at),
        upgraded: true,
        begun,
        whole: begun,
        read_to_end: true,
        received: sends.iter().map(|(of, k)| send(SEED, *of, *k)).collect(),
        ..Attempt::default()
    };
    vec![
        Attempt { closed: Some("storm 0".into()), ..talked(0, 0.1, 6, &[(2, 0), (9, 0), (2, 1)]) },
        Attempt {
            at: Duration::from_secs(1),
            retry_after: Some(Duration::from_secs(1)),
            ..Attempt::default()
        },
        talked(2, 2.5, 4, &[(2, 3), (2, 4)]),
    ]
}

/// The entries, from 1 to 18.
fn log() -> Vec<Vec<u8>> {
    let mut log = Vec::new();
    let link = |log: &mut Vec<Vec<u8>>, what: &str| {
        log.push(text(&format!("{{\"type\":\"link\",\"seq\":{},\"time_us\":1,{what}}}", log.len() + 1)));
    };
    link(&mut log, "\"state\":\"connecting\",\"conn\":0");
    link(&mut log, "\"state\":\"up\",\"conn\":1");
    (0..6).for_each(|n| said(&mut log, n));
    link(&mut log, "\"state\":\"waiting\",\"conn\":1,\"code\":1011,\"reason\":\"storm 0\"");
    link(&mut log, "\"state\":\"connecting\",\"conn\":1,\"code\":1011,\"reason\":\"storm 0\"");
    link(&mut log, "\"state\":\"waiting\",\"conn\":1,\"http_status\":503");
    link(&mut log, "\"state\":\"connecting\",\"conn\":1,\"http_status\":503");
    link(&mut log, "\"state\":\"up\",\"conn\":2");
    (2 * EACH..2 * EACH + 4).for_each(|n| said(&mut log, n));
    link(&mut log, "\"state\":\"closed\",\"conn\":2");
    log
}

fn said(log: &mut Vec<Vec<u8>>, n: u64) {
    log.push(line(SEED, log.len() as u64 + 1, n, topic(n)));
}

/// Every second message is of one.
fn topic(n: u64) -> Option<&'static str> {
    n.is_multiple_of(2).then_some("btc.trades")
}

/// The line of a log that holds message `n` of a storm, which was said to be of a topic.
pub(crate) fn line(seed: u64, seq: u64, n: u64, topic: Option<&str>) -> Vec<u8> {
    let message = message(seed, n, topic);
    let is_json = matches!(&message, Payload::Text(text) if text.starts_with('{'));
    let topic = topic.filter(|_| is_json).map_or(String::new(), |topic| format!("\"topic\":\"{topic}\","));
    let payload = match message {
        Payload::Text(text) if text.starts_with('{') => format!("\"json\":{}", one_line(&text)),
        Payload::Text(text) => format!("\"text\":{}", serde_json::to_string(&text).expect("text is JSON")),
        Payload::Binary(bytes) => format!("\"binary\":\"{}\"", STANDARD.encode(bytes)),
    };
    text(&format!("{{\"type\":\"message\",\"seq\":{seq},\"time_us\":1,{topic}{payload}}}"))
}

fn hello(seq: u64, client: u64) -> Vec<u8> {
    text(&format!(
        "{{\"type\":\"hello\",\"protocol\":1,\"epoch\":\"{EPOCH}\",\"seq\":{seq},\"client\":{client}}}"
    ))
}

fn text(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}
