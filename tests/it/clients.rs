//! Local clients, good and bad, through the real daemon: nobody is slowed by another, nothing is
//! lost in silence, and nothing a client writes breaks anything.

use std::{
    fs,
    io::{Read, Write},
    net::Shutdown,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};

use crate::common::{self, Client, Daemon, assert_balanced, connected};

#[test]
fn every_client_sees_the_same_lines_in_the_same_order() {
    let (_server, daemon, mut upstream) = connected("");
    let mut clients: Vec<_> = (0..10).map(|_| daemon.client()).collect();
    for n in 0..100 {
        upstream.text(&format!("{{\"n\":{n}}}"));
    }
    let seen: Vec<Vec<String>> = clients
        .iter_mut()
        .map(|client| {
            let mut lines = Vec::new();
            while !lines.last().is_some_and(|line: &String| line.contains("\"json\":{\"n\":99}")) {
                lines.push(client.text());
            }
            lines.retain(|line| line.contains("\"message\""));
            lines
        })
        .collect();
    assert!(seen.iter().all(|lines| *lines == seen[0] && lines.len() == 100));
    assert_balanced(&clients[0].status());
}

#[test]
fn a_client_that_never_reads_holds_nobody_up_and_is_told_of_its_gap() {
    let (_server, daemon, mut upstream) = connected("[history]\nmax_bytes = \"256KiB\"\n");
    let mut stuck = daemon.client();
    let mut quick = daemon.client();
    let payload = format!("{{\"pad\":\"{}\"}}", "x".repeat(10_000));
    for _ in 0..500 {
        upstream.text(&payload);
        quick.message();
    }
    assert_balanced(&quick.status());
    // it reads again: what it has not got is declared, and what follows is whole
    let mut next = stuck.hello["seq"].as_u64().unwrap() + 1;
    let mut gaps = 0;
    let last = quick.status()["log"]["seq"].as_u64().unwrap();
    while next <= last {
        let line = stuck.line();
        match line["type"].as_str().unwrap() {
            "gap" => {
                assert_eq!(line["why"], "slow_client");
                assert_eq!(line["from"], next);
                let to = line["to"].as_u64().unwrap();
                assert_eq!(line["count"], to + 1 - next);
                next = to + 1;
                gaps += 1;
                let link = stuck.line();
                assert_eq!(
                    (&link["type"], &link["state"], &link["seq"]),
                    (&json!("link"), &json!("up"), &Value::Null)
                );
            }
            _ => {
                assert_eq!(line["seq"], next, "{line}");
                next += 1;
            }
        }
    }
    assert_eq!(gaps, 1);
    let status = quick.status();
    assert_balanced(&status);
    let lost: u64 =
        status["clients"].as_array().unwrap().iter().map(|c| c["ledger"]["lost"].as_u64().unwrap()).sum();
    assert!(lost > 0);
    let counted =
        json!({"slow_client": 1, "discarded": 0, "expired": 0, "epoch": 0, "conflated": 0, "entries": lost});
    assert_eq!(status["counters"]["gaps"], counted);
}

#[test]
fn many_clients_get_a_burst_also_where_no_file_may_be_written() {
    let (_server, daemon, mut upstream) = connected("");
    let mut clients: Vec<_> = (0..25).map(|_| daemon.client()).collect();
    // LimitFSIZE=0: writing to any file ends the process with a signal
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    prlimit(Pid::from_raw(daemon.pid() as i32), Resource::Fsize, none).unwrap();
    let payload = format!("{{\"pad\":\"{}\"}}", "x".repeat(100_000));
    for _ in 0..3 {
        upstream.text(&payload);
        clients
            .iter_mut()
            .for_each(|client| assert_eq!(client.message()["json"]["pad"].as_str().unwrap().len(), 100_000));
    }
}

#[test]
fn under_disconnect_a_slow_client_is_cut_off_and_the_others_are_not() {
    let (_server, daemon, mut upstream) =
        connected("[history]\nmax_bytes = \"256KiB\"\nslow_client = \"disconnect\"\n");
    let stuck = daemon.client();
    let mut quick = daemon.client();
    let payload = format!("{{\"pad\":\"{}\"}}", "x".repeat(10_000));
    for _ in 0..500 {
        upstream.text(&payload);
        quick.message();
    }
    quick.until_clients(1);
    let mut bytes = Vec::new();
    let _ = stuck.stream().take(10 << 20).read_to_end(&mut bytes); // ends: the connection is closed
    assert!(bytes.len() < 4 << 20);
    daemon.logged("WARN cut off a client");
}

