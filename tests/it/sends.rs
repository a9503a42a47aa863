//! What local programs send, through the real daemon: a whole line that was received is carried out,
//! whatever becomes of who wrote it.

use std::{collections::BTreeSet, io::Write, net::Shutdown, os::unix::net::UnixStream};

use serde_json::json;
use tokio_tungstenite::tungstenite;

use crate::common::{self, Client, Connection, Daemon, Server, connected};

const BOTH: &str = "[[listener]]\npath = \"SOCKET\"\n[[listener]]\npath = \"SOCKET.raw\"\nformat = \"raw\"\n";

fn raw(daemon: &Daemon) -> UnixStream {
    UnixStream::connect(daemon.socket().with_extension("sock.raw")).unwrap()
}

/// The next messages of the upstream, which come in any order.
fn texts(upstream: &mut Connection, count: usize) -> BTreeSet<String> {
    (0..count).map(|_| upstream.message().into_text().unwrap().to_string()).collect()
}

#[test]
fn sends_of_a_client_that_writes_and_closes_are_all_sent() {
    let (_server, daemon, mut upstream) = connected("");
    let mut expected = BTreeSet::new();
    for client in 0..100 {
        // hello is never read: the close is a reset, and each answer meets a broken connection
        let mut stream = UnixStream::connect(daemon.socket()).unwrap();
        for n in 0..5 {
            let line = json!({"op": "send", "id": n, "text": format!("{client} {n}")});
            stream.write_all(format!("{line}\n").as_bytes()).unwrap();
            expected.insert(format!("{client} {n}"));
        }
    }
    assert_eq!(texts(&mut upstream, 500), expected);
    daemon.client().until_clients(1);
}

#[test]
fn sends_of_a_client_that_has_read_all_and_closes_are_all_sent() {
    let (_server, daemon, mut upstream) = connected("");
    let mut expected = BTreeSet::new();
    for n in 0..50 {
        let mut client = daemon.client();
        let lines =
            (0..20).map(|line| json!({"op": "send", "text": format!("{n} {line}")}).to_string() + "\n");
        client.write(lines.collect::<String>().as_bytes());
        expected.extend((0..20).map(|line| format!("{n} {line}")));
    }
    assert_eq!(texts(&mut upstream, 1000), expected);
    daemon.client().until_clients(1);
}

#[test]
fn a_client_that_only_writes_is_heard_to_its_end() {
    let (_server, daemon, mut upstream) = connected("");
    let mut stream = UnixStream::connect(daemon.socket()).unwrap();
    stream.shutdown(Shutdown::Read).unwrap();
    for n in 0..1000 {
        stream
            .write_all(format!("{}\n", json!({"op": "send", "id": n, "text": n.to_string()})).as_bytes())
            .unwrap();
        if n % 100 == 0 {
            // entries meet a broken connection as well
            upstream.text("1");
        }
    }
    let mut witness = daemon.client();
    witness.until_clients(2); // it is a client like any other
    drop(stream);
    let seen: Vec<String> = (0..1000).map(|_| upstream.message().into_text().unwrap().to_string()).collect();
    assert_eq!(seen, (0..1000).map(|n| n.to_string()).collect::<Vec<_>>());
    witness.until_clients(1);
}

#[test]
fn a_raw_client_that_writes_and_closes_is_heard_to_its_end() {
    let (_server, daemon, mut upstream) = connected(BOTH);
    let mut expected = BTreeSet::new();
    for client in 0..50 {
        let mut stream = raw(&daemon);
        upstream.text("1"); // which it doesn't read
        for n in 0..20 {
            stream.write_all(format!("{client} {n}\n").as_bytes()).unwrap();
            expected.insert(format!("{client} {n}"));
        }
    }
    assert_eq!(texts(&mut upstream, 1000), expected);
    daemon.client().until_clients(1);
}

#[test]
fn who_asks_without_reading_the_answers_is_read_no_further_and_loses_none() {
    let (_server, daemon, _upstream) = connected("");
    let mut greedy = daemon.client();
    let mut writer = greedy.stream().try_clone().unwrap();
    // far more than all buffers on the way hold together
    let count = 30_000;
    let asking = std::thread::spawn(move || {
        for n in 0..count {
            writer.write_all(format!("{{\"op\":\"ping\",\"id\":{n}}}\n").as_bytes()).unwrap();
        }
    });
    // it is held up, and nobody else is
    let mut witness = daemon.client();
    let full = loop {
        let status = witness.status();
        let unread = status["clients"][0]["unread_reply_bytes"].as_u64().unwrap();
        if unread > 64 << 10 {
            break unread;
        }
    };
    assert!(full < 128 << 10, "{full}");
    assert!(!asking.is_finished());
    for n in 0..count {
        assert_eq!(greedy.until(|line| line["type"] == "ok")["id"], n);
    }
    asking.join().unwrap();
}

