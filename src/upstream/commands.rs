//! Runs the programs that a configuration names, for what they print.

use std::{future::pending, process::Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    time,
};

use crate::config::{self, Secret};

/// The most that a program may print, in bytes.
const MAX_OUTPUT: usize = 64 * 1024;

/// Runs a program to its end with `stdin` to read, or nothing, and returns what it printed, without the
/// line breaks and blanks around it. What it writes on standard error goes to the daemon's own.
///
/// Dropping the future, as a timeout of the attempt does, kills the program, and those that it started.
///
/// # Errors
///
/// What went wrong, the end of a sentence after the program's name; nothing that it printed.
pub(super) async fn run(command: &config::Command, stdin: Option<Secret>) -> Result<String, String> {
    let (program, arguments) = command.run.split_first().ok_or("names no program")?;
    let child = Command::new(program)
        .args(arguments)
        .stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .process_group(0)
        .spawn()
        .map_err(|error| format!("can't be started: {}", reason(&error)))?;
    let mut family = Family(child);
    match time::timeout(command.timeout, talk(&mut family.0, stdin)).await {
        Ok(printed) => printed,
        Err(_) => Err(format!("did not end within {}", config::format_duration(command.timeout))),
    }
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
async fn talk(child: &mut Child, stdin: Option<Secret>) -> Result<String, String> {
    let pipe = child.stdin.take();
    let write = async move {
        if let (Some(mut pipe), Some(text)) = (pipe, stdin) {
            // a program that doesn't read it all needn't
            let _ = pipe.write_all(text.expose().as_bytes()).await;
        }
        pending().await
    };
    tokio::select! {
        printed = output(child) => printed,
        () = write => unreachable!("it is the output that ends it"),
    }
}

async fn output(child: &mut Child) -> Result<String, String> {
    let stdout = child.stdout.take().ok_or("has no standard output")?;
    let mut printed = Vec::new();
    let limit = MAX_OUTPUT as u64 + 1;
    let read = stdout.take(limit).read_to_end(&mut printed).await;
    read.map_err(|error| format!("can't be read from: {}", reason(&error)))?;
    if printed.len() > MAX_OUTPUT {
        return Err("printed more than 64KiB".to_owned());
    }
    let status = child.wait().await.map_err(|error| format!("can't be waited for: {}", reason(&error)))?;
    if !status.success() {
        return Err(format!("failed ({status}); what it said is in the daemon's log"));
    }
    let text = String::from_utf8(printed).map_err(|_| "printed what is not UTF-8 text".to_owned())?;
    match text.trim() {
        "" => Err("printed nothing".to_owned()),
        trimmed => Ok(trimmed.to_owned()),
    }
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

    async fn shell(script: &str) -> Result<String, String> {
        let mut command = config::Command::new(vec!["/bin/sh".into(), "-c".into(), script.into()]);
        command.timeout = Duration::from_secs(20);
        run(&command, None).await
    }

    #[tokio::test(flavor = "local")]
    async fn what_a_program_prints_is_trimmed() {
        assert_eq!(shell("printf ' a\\nb\\n\\n'").await, Ok("a\nb".to_owned()));
    }

    #[tokio::test(flavor = "local")]
    async fn a_program_reads_what_it_is_given_or_leaves_it() {
        let text = Secret::new("x".repeat(1 << 20));
        let mut command = config::Command::new(vec!["/usr/bin/wc".into(), "-c".into()]);
        command.timeout = Duration::from_secs(20);
        assert_eq!(run(&command, Some(text.clone())).await, Ok("1048576".to_owned()));
        let mut command = config::Command::new(vec!["/bin/echo".into(), "done".into()]);
        command.timeout = Duration::from_secs(20);
        assert_eq!(run(&command, Some(text)).await, Ok("done".to_owned()));
    }

    #[tokio::test(flavor = "local")]
    async fn what_goes_wrong_is_a_sentence_without_a_word_of_the_output() {
        let missing = config::Command::new(vec!["/nowhere/program".into()]);
        assert_eq!(run(&missing, None).await, Err("can't be started: No such file or directory".to_owned()));
        for (script, sentence) in [
            ("echo SECRET; exit 3", "failed (exit status: 3); what it said is in the daemon's log"),
            ("true", "printed nothing"),
            ("printf '\\377'", "printed what is not UTF-8 text"),
            ("while echo SECRET; do :; done", "printed more than 64KiB"),
        ] {
            assert_eq!(shell(script).await, Err(sentence.to_owned()), "{script}");
        }
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
        let mut command = config::Command::new(vec!["/bin/sh".into(), "-c".into(), script]);
        command.timeout = Duration::from_millis(500);
        assert_eq!(run(&command, None).await, Err("did not end within 500ms".to_owned()));
        end_of(&own).await;
        end_of(&other).await;
    }

    #[tokio::test(flavor = "local")]
    async fn a_program_that_printed_all_is_not_waited_for_by_its_reader() {
        // the one that it leaves behind holds the pipe, and never reads it
        let script = "exec 3<&0; sleep 1000 <&3 >/dev/null 2>&1 & echo $!";
        let mut command = config::Command::new(vec!["/bin/sh".into(), "-c".into(), script.into()]);
        command.timeout = Duration::from_secs(20);
        let text = Secret::new("x".repeat(1 << 20));
        let printed = run(&command, Some(text)).await.expect("it ends at once");
        let left = Pid::from_raw(printed.parse().unwrap()).unwrap();
        rustix::process::kill_process(left, Signal::KILL).unwrap();
    }
}
