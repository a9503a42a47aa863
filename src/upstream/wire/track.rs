//! How far an attempt has come: for the sentence when its time runs out, and for whoever follows it.

use std::{cell::RefCell, rc::Rc};

use super::found::Found;

/// The way of one attempt. A copy is the same way; where nobody follows it, nothing is put together for it.
#[derive(Clone, Default)]
pub(in crate::upstream) struct Track(Rc<Inner>);

#[derive(Default)]
struct Inner {
    stage: RefCell<Stage>,
    follower: Option<Box<dyn Fn(TrackEvent)>>,
    /// How what the server says is shown.
    shown: RefCell<Option<Redact>>,
}

type Redact = Box<dyn Fn(&str) -> String>;

/// How far an attempt has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::upstream) enum Stage {
    #[default]
    Preparing,
    Resolving,
    Connecting,
    /// On the way to a server through the proxy of this name.
    Proxy(String, ProxyStage),
    Tls,
    Upgrading,
}

/// How far an attempt has come with a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) enum ProxyStage {
    Resolving,
    Connecting,
    Tunnel,
}

/// What a follower hears.
#[derive(Debug)]
pub(in crate::upstream) enum TrackEvent {
    /// A stage begins; the one before is done.
    Begins(Stage),
    /// What the present stage has found.
    Found(Found),
    /// A program is run now.
    Runs(Running),
}

/// A program that is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// What names it: `[command.NAME]`, or a key.
    pub key: String,
    /// The program and its arguments, in full, with what looks like a secret masked.
    pub run: Vec<String>,
    /// What it prints is kept for all attempts.
    pub keep: bool,
}

impl Track {
    /// A track whose events go to `follower`.
    pub(in crate::upstream) fn followed(follower: impl Fn(TrackEvent) + 'static) -> Track {
        Track(Rc::new(Inner { follower: Some(Box::new(follower)), ..Inner::default() }))
    }

    /// The stage before is done.
    pub(in crate::upstream) fn begin(&self, stage: Stage) {
        if let Some(follower) = &self.0.follower {
            follower(TrackEvent::Begins(stage.clone()));
        }
        *self.0.stage.borrow_mut() = stage;
    }

    /// From now on what the server says goes to the follower as `shown` shows it: without secrets.
    pub(in crate::upstream) fn show_by(&self, shown: impl Fn(&str) -> String + 'static) {
        *self.0.shown.borrow_mut() = Some(Box::new(shown));
    }

    /// The present stage has found something. `found` is only asked if anybody follows.
    pub(in crate::upstream) fn found(&self, found: impl FnOnce() -> Found) {
        if let Some(follower) = &self.0.follower {
            let found = match &*self.0.shown.borrow() {
                Some(shown) => found().redacted(shown),
                None => found(),
            };
            follower(TrackEvent::Found(found));
        }
    }

    /// A program is run now. What is told of it is only asked if anybody follows.
    pub(in crate::upstream) fn runs(&self, running: impl FnOnce() -> Running) {
        if let Some(follower) = &self.0.follower {
            follower(TrackEvent::Runs(running()));
        }
    }

    /// What didn't happen in time.
    pub(in crate::upstream) fn sentence(&self) -> String {
        match &*self.0.stage.borrow() {
            Stage::Preparing => "its secrets and commands weren't there".to_owned(),
            Stage::Resolving => "its name was not resolved".to_owned(),
            Stage::Connecting => "it didn't accept a TCP connection".to_owned(),
            Stage::Proxy(name, ProxyStage::Resolving) => format!("the name of {name} was not resolved"),
            Stage::Proxy(name, ProxyStage::Connecting) => format!("{name} didn't accept a TCP connection"),
            Stage::Proxy(name, ProxyStage::Tunnel) => format!("{name} didn't open a tunnel to it"),
            Stage::Tls => "the TLS handshake wasn't finished".to_owned(),
            Stage::Upgrading => "it didn't answer the upgrade request".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_put_together_for_nobody() {
        let track = Track::default();
        track.begin(Stage::Tls);
        track.found(|| unreachable!("nobody follows"));
        track.runs(|| unreachable!("nobody follows"));
        assert_eq!(track.sentence(), "the TLS handshake wasn't finished");
    }

    #[test]
    fn a_follower_hears_of_all_in_order() {
        let heard = Rc::new(RefCell::new(Vec::new()));
        let track = Track::followed({
            let heard = heard.clone();
            move |event| heard.borrow_mut().push(format!("{event:?}"))
        });
        track.begin(Stage::Resolving);
        track.clone().found(|| Found::Tunnel { proxy: "p".into() });
        assert_eq!(*heard.borrow(), ["Begins(Resolving)", "Found(Tunnel { proxy: \"p\" })"]);
    }

    #[test]
    fn what_the_server_says_is_told_without_secrets() {
        let heard = Rc::new(RefCell::new(String::new()));
        let track = Track::followed({
            let heard = heard.clone();
            move |event| *heard.borrow_mut() = format!("{event:?}")
        });
        track.clone().show_by(|text| text.replace("hunter2", "…"));
        let extensions = Some("a; hunter2".to_owned());
        track.found(|| Found::Upgraded { status: 101, subprotocol: None, extensions });
        let heard = heard.borrow();
        assert!(heard.contains("a; …") && !heard.contains("hunter2"), "{heard}");
    }
}