#[test]
fn who_asks_without_reading_and_leaves_is_heard_to_its_end() {
    let (_server, daemon, mut upstream) = connected("");
    let mut client = daemon.client();
    client.write(&b"{\"op\":\"ping\",\"id\":1}\n".repeat(8000));
    client.write(b"{\"op\":\"send\",\"text\":\"last\"}\n");
    let mut witness = daemon.client();
    let begun = std::time::Instant::now();
    while witness.status()["clients"][0]["unread_reply_bytes"].as_u64() <= Some(64 << 10) {
        assert!(begun.elapsed() < common::DEADLINE);
    }
    assert_eq!(witness.status()["traffic"]["sent"], 0, "it is read no further");
    drop(client);
    assert_eq!(upstream.message().into_text().unwrap(), "last");
    witness.until_clients(1);
}

#[test]
fn a_flood_under_a_rate_limit_delays_nobody_else_and_ends_with_who_sent_it() {
    let (_server, daemon, mut upstream) = connected("[limits]\nmessages = [\"20/1s\"]\n");
    std::thread::spawn(move || while upstream.socket.read().is_ok() {});
    let flooder = daemon.client();
    let mut writer = flooder.stream().try_clone().unwrap();
    let flood = std::thread::spawn(move || {
        let lines = b"{\"op\":\"send\",\"json\":1}\n".repeat(1000);
        while writer.write_all(&lines).is_ok() {}
    });
    let mut client = daemon.client();
    // until the flood waits
    let begun = std::time::Instant::now();
    while client.status()["traffic"]["sent"].as_u64() < Some(20) {
        assert!(begun.elapsed() < common::DEADLINE);
    }
    // every second message that is let out is its own: a window, and the rest of one
    let ten = |client: &mut Client| {
        for id in (0..10).map(|n| client.ask(json!({"op": "send", "json": n}))).collect::<Vec<_>>() {
            assert_eq!(client.until(|line| line["id"] == id)["result"], "written");
        }
    };
    let begun = std::time::Instant::now();
    ten(&mut client);
    assert!(begun.elapsed() < common::DEADLINE, "{:?}", begun.elapsed());
    // who floods and goes leaves at most what was read of it, which takes turns as well
    flooder.stream().shutdown(Shutdown::Both).unwrap();
    flood.join().unwrap();
    drop(flooder);
    let begun = std::time::Instant::now();
    ten(&mut client);
    assert!(begun.elapsed() < common::DEADLINE, "{:?}", begun.elapsed());
}

#[test]
fn a_send_that_fails_when_its_client_has_gone_is_counted() {
    let (_server, daemon, mut upstream) = connected("");
    let mut client = daemon.client();
    client.request(json!({"op": "close"}));
    upstream.closed();
    client.link("closed");
    let mut gone = UnixStream::connect(daemon.socket()).unwrap();
    gone.shutdown(Shutdown::Read).unwrap(); // no answer gets in before it closes
    gone.write_all(b"{\"op\":\"send\",\"id\":1,\"text\":\"a\"}\n{\"op\":\"send\",\"text\":\"b\"}\n").unwrap();
    drop(gone);
    daemon.logged("the client that sent it has gone");
    client.until_clients(1);
    let status = client.status();
    assert_eq!(status["sends"]["dropped"], 2);
    assert_eq!(status["counters"]["failed_sends"]["link_down"], 2);
    let link = &status["counters"]["link"];
    assert_eq!([&link["attempts"], &link["up"], &link["closed"], &link["lost"]], [1, 1, 1, 0], "{link}");
}

/// Seldom as a warning, since clients cause it; and each one at `debug`.
#[test]
fn each_send_that_nobody_can_be_told_of_is_in_the_log_at_debug() {
    let (_server, daemon, mut upstream) = connected("[log]\nlevel = \"debug\"\n");
    let mut client = daemon.client();
    client.request(json!({"op": "close"}));
    upstream.closed();
    client.link("closed");
    for n in 2..5 {
        let mut gone = UnixStream::connect(daemon.socket()).unwrap();
        gone.shutdown(Shutdown::Read).unwrap();
        gone.write_all(b"{\"op\":\"send\",\"id\":1,\"text\":\"a\"}\n").unwrap();
        drop(gone);
        daemon.logged(&format!("the client that sent it has gone client={n}"));
        client.until_clients(1);
    }
    let log = daemon.log();
    let warnings = log.lines().filter(|line| line.contains("WARN") && line.contains("has gone")).count();
    assert_eq!(warnings, 1, "{log}");
}

/// A unit of three: a header and two more, as programs of one protocol say them.
fn unit(who: &str, n: usize) -> serde_json::Value {
    let messages: Vec<_> = (0..3).map(|part| json!({"text": format!("{who} {n} {part}")})).collect();
    json!({"op": "send", "messages": messages})
}

/// Checks that these are whole units, and that each program's come in order.
fn assert_units(texts: &[String]) {
    let mut next = std::collections::BTreeMap::<String, usize>::new();
    for unit in texts.chunks(3) {
        let head =
            unit[0].strip_suffix(" 0").unwrap_or_else(|| panic!("{unit:?} stands where a unit begins"));
        assert_eq!(unit[1..], [format!("{head} 1"), format!("{head} 2")]);
        let (who, n) = head.split_once(' ').unwrap();
        let next = next.entry(who.to_owned()).or_default();
        assert_eq!(n, next.to_string(), "{who}");
        *next += 1;
    }
}

