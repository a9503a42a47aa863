//! A link, what it puts into the log, and the other ends of its streams.

use super::*;

/// No heartbeat, and a second before the first new attempt.
pub(super) fn settings() -> Settings {
    Settings {
        heartbeat: config::Heartbeat { kind: HeartbeatKind::Off, ..config::Heartbeat::default() },
        reconnect: config::Reconnect { initial_delay: S, ..config::Reconnect::default() },
        close_timeout: 2 * S,
        ..Settings::of(config::Upstream::new(vec![Template::literal("ws://simulated/")]))
    }
}

pub(super) fn with(change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = settings();
    change(&mut settings);
    settings
}

pub(super) fn pings(settings: &mut Settings) {
    settings.heartbeat.kind = HeartbeatKind::Ping;
}

/// A link, what it puts into the log, and the other ends of its streams.
pub(super) struct Rig {
    pub(super) hub: Hub,
    pub(super) reader: Reader,
    pub(super) settings: watch::Sender<Settings>,
    pub(super) legacy: Legacy,
    pub(super) link: JoinHandle<Exit>,
    pub(super) streams: mpsc::Receiver<DuplexStream>,
    pub(super) cursor: Cursor,
    pub(super) lines: Vec<Value>,
}

impl Rig {
    pub(super) fn start(settings: Settings) -> Rig {
        Rig::with_buffer(settings, 64 << 10)
    }

    /// A link whose streams take so many bytes before they block.
    pub(super) fn with_buffer(settings: Settings, bytes: usize) -> Rig {
        Rig::over(settings, bytes, |stream| stream)
    }

    /// A link over streams that are made of in-memory ones.
    pub(super) fn over<S: Io + 'static>(
        settings: Settings,
        bytes: usize,
        make: fn(DuplexStream) -> S,
    ) -> Rig {
        let history = config::History { max_bytes: 64 << 20, ..config::History::default() };
        let hub = Hub::new("test".into(), &history, false);
        let reader = hub.reader();
        reader.offered(u64::MAX, u64::MAX); // no link waits for it
        let legacy = Legacy::default();
        let (link, settings, streams) = Rig::link(&hub, &legacy, settings, bytes, make);
        Rig {
            link,
            hub,
            reader,
            settings,
            legacy,
            streams,
            cursor: Cursor::new(Format::Envelope, 0),
            lines: Vec::new(),
        }
    }

    /// Another link over the same hub, when the one before has ended.
    pub(super) fn again(&mut self, settings: Settings) {
        (self.link, self.settings, self.streams) =
            Rig::link(&self.hub, &self.legacy, settings, 64 << 10, |stream| stream);
    }

    pub(super) fn link<S: Io + 'static>(
        hub: &Hub,
        legacy: &Legacy,
        settings: Settings,
        bytes: usize,
        make: fn(DuplexStream) -> S,
    ) -> (JoinHandle<Exit>, watch::Sender<Settings>, mpsc::Receiver<DuplexStream>) {
        let (publisher, commands) = hub.publisher().expect("there is no other link");
        let (sender, receiver) = watch::channel(settings);
        let (streams, accept) = mpsc::channel(16);
        let dial = async move |_: Target, _: Route, _: Track| {
            let (near, far) = tokio::io::duplex(bytes);
            streams.send(far).await.map_err(|_| "the server is gone".to_owned())?;
            let (stream, meter) = Metered::new(make(near), Vec::new());
            Ok(Wire { stream: Box::new(stream), meter })
        };
        let link = run(publisher, commands, receiver, legacy.clone(), dial, 1);
        (tokio::task::spawn_local(link), sender, accept)
    }

    pub(super) async fn stream(&mut self) -> DuplexStream {
        soon("an attempt", self.streams.recv()).await.expect("the link dials")
    }

    pub(super) async fn accept(&mut self) -> WebSocketStream<DuplexStream> {
        accept_async(self.stream().await).await.expect("a proper upgrade")
    }

    /// The next line of the log.
    pub(super) async fn line(&mut self) -> Value {
        soon("a line", async {
            loop {
                self.read();
                if !self.lines.is_empty() {
                    return self.lines.remove(0);
                }
                self.reader.published().await;
            }
        })
        .await
    }

    pub(super) async fn state(&mut self, state: &str) -> Value {
        loop {
            let line = self.line().await;
            if line["type"] == "link" && line["state"] == state {
                return line;
            }
        }
    }

    pub(super) async fn command(&self, command: Command) {
        assert!(self.hub.command(command).await);
    }

    pub(super) fn read(&mut self) {
        self.reader.with_log(|log| {
            loop {
                let written = match self.cursor.ahead(log) {
                    Ahead::Bytes(bytes) => {
                        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
                        self.lines.extend(lines.map(|line| serde_json::from_slice::<Value>(line).unwrap()));
                        bytes.len()
                    }
                    _ => return,
                };
                self.cursor.wrote(log, written);
            }
        });
    }

    pub(super) async fn ended(self) -> Exit {
        soon("the end", self.link).await.unwrap()
    }
}

/// Waits for something, at most a simulated hour.
pub(super) async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    time::timeout(3_600 * S, event).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// Lets everybody do what they can without time passing.
pub(super) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

pub(super) async fn next(server: &mut WebSocketStream<DuplexStream>) -> Message {
    soon("a frame", server.next()).await.expect("the connection goes on").expect("a proper frame")
}
