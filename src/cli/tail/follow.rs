//! Following one connection: lines in, what is wanted of them out.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use super::{
    fields,
    form::Form,
    recall::{Recalled, Skip, Skipping},
    start::Start,
    subscription::{Said, Subscription},
};
use crate::{
    cli::{
        failure::{Failure, Outcome, Wrote, note, wrote},
        format::{clean, clean_json, counted, now_us},
        pretty,
    },
    client::{self, Client, Place},
    config::{TopicPattern, TopicView},
    protocol::{Attach, Line, Message, Op},
};

/// How long the daemon may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// The end of a line that is a last value: no other message's line ends so.
const LAST_VALUE: &[u8] = b",\"snapshot\":true}";

/// Why the following ended.
#[derive(Debug)]
pub(super) enum End {
    Bye(String),
    /// The machine knows the cluster's log now, which it didn't when it greeted.
    Found,
    /// Without a word.
    Lost(Failure),
    Enough,
}

/// What is wanted, and how far it has come.
pub(super) struct Tail<W> {
    pub(super) form: Form,
    /// Whether what is shown must not steer a terminal.
    pub(super) is_terminal: bool,
    /// Messages still wanted; none for all.
    pub(super) left: Option<u64>,
    /// After which entry to go on; none for what comes from now on.
    pub(super) start: Option<Start>,
    /// So many of the last messages to begin with, until they are shown.
    pub(super) last: Option<u64>,
    /// Whether to go on after those.
    pub(super) follow: bool,
    /// What is passed over at first.
    pub(super) skip: Option<Skip>,
    /// The topics that are wanted; none for all.
    pub(super) topics: Vec<TopicPattern>,
    /// Whether the last values come first.
    pub(super) snapshot: bool,
    /// Whether they have come, of this log.
    pub(super) has_snapshot: bool,
    /// The topics that are subscribed to.
    pub(super) subscription: Option<Subscription>,
    pub(super) out: W,
}

impl<W: Write> Tail<W> {
    pub(super) fn follow(&mut self, client: &mut Client) -> Outcome<End> {
        if self.left == Some(0) || self.show(&client.greeting)? == Wrote::Enough {
            return Ok(End::Enough);
        }
        if !self.topics.is_empty()
            && let Some(end) = self.may_narrow(client)?
        {
            return self.end(end);
        }
        // no place is one there: where to begin is asked for when there is a log
        if client.hello.epoch.is_empty() {
            return match self.read_on(client)? {
                End::Bye(why) if why == "epoch" => Ok(End::Found),
                end => Ok(end),
            };
        }
        if let Some(last) = self.last {
            if let Some(end) = self.recall(client, last)? {
                return self.end(end);
            }
            self.last = None;
            if !self.follow {
                return self.end(End::Enough);
            }
        }
        let place = match self.start.clone() {
            Some(Start::After(place)) => Some(place),
            Some(Start::Oldest) => Some(Place::oldest(&client.hello)),
            Some(Start::Ago(ago)) => {
                let ago = u64::try_from(ago.as_micros()).unwrap_or(u64::MAX);
                self.skip = Some(Skip { until_us: now_us().saturating_sub(ago), gap: None });
                Some(Place::oldest(&client.hello))
            }
            None if !self.topics.is_empty() || self.snapshot => Some(Place::newest(&client.hello)),
            None => None,
        };
        match place {
            Some(place) => {
                // who goes on in the same log has them
                let snapshot = self.snapshot && !(self.has_snapshot && place.epoch == client.hello.epoch);
                let asked = Attach { snapshot, ..self.asked() };
                self.has_snapshot &= !snapshot;
                if let Some(end) = self.attach(client, place, asked)? {
                    return self.end(end);
                }
            }
            None => self.moved(Place::newest(&client.hello)),
        }
        if let Some(subscription) = &mut self.subscription
            && let Err(error) = subscription.ask(&mut client.requests)
        {
            return self.end(End::Lost(error.into()));
        }
        self.read_on(client)
    }

    /// Shows what comes.
    fn read_on(&mut self, client: &mut Client) -> Outcome<End> {
        let mut line = Vec::new();
        loop {
            // what is here already goes out in one piece, and nothing waits in a buffer while we do
            if !client.lines.has_line() && wrote(self.out.flush())? == Wrote::Enough {
                return Ok(End::Enough);
            }
            if let Err(error) = client.lines.read(&mut line, None) {
                return self.end(End::Lost(error.into()));
            }
            if let Some(end) = self.take(&line)? {
                return self.end(end);
            }
        }
    }

