//! Reading the stream: an ordered consumer, of which nothing may be missing.

use std::time::{Duration, Instant};

use super::received::{LAST_GIVEN, Received, STALLED};
use crate::cluster::machine::{Header, ReadId, Stored};

/// Heartbeats that may fail to come.
const MISSED: u32 = 3;

/// One stretch of reading.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) id: ReadId,
    /// What lies past this place is read.
    pub(super) after: u64,
    /// So many consumers were asked for.
    pub(super) attempt: u32,
    /// Its consumer's name.
    pub(super) consumer: String,
    /// How many were delivered.
    delivered: u64,
    heard_at: Instant,
    heartbeat: Duration,
    /// It is late, and gets one heartbeat more: this process may have slept.
    is_late: bool,
}

/// What a message of the consumer's is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// The next one of the stream.
    Stored(Stored),
    /// To be answered at this address, so that more comes.
    Answer(String),
    /// It is there, and that is all.
    Nothing,
    /// The consumer is of no use any more.
    Lost(String),
}

/// What JetStream says of a message that it delivers, in the address for its acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Delivery<'m> {
    consumer: &'m str,
    /// In the stream.
    place: u64,
    /// Of the consumer's, from 1 on.
    number: u64,
}

impl Reading {
    /// One that has just been asked for.
    pub(super) fn new(
        now: Instant,
        id: ReadId,
        after: u64,
        attempt: u32,
        consumer: String,
        heartbeat: Duration,
    ) -> Reading {
        Reading { id, after, attempt, consumer, delivered: 0, heard_at: now, heartbeat, is_late: false }
    }

    /// Whether anything was delivered.
    pub(super) fn has_begun(&self) -> bool {
        self.delivered > 0
    }

    /// What came of it.
    pub(super) fn take(&mut self, now: Instant, message: Received) -> Taken {
        (self.heard_at, self.is_late) = (now, false);
        match message.status {
            None | Some(200) => self.take_stored(message),
            Some(100) => self.take_sign(&message),
            Some(status) => {
                let why = message.description.as_deref().unwrap_or("no reason given");
                Taken::Lost(format!("its consumer ended: {why} ({status})"))
            }
        }
    }

    /// When it is late if nothing comes.
    pub(super) fn next_timeout(&self) -> Instant {
        self.heard_at + self.heartbeat * (MISSED + u32::from(self.is_late))
    }

    /// Whether it is lost by now, since nothing came for too long.
    pub(super) fn is_silent(&mut self, now: Instant) -> bool {
        if now < self.next_timeout() {
            return false;
        }
        // what came while this process slept is looked at first
        let was_late = std::mem::replace(&mut self.is_late, true);
        if !was_late {
            self.heard_at = now.checked_sub(self.heartbeat * MISSED).unwrap_or(now);
        }
        was_late
    }

    fn take_stored(&mut self, message: Received) -> Taken {
        let Some(delivery) = message.reply.as_deref().and_then(Delivery::read) else {
            return Taken::Nothing; // nobody's
        };
        if delivery.consumer != self.consumer {
            return Taken::Nothing;
        }
        if delivery.number != self.delivered + 1 {
            return Taken::Lost(format!(
                "message {} of its consumer came after message {}",
                delivery.number, self.delivered
            ));
        }
        self.delivered = delivery.number;
        let header = Header::read(|name| message.header(name));
        Taken::Stored(Stored { place: delivery.place, header, body: message.payload })
    }

    /// A heartbeat, or a request to say that all until here has been taken.
    fn take_sign(&self, message: &Received) -> Taken {
        if let Some(reply) = &message.reply {
            return Taken::Answer(reply.to_string());
        }
        if let Some(last) = message.header(LAST_GIVEN).and_then(|text| text.parse::<u64>().ok())
            && last != self.delivered
        {
            return Taken::Lost(format!(
                "its consumer has given {last} messages, and {} have come",
                self.delivered
            ));
        }
        // a request that got lost is repeated so
        message.header(STALLED).map_or(Taken::Nothing, |reply| Taken::Answer(reply.to_owned()))
    }
}

impl<'m> Delivery<'m> {
    /// `$JS.ACK.STREAM.CONSUMER.TIMES.PLACE.NUMBER.TIME.PENDING`, or with the domain and a hash before the stream, and
    /// more behind.
    fn read(reply: &'m str) -> Option<Delivery<'m>> {
        let tokens: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
        let from = match tokens.len() {
            7 => 1,
            9.. => 3,
            _ => return None,
        };
        let number = |at: usize| tokens.get(at)?.parse::<u64>().ok();
        Some(Delivery { consumer: tokens.get(from)?, place: number(from + 2)?, number: number(from + 3)? })
    }
}

#[cfg(test)]
mod tests {
    use async_nats::{HeaderMap, Message, StatusCode};

    use super::*;

    const HEARTBEAT: Duration = Duration::from_millis(250);

    fn reading(now: Instant) -> Reading {
        let id = ReadId::of(1);
        Reading::new(now, id, 0, 1, "c1".into(), HEARTBEAT)
    }

