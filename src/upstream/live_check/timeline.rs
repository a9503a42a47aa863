//! What happens on the way becomes rows.

use std::time::{Duration, Instant};

use super::{advice::advice, dry::Untried};
use crate::upstream::{
    failure::Failure,
    machine::How,
    wire::{
        found::{Found, StepReport},
        track::Running,
    },
};

/// A part of the way to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Secrets, commands and files, and the URL.
    Prepare,
    /// A name is resolved: the server's, or the proxy's.
    Dns,
    /// A TCP connection to it.
    Tcp,
    /// The proxy's tunnel to the server.
    Proxy,
    /// The TLS handshake.
    Tls,
    /// The upgrade from HTTP to WebSocket.
    Upgrade,
    /// A step of the script.
    Step,
    /// What is said whenever a message or a hole calls for it.
    Reply,
    /// One heartbeat.
    Heartbeat,
    /// The closing handshake.
    Close,
}

/// What one part of the way came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Which part.
    pub part: Part,
    /// The step's name.
    pub name: Option<String>,
    /// How long it took.
    pub elapsed: Duration,
    /// What was found, as far as it came.
    pub found: Option<Found>,
    /// What it waited for came only just in time.
    pub narrow: Option<Narrow>,
    /// Why it goes no further.
    pub trouble: Option<Trouble>,
}

/// An answer that came when less than a tenth of its limit was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Narrow {
    /// So much was left.
    pub left: Duration,
    /// The limit.
    pub limit: Duration,
    /// What says it, for people.
    pub key: &'static str,
}

/// What a walk tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A program is run now.
    Runs(Running),
    /// A part is done, has failed or isn't tried.
    Row(Box<Row>),
}

/// Why a walk goes no further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What went wrong: a sentence without its capital, with nothing secret in it.
    pub error: String,
    /// What to do about it, where the sentence doesn't say it already.
    pub advice: Option<&'static str>,
    /// The status of an HTTP answer that refused the upgrade.
    pub http_status: Option<u16>,
    /// The code of the close frame that ended it.
    pub code: Option<u16>,
}

/// The rows of one walk, told as each one is done.
pub(super) struct Timeline {
    present: Option<Present>,
    tell: Box<dyn FnMut(Event)>,
}

/// The part that is under way.
struct Present {
    part: Part,
    name: Option<String>,
    began: Instant,
    found: Option<Found>,
    narrow: Option<Narrow>,
}

impl Timeline {
    pub(super) fn new(tell: impl FnMut(Event) + 'static) -> Timeline {
        Timeline { present: None, tell: Box::new(tell) }
    }

    /// A part begins; the one before is done.
    pub(super) fn begin(&mut self, now: Instant, part: Part, name: Option<String>) {
        self.done(now);
        self.present = Some(Present { part, name, began: now, found: None, narrow: None });
    }

    /// The present part has found this.
    pub(super) fn found(&mut self, found: Found) {
        if let Some(present) = &mut self.present {
            present.found = Some(found);
        }
    }

    /// The present step has heard this. Another part isn't concerned.
    pub(super) fn heard(&mut self, text: &str) {
        if let Some(Present { found: Some(Found::Step(step)), .. }) = &mut self.present {
            step.heard = Some(text.to_owned());
        }
    }

    /// What the present part waits for came only just in time.
    pub(super) fn narrow(&mut self, narrow: Narrow) {
        if let Some(present) = &mut self.present {
            present.narrow.get_or_insert(narrow);
        }
    }

    /// A program is run now.
    pub(super) fn runs(&mut self, running: Running) {
        (self.tell)(Event::Runs(running));
    }

    /// This part isn't tried.
    pub(super) fn leave_out(&mut self, now: Instant, untried: Untried) {
        self.begin(now, untried.part, untried.name);
        self.found(Found::Untried { why: untried.why });
        self.done(now);
    }

    /// A step is left out.
    pub(super) fn skip(&mut self, now: Instant, name: &str, why: &str) {
        self.begin(now, Part::Step, Some(name.to_owned()));
        self.found(Found::Step(StepReport { skipped: Some(why.to_owned()), ..StepReport::default() }));
        self.done(now);
    }

    /// The present part is done.
    pub(super) fn done(&mut self, now: Instant) {
        if let Some(present) = self.present.take() {
            (self.tell)(Event::Row(Box::new(present.row(now, None))));
        }
    }

