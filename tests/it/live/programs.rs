//! What a check runs, and what it can't try where it runs nothing.

use std::io::{BufRead as _, BufReader};

use serde_json::json;

use super::*;

/// A command that leaves a mark where it was run.
fn command(directory: &Path, keys: &str) -> String {
    let script = format!("echo x >> {}/ran; printf 'printed-%s' value", directory.display());
    format!("[command.login]\nrun = [\"/bin/sh\", \"-c\", {}]\n{keys}\n", json!(script))
}

fn runs(directory: &Path) -> usize {
    fs::read_to_string(directory.join("ran")).map_or(0, |text| text.lines().count())
}

const STEPS: &str = "[[script.step]]\nname = \"first\"\nsend = \"hello\"\nexpect = \"welcome\"\n\
                     [[script.step]]\nname = \"log in\"\nsend = \"${command:login}\"\n";

/// Says `welcome`, and returns all that it hears.
fn welcome() -> server::Server<Vec<String>> {
    serve(|socket| {
        let mut heard = vec![text(socket)];
        socket.send(Message::text("welcome")).unwrap();
        while let Ok(message) = socket.read() {
            if let Message::Text(text) = message {
                heard.push(text.to_string());
            }
        }
        heard
    })
}

#[test]
fn a_program_is_named_before_it_is_run() {
    let (directory, server) = (tempfile::tempdir().unwrap(), welcome());
    let go = directory.path().join("go");
    let script = format!("while ! [ -e {} ]; do sleep 0.02; done; echo printed-value", go.display());
    let config = format!(
        "{}{STEPS}[command.login]\nrun = [\"/bin/sh\", \"-c\", {}, \"--token\", \"s3cr3t\"]\ntimeout = \"20s\"\n",
        plain(server.port),
        json!(script)
    );
    let file = directory.path().join("wsfan.toml");
    fs::write(&file, config).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_wsfan"))
        .args(["check", "--live", "--config", file.to_str().unwrap()])
        .env("no_proxy", "*")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let named = lines.find(|line| line.contains("runs")).expect("it is named");
    let whole = format!("  runs      [command.login]: /bin/sh -c '{script}' --token '***'");
    assert_eq!(named, whole, "it waits for this test, which hasn't let it go");
    fs::write(&go, "").unwrap();
    assert!(lines.any(|line| line.contains("all well, in ")));
    assert!(child.wait().unwrap().success());
}

#[test]
fn what_is_kept_is_run_once_for_all_servers() {
    for (keys, times) in [("keep = true", 1), ("", 2)] {
        let directory = tempfile::tempdir().unwrap();
        let servers = [welcome(), welcome()];
        let urls = servers.each_ref().map(|server| format!("ws://127.0.0.1:{}/", server.port));
        let config = format!("[upstream]\nurl = {urls:?}\n{STEPS}{}", command(directory.path(), keys));
        let done = check_config(&config, &["--json"]);
        assert_eq!((done.code, runs(directory.path())), (Some(0), times), "{keys}: {}", done.out);
        let objects = done.objects();
        let named: Vec<_> = objects.iter().filter(|object| object["type"] == "run").collect();
        assert_eq!(named.len(), times, "{objects:?}");
        let first = objects.iter().position(|object| object["type"] == "run").unwrap();
        assert_eq!(
            (first, &named[0]["key"], &named[0]["keep"]),
            (0, &json!("[command.login]"), &json!(times == 1))
        );
        for server in servers {
            assert_eq!(server.ended(), ["hello", "printed-value"], "{keys}");
        }
        assert!(!done.out.contains("printed-value"), "{}", done.out);
    }
}

#[test]
fn a_dry_check_runs_nothing_and_says_what_it_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let config = |port| plain(port) + STEPS + &command(directory.path(), "");
    let server = welcome();
    let done = check_config(&config(server.port), &["--dry"]);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""), "{}", done.out);
    assert_eq!(server.ended(), ["hello"]);
    assert!(done.row("first").contains("heard welcome"), "{}", done.out);
    let left_out: Vec<_> = done.out.lines().filter(|line| line.contains("left out")).collect();
    assert_eq!(left_out.len(), 2, "{}", done.out);
    assert!(left_out[0].contains("log in"), "{}", done.out);
    assert!(
        left_out[0].ends_with("`send` needs what [command.login] prints, which isn't run"),
        "{}",
        done.out
    );
    assert!(
        left_out[1].contains("heartbeat") && left_out[1].ends_with("comes after what isn't tried"),
        "{}",
        done.out
    );
    assert!(done.out.contains("  all well as far as it was tried, in "), "{}", done.out);

    // the way is walked without what a header needs, and nothing is said to the server
    let port = server::listening();
    let header = format!("{}headers = {{ X-A = \"${{command:login}}\" }}\n", plain(port.port));
    let done = check_config(&(header + STEPS + &command(directory.path(), "")), &["--dry", "--json"]);
    assert_eq!(done.code, Some(0), "{}\n{}", done.out, done.err);
    assert_eq!(port.ended(), 0, "bytes that came");
    let objects = done.objects();
    let result = objects.last().unwrap();
    let stages = result["untried"].as_array().unwrap().iter().map(|part| part["stage"].as_str().unwrap());
    assert_eq!(stages.collect::<Vec<_>>(), ["http", "step", "step", "heartbeat"], "{result}");
    assert_eq!((&result["ok"], &objects[2]["stage"]), (&json!(true), &json!("tcp")));

    let nowhere = format!(
        "[upstream]\nurl_command = {{ run = [\"/bin/sh\", \"-c\", \"touch {}/ran\"] }}\n",
        directory.path().display()
    );
    let done = check_config(&nowhere, &["--dry"]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(
        done.out.contains("left out  prepare") && done.out.contains("upstream.url_command says where to"),
        "{}",
        done.out
    );
    assert_eq!(runs(directory.path()), 0);
}

#[test]
fn dry_is_for_a_walk() {
    let output = Command::new(env!("CARGO_BIN_EXE_wsfan")).args(["check", "--dry"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--live"));
}
