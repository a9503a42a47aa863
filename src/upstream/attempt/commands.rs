//! Runs the programs that a configuration names, for what they print.

use std::{cell::RefCell, env, future::pending, pin::pin, process::Stdio};

use futures_util::FutureExt;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStderr, Command},
    time,
};

use crate::{
    config::{self, Secret},
    upstream::{
        failure::clean,
        secrets::redactor::{MIN, MIN_LIKELY, Redactor},
    },
};

/// The most that a program may print whose output is a value, in bytes.
const MAX_OUTPUT: usize = 64 * 1024;
/// So much is kept of the end of what it writes on standard error.
const MAX_COMPLAINT: usize = 1024;

/// Why a program gave nothing to use.
#[derive(Debug, PartialEq)]
pub(in crate::upstream) struct Failed {
    /// The end of a sentence after the program's name. It holds nothing that the program printed, but the
    /// last line that it wrote on standard error.
    pub(in crate::upstream) why: String,
    /// What it printed, if it came to its end and only its exit status says that it failed.
    pub(in crate::upstream) printed: Option<String>,
}

impl From<String> for Failed {
    fn from(why: String) -> Failed {
        Failed { why, printed: None }
    }
}

/// Runs a program to its end with `stdin` to read, or nothing, and returns what it printed, without the
/// line breaks and blanks around it. Of the daemon's environment it gets what every program does, and what
/// its `env` names. What it writes on standard error matters only if it fails.
///
/// Dropping the future, as a timeout of the attempt does, kills the program, and those that it started.
///
/// # Errors
///
/// It could not be run, failed, or printed nothing.
pub(in crate::upstream) async fn run(
    command: &config::Program,
    stdin: Option<Secret>,
    redactor: &Redactor,
) -> Result<String, Failed> {
    let printed = print(command, stdin, redactor, MAX_OUTPUT).await?;
    match String::from_utf8(printed) {
        Err(_) => Err("printed what is not UTF-8 text".to_owned().into()),
        Ok(text) if text.trim().is_empty() => Err("printed nothing".to_owned().into()),
        Ok(text) => Ok(text.trim().to_owned()),
    }
}

/// The same, for the bytes that it prints, `max` of them at most.
///
/// # Errors
///
/// It could not be run, failed, or printed more.
pub(in crate::upstream) async fn print(
    command: &config::Program,
    stdin: Option<Secret>,
    redactor: &Redactor,
    max: usize,
) -> Result<Vec<u8>, Failed> {
    let (program, arguments) =
        command.run.split_first().ok_or_else(|| Failed::from("names no program".to_owned()))?;
    let names = config::Program::ENVIRONMENT.into_iter().chain(command.env.iter().map(String::as_str));
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(names.filter_map(|name| Some((name, env::var_os(name)?))))
        .stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .process_group(0)
        .spawn()
        .map_err(|error| format!("can't be started: {}", reason(&error)))?;
    let mut family = Family(child);
    // it may complain of what it was given, and say it again
    let mut redactor = redactor.clone();
    hide_environment(command, &mut redactor);
    stdin.iter().for_each(|text| redactor.hide(text.expose(), MIN_LIKELY));
    match time::timeout(command.timeout, talk(&mut family.0, stdin, redactor, max)).await {
        Ok(printed) => printed,
        Err(_) => Err(format!("did not end within {}", config::format_duration(command.timeout)).into()),
    }
}

/// Hides what a program is let know of the daemon's environment: it, or a server that it asks, may repeat it.
pub(in crate::upstream) fn hide_environment(command: &config::Program, redactor: &mut Redactor) {
    command.env.iter().filter_map(env::var_os).for_each(|value| redactor.hide(&value.to_string_lossy(), MIN));
}

/// A program in a process group of its own: what it started, a shell's commands say, ends with it.
struct Family(Child);