    fn message(reply: Option<&str>, status: Option<u16>, headers: &[(&'static str, &str)]) -> Received {
        let mut map = HeaderMap::new();
        headers.iter().for_each(|(name, value)| map.insert(*name, *value));
        let message = Message {
            subject: "wsfan.x.log".into(),
            reply: reply.map(Into::into),
            payload: "{}\n".into(),
            headers: Some(map),
            status: status.map(|status| StatusCode::from_u16(status).unwrap()),
            description: Some("Consumer Deleted".to_owned()).filter(|_| status == Some(409)),
            length: 0,
        };
        Received::new(&message, true)
    }

    fn stored(place: u64) -> Taken {
        Taken::Stored(Stored { place, header: None, body: b"{}\n".to_vec() })
    }

    #[test]
    fn the_address_of_an_acknowledgement_tells_the_place_in_either_form() {
        let place = |reply| Delivery::read(reply).map(|found| (found.consumer, found.place, found.number));
        assert_eq!(place("$JS.ACK.WSFAN_x.c1.1.907.3.1700000000000000000.0"), Some(("c1", 907, 3)));
        assert_eq!(
            place("$JS.ACK.hub.ABCDEF.WSFAN_x.c1.1.907.3.1700000000000000000.0.xyz"),
            Some(("c1", 907, 3))
        );
        assert_eq!(place("$JS.ACK._.ABCDEF.WSFAN_x.c1.1.907.3.1700000000000000000.0"), Some(("c1", 907, 3)));
        for other in
            ["$JS.FC.WSFAN_x.c1.1", "$JS.ACK.a.b.c", "$JS.ACK.WSFAN_x.c1.1.here.3.0.0", "_INBOX.1", ""]
        {
            assert_eq!(place(other), None, "{other}");
        }
    }

    #[test]
    fn messages_come_one_after_the_other_and_one_that_is_missing_ends_it() {
        let now = Instant::now();
        let mut reading = reading(now);
        let mut take = |reply: &str| reading.take(now, message(Some(reply), None, &[]));
        assert_eq!(take("$JS.ACK.WSFAN_x.c1.1.7.1.0.5"), stored(7));
        assert_eq!(
            take("$JS.ACK.WSFAN_x.c1.1.9.2.0.4"),
            stored(9),
            "what the stream holds no more is no gap"
        );
        assert_eq!(take("$JS.ACK.WSFAN_x.c0.1.3.9.0.4"), Taken::Nothing, "of a consumer that was before");
        assert_eq!(take("somebody.else"), Taken::Nothing);
        assert_eq!(
            take("$JS.ACK.WSFAN_x.c1.1.11.4.0.2"),
            Taken::Lost("message 4 of its consumer came after message 2".into())
        );
    }

    #[test]
    fn signs_are_answered_and_tell_of_messages_that_never_came() {
        let now = Instant::now();
        let mut reading = reading(now);
        assert_eq!(reading.take(now, message(Some("$JS.ACK.WSFAN_x.c1.1.7.1.0.5"), None, &[])), stored(7));
        let mut sign =
            |reply, headers: &[(&'static str, &str)]| reading.take(now, message(reply, Some(100), headers));
        assert_eq!(sign(Some("$JS.FC.WSFAN_x.c1.9"), &[]), Taken::Answer("$JS.FC.WSFAN_x.c1.9".into()));
        assert_eq!(sign(None, &[("Nats-Last-Consumer", "1"), ("Nats-Last-Stream", "7")]), Taken::Nothing);
        assert_eq!(
            sign(None, &[("Nats-Last-Consumer", "1"), ("Nats-Consumer-Stalled", "$JS.FC.WSFAN_x.c1.10")]),
            Taken::Answer("$JS.FC.WSFAN_x.c1.10".into())
        );
        assert_eq!(
            sign(None, &[("Nats-Last-Consumer", "3")]),
            Taken::Lost("its consumer has given 3 messages, and 1 have come".into())
        );
        assert_eq!(
            reading.take(now, message(None, Some(409), &[])),
            Taken::Lost("its consumer ended: Consumer Deleted (409)".into())
        );
    }

    #[test]
    fn it_is_lost_when_heartbeats_fail_to_come_but_not_by_a_sleep_of_this_process() {
        let now = Instant::now();
        let mut reading = reading(now);
        assert_eq!(reading.next_timeout(), now + HEARTBEAT * 3);
        assert!(!reading.is_silent(now + HEARTBEAT * 2));
        let woken = now + Duration::from_secs(60);
        assert!(!reading.is_silent(woken), "what came meanwhile hasn't been looked at yet");
        assert_eq!(reading.next_timeout(), woken + HEARTBEAT);
        assert!(!reading.is_silent(woken + HEARTBEAT / 2));
        reading.take(woken + HEARTBEAT / 2, message(None, Some(100), &[]));
        let heard = woken + HEARTBEAT / 2;
        assert_eq!(reading.next_timeout(), heard + HEARTBEAT * 3);
        assert!(!reading.is_silent(heard + HEARTBEAT * 3));
        assert!(reading.is_silent(heard + HEARTBEAT * 4));
    }
}
