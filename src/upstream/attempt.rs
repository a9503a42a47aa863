//! One attempt: everything from the configured URL to an open connection, in bounded time.

use std::cell::RefCell;

use tokio::time;

use super::{
    failure::Failure,
    secrets::{Secrets, redactor::Redactor},
    session::destination::Destination,
    session::{kept::Kept, memory::Captures},
    settings::Settings,
    websocket::{Connection, Offer, upgrade},
    wire::{
        Wire,
        dial::Route,
        found::Found,
        proxy::Proxy,
        target::Target,
        track::{Running, Stage, Track},
    },
};
use crate::config::{self, Environment, Placeholder, Say, Secret, Template, TemplateError, Value};

pub(super) mod commands;
mod judgement;
pub(super) mod makers;
pub(super) mod resolve;
pub(super) mod told;
pub(super) mod trust;
pub(super) mod url_output;

use judgement::judge;
use trust::Trust;
use url_output::Address;

/// What an attempt comes to.
pub(super) type AttemptResult = Result<Attempted, Failure>;

/// An attempt that came to a connection.
pub(super) struct Attempted {
    pub(super) connection: Box<Connection>,
    /// The subprotocol that the server chose.
    pub(super) subprotocol: Option<String>,
    /// What the placeholders of this attempt stand for.
    pub(super) secrets: Secrets,
    /// Where it is, if that isn't what the configuration says in so many words: scheme, host and port.
    pub(super) place: Option<String>,
}

/// How to get a byte stream to a server.
pub(super) trait Dial: AsyncFn(Target, Route, Track) -> Result<Wire, String> + Clone {}

impl<D: AsyncFn(Target, Route, Track) -> Result<Wire, String> + Clone> Dial for D {}

/// Attempts a connection, within `connect_timeout` for all of it. Commands that are run once have printed what is in
/// `kept`, or print it now. Whoever follows `track` hears how it goes.
pub(super) async fn attempt(
    settings: Settings,
    to: Destination,
    kept: Kept,
    dial: impl Dial,
    track: Track,
) -> AttemptResult {
    let upstream = &settings.upstream;
    let (endpoint, limit) = (RefCell::new(None), upstream.connect_timeout);
    let mut redactor = Redactor::default();
    let outcome =
        time::timeout(limit, connect(&settings, &to, &kept, dial, &track, &mut redactor, &endpoint)).await;
    let endpoint: Option<Endpoint> = endpoint.into_inner();
    let is_told = upstream.urls.len() > 1 || endpoint.is_some();
    let shown = endpoint.as_ref().map_or_else(|| shown(upstream, &to), |endpoint| endpoint.origin.clone());
    let place = endpoint.map(|endpoint| endpoint.words());
    match outcome {
        Ok(Ok(attempted)) => Ok(attempted),
        Ok(Err(failure)) => {
            let failure = failure.redacted(|text| redactor.redact(text));
            // where it may be one of several servers, the sentence says which one it was
            let is_told = is_told && !failure.misled;
            let error = failure.error.map(|error| if is_told { format!("{shown}: {error}") } else { error });
            Err(Failure { error, place, ..failure })
        }
        Err(_) => {
            let what = track.sentence();
            let failure = Failure::attempt(format!("no connection to {shown} within {limit:?}: {what}"));
            Err(Failure { place, ..failure })
        }
    }
}

/// Where an attempt goes, for people.
#[derive(Clone)]
struct Endpoint {
    /// Scheme, host and port as a URL has them.
    origin: String,
    /// Host and port.
    address: String,
}

impl Endpoint {
    fn of(target: &Target) -> Endpoint {
        Endpoint { origin: target.origin(), address: target.address() }
    }

    /// All that sentences say of it.
    fn words(&self) -> String {
        format!("{} {}", self.origin, self.address)
    }
}