#[test]
fn a_stop_that_cuts_clients_off_says_so_as_trouble() {
    let (_server, daemon, mut upstream) = connected("[shutdown]\ntimeout = \"500ms\"\n");
    let _stuck = daemon.client();
    let mut quick = daemon.client();
    upstream.text(&format!("\"{}\"", "x".repeat(1 << 20)));
    quick.message();
    daemon.signal("TERM");
    daemon.logged("WARN cut off clients that did not read to the end in time");
}

#[test]
fn clients_that_want_more_descriptors_leave_the_link_its_own() {
    for half_closed in [true, false] {
        let (server, daemon, mut upstream) = connected("");
        let mut witness = daemon.client();
        let limit = 110;
        let few = Rlimit { current: Some(limit), maximum: Some(limit) };
        prlimit(Pid::from_raw(daemon.pid() as i32), Resource::Nofile, few).unwrap();
        // as many as there may be
        let mut clients = Vec::new();
        loop {
            let mut client = Client::connect(&daemon.socket());
            if client.line()["type"] == "error" {
                break;
            }
            clients.push(client);
        }
        assert!(clients.len() > 30, "{}", clients.len());
        if half_closed {
            clients.iter().for_each(|client| client.stream().shutdown(Shutdown::Write).unwrap());
        } else {
            // more than a socket's buffers hold, and nobody reads
            upstream.text(&format!("\"{}\"", "x".repeat(1 << 20)));
            witness.message();
        }
        (0..3).for_each(|_| assert_eq!(witness.request(json!({"op": "ping"}))["result"], "pong"));
        let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap();
        let number =
            |entry: std::fs::DirEntry| entry.file_name().into_string().unwrap().parse::<u64>().unwrap();
        // what it was given by whoever started it may have a higher one
        let highest =
            open.map(|entry| number(entry.unwrap())).filter(|number| *number < limit).max().unwrap();
        // half of the 64 in reserve are for those who look after the daemon, as we do
        assert!(highest < limit - 30, "{highest}");
        upstream.drop_tcp();
        let _upstream = server.accept();
        witness.link("up");
    }
}

#[test]
fn under_block_nothing_is_lost_and_the_slowest_sets_the_pace() {
    let (_server, daemon, mut upstream) =
        connected("[history]\nmax_bytes = \"256KiB\"\nslow_client = \"block\"\nstall_timeout = \"30s\"\n");
    let mut slow = daemon.client();
    let mut quick = daemon.client();
    let payload = format!("\"{}\"", "x".repeat(10_000));
    // far more than all buffers on the way hold together: the server can't be done before it is read
    let flood = std::thread::spawn(move || {
        (0..3000).for_each(|_| upstream.text(&payload));
        upstream // its end, with a ping unread, would be a reset, and lose what is on its way
    });
    let start = slow.hello["seq"].as_u64().unwrap();
    for count in 1..=10 {
        assert_eq!(quick.message()["seq"], start + count);
    }
    assert!(!flood.is_finished());
    let reader = std::thread::spawn(move || {
        (11..=3000).for_each(|count| assert_eq!(quick.message()["seq"], start + count))
    });
    for count in 1..=3000 {
        let line = slow.line();
        assert_eq!((&line["type"], &line["seq"]), (&json!("message"), &json!(start + count)), "{line}");
    }
    let _upstream = flood.join().unwrap();
    reader.join().unwrap();
    let status = daemon.client().status();
    assert_balanced(&status);
    assert!(status["log"]["bytes"].as_u64().unwrap() < 1 << 20, "{}", status["log"]);
}

