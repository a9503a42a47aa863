//! The daemon's memory, as the kernel counts it, against what `docs/memory.md` says it may take.

use std::{fs, io::Write, os::unix::net::UnixStream};

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::common::{Client, Daemon, Server, assert_balanced, connected};

const MIB: usize = 1 << 20;

/// What a daemon takes beside what is configured: its connection's buffers with a message of up to 2 MiB in
/// them, twice over since the allocator keeps what it had, and the clients' own.
const BESIDE: usize = 8 * MIB;

/// The memory of the process that no file stands behind, in bytes.
fn memory(daemon: &Daemon) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let of = |name: &str| -> usize {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    (of("RssAnon:") + of("RssShmem:")) << 10
}

/// JSON of `length` bytes that begins with a number.
fn payload(n: usize, length: usize) -> String {
    let head = format!("{{\"n\":{n},\"pad\":\"");
    format!("{head}{}\"}}", "x".repeat(length.saturating_sub(head.len() + 2)))
}

/// Reads up to the message with that number, without a look at the others.
fn read_to(client: &mut Client, n: usize) {
    let wanted = format!("{{\"n\":{n},");
    while !client.text().contains(&wanted) {}
}

/// Lines up to the end, whole or not; whether it ended with `bye` or `error` of that name.
fn told(client: Client, name: &str) -> bool {
    client.rest().iter().any(|line| line["code"] == name || line["why"] == name)
}

/// Each is stuck in the middle of a line of its own. What the log holds no more is kept for them within
/// `memory.stalled_lines`: who has taken nothing for the longest is cut off, whatever `slow_client` says.
#[test]
fn clients_that_stop_in_the_middle_of_large_lines_cost_what_is_configured() {
    let (_server, daemon, mut upstream) = connected(
        "[history]\nmax_bytes = \"8MiB\"\n[memory]\nstalled_lines = \"8MiB\"\n[log]\nlevel = \"debug\"\n",
    );
    let mut quick = daemon.client();
    let before = memory(&daemon);
    let mut stuck = Vec::new();
    for n in 0..40 {
        stuck.push(daemon.client());
        upstream.text(&payload(n, 2 * MIB));
        read_to(&mut quick, n);
    }
    let taken = memory(&daemon) - before;
    assert!(taken < 8 * MIB + 8 * MIB + BESIDE, "{} MiB", taken / MIB);
    let status = quick.status();
    let there = status["clients"].as_array().unwrap().iter().map(|row| &row["client"]).collect::<Vec<_>>();
    let all = stuck.iter().map(|client| &client.hello["client"]).collect::<Vec<_>>();
    let gone = all.iter().filter(|client| !there.contains(*client)).collect::<Vec<_>>();
    assert!(gone.len() > 20, "{gone:?}");
    // each of them, at `debug`
    gone.iter().for_each(|client| drop(daemon.logged(&format!("memory.stalled_lines client={client} "))));
    // the last ones go on where they are; of the first ones the connection ended within a line
    let mut last = stuck.pop().unwrap();
    assert_eq!(last.message()["json"]["n"], 39);
    let mut first = stuck.remove(0);
    let mut cut = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(first.stream()), &mut cut).unwrap();
    assert!(cut.len() > 1000 && !cut.ends_with('\n'), "{} bytes", cut.len());
    assert_balanced(&quick.status());
    drop(first.stream().shutdown(std::net::Shutdown::Both));
    first = daemon.client();
    assert_eq!(first.request(json!({"op": "ping"}))["result"], "pong");
}

/// Small lines are no reason to cut anybody off: only the line under way is kept, and not what lay with it.
#[test]
fn clients_that_stop_in_the_middle_of_small_lines_cost_a_line_each_and_none_is_cut_off() {
    let (_server, daemon, mut upstream) =
        connected("[history]\nmax_bytes = \"4MiB\"\n[memory]\nstalled_lines = \"1MiB\"\n");
    let mut quick = daemon.client();
    let before = memory(&daemon);
    let mut stuck = Vec::new();
    let mut n = 0;
    for _ in 0..60 {
        stuck.push(daemon.client());
        for _ in 0..150 {
            upstream.text(&payload(n, 2000));
            n += 1;
        }
        read_to(&mut quick, n - 1);
    }
    let taken = memory(&daemon) - before;
    assert!(taken < 4 * MIB + MIB + 4 * MIB, "{} MiB", taken / MIB);
    let status = quick.status();
    assert_eq!(status["clients"].as_array().unwrap().len(), 61);
    assert_balanced(&status);
    for mut client in stuck.into_iter().take(40) {
        client.until(|line| line["type"] == "gap");
    }
}

/// Each begins a line and doesn't end it.
#[test]
fn half_lines_of_many_clients_cost_what_is_configured_and_who_is_refused_is_told() {
    let (_server, daemon, _upstream) = connected("[memory]\nunfinished_lines = \"8MiB\"\n");
    let mut quick = daemon.client();
    let before = memory(&daemon);
    let half = format!("{{\"op\":\"send\",\"id\":1,\"text\":\"{}", "x".repeat(MIB - 100));
    let mut clients = Vec::new();
    for _ in 0..40 {
        let client = daemon.client();
        // one that is refused meanwhile can't be written to
        let _ = client.stream().write_all(half.as_bytes());
        clients.push(client);
        assert_eq!(quick.request(json!({"op": "ping"}))["result"], "pong");
    }
    let taken = memory(&daemon) - before;
    assert!(taken < 8 * MIB + BESIDE, "{} MiB", taken / MIB);
    let refused =
        clients.into_iter().filter(|client| is_over(client.stream())).map(|client| told(client, "no_room"));
    let refused: Vec<bool> = refused.collect();
    assert!(refused.len() >= 32 && refused.iter().all(|told| *told), "{refused:?}");
}