/// Whatever comes of it, `redactor` knows all that was told by then, and `endpoint` where it leads, if the
/// configuration doesn't say so in so many words.
async fn connect(
    settings: &Settings,
    to: &Destination,
    kept: &Kept,
    dial: impl Dial,
    track: &Track,
    redactor: &mut Redactor,
    endpoint: &RefCell<Option<Endpoint>>,
) -> AttemptResult {
    track.begin(Stage::Preparing);
    let upstream = &settings.upstream;
    let secrets = secrets(settings, to, kept, track, redactor).await?;
    let address = address(upstream, to, &secrets, track).await?;
    let misled = |why: String| Failure { misled: true, ..Failure::attempt(why) };
    let mut target = Target::parse(address.url.expose()).map_err(|why| match to {
        Destination::Configured(_) => Failure::attempt(why),
        Destination::Resume(_) => misled(why.replacen("upstream.url", "upstream.resume_url", 1)),
    })?;
    *endpoint.borrow_mut() = elsewhere(upstream, to, &target);
    // it is to be allowed, or not, by whoever reads of it
    redactor.show(&Endpoint::of(&target).words());
    let trust = match to {
        Destination::Configured(_) => Trust::Configured,
        Destination::Resume(_) => trust(upstream, &target, &secrets).map_err(misled)?,
    };
    let trusted = trust == Trust::Configured;
    let headers = headers(upstream, trusted, &address, &secrets).map_err(Failure::attempt)?;
    let subprotocols = subprotocols(upstream, trusted, &secrets, redactor).map_err(Failure::attempt)?;
    let render_url = |template: &Template| render(template, &secrets, None);
    let proxy = Proxy::choose(&upstream.proxy, &target, &Environment::process(), render_url);
    let proxy = proxy.map_err(Failure::attempt)?;
    told::hide_url(redactor, address.url.expose(), &target, &shown(upstream, to));
    headers.iter().for_each(|(name, value)| told::hide_header(redactor, name, value.expose()));
    if let Some((user, password)) = proxy.as_ref().and_then(Proxy::login) {
        told::hide_login(redactor, &String::from_utf8_lossy(user), &String::from_utf8_lossy(password));
    }
    // where it goes is told whatever the names come from
    redactor.show(&Endpoint::of(&target).words());
    proxy.iter().for_each(|proxy| redactor.show(&proxy.name()));
    let secrets = secrets.with_redactor(redactor.clone());
    let shows = redactor.clone();
    track.show_by(move |text| shows.redact(text));
    track.found(|| Found::Prepared {
        address: target.address(),
        headers: headers.iter().map(|(name, _)| (*name).to_owned()).collect(),
    });
    let mut tls = upstream.tls.clone();
    if !trusted {
        (target.userinfo, tls.cert_file, tls.key_file) = (None, None, None);
    }
    let route = Route { proxy, tls };
    let wire = dial(target.clone(), route, track.clone()).await.map_err(Failure::attempt)?;
    track.begin(Stage::Upgrading);
    let (compression, max_message) = (upstream.compression, upstream.max_message);
    let subprotocols = &subprotocols[..];
    let offer = Offer { target: &target, headers, subprotocols, compression, max_message, redactor };
    let upgraded = upgrade(wire, offer, track).await;
    let (connection, subprotocol) =
        upgraded.map_err(|failure| failure.with_wait(settings.reconnect.max_retry_after))?;
    let subprotocol = subprotocol.map(|chosen| redactor.redact(&chosen));
    let place = endpoint.borrow().as_ref().map(|endpoint| endpoint.origin.clone());
    Ok(Attempted { connection, subprotocol, secrets, place })
}

/// What placeholders stand for. It is read afresh each time: a token that was renewed is used by the next attempt.
async fn secrets(
    settings: &Settings,
    to: &Destination,
    kept: &Kept,
    track: &Track,
    redactor: &mut Redactor,
) -> Result<Secrets, Failure> {
    let commands = settings.upstream.url_command.iter().map(|url_command| &url_command.command);
    let makers = settings.says().filter_map(Say::command).map(|command| &command.program);
    let named = settings.terms.commands.values().map(|named| &named.command);
    for command in commands.chain(named).chain(makers) {
        commands::hide_environment(command, redactor);
    }
    let (secrets, failed) = resolve::read(settings, kept, track).await;
    redactor.join(secrets.redactor());
    if let Destination::Resume(captures) = to {
        captures.hide_in(redactor);
    }
    match failed.or_else(|| resolve::unmet(settings, &secrets)) {
        Some(failure) => Err(failure),
        None => Ok(secrets),
    }
}

