//! Reads what the placeholders of one attempt stand for: files, variables, and what commands print.

use std::{collections::BTreeMap, iter, pin::Pin, time::Duration};

use tokio::time;

use super::{commands, judgement::judge};
use crate::{
    config::{self, Environment, Placeholder, Pointer, Say, Secret, Template, Value, Var},
    hub::now_us,
    upstream::{
        failure::Failure,
        secrets::{Moment, Secrets},
        session::{context::uuid, kept::Kept},
        settings::Settings,
        wire::track::{Running, Track},
    },
};

/// A file that takes longer to read counts as one that can't be read.
const FILE_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads all that the templates of `settings` name: files and variables at once, and each command run
/// once, one after another, but for those whose output is kept. What can't be read is an error where it is used, and
/// nowhere else; but what a command says itself that a failure leads to is one of the attempt's, and ends it.
/// Whoever follows `track` hears what is run.
pub(in crate::upstream) async fn read(
    settings: &Settings,
    kept: &Kept,
    track: &Track,
) -> (Secrets, Option<Failure>) {
    kept.only(&settings.terms);
    let mut resolver = Resolver {
        settings,
        environment: Environment::process(),
        moment: Moment { now_ms: now_us() / 1_000, uuid: random_uuid().into() },
        values: BTreeMap::new(),
        printed: BTreeMap::new(),
        kept,
        track,
        failed: None,
    };
    for template in templates(settings) {
        resolver.read_all(template).await;
    }
    let secrets: Secrets = resolver.values.into_iter().collect();
    (secrets.at(resolver.moment), resolver.failed)
}

/// Nobody can guess it; and where the system gives no random numbers, few can.
fn random_uuid() -> String {
    let mut bytes = [0; 16];
    let bits = getrandom::fill(&mut bytes).map(|()| u128::from_ne_bytes(bytes));
    uuid(bits.unwrap_or_else(|_| fastrand::u128(..)))
}

/// The failure that a step is certain to come to, since it needs a value that isn't there: then a connection
/// is of no use. It leads to what the step's own failure does.
pub(in crate::upstream) fn unmet(settings: &Settings, secrets: &Secrets) -> Option<Failure> {
    let terms = &settings.terms;
    terms.script.steps.iter().filter(|step| step.is_certain(&terms.vars)).find_map(|step| {
        let template = step.send.as_ref().and_then(Say::template)?;
        let in_variable = |placeholder: &Placeholder| match placeholder {
            Placeholder::Var(name) => terms.vars.get(name).map(|var| match var {
                Var::Json(template) | Var::Text(template) => template.placeholders(),
            }),
            _ => None,
        };
        let direct = template.placeholders();
        let named = direct.flat_map(|(placeholder, _)| {
            let inner = in_variable(placeholder).into_iter().flatten().map(|(placeholder, _)| placeholder);
            inner.chain(iter::once(placeholder))
        });
        let (what, why) = named.filter_map(|placeholder| missing(placeholder, secrets)).next()?;
        let sentence = format!("step {:?} needs {what}, which {why}", step.name);
        Some(Failure { then: Some(step.on_fail), ..Failure::attempt(sentence) })
    })
}

/// What has no value though it must have one by now, and why.
fn missing(placeholder: &Placeholder, secrets: &Secrets) -> Option<(String, String)> {
    if !placeholder.is_of_attempt() {
        return None;
    }
    let why = secrets.value(placeholder).err()?;
    Some(match placeholder {
        Placeholder::Command(name, _) => (format!("what [command.{name}] prints"), why),
        _ => (format!("`{placeholder}`"), why),
    })
}

/// Reads what placeholders stand for, each once.
struct Resolver<'a> {
    settings: &'a Settings,
    environment: Environment,
    moment: Moment,
    values: BTreeMap<Placeholder, Result<Value, String>>,
    /// What each command printed.
    printed: BTreeMap<&'a str, Result<String, String>>,
    /// What those have printed that are run once.
    kept: &'a Kept,
    track: &'a Track,
    /// What a command says itself is the end of the attempt: nothing more is read.
    failed: Option<Failure>,
}

