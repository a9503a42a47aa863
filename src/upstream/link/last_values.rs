//! What is retained of what the server says.

use crate::{
    config,
    hub::{Publisher, Retain},
    upstream::settings::Settings,
};

/// Retains what these settings say. What another server has said is let go.
pub(super) fn retain(hub: &Publisher, old: Option<&Settings>, new: &Settings) {
    if old.is_some_and(|old| is_another_server(old, new)) {
        hub.forget_retained();
    }
    let config::Terms { topics, script, .. } = &new.terms;
    hub.set_retain(Retain {
        topics: topics.retain.then(|| topics.clone()),
        script: script.steps.iter().any(|step| step.retain).then(|| script.clone()),
        bounds: topics.bounds,
    });
}

fn is_another_server(old: &Settings, new: &Settings) -> bool {
    let where_to =
        |settings: &Settings| (settings.upstream.urls.clone(), settings.upstream.url_command.clone());
    where_to(old) != where_to(new)
}
