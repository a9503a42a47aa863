//! What commands printed that are run once: `keep = true`. Pure.

use std::{cell::RefCell, collections::BTreeMap, fmt, rc::Rc};

use crate::config::{NamedCommand, Placeholder, Program, Template, Terms, Var};

/// What commands printed, by name: each as long as it is run by the same. It may be secret. Clones are handles to the
/// same, so that an attempt that is given up leaves what was printed by then to the next one.
#[derive(Clone, Default)]
pub(in crate::upstream) struct Kept(Rc<RefCell<BTreeMap<String, Output>>>);

struct Output {
    printed: Rc<str>,
    by: Recipe,
}

/// All that says what a command prints, as configured: where it changes, the command is another one.
#[derive(Debug, Clone, PartialEq)]
struct Recipe {
    run: Vec<String>,
    env: Vec<String>,
    stdin: Option<Template>,
    /// Those that it reads.
    vars: BTreeMap<String, Option<Var>>,
}

impl Recipe {
    fn of(program: &Program, terms: &Terms) -> Recipe {
        // its timeout changes nothing of what it prints in time
        let Program { run, env, timeout: _, stdin } = program.clone();
        let placeholders = stdin.iter().flat_map(Template::placeholders);
        let vars = placeholders.filter_map(|(placeholder, _)| match placeholder {
            Placeholder::Var(name) => Some((name.clone(), terms.vars.get(name).cloned())),
            _ => None,
        });
        Recipe { run, env, vars: vars.collect(), stdin }
    }
}

impl Kept {
    /// What this command has printed, if that is kept.
    pub(in crate::upstream) fn get(
        &self,
        name: &str,
        command: &NamedCommand,
        terms: &Terms,
    ) -> Option<String> {
        let all = self.0.borrow();
        let output = all.get(name).filter(|_| command.keep)?;
        (output.by == Recipe::of(&command.command, terms)).then(|| output.printed.to_string())
    }

    /// Keeps what this command has printed, if it says so.
    pub(in crate::upstream) fn put(&self, name: &str, command: &NamedCommand, terms: &Terms, printed: &str) {
        if command.keep {
            let output = Output { printed: printed.into(), by: Recipe::of(&command.command, terms) };
            self.0.borrow_mut().insert(name.to_owned(), output);
        }
    }

    /// Lets go of what none of these commands has printed.
    pub(in crate::upstream) fn only(&self, terms: &Terms) {
        self.0.borrow_mut().retain(|name, output| {
            let command = terms.commands.get(name).filter(|command| command.keep);
            command.is_some_and(|command| output.by == Recipe::of(&command.command, terms))
        });
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.borrow().keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::settings::Settings;

    fn terms(text: &str) -> Terms {
        let uses = "[[script.step]]\nsend = '${command:a} ${var:x}'\n";
        Settings::parse(&format!("[upstream]\nurl = \"ws://h/\"\n{text}{uses}")).terms
    }

    #[test]
    fn it_is_kept_as_long_as_the_same_is_run() {
        let text = "[vars]\nx = \"1\"\ny = \"1\"\n[command.a]\nkeep = true\nrun = [\"/a\"]\nstdin = \"${derived:d}\"\n\
                    [derived.d]\nof = \"${var:y}${file:/t}\"\n";
        let kept = Kept::default();
        let first = terms(text);
        kept.put("a", &first.commands["a"], &first, "secret-text");
        for (what, with, stays) in [
            ("", "", true),
            ("run = [\"/a\"]", "run = [\"/a\"]\ntimeout = \"9s\"\nreject = \"x\"\non_fail = \"stop\"", true),
            ("x = \"1\"", "x = \"2\"", true),
            ("y = \"1\"", "y = \"2\"", false),
            ("run = [\"/a\"]", "run = [\"/b\"]", false),
            ("run = [\"/a\"]", "run = [\"/a\"]\nenv = [\"E\"]", false),
            ("stdin = \"${derived:d}\"", "stdin = \"${derived:d}!\"", false),
            ("${file:/t}", "${file:/u}", false),
            ("keep = true", "keep = false", false),
        ] {
            let changed = terms(&text.replace(what, with));
            let there = kept.get("a", &changed.commands["a"], &changed);
            assert_eq!(there.as_deref(), stays.then_some("secret-text"), "{with}");
        }
        assert!(!format!("{kept:?}").contains("secret"), "{kept:?}");
        kept.only(&first);
        assert!(kept.get("a", &first.commands["a"], &first).is_some());
        kept.only(&terms(&text.replace("/a", "/b")));
        assert!(kept.0.borrow().is_empty(), "nobody asks for it any more");
    }

    #[test]
    fn a_command_that_is_run_each_time_keeps_nothing() {
        let terms = terms("[vars]\nx = \"1\"\n[command.a]\nrun = [\"/a\"]\n");
        let kept = Kept::default();
        kept.put("a", &terms.commands["a"], &terms, "text");
        assert!(kept.0.borrow().is_empty());
    }
}
