//! What waits is bounded in bytes, whatever a server or another node does: a node's connection to something on a socket
//! that speaks as much of NATS as it takes.

use std::{collections::BTreeMap, future::Future};

use futures_util::FutureExt as _;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufStream},
    net::{TcpSocket, TcpStream},
    sync::{mpsc, oneshot},
};

use super::*;
use crate::{
    cluster::machine::{Body, Header},
    config::NatsUrl,
};

const MAX_PAYLOAD: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(120);

/// What the server is to do, and to say when it is done.
enum Order {
    /// Publish so many messages to the subscription whose subject begins so, and hear that they were read.
    Flood { subject: String, reply: &'static str, count: usize, size: usize },
    /// Read no more until the next order.
    Pause,
    /// Read until somebody says this; how many bytes were published since the order before.
    Until(&'static str),
}

struct Server {
    url: NatsUrl,
    orders: mpsc::Sender<(Order, oneshot::Sender<usize>)>,
    connected: mpsc::Receiver<()>,
}

struct Peer {
    stream: BufStream<TcpStream>,
    /// By subject.
    subscriptions: BTreeMap<String, u64>,
    published: usize,
}

enum Said {
    Published(String),
    Pong,
    Other,
}

impl Server {
    async fn start() -> Server {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(64 << 10).unwrap(); // the kernel keeps little for one that doesn't read
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(8).unwrap();
        let url = NatsUrl::parse(&format!("nats://{}", listener.local_addr().unwrap())).unwrap();
        let (orders, mut ordered) = mpsc::channel(1);
        let (connects, connected) = mpsc::channel(64);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let mut peer =
                    Peer { stream: BufStream::new(stream), subscriptions: BTreeMap::new(), published: 0 };
                connects.try_send(()).unwrap();
                let _ = peer.serve(&mut ordered).await; // until the node ends the connection
            }
        });
        Server { url, orders, connected }
    }

    async fn order(&self, order: Order) -> usize {
        let (done, is_done) = oneshot::channel();
        self.orders.send((order, done)).await.unwrap();
        is_done.await.unwrap()
    }
}

impl Peer {
    async fn serve(
        &mut self,
        orders: &mut mpsc::Receiver<(Order, oneshot::Sender<usize>)>,
    ) -> std::io::Result<()> {
        let info = json!({ "server_id": "s", "server_name": "s", "host": "h", "port": 1, "version": "2.10.0", "go": "",
            "proto": 1, "headers": true, "max_payload": MAX_PAYLOAD, "client_id": 1, "jetstream": true });
        self.stream.write_all(format!("INFO {info}\r\n").as_bytes()).await?;
        self.stream.flush().await?;
        loop {
            let ordered = tokio::select! {
                ordered = orders.recv() => ordered,
                more = self.stream.fill_buf() => {
                    if more?.is_empty() {
                        return Ok(());
                    }
                    self.hear().await?;
                    continue;
                }
            };
            let Some((order, done)) = ordered else { return Ok(()) };
            match order {
                Order::Flood { subject, reply, count, size } => {
                    // it may still be on its way
                    while !self.subscriptions.keys().any(|heard| heard.starts_with(&subject)) {
                        self.hear().await?;
                    }
                    let ends = self.subscriptions.iter().find(|(heard, _)| heard.starts_with(&subject));
                    let (subject, sid) = ends.map(|(subject, sid)| (subject.clone(), *sid)).unwrap();
                    let payload = vec![b'x'; size];
                    let at_once = (MAX_PAYLOAD / size).min(10_000); // the node's own pings are answered in between
                    for number in 1..=count {
                        self.publish(&subject, sid, reply, &payload).await?;
                        if number % at_once == 0 || number == count {
                            self.stream.write_all(b"PING\r\n").await?;
                            self.stream.flush().await?;
                            while !matches!(self.hear().await?, Said::Pong) {}
                        }
                    }
                    let _ = done.send(0);
                }
                Order::Pause => {
                    self.published = 0;
                    let _ = done.send(0);
                    let Some((Order::Until(last), done)) = orders.recv().await else { return Ok(()) };
                    while !matches!(self.hear().await?, Said::Published(subject) if subject == last) {}
                    let _ = done.send(self.published);
                }
                Order::Until(_) => unreachable!("it comes after a pause"),
            }
        }
    }

