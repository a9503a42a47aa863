//! `wsfan check --live`: the way to the server, walked once.

use std::{
    cell::RefCell,
    io::Write as _,
    rc::Rc,
    time::{Instant, SystemTime},
};

#[cfg(feature = "cluster")]
use super::nats;
use super::{
    super::{
        failure::{FAILED, Failure, Outcome, Wrote, wrote},
        run::runtime,
    },
    timeline,
};
use crate::{
    config::Config,
    service,
    upstream::live_check::{Event, Found, Printed, Row},
};

/// Walks to each of the config's servers; a dry walk runs no program. For a program it prints objects, the last one with
/// these warnings.
pub(super) fn walk(config: &Config, is_dry: bool, json: Option<&Vec<String>>) -> Outcome {
    let began = Instant::now();
    let printer = Rc::new(RefCell::new(Printer {
        json: json.is_some(),
        url: String::new(),
        failed: None,
        untried: Vec::new(),
        output: Ok(Wrote::More),
    }));
    let (runtime, printed) = (runtime()?, Printed::default());
    #[cfg(feature = "cluster")]
    let nats = walk_nats(config, &runtime, &printer);
    for index in 0..config.upstream.urls.len().max(1) {
        printer.borrow_mut().begin(config.upstream.display_url(index));
        let (tell, began) = (Rc::clone(&printer), Instant::now());
        let tell = move |event| tell.borrow_mut().event(event);
        let well = runtime.block_on(service::walk(config, index, is_dry, &printed, tell));
        #[cfg(feature = "cluster")]
        let well = well && nats.is_none();
        if well {
            printer.borrow_mut().well(began);
        }
    }
    // a DNS lookup that hangs must not hold the end
    runtime.shutdown_background();
    let mut printer = printer.borrow_mut();
    let failed = printer.failed.take();
    if let Some(warnings) = json {
        let failed = failed.as_ref().map(|(url, row)| (url.as_str(), row));
        let untried = printer.untried.iter().map(|(url, row)| timeline::untried(url, row)).collect();
        #[allow(unused_mut, reason = "only a cluster changes it")]
        let mut result = timeline::result(failed, began.elapsed(), untried, warnings);
        #[cfg(feature = "cluster")]
        if let (None, Some((row, error))) = (failed, &nats) {
            nats::fail(&mut result, row, error);
        }
        printer.print(format!("{result}\n"));
    }
    std::mem::replace(&mut printer.output, Ok(Wrote::Enough))?;
    #[cfg(feature = "cluster")]
    if let (None, Some((row, error))) = (&failed, nats) {
        return Err(match json {
            Some(_) => Failure::silent(FAILED),
            None => Failure::failed(format!("{} fails at {}: {error}", row.url, row.stage)),
        });
    }
    match failed {
        None => Ok(()),
        Some(_) if json.is_some() => Err(Failure::silent(FAILED)),
        Some((url, row)) => Err(Failure::failed(timeline::sentence(&url, &row))),
    }
}

/// Looks at NATS, if there is a cluster, and returns the first row of trouble.
#[cfg(feature = "cluster")]
fn walk_nats(
    config: &Config,
    runtime: &tokio::runtime::LocalRuntime,
    printer: &Rc<RefCell<Printer>>,
) -> Option<(nats::Row, String)> {
    let cluster = config.cluster.as_ref()?;
    let mut failed = None;
    let mut url = String::new();
    runtime.block_on(nats::walk(cluster, &config.history, |row| {
        let mut printer = printer.borrow_mut();
        if row.url != url && !printer.json {
            printer.print(timeline::head(&row.url));
        }
        url.clone_from(&row.url);
        let text = if printer.json { format!("{}\n", nats::object(&row)) } else { nats::line(&row) };
        printer.print(text);
        if let (Err(error), None) = (row.found.clone(), &failed) {
            failed = Some((row, error));
        }
    }));
    failed
}

/// Prints rows as they come.
struct Printer {
    json: bool,
    /// The server that is walked to, for people.
    url: String,
    /// The first row of trouble, with its server.
    failed: Option<(String, Row)>,
    /// What isn't tried, with its server.
    untried: Vec<(String, Row)>,
    /// What became of the output: once it can't be written, nothing more is.
    output: Outcome<Wrote>,
}

impl Printer {
    fn begin(&mut self, url: String) {
        if !self.json {
            self.print(timeline::head(&url));
        }
        self.url = url;
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Row(row) => self.row(*row),
            // before it is run, whatever becomes of that
            Event::Runs(running) => self.print(match self.json {
                true => format!("{}\n", timeline::running_object(&self.url, &running)),
                false => timeline::running(&running),
            }),
        }
    }

    fn row(&mut self, row: Row) {
        let now = SystemTime::now();
        self.print(match self.json {
            true => format!("{}\n", timeline::object(&self.url, &row, now)),
            false => timeline::row(&row, now),
        });
        if row.trouble.is_some() && self.failed.is_none() {
            self.failed = Some((self.url.clone(), row));
        } else if let Some(Found::Untried { .. }) = row.found {
            self.untried.push((self.url.clone(), row));
        }
    }

    fn well(&mut self, began: Instant) {
        if !self.json {
            let is_whole = !self.untried.iter().any(|(url, _)| *url == self.url);
            self.print(timeline::well(began.elapsed(), is_whole));
        }
    }

    fn print(&mut self, text: String) {
        if matches!(self.output, Ok(Wrote::More)) {
            let mut out = anstream::stdout().lock();
            self.output = wrote(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
        }
    }
}
