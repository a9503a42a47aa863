//! A program of the demo: a real client of the real socket.

use std::path::Path;

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    time::timeout,
};

use super::{PATIENCE, Scene, cast::Actor};
use crate::{
    cli::failure::{Failure, Outcome, reason},
    client::unreachable,
};

/// Hands the daemon's lines on, and asks what the story wants to know.
pub(super) struct Player {
    requests: OwnedWriteHalf,
    awake: watch::Sender<bool>,
}

impl Player {
    /// Connects. The lines go to `scenes` from now on.
    pub(super) async fn connect(who: Actor, socket: &Path, scenes: mpsc::Sender<Scene>) -> Outcome<Player> {
        let stream = UnixStream::connect(socket)
            .await
            .map_err(|error| Failure::failed(unreachable(socket, &error)))?;
        let (read, requests) = stream.into_split();
        let (awake, is_awake) = watch::channel(true);
        tokio::task::spawn_local(forward(who, BufReader::new(read), is_awake, scenes));
        Ok(Player { requests, awake })
    }

    /// Reads no further, or goes on.
    pub(super) fn set_awake(&self, awake: bool) {
        self.awake.send_replace(awake);
    }

    /// Writes a request.
    pub(super) async fn ask(&mut self, request: &str) -> Outcome {
        match timeout(PATIENCE, self.requests.write_all(format!("{request}\n").as_bytes())).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failure::failed(format!("the daemon can't be asked: {}", reason(&error)))),
            Err(_) => Err(Failure::failed("the daemon doesn't read what it is asked")),
        }
    }
}

async fn forward(
    who: Actor,
    mut lines: BufReader<OwnedReadHalf>,
    mut awake: watch::Receiver<bool>,
    scenes: mpsc::Sender<Scene>,
) {
    let mut line = Vec::new();
    loop {
        let read = tokio::select! {
            biased; // who is asleep reads nothing more; what was read of a line stays in `line`
            fallen = awake.wait_for(|awake| !awake) => Err(fallen.is_ok()),
            read = lines.read_until(b'\n', &mut line) => Ok(read),
        };
        let read = match read {
            Ok(read) => read,
            Err(true) if awake.wait_for(|awake| *awake).await.is_ok() => continue,
            Err(_) => return, // nobody is there to wake it: the demo is at its end
        };
        let whole = read.is_ok() && line.pop_if(|end| *end == b'\n').is_some();
        let item = if whole { Scene::Line(who, std::mem::take(&mut line)) } else { Scene::Ended(who) };
        if scenes.send(item).await.is_err() || !whole {
            return;
        }
    }
}
