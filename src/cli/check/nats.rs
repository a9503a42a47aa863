//! `wsfan check --live`: NATS, where there is a `[cluster]`. Nothing is made, and no node hears of it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::{
    cluster::held_text,
    format::{bytes, clean, count},
    pretty::{BAD, BUSY, DIM, GOOD, styled},
};
use crate::{
    cluster::tool::{Found, Room, Tool, Trouble},
    config::{Cluster, History},
};

/// What was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) url: String,
    pub(super) stage: &'static str,
    pub(super) elapsed: Duration,
    pub(super) found: Result<Note, String>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    text: String,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Well,
    Warning,
    /// It wasn't looked at.
    LeftOut,
}

fn well(text: impl Into<String>) -> Result<Note, String> {
    Ok(Note { text: text.into(), kind: Kind::Well })
}

fn warning(text: impl Into<String>) -> Result<Note, String> {
    Ok(Note { text: text.into(), kind: Kind::Warning })
}

fn left_out(text: impl Into<String>) -> Result<Note, String> {
    Ok(Note { text: text.into(), kind: Kind::LeftOut })
}

/// Looks at each server, and at the rest through the first that can be reached.
pub(super) async fn walk(cluster: &Cluster, history: &History, mut tell: impl FnMut(Row)) {
    let mut is_looked_at = false;
    for (server, url) in cluster.urls.iter().enumerate() {
        let url = url.to_string();
        let began = Instant::now();
        let mut row = |stage, began: Instant, found| {
            tell(Row { url: url.clone(), stage, elapsed: began.elapsed(), found });
        };
        let mut tool = match Tool::connect(cluster, history, server).await {
            Ok(tool) => tool,
            Err(trouble) => {
                row("nats", began, Err(trouble.to_string()));
                continue;
            }
        };
        row("nats", began, well(format!("nats-server {}", tool.version())));
        if is_looked_at {
            continue;
        }
        is_looked_at = true;
        let began = Instant::now();
        let stream = tool.look().await;
        let is_missing = matches!(stream, Ok(Found::Missing));
        let has_failed = stream.is_err();
        let note = match tool.is_alone() && is_missing && cluster.replicas > 1 {
            true => Err(alone(cluster.replicas)),
            false => stream_note(stream, cluster.candidate),
        };
        row("stream", began, note);
        if has_failed {
            continue;
        }
        let began = Instant::now();
        let wanted = if is_missing { tool.wanted_bytes() } else { 0 };
        row("limits", began, room_note(tool.room().await, wanted));
        let began = Instant::now();
        row("rights", began, rights_note(tool.missing_rights().await));
    }
}

/// NATS makes no such stream: replicas > 1 not supported in non-clustered mode.
fn alone(replicas: u8) -> String {
    format!(
        "isn't there yet, and can't be made: cluster.replicas is {replicas}, and this NATS server belongs to no cluster of \
         servers; write 1, or make it one of {replicas} or more"
    )
}

fn stream_note(found: Result<Found, Trouble>, candidate: bool) -> Result<Note, String> {
    match found {
        Ok(Found::AsWanted(held)) => well(held_text(held)),
        Ok(Found::Differs(held, sentence)) => warning(format!("{}; {sentence}", held_text(held))),
        Ok(Found::Another(sentence)) => Err(sentence),
        Ok(Found::Missing) if candidate => well("isn't there yet: the first candidate that starts makes it"),
        Ok(Found::Missing) => {
            warning("isn't there yet: a candidate makes it, or wsfan cluster init with a candidate's login")
        }
        Err(trouble) => Err(trouble.to_string()),
    }
}

fn room_note(room: Result<Option<Room>, Trouble>, wanted: u64) -> Result<Note, String> {
    match room {
        Ok(None) => left_out("not looked at: this user has no right to publish to $JS.API.INFO"),
        Ok(Some(Room { bytes: Some(left), .. })) if left < wanted => Err(format!(
            "the account has room for {}, and the stream wants {}: raise its limit, or lower history.max_bytes",
            bytes(left),
            bytes(wanted)
        )),
        Ok(Some(Room { streams: Some(0), .. })) if wanted > 0 => {
            Err("the account may have no more streams: raise its limit".to_owned())
        }
        Ok(Some(Room { bytes: left, .. })) => {
            well(left.map_or("no limit".to_owned(), |left| format!("room for {}", bytes(left))))
        }
        Err(trouble) => Err(trouble.to_string()),
    }
}

fn rights_note(missing: Result<Option<Vec<String>>, Trouble>) -> Result<Note, String> {
    match missing {
        Ok(None) => left_out(
            "not looked at: the server doesn't tell (2.10 and newer do), or this user may not ask it",
        ),
        Ok(Some(missing)) if missing.is_empty() => well("all that this node needs"),
        Ok(Some(missing)) => Err(format!(
            "this user may not {}{}: wsfan cluster init prints what each kind of node needs",
            missing.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", nor "),
            match missing.len().saturating_sub(3) {
                0 => String::new(),
                more => format!(", and {} more", count(more as u64)),
            }
        )),
        Err(trouble) => Err(trouble.to_string()),
    }
}

