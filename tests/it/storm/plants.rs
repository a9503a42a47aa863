//! The judge on trial: a small record in which all is well, and faults planted in it, one at a time. Each must
//! be found, and by its name. The same faults are planted in what a real storm left.

use std::time::Duration;

use fastrand::Rng;
use serde_json::Value;

use super::{
    calls::{Asked, What},
    oracle::{Head, head, judge, number},
    payload::{EACH, Payload, raw_number, send_key},
    plan::Plan,
    record::{Attempt, Record, Session},
    run, specimen,
    units::Unit,
};

mod changes;

use changes::{
    arrived, asked, entry, everywhere, inner_message, is_answer, is_bye, is_gap, is_slow_gap, is_status,
    line, named, narrowed, of_life, renumber, replace, topics, written, written_send,
};

/// Plants the fault somewhere. `false`: there is no place for it.
type Plant = fn(&mut Record, &mut Rng) -> bool;

/// What is planted, the beginning of the judge's sentence about it, and how.
const PLANTS: [(&str, &[&str], Plant); 53] = [
    ("an entry is dropped", &["order"], |record, rng| entry(record, rng, |lines, at| drop(lines.remove(at)))),
    ("an entry comes twice", &["order"], |record, rng| {
        entry(record, rng, |lines, at| lines.insert(at, lines[at].clone()))
    }),
    ("two entries change places", &["order"], |record, rng| {
        entry(record, rng, |lines, at| lines.swap(at, at - 1))
    }),
    ("one client gets other bytes than the rest", &["entries", "message"], |record, rng| {
        entry(record, rng, |lines, at| *lines[at].last_mut().unwrap() = b' ')
    }),
    ("all clients get other bytes than the server said", &["message"], |record, rng| {
        everywhere(record, rng, |line| {
            let at = line.len() - 3;
            line[at] ^= 1;
        })
    }),
    ("all clients get a message that the server never said", &["message", "order", "loss"], |record, rng| {
        let Some(attempt) = record.attempts.iter().rposition(|attempt| attempt.begun > 0) else {
            return false;
        };
        let _ = rng;
        record.attempts[attempt].begun = 0;
        true
    }),
    ("the log lacks a message", &["loss"], |record, _| {
        // as if the next entry had the number of the lost one
        let Some((epoch, gone, newest)) = inner_message(record) else { return false };
        for session in of_life(record, &epoch) {
            session.lines.retain(|line| head(line) != Head::Entry(gone));
            for line in &mut session.lines {
                for seq in gone + 1..=newest {
                    if head(line) == Head::Entry(seq) {
                        renumber(line, seq, seq - 1);
                        break;
                    }
                }
            }
        }
        true
    }),
    ("the last messages before a close are lost", &["loss"], |record, _| {
        let Record { attempts, sessions, .. } = record;
        let mut closed = attempts.iter_mut().filter(|attempt| attempt.whole > 0);
        closed.any(|attempt| {
            let Some(reason) = &attempt.closed else { return false };
            let waiting = |line: &Vec<u8>| {
                let line = String::from_utf8_lossy(&line[..line.len().min(400)]);
                line.contains("\"waiting\"") && line.contains(&format!("\"reason\":\"{reason}\""))
            };
            attempt.whole += 100_000;
            sessions.iter().any(|session| session.lines.iter().any(waiting))
        })
    }),
    ("a gap is hidden", &["order", "lines"], |record, rng| {
        line(record, rng, is_gap, |lines, at| drop(lines.remove(at)))
    }),
    ("a gap has a wrong count", &["gap"], |record, rng| {
        line(record, rng, is_slow_gap, |lines, at| replace(&mut lines[at], "\"count\":", "\"count\":1"))
    }),
    ("a gap begins too late", &["gap"], |record, rng| {
        line(record, rng, is_slow_gap, |lines, at| replace(&mut lines[at], "\"from\":", "\"from\":9"))
    }),
    ("the link's state is missing after a gap", &["order"], |record, rng| {
        line(record, rng, is_gap, |lines, at| drop(lines.remove(at + 1)))
    }),
    ("a client is said to have fallen behind where none can", &["gap"], |record, _| {
        record.slow_client = "block";
        record.sessions.iter().any(|session| session.lines.iter().any(|line| is_slow_gap(line)))
    }),
    ("an attach goes on elsewhere", &["order"], |record, _| {
        // one that is given everything, and its next entry
        record.sessions.iter_mut().filter(|session| session.taste.is_none()).any(|session| {
            let hello = String::from_utf8_lossy(session.lines.first().map_or(&[], Vec::as_slice));
            let mut whole = session.attaches.iter_mut().filter(|(_, attach)| attach.topics.is_none());
            whole.any(|(id, attach)| {
                let Some((epoch, seq)) = &mut attach.since else { return false };
                let answer = format!("{{\"type\":\"ok\",\"id\":\"{id}\"").into_bytes();
                let after = session.lines.iter().skip_while(|line| !line.starts_with(&answer));
                let next = after.map(|line| head(line)).find(|head| *head != Head::Other);
                let goes_on = *seq > 0 && hello.contains(&*epoch) && next == Some(Head::Entry(*seq + 1));
                *seq -= u64::from(goes_on);
                goes_on
            })
        })
    }),
    ("a written send never arrives", &["fate"], |record, rng| {
        arrived(record, rng, |received, at| drop(received.remove(at)))
    }),
    ("a send arrives twice", &["send", "fate"], |record, rng| {
        arrived(record, rng, |received, at| received.push(received[at].clone()))
    }),
    ("a send is altered", &["send"], |record, rng| {
        arrived(record, rng, |received, at| match &mut received[at] {
            Payload::Text(text) => text.push(' '),
            Payload::Binary(bytes) => bytes.push(0),
        })
    }),
    ("two sends change places", &["send"], |record, _| {
        // those of the same client
        let keys = |payload: &Payload| send_key(payload).map(|key| key.0);
        record.attempts.iter_mut().any(|attempt| {
            let two = attempt.received.windows(2).position(|two| keys(&two[0]) == keys(&two[1]));
            two.inspect(|at| attempt.received.swap(*at, at + 1)).is_some()
        })
    }),
    ("a send that arrived is said to have failed", &["fate"], |record, rng| {
        written(record, rng, |lines, at| {
            let id = String::from_utf8_lossy(&lines[at]).split('"').nth(7).unwrap().to_owned();
            lines[at] = format!("{{\"type\":\"error\",\"id\":\"{id}\",\"code\":\"link_down\"}}").into_bytes();
        })
    }),
    ("a fate is never told", &["fate"], |record, _| {
        let last = record.lives.last().unwrap().epoch.clone();
        of_life(record, &last).into_iter().filter(|session| !session.left).any(|session| {
            let is_told = session.lines.last().is_some_and(|line| is_bye(line));
            let at = session.lines.iter().position(|line| written_send(session, line).is_some());
            at.filter(|_| is_told).inspect(|at| drop(session.lines.remove(*at))).is_some()
        })
    }),
    ("a fate is told twice", &["fate"], |record, rng| {
        written(record, rng, |lines, at| lines.insert(at, lines[at].clone()))
    }),
    ("an answer comes that nobody asked for", &["lines"], |record, rng| {
        line(record, rng, is_bye, |lines, at| {
            lines.insert(at, b"{\"type\":\"error\",\"code\":\"bad_json\",\"message\":\"\"}".to_vec());
        })
    }),
    ("a ledger doesn't balance", &["ledger"], |record, rng| {
        line(record, rng, is_status, |lines, at| replace(&mut lines[at], "\"ahead\":", "\"ahead\":1"))
    }),
    ("a client is cut off", &["end"], |record, rng| {
        line(record, rng, is_bye, |lines, at| drop(lines.remove(at)))
    }),
    ("a client is cut off, and the log tells of another", &["end"], |record, rng| {
        // no client has the number 0
        record.lives.iter_mut().for_each(|life| {
            life.log += "INFO cut off a client client=0 pid=1 why=\"slow_client\"\n";
            life.log += "WARN disconnected a client that had stopped reading: more was held client=0 pid=1\n";
        });
        line(record, rng, is_bye, |lines, at| drop(lines.remove(at)))
    }),
    ("a client is refused for a short line", &["room"], |record, rng| {
        record.unfinished = Some(record.clients << 30);
        line(record, rng, is_bye, |lines, at| {
            lines.insert(at, b"{\"type\":\"error\",\"code\":\"no_room\",\"message\":\"\"}".to_vec());
        })
    }),
    ("a client isn't given the rest at a stop", &["bye", "end"], |record, rng| {
        line(record, rng, is_bye, |lines, at| {
            let last = lines.iter().rposition(|line| head(line) != Head::Other).unwrap_or(at);
            lines.remove(last);
        })
    }),
    ("a raw listener leaves out a line", &["raw"], |record, _| {
        let mut raw = record.sessions.iter_mut().filter(|session| session.raw);
        raw.any(|session| {
            let number = |line: &Vec<u8>| raw_number(line).unwrap_or(0);
            let inner = session.lines.windows(3).position(|three| number(&three[0]) + 2 == number(&three[2]));
            inner.inspect(|at| drop(session.lines.remove(at + 1))).is_some()
        })
    }),
    ("a Retry-After isn't kept", &["link"], |record, _| {
        record.interventions.clear();
        let at = record.attempts.iter().position(|attempt| attempt.retry_after.is_some());
        let Some(at) = at.filter(|at| at + 1 < record.attempts.len()) else { return false };
        record.attempts[at + 1].at = record.attempts[at].at + Duration::from_millis(900);
        true
    }),
    ("connections are made that nobody is told of", &["link"], |record, _| {
        record.attempts.extend((0..1000).map(|_| Attempt::default()));
        let life = record.lives.last_mut().unwrap();
        life.attempts.end += 1000;
        true
    }),
    ("two connections are heard at once", &["seats"], |record, _| {
        record.rotates = false;
        let seed = record.seed;
        let Some((epoch, seq, _)) = inner_message(record) else { return false };
        let life = record.lives.last().unwrap().attempts.clone();
        let mut others = of_life(record, &epoch).into_iter().flat_map(|session| &session.lines);
        let Some(other) = others.find_map(|line| number(seed, line)) else { return false };
        let mut inner = of_life(record, &epoch).into_iter().flat_map(|session| &session.lines);
        let inner = inner.find(|line| head(line) == Head::Entry(seq)).and_then(|line| number(seed, line));
        let other = other / EACH;
        if inner.is_none_or(|inner| inner / EACH <= other) || !life.contains(&(other as usize)) {
            return false;
        }
        let attempt = &mut record.attempts[other as usize];
        let at = attempt.begun;
        attempt.begun += 1;
        for session in of_life(record, &epoch) {
            session.lines.iter_mut().filter(|line| head(line) == Head::Entry(seq)).for_each(|line| {
                *line = specimen::line(seed, seq, other * EACH + at, None);
            });
        }
        true
    }),
    ("the last messages of a connection that was taken over are lost", &["loss"], |record, _| {
        let life = record.lives.last().unwrap();
        let (from, until) = (life.attempts.start, life.until);
        let early = |attempt: &&mut Attempt| attempt.ended + Duration::from_secs(2) < until;
        let Some(attempt) = record.attempts[from..].iter_mut().find(early) else { return false };
        attempt.answered = Some("rotated".into());
        attempt.whole += 100_000;
        true
    }),
    ("a send of a client that closed at once is lost", &["left", "fate"], |record, _| {
        let life = record.lives.last_mut().unwrap();
        let rest = life.log.lines().filter(|line| !line.contains("isn't sent") && !line.contains("cut off"));
        life.log = rest.map(|line| format!("{line}\n")).collect();
        life.until += Duration::from_secs(2);
        let time = (life.from, life.from);
        let attempts = life.attempts.clone();
        let closed = record.sessions.iter().filter(|session| session.whole > 0 && !session.lines.is_empty());
        for number in closed.map(|session| session.number).collect::<Vec<_>>() {
            let of = |payload: &Payload| send_key(payload).is_some_and(|(of, _)| of == number);
            for attempt in &mut record.attempts[attempts.clone()] {
                attempt.read_to_end = true;
                if let Some(at) = attempt.received.iter().position(of) {
                    attempt.received.remove(at);
                    let session =
                        record.sessions.iter_mut().find(|session| session.number == number).unwrap();
                    session.time = time;
                    record.attempts.iter_mut().for_each(|attempt| attempt.read_to_end = true);
                    return true;
                }
            }
        }
        false
    }),
    ("a message is given another topic", &["topic"], |record, _| {
        let topics = record.attempts.iter_mut().flat_map(|attempt| &mut attempt.topics);
        topics.flatten().map(|topic| *topic = "another".into()).count() > 0
    }),
    ("a client that narrows doesn't get what it wants", &["order"], |record, _| {
        narrowed(record, |lines, at| drop(lines.remove(at)))
    }),
    ("a client that narrows gets what it doesn't want", &["order"], |record, _| {
        // one that has got some of what it wanted
        let has_topic = |line: &Vec<u8>| {
            let line = String::from_utf8_lossy(&line[..line.len().min(100)]);
            line.starts_with("{\"type\":\"message\"") && line.contains("\"topic\":\"btc")
        };
        let got = |session: &&mut Session| {
            session.attaches.len() > 1
                && session.attaches.values().all(|attach| attach.topics.is_some())
                && session.lines.iter().skip_while(|line| !line.starts_with(ATTACHED)).any(has_topic)
        };
        let narrow = record.sessions.iter_mut().filter(got).flat_map(|session| session.attaches.values_mut());
        let narrow = narrow.filter_map(|attach| attach.topics.as_mut()).filter(|topics| !topics.is_empty());
        narrow.map(|topics| *topics = vec!["nothing".into()]).count() > 0
    }),
    ("what a client doesn't want counts as delivered", &["ledger"], |record, _| {
        let mut narrow = record.sessions.iter_mut().filter(|session| !session.attaches.is_empty());
        narrow.any(|session| {
            let mut statuses = session.lines.iter_mut().filter(|line| is_status(line));
            statuses.any(|line| {
                let Ok(mut status) = serde_json::from_slice::<Value>(line) else { return false };
                let rows = status["clients"].as_array_mut().into_iter().flatten();
                let mut own = rows.filter(|row| row["you"] == true && row["ledger"]["passed"] != 0);
                let Some(ledger) = own.next().map(|row| &mut row["ledger"]) else { return false };
                let of = |name: &str| ledger[name].as_u64().unwrap_or(0);
                let (delivered, passed) = (of("delivered"), of("passed"));
                (ledger["delivered"], ledger["passed"]) = ((delivered + 1).into(), (passed - 1).into());
                *line = status.to_string().into_bytes();
                true
            })
        })
    }),
    ("a request is altered", &["request"], |record, _| asked(record, |asked| asked[0].text.push(' '))),
    ("a request arrives twice", &["request"], |record, _| {
        asked(record, |asked| {
            let (mut again, last) = (asked[0].clone(), asked.last().map_or(0, |asked| asked.id));
            again.id = last + 1;
            again.text = again.text.replacen(&format!(":{}", asked[0].id), &format!(":{}", last + 1), 1);
            asked.push(again);
        })
    }),
    ("an id of wsfan's comes a second time", &["request"], |record, _| {
        asked(record, |asked| {
            let id = asked[0].id;
            asked.iter_mut().for_each(|asked| asked.id = id);
        })
    }),
    ("an answer comes twice", &["answer"], |record, rng| {
        line(record, rng, is_answer, |lines, at| lines.insert(at, lines[at].clone()))
    }),
    ("another client's answer comes", &["answer"], |record, rng| {
        line(record, rng, is_answer, |lines, at| replace(&mut lines[at], "\"answer\":[", "\"answer\":[1"))
    }),
    ("an answer has an id that isn't the client's", &["answer"], |record, rng| {
        line(record, rng, is_answer, |lines, at| replace(&mut lines[at], "], \"id\":", "], \"id\":7"))
    }),
    ("a request that was answered is said to have failed", &["answer"], |record, rng| {
        line(record, rng, is_answer, |lines, at| {
            let id = String::from_utf8_lossy(&lines[at]).split('"').nth(7).unwrap().to_owned();
            // a stream whose end nobody told of may end with its connection, but not so
            let error = format!("{{\"type\":\"error\",\"id\":\"{id}\",\"code\":\"timeout\"}}");
            lines.insert(at + 1, error.into_bytes());
        })
    }),
    ("nothing is told of a request", &["answer"], |record, _| {
        let last = record.lives.last().unwrap().epoch.clone();
        of_life(record, &last).into_iter().filter(|session| !session.left).any(|session| {
            let asked = session.calls.keys().find(|id| id.starts_with('r')).cloned();
            let Some(id) = asked.filter(|_| session.lines.last().is_some_and(|line| is_bye(line))) else {
                return false;
            };
            let of = format!("\"id\":\"{id}\"");
            session.lines.retain(|line| !String::from_utf8_lossy(line).contains(&of));
            true
        })
    }),
    ("a topic is said a second time", &["topics"], |record, _| {
        topics(record, |asked, at| asked.push(Asked { id: u64::MAX, ..asked[at].clone() }))
    }),
    ("a topic is given up that a client has", &["topics"], |record, _| {
        record.rotates = false;
        let told = record.sessions.iter().find_map(|session| {
            let (_, sub) = session.subs.iter().find(|(_, sub)| matches!(sub.told, Some((_, true))))?;
            let (at, topics) = (sub.told?.0 + Duration::from_millis(1), sub.topics.clone());
            let is_sure = session.losses.is_empty() && session.subs.len() == 1 && at < session.until;
            is_sure.then_some((at, topics))
        });
        let Some((at, topics)) = told else { return false };
        let id = u64::MAX;
        let what = What::Topics { more: false, topics };
        record.attempts.last_mut().unwrap().asked.push(Asked { at, id, text: String::new(), what });
        true
    }),
    ("nothing is told of a subscription", &["subscriptions"], |record, _| {
        let last = record.lives.last().unwrap().epoch.clone();
        of_life(record, &last).into_iter().filter(|session| !session.left).any(|session| {
            let Some(id) = session.subs.keys().next().cloned() else { return false };
            let of = format!("\"id\":\"{id}\"");
            session.lines.retain(|line| !String::from_utf8_lossy(line).contains(&of));
            session.lines.last().is_some_and(|line| is_bye(line))
        })
    }),
    ("another message comes into a unit", &["unit"], |record, _| {
        record.attempts.iter_mut().any(|attempt| {
            let parts = &mut attempt.parts;
            let two = parts.windows(2).position(|two| two[0].unit == two[1].unit);
            two.inspect(|at| parts[at + 1..].iter_mut().for_each(|part| part.after += 1)).is_some()
        })
    }),
    ("a unit that arrived is said to have failed", &["unit"], |record, _| {
        let of = |session: &Session, unit: Unit| session.number == unit.session;
        let came: Vec<Unit> =
            record.attempts.iter().flat_map(|attempt| &attempt.parts).map(|part| part.unit).collect();
        came.into_iter().any(|unit| {
            let session = record.sessions.iter_mut().find(|session| of(session, unit));
            let Some(session) = session else { return false };
            let id = session.units.iter().find(|(_, k)| **k == unit.k).map(|(id, _)| id.clone());
            let told =
                format!("{{\"type\":\"ok\",\"id\":\"{}\",\"result\":\"written\"", id.unwrap_or_default());
            let line = session.lines.iter_mut().find(|line| line.starts_with(told.as_bytes()));
            line.map(|line| {
                *line = String::from_utf8_lossy(line)
                    .replace("\"ok\"", "\"error\"")
                    .replace("\"result\":\"written\"", "\"code\":\"link_down\"")
                    .into_bytes();
            })
            .is_some()
        })
    }),
    ("who comes back by a name goes on after what it hasn't read", &["name"], |record, _| {
        let numbers = named(record);
        if record.seed != specimen::SEED {
            return false;
        }
        let earlier = numbers.len().saturating_sub(1);
        let sessions =
            record.sessions.iter_mut().filter(|session| numbers[..earlier].contains(&session.number));
        sessions.map(|session| session.lines.retain(|line| head(line) == Head::Other)).count() > 0
    }),
    ("a place that is kept is lost", &["name"], |record, _| {
        let numbers = named(record);
        let Some(last) = numbers.last().filter(|_| record.seed == specimen::SEED) else { return false };
        let session = record.sessions.iter_mut().find(|session| session.number == *last).unwrap();
        let answer = session.lines.iter_mut().find(|line| line.starts_with(ATTACHED));
        answer.map(|line| replace(line, "\"seq\":", "\"new\":true,\"seq\":")).is_some()
    }),
    ("more memory is taken", &["memory"], |record, _| {
        record.memory.0 = record.memory.1 + 1;
        true
    }),
];