#[test]
fn under_block_a_client_that_has_just_come_loses_nothing() {
    let (_server, daemon, mut upstream) =
        connected("[history]\nmax_bytes = \"64KiB\"\nslow_client = \"block\"\n");
    let payload = format!("\"{}\"", "x".repeat(100_000));
    let enough = Arc::new(AtomicBool::new(false));
    let until = Arc::clone(&enough);
    let flood = std::thread::spawn(move || {
        while !until.load(Ordering::Relaxed) {
            upstream.text(&payload);
        }
    });
    for _ in 0..20 {
        let mut client = daemon.client();
        let start = client.hello["seq"].as_u64().unwrap();
        for count in 1..=6 {
            let line = client.line();
            assert_eq!(
                (&line["type"], &line["seq"]),
                (&json!("message"), &json!(start + count)),
                "{}",
                line["why"]
            );
        }
    }
    enough.store(true, Ordering::Relaxed);
    flood.join().unwrap();
}

#[test]
fn under_block_a_client_that_reads_nothing_is_cut_off_and_the_others_go_on() {
    let (_server, daemon, mut upstream) =
        connected("[history]\nmax_bytes = \"256KiB\"\nslow_client = \"block\"\nstall_timeout = \"4s\"\n");
    let stuck = daemon.client();
    let mut quick = daemon.client();
    let payload = format!("\"{}\"", "x".repeat(10_000));
    let flood = std::thread::spawn(move || {
        (0..1000).for_each(|_| upstream.text(&payload));
        upstream
    });
    let start = quick.hello["seq"].as_u64().unwrap();
    for count in 1..=1000 {
        assert_eq!(quick.message()["seq"], start + count);
    }
    let _upstream = flood.join().unwrap();
    quick.until_clients(1);
    drop(stuck);
}

#[test]
fn a_raw_client_gets_payloads_alone_and_is_cut_off_rather_than_lied_to() {
    let (_server, daemon, mut upstream) = connected(
        "[history]\nmax_bytes = \"256KiB\"\n[[listener]]\npath = \"SOCKET\"\n[[listener]]\npath = \"SOCKET.raw\"\nformat = \"raw\"\n",
    );
    let raw = || Client::connect(&daemon.socket().with_extension("sock.raw"));
    let mut quick = daemon.client();
    let mut reader = raw();
    let stuck = raw();
    quick.until_clients(3);
    for payload in ["{\n\"a\": 1}", "plain\ntext", ""] {
        upstream.text(payload);
    }
    assert_eq!([reader.text(), reader.text(), reader.text()], ["{ \"a\": 1}\n", "plain text\n", "\n"]);
    reader.write(b"hello upstream\n");
    assert_eq!(upstream.message().into_text().unwrap(), "hello upstream");
    let payload = format!("{{\"pad\":\"{}\"}}", "x".repeat(10_000));
    for _ in 0..500 {
        upstream.text(&payload);
        quick.message();
        reader.text();
    }
    quick.until_clients(2);
    drop(stuck);
}

#[test]
fn bad_lines_get_an_error_each_and_cost_nothing_else() {
    let (_server, daemon, mut upstream) = connected("");
    let mut client = daemon.client();
    let deep =
        format!("{{\"op\":\"send\",\"id\":2,\"json\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    for (line, code) in [
        (&b"nonsense"[..], "bad_json"),
        (b"{\"op\":\"send\",\"text\":\"\xff\xfe\"}", "bad_json"),
        (b"{\"op\":\"fly\"}", "unknown_op"),
        (b"{\"op\":\"send\"}", "bad_request"),
        (b"[]", "bad_request"),
    ] {
        client.write(line);
        client.write(b"\n");
        assert_eq!(client.until(|line| line["type"] == "error")["code"], code);
    }
    client.write(deep.as_bytes());
    client.write(b"\n");
    assert_eq!(client.until(|line| line["id"] == 2)["result"], "written");
    assert_eq!(upstream.message().into_text().unwrap().len(), 200_000);
    assert_eq!(client.request(json!({"op": "ping"}))["result"], "pong");
}