    async fn publish(&mut self, subject: &str, sid: u64, reply: &str, payload: &[u8]) -> std::io::Result<()> {
        let head = format!("MSG {subject} {sid} {reply} {}\r\n", payload.len());
        self.stream.write_all(head.as_bytes()).await?;
        self.stream.write_all(payload).await?;
        self.stream.write_all(b"\r\n").await
    }

    /// Takes what the node says next.
    async fn hear(&mut self) -> std::io::Result<Said> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["PING"] => {
                self.stream.write_all(b"PONG\r\n").await?;
                self.stream.flush().await?;
                Ok(Said::Other)
            }
            ["PONG"] => Ok(Said::Pong),
            ["SUB", subject, sid] => {
                self.subscriptions.insert(subject.to_owned(), sid.parse().unwrap());
                Ok(Said::Other)
            }
            ["PUB" | "HPUB", subject, .., length] => {
                let mut payload = vec![0; length.parse::<usize>().unwrap() + 2];
                self.stream.read_exact(&mut payload).await?;
                self.published += payload.len();
                if let Some(answer) = answer(subject) {
                    let reply = words[2].to_owned();
                    let mut ends = self.subscriptions.iter();
                    let (_, sid) =
                        ends.find(|(heard, _)| reply.starts_with(heard.trim_end_matches('>'))).unwrap();
                    let sid = *sid;
                    self.publish(&reply, sid, "", answer.to_string().as_bytes()).await?;
                    self.stream.flush().await?;
                }
                Ok(Said::Published(subject.to_owned()))
            }
            ["CONNECT", ..] | ["UNSUB", ..] => Ok(Said::Other),
            _ => panic!("{line:?}"),
        }
    }
}

/// What JetStream answers.
fn answer(subject: &str) -> Option<Value> {
    if subject.starts_with("$JS.API.CONSUMER.") {
        return Some(json!({}));
    }
    subject.starts_with("$JS.API.STREAM.INFO.").then(|| {
        json!({
            "config": { "name": "WSFAN_x", "subjects": ["wsfan.x.log"], "retention": "limits", "discard": "old",
                "storage": "file", "num_replicas": 1, "max_bytes": (64 << 20) * 2 + (16 << 20), "max_age": 0,
                "max_msgs": -1 },
            "state": { "messages": 0, "bytes": 0, "first_seq": 1, "last_seq": 0, "num_deleted": 0 },
        })
    })
}

/// A node that has just connected to it.
async fn node(server: &mut Server) -> (Nats, Arrivals) {
    let mut cluster = Cluster::new("x", "a", server.url.clone());
    cluster.lease = Duration::from_secs(60); // nothing here is a matter of time
    let (nats, mut arrivals) = connect(&cluster, &History::default());
    nats.hear("wsfan.x.here");
    up(server, &mut arrivals).await;
    (nats, arrivals)
}

/// It is connected.
async fn up(server: &mut Server, arrivals: &mut Arrivals) {
    while !matches!(arrivals.next().await, Arrival::Event(Event::NatsUp)) {}
    while server.connected.try_recv().is_ok() {}
}

/// All that has come.
fn waiting(arrivals: &mut Arrivals) -> Vec<Arrival> {
    std::iter::from_fn(|| tokio::task::unconstrained(arrivals.next()).now_or_never()).collect()
}

fn troubles(arrivals: &[Arrival]) -> Vec<String> {
    let trouble = |arrival: &Arrival| match arrival {
        Arrival::Trouble(trouble) => Some(trouble.to_string()),
        _ => None,
    };
    arrivals.iter().filter_map(trouble).collect()
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.expect("it ends in time") });
}

