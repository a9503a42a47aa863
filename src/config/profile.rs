//! `profile = "NAME"`: what wsfan knows of a server, below the file's own keys.

use toml::de::{DeTable, DeValue};

use super::reader::{
    error::Problem,
    values::{self, either},
};

/// A profile's name, and its text: a configuration, or a part of one.
pub(super) type Profile = (&'static str, &'static str);

/// All profiles, by their names.
///
/// A line of a profile that begins with `#: ` is a key that the user must write beside it.
pub(super) const PROFILES: &[Profile] = &[
    ("actioncable", include_str!("../../config/profiles/actioncable.toml")),
    ("binance", include_str!("../../config/profiles/binance.toml")),
    ("bybit", include_str!("../../config/profiles/bybit.toml")),
    ("centrifugo", include_str!("../../config/profiles/centrifugo.toml")),
    ("chrome-devtools", include_str!("../../config/profiles/chrome-devtools.toml")),
    ("coinbase", include_str!("../../config/profiles/coinbase.toml")),
    ("deribit", include_str!("../../config/profiles/deribit.toml")),
    ("discord", include_str!("../../config/profiles/discord.toml")),
    ("graphql-ws", include_str!("../../config/profiles/graphql-ws.toml")),
    ("home-assistant", include_str!("../../config/profiles/home-assistant.toml")),
    ("jsonrpc", include_str!("../../config/profiles/jsonrpc.toml")),
    ("jupyter", include_str!("../../config/profiles/jupyter.toml")),
    ("kraken", include_str!("../../config/profiles/kraken.toml")),
    ("mqtt", include_str!("../../config/profiles/mqtt.toml")),
    ("nats", include_str!("../../config/profiles/nats.toml")),
    ("node-red", include_str!("../../config/profiles/node-red.toml")),
    ("nostr", include_str!("../../config/profiles/nostr.toml")),
    ("obs-websocket", include_str!("../../config/profiles/obs-websocket.toml")),
    ("ocpp", include_str!("../../config/profiles/ocpp.toml")),
    ("octoprint", include_str!("../../config/profiles/octoprint.toml")),
    ("okx", include_str!("../../config/profiles/okx.toml")),
    ("openai-realtime", include_str!("../../config/profiles/openai-realtime.toml")),
    ("phoenix", include_str!("../../config/profiles/phoenix.toml")),
    ("signalk", include_str!("../../config/profiles/signalk.toml")),
    ("slack", include_str!("../../config/profiles/slack.toml")),
    ("socketio", include_str!("../../config/profiles/socketio.toml")),
    ("stomp", include_str!("../../config/profiles/stomp.toml")),
    ("twitch-eventsub", include_str!("../../config/profiles/twitch-eventsub.toml")),
    ("xmpp", include_str!("../../config/profiles/xmpp.toml")),
    ("zwave-js", include_str!("../../config/profiles/zwave-js.toml")),
];

/// Keys whose table is one value: the file's own replaces the profile's as a whole.
const WHOLE: [&str; 10] = [
    "hide",
    "expect",
    "when",
    "url_command",
    "send_command",
    "compression",
    "accept",
    "reject",
    "end",
    "first",
];

/// A key of the file, and those of the profile that go with another choice of it.
const INSTEAD: [(&str, &str, &[&str]); 7] = [
    ("upstream", "url", &["url_command"]),
    ("upstream", "url_command", &["url"]),
    ("heartbeat", "kind", &["message", "message_binary", "send_command", "expect", "timeout"]),
    ("heartbeat", "message", &["message_binary", "send_command"]),
    ("heartbeat", "send_command", &["message", "message_binary"]),
    ("sequence", "from", &["previous"]),
    ("sequence", "previous", &["from"]),
];

