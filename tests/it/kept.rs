//! Commands that are run once, through the real daemon: what they print is kept until something says otherwise.

use serde_json::json;

use crate::common::{Daemon, Server};

/// A command that makes a session: it counts how often it is run, in `count`.
fn config(server: &Server, count: &std::path::Path, keys: &str) -> String {
    let script = format!(
        r#"echo x >> {count}; printf '{{"id":"kernel-secret-%d"}}' $(wc -l < {count})"#,
        count = count.display()
    );
    server.config().replace("/stream", "/kernels/${command:kernel/id}")
        + &format!(
            "[[reconnect.rule]]\nstatuses = [404]\nthen = \"forget\"\n\
             [[reconnect.rule]]\nstatuses = [403]\nthen = \"refresh\"\n\
             [command.kernel]\nrun = [\"/bin/sh\", \"-c\", {}]\nkeep = true\n{keys}",
            json!(script)
        )
}

const REFUSED: &str = "HTTP/1.1 STATUS No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

#[test]
fn a_session_is_made_once_and_anew_when_the_server_has_it_no_more() {
    let server = Server::bind();
    let directory = tempfile::tempdir().unwrap();
    let count = directory.path().join("count");
    let daemon = Daemon::start(&config(&server, &count, ""));
    let upstream = server.accept();
    assert_eq!(upstream.path, "/kernels/kernel-secret-1");
    upstream.drop_tcp();
    server.answer(&REFUSED.replace("STATUS", "503"));
    drop(server.accept_tcp()); // an attempt that ends before anything is said
    let upstream = server.accept();
    assert_eq!(upstream.path, "/kernels/kernel-secret-1", "over connections and attempts");
    upstream.drop_tcp();
    for (status, next) in [("404", 2), ("403", 3)] {
        server.answer(&REFUSED.replace("STATUS", status));
        let upstream = server.accept();
        assert_eq!(upstream.path, format!("/kernels/kernel-secret-{next}"), "{status}");
        upstream.drop_tcp();
    }
    let upstream = server.accept();
    assert_eq!(upstream.path, "/kernels/kernel-secret-3");
    let mut client = daemon.client();
    for shown in [client.status().to_string(), client.hello.to_string(), daemon.log()] {
        assert!(!shown.contains("kernel-secret"), "{shown}");
    }
}

#[test]
fn a_reload_runs_it_anew_where_it_is_another_and_only_there() {
    let server = Server::bind();
    let directory = tempfile::tempdir().unwrap();
    let count = directory.path().join("count");
    let daemon = Daemon::start(&config(&server, &count, ""));
    let mut upstream = server.accept();
    for (keys, path) in [
        ("timeout = \"9s\"\n", "/kernels/kernel-secret-1"),
        ("env = [\"http_proxy\"]\n", "/kernels/kernel-secret-2"),
        ("", "/kernels/kernel-secret-3"),
    ] {
        daemon.rewrite(&config(&server, &count, keys));
        daemon.signal("HUP");
        upstream.closed();
        upstream = server.accept();
        assert_eq!(upstream.path, path, "{keys}");
    }
}

#[test]
fn a_rotation_shares_it() {
    let server = Server::bind();
    let directory = tempfile::tempdir().unwrap();
    let count = directory.path().join("count");
    let _daemon = Daemon::start(&config(&server, &count, "[rotate]\nwhen = \"move\"\n"));
    let mut old = server.accept();
    old.text("move");
    let new = server.accept();
    assert_eq!((old.path.as_str(), &new.path), ("/kernels/kernel-secret-1", &old.path));
}

#[test]
fn a_command_that_is_refused_says_what_that_leads_to() {
    for (script, keys, told) in [
        (
            "echo '{\"ok\":false,\"error\":\"revoked\"}'",
            "reject = { \"/ok\" = false }\non_fail = \"stop\"",
            "[command.login] printed what `reject` is about: revoked",
        ),
        (
            "echo '{\"ok\":false,\"error\":\"revoked\"}'; exit 22",
            "reject = { match = \"revoked\", then = \"stop\" }",
            "[command.login] printed what `reject` is about: revoked",
        ),
        (
            "echo no such key >&2; exit 3",
            "on_fail = \"stop\"",
            "[command.login] failed (exit status: 3): no such key",
        ),
    ] {
        let config = format!(
            "[upstream]\nurl = \"ws://127.0.0.1:9/\"\nheaders = {{ X-A = \"${{command:login}}\" }}\n\
             [reconnect]\non_exhausted = \"exit\"\n\
             [command.login]\nrun = [\"/bin/sh\", \"-c\", {}]\n{keys}\n[[listener]]\npath = \"SOCKET\"\n",
            json!(script)
        );
        let mut daemon = Daemon::start(&config);
        assert_eq!(daemon.wait().code(), Some(69), "{}", daemon.log());
        assert!(daemon.log().contains(told), "{told}: {}", daemon.log());
    }
}
