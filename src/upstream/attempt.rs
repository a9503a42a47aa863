//! One attempt: everything from the configured URL to an open connection, in bounded time.

use tokio::time;

use super::{
    Settings,
    address::Address,
    commands,
    context::uuid,
    dial::Way,
    failure::Failure,
    found::Found,
    machine::Destination,
    memory::Captures,
    proxy::Proxy,
    reading,
    redactor::Redactor,
    secrets::Secrets,
    target::Target,
    told,
    track::{Stage, Track},
    websocket::{Connection, Offer, upgrade},
    wire::Wire,
};
use crate::{
    config::{self, Placeholder, Secret, Surroundings, Template, TemplateError, Value},
    hub::now_us,
};

/// What an attempt comes to.
pub(super) type Outcome = Result<Attempted, Failure>;

/// An attempt that came to a connection.
pub(super) struct Attempted {
    pub(super) connection: Box<Connection>,
    /// The subprotocol that the server chose.
    pub(super) subprotocol: Option<String>,
    /// What the placeholders of this attempt stand for.
    pub(super) secrets: Secrets,
}

/// How to get a byte stream to a server.
pub(super) trait Dial: AsyncFn(Target, Way, Track) -> Result<Wire, String> + Clone {}

impl<D: AsyncFn(Target, Way, Track) -> Result<Wire, String> + Clone> Dial for D {}

/// Attempts a connection, within `connect_timeout` for all of it. Whoever follows `track` hears how it goes.
pub(super) async fn attempt(settings: Settings, to: Destination, dial: impl Dial, track: Track) -> Outcome {
    let upstream = &settings.upstream;
    let (shown, limit) = (shown(upstream, &to), upstream.connect_timeout);
    let mut redactor = Redactor::default();
    let outcome = time::timeout(limit, connect(&settings, &to, dial, &track, &mut redactor)).await;
    match outcome {
        Ok(Ok(attempted)) => Ok(attempted),
        Ok(Err(failure)) => {
            let failure = failure.redacted(|text| redactor.redact(text));
            // where there are several servers, the sentence says which one it was
            let error = failure.error.map(|error| match upstream.urls.len() {
                0 | 1 => error,
                _ => format!("{shown}: {error}"),
            });
            Err(Failure { error, ..failure })
        }
        Err(_) => {
            let what = track.sentence();
            Err(Failure::attempt(format!("no connection to {shown} within {limit:?}: {what}")))
        }
    }
}

/// Whatever comes of it, `redactor` knows all that was told by then.
async fn connect(
    settings: &Settings,
    to: &Destination,
    dial: impl Dial,
    track: &Track,
    redactor: &mut Redactor,
) -> Outcome {
    // read afresh each time: a token that was renewed is used by the next attempt
    track.begin(Stage::Preparing);
    let upstream = &settings.upstream;
    let secrets = reading::read(settings).await;
    redactor.join(secrets.redactor());
    if let Destination::Resume(captures) = to {
        captures.hide_in(redactor);
    }
    if let Some(failure) = reading::unmet(settings, &secrets) {
        return Err(failure);
    }
    let address = address(upstream, to, &secrets).await?;
    let target = Target::parse(address.url.expose()).map_err(Failure::attempt)?;
    let mut headers = Vec::new();
    for (name, value) in &upstream.headers {
        let value = render(value, &secrets, None)
            .map_err(|why| Failure::attempt(format!("upstream.headers.{name}: {why}")))?;
        headers.push((name.as_str(), value));
    }
    headers.extend(address.headers.iter().map(|(name, value)| (name.as_str(), value.clone())));
    let render_url = |template: &Template| render(template, &secrets, None);
    let proxy = Proxy::choose(&upstream.proxy, &target, &Surroundings::process(), render_url);
    let proxy = proxy.map_err(Failure::attempt)?;
    told::hide_url(redactor, address.url.expose(), &target, &shown(upstream, to));
    headers.iter().for_each(|(name, value)| told::hide_header(redactor, name, value.expose()));
    if let Some((user, password)) = proxy.as_ref().and_then(Proxy::login) {
        told::hide_login(redactor, &String::from_utf8_lossy(user), &String::from_utf8_lossy(password));
    }
    // where it goes is told whatever the names come from
    redactor.show(&target.address());
    proxy.iter().for_each(|proxy| redactor.show(&proxy.name()));
    let secrets = secrets.with_redactor(redactor.clone());
    track.found(|| Found::Prepared {
        address: target.address(),
        headers: headers.iter().map(|(name, _)| (*name).to_owned()).collect(),
    });
    let way = Way { proxy, tls: upstream.tls.clone() };
    let wire = dial(target.clone(), way, track.clone()).await.map_err(Failure::attempt)?;
    track.begin(Stage::Upgrading);
    let (subprotocols, max_message) = (&upstream.subprotocols[..], upstream.max_message);
    let compression = upstream.compression;
    let offer = Offer { target: &target, headers, subprotocols, compression, max_message, redactor };
    let upgraded = upgrade(wire, offer, track).await;
    let (connection, subprotocol) =
        upgraded.map_err(|failure| failure.with_wait(settings.reconnect.max_retry_after))?;
    Ok(Attempted { connection, subprotocol, secrets })
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
            match commands::run(&command.command, stdin, secrets.redactor()).await {
                Ok(printed) => Address::parse(&printed, command),
                // a program that fails may have printed why, as `curl --fail-with-body` does
                Err(failed) => {
                    let rejected = failed.printed.and_then(|printed| Address::rejected(&printed, command));
                    Err(rejected.unwrap_or_else(|| fail(failed.why)))
                }
            }
        }
        _ => Err(Failure::attempt("upstream.url is missing")),
    }
}

fn render(
    template: &Template,
    secrets: &Secrets,
    captures: Option<&Captures>,
) -> Result<Secret, TemplateError> {
    template.render(|placeholder| match (placeholder, captures) {
        (Placeholder::Capture(name), Some(captures)) => captures.value(name),
        (Placeholder::NowMs, _) => Ok(Value::Json((now_us() / 1_000).to_string())),
        (Placeholder::NowS, _) => Ok(Value::Json((now_us() / 1_000_000).to_string())),
        (Placeholder::Uuid, _) => Ok(Value::Text(uuid(fastrand::u128(..)))),
        _ => secrets.value(placeholder),
    })
}
