//! Heartbeats against a server that answers none, and silence that the server itself gives a measure of.

use std::time::{Duration, Instant};

use crate::common::{Daemon, Server};

/// What STOMP 1.2 asks for, "Heart-beating": each side sends a newline so often, and nothing answers it.
const STOMP: &str = r#"
[[script.step]]
name = "connect"
send = "CONNECT\naccept-version:1.2\nhost:/\nheart-beat:100,100\n\n\u0000"
expect = "CONNECTED\n"
capture_regex = 'heart-beat:(?<every>\d+),'
publish = false

[heartbeat]
kind = "message"
interval = "100ms"
message = "\n"
timeout = "off"
idle_timeout = "${capture:every} + 5s"
"#;

#[test]
fn a_beat_that_nothing_answers_goes_on_until_the_server_is_silent_for_as_long_as_it_said() {
    let server = Server::bind();
    let daemon = Daemon::start(&(server.config() + STOMP));
    let mut client = daemon.client();
    let mut upstream = server.accept();
    assert!(upstream.message().to_text().unwrap().starts_with("CONNECT\n"));
    upstream.text("CONNECTED\nversion:1.2\nheart-beat:500,100\n\n\0");
    client.link("up");
    // far more than its interval, with nothing from the server but its own beat
    for beat in 0..24 {
        assert_eq!(upstream.message().to_text().unwrap(), "\n");
        if beat % 6 == 0 {
            upstream.text("\n");
        }
    }
    let silent = Instant::now();
    let line = client.link("waiting");
    assert!(line["error"].as_str().unwrap().contains("nothing came in for 5.5s"), "{line}");
    assert!(
        silent.elapsed() >= Duration::from_millis(4_600),
        "what came last counts: {:?}",
        silent.elapsed()
    );

    // the next server never speaks by itself, and is believed
    drop(upstream);
    let mut upstream = server.accept();
    upstream.message();
    upstream.text("CONNECTED\nversion:1.2\nheart-beat:0,100\n\n\0");
    client.link("up");
    for _ in 0..30 {
        assert_eq!(upstream.message().to_text().unwrap(), "\n");
    }
    assert_eq!(client.status()["link"]["state"], "up");
}

/// Engine.IO 4: the server pings every `pingInterval`, and is gone when none comes within that and `pingTimeout`.
#[test]
fn a_servers_interval_and_its_grace_add_up() {
    let server = Server::bind();
    let rules = r#"
[[script.step]]
expect = { regex = '^0\{' }
capture_regex = '"pingInterval":(?<every>\d+),"pingTimeout":(?<grace>\d+)'
publish = false

[[reply]]
match = { regex = '^2$' }
send = "3"
publish = false

[heartbeat]
kind = "off"
idle_timeout = "${capture:every} + ${capture:grace}"
"#;
    let daemon = Daemon::start(&(server.config() + rules));
    let mut client = daemon.client();
    let mut upstream = server.accept();
    upstream.text(r#"0{"sid":"s","upgrades":[],"pingInterval":700,"pingTimeout":4400,"maxPayload":1000000}"#);
    client.link("up");
    for _ in 0..2 {
        upstream.text("2");
        assert_eq!(upstream.message().to_text().unwrap(), "3");
    }
    let line = client.link("waiting");
    assert!(line["error"].as_str().unwrap().contains("nothing came in for 5.1s"), "{line}");
}
