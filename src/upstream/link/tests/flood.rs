//! A server that says more than anybody can take in or answer.

use std::{io, pin::Pin, task::ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::*;

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_flood_starves_neither_heartbeats_nor_settings_nor_commands() {
    let endless = |inner| Endless { inner, upgraded: false, at: 0 };
    let mut rig = Rig::over(with(pings), 64 << 10, endless);
    let mut server = rig.accept().await;
    rig.state("up").await;
    // the flood never lets the simulated clock move by itself; nor must anything below wait for it
    time::advance(31 * S).await;
    assert!(within_turns(&mut server).await.is_ping());
    rig.settings.send_modify(|settings| settings.heartbeat.interval = S);
    time::advance(2 * S).await;
    assert!(within_turns(&mut server).await.is_ping());
    rig.command(Command::Close).await;
    assert!(within_turns(&mut server).await.is_close());
    rig.command(Command::Stop).await;
    rig.command(Command::Stop).await;
    assert_eq!(rig.ended().await, Exit::Stopped);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_ping_flood_from_a_server_that_does_not_read_is_bounded() {
    let mut rig = Rig::with_buffer(settings(), 4 << 10);
    let mut stream = accept_async(rig.stream().await).await.unwrap().into_inner();
    rig.state("up").await;
    let mut ping = vec![0x89, 125];
    ping.resize(127, b'p');
    // what the link doesn't answer any more it doesn't read any more
    let mut taken = 0;
    while time::timeout(S, stream.write_all(&ping)).await.is_ok() {
        taken += 1;
        assert!(taken < 5_000, "the pongs pile up");
    }
    let begin = time::Instant::now();
    let line = rig.state("waiting").await;
    assert!(begin.elapsed() <= 30 * S);
    assert!(line["error"].as_str().unwrap().contains("nothing could be written for 30s"), "{line}");
}

/// The next frame, before the others had many turns.
async fn within_turns(server: &mut WebSocketStream<DuplexStream>) -> Message {
    for _ in 0..200 {
        if let Some(message) = futures_util::FutureExt::now_or_never(server.next()) {
            return message.unwrap().unwrap();
        }
        tokio::task::yield_now().await;
    }
    panic!("waited in vain for a frame");
}

/// A stream that has another message to read whenever one is wanted, once the upgrade is done.
struct Endless {
    inner: DuplexStream,
    upgraded: bool,
    at: usize,
}

impl AsyncRead for Endless {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.upgraded {
            ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
            self.upgraded = buf.filled().ends_with(b"\r\n\r\n");
            return Poll::Ready(Ok(()));
        }
        // the others get their turn now and then, as with a socket, though sooner
        for _ in 0..32 {
            ready!(tokio::task::coop::poll_proceed(cx)).made_progress();
        }
        for _ in 0..buf.remaining().min(4_096) {
            buf.put_slice(&[[0x81, 1, b'7'][self.at % 3]]);
            self.at += 1;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Endless {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
