//! What a failure leads to: the first `[[reconnect.rule]]` that is about it. Pure.

use crate::{
    config::{Remedy, Rule},
    upstream::failure::Failure,
};

/// What a failure leads to, and what says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::upstream) struct Verdict {
    pub(in crate::upstream) remedy: Remedy,
    /// What says so, for a sentence; empty where nothing special does.
    pub(in crate::upstream) why: String,
}

impl Verdict {
    /// What `failure` leads to: what it says itself, else what the rules say, else another attempt.
    ///
    /// A close code that wsfan itself chose is none of the server's, and no rule is about it.
    pub(in crate::upstream) fn of(failure: &Failure, rules: &[Rule]) -> Verdict {
        if let Some(remedy) = failure.then {
            return Verdict { remedy, why: "the configuration".to_owned() };
        }
        let code = failure.code.filter(|_| !failure.is_ours);
        for rule in rules {
            if let Some(code) = code.filter(|code| rule.covers_code(*code)) {
                return Verdict { remedy: rule.then, why: format!("a reconnect.rule for code {code}") };
            }
            if let Some(status) = failure.http_status.filter(|status| rule.covers_status(*status)) {
                return Verdict { remedy: rule.then, why: format!("a reconnect.rule for status {status}") };
            }
        }
        Verdict { remedy: Remedy::Retry, why: String::new() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn rules() -> Vec<Rule> {
        let rule = |codes, statuses, then| Rule { codes, statuses, pattern: None, then };
        vec![
            rule(vec![4004..=4004, 4010..=4014], vec![], Remedy::Stop),
            rule(vec![1006..=1006], vec![401..=401], Remedy::Refresh),
            rule(vec![], vec![500..=599], Remedy::After(Duration::from_secs(5))),
        ]
    }

    fn status(status: u16) -> Failure {
        Failure { http_status: Some(status), ..Failure::attempt("no") }
    }

    #[test]
    fn the_rule_about_a_failure_decides() {
        let seconds = Remedy::After(Duration::from_secs(5));
        for (failure, remedy, why) in [
            (Failure::closed_there(Some(4004), ""), Remedy::Stop, "a reconnect.rule for code 4004"),
            (Failure::closed_there(Some(4012), ""), Remedy::Stop, "a reconnect.rule for code 4012"),
            (Failure::closed_there(Some(4015), ""), Remedy::Retry, ""),
            (Failure::closed_there(None, ""), Remedy::Retry, ""),
            (Failure::lost("reset"), Remedy::Refresh, "a reconnect.rule for code 1006"),
            (Failure::attempt("refused"), Remedy::Retry, ""),
            (status(401), Remedy::Refresh, "a reconnect.rule for status 401"),
            (status(503), seconds, "a reconnect.rule for status 503"),
            (status(404), Remedy::Retry, ""),
            (Failure::meant("a step failed", Remedy::Forget), Remedy::Forget, "the configuration"),
        ] {
            assert_eq!(Verdict::of(&failure, &rules()), Verdict { remedy, why: why.into() }, "{failure:?}");
        }
    }

    #[test]
    fn a_code_of_wsfans_own_is_no_word_of_the_server() {
        let rules = [Rule { codes: vec![1000..=1015], statuses: vec![], pattern: None, then: Remedy::Stop }];
        assert_eq!(Verdict::of(&Failure::refused(1009, "too big"), &rules).remedy, Remedy::Retry);
        assert_eq!(Verdict::of(&Failure::closed_there(Some(1009), ""), &rules).remedy, Remedy::Stop);
    }
}
