//! Servers that refuse, break the rules, or fall silent.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wsfan::config::{HeartbeatKind, Template};

use super::support::*;

/// Each HTTP answer, what the link line says, and that it is tried again.
#[tokio::test(flavor = "local")]
async fn refused_upgrades_are_told_and_tried_again() {
    let server = Server::bind().await;
    let mut rig = Rig::start(settings(&[&server.url()]));
    for (answer, status, words) in [
        ("200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, "check the path"),
        ("401 Unauthorized\r\nWWW-Authenticate: Bearer\r\n\r\n", 401, "wants credentials"),
        ("403 Forbidden\r\n\r\n", 403, "may not connect"),
        (
            "302 Found\r\nLocation: wss://elsewhere.example/x?token=secret\r\n\r\n",
            302,
            "wss://elsewhere.example/x,",
        ),
        ("503 Service Unavailable\r\nRetry-After: 0\r\n\r\n", 503, "unavailable"),
    ] {
        let _stream = server.http(&format!("HTTP/1.1 {answer}")).await;
        let line = rig.state("waiting").await;
        assert_eq!(line["http_status"], status, "{line}");
        assert_eq!(line["code"], serde_json::Value::Null, "{line}");
        let error = line["error"].as_str().unwrap();
        assert!(error.contains(words) && !error.contains("secret"), "{error}");
    }
}

#[tokio::test(flavor = "local")]
async fn retry_after_is_a_lower_bound() {
    let server = Server::bind().await;
    let mut rig = Rig::start(settings(&[&server.url()]));
    let _stream = server.http("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3600\r\n\r\n").await;
    let line = rig.state("waiting").await;
    assert_eq!(line["http_status"], 429);
    assert!((3_590_000..=3_600_000).contains(&line["retry_in_ms"].as_u64().unwrap()), "{line}");
    assert!(line["error"].as_str().unwrap().ends_with("it asks to wait 3600 s"), "{line}");
}

#[tokio::test(flavor = "local")]
async fn retry_after_is_kept_up_to_a_cap_of_its_own() {
    let server = Server::bind().await;
    let mut settings = settings(&[&server.url()]);
    settings.reconnect.max_retry_after = Duration::from_secs(60);
    let mut rig = Rig::start(settings);
    let _stream = server.http("HTTP/1.1 503 Busy\r\nRetry-After: 86400\r\n\r\n").await;
    let line = rig.state("waiting").await;
    assert!((50_000..=60_000).contains(&line["retry_in_ms"].as_u64().unwrap()), "{line}");
    let told = "it asks to wait longer than reconnect.max_retry_after, which is 60 s";
    assert!(line["error"].as_str().unwrap().ends_with(told), "{line}");
}

#[tokio::test(flavor = "local")]
async fn answers_that_are_no_upgrade() {
    let server = Server::bind().await;
    let mut rig = Rig::start(settings(&[&server.url()]));
    for (answer, words) in [
        ("SSH-2.0-OpenSSH_9.9\r\n\r\n", "isn't HTTP"),
        ("", "ended the connection instead of answering"),
        (
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            "Sec-WebSocket-Accept",
        ),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", "Upgrade: websocket"),
    ] {
        drop(server.http(answer).await);
        let line = rig.state("waiting").await;
        assert!(line["error"].as_str().unwrap().contains(words), "{line}");
    }
    for (extra, words) in [
        ("Sec-WebSocket-Protocol: v1\r\n", "none was offered"),
        ("Sec-WebSocket-Extensions: permessage-deflate\r\n", "extension that wasn't offered"),
    ] {
        drop(upgrade(server.tcp().await, extra).await);
        let line = rig.state("waiting").await;
        assert!(line["error"].as_str().unwrap().contains(words), "{line}");
    }
}

#[tokio::test(flavor = "local")]
async fn subprotocols_that_were_not_offered_are_refused() {
    let server = Server::bind().await;
    let mut settings = settings(&[&server.url()]);
    settings.upstream.subprotocols = ["v1", "v2"].map(Template::literal).to_vec();
    let mut rig = Rig::start(settings);
    for (extra, words) in [
        ("Sec-WebSocket-Protocol: v3\r\n", "isn't one of upstream.subprotocols"),
        ("", "none of upstream.subprotocols"),
        ("Sec-WebSocket-Protocol: v1\r\nSec-WebSocket-Protocol: v2\r\n", "more than one subprotocol"),
    ] {
        drop(upgrade(server.tcp().await, extra).await);
        let line = rig.state("waiting").await;
        assert!(line["error"].as_str().unwrap().contains(words), "{line}");
        assert_eq!(line["conn"], 0, "it was never up");
    }
}

#[tokio::test(flavor = "local")]
async fn an_attempt_that_hangs_ends_at_the_connect_timeout() {
    let server = Server::bind().await;
    let mut settings = settings(&[&server.url()]);
    settings.upstream.connect_timeout = Duration::from_millis(300);
    let mut rig = Rig::start(settings);
    // TCP is accepted, and nothing is said
    let _mute = server.tcp().await;
    let line = rig.state("waiting").await;
    assert!(line["error"].as_str().unwrap().contains("didn't answer the upgrade request"), "{line}");
    // an answer that begins and never ends
    let mut slow = server.http("HTTP/1.1 101 Switching Protocols\r\n").await;
    slow.write_all(b"X-Slow: ").await.unwrap();
    let line = rig.state("waiting").await;
    assert!(line["error"].as_str().unwrap().contains("within 300ms"), "{line}");
}

/// What a server may not send, the code that it is answered with, and what the link line says.
#[tokio::test(flavor = "local")]
async fn broken_rules_are_answered_with_their_close_code() {
    let server = Server::bind().await;
    let mut rig = Rig::start(settings(&[&server.url()]));
    let masked = [0x81, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2];
    let too_large = [0x82, 127, 0, 0, 0, 0, 1, 0, 0, 1];
    let cases: [(&str, &[u8], u16, &str); 12] = [
        ("masked", &masked, 1002, "masked"),
        ("reserved bits", &[0xc1, 0], 1002, "reserved bit"),
        ("reserved opcode", &[0x83, 0], 1002, "opcode"),
        ("fragmented ping", &[0x09, 0], 1002, "control frame in fragments"),
        ("long ping", &[0x89, 126, 0, 126], 1002, "too long"),
        ("nothing to continue", &[0x80, 0], 1002, "without a beginning"),
        ("message within a message", &[0x01, 1, b'a', 0x81, 0], 1002, "within another"),
        ("invalid text", &[0x81, 2, 0xc3, 0x28], 1007, "isn't UTF-8"),
        ("text cut short", &[0x81, 1, 0xc3], 1007, "isn't UTF-8"),
        ("invalid text in fragments", &[0x01, 1, 0xc3, 0x80, 1, 0x28], 1007, "isn't UTF-8"),
        ("close frame of one byte", &[0x88, 1, 3], 1002, "close"),
        ("too large", &too_large, 1009, "16777216 bytes of upstream.max_message"),
    ];
    for (case, bytes, code, words) in cases {
        let mut stream = server.raw().await;
        rig.state("up").await;
        stream.write_all(&frame(0x81, b"before")).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        if case == "long ping" {
            stream.write_all(&[0; 126]).await.unwrap();
        }
        assert_eq!(rig.line().await["text"], "before", "{case}");
        let (first, payload) =
            read_frame(&mut stream).await.unwrap_or_else(|| panic!("{case}: no close frame"));
        assert_eq!((first, close_code(&payload)), (0x88, code), "{case}");
        drop(stream);
        let line = rig.state("waiting").await;
        assert_eq!(line["code"], code, "{case}: {line}");
        assert!(line["error"].as_str().unwrap().contains(words), "{case}: {line}");
    }
}

#[tokio::test(flavor = "local")]
async fn a_close_frame_for_a_fault_arrives_though_the_server_goes_on_sending() {
    let server = Server::bind().await;
    let mut rig = Rig::start(settings(&[&server.url()]));
    for _ in 0..2 {
        let (mut reader, mut writer) = server.raw().await.into_split();
        writer.write_all(&[0x83, 0]).await.unwrap();
        let flood =
            tokio::task::spawn_local(async move { while writer.write_all(&[b'x'; 4096]).await.is_ok() {} });
        // unread bytes at our end would make a reset of its end, and lose the frame
        let (first, payload) = read_frame(&mut reader).await.expect("the close frame arrives");
        assert_eq!((first, close_code(&payload)), (0x88, 1002));
        let begin = Instant::now();
        assert_eq!(rig.state("waiting").await["code"], 1002);
        assert!(begin.elapsed() > Duration::from_millis(500), "the link reads on until the end, or for 1 s");
        within("the end of the flood", flood).await.unwrap();
    }
}

#[tokio::test(flavor = "local")]
async fn a_close_frame_is_echoed_and_told() {
    let server = Server::bind().await;
    let mut rig = Rig::start(settings(&[&server.url()]));
    for (payload, code, reason) in [
        (&b""[..], 1005, None),
        (b"\x03\xf5maintenance\x07", 1013, Some("maintenance")),
        (b"\x0f\xa4login first", 4004, Some("login first")),
        (b"\x03\xf6no upstream", 1014, Some("no upstream")),
    ] {
        let mut stream = server.raw().await;
        rig.state("up").await;
        stream.write_all(&frame(0x88, payload)).await.unwrap();
        let (first, echo) = read_frame(&mut stream).await.expect("the close frame is answered");
        assert_eq!((first, &echo[..echo.len().min(2)]), (0x88, &payload[..payload.len().min(2)]));
        drop(stream);
        let line = rig.line().await;
        assert_eq!((&line["state"], &line["code"]), (&"waiting".into(), &code.into()), "{line}");
        assert_eq!(line["reason"].as_str(), reason, "control characters are taken out");
    }
}

#[tokio::test(flavor = "local")]
async fn a_close_code_that_no_one_may_send_is_told_with_its_reason_and_answered_with_1002() {
    let server = Server::bind().await;
    let mut rig = Rig::start(settings(&[&server.url()]));
    for (code, what) in [
        (10_001_u16, ""),
        (1005, ": it says that there was none"),
        (1006, ": it says that no close frame came"),
        (1015, ": it says that TLS failed"),
    ] {
        let mut stream = server.raw().await;
        rig.state("up").await;
        let payload = [&code.to_be_bytes()[..], b"token expired"].concat();
        stream.write_all(&frame(0x88, &payload)).await.unwrap();
        let (first, answer) = read_frame(&mut stream).await.expect("the close frame is answered");
        assert_eq!((first, close_code(&answer)), (0x88, 1002));
        drop(stream);
        let line = rig.state("waiting").await;
        assert_eq!((&line["code"], &line["reason"]), (&code.into(), &"token expired".into()), "{line}");
        let error = format!(
            "the server closed the connection with {code} (a code that no one may send{what}): token expired"
        );
        assert_eq!(line["error"], error);
    }
}

#[tokio::test(flavor = "local")]
async fn the_end_without_a_close_frame_is_1006() {
    let server = Server::bind().await;
    let mut rig = Rig::start(settings(&[&server.url()]));
    drop(server.raw().await);
    rig.state("up").await;
    let line = rig.state("waiting").await;
    assert_eq!((&line["code"], &line["attempt"]), (&1006.into(), &1.into()));
    // a reset, for good measure: the server ends with our bytes unread
    let stream = server.raw().await;
    rig.state("up").await;
    rig.send("unread").await.next().await;
    within("our bytes", stream.readable()).await.unwrap();
    drop(stream);
    let line = rig.state("waiting").await;
    assert_eq!((&line["code"], &line["attempt"]), (&1006.into(), &2.into()), "{line}");
}

#[tokio::test(flavor = "local")]
async fn a_server_that_dies_without_a_word_is_noticed() {
    let server = Server::bind().await;
    let mut settings = settings(&[&server.url()]);
    settings.heartbeat.kind = HeartbeatKind::Ping;
    settings.heartbeat.interval = Duration::from_secs(2);
    settings.heartbeat.timeout = Some(Duration::from_secs(2));
    let mut rig = Rig::start(settings);
    let mut stream = server.raw().await;
    rig.state("up").await;
    // it answers once, and then neither reads nor writes nor ends
    let (first, payload) = read_frame(&mut stream).await.unwrap();
    assert_eq!((first, payload.len()), (0x89, 8));
    stream.write_all(&frame(0x8a, &payload)).await.unwrap();
    let line = rig.state("waiting").await;
    assert_eq!(line["code"], 1006);
    assert!(line["error"].as_str().unwrap().contains("no sign of life within 2s"), "{line}");
    assert!(rig.hub.link().heartbeat_rtt.is_none(), "a new state begins without a round trip");
    let _next = server.raw().await;
    rig.state("up").await;
    assert_eq!(
        within("the end", stream.read(&mut [0; 64])).await.ok(),
        Some(10 + 4),
        "the second ping, at most"
    );
}

#[tokio::test(flavor = "local")]
async fn accept_then_close_counts_as_a_failure() {
    let server = Server::bind().await;
    let mut settings = settings(&[&server.url()]);
    let delay = Duration::from_millis(200);
    (settings.reconnect.initial_delay, settings.reconnect.max_delay) = (delay, delay);
    settings.reconnect.jitter = 0.0;
    let begin = Instant::now();
    let mut rig = Rig::start(settings);
    for attempt in 1..=5 {
        drop(server.raw().await);
        let line = rig.state("waiting").await;
        assert_eq!(line["attempt"], attempt);
        assert!(line["retry_in_ms"].as_u64().unwrap() <= 200, "what is left of it: {line}");
    }
    assert_eq!(server.accepted.get(), 5);
    assert!(begin.elapsed() >= 4 * delay, "each attempt waits for its time: {:?}", begin.elapsed());
}
