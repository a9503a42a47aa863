//! The closing handshake and the stop.

use super::*;

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_comes_during_our_closing_handshake_is_not_lost() {
    let mut rig = Rig::start(settings());
    let server = rig.accept().await;
    rig.state("up").await;
    rig.command(Command::Close).await;
    let mut stream = server.into_inner();
    let mut close = [0; 8];
    stream.read_exact(&mut close).await.unwrap();
    assert_eq!(close[0], 0x88);
    // a message that was on its way, and then the answer
    stream.write_all(&[0x81, 1, b'7', 0x88, 2, 3, 232]).await.unwrap();
    drop(stream);
    assert_eq!(rig.line().await["json"], 7);
    let closed = rig.line().await;
    assert_eq!((&closed["state"], &closed["code"]), (&"closed".into(), &1000.into()));
    rig.command(Command::Open).await;
    rig.accept().await;
    rig.state("up").await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_server_that_does_not_answer_a_close_frame_is_left_at_the_deadline() {
    let mut rig = Rig::start(settings());
    let server = rig.accept().await;
    rig.state("up").await;
    let begin = time::Instant::now();
    rig.command(Command::Stop).await;
    assert_eq!(rig.ended().await, Exit::Stopped);
    assert_eq!(begin.elapsed(), 2 * S);
    drop(server);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_second_stop_is_at_once() {
    let mut rig = Rig::start(settings());
    let _server = rig.accept().await;
    rig.state("up").await;
    let begin = time::Instant::now();
    rig.command(Command::Stop).await;
    rig.command(Command::Stop).await;
    assert_eq!(rig.ended().await, Exit::Stopped);
    assert_eq!(begin.elapsed(), Duration::ZERO);
}