impl Drop for Family {
    fn drop(&mut self) {
        // while it isn't waited for, its number is nobody else's
        let number = self.0.id().and_then(|number| i32::try_from(number).ok());
        if let Some(group) = number.and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Writes and reads at the same time: neither side may wait for the other.
async fn talk(
    child: &mut Child,
    stdin: Option<Secret>,
    mut redactor: Redactor,
    max: usize,
) -> Result<Vec<u8>, Failed> {
    let (pipe, stderr) = (child.stdin.take(), child.stderr.take());
    let complaint = RefCell::new(Vec::new());
    let mut listen = pin!(listen(stderr, &complaint));
    let write = async move {
        if let (Some(mut pipe), Some(text)) = (pipe, stdin) {
            // a program that doesn't read it all needn't
            let _ = pipe.write_all(text.expose().as_bytes()).await;
        }
        pending().await
    };
    let output = tokio::select! {
        output = output(child, max) => output,
        () = write => unreachable!("it is the output that ends it"),
        () = &mut listen => unreachable!("it is the output that ends it"),
    };
    // what the program has written by its end is in the pipe; what it left behind isn't waited for
    let _ = listen.now_or_never();
    output.map_err(|failed| {
        failed.printed.iter().for_each(|printed| redactor.hide(printed, MIN_LIKELY));
        match last_line(&complaint.borrow(), &redactor) {
            Some(line) => Failed { why: format!("{}: {line}", failed.why), ..failed },
            None => failed,
        }
    })
}

/// Reads all that a program writes on standard error, so that it never waits for that, and keeps the end.
async fn listen(stderr: Option<ChildStderr>, end: &RefCell<Vec<u8>>) {
    if let Some(mut stderr) = stderr {
        let mut piece = [0; 4096];
        while let Ok(length @ 1..) = stderr.read(&mut piece).await {
            let mut end = end.borrow_mut();
            end.extend_from_slice(&piece[..length]);
            let over = end.len().saturating_sub(MAX_COMPLAINT);
            end.drain(..over);
        }
    }
    pending().await
}

/// The last line with something in it, to be shown: without what `redactor` knows.
fn last_line(text: &[u8], redactor: &Redactor) -> Option<String> {
    let is_whole = text.len() < MAX_COMPLAINT;
    let text = String::from_utf8_lossy(text);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    let is_first = || text.trim_start().starts_with(line);
    let start = if is_whole || !is_first() { "" } else { "…" };
    Some(format!("{start}{}", clean(&redactor.redact(line))))
}

async fn output(child: &mut Child, max: usize) -> Result<Vec<u8>, Failed> {
    let stdout = child.stdout.take().ok_or_else(|| "has no standard output".to_owned())?;
    let mut printed = Vec::new();
    // a line break at the end is none too many
    let limit = max as u64 + 2;
    let read = stdout.take(limit).read_to_end(&mut printed).await;
    read.map_err(|error| format!("can't be read from: {}", reason(&error)))?;
    if printed.strip_suffix(b"\n").unwrap_or(&printed).len() > max {
        return Err(format!("printed more than {}", config::format_size(max as u64)).into());
    }
    let status = child.wait().await.map_err(|error| format!("can't be waited for: {}", reason(&error)))?;
    if !status.success() {
        let text = String::from_utf8(printed).map(|text| text.trim().to_owned());
        return Err(Failed { why: format!("failed ({status})"), printed: text.ok() });
    }
    Ok(printed)
}

/// The operating system's words, without its number.
fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn shell(script: &str) -> Result<String, Failed> {
        let mut command = config::Program::new(vec!["/bin/sh".into(), "-c".into(), script.into()]);
        command.timeout = Duration::from_secs(20);
        run(&command, None, &Redactor::default()).await
    }

    #[tokio::test(flavor = "local")]
    async fn what_a_program_prints_is_trimmed() {
        assert_eq!(shell("printf ' a\\nb\\n\\n'").await, Ok("a\nb".to_owned()));
    }

    #[tokio::test(flavor = "local")]
    async fn a_program_reads_what_it_is_given_or_leaves_it() {
        let text = Secret::new("x".repeat(1 << 20));
        let mut command = config::Program::new(vec!["/usr/bin/wc".into(), "-c".into()]);
        command.timeout = Duration::from_secs(20);
        assert_eq!(run(&command, Some(text.clone()), &Redactor::default()).await, Ok("1048576".to_owned()));
        let mut command = config::Program::new(vec!["/bin/echo".into(), "done".into()]);
        command.timeout = Duration::from_secs(20);
        assert_eq!(run(&command, Some(text), &Redactor::default()).await, Ok("done".to_owned()));
    }

    #[tokio::test(flavor = "local")]
    async fn what_goes_wrong_is_a_sentence_without_a_word_of_the_output() {
        let missing = config::Program::new(vec!["/nowhere/program".into()]);
        let missing = run(&missing, None, &Redactor::default()).await;
        assert_eq!(missing, Err("can't be started: No such file or directory".to_owned().into()));
        for (script, sentence) in [
            ("echo SECRET; exit 3", "failed (exit status: 3)"),
            (
                "echo first >&2; echo 'the \u{1b}[31mlast' >&2; echo >&2; exit 3",
                "failed (exit status: 3): the  [31mlast",
            ),
            ("seq 100000 >&2; echo end >&2; exit 1", "failed (exit status: 1): end"),
            // a line that is too long: of its beginning more than is kept, and of what is kept more than is quoted
            (
                "printf '%0300d' 0 >&2; exit 1",
                &*format!("failed (exit status: 1): {}… (+100 bytes)", "0".repeat(200)),
            ),
            (
                "printf '%02000d' 0 >&2; exit 1",
                &format!("failed (exit status: 1): …{}… (+824 bytes)", "0".repeat(200)),
            ),
            ("sleep 30 >/dev/null & echo left >&2; exit 4", "failed (exit status: 4): left"),
            ("true", "printed nothing"),
            ("printf '\\377'", "printed what is not UTF-8 text"),
            ("while echo SECRET; do :; done", "printed more than 64KiB"),
        ] {
            assert_eq!(
                shell(script).await.map_err(|failed| failed.why),
                Err(sentence.to_owned()),
                "{script}"
            );
        }
    }

    #[tokio::test(flavor = "local")]
    async fn what_a_program_printed_before_it_failed_is_for_its_rejections() {
        let failed = shell("echo ' {\"ok\":false} '; exit 22").await.unwrap_err();
        assert_eq!(failed.printed.as_deref(), Some(r#"{"ok":false}"#));
    }

    #[tokio::test(flavor = "local")]
    async fn a_program_gets_the_variables_that_are_named_for_it_and_a_few_harmless_ones() {
        let mut command = config::Program::new(vec!["/usr/bin/env".into()]);
        command.timeout = Duration::from_secs(20);
        let names = |printed: String| {
            let names = printed.lines().filter_map(|line| Some(line.split_once('=')?.0.to_owned()));
            names.collect::<Vec<_>>()
        };
        // cargo gives its tests many
        assert!(env::var_os("CARGO_MANIFEST_DIR").is_some() && env::var_os("CARGO_PKG_NAME").is_some());
        let plain = names(run(&command, None, &Redactor::default()).await.unwrap());
        assert!(plain.iter().all(|name| config::Program::ENVIRONMENT.contains(&name.as_str())), "{plain:?}");
        assert!(plain.iter().any(|name| name == "PATH"), "{plain:?}");
        command.env = vec!["CARGO_PKG_NAME".into(), "NOT_SET_ANYWHERE".into()];
        let mut more = names(run(&command, None, &Redactor::default()).await.unwrap());
        more.retain(|name| !plain.contains(name));
        assert_eq!(more, ["CARGO_PKG_NAME"]);
    }

    /// Waits until the process whose number is in this file is gone, or a zombie: the runtime collects
    /// what is left of it in its own time.
    async fn end_of(file: &std::path::Path) {
        let process = format!("/proc/{}/stat", std::fs::read_to_string(file).unwrap().trim());
        while std::fs::read_to_string(&process).is_ok_and(|stat| !stat.contains(") Z ")) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(flavor = "local")]
    async fn a_program_that_does_not_end_is_killed_with_those_that_it_started() {
        let directory = tempfile::tempdir().unwrap();
        let (own, other) = (directory.path().join("own"), directory.path().join("other"));
        let script = format!("echo $$ > {}; sleep 1000 & echo $! > {}; wait", own.display(), other.display());
        let mut command = config::Program::new(vec!["/bin/sh".into(), "-c".into(), script]);
        // until it has come as far as to start the other, however slow the machine is
        for time in [500, 5_000, 30_000].map(Duration::from_millis) {
            command.timeout = time;
            assert_eq!(
                run(&command, None, &Redactor::default()).await,
                Err(format!("did not end within {time:?}").into())
            );
            if std::fs::read_to_string(&other).is_ok_and(|number| number.ends_with('\n')) {
                break;
            }
        }
        end_of(&own).await;
        end_of(&other).await;
    }

    #[tokio::test(flavor = "local")]
    async fn a_program_that_printed_all_is_not_waited_for_by_its_reader() {
        // the one that it leaves behind holds the pipe, and never reads it
        let script = "exec 3<&0; sleep 1000 <&3 >/dev/null 2>&1 & echo $!";
        let mut command = config::Program::new(vec!["/bin/sh".into(), "-c".into(), script.into()]);
        command.timeout = Duration::from_secs(20);
        let text = Secret::new("x".repeat(1 << 20));
        let printed = run(&command, Some(text), &Redactor::default()).await.expect("it ends at once");
        let left = Pid::from_raw(printed.parse().unwrap()).unwrap();
        rustix::process::kill_process(left, Signal::KILL).unwrap();
    }
}