impl<'a> Resolver<'a> {
    /// Reads what the template's placeholders stand for. Of those that this leads to, a variable's are no
    /// variables, and those of what a command reads lead to no command: it goes no deeper.
    fn read_all(&mut self, template: &'a Template) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(async move {
            for (placeholder, _) in template.placeholders() {
                if self.failed.is_some() {
                    return;
                }
                if placeholder.is_of_attempt() && !self.values.contains_key(placeholder) {
                    let value = self.read(placeholder).await;
                    self.values.insert(placeholder.clone(), value);
                }
            }
        })
    }

    async fn read(&mut self, placeholder: &'a Placeholder) -> Result<Value, String> {
        match placeholder {
            Placeholder::Var(name) => match self.settings.terms.vars.get(name) {
                None => Err("is not set in [vars]".to_owned()),
                Some(Var::Json(template)) => self.rendered(template).await.map(Value::Json),
                Some(Var::Text(template)) => self.rendered(template).await.map(Value::Text),
            },
            Placeholder::Command(name, pointer) => {
                let printed = self.printed(name).await?;
                match pointer {
                    Some(pointer) => at(&printed, pointer),
                    None => Ok(Value::Text(printed)),
                }
            }
            Placeholder::File(_) | Placeholder::Credential(_) => {
                let (placeholder, environment) = (placeholder.clone(), self.environment.clone());
                aside(move || placeholder.read(&environment)).await.map(Value::Text)
            }
            _ => placeholder.read(&self.environment).map(Value::Text),
        }
    }

    async fn rendered(&mut self, template: &'a Template) -> Result<String, String> {
        self.read_all(template).await;
        let text = template.render(|placeholder| {
            let value = self.moment.value(placeholder).map(Ok);
            let value = value.or_else(|| self.values.get(placeholder).cloned());
            value.unwrap_or_else(|| Err("has no value here".to_owned()))
        });
        Ok(text.map_err(|error| format!("has no value: {error}"))?.expose().to_owned())
    }

    async fn printed(&mut self, name: &'a str) -> Result<String, String> {
        if let Some(printed) = self.printed.get(name) {
            return printed.clone();
        }
        let printed = self.run(name).await;
        self.printed.insert(name, printed.clone());
        printed
    }

    async fn run(&mut self, name: &str) -> Result<String, String> {
        let terms = &self.settings.terms;
        let Some(command) = terms.commands.get(name) else {
            return Err("names no [command]".to_owned());
        };
        if let Some(printed) = self.kept.get(name, command, terms) {
            return Ok(printed);
        }
        let stdin = match &command.command.stdin {
            Some(template) => Some(Secret::new(self.rendered(template).await?)),
            None => None,
        };
        // it may repeat what it was given
        let told: Secrets = self.values.clone().into_iter().collect();
        self.track.runs(|| Running {
            key: format!("[command.{name}]"),
            run: command.command.shown(),
            keep: command.keep,
        });
        let outcome = commands::run(&command.command, stdin, told.redactor()).await;
        match judge(outcome, &command.reject, command.on_fail.unwrap_or_default(), command.on_fail) {
            Ok(printed) => {
                // at once: whatever becomes of this attempt, it was run
                self.kept.put(name, command, terms, &printed);
                Ok(printed)
            }
            Err(unusable) => {
                let why = unusable.why.clone();
                if unusable.then.is_some() {
                    self.failed = Some(unusable.failure(&format!("[command.{name}]")));
                }
                Err(why)
            }
        }
    }
}

/// Reads a file where nobody waits for it: a disk or a network's file system may take its time.
async fn aside(read: impl FnOnce() -> Result<String, String> + Send + 'static) -> Result<String, String> {
    match time::timeout(FILE_TIMEOUT, tokio::task::spawn_blocking(read)).await {
        Ok(Ok(text)) => text,
        Ok(Err(error)) => Err(format!("can't be read: {error}")),
        Err(_) => Err(format!("can't be read within {FILE_TIMEOUT:?}")),
    }
}

/// The value at a place of what a command printed.
fn at(printed: &str, pointer: &Pointer) -> Result<Value, String> {
    let json: serde_json::Value = serde_json::from_str(printed)
        .map_err(|_| "has a pointer, but the command printed no JSON".to_owned())?;
    match json.pointer(pointer.as_str()) {
        Some(value) => Ok(Value::Json(value.to_string())),
        None => Err("is not in the JSON that the command printed".to_owned()),
    }
}

/// All templates that a connection may use.
fn templates(settings: &Settings) -> impl Iterator<Item = &Template> {
    let Settings { upstream, terms, .. } = settings;
    let urls = upstream.urls.iter().chain(&upstream.resume_url);
    let headers = upstream.headers.iter().map(|(_, value)| value);
    let says = settings.says().filter_map(Say::template);
    let hole = terms.sequence.iter().filter_map(|sequence| sequence.send.as_ref());
    let stdin = upstream.url_command.iter().filter_map(|url_command| url_command.command.stdin.as_ref());
    let proxy = match &upstream.proxy {
        config::Proxy::Url(template) => Some(template),
        config::Proxy::Environment | config::Proxy::Off => None,
    };
    let subprotocols = &upstream.subprotocols;
    let topics = terms.subscriptions.iter().flat_map(|topics| {
        [Some(&topics.subscribe), topics.unsubscribe.as_ref(), Some(&topics.item)].into_iter().flatten()
    });
    let streams = terms.requests.iter().flat_map(|requests| &requests.streams);
    let cancels = streams.filter_map(|stream| stream.cancel.as_ref());
    urls.chain(stdin)
        .chain(subprotocols)
        .chain(headers)
        .chain(proxy)
        .chain(says)
        .chain(hole)
        .chain(topics)
        .chain(cancels)
}

#[cfg(test)]
mod tests;
