//! What is wrong with a text, each thing with its line.

use std::cell::RefCell;

use super::error::{Invalid, Problem};

/// What is wrong with a text so far, and where its lines are.
pub(in crate::config) struct Report {
    /// Where each line begins; the profile's lines come after the file's own.
    lines: Vec<usize>,
    /// The profile below it.
    profile: Option<Below>,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
}

/// A profile below a file.
struct Below {
    name: String,
    text: String,
    /// How many lines are before it.
    own: usize,
}

impl Report {
    pub(in crate::config) fn new(text: &str) -> Self {
        let after_breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(after_breaks).collect();
        Self { lines, profile: None, problems: RefCell::default(), warnings: RefCell::default() }
    }

    /// A report on a file's text with a profile's behind it, which begins on a new line.
    pub(in crate::config) fn with_profile(text: &str, name: &str, profile: &str) -> Self {
        let own = Self::new(text).lines.len();
        let below = Below { name: name.to_owned(), text: profile.to_owned(), own };
        Self { profile: Some(below), ..Self::new(&format!("{text}\n{profile}")) }
    }

    /// The line of a byte of the text, counted from 1.
    pub(in crate::config) fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset)
    }

    /// Records a problem; whatever it quotes, it stays on one line.
    pub(in crate::config) fn add(&self, line: Option<usize>, sentence: String) {
        let problem = self.placed(line, sentence);
        self.problems.borrow_mut().push(problem);
    }

    /// Records what is right, and most likely not meant.
    pub(in crate::config) fn warn(&self, line: Option<usize>, sentence: String) {
        let warning = self.placed(line, sentence);
        self.warnings.borrow_mut().push(warning);
    }

    /// All warnings in the order of the lines.
    pub(in crate::config) fn take_warnings(&self) -> Vec<Problem> {
        let mut warnings = self.warnings.take();
        warnings.sort_by_key(|warning| warning.line);
        warnings
    }

    fn placed(&self, line: Option<usize>, sentence: String) -> Problem {
        let sentence = match sentence.contains(char::is_control) {
            true => sentence.replace(char::is_control, " "),
            false => sentence,
        };
        let (line, sentence) = match (line, &self.profile) {
            (Some(line), Some(Below { name, own, .. })) if line > *own => {
                (None, format!("profile {name}, line {}: {sentence}", line - own))
            }
            (line, _) => (line, sentence),
        };
        Problem { line, sentence }
    }

    /// The profile's name, if its text asks for this variable.
    pub(super) fn profile_with_variable(&self, name: &str) -> Option<&str> {
        let below = self.profile.as_ref()?;
        below.text.contains(&format!("${{var:{name}}}")).then_some(&*below.name)
    }

    /// Whether a line is the file's, and not of the profile below it.
    pub(super) fn is_own(&self, line: usize) -> bool {
        self.profile.as_ref().is_none_or(|below| line <= below.own)
    }

    pub(in crate::config) fn count(&self) -> usize {
        self.problems.borrow().len()
    }

    /// All problems in the order of the lines, what is missing altogether last: a mistake on some line is
    /// often why.
    pub(in crate::config) fn into_invalid(self) -> Invalid {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| (problem.line.is_none(), problem.line));
        Invalid(problems)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_from_one() {
        let report = Report::new("a\nb\n");
        assert_eq!([0, 1, 2, 4, 99].map(|at| report.line(at)), [1, 1, 2, 3, 3]);
    }
}