/// The headers of the upgrade. Those that a program prints stand in for those of the same name.
fn headers<'h>(
    upstream: &'h config::Upstream,
    trusted: bool,
    address: &'h Address,
    secrets: &Secrets,
) -> Result<Vec<(&'h str, Secret)>, String> {
    let mut headers = Vec::new();
    let is_printed =
        |name: &str| address.headers.iter().any(|(printed, _)| printed.eq_ignore_ascii_case(name));
    for (name, value) in upstream.headers.iter().filter(|(name, _)| trusted && !is_printed(name)) {
        let value = render(value, secrets, None).map_err(|why| format!("upstream.headers.{name}: {why}"))?;
        headers.push((name.as_str(), value));
    }
    headers.extend(address.headers.iter().map(|(name, value)| (name.as_str(), value.clone())));
    Ok(headers)
}

/// The subprotocols to offer. One with placeholders is a credential: it goes where headers do, and nobody is shown it.
fn subprotocols(
    upstream: &config::Upstream,
    trusted: bool,
    secrets: &Secrets,
    redactor: &mut Redactor,
) -> Result<Vec<String>, String> {
    let mut offered: Vec<String> = Vec::new();
    for template in upstream.subprotocols.iter().filter(|template| trusted || template.is_literal()) {
        let name = render(template, secrets, None).map_err(|why| format!("upstream.subprotocols: {why}"))?;
        let name = name.expose();
        if !template.is_literal() {
            if !config::is_token(name) {
                return Err(format!(
                    "upstream.subprotocols: {template} has what no header can list: letters, digits and \
                     !#$%&'*+-.^_`|~ can stand there; base64url, by a [derived] value, always fits"
                ));
            }
            redactor.hide_as(name, 1, &template.to_string());
        }
        if !offered.iter().any(|earlier| earlier == name) {
            offered.push(name.to_owned());
        }
    }
    Ok(offered)
}

/// How far a place is trusted that a message had a part in.
fn trust(upstream: &config::Upstream, target: &Target, secrets: &Secrets) -> Result<Trust, String> {
    let place = |url: Result<Secret, TemplateError>| Target::parse(url.ok()?.expose()).ok();
    let mut configured: Vec<Target> =
        upstream.urls.iter().filter_map(|url| place(render(url, secrets, None))).collect();
    // a host that stands in `resume_url` itself is the configuration's: whatever is captured, it's the same
    let without = |template: &Template, capture: &str| {
        place(template.render(|placeholder| match placeholder {
            Placeholder::Capture(_) => Ok(Value::Text(capture.to_owned())),
            _ => value(placeholder, secrets, None),
        }))
    };
    if let Some(template) = &upstream.resume_url
        && let (Some(one), Some(other)) = (without(template, "0"), without(template, "1"))
        && one.is_at(&other)
        && one.is_at(target)
    {
        configured.push(one);
    }
    trust::judge(target, &configured, &upstream.allowed_hosts)
}

/// Where a place is, if the configuration doesn't say so in so many words.
fn elsewhere(upstream: &config::Upstream, to: &Destination, target: &Target) -> Option<Endpoint> {
    let written = match to {
        Destination::Configured(index) => Target::parse(&upstream.display_url(*index)).ok(),
        Destination::Resume(_) => None,
    };
    (!written.is_some_and(|written| written.is_at(target))).then(|| Endpoint::of(target))
}

/// The server, for people.
fn shown(upstream: &config::Upstream, to: &Destination) -> String {
    match to {
        Destination::Configured(index) => upstream.display_url(*index),
        Destination::Resume(_) => "upstream.resume_url".to_owned(),
    }
}

