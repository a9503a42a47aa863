//! The demo's client: a real one, of the real socket.

use std::path::Path;

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    time::timeout,
};

use super::{News, PATIENCE};
use crate::cli::{
    failure::{Failure, Outcome, reason},
    reach,
};

/// Hands the daemon's lines on, and asks what the story wants to know.
pub(super) struct Reader(OwnedWriteHalf);

impl Reader {
    /// Connects. The lines go to `news` from now on.
    pub(super) async fn connect(socket: &Path, news: mpsc::Sender<News>) -> Outcome<Reader> {
        let stream = UnixStream::connect(socket)
            .await
            .map_err(|error| Failure::failed(reach::unreachable(socket, &error)))?;
        let (read, write) = stream.into_split();
        tokio::task::spawn_local(forward(BufReader::new(read), news));
        Ok(Reader(write))
    }

    /// Writes a request.
    pub(super) async fn ask(&mut self, request: &str) -> Outcome {
        match timeout(PATIENCE, self.0.write_all(format!("{request}\n").as_bytes())).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failure::failed(format!("the daemon can't be asked: {}", reason(&error)))),
            Err(_) => Err(Failure::failed("the daemon doesn't read what it is asked")),
        }
    }
}

async fn forward(mut lines: BufReader<OwnedReadHalf>, news: mpsc::Sender<News>) {
    loop {
        let mut line = Vec::new();
        let item = match lines.read_until(b'\n', &mut line).await {
            Ok(_) if line.last() == Some(&b'\n') => {
                line.pop();
                News::Line(line)
            }
            Ok(_) | Err(_) => News::Ended,
        };
        let ended = matches!(item, News::Ended);
        if news.send(item).await.is_err() || ended {
            return;
        }
    }
}
