//! What fails on the way, in which stage, and what is to be done.

use super::*;

#[test]
fn a_way_that_does_not_begin_says_what_is_missing() {
    let config = plain(1) + "headers = { Authorization = \"Bearer ${env:MISSING}\" }\n";
    fails(
        &config,
        "prepare",
        &[
            "upstream.headers.Authorization",
            "${env:MISSING}",
            "is not set in the environment",
            "rights and environment",
        ],
    );
    let config = "[upstream]\nurl = \"wss://localhost:1/\"\ntls = { ca_file = \"/etc/hostname\" }\n";
    fails(config, "prepare", &["upstream.tls.ca_file /etc/hostname has no certificate"]);
    let config = "[upstream]\nurl = \"ws://nowhere.invalid/\"\nconnect_timeout = \"20s\"\n";
    fails(config, "dns", &["can't resolve nowhere.invalid", "check the name"]);
}

#[test]
fn a_port_that_refuses() {
    // bound and not listening: nobody else gets it, and it refuses
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    drop(socket);
    fails(&plain(port), "tcp", &["connection refused (127.0.0.1)", "check host and port"]);
}

#[test]
fn a_certificate_that_is_not_good() {
    let (authority, other) = (Authority::new(), Authority::new());
    for (name, days, ca_file, words) in [
        (
            "elsewhere.example",
            Days(9),
            authority.file(),
            &["not for localhost but for", "connect to a name"][..],
        ),
        ("localhost", Days(-3), authority.file(), &["has expired on", "server's operator"]),
        ("localhost", Days(9), other.file(), &["upstream.tls.ca_file"]),
    ] {
        let server = serve_tls(authority.acceptor(name, days), play);
        fails(&tls_config(server.port, &ca_file), "tls", words);
    }
}

#[test]
fn a_server_without_tls_that_hangs_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || drop(listener.accept().unwrap()));
    fails(&tls_config(port, &Authority::new().file()), "tls", &["if it doesn't speak TLS", "write ws://"]);
    server.join().unwrap();
}

#[test]
fn an_upgrade_that_is_refused() {
    for (answer, words) in [
        ("401 Unauthorized", &["401 Unauthorized", "wants credentials", "upstream.headers"][..]),
        ("503 Service Unavailable\r\nRetry-After: 7", &["503", "asks to wait 7 s", "try again later"]),
        ("200 OK", &["200 OK", "check the path"]),
        ("404 Not Found", &["nothing at this path"]),
        ("101 Switching Protocols\r\nUpgrade: h2c", &["websocket", "may be no WebSocket server"]),
    ] {
        let server = server::answer(&format!("HTTP/1.1 {answer}\r\n\r\n"));
        fails(&plain(server.port), "http", words);
    }
    let server = server::answer("SSH-2.0-OpenSSH_9.9\r\n");
    fails(&plain(server.port), "http", &["isn't HTTP"]);
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = mute.local_addr().unwrap().port();
    let done = fails(&plain(port).replace("25s", "300ms"), "http", &["didn't answer the upgrade request"]);
    assert!(done.row("tcp").starts_with("ok"), "{}", done.out);
}

#[test]
fn a_step_that_the_server_puts_off_is_told_and_not_waited_for() {
    let server = serve(|socket| {
        text(socket);
        socket.send(Message::text("{\"type\":\"later\",\"in\":300}")).unwrap();
        closed(socket)
    });
    let reject = "reject = [{ match = { \"/type\" = \"later\" }, then = \"again\", delay = \"/in\" }]\n";
    let step = "[[script.step]]\nname = \"boot\"\nsend = \"hi\"\nexpect = \"ready\"\n";
    let config = plain(server.port) + step + reject;
    let words =
        &["is said again in 5m", "not yet: {\"type\":\"later\"", "the daemon stays connected meanwhile"];
    let done = fails(&config, "step \"boot\"", words);
    assert!(!done.err.contains("credentials"), "{}", done.err);
    assert_eq!(server.ended(), Some(1000));
}