#[test]
fn a_line_that_is_too_long_ends_its_connection_with_a_word() {
    let (_server, daemon, _upstream) = connected("");
    let mut witness = daemon.client();
    let client = daemon.client();
    let mut writer = client.stream().try_clone().unwrap();
    let flood = std::thread::spawn(move || {
        let part = vec![b'x'; 1 << 20];
        // 100 MB, or until the daemon has had enough
        (0..100).try_for_each(|_| writer.write_all(&part)).is_err()
    });
    let lines = client.rest();
    assert!(flood.join().unwrap(), "the daemon read all of it");
    assert!(lines.iter().any(|line| line["code"] == "line_too_long"), "{lines:?}");
    assert_eq!(lines.last().unwrap(), &json!({"type": "bye", "why": "bad_client"}));
    witness.until_clients(1);
}

#[test]
fn what_is_sent_before_a_close_goes_out_before_it() {
    let (server, daemon, mut upstream) = connected("");
    let mut client = daemon.client();
    let send = "{\"op\":\"send\",\"id\":\"s\",\"text\":\"goodbye\"}\n";
    client.write(format!("{send}{{\"op\":\"reconnect\",\"id\":\"r\"}}\n").as_bytes());
    assert_eq!(upstream.message().into_text().unwrap(), "goodbye");
    assert_eq!(upstream.closed(), Some(1000));
    assert_eq!(client.until(|line| line["id"] == "s")["result"], "written");
    let mut upstream = server.accept();
    client.link("up");
    client.write(format!("{send}{{\"op\":\"close\",\"id\":\"c\"}}\n").as_bytes());
    assert_eq!(upstream.message().into_text().unwrap(), "goodbye");
    assert_eq!(upstream.closed(), Some(1000));
}

#[test]
fn one_client_s_flood_of_lines_leaves_the_others_their_turns() {
    let (_server, daemon, _upstream) = connected("");
    let flooder = daemon.client();
    let mut writer = flooder.stream().try_clone().unwrap();
    let flood = std::thread::spawn(move || {
        let lines = b"\n".repeat(1 << 20);
        while writer.write_all(&lines).is_ok() {}
    });
    let mut client = daemon.client();
    let begun = worked(&daemon);
    for _ in 0..200 {
        assert_eq!(client.request(json!({"op": "ping"}))["result"], "pong");
    }
    let mean = (worked(&daemon) - begun) / 200;
    // where a client could keep its turn, it was a second and more
    assert!(mean < Duration::from_millis(200), "{mean:?} of work for each answer");
    flooder.stream().shutdown(Shutdown::Both).unwrap();
    flood.join().unwrap();
}

/// How long the daemon has had a CPU so far, whoever else wanted one.
fn worked(daemon: &Daemon) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
    let (_, fields) = stat.rsplit_once(") ").expect("the name is in parentheses");
    // utime and stime, the 14th and the 15th of proc_pid_stat(5), in hundredths of a second
    let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum::<u64>();
    Duration::from_millis(10 * ticks)
}

#[test]
fn a_raw_client_that_is_cut_off_has_nothing_more_sent() {
    let (_server, daemon, mut upstream) =
        connected("[[listener]]\npath = \"SOCKET\"\n[[listener]]\npath = \"SOCKET.raw\"\nformat = \"raw\"\n");
    let raw = || Client::connect(&daemon.socket().with_extension("sock.raw"));
    raw().write(b"a\n\xff\nb\n");
    // half a line is no message either
    let mut half = raw();
    half.write(b"c\nha");
    half.stream().shutdown(Shutdown::Write).unwrap();
    let mut witness = daemon.client();
    witness.until_clients(1);
    witness.request(json!({"op": "send", "text": "end"}));
    let mut got: Vec<String> = (0..3).map(|_| upstream.message().into_text().unwrap().to_string()).collect();
    assert_eq!(got.pop().unwrap(), "end");
    got.sort();
    assert_eq!(got, ["a", "c"]);
}

#[test]
fn old_entries_are_not_handed_out_on_a_quiet_link_either() {
    let (_server, daemon, mut upstream) = connected("[history]\nmax_age = \"1s\"\n");
    let mut client = daemon.client();
    upstream.text("1");
    let seq = client.message()["seq"].clone();
    let end = std::time::Instant::now() + common::DEADLINE;
    loop {
        // each new client sees the log as it is by then
        let hello = daemon.client().hello;
        if hello["oldest"].as_u64() > seq.as_u64() {
            break;
        }
        assert!(std::time::Instant::now() < end, "{hello}");
    }
    let since = json!({"epoch": client.hello["epoch"], "seq": 0});
    client.ask(json!({"op": "attach", "since": since}));
    assert_eq!(client.until(|line| line["type"] == "gap")["why"], "expired");
}