/// A row, with its colours and its line break.
pub(super) fn line(row: &Row) -> String {
    let (state, style, text) = match &row.found {
        Ok(Note { text, kind: Kind::Well }) => ("ok", GOOD, clean(text).into_owned()),
        Ok(Note { text, kind: Kind::LeftOut }) => ("left out", DIM, clean(text).into_owned()),
        Ok(Note { text, kind: Kind::Warning }) => ("warning", BUSY, styled(BUSY, clean(text))),
        Err(text) => ("failed", BAD, clean(text).into_owned()),
    };
    let ms = format!("{:.1} ms", row.elapsed.as_secs_f64() * 1e3);
    format!("  {style}{state:<8}{style:#}  {:<12} {ms:>10}  {text}\n", row.stage)
}

/// A row for a program.
pub(super) fn object(row: &Row) -> Value {
    let mut object = json!({
        "type": "stage", "url": row.url, "stage": row.stage, "ok": row.found.is_ok(),
        "ms": (row.elapsed.as_secs_f64() * 1e4).round() / 10.0,
    });
    match &row.found {
        Ok(note) => {
            object["found"] = note.text.as_str().into();
            object["warns"] = (note.kind == Kind::Warning).into();
            if note.kind == Kind::LeftOut {
                object["untried"] = true.into();
            }
        }
        Err(error) => object["error"] = error.as_str().into(),
    }
    object
}

/// The last object, where NATS is what failed.
pub(super) fn fail(result: &mut Value, row: &Row, error: &str) {
    result["ok"] = false.into();
    result["url"] = row.url.as_str().into();
    result["stage"] = row.stage.into();
    result["error"] = error.into();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_a_sentence() {
        let missing = |count: usize| {
            let all = ["publish a", "publish b", "subscribe c", "subscribe d", "subscribe e"];
            Ok(Some(all.iter().take(count).map(|&text| text.to_owned()).collect()))
        };
        assert_eq!(rights_note(missing(0)), well("all that this node needs"));
        let hint = ": wsfan cluster init prints what each kind of node needs";
        assert_eq!(rights_note(missing(1)), Err(format!("this user may not publish a{hint}")));
        assert_eq!(
            rights_note(missing(5)),
            Err(format!("this user may not publish a, nor publish b, nor subscribe c, and 2 more{hint}"))
        );
    }

    #[test]
    fn room_is_held_against_what_is_wanted() {
        let room = |left, streams| Ok(Some(Room { bytes: left, streams }));
        assert_eq!(room_note(room(None, None), 1 << 30), well("no limit"));
        assert_eq!(room_note(room(Some(2 << 20), Some(3)), 1 << 20), well("room for 2.0 MiB"));
        assert_eq!(
            room_note(room(Some(1 << 20), None), 2 << 20),
            Err("the account has room for 1.0 MiB, and the stream wants 2.0 MiB: raise its limit, or lower \
                 history.max_bytes"
                .to_owned())
        );
        assert!(room_note(room(None, Some(0)), 1).is_err() && room_note(room(None, Some(0)), 0).is_ok());
        assert!(room_note(Ok(None), 1).is_ok_and(|note| note.kind == Kind::LeftOut));
    }

    #[test]
    fn a_row_is_for_people_and_for_programs() {
        let row = |found| Row {
            url: "nats://h:4222".into(),
            stage: "stream",
            elapsed: Duration::from_micros(1_250),
            found,
        };
        let plain = |row: &Row| anstream::adapter::strip_str(&line(row)).to_string();
        assert_eq!(plain(&row(well("there"))), "  ok        stream           1.2 ms  there\n");
        assert_eq!(plain(&row(Err("gone".into()))), "  failed    stream           1.2 ms  gone\n");
        assert_eq!(
            object(&row(Err("gone".into()))),
            json!({"type": "stage", "url": "nats://h:4222", "stage": "stream", "ok": false, "ms": 1.3, "error": "gone"})
        );
        assert_eq!(object(&row(warning("hm")))["warns"], json!(true));
        assert_eq!(plain(&row(rights_note(Ok(None))))[..12], *"  left out  ");
        assert_eq!(object(&row(left_out("no")))["untried"], json!(true));
        let mut result = json!({"type": "result", "ok": true, "ms": 1.0, "warnings": []});
        fail(&mut result, &row(Err(String::new())), "gone");
        assert_eq!(
            (&result["ok"], &result["stage"], &result["error"]),
            (&json!(false), &json!("stream"), &json!("gone"))
        );
    }
}
