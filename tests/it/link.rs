//! The link against servers on loopback: real sockets, a real clock, and waits for events only.

mod faults;
mod proxies;
mod rotation;
mod support;
mod tls;

use support::*;
use tokio::io::AsyncWriteExt;
use wsfan::{
    config::{Config, Environment, OnExhausted, Template},
    hub::{Command, Fate},
    upstream::{Exit, Settings},
};

#[tokio::test(flavor = "local")]
async fn messages_go_both_ways_and_a_stop_says_going_away() {
    let server = Server::bind().await;
    let mut rig = Rig::start(settings(&[&server.url()]));
    let mut stream = server.raw().await;
    assert_eq!(rig.state("connecting").await["url"], server.url());
    stream.write_all(&frame(0x81, b"{\"a\":1}")).await.unwrap();
    let up = rig.line().await;
    assert_eq!((&up["state"], &up["conn"], &up["attempt"]), (&"up".into(), &1.into(), &0.into()));
    assert_eq!(rig.line().await["json"]["a"], 1);

    let fates = rig.send("hello").await;
    assert_eq!(read_frame(&mut stream).await, Some((0x81, b"hello".to_vec())));
    assert_eq!(fates.next().await, Fate::Written);
    assert_eq!(rig.hub.counters().traffic().sent, 1);

    let server = tokio::task::spawn_local(async move {
        let (first, payload) = read_frame(&mut stream).await.expect("a close frame comes");
        assert_eq!((first, close_code(&payload)), (0x88, 1001));
        stream.write_all(&frame(0x88, &payload)).await.unwrap();
    });
    assert_eq!(rig.stop().await, Exit::Stopped);
    within("the server", server).await.unwrap();
}

#[tokio::test(flavor = "local")]
async fn messages_of_every_kind_and_size_arrive_whole() {
    let server = Server::bind().await;
    let mut rig = Rig::start(settings(&[&server.url()]));
    let mut stream = server.raw().await;
    let big = "x".repeat(16 << 20);
    let writer = tokio::task::spawn_local(async move {
        stream.write_all(&frame(0x81, b"")).await.unwrap();
        stream.write_all(&frame(0x82, b"")).await.unwrap();
        // fragments, split within a character, with a ping between (RFC 6455, 5.4)
        stream.write_all(&frame(0x01, b"gr\xc3")).await.unwrap();
        stream.write_all(&frame(0x89, b"ping")).await.unwrap();
        stream.write_all(&frame(0x00, b"\xbc")).await.unwrap();
        stream.write_all(&frame(0x80, b"n")).await.unwrap();
        assert_eq!(read_frame(&mut stream).await, Some((0x8a, b"ping".to_vec())));
        stream.write_all(&frame(0x81, big.as_bytes())).await.unwrap();
        stream
    });
    assert_eq!(rig.message().await["text"], "");
    assert_eq!(rig.message().await["binary"], "");
    assert_eq!(rig.message().await["text"], "grün");
    assert_eq!(rig.message().await["text"].as_str().unwrap().len(), 16 << 20);
    drop(within("the server", writer).await.unwrap());
    assert_eq!(rig.state("waiting").await["code"], 1006);
}

#[tokio::test(flavor = "local")]
async fn the_request_has_headers_credentials_and_subprotocols() {
    let server = Server::bind().await;
    let mut settings = settings(&[&format!("ws://me%40home:p%3Aw@127.0.0.1:{}/feed?q=1", server.port())]);
    settings.upstream.subprotocols = ["v2", "v1", "v2"].map(Template::literal).to_vec();
    settings.upstream.headers =
        vec![("X-One".into(), Template::literal("1")), ("Origin".into(), Template::literal("https://o"))];
    let mut rig = Rig::start(settings.clone());
    let (stream, request) = upgrade(server.tcp().await, "Sec-WebSocket-Protocol: v1\r\n").await;
    assert!(request.starts_with("GET /feed?q=1 HTTP/1.1\r\n"), "{request}");
    assert_eq!(header(&request, "host"), Some(&*format!("127.0.0.1:{}", server.port())));
    assert_eq!(header(&request, "authorization"), Some("Basic bWVAaG9tZTpwOnc="));
    assert_eq!(header(&request, "sec-websocket-protocol"), Some("v2, v1"));
    assert_eq!((header(&request, "x-one"), header(&request, "origin")), (Some("1"), Some("https://o")));
    let up = rig.state("up").await;
    assert_eq!(up["subprotocol"], "v1");
    assert_eq!(up["url"], format!("ws://127.0.0.1:{}/feed", server.port()), "no secret is shown");

    // what is signed is what is sent, and a subprotocol with a value in it is a credential
    let text = "[upstream]\nurl = \"ws://127.0.0.1:PORT/\"\nsubprotocols = [\"v1\", \"auth.${derived:token}\"]\n\
                headers = { x-at = \"${now_ms}\", x-sign = \"${derived:sign}\" }\n\
                [vars]\ntoken = \"a/b\"\n[derived.sign]\nof = \"at ${now_ms}\"\n\
                [derived.token]\nof = \"${var:token}\"\nas = \"base64url\"";
    let text = text.replace("PORT", &server.port().to_string());
    let config = Config::parse(&text, &Environment::fixed([])).unwrap();
    let signed = Settings { upstream: config.upstream, terms: config.terms, ..settings.clone() };
    rig.settings.send_replace(signed);
    drop(stream);
    let (stream, request) = upgrade(server.tcp().await, "Sec-WebSocket-Protocol: auth.YS9i\r\n").await;
    assert_eq!(header(&request, "sec-websocket-protocol"), Some("v1, auth.YS9i"));
    assert_eq!(header(&request, "x-sign"), Some(&*format!("at {}", header(&request, "x-at").unwrap())));
    let up = rig.state("up").await;
    assert_eq!(up["subprotocol"], "auth.${derived:token}");

    // a configured header beats the URL's user
    settings.upstream.headers = vec![("authorization".into(), Template::literal("Bearer t"))];
    rig.settings.send_replace(settings);
    drop(stream);
    let (_stream, request) = upgrade(server.tcp().await, "Sec-WebSocket-Protocol: v2\r\n").await;
    assert_eq!(header(&request, "authorization"), Some("Bearer t"));
}

