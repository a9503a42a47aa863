//! `[command.NAME]`: programs whose output goes into templates.

use std::{collections::BTreeMap, path::Path, time::Duration};

use super::{
    reject::Reject,
    remedy::{ON_FAIL, RejectOf, Remedy},
};
use crate::config::{
    language::{
        names::{Names, check_name},
        template::Template,
        uses::Use,
    },
    reader::{Item, Section},
};

/// `[command.NAME]`: what `${command:NAME}` runs, by name.
pub type Programs = BTreeMap<String, NamedCommand>;

/// `[command.NAME]`: a program whose output is used by name. It is run once for each attempt, however often its
/// output is used.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedCommand {
    /// What is run.
    pub command: Program,
    /// `keep`: it is run once, and what it printed is kept for the attempts that follow, in memory alone, until a
    /// rule, a step or a hole says `refresh` or `forget`, or a reload changes what is run. Default false.
    pub keep: bool,
    /// `reject`: what it may print instead, which is neither used nor kept. None by default.
    pub reject: Vec<Reject>,
    /// `on_fail`: what a rejection leads to that says nothing itself, and what it leads to that the program fails.
    /// None by default: a rejection leads to another attempt, and a failure to what the use of its output says.
    pub on_fail: Option<Remedy>,
}

/// A program that wsfan runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    /// `run`: the program by its absolute path, and its arguments; no shell, and no placeholders, since any
    /// user may read a program's arguments. Never empty.
    pub run: Vec<String>,
    /// `env`: the daemon's environment variables that it gets, by name, beside [`Program::ENVIRONMENT`].
    /// None by default.
    pub env: Vec<String>,
    /// `timeout`: after so long it is killed, with all that it started; 10 ms to 10 min. Default 5 s.
    pub timeout: Duration,
    /// `stdin`: what it reads; a template, but for commands and captures. None by default: nothing.
    pub stdin: Option<Template>,
}

/// `upstream.url_command`: a program that says where to connect.
#[derive(Debug, Clone, PartialEq)]
pub struct UrlCommand {
    /// What is run.
    pub command: Program,
    /// `reject`: what it may print instead of a URL. None by default.
    pub reject: Vec<Reject>,
    /// `on_fail`: what a rejection leads to that says nothing itself. Default [`Remedy::Retry`].
    pub on_fail: Remedy,
}

impl Program {
    /// The environment variables that every program gets, where the daemon has them: nothing secret is kept
    /// there.
    pub const ENVIRONMENT: [&str; 9] =
        ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"];

    /// A command with the default for everything but what it runs.
    pub fn new(run: Vec<String>) -> Self {
        Self { run, env: Vec::new(), timeout: Duration::from_secs(5), stdin: None }
    }
}

/// Reads `[command.NAME]`.
pub(in crate::config) fn read_all(section: Section<'_>, names: &Names) -> Programs {
    let mut commands = Programs::new();
    for item in section.items() {
        if check_name(&item)
            && let Some(command) = NamedCommand::read(&item, names)
        {
            commands.insert(item.name.to_owned(), command);
        }
    }
    commands
}

impl NamedCommand {
    /// A command that is run for each attempt, and whose output is always right.
    pub fn new(command: Program) -> Self {
        Self { command, keep: false, reject: Vec::new(), on_fail: None }
    }

    fn read(item: &Item<'_>, names: &Names) -> Option<Self> {
        let section = item.section();
        let command = Program::read_keys(&section, names, Use::Input);
        let keep = section.truth("keep").unwrap_or(false);
        let reject = Reject::read_all(&section, "reject", RejectOf::Program);
        let on_fail = section.one_of("on_fail", &ON_FAIL);
        section.finish();
        Some(Self { command: command?, keep, reject, on_fail })
    }
}