    /// Ends with what is still in the buffer written, or known not to be.
    fn end(&mut self, end: End) -> Outcome<End> {
        match wrote(self.out.flush())? {
            Wrote::More => Ok(end),
            Wrote::Enough => Ok(End::Enough),
        }
    }

    /// Looks whether messages have topics there: where they have none, narrowing would show nothing for ever.
    fn may_narrow(&self, client: &mut Client) -> Outcome<Option<End>> {
        let mut line = Vec::new();
        if let Err(error) = client.ask(Op::Status, &mut line, Instant::now() + ANSWER) {
            return Ok(Some(End::Lost(error.into())));
        }
        let else_do =
            if self.subscription.is_some() { "or show all with --all" } else { "or leave --topic out" };
        match Line::parse(&line) {
            Some(Line::Status(status)) if status.log.topics.is_none() => Err(Failure::failed(format!(
                "no message has a topic there: say in the daemon's [topics] which one each is of (`pointer`, or a \
                 rule), {else_do}"
            ))),
            _ => Ok(None), // a listener may refuse it
        }
    }

    /// What the daemon is asked for.
    fn asked(&self) -> Attach<'static> {
        let topics = self.topics.iter().map(|topic| topic.as_str().to_owned().into());
        let topics = (!self.topics.is_empty()).then(|| topics.collect());
        Attach { topics, ..Attach::default() }
    }

    /// Whether a line is wanted, where the daemon wasn't asked to narrow.
    fn is_wanted(&self, line: &Line<'_>) -> bool {
        let Line::Message(message) = line else { return true };
        let is_meant = |topic: &str| {
            let view = TopicView::new(topic);
            topic.is_empty() || self.topics.iter().any(|pattern| pattern.matches(&view))
        };
        self.topics.is_empty() || message.topic.as_deref().is_some_and(is_meant)
    }

    /// Moves to `place`.
    fn attach(&mut self, client: &mut Client, mut place: Place, attach: Attach<'_>) -> Outcome<Option<End>> {
        match client.resume_as(&mut place, attach, Instant::now() + ANSWER) {
            Ok(()) => {
                self.moved(place);
                Ok(None)
            }
            Err(error @ client::Error::Refused { .. }) => Err(error.into()),
            Err(error) => Ok(Some(End::Lost(error.into()))),
        }
    }

    /// Remembers where to go on.
    fn moved(&mut self, place: Place) {
        self.start = Some(Start::After(place));
    }

    /// Remembers that this has been worked off.
    fn pass(&mut self, line: &Line<'_>) {
        if let Some(Start::After(place)) = &mut self.start {
            place.pass(line);
        }
    }

    fn passed(&mut self, entry: u64) {
        if let Some(Start::After(place)) = &mut self.start {
            place.seq = entry;
        }
    }

    /// Shows the last messages that the daemon holds, as they are with what lies between them. Other entries than
    /// messages may be among them, so that it is looked further back until they are enough.
    fn recall(&mut self, client: &mut Client, last: u64) -> Outcome<Option<End>> {
        let (head, oldest) = (client.hello.seq, client.hello.oldest);
        let newest = Place::newest(&client.hello);
        let after = |seq| Place { seq, ..newest.clone() };
        let mut back = last.saturating_add(last / 8).saturating_add(16);
        loop {
            let from = head.saturating_sub(back).max(oldest.saturating_sub(1));
            self.moved(after(from));
            if last == 0 || from >= head {
                self.moved(after(head));
                return Ok(None);
            }
            // all of it: what is narrowed away would leave no sign of how far it is
            if let Some(end) = self.attach(client, after(from), Attach::default())? {
                return Ok(Some(end));
            }
            let mut lines = Recalled::new(last);
            while lines.at < head {
                let mut line = Vec::new();
                if let Err(error) = client.lines.read(&mut line, Some(Instant::now() + ANSWER)) {
                    return Ok(Some(End::Lost(error.into())));
                }
                if let Some(parsed) = Line::parse(&line)
                    && !self.is_wanted(&parsed)
                {
                    lines.at = parsed.seq().unwrap_or(lines.at);
                    continue;
                }
                if let Some(why) = lines.add(line) {
                    return Ok(Some(End::Bye(why)));
                }
            }
            if lines.is_whole() || from < oldest {
                for line in lines.lines {
                    if let Some(end) = self.take(&line)? {
                        return Ok(Some(end));
                    }
                }
                self.moved(after(lines.at));
                return Ok(None);
            }
            back = back.saturating_mul(4);
        }
    }

    /// Shows a line, and says whether it was the last.
    fn take(&mut self, line: &[u8]) -> Outcome<Option<End>> {
        if let Some(skip) = &mut self.skip {
            match skip.look(line) {
                Skipping::Pass(seq) => {
                    if let Some(seq) = seq {
                        self.passed(seq);
                    }
                    return Ok(None);
                }
                Skipping::Begin(gap) => {
                    self.skip = None;
                    if let Some(gap) = gap
                        && let Some(end) = self.take(&gap)?
                    {
                        return Ok(Some(end));
                    }
                }
                Skipping::Show => {}
            }
        }
        if let Some(seq) = Message::seq_of(line) {
            if !(self.snapshot && line.ends_with(LAST_VALUE)) {
                self.passed(seq);
            }
            return self.message(line);
        }
        let Some(parsed) = Line::parse(line) else { return self.shown(line) };
        self.pass(&parsed);
        if let Some(subscription) = &mut self.subscription {
            match subscription.hear(&parsed) {
                Said::Nothing => {}
                Said::Note(said) => return self.told(line, &said),
                Said::Failed(failure) => {
                    self.told(line, "")?;
                    wrote(self.out.flush())?;
                    return Err(failure);
                }
            }
        }
        match parsed {
            Line::Message(_) => self.message(line),
            Line::Bye(bye) => {
                // a person hears of it on stderr
                if !matches!(self.form, Form::Pretty(_)) && self.show(line)? == Wrote::Enough {
                    return Ok(Some(End::Enough));
                }
                Ok(Some(End::Bye(bye.why.name().to_owned())))
            }
            Line::Snapshot(end) => {
                self.has_snapshot = true;
                if self.form.is_bare() && end.dropped > 0 {
                    let _ = self.out.flush();
                    let dropped = counted(end.dropped, "last value was", "last values were");
                    note(format!("{dropped} let go for want of room: some may be missing"));
                }
                self.shown(line)
            }
            Line::Gap(gap) => self.gap(line, &pretty::lost(&gap)),
            Line::UpstreamGap(gap) => self.gap(line, &pretty::never_came(&gap)),
            Line::FailoverGap(gap) => self.gap(line, &pretty::taken_over(&gap)),
            _ => self.shown(line),
        }
    }

    /// Tells what a line about the subscription says: for programs the line, and for people what it `said`.
    fn told(&mut self, line: &[u8], said: &str) -> Outcome<Option<End>> {
        if matches!(self.form, Form::Plain) {
            return self.shown(line);
        }
        if !said.is_empty() {
            let _ = self.out.flush();
            note(said);
        }
        Ok(None)
    }

    fn gap(&mut self, line: &[u8], said: &str) -> Outcome<Option<End>> {
        if self.form.is_bare() {
            let _ = self.out.flush();
            note(said);
        }
        self.shown(line)
    }

    fn message(&mut self, line: &[u8]) -> Outcome<Option<End>> {
        Ok(self.shown(line)?.or_else(|| self.count()))
    }

    fn shown(&mut self, line: &[u8]) -> Outcome<Option<End>> {
        Ok((self.show(line)? == Wrote::Enough).then_some(End::Enough))
    }

    fn count(&mut self) -> Option<End> {
        let left = self.left.as_mut()?;
        *left -= 1;
        (*left == 0).then_some(End::Enough)
    }

    fn show(&mut self, line: &[u8]) -> Outcome<Wrote> {
        wrote(match &mut self.form {
            Form::Plain if self.is_terminal => {
                writeln!(self.out, "{}", clean_json(&String::from_utf8_lossy(line)))
            }
            Form::Plain => self.out.write_all(line).and_then(|()| self.out.write_all(b"\n")),
            Form::Pretty(pretty) => self.out.write_all(pretty.line(line).as_bytes()),
            bare => {
                let Some(Line::Message(message)) = Line::parse(line) else { return Ok(Wrote::More) };
                match bare {
                    Form::Fields(fields) => {
                        let row = fields::row(fields, &message);
                        match self.is_terminal {
                            true => {
                                let columns: Vec<_> = row.split('\t').map(clean).collect();
                                writeln!(self.out, "{}", columns.join("\t"))
                            }
                            false => writeln!(self.out, "{row}"),
                        }
                    }
                    _ if self.is_terminal => writeln!(self.out, "{}", clean(&message.raw())),
                    _ => writeln!(self.out, "{}", message.raw()),
                }
            }
        })
    }
}

#[cfg(test)]
mod tests;