/// Where an attempt goes, with what only this one knows.
async fn address(
    upstream: &config::Upstream,
    to: &Destination,
    secrets: &Secrets,
    track: &Track,
) -> Result<Address, Failure> {
    match (to, &upstream.resume_url, &upstream.url_command) {
        (Destination::Resume(captures), Some(template), _) => {
            let url = render(template, secrets, Some(captures));
            url.map(Address::of).map_err(|why| Failure::attempt(format!("upstream.resume_url: {why}")))
        }
        (Destination::Configured(index), _, None) if *index < upstream.urls.len() => {
            let url = render(&upstream.urls[*index], secrets, None);
            url.map(Address::of).map_err(|why| Failure::attempt(format!("upstream.url: {why}")))
        }
        (_, _, Some(command)) => {
            let program = &command.command.run[0];
            let fail = |why: String| Failure::attempt(format!("upstream.url_command {program} {why}"));
            let stdin = command.command.stdin.as_ref().map(|template| render(template, secrets, None));
            let stdin = stdin.transpose().map_err(|why| fail(format!("can't be run: stdin: {why}")))?;
            let run = || command.command.shown();
            track.runs(|| Running { key: "upstream.url_command".to_owned(), run: run(), keep: false });
            let outcome = commands::run(&command.command, stdin, secrets.redactor()).await;
            let judged = judge(outcome, &command.reject, command.on_fail, None);
            let who = format!("upstream.url_command {program}");
            let printed = judged.map_err(|unusable| unusable.failure(&who))?;
            Address::parse(&printed, command)
        }
        _ => Err(Failure::attempt("upstream.url is missing")),
    }
}

fn render(
    template: &Template,
    secrets: &Secrets,
    captures: Option<&Captures>,
) -> Result<Secret, TemplateError> {
    template.render(|placeholder| value(placeholder, secrets, captures))
}

fn value(placeholder: &Placeholder, secrets: &Secrets, captures: Option<&Captures>) -> Result<Value, String> {
    match (placeholder, captures) {
        (Placeholder::Capture(name), Some(captures)) => captures.value(name),
        _ => secrets.value(placeholder),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Config, upstream::session::memory::Memory};

    #[test]
    fn only_a_host_that_no_capture_has_a_part_in_is_the_configurations() {
        let (yes, maybe) = (Some(Trust::Configured), Some(Trust::Allowed));
        for (resume_url, captured, expected) in [
            ("wss://b/${capture:x}", "s", yes),
            ("wss://b:9/?s=${capture:x}", "0", yes),
            ("wss://${capture:x}@b/", "me", yes),
            ("wss://${capture:x}@b/", "evil/", yes), // it's percent-encoded there
            ("wss://${capture:x}/", "a", yes),
            ("wss://${capture:x}/", "evil", None),
            ("wss://${capture:x}/", "0", None),
            ("wss://${capture:x}/", "1", None),
            ("wss://${capture:x}.b/", "0", None),
            ("wss://b${capture:x}/", "0", None),
            ("wss://a:${capture:x}/", "10", maybe),
            ("wss://a:1${capture:x}/", "0", maybe),
            ("${capture:x}", "wss://a/?s", yes),
            ("${capture:x}", "wss://b/", None),
        ] {
            let text = format!(
                "[upstream]\nurl = \"wss://a/\"\nresume_url = \"{resume_url}\"\n\
                 [[capture]]\nmatch = \"x\"\nvalues = {{ x = \"/x\" }}\n"
            );
            let upstream = Config::parse(&text, &Environment::fixed([])).unwrap().upstream;
            let mut memory = Memory::default();
            memory.capture("x", &serde_json::json!(captured).to_string()).unwrap();
            let secrets = Secrets::default();
            let template = upstream.resume_url.as_ref().unwrap();
            let url = render(template, &secrets, Some(&memory.captures())).unwrap();
            let target = Target::parse(url.expose()).unwrap();
            assert_eq!(trust(&upstream, &target, &secrets).ok(), expected, "{resume_url} {captured}");
        }
    }
}