/// How what came of an attach begins, if it is good.
const ATTACHED: &[u8] = b"{\"type\":\"ok\",\"id\":\"t";

/// A short storm without a kill.
const STORM: u64 = 2;

#[test]
fn all_is_well_where_all_is_well() {
    let faults = judge(&specimen::record());
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn each_planted_fault_is_found() {
    for (what, names, plant) in PLANTS {
        for seed in 0..4 {
            let mut record = specimen::record();
            assert!(plant(&mut record, &mut Rng::with_seed(seed)), "there is no place for it: {what}");
            found(&record, what, names);
        }
    }
}

#[test]
fn what_may_be_as_it_should_is_no_fault() {
    let lost = |record: &mut Record| {
        let (_, _, plant) = PLANTS.iter().find(|(what, ..)| *what == "a place that is kept is lost").unwrap();
        assert!(plant(record, &mut Rng::with_seed(0)), "there is no place for it");
    };
    // another has taken over from it, long before it read of that
    let mut record = specimen::record();
    lost(&mut record);
    record.lives.last_mut().unwrap().log += "DEBUG cut off a client client=13 pid=1 why=\"taken_over\"\n";
    let faults = judge(&record);
    assert!(!faults.iter().any(|fault| fault.starts_with("name")), "{faults:#?}");
    // it left before it read that its name is new, and at which entry it begins
    let mut record = specimen::record();
    let first = named(&record)[0];
    let left = record.sessions.iter_mut().find(|session| session.number == first).unwrap();
    left.lines.truncate(1);
    let faults = judge(&record);
    assert!(!faults.iter().any(|fault| fault.starts_with("name")), "{faults:#?}");
}

#[test]
fn each_planted_fault_is_found_in_what_a_real_storm_left() {
    let record = run::run(&Plan::new(STORM));
    let faults = judge(&record);
    assert!(faults.is_empty(), "storm {STORM}: {faults:#?}");
    let mut planted = Vec::new();
    for (what, names, plant) in PLANTS {
        let mut record = record.clone();
        if plant(&mut record, &mut Rng::with_seed(STORM)) {
            found(&record, what, names);
            planted.push(what);
        }
    }
    assert!(planted.len() > PLANTS.len() / 2, "only {planted:?}");
}

fn found(record: &Record, what: &str, names: &[&str]) {
    let faults = judge(record);
    let by_name = faults.iter().any(|fault| names.iter().any(|name| fault.starts_with(name)));
    assert!(by_name, "{what}, and the judge said {faults:#?}");
}
