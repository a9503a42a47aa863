//! A daemon whose log ends, and its clients.

use std::{
    io::{ErrorKind, Read, Write},
    os::unix::net::UnixStream,
};

use super::*;
use crate::{
    config::{Config, Environment},
    hub::{Command, Commands, Data, MessageTopic, Publisher},
    service::{News, Source},
};

/// A daemon without a link.
struct Rig {
    daemon: Daemon,
    publisher: Publisher,
    commands: Commands,
    directory: tempfile::TempDir,
}

impl Rig {
    async fn start() -> Rig {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let text = format!("[upstream]\nurl = \"ws://127.0.0.1:1/\"\n[[listener]]\npath = {path:?}\n");
        let environment = Environment::fixed([]);
        let config = Config::parse(&text, &environment).unwrap();
        let mut daemon = Daemon::start(Source { config, path: None, environment }).unwrap();
        daemon.hub.command(Command::Stop).await;
        assert!(matches!(daemon.link.next().await, News::Ended(Ok(_))));
        let (publisher, commands) = daemon.hub.publisher().unwrap();
        Rig { daemon, publisher, commands, directory }
    }

    /// A client that has its place, and how it was greeted.
    async fn client(&self) -> (UnixStream, String) {
        let mut client = UnixStream::connect(self.directory.path().join("s")).unwrap();
        client.set_nonblocking(true).unwrap();
        client.write_all(b"{\"op\":\"attach\",\"id\":1}\n").unwrap();
        let hello = until(&mut client, "attached").await;
        (client, hello)
    }

    fn publish(&self, count: usize) {
        let text = format!("\"{}\"", "x".repeat(10_000));
        (0..count).for_each(|_| self.publisher.publish(1, Data::Text(&text), &MessageTopic::None));
        self.publisher.flush();
    }

    /// Begins the next log, as its link does.
    fn renew(mut self, epoch: &str, first: u64) -> Rig {
        let hub = self.daemon.renew(epoch, first);
        drop((self.publisher, self.commands));
        let (publisher, commands) = hub.publisher().expect("the old one's is dropped");
        Rig { publisher, commands, ..self }
    }
}

/// Reads until a client has heard this, or all that it gets.
async fn until(client: &mut UnixStream, what: &str) -> String {
    let mut heard = Vec::new();
    let reads = async {
        let mut some = vec![0; 1 << 20];
        loop {
            match client.read(&mut some) {
                Ok(0) => return,
                Ok(read) => {
                    heard.extend_from_slice(&some[..read]);
                    if String::from_utf8_lossy(&heard).contains(what) {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), reads).await.unwrap_or_else(|_| panic!("no {what}"));
    String::from_utf8(heard).unwrap()
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_reads_gets_the_rest_and_who_does_not_holds_up_nobody_and_is_gone_in_time() {
    let rig = Rig::start().await;
    let (mut reads, _) = rig.client().await;
    let (mut stalls, _) = rig.client().await;
    rig.publish(200);
    let old = rig.daemon.hub.clone();
    let held = old.log().bytes();
    assert!(held > 1_900_000);

    let mut rig = rig.renew("two", 1_000);
    let (mut client, hello) = rig.client().await;
    assert!(hello.contains("\"epoch\":\"two\",\"seq\":999,\"oldest\":1000,"), "{hello}");
    rig.publish(1);
    assert!(until(&mut client, "\"seq\":1000").await.contains("message"));
    let ready = tokio::time::timeout(Duration::from_secs(9), rig.publisher.ready()).await;
    ready.expect("the link waits for nobody of the log before");

    let rest = until(&mut reads, "never").await;
    assert!(rest.contains("\"seq\":200,") && rest.ends_with("{\"type\":\"bye\",\"why\":\"epoch\"}\n"));
    let begun = Instant::now();
    assert!(matches!(rig.daemon.former.join_next().await, Some(Ok(()))));
    assert!(begun.elapsed() <= rig.daemon.config.shutdown.timeout, "{:?}", begun.elapsed());
    assert!(old.log().bytes() < held / 4, "{} bytes are still held", old.log().bytes());
    assert!(rig.daemon.former.join_next().await.is_none());
    let rest = until(&mut stalls, "never").await;
    assert!(!rest.contains("bye"), "it had its time");
    assert_eq!(rig.daemon.fanout.count(), 1);
    rig.daemon.stop().await.unwrap();
    assert!(until(&mut client, "never").await.ends_with("{\"type\":\"bye\",\"why\":\"shutdown\"}\n"));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn of_logs_that_are_over_one_alone_is_kept_for_its_clients() {
    let rig = Rig::start().await;
    let (_stalls, _) = rig.client().await;
    rig.publish(200);
    let one = rig.daemon.hub.clone();
    let rig = rig.renew("two", 1);
    let (_stalls_too, _) = rig.client().await;
    rig.publish(200);
    let two = rig.daemon.hub.clone();
    let held = two.log().bytes();
    let begun = Instant::now();
    let mut rig = rig.renew("three", 1);
    assert!(matches!(rig.daemon.former.join_next().await, Some(Ok(()))));
    assert_eq!(begun.elapsed(), Duration::ZERO, "the first is waited for no longer");
    assert!(one.log().bytes() < held / 4 && two.log().bytes() == held);
    drop(rig.client().await);
    let mut rig = rig.renew("four", 1);
    assert!(matches!(rig.daemon.former.join_next().await, Some(Ok(()))));
    rig.daemon.former.hurry(); // as a reload does that changes listeners
    assert!(matches!(rig.daemon.former.join_next().await, Some(Ok(()))));
    assert_eq!(begun.elapsed(), Duration::ZERO);

    let (_stalls_again, _) = rig.client().await;
    rig.publish(200);
    let rig = rig.renew("five", 1);
    let begun = Instant::now();
    rig.daemon.stop().await.unwrap();
    assert!(begun.elapsed() <= Duration::from_secs(2), "the stop waits for it no longer than it may");
}