#[test]
fn half_a_line_at_the_end_is_said_to_be_one() {
    let (_server, daemon, mut upstream) = connected("");
    let mut client = daemon.client();
    client.write(b"{\"op\":\"send\",\"text\":\"half");
    client.stream().shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.until(|line| line["type"] == "error")["code"], "bad_json");
    // it has closed one direction only, and goes on receiving
    upstream.text("\"still there\"");
    assert_eq!(client.message()["json"], "still there");
    drop(client);
    daemon.client().until_clients(1);
}

#[test]
fn clients_that_vanish_within_a_line_leave_nothing_behind() {
    let (_server, daemon, _upstream) = connected("");
    for _ in 0..50 {
        let mut client = daemon.client();
        client.write(b"{\"op\":\"sen");
    }
    daemon.client().until_clients(1);
}

#[test]
fn a_thousand_connections_in_a_row_are_all_served() {
    let (_server, daemon, mut upstream) = connected("");
    let mut witness = daemon.client();
    for _ in 0..1000 {
        let client = daemon.client();
        assert_eq!(client.hello["protocol"], 1);
    }
    upstream.text("1");
    witness.message();
    witness.until_clients(1);
}

#[test]
fn no_more_than_max_clients_are_let_in() {
    let (_server, daemon, _upstream) = connected("[[listener]]\npath = \"SOCKET\"\nmax_clients = 2\n");
    let first = daemon.client();
    let _second = daemon.client();
    // places that are kept for root, and for the user that the daemon runs as
    let kept = if rustix::process::geteuid().is_root() { 16 } else { 8 };
    let _kept: Vec<_> = (0..kept).map(|_| daemon.client()).collect();
    let lines = Client::connect(&daemon.socket()).rest();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["code"], "too_many_clients");
    drop(first);
    // its place is free as soon as the daemon has seen it go
    let mut third = loop {
        let mut client = Client::connect(&daemon.socket());
        if client.line()["type"] == "hello" {
            break client;
        }
    };
    assert_eq!(third.request(json!({"op": "ping"}))["result"], "pong");
    assert!(third.status()["counters"]["refused_clients"].as_u64().unwrap() >= 1);
}

#[test]
fn attach_goes_back_in_the_log_and_declares_what_is_gone() {
    let (_server, daemon, mut upstream) = connected("[history]\nmax_bytes = \"64KiB\"\n");
    let mut client = daemon.client();
    let start = client.hello["seq"].as_u64().unwrap();
    let epoch = client.hello["epoch"].clone();
    for n in 0..3 {
        upstream.text(&n.to_string());
        client.message();
    }
    let mut late = daemon.client();
    let attached = late.request(json!({"op": "attach", "since": {"epoch": epoch, "seq": start + 1}}));
    assert_eq!((&attached["result"], &attached["seq"]), (&json!("attached"), &json!(start + 1)));
    assert_eq!([late.message()["json"].clone(), late.message()["json"].clone()], [json!(1), json!(2)]);

    let other = late.request(json!({"op": "attach", "since": {"epoch": "another", "seq": 5}}));
    assert_eq!(other["seq"], 0);
    let gap = late.line();
    // how many are lost is known to nobody
    assert_eq!(gap, json!({"type": "gap", "why": "epoch", "count": null}));

    let future = late.request(json!({"op": "attach", "since": {"epoch": epoch, "seq": 1_000_000}}));
    assert_eq!(future["code"], "bad_request");

    let payload = format!("\"{}\"", "x".repeat(10_000));
    for _ in 0..50 {
        upstream.text(&payload);
        client.message();
    }
    client.ask(json!({"op": "attach", "since": {"epoch": epoch, "seq": start}}));
    let gap = client.until(|line| line["type"] == "gap");
    assert_eq!((&gap["why"], &gap["from"]), (&json!("expired"), &json!(start + 1)));
    client.until(|line| line["type"] == "link");
    assert_eq!(client.line()["seq"], gap["to"].as_u64().unwrap() + 1);
    assert_balanced(&client.status());

    client.ask(json!({"op": "attach", "since": {"epoch": "another", "seq": 5}}));
    let attached = client.until(|line| line["result"] == "attached");
    let gap = client.line();
    assert_eq!(gap, json!({"type": "gap", "from": 1, "to": attached["seq"], "count": null, "why": "epoch"}));
    let counted = client.status()["counters"]["gaps"].clone();
    assert_eq!((&counted["expired"], &counted["epoch"]), (&json!(1), &json!(2)), "{counted}");
}