/// The next texts of the upstream.
fn in_order(upstream: &mut Connection, count: usize) -> Vec<String> {
    (0..count).map(|_| upstream.message().into_text().unwrap().to_string()).collect()
}

#[test]
fn units_of_several_programs_and_the_heartbeat_never_stand_in_one_another() {
    let server = Server::bind();
    let beat = "[heartbeat]\nkind = \"message\"\nmessage = \"beat\"\ninterval = \"1s\"\nfirst = \"now\"\n[[reply]]\nmatch = \"hello\"\nsend = \"reply\"\n";
    let daemon = Daemon::start(&(server.config() + beat));
    let mut upstream = server.accept();
    let writers: Vec<_> = ["a", "b"]
        .map(|who| {
            let mut client = daemon.client();
            client.until_up();
            std::thread::spawn(move || {
                let ids: Vec<_> = (0..200).map(|n| client.ask(unit(who, n))).collect();
                for id in ids {
                    let line = client.until(|line| line["id"] == id);
                    assert_eq!(line["result"], "written", "{line}");
                }
            })
        })
        .into();
    // what wsfan itself says meanwhile
    (0..50).for_each(|_| upstream.text("hello"));
    let (mut seen, mut own) = (Vec::new(), 0);
    while seen.len() < 1200 || own < 51 {
        let text = upstream.message().into_text().unwrap().to_string();
        if text == "beat" || text == "reply" {
            assert_eq!(seen.len() % 3, 0, "{text} stands within a unit: {:?}", seen.last());
            own += 1;
        } else {
            seen.push(text);
        }
    }
    assert_units(&seen);
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    assert_eq!(daemon.client().status()["traffic"]["sent"], 1200, "each message counts");
}

#[test]
fn units_stay_whole_while_connections_take_over_from_one_another() {
    let server = Server::bind();
    let rotate = "[rotate]\nwhen = \"go\"\noverlap = \"1s\"\n";
    let daemon = Daemon::start(&(server.config() + rotate));
    let mut upstream = server.accept();
    let mut client = daemon.client();
    client.until_up();
    let mut n = 0;
    let mut texts = Vec::new();
    for round in 0..3 {
        let mut ask = |count: usize| -> Vec<_> {
            (0..count)
                .map(|_| {
                    n += 1;
                    client.ask(unit("a", n - 1))
                })
                .collect()
        };
        let mut ids = ask(20);
        upstream.text("go");
        ids.extend(ask(20));
        let mut next = server.accept();
        ids.extend(ask(20));
        let mut waiting: BTreeSet<_> = ids.iter().map(|id| id.as_u64().unwrap()).collect();
        let mut is_next = false;
        while !waiting.is_empty() || !is_next {
            let line = client.line();
            is_next |= line["type"] == "link" && line["conn"] == round + 2;
            if let Some(id) = line["id"].as_u64() {
                assert_eq!(line["result"], "written", "{line}");
                waiting.remove(&id);
            }
        }
        // what the old one had, to its end; then the rest
        while let Ok(message) = upstream.socket.read() {
            if let tungstenite::Message::Text(text) = message {
                texts.push(text.to_string());
            }
        }
        assert!(texts.len().is_multiple_of(3), "no unit is torn apart");
        let rest = 3 * n - texts.len();
        texts.extend(in_order(&mut next, rest));
        upstream = next;
    }
    assert_units(&texts);
}

#[test]
fn a_unit_counts_as_its_messages_and_one_that_could_never_fit_is_refused() {
    let limits = "[limits]\nmessages = \"4/1s\"\nreserve = 1\nmax_message = 64\n";
    let (_server, daemon, mut upstream) = connected(limits);
    let mut client = daemon.client();
    client.until_up();
    let refused = client.request(json!({"op": "send", "messages": vec![json!({"text": "x"}); 4]}));
    assert_eq!(refused["code"], "too_large", "{refused}");
    let most = "the unit has more messages than limits.messages ever let out at once, which is 3";
    assert_eq!(refused["message"], most);
    let long = json!({"text": "x".repeat(65)});
    let refused = client.request(json!({"op": "send", "messages": [json!({"text": "x"}), long]}));
    assert_eq!(refused["message"], "the message is over the 64 bytes of limits.max_message");
    let (one, other) = (client.ask(unit("a", 0)), client.ask(unit("a", 1)));
    let mut texts = in_order(&mut upstream, 3);
    client.until(|line| line["id"] == one);
    let begun = std::time::Instant::now();
    texts.extend(in_order(&mut upstream, 3));
    assert_units(&texts);
    assert!(begun.elapsed() > std::time::Duration::from_millis(500), "the limits hold for all of it");
    client.until(|line| line["id"] == other && line["result"] == "written");
}
