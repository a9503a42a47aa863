//! A walk to the server, once and aloud: an attempt, the script and one heartbeat, as the link makes them,
//! with a row for each stage. For `wsfan check --live`.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Instant,
};

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
mod dry;
mod talk;
mod timeline;

pub use super::wire::{
    found::{Certificate, Found, StepReport},
    track::Running,
};
use dry::{Dry, Reach};
use timeline::Timeline;
pub use timeline::{Event, Narrow, Part, Row, Trouble};

/// What commands have printed that are run once: one for all walks of a check, as for all attempts of a link.
#[derive(Debug, Clone, Default)]
pub struct Printed(Kept);

/// Walks to the configured URL of number `url` (or to what `upstream.url_command` prints), and tells each program before
/// it is run, and each row as it is known; the last one has a [`Trouble`] if it was not to go on. Whether all went well.
/// A dry walk runs no program: it goes as far as none is needed, and tells what that leaves out.
///
/// Attempt and script together take `upstream.connect_timeout` at most; so do the wait until `[limits]` let a
/// heartbeat out, the wait for its answer (`heartbeat.timeout`), and the close (`close_timeout`, and a second
/// for the end of TCP).
pub async fn walk(
    settings: Settings,
    url: usize,
    is_dry: bool,
    printed: &Printed,
    tell: impl FnMut(Event) + 'static,
) -> bool {
    let mut settings = settings;
    // the failures of one server needn't say which it was
    if let Some(url) = settings.upstream.urls.get(url).cloned() {
        settings.upstream.urls = vec![url];
    }
    let timeline = Rc::new(RefCell::new(Timeline::new(tell)));
    if !is_dry {
        return go(settings, printed, Reach::Script, &timeline).await;
    }
    let Dry { settings, reach, untried } = Dry::of(settings);
    let well = reach == Reach::Nowhere || go(settings, printed, reach, &timeline).await;
    if well {
        untried.into_iter().for_each(|untried| timeline.borrow_mut().leave_out(now(), untried));
    }
    well
}

/// Goes so far.
async fn go(settings: Settings, printed: &Printed, reach: Reach, timeline: &Rc<RefCell<Timeline>>) -> bool {
    let until = now() + settings.upstream.connect_timeout;
    let (to, kept) = (Destination::Configured(0), printed.0.clone());
    let is_there = Rc::new(Cell::new(false));
    let arrives = Rc::clone(&is_there);
    // whoever goes no further than to the server has nothing to say to it
    let dial = async move |target, route, track| {
        let wire = dial(target, route, track).await?;
        if reach == Reach::Script {
            return Ok(wire);
        }
        arrives.set(true);
        Err("it goes no further".to_owned())
    };
    match attempt(settings.clone(), to, kept, dial, follow(timeline)).await {
        Ok(attempted) => talk::talk(&settings, attempted, until, timeline).await,
        Err(_) if is_there.get() => {
            timeline.borrow_mut().done(now());
            true
        }
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
        TrackEvent::Runs(running) => timeline.borrow_mut().runs(running),
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