#[test]
fn of_what_other_nodes_say_no_more_waits_than_there_is_room_for_and_the_rest_is_told_to_be_lost() {
    run(async {
        let mut server = Server::start().await;
        let (_nats, mut arrivals) = node(&mut server).await;
        let flood = |count, size| Order::Flood { subject: "wsfan.x.here".to_owned(), reply: "", count, size };
        server.order(flood(32, MAX_PAYLOAD)).await;
        let came = waiting(&mut arrivals);
        let bytes = came.iter().map(|arrival| match arrival {
            Arrival::Message(message) => message.payload.len(),
            _ => 0,
        });
        let bytes = bytes.sum::<usize>();
        assert!((inflow::MAX_SAID - MAX_PAYLOAD..=inflow::MAX_SAID).contains(&bytes), "{bytes} bytes");
        let troubles = troubles(&came);
        assert!(troubles.len() == 1 && troubles[0].starts_with("other nodes say more"), "{troubles:?}");

        // small ones, of which a number alone would let through much
        server.order(flood(100_000, 10)).await;
        let came = waiting(&mut arrivals);
        assert!(came.len() < inflow::MAX_SAID / 256, "{} messages", came.len());

        // and there is room again, on the same connection
        server.order(flood(1, 10)).await;
        assert!(matches!(waiting(&mut arrivals)[..], [Arrival::Message(_)]));
        assert!(server.connected.try_recv().is_err());
    });
}

#[test]
fn a_flood_at_one_address_takes_no_room_from_the_others_and_what_is_said_to_the_node_alone_comes_first() {
    run(async {
        let mut server = Server::start().await;
        let (nats, mut arrivals) = node(&mut server).await;
        nats.hear("wsfan.x.t1.send");
        let flood =
            |subject: &str, count, size| Order::Flood { subject: subject.to_owned(), reply: "", count, size };
        server.order(flood("wsfan.x.here", 9, MAX_PAYLOAD)).await;
        server.order(flood("wsfan.x.here", 10_000, 10)).await; // until there is no room for even one more
        server.order(flood("wsfan.x.t1.send", 2, 1_000)).await;
        server.order(flood(&nats.inbox(), 2, 1_000)).await;
        let came = waiting(&mut arrivals);
        let subjects = came.iter().filter_map(|arrival| match arrival {
            Arrival::Message(message) => Some(message.subject.trim_end_matches(".>")),
            _ => None,
        });
        let subjects: Vec<&str> = subjects.collect();
        let inbox = nats.inbox();
        assert_eq!(subjects[..2], [&*inbox; 2]);
        let sends = subjects[2..6].iter().filter(|subject| **subject == "wsfan.x.t1.send").count();
        assert_eq!(sends, 2, "in turns: {:?}", &subjects[..6]);
        assert!(troubles(&came).len() == 1, "the flood is told");
    });
}

#[test]
fn what_made_a_connection_be_given_up_is_told_again_when_the_next_has_stood_for_a_lease() {
    run(async {
        let mut server = Server::start().await;
        let (nats, mut arrivals) = node(&mut server).await;
        let lease = nats.0.borrow().settings.cluster.lease;
        for (stood, told) in [
            (Duration::ZERO, true),
            (Duration::ZERO, false),
            (lease, true),
            (lease - Duration::from_secs(30), false),
            (lease, true),
        ] {
            {
                let inner = &mut *nats.0.borrow_mut();
                inner.connected().unwrap().fault = Some(Trouble::flooded("nats://h"));
                inner.give_up(Instant::now() + stood);
                if stood == lease {
                    assert_eq!(inner.failures, 1, "and what failed before slows nothing any more");
                }
            }
            let troubles = troubles(&waiting(&mut arrivals));
            assert_eq!(troubles.len(), usize::from(told), "{stood:?}: {troubles:?}");
            up(&mut server, &mut arrivals).await;
        }
    });
}