/// The name of the profile that a file asks for; where it is none, what is wrong and where.
pub(super) fn asked_for(
    table: &DeTable<'_>,
    profiles: &[Profile],
) -> Result<Option<Profile>, (usize, String)> {
    let Some((key, value)) = table.get_key_value("profile") else { return Ok(None) };
    let names: Vec<&str> = profiles.iter().map(|(name, _)| *name).collect();
    let there = match &names[..] {
        [] => "leave it out: there are none".to_owned(),
        names => format!("write {}", either(names)),
    };
    let DeValue::String(name) = value.get_ref() else {
        return Err((key.span().start, format!("profile is {}: {there}", values::kind(value.get_ref()))));
    };
    match profiles.iter().find(|(known, _)| known == name) {
        Some(profile) => Ok(Some(*profile)),
        None => Err((key.span().start, format!("profile is {}: {there}", values::quoted(name)))),
    }
}

/// Puts a profile's keys below those of a file. Tables are merged key by key, but a variable's value is one thing,
/// whatever it is; any other value of the file replaces the profile's. `offset` is where the profile's text begins in
/// the report.
pub(super) fn merge<'a>(own: &mut DeTable<'a>, profile: DeTable<'a>, offset: usize) {
    let mut profile = profile;
    for (table, key, others) in INSTEAD {
        let Some(choice) = inner(own, table).and_then(|own| own.get(key)) else { continue };
        let same = |below: &DeTable<'_>| {
            let text = choice.get_ref().as_str();
            text.is_some() && below.get(key).and_then(|choice| choice.get_ref().as_str()) == text
        };
        if let Some(DeValue::Table(below)) = profile.get_mut(table).map(toml::Spanned::get_mut)
            && !same(below)
        {
            for other in others {
                below.remove(*other);
            }
        }
    }
    if let Some(DeValue::Table(vars)) = own.get("vars").map(toml::Spanned::get_ref)
        && let Some(DeValue::Table(below)) = profile.get_mut("vars").map(toml::Spanned::get_mut)
    {
        for name in vars.keys() {
            below.remove(name.get_ref().as_ref());
        }
    }
    merge_below(own, profile, offset);
}

/// What is wrong with the syntax of a profile: a mistake of wsfan's own.
pub(super) fn broken(name: &str, error: &toml::de::Error) -> Problem {
    let sentence = format!("profile {name} can't be read, which is a mistake in wsfan: {}", error.message());
    Problem { line: None, sentence }
}

fn inner<'t, 'a>(table: &'t DeTable<'a>, key: &str) -> Option<&'t DeTable<'a>> {
    table.get(key)?.get_ref().as_table()
}

fn merge_below<'a>(own: &mut DeTable<'a>, profile: DeTable<'a>, offset: usize) {
    for (key, value) in profile {
        let whole = WHOLE.contains(&key.get_ref().as_ref());
        match (own.get_mut(key.get_ref().as_ref()).map(toml::Spanned::get_mut), apart(value)) {
            (None, (span, value)) => {
                let value = toml::Spanned::new(shifted(span, offset), moved(value, offset));
                own.insert(toml::Spanned::new(shifted(key.span(), offset), key.into_inner()), value);
            }
            (Some(DeValue::Table(own)), (_, DeValue::Table(below))) if !whole => {
                merge_below(own, below, offset);
            }
            (Some(_), _) => {}
        }
    }
}

/// A value whose places, and those of all in it, are `offset` further on.
fn moved<'a>(value: DeValue<'a>, offset: usize) -> DeValue<'a> {
    match value {
        DeValue::Array(list) => {
            let element = |element: toml::Spanned<DeValue<'a>>| {
                let (span, value) = apart(element);
                toml::Spanned::new(shifted(span, offset), moved(value, offset))
            };
            DeValue::Array(list.into_iter().map(element).collect())
        }
        DeValue::Table(table) => {
            let mut shifted_table = DeTable::new();
            merge_below(&mut shifted_table, table, offset);
            DeValue::Table(shifted_table)
        }
        scalar => scalar,
    }
}

fn shifted(span: std::ops::Range<usize>, offset: usize) -> std::ops::Range<usize> {
    span.start + offset..span.end + offset
}

fn apart<T>(spanned: toml::Spanned<T>) -> (std::ops::Range<usize>, T) {
    (spanned.span(), spanned.into_inner())
}

#[cfg(test)]
mod tests;