#[test]
fn a_step_that_is_refused_or_not_answered() {
    let server = serve(|socket| {
        text(socket);
        let token = serde_json::to_string(SECRET).unwrap();
        let answer = format!("{{\"type\":\"auth_invalid\",\"message\":{token}}}");
        socket.send(Message::text(answer)).unwrap();
        closed(socket)
    });
    let done = fails(
        &(plain(server.port) + LOGIN),
        "step \"log in\"",
        &["the server refused: {\"type\":\"auth_invalid\"", "the credentials above all"],
    );
    assert!(!done.err.contains("the script's step"), "{}", done.err);
    assert_eq!(server.ended(), Some(1000), "also what failed is closed properly");

    let server = serve(|socket| {
        text(socket);
        socket.send(Message::text("{\"type\":\"welcome\"}")).unwrap();
        while socket.read().is_ok() {}
    });
    let words = &["nothing that was expected came within 3s", "compare its `expect`"];
    let config = plain(server.port) + &LOGIN.replace("20s", "3s");
    let done = fails(&config, "step \"log in\"", words);
    assert!(done.out.contains("heard {\"type\":\"welcome\"}"), "{}", done.out);

    let server = serve(|socket| {
        text(socket);
        socket.close(None).unwrap();
        while socket.read().is_ok() {}
    });
    let words = &["the server closed the connection", "what this server wants to hear"];
    let done = fails(&(plain(server.port) + LOGIN), "step \"log in\"", words);
    assert!(!done.err.contains("credentials"), "{}", done.err);

    let server = serve(|socket| {
        text(socket);
        socket.send(Message::text("{\"type\":\"auth_invalid\",\"status\":\"not yet\"}")).unwrap();
        closed(socket)
    });
    let done = fails(&(plain(server.port) + LOGIN), "step \"log in\"", &["try again later"]);
    assert!(!done.err.contains("credentials"), "{}", done.err);

    let config = LOGIN.replace("\"/session\"", "\"/type\"").replace("${env:TOKEN}\"}'", "${env:MISSING}\"}'");
    fails(
        &(plain(1) + &config),
        "prepare",
        &["step \"log in\" needs `${env:MISSING}`", "rights and environment"],
    );
}

#[test]
fn a_heartbeat_that_nothing_answers() {
    let server = serve(|socket| {
        text(socket);
        let answer = "{\"type\":\"auth_ok\",\"session\":\"abcd-efgh-1234\"}";
        socket.send(Message::text(answer)).unwrap();
        while socket.read().is_ok() {}
    });
    let done = fails(
        &(plain(server.port) + &LOGIN.replace("15s", "500ms")),
        "heartbeat",
        &["no expected answer within 500ms", "check heartbeat.kind"],
    );
    assert!(done.row("subscribe").starts_with("ok"), "{}", done.out);
}

#[test]
fn a_failure_for_a_program_is_in_its_stage_and_in_the_result() {
    let server = server::answer("HTTP/1.1 503 Busy\r\n\r\n");
    let done = check_config(&plain(server.port), &["--json"]);
    assert_eq!((done.code, done.err.as_str()), (Some(1), ""));
    let objects = done.objects();
    let [.., http, result] = &objects[..] else { panic!("{objects:?}") };
    for object in [http, result] {
        assert_eq!((&object["ok"], &object["stage"]), (&false.into(), &"http".into()));
        assert_eq!(object["http_status"], 503);
        assert!(object["error"].as_str().unwrap().contains("unavailable"), "{object}");
        assert!(object["advice"].as_str().unwrap().contains("try again later"), "{object}");
    }
    assert_eq!(result["type"], "result");
}

#[test]
fn a_command_that_fails_ends_the_check_before_anybody_is_called() {
    let done = check_config(
        r#"
[upstream]
url = "ws://127.0.0.1:9/"
[command.sign]
run = ["/bin/sh", "-c", "echo starting >&2; echo 'no such key' >&2; exit 3"]
[[script.step]]
name = "log in"
send = '{"sign":"${command:sign}"}'
"#,
        &[],
    );
    assert_eq!(done.code, Some(1), "{}{}", done.out, done.err);
    let row = done.row("prepare");
    assert!(row.starts_with("failed") && !done.out.contains("tcp"), "{}", done.out);
    let sentence =
        "step \"log in\" needs what [command.sign] prints, which failed (exit status: 3): no such key";
    assert!(done.err.contains(sentence), "{}", done.err);
}