impl Program {
    /// Reads `run`, `env`, `timeout` and `stdin`.
    pub(in crate::config) fn read_keys(section: &Section<'_>, names: &Names, used: Use) -> Option<Self> {
        if section.is_refused() {
            return None;
        }
        let before = section.problems();
        let run: Vec<String> = section
            .texts("run")
            .map_or_else(Vec::new, |items| items.iter().filter_map(Item::text).map(str::to_owned).collect());
        let env = section.texts("env").unwrap_or_default();
        for item in &env {
            let name = item.text().unwrap_or_default();
            if name.is_empty() || name.contains(['=', '\0']) {
                item.problem(format_args!(
                    "is {name:?}: write the name of an environment variable of the daemon, such as \"https_proxy\""
                ));
            }
        }
        let env = env.iter().filter_map(Item::text).map(str::to_owned).collect();
        let default = Self { env, ..Self::new(run) };
        let timeouts = Duration::from_millis(10)..=Duration::from_secs(600);
        let timeout = section.duration("timeout", timeouts).unwrap_or(default.timeout);
        if section.problems() == before {
            match default.run.first() {
                None => {
                    section.problem("run", "is missing: write run = [\"/path/to/program\", \"argument\"]")
                }
                Some(program) if !Path::new(program).is_absolute() => section.problem(
                    "run",
                    format_args!("begins with {program:?}: write the program's path, which starts with `/`"),
                ),
                Some(_) if default.run.iter().any(|text| text.contains('\0')) => {
                    section.problem("run", "has a NUL character in it: take it out");
                }
                Some(_) => {
                    if let Some(placeholder) = default.run.iter().find_map(|text| first_placeholder(text)) {
                        section.problem(
                            "run",
                            format_args!(
                                "has {placeholder} in it, which would be passed as it stands, since any user may \
                                 read a program's arguments: have the program read it, by `stdin`"
                            ),
                        );
                    }
                }
            }
        }
        let stdin = section.item("stdin").and_then(|item| names.text(&item, used));
        (section.problems() == before).then_some(Self { timeout, stdin, ..default })
    }
}

/// The first placeholder of wsfan's in a text; `${HOME}` is a shell's business.
fn first_placeholder(text: &str) -> Option<String> {
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        rest = &rest[at..];
        let end = rest.find('}').map_or(rest.len(), |end| end + 1);
        let one = Template::parse(&rest[..end]).ok().filter(|template| !template.is_literal());
        if one.is_some() {
            return Some(format!("`{}`", &rest[..end]));
        }
        rest = &rest[2..];
    }
    None
}

impl UrlCommand {
    /// Reads `upstream.url_command`.
    pub(in crate::config) fn read(item: &Item<'_>, names: &Names) -> Option<Self> {
        let section = item.section();
        let command = Program::read_keys(&section, names, Use::Attempt);
        let reject = Reject::read_all(&section, "reject", RejectOf::Program);
        let on_fail = section.one_of("on_fail", &ON_FAIL).unwrap_or_default();
        section.finish();
        Some(Self { command: command?, reject, on_fail })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, language::environment::Environment};

    fn read(keys: &str) -> Result<Program, String> {
        let text = format!(
            "[upstream]\nurl = \"ws://h/\"\n[command.a]\n{keys}\n[[script.step]]\nsend = \"${{command:a}}\"\n"
        );
        let config = Config::parse(&text, &Environment::fixed([])).map_err(|invalid| invalid.to_string())?;
        Ok(config.terms.commands["a"].command.clone())
    }

    #[test]
    fn arguments_hold_no_placeholders_and_a_shells_own_are_its_business() {
        for (run, placeholder) in [
            ("/bin/a ${env:TOKEN}", Some("`${env:TOKEN}`")),
            ("${HOME} x${file:/a}", Some("`${file:/a}`")),
            ("${now_ms}", Some("`${now_ms}`")),
            ("echo ${HOME} $TOKEN ${", None),
            ("$${env:A}", Some("`${env:A}`")),
        ] {
            let read = read(&format!("run = [\"/bin/sh\", \"-c\", \"{run}\"]"));
            match placeholder {
                None => assert!(read.is_ok(), "{run}: {read:?}"),
                Some(placeholder) => {
                    let error = read.unwrap_err();
                    assert!(error.contains(placeholder) && error.contains("`stdin`"), "{run}: {error}");
                }
            }
        }
    }

    #[test]
    fn variables_are_let_through_by_name() {
        let command = read("run = [\"/bin/a\"]\nenv = [\"A\", \"https_proxy\"]").unwrap();
        assert_eq!(command.env, ["A", "https_proxy"]);
        let error = read("run = [\"/bin/a\"]\nenv = [\"A=1\"]").unwrap_err();
        assert!(error.contains("\"A=1\"") && error.contains("name of an environment variable"), "{error}");
    }
}
