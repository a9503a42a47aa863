//! What the server hears.

use std::{
    io,
    net::{Shutdown, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{
    super::{
        calls::{Asked, What},
        frames::{Frame, Inflater, frame, read_frame},
        payload::Payload,
        shared,
        units::{Part, Unit},
    },
    Answers, Peer, Pen,
};

/// What reads from the daemon.
pub(super) struct Ear {
    pub(super) peer: Peer,
    pub(super) answers: Arc<Answers>,
    pub(super) pen: Arc<Mutex<Pen>>,
    pub(super) silent: Arc<AtomicBool>,
    pub(super) inflater: Option<Inflater>,
}

impl Ear {
    pub(super) fn hear(mut self, mut stream: TcpStream) {
        loop {
            let heard = match read_frame(&mut stream) {
                Ok(heard) => heard,
                Err(error) => {
                    // the daemon's end of a connection is a proper one, or it is our own reset
                    if error.kind() == io::ErrorKind::UnexpectedEof && !self.pen.lock().unwrap().cut {
                        self.peer.note(|attempt| attempt.read_to_end = true);
                    }
                    let _ = stream.shutdown(Shutdown::Both);
                    return;
                }
            };
            let silent = self.silent.load(Ordering::SeqCst);
            match heard {
                Frame::Data { binary, compressed, mut body } => {
                    if compressed {
                        body = self.inflater.as_mut().expect("compression was agreed").inflate(&body);
                    }
                    let payload = if binary {
                        Payload::Binary(body)
                    } else {
                        Payload::Text(String::from_utf8(body).expect("a text is UTF-8"))
                    };
                    match &payload {
                        Payload::Text(text)
                            if let Some(asked) = Asked::of(self.peer.state.begun.elapsed(), text) =>
                        {
                            self.asked(asked, silent)
                        }
                        Payload::Text(text) if let Some(unit) = Unit::of(text) => self.peer.note(|attempt| {
                            let after = attempt.received.len() + attempt.asked.len() + attempt.parts.len();
                            attempt.parts.push(Part { after, unit, text: text.clone() });
                        }),
                        _ => self.peer.note(|attempt| attempt.received.push(payload)),
                    }
                }
                Frame::Ping(body) if !silent => {
                    let _ = self.pen.lock().unwrap().write(&frame_of_pong(&body));
                }
                Frame::Close(body) => {
                    self.peer.note(|attempt| attempt.read_to_end = true);
                    let mut pen = self.pen.lock().unwrap();
                    if !pen.closed {
                        if pen.write(&frame(0x88, &body)).is_ok() && body.len() > 2 {
                            let reason = String::from_utf8_lossy(&body[2..]).into_owned();
                            self.peer.note(|attempt| attempt.answered = Some(reason));
                        }
                        pen.closed = true;
                    }
                    let _ = stream.shutdown(Shutdown::Both);
                    return;
                }
                Frame::Ping(_) | Frame::Pong => {}
            }
        }
    }
}

impl Ear {
    /// A request came, or the end of one.
    fn asked(&self, asked: Asked, silent: bool) {
        let index = self.peer.index;
        match &asked.what {
            What::Call(call) if !silent => {
                let answers = call.answers(self.peer.state.seed, &asked.id.to_string());
                self.answers.add(asked.id, answers);
            }
            What::Cancel(id) if !silent => {
                self.answers.cut(*id);
                let done = format!("{{\"id\":{},\"ok\":true,\"cancelled\":{id}}}", asked.id);
                self.answers.add(asked.id, vec![(Duration::ZERO, done)]);
            }
            What::Topics { more, topics } if !silent => {
                let refused = *more && topics.iter().any(|topic| shared::is_refused(topic, index));
                self.peer.note(|attempt| match more {
                    true if refused => {}
                    true => attempt.has.extend(topics.iter().cloned()),
                    false => attempt.has.retain(|topic| !topics.contains(topic)),
                });
                let told = if *more { &topics[..] } else { &[] };
                self.answers.add(asked.id, vec![shared::answer(asked.id, index, told)]);
            }
            _ => {}
        }
        self.peer.note(|attempt| attempt.asked.push(asked));
    }
}

fn frame_of_pong(body: &[u8]) -> Vec<u8> {
    frame(0x8a, body)
}