#[test]
fn what_attach_answers_is_what_happens_also_when_the_log_moves_before_it_is_read() {
    let (_server, daemon, mut upstream) = connected("[history]\nmax_bytes = \"64KiB\"\n");
    let (mut late, mut quick) = (daemon.client(), daemon.client());
    let payload = format!("\"{}\"", "x".repeat(10_000));
    let mut move_on = || {
        for _ in 0..50 {
            upstream.text(&payload);
            quick.message();
        }
    };
    // it has stopped reading, within a line; the answer waits for the line's end
    move_on();
    let since = json!({"epoch": late.hello["epoch"], "seq": 0});
    let ping = late.ask(json!({"op": "attach", "since": since}));
    late.write(b"{\"op\":\"status\"}\n");
    let begun = std::time::Instant::now();
    let mut witness = daemon.client();
    while witness.status()["clients"][0]["unread_reply_bytes"] == 0 {
        assert!(begun.elapsed() < common::DEADLINE);
    }
    move_on();
    let attached = late.until(|line| line["id"] == ping);
    let expired = late.line();
    assert_eq!(
        (&expired["type"], &expired["why"], &expired["from"]),
        (&json!("gap"), &json!("expired"), &json!(1))
    );
    assert_eq!(expired["to"], attached["seq"]);
    let slow = late.until(|line| line["type"] == "gap");
    assert_eq!(slow["why"], "slow_client");
    assert_eq!(slow["from"].as_u64(), attached["seq"].as_u64().map(|seq| seq + 1));
    assert_balanced(&witness.status());
}

/// So long entries are held back for a client that hasn't said anything.
const HELD_BACK: Duration = Duration::from_millis(20);

#[test]
fn a_client_that_attaches_first_gets_each_entry_once() {
    let (_server, daemon, mut upstream) = connected("");
    let mut witness = daemon.client();
    upstream.text("0");
    let seq = witness.message()["seq"].as_u64().unwrap();
    for n in 1..=40 {
        let begun = Instant::now();
        let mut client = Client::connect(&daemon.socket());
        // what comes in now comes before the attach
        let since = json!({"epoch": witness.hello["epoch"], "seq": seq});
        upstream.text(&n.to_string());
        witness.message();
        let attach = client.ask(json!({"op": "attach", "since": since}));
        let mut before = 0;
        loop {
            let line = client.line();
            if line["id"] == attach {
                break;
            }
            before += u64::from(line["type"] == "message");
        }
        // a machine that has much else to do may be slower than the daemon waits: entries may come, and come again. On a
        // simulated clock, which is never late, `local/listener/tests.rs` has the same
        if begun.elapsed() < HELD_BACK {
            assert_eq!(before, 0, "entries came before the attach");
        }
        let seen: Vec<u64> = (0..n).map(|_| client.message()["json"].as_u64().unwrap()).collect();
        assert_eq!(seen, (1..=n).collect::<Vec<_>>());
    }
}

#[test]
fn a_client_that_says_nothing_gets_entries_all_the_same() {
    let (_server, daemon, mut upstream) = connected("[history]\nmax_bytes = \"64KiB\"\n");
    let mut silent = daemon.client();
    upstream.text("1");
    assert_eq!(silent.message()["json"], 1);
    // nor is anything lost to it while it is waited for
    let mut late = daemon.client();
    let payload = format!("\"{}\"", "x".repeat(10_000));
    (0..100).for_each(|_| upstream.text(&payload));
    let first = late.message()["seq"].as_u64().unwrap();
    assert_eq!(first, late.hello["seq"].as_u64().unwrap() + 1);
}
