//! What a program printed: of use, or not, and what that leads to.

use std::time::Duration;

use super::commands::Failed;
use crate::{
    config::{Reject, Remedy},
    upstream::{
        failure::{Failure, clean},
        session::spot::find,
    },
};

/// A text of the program's own is quoted if it is no longer.
const MAX_QUOTED: usize = 100;
/// No program makes the link wait for longer.
const MAX_DELAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a program gave nothing to use, and what that leads to.
#[derive(Debug, PartialEq)]
pub(in crate::upstream) struct Unusable {
    /// The end of a sentence after the program's name, with nothing of its output but a short text at `/error` or
    /// `/message`.
    pub(in crate::upstream) why: String,
    /// None where nothing about the program says so.
    pub(in crate::upstream) then: Option<Remedy>,
}

impl Unusable {
    /// The failure of an attempt that `who` has no output for.
    pub(in crate::upstream) fn failure(self, who: &str) -> Failure {
        Failure { then: self.then, ..Failure::attempt(format!("{who} {}", self.why)) }
    }
}

/// What was printed, if it is of use. `on_fail` is what a rejection leads to that says nothing itself, `failed` what
/// it leads to that the program failed. One that fails may have printed why, as `curl --fail-with-body` does.
///
/// # Errors
///
/// It isn't.
pub(in crate::upstream) fn judge(
    outcome: Result<String, Failed>,
    reject: &[Reject],
    on_fail: Remedy,
    failed: Option<Remedy>,
) -> Result<String, Unusable> {
    let printed = match &outcome {
        Ok(printed) => Some(printed),
        Err(failed) => failed.printed.as_ref(),
    };
    let is_meant = |printed: &String, reject: &&Reject| reject.pattern.matches(printed.as_bytes());
    let rejection = printed.and_then(|printed| {
        let reject = reject.iter().find(|reject| is_meant(printed, reject))?;
        Some(Unusable {
            why: format!("printed what `reject` is about{}", quoted_error(printed)),
            then: Some(remedy(printed, reject, on_fail)),
        })
    });
    match (rejection, outcome) {
        (Some(rejection), _) => Err(rejection),
        (None, Ok(printed)) => Ok(printed),
        (None, Err(Failed { why, .. })) => Err(Unusable { why, then: failed }),
    }
}

/// What a rejection leads to; the wait may be in the output itself.
fn remedy(printed: &str, reject: &Reject, on_fail: Remedy) -> Remedy {
    let then = reject.then.unwrap_or(on_fail);
    let Some(from) = &reject.delay_from else { return then };
    let json = find(printed, &from.pointer, &reject.pattern).unwrap_or_default();
    let number = serde_json::from_str(&json).ok().and_then(|json: serde_json::Value| json.as_f64());
    let delay = number.and_then(|number| Duration::try_from_secs_f64(number * from.unit.as_secs_f64()).ok());
    delay.map_or(Remedy::Retry, |delay| Remedy::After(delay.min(MAX_DELAY)))
}

/// The program's own word for what is wrong, if it is short and has one.
pub(in crate::upstream) fn quoted_error(printed: &str) -> String {
    let json: serde_json::Value = serde_json::from_str(printed).unwrap_or_default();
    match ["error", "message"].iter().find_map(|key| json[key].as_str()) {
        Some(error) if error.len() <= MAX_QUOTED => format!(": {}", clean(error)),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DelayFrom, Pattern, Pointer, Test};

    fn rejects() -> Vec<Reject> {
        let is = |pointer, value: serde_json::Value| {
            Pattern::Json(vec![(Pointer::parse(pointer).unwrap(), Test::OneOf(vec![value]))])
        };
        let wait = Reject {
            then: Some(Remedy::After(Duration::ZERO)),
            delay_from: Some(DelayFrom {
                pointer: Pointer::parse("/wait").unwrap(),
                unit: Duration::from_secs(1),
            }),
            ..Reject::new(is("/error", "busy".into()))
        };
        let listed = Reject { pattern: is("/*/error", "busy".into()), ..in_list() };
        let text = Reject { then: Some(Remedy::Refresh), ..Reject::new(Pattern::Text("expired".into())) };
        vec![wait, listed, Reject::new(is("/ok", false.into())), text]
    }

    fn in_list() -> Reject {
        Reject {
            then: Some(Remedy::After(Duration::ZERO)),
            delay_from: Some(DelayFrom {
                pointer: Pointer::parse("/*/wait").unwrap(),
                unit: Duration::from_millis(1),
            }),
            ..Reject::new(Pattern::Empty)
        }
    }

    #[test]
    fn what_is_printed_and_how_it_ends_say_what_it_leads_to() {
        let (stop, retry) = (Some(Remedy::Stop), Some(Remedy::Retry));
        let busy = "printed what `reject` is about: busy";
        for (printed, exit, why, rejected, failed) in [
            (r#"{"ok":true,"token":"t"}"#, None, "", None, None),
            (
                r#"{"ok":false,"error":"revoked"}"#,
                None,
                "printed what `reject` is about: revoked",
                stop,
                stop,
            ),
            (r#"{"ok":false}"#, None, "printed what `reject` is about", stop, stop),
            (
                r#"{"ok":false,"message":"Forbidden","error":null}"#,
                None,
                "printed what `reject` is about: Forbidden",
                stop,
                stop,
            ),
            (r#"{"error":"busy","wait":90}"#, None, busy, Some(Remedy::After(Duration::from_secs(90))), None),
            (r#"{"error":"busy","wait":-1}"#, None, busy, retry, None),
            (
                r#"[{"wait":1},{"error":"busy","wait":2000},{"error":"busy","wait":3}]"#,
                None,
                "printed what `reject` is about",
                Some(Remedy::After(Duration::from_secs(2))),
                None,
            ),
            (r#"{"error":"busy","wait":1e9}"#, None, busy, Some(Remedy::After(MAX_DELAY)), None),
            ("it has expired", None, "printed what `reject` is about", Some(Remedy::Refresh), None),
            // a program that fails may have printed why, and else it has only failed
            (
                r#"{"ok":false}"#,
                Some("failed (exit status: 1)"),
                "printed what `reject` is about",
                stop,
                stop,
            ),
            ("no", Some("failed (exit status: 1)"), "failed (exit status: 1)", None, stop),
        ] {
            for on_fail in [None, stop] {
                let outcome = match exit {
                    None => Ok(printed.to_owned()),
                    Some(why) => Err(Failed { why: why.to_owned(), printed: Some(printed.to_owned()) }),
                };
                let judged = judge(outcome, &rejects(), Remedy::Stop, on_fail);
                let then = if on_fail.is_some() { failed.or(rejected) } else { rejected };
                let expected = match why {
                    "" => Ok(printed.to_owned()),
                    why => Err(Unusable { why: why.to_owned(), then }),
                };
                assert_eq!(judged, expected, "{printed} {on_fail:?}");
            }
        }
        let late = Failed { why: "did not end within 1s".to_owned(), printed: None };
        let unusable = judge(Err(late), &rejects(), Remedy::Stop, stop).unwrap_err();
        assert_eq!(unusable.then, stop);
        let failure = unusable.failure("[command.a]");
        assert_eq!(
            (failure.error.as_deref(), failure.then),
            (Some("[command.a] did not end within 1s"), stop)
        );
    }
}
