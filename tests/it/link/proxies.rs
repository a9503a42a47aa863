//! Through a proxy: a tunnel by CONNECT or SOCKS5, and what is said where there is none.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::TcpStream,
};
use wsfan::{
    config::{Proxy, Template},
    hub::Fate,
    upstream::Settings,
};

use super::{support::*, tls::Authority};

/// A name that only the proxies here resolve.
const NAME: &str = "server.invalid";

/// Settings for a server that is reached by the proxy at this URL.
fn by(proxy: &str, url: &str) -> Settings {
    let mut settings = settings(&[url]);
    settings.upstream.proxy = Proxy::Url(Template::parse(proxy).unwrap());
    settings
}

/// Answers a request for a tunnel, and lets bytes pass to and from the server from then on.
async fn pass(mut near: TcpStream, server: &Server, answer: &[u8]) {
    let mut far = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
    near.write_all(answer).await.unwrap();
    tokio::task::spawn_local(async move {
        // either side may break it off
        let _ = copy_bidirectional(&mut near, &mut far).await;
    });
}

/// An HTTP proxy's part. Returns the request.
async fn connect(proxy: &Server, server: &Server) -> String {
    let mut near = proxy.tcp().await;
    let request = read_request(&mut near).await;
    pass(near, server, b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n").await;
    request
}

/// A SOCKS5 proxy's part, which asks for a login. Returns the login and the request, as they came.
async fn socks(proxy: &Server, server: &Server) -> (Vec<u8>, Vec<u8>) {
    let mut near = proxy.tcp().await;
    assert_eq!(read(&mut near, 4).await, [5, 2, 0, 2]);
    near.write_all(&[5, 2]).await.unwrap();
    let login = read(&mut near, 1 + 3 + 3).await;
    near.write_all(&[1, 0]).await.unwrap();
    let request = read(&mut near, 4 + 1 + NAME.len() + 2).await;
    pass(near, server, &[5, 0, 0, 1, 127, 0, 0, 1, 0, 80]).await;
    (login, request)
}

async fn read(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    within("the proxy's client", stream.read_exact(&mut bytes)).await.unwrap();
    bytes
}

#[tokio::test(flavor = "local")]
async fn an_http_proxy_opens_a_tunnel_and_the_login_is_read_afresh() {
    let (proxy, server) = (Server::bind().await, Server::bind().await);
    let files = tempfile::tempdir().unwrap();
    let password = files.path().join("password");
    std::fs::write(&password, "old").unwrap();
    let url = format!("http://me:${{file:{}}}@127.0.0.1:{}", password.display(), proxy.port());
    let mut rig = Rig::start(by(&url, &format!("ws://{NAME}:8080/feed?token=SECRET")));
    for given in ["old", "new"] {
        let request = connect(&proxy, &server).await;
        assert!(
            request.starts_with(&format!("CONNECT {NAME}:8080 HTTP/1.1\r\nHost: {NAME}:8080\r\n")),
            "{request}"
        );
        let login = format!("Basic {}", BASE64.encode(format!("me:{given}")));
        assert_eq!(header(&request, "proxy-authorization"), Some(&*login));
        assert!(!request.contains("SECRET"), "the proxy is told where to, and no more: {request}");
        let (mut stream, request) = upgrade(server.tcp().await, "").await;
        assert!(request.starts_with("GET /feed?token=SECRET HTTP/1.1\r\n"), "{request}");
        assert_eq!(header(&request, "host"), Some(&*format!("{NAME}:8080")));
        assert_eq!(header(&request, "proxy-authorization"), None);
        rig.state("up").await;
        stream.write_all(&frame(0x81, b"hello")).await.unwrap();
        assert_eq!(rig.message().await["text"], "hello");
        let fates = rig.send("there").await;
        assert_eq!(read_frame(&mut stream).await, Some((0x81, b"there".to_vec())));
        assert_eq!(fates.next().await, Fate::Written);
        std::fs::write(&password, "new").unwrap();
    }
}

#[tokio::test(flavor = "local")]
async fn tls_to_the_server_goes_through_the_tunnel_of_either_kind() {
    let (proxy, server, authority) = (Server::bind().await, Server::bind().await, Authority::new("ours"));
    let acceptor = authority.acceptor(NAME, false, false);
    for scheme in ["http", "socks5", "socks5h"] {
        let mut settings =
            by(&format!("{scheme}://me:pw@127.0.0.1:{}", proxy.port()), &format!("wss://{NAME}/"));
        settings.upstream.tls.ca_file = authority.file("ca.pem");
        let mut rig = Rig::start(settings);
        if scheme == "http" {
            assert!(connect(&proxy, &server).await.starts_with(&format!("CONNECT {NAME}:443 ")));
        } else {
            let (login, request) = socks(&proxy, &server).await;
            assert_eq!(login, b"\x01\x02me\x02pw");
            let name = [&[NAME.len() as u8], NAME.as_bytes()].concat();
            assert_eq!(request, [&[5, 1, 0, 3][..], &name, &[1, 0xbb]].concat(), "the proxy resolves it");
        }
        let tls = within("the TLS handshake", acceptor.accept(server.tcp().await)).await.unwrap();
        let (mut stream, request) = upgrade(tls, "").await;
        assert_eq!(header(&request, "host"), Some(NAME));
        let text = "x".repeat(1 << 20);
        stream.write_all(&frame(0x81, text.as_bytes())).await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(rig.message().await["text"], text);
        drop(stream);
        rig.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_proxy_that_refuses_is_told_as_the_proxy_and_tried_again() {
    let (proxy, server) = (Server::bind().await, Server::bind().await);
    let shown = format!("the proxy http://127.0.0.1:{}", proxy.port());
    let url = format!("http://me:SECRET@127.0.0.1:{}", proxy.port());
    let mut rig = Rig::start(by(&url, &server.url()));
    for (answer, words) in [
        (
            "407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=x\r\n",
            "correct them in upstream.proxy",
        ),
        ("403 Forbidden\r\n", "refuses a tunnel to 127.0.0.1:"),
        ("502 Bad Gateway\r\n", "could not reach 127.0.0.1:"),
    ] {
        let _stream = proxy.http(&format!("HTTP/1.1 {answer}\r\n<html>")).await;
        let line = rig.state("waiting").await;
        let error = line["error"].as_str().unwrap();
        assert!(error.starts_with(&shown) && error.contains(words), "{error}");
        assert!(!error.contains("SECRET"), "{error}");
        assert_eq!(line["http_status"], serde_json::Value::Null, "it wasn't the server's: {line}");
    }
    drop(proxy.http("").await);
    let line = rig.state("waiting").await;
    let error = line["error"].as_str().unwrap();
    assert_eq!(error, format!("{shown} ended the connection instead of answering"));
    drop(proxy);
    let error = loop {
        let line = rig.state("waiting").await;
        match line["error"].as_str() {
            Some(error) if error.contains("refused") => break error.to_owned(),
            _ => {}
        }
    };
    assert_eq!(error, format!("{shown} can't be connected to: connection refused (127.0.0.1)"));
    assert_eq!(server.accepted.get(), 0, "nobody goes around the proxy");
}

#[tokio::test(flavor = "local")]
async fn a_proxy_that_falls_silent_or_breaks_off_is_named() {
    let (proxy, authority) = (Server::bind().await, Authority::new("ours"));
    let shown = format!("the proxy http://127.0.0.1:{}", proxy.port());
    let mut settings = by(&format!("http://127.0.0.1:{}", proxy.port()), &format!("wss://{NAME}/"));
    settings.upstream.tls.ca_file = authority.file("ca.pem");
    settings.upstream.connect_timeout = Duration::from_secs(3);
    let mut rig = Rig::start(settings);
    let _mute = proxy.tcp().await;
    let line = rig.state("waiting").await;
    let error = line["error"].as_str().unwrap();
    assert!(error.ends_with(&format!("within 3s: {shown} didn't open a tunnel to it")), "{error}");
    drop(proxy.http("HTTP/1.1 200 OK\r\n\r\n").await);
    let line = rig.state("waiting").await;
    let error = line["error"].as_str().unwrap();
    assert!(error.starts_with("TLS: ") && error.ends_with(&format!("(through {shown})")), "{error}");
}

#[tokio::test(flavor = "local")]
async fn a_proxy_that_is_turned_off_is_left() {
    let (proxy, server) = (Server::bind().await, Server::bind().await);
    let mut settings = by(&format!("http://127.0.0.1:{}", proxy.port()), &server.url());
    let mut rig = Rig::start(settings.clone());
    connect(&proxy, &server).await;
    let mut stream = server.raw().await;
    rig.state("up").await;
    settings.upstream.proxy = Proxy::Off;
    rig.settings.send_replace(settings);
    let (first, payload) = read_frame(&mut stream).await.unwrap();
    assert_eq!((first, close_code(&payload)), (0x88, 1000));
    stream.write_all(&frame(0x88, &payload)).await.unwrap();
    drop(stream);
    let _stream = server.raw().await;
    assert_eq!(rig.state("up").await["conn"], 2);
    assert_eq!(proxy.accepted.get(), 1);
}