#[test]
fn a_server_that_sends_more_of_the_stream_than_there_is_room_for_is_left_and_asked_anew() {
    run(async {
        let mut server = Server::start().await;
        let (nats, mut arrivals) = node(&mut server).await;
        let subject = format!("{}.r.", nats.0.borrow().base);
        for told in [true, false] {
            nats.read(ReadId::of(1), 0);
            let flood = Order::Flood {
                subject: subject.clone(),
                reply: "$JS.ACK.WSFAN_x.nobody.1.1.1.0.0",
                count: (inflow::MAX_STREAM >> 20) + 1,
                size: MAX_PAYLOAD,
            };
            server.order(flood).await;
            let came = waiting(&mut arrivals);
            assert!(matches!(came[0], Arrival::Event(Event::NatsDown)), "{:?}", came[0]);
            assert!(!came.iter().any(|arrival| matches!(arrival, Arrival::Event(Event::Read(..)))));
            let troubles = troubles(&came);
            assert_eq!(troubles.len(), usize::from(told), "{troubles:?}");
            assert!(troubles.iter().all(|trouble| trouble.contains("more of the stream")), "{troubles:?}");
            assert!(server.connected.try_recv().is_err());
            let again = tokio::join!(server.connected.recv(), async {
                while !matches!(arrivals.next().await, Arrival::Event(Event::NatsUp)) {}
            });
            assert!(again.0.is_some());
        }
    });
}

#[test]
fn what_the_server_doesnt_take_waits_within_its_bound_and_what_others_arent_told_is() {
    run(async {
        let mut server = Server::start().await;
        let (nats, mut arrivals) = node(&mut server).await;
        server.order(Order::Pause).await;
        for _ in 0..40 {
            nats.say("wsfan.x.who".to_owned(), None, vec![b'x'; MAX_PAYLOAD]);
            tokio::task::yield_now().await; // the connection takes what it likes of it
        }
        let troubles = troubles(&waiting(&mut arrivals));
        assert!(troubles.len() == 1 && troubles[0].starts_with("the NATS server takes less"), "{troubles:?}");
        nats.say("wsfan.x.end".to_owned(), None, Vec::new()); // small as it is, it has room
        let bytes = tokio::select! {
            bytes = server.order(Order::Until("wsfan.x.end")) => bytes,
            () = async { loop { arrivals.next().await; } } => unreachable!(),
        };
        // what lies in the kernel's buffers is beside them
        assert!((outflow::MAX_SAID - MAX_PAYLOAD..30 << 20).contains(&bytes), "{bytes} bytes");
        assert!(server.connected.try_recv().is_err());
    });
}

#[test]
fn a_server_that_takes_nothing_at_all_is_left_before_more_waits_than_there_is_room_for() {
    run(async {
        let mut server = Server::start().await;
        let (nats, mut arrivals) = node(&mut server).await;
        server.order(Order::Pause).await;
        let headers = [
            ("Wsfan-Epoch", "e"),
            ("Wsfan-Term", "1"),
            ("Wsfan-Node", "a"),
            ("Wsfan-First", "1"),
            ("Wsfan-Count", "1"),
            ("Wsfan-Nonce", "ff"),
        ];
        let header =
            Header::read(|name| headers.iter().find(|(key, _)| *key == name).map(|(_, value)| *value));
        let message = Message {
            header: header.unwrap(),
            body: Body::new(vec![b'x'; crate::cluster::machine::MAX_BATCH]),
        };
        let mut came = Vec::new();
        for id in 0..400 {
            nats.append(AppendId::of(id), 0, &message);
            tokio::task::yield_now().await;
            came.extend(waiting(&mut arrivals));
            if matches!(came.last(), Some(Arrival::Event(Event::Unclear(_)))) {
                break;
            }
        }
        let troubles = troubles(&came);
        assert!(
            troubles.len() == 1 && troubles[0].contains("doesn't take what this node says"),
            "{troubles:?}"
        );
        assert!(came.iter().any(|arrival| matches!(arrival, Arrival::Event(Event::NatsDown))));
        assert!(
            came.iter().any(|arrival| matches!(arrival, Arrival::Event(Event::Unclear(_)))),
            "what comes after"
        );
    });
}
