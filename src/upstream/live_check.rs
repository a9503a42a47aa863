//! A walk to the server, once and aloud: an attempt, the script and one heartbeat, as the link makes them,
//! with a row for each stage. For `wsfan check --live`.

use std::{cell::RefCell, rc::Rc, time::Instant};

use tokio::time;

use super::{
    attempt::attempt,
    machine::How,
    session::{destination::Destination, kept::Kept},
    settings::Settings,
    wire::{
        dial::dial,
        track::{ProxyStage, Stage, Track, TrackEvent},
    },
};

mod advice;
mod talk;
mod timeline;

pub use super::wire::found::{Certificate, Found, StepReport};
use timeline::Timeline;
pub use timeline::{Part, Row, Trouble};

/// Walks to the configured URL of number `url` (or to what `upstream.url_command` prints), and tells each
/// row as it is known; the last one has a [`Trouble`] if it was not to go on. Whether all went well.
///
/// Attempt and script together take `upstream.connect_timeout` at most; so do the wait until `[limits]` let a
/// heartbeat out, the wait for its answer (`heartbeat.timeout`), and the close (`close_timeout`, and a second
/// for the end of TCP).
pub async fn walk(settings: Settings, url: usize, tell: impl FnMut(Row) + 'static) -> bool {
    let mut settings = settings;
    // the failures of one server needn't say which it was
    if let Some(url) = settings.upstream.urls.get(url).cloned() {
        settings.upstream.urls = vec![url];
    }
    let timeline = Rc::new(RefCell::new(Timeline::new(tell)));
    let until = now() + settings.upstream.connect_timeout;
    let attempted =
        attempt(settings.clone(), Destination::Configured(0), Kept::default(), dial, follow(&timeline)).await;
    match attempted {
        Ok(attempted) => talk::talk(&settings, attempted, until, &timeline).await,
        Err(failure) => {
            let how = if now() >= until { How::Late } else { How::Plain };
            timeline.borrow_mut().fail(now(), failure, how);
            false
        }
    }
}

/// A track that makes rows.
fn follow(timeline: &Rc<RefCell<Timeline>>) -> Track {
    let timeline = Rc::clone(timeline);
    Track::followed(move |event| match event {
        TrackEvent::Begins(stage) => timeline.borrow_mut().begin(now(), part(&stage), None),
        TrackEvent::Found(found) => timeline.borrow_mut().found(found),
    })
}

fn part(stage: &Stage) -> Part {
    match stage {
        Stage::Preparing => Part::Prepare,
        Stage::Resolving | Stage::Proxy(_, ProxyStage::Resolving) => Part::Dns,
        Stage::Connecting | Stage::Proxy(_, ProxyStage::Connecting) => Part::Tcp,
        Stage::Proxy(_, ProxyStage::Tunnel) => Part::Proxy,
        Stage::Tls => Part::Tls,
        Stage::Upgrading => Part::Upgrade,
    }
}

/// The time by tokio's clock, which tests can stop.
fn now() -> Instant {
    time::Instant::now().into_std()
}
