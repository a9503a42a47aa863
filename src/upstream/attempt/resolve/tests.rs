use futures_util::FutureExt;

use super::{read as read_with, *};

fn settings(text: &str) -> Settings {
    Settings::parse(&format!("[upstream]\nurl = \"ws://h/\"\n{text}"))
}

/// All that an attempt reads, the first of its kind.
async fn read(settings: &Settings) -> Secrets {
    read_with(settings, &Kept::default(), &Track::default()).await.0
}

fn get(secrets: &Secrets, template: &str) -> Result<String, String> {
    let template = Template::parse(template).unwrap();
    let secret = template.render(|placeholder| secrets.value(placeholder));
    secret.map(|secret| secret.expose().to_owned()).map_err(|error| error.to_string())
}

#[tokio::test(flavor = "local")]
async fn a_command_is_run_once_for_all_uses_and_afresh_for_each_attempt() {
    let directory = tempfile::tempdir().unwrap();
    let count = directory.path().join("count");
    let settings = settings(&format!(
        r#"
[vars]
token = "t-${{command:sign/token}}"
list = ["a", 1]
private = ""
[command.sign]
run = ["/bin/sh", "-c", "echo x >> {count}; printf '{{\"token\":\"secret\",\"at\":%d}}' $(wc -l < {count})"]
[command.never]
run = ["/bin/sh", "-c", "touch {count}.never"]
[[script.step]]
if_var = "private"
send = "${{command:never}}"
[[script.step]]
send = '{{"a":"${{var:token}}","b":${{var:list}},"c":"${{command:sign/at}}","d":"${{command:sign}}"}}'
"#,
        count = count.display()
    ));
    let secrets = read(&settings).await;
    assert_eq!(get(&secrets, "${var:token}"), Ok("t-secret".into()));
    assert_eq!(get(&secrets, "${var:list}"), Ok(r#"["a",1]"#.into()));
    assert_eq!(get(&secrets, "${command:sign/at}"), Ok("1".into()));
    assert_eq!(get(&secrets, "${command:sign}"), Ok(r#"{"token":"secret","at":1}"#.into()));
    let secrets = read(&settings).await;
    assert_eq!(get(&secrets, "${command:sign/at}"), Ok("2".into()));
    assert!(!directory.path().join("count.never").exists(), "what no step that is left in names isn't run");
}

#[tokio::test(flavor = "local")]
async fn a_command_reads_what_it_is_given() {
    let settings = settings(
        r#"
[vars]
token = "${file:/etc/hostname}"
[command.cat]
run = ["/bin/cat"]
stdin = "a ${var:token}!"
[[script.step]]
send = '{"a":"${command:cat}"}'
"#,
    );
    let name = std::fs::read_to_string("/etc/hostname").unwrap();
    let secrets = read(&settings).await;
    assert_eq!(get(&secrets, "${command:cat}"), Ok(format!("a {}!", name.trim())));
}

#[tokio::test(flavor = "local")]
async fn what_is_said_of_topics_and_of_requests_has_its_values() {
    let settings = settings(
        "[vars]\na = \"1\"\nb = \"2\"\nc = \"3\"\nd = \"4\"\n\
         [topics]\nsubscribe = '{\"a\":\"${var:a}\",\"t\":[${topics}]}'\n\
         unsubscribe = '{\"b\":\"${var:b}\",\"t\":[${topics}]}'\n\
         item = '{\"c\":\"${var:c}\",\"t\":${topic}}'\n[requests]\nid = \"/id\"\n\
         [[requests.stream]]\nwhen = { \"/a\" = 1 }\ncancel = '{\"d\":\"${var:d}\",\"k\":${key}}'\n",
    );
    let secrets = read(&settings).await;
    for (name, value) in [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")] {
        assert_eq!(get(&secrets, &format!("${{var:{name}}}")), Ok(value.to_owned()));
    }
}

#[tokio::test(flavor = "local")]
async fn what_cannot_be_read_is_an_error_where_it_is_used() {
    let settings = settings(
        r#"
[vars]
token = "${file:/nowhere}"
fine = "yes"
[command.bad]
run = ["/bin/false"]
[[script.step]]
send = '{"a":"${var:token}","b":"${var:fine}","c":"${command:bad}"}'
"#,
    );
    let secrets = read(&settings).await;
    assert_eq!(get(&secrets, "${var:fine}"), Ok("yes".into()));
    let error = "`${var:token}` has no value: `${file:/nowhere}` can't be read: there is no such file: write it there, or \
         correct the path";
    assert_eq!(get(&secrets, "${var:token}"), Err(error.into()));
    assert!(get(&secrets, "${command:bad}").unwrap_err().starts_with("`${command:bad}` failed"));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_file_that_never_comes_is_given_up_and_nobody_waits_meanwhile() {
    // it is read for as long as this end is there
    let (end, disk) = std::sync::mpsc::channel::<()>();
    let mut read = std::pin::pin!(aside(move || {
        let _ = disk.recv();
        Ok("late".to_owned())
    }));
    // the clock stands still while something is read: it moves only by hand
    assert_eq!((&mut read).now_or_never(), None, "others have their turn");
    time::advance(FILE_TIMEOUT - Duration::from_millis(1)).await;
    assert_eq!((&mut read).now_or_never(), None, "it may still come");
    time::advance(Duration::from_millis(2)).await;
    assert_eq!((&mut read).now_or_never(), Some(Err("can't be read within 5s".to_owned())));
    drop(end);
}

#[tokio::test(flavor = "local")]
async fn a_step_without_its_value_fails_the_attempt_unless_it_may_not_be_said() {
    for (when, fails) in [("", true), ("if_var = \"private\"", false), ("unless_var = \"token\"", false)] {
        let settings = settings(&format!(
            "[vars]\ntoken = \"${{file:/nowhere}}\"\nprivate = \"\"\n[[script.step]]\nname = \"log in\"\n\
             send = '{{\"a\":\"${{var:token}}\"}}'\non_fail = \"stop\"\n{when}\n[[script.step]]\n\
             if_var = \"private\"\nsend = \"b\"\n"
        ));
        let failure = unmet(&settings, &read(&settings).await);
        assert_eq!(failure.is_some(), fails, "{when}");
        let Some(failure) = failure else { continue };
        let sentence = "step \"log in\" needs `${file:/nowhere}`, which can't be read: there is no such file";
        assert!(failure.error.as_deref().unwrap().starts_with(sentence), "{failure:?}");
        assert_eq!(failure.then, Some(config::Remedy::Stop));
    }
}

#[tokio::test(flavor = "local")]
async fn a_step_that_is_certain_to_fail_fails_the_attempt() {
    let text = |when: &str, send: &str| {
        format!(
            r#"
[vars]
token = "t-${{command:bad}}"
[command.bad]
run = ["/bin/sh", "-c", "echo no such key >&2; exit 7"]
[[script.step]]
name = "log in"
send = '{send}'
on_fail = "stop"
{when}
[[reply]]
match = "never"
send = '{{"a":"${{var:token}}"}}'
"#
        )
    };
    for (when, send, fails) in [
        ("", r#"{"a":"${command:bad}"}"#, true),
        ("", r#"{"a":"${var:token}"}"#, true),
        (
            "if_captured = \"x\"\n[[capture]]\nmatch = \"x\"\nvalues = { x = \"/x\" }",
            r#"{"a":"${var:token}"}"#,
            false,
        ),
    ] {
        let settings = settings(&text(when, send));
        let failure = unmet(&settings, &read(&settings).await);
        let Some(failure) = failure else {
            assert!(!fails, "{when} {send}");
            continue;
        };
        assert!(fails, "{when} {send}");
        let sentence =
            "step \"log in\" needs what [command.bad] prints, which failed (exit status: 7): no such key";
        assert_eq!(failure.error.as_deref(), Some(sentence));
        assert_eq!(failure.then, Some(config::Remedy::Stop));
    }
}

/// A command that counts its runs, with these keys, and a step that needs what it prints.
fn counted(directory: &std::path::Path, keys: &str) -> Settings {
    let count = directory.join("count");
    settings(&format!(
        r#"
[command.kernel]
run = ["/bin/sh", "-c", "echo x >> {count}; printf 'kernel-%d' $(wc -l < {count})"]
{keys}
[[script.step]]
send = "${{command:kernel}}"
"#,
        count = count.display()
    ))
}

#[tokio::test(flavor = "local")]
async fn what_is_kept_is_run_once_for_all_attempts_that_have_it() {
    let directory = tempfile::tempdir().unwrap();
    let settings = counted(directory.path(), "keep = true");
    let kept = Kept::default();
    for _ in 0..3 {
        let (secrets, failed) = read_with(&settings, &kept, &Track::default()).await;
        assert_eq!((get(&secrets, "${command:kernel}"), failed), (Ok("kernel-1".into()), None));
        assert_eq!(secrets.without("kernel-1"), "…", "it is as secret as one that is fresh");
    }
    assert_eq!(get(&read(&settings).await, "${command:kernel}"), Ok("kernel-2".into()), "forgotten");
    // a reload that runs something else, and one that doesn't keep it any more
    let other = counted(directory.path(), "keep = true\nenv = [\"HTTP_PROXY\"]");
    assert_eq!(
        get(&read_with(&other, &kept, &Track::default()).await.0, "${command:kernel}"),
        Ok("kernel-3".into())
    );
    let plain = counted(directory.path(), "");
    assert_eq!(
        get(&read_with(&plain, &kept, &Track::default()).await.0, "${command:kernel}"),
        Ok("kernel-4".into())
    );
    assert_eq!(
        get(&read_with(&other, &kept, &Track::default()).await.0, "${command:kernel}"),
        Ok("kernel-5".into())
    );
}

#[tokio::test(flavor = "local")]
async fn what_was_printed_before_an_attempt_was_given_up_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = counted(directory.path(), "keep = true");
    let slow = config::Program::new(vec!["/bin/sleep".into(), "1000".into()]);
    settings.terms.commands.insert("slow".into(), config::NamedCommand::new(slow));
    let header = Template::parse("${command:kernel} ${command:slow}").unwrap();
    settings.upstream.headers.push(("x".into(), header));
    let kept = Kept::default();
    let (terms, track) = (settings.terms.clone(), Track::default());
    let mut given_up = Box::pin(read_with(&settings, &kept, &track));
    // the attempt waits for the second command, and then nobody waits for it any more
    while kept.get("kernel", &terms.commands["kernel"], &terms).is_none() {
        assert_eq!((&mut given_up).now_or_never(), None);
        time::sleep(Duration::from_millis(1)).await;
    }
    drop(given_up);
    settings.upstream.headers.clear();
    assert_eq!(
        get(&read_with(&settings, &kept, &Track::default()).await.0, "${command:kernel}"),
        Ok("kernel-1".into())
    );
}

#[tokio::test(flavor = "local")]
async fn what_is_rejected_or_fails_is_not_kept_and_leads_to_what_it_says() {
    let directory = tempfile::tempdir().unwrap();
    let retry = config::Remedy::Retry;
    for (keys, failed, needed) in [
        ("reject = \"kernel-\"", Some(("printed what `reject` is about", retry)), true),
        (
            "reject = { match = \"kernel-\", then = \"refresh\" }\non_fail = \"stop\"",
            Some(("printed what `reject` is about", config::Remedy::Refresh)),
            true,
        ),
        (
            "reject = \"kernel-\"\non_fail = \"stop\"",
            Some(("printed what `reject` is about", config::Remedy::Stop)),
            true,
        ),
        ("on_fail = \"stop\"", None, false),
    ] {
        let kept = Kept::default();
        let settings = counted(directory.path(), &format!("keep = true\n{keys}"));
        let (secrets, failure) = read_with(&settings, &kept, &Track::default()).await;
        assert_eq!(get(&secrets, "${command:kernel}").is_err(), needed, "{keys}");
        let failure = failure.map(|failure| (failure.error.unwrap(), failure.then.unwrap()));
        let failed = failed.map(|(why, then)| (format!("[command.kernel] {why}"), then));
        assert_eq!(failure, failed, "{keys}");
        let terms = &settings.terms;
        assert_eq!(kept.get("kernel", &terms.commands["kernel"], terms).is_none(), needed, "{keys}");
    }
}

#[tokio::test(flavor = "local")]
async fn a_command_that_fails_leads_to_its_own_on_fail_and_without_one_to_the_steps() {
    let text = |on_fail: &str| {
        format!(
            "[command.bad]\nrun = [\"/bin/sh\", \"-c\", \"echo no such key >&2; exit 7\"]\n{on_fail}\n\
             [[script.step]]\nname = \"log in\"\nsend = \"${{command:bad}}\"\non_fail = \"forget\"\n"
        )
    };
    for (on_fail, sentence, then) in [
        ("on_fail = \"stop\"", "[command.bad] failed (exit status: 7): no such key", config::Remedy::Stop),
        (
            "",
            "step \"log in\" needs what [command.bad] prints, which failed (exit status: 7): no such key",
            config::Remedy::Forget,
        ),
    ] {
        let settings = settings(&text(on_fail));
        let (secrets, failed) = read_with(&settings, &Kept::default(), &Track::default()).await;
        assert_eq!(failed.is_some(), !on_fail.is_empty());
        let failure = failed.or_else(|| unmet(&settings, &secrets)).unwrap();
        assert_eq!((failure.error.as_deref(), failure.then), (Some(sentence), Some(then)));
    }
}
