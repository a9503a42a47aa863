use super::*;

fn shown(line: &str, now_us: u64) -> String {
    let text = text(&reply::parse(line.as_bytes()).unwrap(), "/run/w.sock", now_us);
    anstream::adapter::strip_str(&text).to_string()
}

#[test]
fn a_link_that_is_up() {
    let line = r#"{"type":"status","id":1,"server":"wsfan/0.1.0","pid":1234,"uptime_s":3700,"epoch":"9f2c51d0","link":{"state":"up","since_us":1000000,"conn":3,"url":"wss://host/path","subprotocol":"v2","attempt":0,"heartbeat_rtt_us":23400},"traffic":{"received":41000,"received_bytes":2097152,"sent":1,"sent_bytes":10,"withheld":1200,"last_received_us":12000000},"outbox":{"waiting":2},"sends":{"dropped":3},"counters":{"link":{"attempts":5,"up":3,"refused":1,"failed":1,"lost":1},"gaps":{"slow_client":1,"epoch":1,"entries":90},"cut_off":{"stalled":2},"refused_clients":1,"failed_sends":{"expired":1,"unknown":2},"upstream_gaps":{"declared":1,"messages":4}},"config":{"file":"/etc/wsfan/wsfan.toml","upstream":"wss://host/path","reload":{"time_us":10000000,"result":"refused","error":"/etc/wsfan/wsfan.toml:3: bad\nand worse"},"restart":["log.format"]},"totals":{"clients":9},"log":{"seq":41823,"oldest":40800,"bytes":1048576,"max_bytes":67108864},"clients":[{"client":7,"listener":"/run/w.sock","format":"envelope","pid":1300,"uid":0,"you":true,"ledger":{"entries":0,"delivered":0,"lost":0,"ahead":0},"unread_reply_bytes":0},{"client":12,"listener":"/run/r.sock","format":"raw","ledger":{"entries":1720,"delivered":1600,"lost":90,"passed":20,"ahead":10}}]}"#;
    let text = "\
link       up for 12 s, connection 3
upstream   wss://host/path, subprotocol v2
heartbeat  23 ms there and back
traffic    41,000 messages received (2.0 MiB, 1,200 of them withheld), 1 sent (10 B)
newest     1 s ago
outbox     2 messages wait for the link
dropped    3 sends of clients that had gone
troubles   2 failed attempts, 1 connection lost, 1 gap of the server's (4 messages missing), 2 gaps told (90 entries lost), 2 clients cut off, 1 client refused, 3 failed sends
log        1,024 entries held (40800 to 41823), 1.0 MiB of 64.0 MiB, 9f2c51d0
daemon     wsfan/0.1.0, process 1234, running for 1h 1m
socket     /run/w.sock
config     /etc/wsfan/wsfan.toml
reload     refused 3 s ago: /etc/wsfan/wsfan.toml:3: bad; and worse
restart    needed for log.format
clients    9; the others' rows need the right `control`

CLIENT   PID  UID  ENTRIES  DELIVERED  LOST  PASSED  AHEAD  LISTENER
     7  1300    0        0          0     0       0      0  /run/w.sock (this command)
    12     -    -    1,720      1,600    90      20     10  /run/r.sock, raw
";
    assert_eq!(shown(line, 13_000_000), text);
}

#[test]
fn a_link_that_waits() {
    let line = r#"{"type":"status","link":{"state":"waiting","since_us":1000000,"conn":2,"url":"ws://h/","http_status":503,"error":"the server refused","attempt":4,"retry_in_ms":5000,"last_end":{"time_us":1000000,"http_status":503,"error":"the server refused"}},"log":{"seq":0,"oldest":1}}"#;
    let text = shown(line, 3_000_000);
    for part in [
        "link       waiting for 2 s, after 2 connections\n",
        "last end   the server refused, HTTP 503, 2 s ago\n",
        "next try   in 3 s, after 4 failures in a row\n",
        "log        0 entries held, ",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn what_ended_on_another_machine_says_on_which() {
    let line = r#"{"type":"status","node":"a","link":{"state":"up","since_us":2000000,"conn":2,"url":"ws://h/","attempt":0,"last_end":{"time_us":1000000,"error":"b hands the link over to another machine","node":"b"}},"log":{"seq":0,"oldest":1}}"#;
    let text = shown(line, 3_000_000);
    assert!(text.contains("last end   on b: b hands the link over to another machine, 2 s ago\n"), "{text}");
}

#[test]
fn clients_have_names_also_when_they_are_gone() {
    let line = r#"{"type":"status","link":{"state":"up"},"clients":[{"client":3,"listener":"/run/w.sock","format":"envelope","name":"bot\u001b[1m"},{"client":4,"listener":"/run/w.sock","format":"envelope"}],"names":[{"name":"old","uid":1000,"seq":41823,"gone_s":90}]}"#;
    let text = shown(line, 0);
    assert!(
        text.contains("names      1 kept: old (of user 1000, gone for 1m 30s, goes on after 41,823)\n"),
        "{text}"
    );
    assert!(text.contains("/run/w.sock as bot"), "{text}");
    assert!(!text.contains('\u{1b}') && text.ends_with("/run/w.sock\n"), "{text}");
}

#[test]
fn failures_without_a_next_try() {
    let line = r#"{"type":"status","link":{"state":"up","conn":2,"attempt":6}}"#;
    let text = shown(line, 0);
    assert!(text.contains("failures   6 in a row; forgotten after a stable time up\n"), "{text}");
    assert!(!text.contains("next try"), "{text}");
}

#[test]
fn what_is_no_status_is_a_failure() {
    assert!(reply::parse(br#"{"type":"error","id":1,"code":"forbidden","message":"no"}"#).is_err());
    assert!(reply::parse(b"[").is_err());
}

#[test]
fn a_machine_of_a_cluster_says_who_leads() {
    let line = r#"{"type":"status","node":"host-b","cluster":{"name":"prices","state":"follower","leader":"host-a","term":8,"lag":2,"counters":{"stood":1,"elected":1,"stepped_down":1,"forwarded":7}},"link":{"state":"up","since_us":1000000,"conn":3,"node":"host-a","term":8},"log":{"seq":0,"oldest":1}}"#;
    let text = shown(line, 3_000_000);
    for part in [
        "link       up for 2 s, connection 3\n",
        "cluster    prices, as host-b: follower of host-a, term 8, 2 messages of the stream behind\n",
        "terms      1 election of 1 try; 1 hand-over in order; 7 sends handed to the leader\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}