#[tokio::test(flavor = "local")]
async fn a_renewed_token_is_used_by_the_next_attempt() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, "old").unwrap();
    let server = Server::bind().await;
    let mut settings = settings(&[&server.url()]);
    let template = Template::parse(&format!("Bearer ${{file:{}}}", token.display())).unwrap();
    settings.upstream.headers = vec![("Authorization".into(), template)];
    let mut rig = Rig::start(settings);
    let mut stream = server.tcp().await;
    assert_eq!(header(&read_request(&mut stream).await, "authorization"), Some("Bearer old"));
    std::fs::remove_file(&token).unwrap();
    drop(stream);
    rig.state("waiting").await;
    // without its file the attempt fails by name, and is tried again
    let error = rig.state("waiting").await["error"].to_string();
    assert!(error.contains("upstream.headers.Authorization") && error.contains("token"), "{error}");
    std::fs::write(&token, "new").unwrap();
    let (_, request) = upgrade(server.tcp().await, "").await;
    assert_eq!(header(&request, "authorization"), Some("Bearer new"));
}

#[tokio::test(flavor = "local")]
async fn a_list_of_urls_is_tried_in_turn() {
    let (bad, good) = (Server::bind().await, Server::bind().await);
    let mut rig = Rig::start(settings(&[&bad.url(), &good.url()]));
    bad.http("HTTP/1.1 503 Service Unavailable\r\n\r\n").await;
    let waiting = rig.state("waiting").await;
    assert_eq!(waiting["url"], good.url(), "the next one is named");
    assert!(waiting["error"].as_str().unwrap().starts_with(&bad.url()), "{waiting}");
    let stream = good.raw().await;
    assert_eq!(rig.state("up").await["url"], good.url());
    drop(stream);
    bad.raw().await;
    assert_eq!(rig.state("up").await["conn"], 2);
}

#[tokio::test(flavor = "local")]
async fn an_address_that_refuses_gives_way_to_the_next() {
    // "localhost" has both families on most machines; the server listens on IPv4 alone
    let server = Server::bind().await;
    let mut rig = Rig::start(settings(&[&format!("ws://localhost:{}/", server.port())]));
    let _stream = server.raw().await;
    assert_eq!(rig.state("up").await["attempt"], 0);
}

#[tokio::test(flavor = "local")]
async fn given_up_for_good() {
    let server = Server::bind().await;
    let url = server.url();
    drop(server);
    let mut settings = settings(&[&url]);
    settings.reconnect.max_attempts = 2;
    settings.reconnect.on_exhausted = OnExhausted::Exit;
    let mut rig = Rig::start(settings);
    let failed = rig.state("failed").await;
    let error = failed["error"].as_str().unwrap();
    assert!(error.contains("2 attempts") && error.contains("connection refused (127.0.0.1)"), "{error}");
    assert_eq!(rig.ended().await, Exit::GivenUp);
}

#[tokio::test(flavor = "local")]
async fn reconnect_close_and_open() {
    let server = Server::bind().await;
    let mut rig = Rig::start(settings(&[&server.url()]));
    let mut stream = server.raw().await;
    rig.state("up").await;
    rig.command(Command::Reconnect).await;
    let (first, payload) = read_frame(&mut stream).await.unwrap();
    assert_eq!((first, close_code(&payload)), (0x88, 1000));
    stream.write_all(&frame(0x88, &payload)).await.unwrap();
    drop(stream);
    let connecting = rig.state("connecting").await;
    assert_eq!((&connecting["code"], &connecting["reason"]), (&1000.into(), &"reconnect".into()));
    let mut stream = server.raw().await;
    assert_eq!(rig.state("up").await["conn"], 2);
    rig.command(Command::Close).await;
    let (_, payload) = read_frame(&mut stream).await.unwrap();
    stream.write_all(&frame(0x88, &payload)).await.unwrap();
    drop(stream);
    rig.state("closed").await;
    rig.command(Command::Open).await;
    let _stream = server.raw().await;
    assert_eq!(rig.state("up").await["conn"], 3);
}