    /// The present part has failed, and with it the walk.
    pub(super) fn fail(&mut self, now: Instant, failure: Failure, how: How) {
        let nothing = || Present { part: Part::Prepare, name: None, began: now, found: None, narrow: None };
        let present = self.present.take().unwrap_or_else(nothing);
        let error = failure.error.clone().unwrap_or_else(|| "the connection was closed".to_owned());
        let error = present.own_words(error);
        let advice = advice(present.part, how, &failure, &error);
        let Failure { http_status, code, .. } = failure;
        let trouble = Trouble { error, advice, http_status, code };
        (self.tell)(Event::Row(Box::new(present.row(now, Some(trouble)))));
    }
}

impl Present {
    fn row(self, now: Instant, trouble: Option<Trouble>) -> Row {
        let elapsed = now.saturating_duration_since(self.began);
        Row { part: self.part, name: self.name, elapsed, found: self.found, narrow: self.narrow, trouble }
    }

    /// A failure's sentence without the name of the part, which the row has.
    fn own_words(&self, error: String) -> String {
        let own = match (self.part, &self.name) {
            (Part::Tls, _) => error.strip_prefix("TLS: ").map(str::to_owned),
            (Part::Step, Some(name)) => {
                let rest = error.strip_prefix(&format!("the script's step {name:?} "));
                rest.map(|rest| match rest.strip_prefix("failed: ") {
                    Some(why) => why.to_owned(),
                    None => format!("it {rest}"), // such as that it is said again
                })
            }
            _ => None,
        };
        own.unwrap_or(error)
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use super::*;

    fn rows(tell: impl FnOnce(&mut Timeline, Instant)) -> Vec<Row> {
        let rows = Rc::new(RefCell::new(Vec::new()));
        let mut timeline = Timeline::new({
            let rows = rows.clone();
            move |event| match event {
                Event::Row(row) => rows.borrow_mut().push(*row),
                Event::Runs(_) => unreachable!("nothing is run"),
            }
        });
        tell(&mut timeline, Instant::now());
        drop(timeline);
        Rc::into_inner(rows).unwrap().into_inner()
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_part_is_done_when_the_next_begins() {
        let tunnel = Found::Tunnel { proxy: "p".into() };
        let rows = rows(|timeline, start| {
            timeline.begin(start, Part::Dns, None);
            timeline.begin(start + ms(3), Part::Proxy, None);
            timeline.found(tunnel.clone());
            timeline.done(start + ms(10));
            timeline.done(start + ms(99));
        });
        let plain =
            Row { part: Part::Dns, name: None, elapsed: ms(3), found: None, narrow: None, trouble: None };
        let proxy = Row { part: Part::Proxy, elapsed: ms(7), found: Some(tunnel), ..plain.clone() };
        assert_eq!(rows, [plain, proxy]);
    }

    #[test]
    fn a_failure_keeps_what_was_found_and_does_not_repeat_the_name() {
        let sent = StepReport { sent: Some("x".into()), ..StepReport::default() };
        let rows = rows(|timeline, start| {
            timeline.skip(start, "resume", "nothing is captured");
            timeline.begin(start, Part::Step, Some("log in".into()));
            timeline.found(Found::Step(sent.clone()));
            timeline.heard("no");
            let failure =
                Failure::attempt("the script's step \"log in\" failed: the server refused: bad token");
            timeline.fail(start + ms(5), failure, How::Refused);
        });
        assert_eq!(rows[0].name.as_deref(), Some("resume"));
        assert!(rows[0].trouble.is_none());
        assert_eq!(rows[1].found, Some(Found::Step(StepReport { heard: Some("no".into()), ..sent })));
        let trouble = rows[1].trouble.as_ref().unwrap();
        assert_eq!(trouble.error, "the server refused: bad token");
        assert!(trouble.advice.unwrap().contains("credentials"));
    }

    #[test]
    fn a_step_is_named_once() {
        let present = |part, name: Option<&str>| Present {
            part,
            name: name.map(str::to_owned),
            began: Instant::now(),
            found: None,
            narrow: None,
        };
        for (part, name, error, own) in [
            (Part::Step, Some("boot"), "the script's step \"boot\" failed: no", "no"),
            (
                Part::Step,
                Some("boot"),
                "the script's step \"boot\" is said again in 30s: not yet: {}",
                "it is said again in 30s: not yet: {}",
            ),
            (Part::Step, Some("boot"), "the connection was closed", "the connection was closed"),
            (Part::Step, None, "the script's step \"x\" failed: no", "the script's step \"x\" failed: no"),
            (Part::Tls, None, "TLS: no", "no"),
            (Part::Dns, None, "TLS: no", "TLS: no"),
        ] {
            assert_eq!(present(part, name).own_words(error.to_owned()), own, "{error}");
        }
    }
}
