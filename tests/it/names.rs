//! Names of clients, through the real daemon: a program that crashes goes on where it was, or hears of the gap.

use std::{collections::BTreeSet, io::Read, time::Instant};

use serde_json::{Value, json};

use crate::common::{Client, Connection, DEADLINE, Daemon, up};

fn attach(client: &mut Client, name: &str) -> Value {
    client.request(json!({"op": "attach", "name": name}))
}

/// Waits until the daemon keeps the name of a client that is gone, and returns what it keeps.
fn kept(daemon: &Daemon, name: &str) -> Value {
    let (mut client, end) = (daemon.client(), Instant::now() + DEADLINE);
    loop {
        let status = client.status();
        let rows = status["names"].as_array().cloned().unwrap_or_default();
        if let Some(row) = rows.into_iter().find(|row| row["name"] == name) {
            return row;
        }
        assert!(Instant::now() < end, "{name} is not kept: {status}");
    }
}

/// Says these numbers, and waits until the log has them.
fn say(daemon: &Daemon, upstream: &mut Connection, numbers: std::ops::Range<u64>) {
    let mut witness = daemon.client();
    for number in numbers.clone() {
        upstream.text(&number.to_string());
    }
    while witness.message()["json"] != numbers.end - 1 {}
}

#[test]
fn an_attach_that_is_refused_does_nothing_of_what_it_asks_for() {
    let (_server, daemon, _upstream) = up("");
    let long = "x".repeat(250);
    let topics = |from: usize| (from..from + 1000).map(|n| format!("{n}{long}")).collect::<Vec<_>>();
    // as many as one user may ask for
    let mut clients = Vec::new();
    let refused = loop {
        let mut client = daemon.client();
        let attach =
            json!({"op": "attach", "name": "bot", "answers": true, "topics": topics(1000 * clients.len())});
        let plain = json!({"op": "attach", "topics": attach["topics"]});
        if client.request(plain)["code"] == "no_room" {
            break client.request(attach);
        }
        clients.push(client);
        assert!(clients.len() < 50);
    };
    assert_eq!(refused["code"], "no_room", "{refused}");
    let (mut bot, mut other, mut third) = (daemon.client(), daemon.client(), daemon.client());
    assert_eq!(attach(&mut bot, "bot")["new"], true, "nobody has the name");
    let refused = other.request(json!({"op": "attach", "name": "bot", "answers": true}));
    assert_eq!(refused["code"], "name_taken", "{refused}");
    let answers = third.request(json!({"op": "attach", "answers": true}));
    assert_eq!(answers["result"], "attached", "nobody has claimed them: {answers}");
    let refused = other.request(json!({"op": "attach", "name": "new", "answers": true}));
    assert_eq!(refused["code"], "answerer_taken", "{refused}");
    assert_eq!(attach(&mut other, "new2")["new"], true, "it has no name yet");
}

#[test]
fn a_program_that_acknowledges_goes_on_right_behind_that_after_a_crash() {
    let (_server, daemon, mut upstream) = up("");
    let mut bot = daemon.client();
    let first = attach(&mut bot, "bot");
    assert_eq!((&first["new"], &first["again_to"]), (&json!(true), &Value::Null), "{first}");
    say(&daemon, &mut upstream, 0..10);
    let fourth = bot.until(|line| line["json"] == 3)["seq"].clone();
    assert_eq!(bot.request(json!({"op": "ack", "seq": fourth}))["result"], "acknowledged");
    // an older one that comes late changes nothing
    bot.request(json!({"op": "ack", "seq": 1}));
    let row =
        bot.status()["clients"].as_array().unwrap().iter().find(|row| row["you"] == true).unwrap().clone();
    assert_eq!((&row["name"], &row["acknowledged"]), (&json!("bot"), &fourth));
    drop(bot); // most is unread
    assert_eq!(kept(&daemon, "bot")["seq"], fourth);
    say(&daemon, &mut upstream, 10..15);
    let mut bot = daemon.client();
    let back = attach(&mut bot, "bot");
    assert_eq!((&back["seq"], &back["new"]), (&fourth, &Value::Null), "{back}");
    assert!(back["again_to"].as_u64() > fourth.as_u64(), "{back}");
    let next: Vec<_> = (0..11).map(|_| bot.message()["json"].as_u64().unwrap()).collect();
    assert_eq!(next, (4..15).collect::<Vec<_>>());
    // it acknowledges, so its place doesn't move by itself
    drop(bot);
    assert_eq!(kept(&daemon, "bot")["seq"], fourth);
}

#[test]
fn a_program_that_acknowledges_nothing_gets_again_what_may_have_been_unread() {
    let (_server, daemon, mut upstream) = up("");
    let mut bot = daemon.client();
    attach(&mut bot, "bot");
    // a good deal more than a socket holds
    let body = "x".repeat(10_000);
    let mut seen = BTreeSet::new();
    for n in 0..150 {
        upstream.text(&format!("[{n},\"{body}\"]"));
        if n < 140 {
            seen.insert(bot.message()["json"][0].as_u64().unwrap());
        }
    }
    drop(bot); // the last ten are unread, or not even written
    let row = kept(&daemon, "bot");
    let mut bot = daemon.client();
    let back = attach(&mut bot, "bot");
    assert_eq!(back["seq"], row["seq"]);
    let mut first = None;
    loop {
        let number = bot.message()["json"][0].as_u64().unwrap();
        first.get_or_insert(number);
        seen.insert(number);
        if number == 149 {
            break;
        }
    }
    assert_eq!(seen, (0..150).collect(), "none is lost");
    assert!(first > Some(30), "and not all of it comes again: from {first:?}");
}