/// Each sends a long message, whole, to a server that reads nothing.
#[test]
fn long_sends_that_wait_for_their_turn_cost_what_is_configured() {
    let (_server, daemon, _upstream) = connected("[memory]\nunfinished_lines = \"4MiB\"\n");
    let mut quick = daemon.client();
    let before = memory(&daemon);
    let line = format!("{{\"op\":\"send\",\"id\":1,\"text\":\"{}\"}}\n", "x".repeat(MIB - 100));
    let mut clients = Vec::new();
    for _ in 0..60 {
        let client = daemon.client();
        let _ = client.stream().write_all(line.as_bytes());
        clients.push(client);
        assert_eq!(quick.request(json!({"op": "ping"}))["result"], "pong");
    }
    let taken = memory(&daemon) - before;
    let lane = 4 * MIB;
    assert!(taken < 2 * 4 * MIB + lane + BESIDE, "{} MiB", taken / MIB);
    // whose turn it was has heard of it, or waits on; who is refused has heard that
    let over = clients.into_iter().filter(|client| is_over(client.stream()));
    let refused: Vec<bool> = over.map(|client| told(client, "no_room")).collect();
    assert!(refused.len() >= 20 && refused.iter().all(|told| *told), "{refused:?}");
}

/// Whether the daemon has ended the connection.
fn is_over(stream: &UnixStream) -> bool {
    use rustix::event::{PollFd, PollFlags, poll};
    let mut fds = [PollFd::new(stream, PollFlags::empty())];
    poll(&mut fds, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap();
    fds[0].revents().contains(PollFlags::HUP)
}

/// Answers that nobody reads.
#[test]
fn unread_answers_of_many_clients_cost_what_is_configured() {
    let (_server, daemon, _upstream) = connected("[memory]\nstalled_lines = \"4MiB\"\n");
    let mut quick = daemon.client();
    let before = memory(&daemon);
    let ask = format!("{{\"op\":\"ping\",\"id\":\"{}\"}}\n", "x".repeat(1000)).repeat(300);
    let mut clients = Vec::new();
    // each is read until 64 KiB of answers wait for it, and the kernel takes the rest of what it asks
    for _ in 0..100 {
        let client = daemon.client();
        let _ = client.stream().write_all(ask.as_bytes());
        clients.push(client);
        assert_eq!(quick.request(json!({"op": "ping"}))["result"], "pong");
    }
    let taken = memory(&daemon) - before;
    assert!(taken < 4 * MIB + BESIDE, "{} MiB", taken / MIB);
}

/// A list becomes lines that take far more than it does, but never more of them at once than a batch has.
#[test]
fn long_lists_that_are_taken_apart_cost_their_message_once_more_and_no_batch_of_all_their_elements() {
    let server = Server::bind();
    let upstream = format!("[upstream]\nurl = \"ws://127.0.0.1:{}/\"\nsplit = true\n", server.port());
    let daemon = Daemon::start(&(upstream + "[history]\nmax_bytes = \"4MiB\"\n"));
    let mut upstream = server.accept();
    let mut client = daemon.client();
    // what it was at most since its start
    let most = || {
        let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
    };
    let before = most();
    for round in 0..5 {
        let elements: Vec<_> =
            (0..99_999).map(|_| "1".to_owned()).chain([format!("{{\"n\":{round},\"x\":0}}")]).collect();
        upstream.text(&format!("[{}]", elements.join(",")));
        read_to(&mut client, round);
    }
    // as lines, a list of 0.2 MB is over 9 MB; it was read, copied, and its elements' places were noted
    let taken = most() - before;
    assert!(taken < 4 * MIB + 2 * MIB / 4 + 3 * MIB + 2 * MIB, "{} KiB", taken >> 10);
    let status = client.status();
    assert_eq!(status["traffic"]["received"], 500_000, "{status}");
    assert_balanced(&status);
}

/// Lines of all sizes, of text that grows sixfold, and a raw form beside each: the log takes what it says.
#[test]
fn the_log_takes_what_it_says_within_a_tenth() {
    let (_server, daemon, mut upstream) = connected(
        "[history]\nmax_bytes = \"32MiB\"\n[[listener]]\npath = \"SOCKET\"\n[[listener]]\npath = \"SOCKET.raw\"\nformat = \"raw\"\n",
    );
    let mut client = daemon.client();
    upstream.text(&payload(0, 2 * MIB));
    read_to(&mut client, 0);
    let before = memory(&daemon);
    let mut n = 1;
    for round in 0..14 {
        for at in 0..120 {
            let length = [30, 200, 1500, 20_000, 70_000, 150_000][(at * 7 + round) % 6];
            upstream.text(&payload(n, length));
            if at % 10 == round % 10 {
                upstream.socket.send(Message::binary(vec![7; 3 * length])).unwrap();
                upstream.text(&"\u{1}".repeat(length));
            }
            n += 1;
        }
        upstream.text(&payload(n, 300_000 + round * 100_000));
        read_to(&mut client, n);
        n += 1;
    }
    let bytes = client.status()["log"]["bytes"].as_u64().unwrap() as usize;
    assert!(bytes > 28 * MIB && bytes <= 32 * MIB, "{bytes} bytes are held");
    let taken = memory(&daemon) - before;
    assert!(taken < 32 * MIB / 10 * 11, "{} KiB", taken >> 10);
}
