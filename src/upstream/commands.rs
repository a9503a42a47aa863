//! Runs the programs that a configuration names, for what they print.

use std::process::Stdio;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    time,
};

use crate::config::{self, Secret};

/// The most that a program may print, in bytes.
const MAX_OUTPUT: usize = 64 * 1024;

/// Runs a program to its end with `stdin` to read, or nothing, and returns what it printed, without the line breaks and blanks around
/// it. What it writes on standard error goes to the daemon's own.
///
/// Dropping the future, as a timeout of the attempt does, kills the program.
///
/// # Errors
///
/// What went wrong, the end of a sentence after the program's name; nothing that it printed.
pub(super) async fn run(command: &config::Command, stdin: Option<Secret>) -> Result<String, String> {
    let (program, arguments) = command.run.split_first().ok_or("names no program")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("can't be started: {}", reason(&error)))?;
    match time::timeout(command.timeout, talk(&mut child, stdin)).await {
        Ok(printed) => printed,
        Err(_) => Err(format!("did not end within {}", config::format_duration(command.timeout))),
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
    };
    let ((), printed) = tokio::join!(write, output(child));
    printed
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

    #[tokio::test(flavor = "local")]
    async fn a_program_that_does_not_end_is_killed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pid");
        let script = format!("echo $$ > {}; exec sleep 1000", file.display());
        let mut command = config::Command::new(vec!["/bin/sh".into(), "-c".into(), script]);
        command.timeout = Duration::from_millis(300);
        assert_eq!(run(&command, None).await, Err("did not end within 300ms".to_owned()));
        let process = format!("/proc/{}/stat", std::fs::read_to_string(&file).unwrap().trim());
        // killed; the runtime collects what is left of it in its own time
        let is_alive = || std::fs::read_to_string(&process).is_ok_and(|stat| !stat.contains(") Z "));
        while is_alive() {
            tokio::task::yield_now().await;
        }
    }
}