#[test]
fn what_is_gone_when_a_program_comes_back_is_declared() {
    let (_server, daemon, mut upstream) = up("[history]\nmax_bytes = \"64KiB\"\n");
    let mut bot = daemon.client();
    attach(&mut bot, "bot");
    say(&daemon, &mut upstream, 0..3);
    let seq = bot.until(|line| line["json"] == 2)["seq"].as_u64().unwrap();
    bot.request(json!({"op": "ack", "seq": seq}));
    drop(bot);
    kept(&daemon, "bot");
    let body = "x".repeat(10_000);
    for _ in 0..20 {
        upstream.text(&body);
    }
    say(&daemon, &mut upstream, 3..4);
    let mut bot = daemon.client();
    let back = attach(&mut bot, "bot");
    let gap = bot.line();
    assert_eq!(
        (&gap["type"], &gap["why"], &gap["from"]),
        (&json!("gap"), &json!("expired"), &json!(seq + 1))
    );
    assert_eq!(gap["to"], back["seq"], "{back}");
    assert_eq!(bot.line()["type"], "link");
    assert_eq!(bot.line()["seq"], json!(gap["to"].as_u64().unwrap() + 1));
}

#[test]
fn a_name_is_one_connections_at_a_time_and_may_be_taken_over() {
    let (_server, daemon, mut upstream) = up("");
    let (mut one, mut other) = (daemon.client(), daemon.client());
    attach(&mut one, "bot");
    say(&daemon, &mut upstream, 0..4);
    let seq = one.until(|line| line["json"] == 2)["seq"].clone();
    one.request(json!({"op": "ack", "seq": seq}));
    let refused = attach(&mut other, "bot");
    assert_eq!(refused["code"], "name_taken", "{refused}");
    let number = one.hello["client"].as_u64().unwrap();
    let sentence =
        format!("client {number} has the name \"bot\": attach with `takeover`, or under another name");
    assert_eq!(refused["message"], sentence);
    let taken = other.request(json!({"op": "attach", "name": "bot", "takeover": true}));
    assert_eq!((&taken["result"], &taken["seq"]), (&json!("attached"), &seq), "{taken}");
    assert_eq!(other.message()["json"], 3);
    let rest = one.rest();
    assert_eq!(rest.last().unwrap(), &json!({"type": "bye", "why": "taken_over"}));
    // its end takes nothing from the other
    other.until_clients(1);
    let mut third = daemon.client();
    assert_eq!(attach(&mut third, "bot")["code"], "name_taken");
    assert_eq!(other.status()["counters"]["cut_off"]["taken_over"], 1);
}

#[test]
fn a_connection_has_one_name_and_goes_on_under_it_where_it_is() {
    let (_server, daemon, mut upstream) = up("");
    let mut bot = daemon.client();
    assert_eq!(
        bot.request(json!({"op": "ack", "seq": 1}))["message"],
        "an ack is for a name: attach with one first"
    );
    attach(&mut bot, "bot");
    let refused = attach(&mut bot, "other");
    assert_eq!(
        refused["message"],
        "this connection has the name \"bot\" already: one connection has one name"
    );
    say(&daemon, &mut upstream, 0..3);
    let seq = bot.until(|line| line["json"] == 2)["seq"].as_u64().unwrap();
    let far = bot.request(json!({"op": "ack", "seq": seq + 1}));
    assert_eq!(
        far["message"],
        format!("`seq` names entry {}, but the newest that you were sent is {seq}", seq + 1)
    );
    let again = attach(&mut bot, "bot");
    assert_eq!((&again["seq"], &again["again_to"]), (&json!(seq), &Value::Null), "{again}");
    // a place that it names itself comes first
    let since = json!({"epoch": bot.hello["epoch"], "seq": seq - 1});
    let back = bot.request(json!({"op": "attach", "name": "bot", "since": since}));
    assert_eq!(back["seq"], json!(seq - 1));
    assert_eq!(bot.message()["json"], 2);
    let newer = json!({"epoch": bot.hello["epoch"], "seq": 1000});
    let refused = daemon.client().request(json!({"op": "attach", "name": "new", "since": newer}));
    assert_eq!(refused["code"], "bad_request");
    assert_eq!(attach(&mut daemon.client(), "new")["new"], true, "what was refused took no name");
}

#[test]
fn a_name_that_is_kept_for_no_time_is_new_again() {
    let (server, daemon, _upstream) = up("[names]\nkeep = \"1h\"\n");
    attach(&mut daemon.client(), "bot");
    kept(&daemon, "bot");
    daemon.rewrite(&(server.config() + "[names]\nkeep = \"0s\"\n"));
    let applied = daemon.client().request(json!({"op": "reload"}));
    assert_eq!(applied["live"], json!(["names.keep"]), "{applied}");
    assert_eq!(attach(&mut daemon.client(), "bot")["new"], true);
}

#[test]
fn a_user_has_a_hundred_names_and_no_more() {
    let (_server, daemon, _upstream) = up("");
    let mut clients: Vec<_> = (0..100).map(|_| daemon.client()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        assert_eq!(attach(client, &n.to_string())["new"], true);
    }
    let mut more = daemon.client();
    let refused = attach(&mut more, "more");
    assert_eq!(refused["code"], "too_many_names");
    assert_eq!(refused["message"], "there are 100 names already, those that are kept included");
    // and it is there as before
    assert_eq!(more.request(json!({"op": "ping"}))["result"], "pong");
    more.stream().set_nonblocking(true).unwrap();
    assert!(more.stream().read(&mut [0]).is_err(), "nothing else is said");
}
