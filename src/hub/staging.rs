//! Who holds entries back until they are committed.

use std::ops::Range;

use super::{Counted, Hub, LinkStatus, Publisher};

/// Holds entries back: while it is there, what is published is staged. It has its `seq`, and [`Staging::lines`] its
/// bytes, but no client sees it before [`Staging::commit`], and until then it can be cut. What `status` shows of the link
/// and of its traffic isn't held back: it is true at once.
///
/// Staged entries stay in memory whatever the log's limits say: whoever stages bounds them ([`Staging::bytes`]), and may
/// hold the link meanwhile ([`Reader::hold`](super::Reader::hold)). Dropped, it cuts what nobody will commit any more,
/// and entries are committed as they come again.
pub struct Staging(Hub);

impl Publisher {
    /// Has entries staged from the next one on. `None` while somebody else holds them back.
    pub fn stage(&self) -> Option<Staging> {
        let hub = self.hub();
        let mut log = hub.0.log.borrow_mut();
        if log.is_staging() {
            return None;
        }
        log.stage();
        hub.0.staged_counts.borrow_mut().clear();
        Some(Staging(hub.clone()))
    }
}

impl Staging {
    /// Waits until something may have been staged since the last call. Cancel-safe.
    pub async fn published(&self) {
        self.0.0.staged.notified().await;
    }

    /// The entries that are staged.
    pub fn entries(&self) -> Range<u64> {
        self.0.log().staged()
    }

    /// What they take, in bytes.
    pub fn bytes(&self) -> usize {
        self.0.log().staged_bytes()
    }

    /// The lines of staged entries from `from` on, end to end as clients get them: as many whole ones as `max_bytes`
    /// hold, or fewer, and one at least. With them, one past the last of the entries. `None` where `from` isn't staged.
    pub fn lines(&self, from: u64, max_bytes: usize) -> Option<(Vec<u8>, u64)> {
        self.0.log().staged_lines(from, max_bytes).map(|(lines, end)| (lines.to_vec(), end))
    }

    /// Commits what is staged up to the entry `through`, for good, and wakes all readers. Returns the link's status by the
    /// newest of these entries that tells one.
    pub fn commit(&self, through: u64) -> Option<LinkStatus> {
        self.0.0.log.borrow_mut().commit(through);
        self.0.commit_public(through);
        let mut links = self.0.0.staged_links.borrow_mut();
        let mut newest = None;
        while links.front().is_some_and(|(seq, _)| *seq <= through) {
            newest = links.pop_front().map(|(_, status)| status);
        }
        drop(links);
        self.0.flush();
        newest
    }

    /// How far the server has counted in messages that aren't published since the last call: each count, and before which
    /// entry it was so.
    pub fn take_counts(&self) -> impl Iterator<Item = (u64, Counted)> {
        self.0.0.staged_counts.take().into_values()
    }

    /// The link is about to be closed for another machine to have it: its last entry says that it waits, rather than
    /// that somebody has closed it.
    pub fn hand_over(&self) {
        self.0.0.hands_over.set(true);
    }

    /// Takes back what is staged, and says how many entries that were: the next one has the first one's `seq`.
    pub fn cut(&self) -> u64 {
        self.0.0.staged_links.borrow_mut().clear();
        self.0.0.staged_counts.borrow_mut().clear();
        self.0.cut_public();
        self.0.0.log.borrow_mut().cut_staged()
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        self.cut();
        self.0.0.hands_over.set(false);
        self.0.0.log.borrow_mut().commit_all();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        config::{Format, History},
        hub::{Data, LinkState, LinkStatus, MessageTopic, NotTaken},
    };

    fn hub() -> (Hub, Publisher) {
        let hub = Hub::starting_at("theirs".to_owned(), 1_001, &History::default(), true);
        let (publisher, _) = hub.publisher().expect("it is the first");
        (hub, publisher)
    }

    fn publish(publisher: &Publisher, texts: &[&str]) {
        texts.iter().for_each(|text| publisher.publish(1, Data::Text(text), &MessageTopic::None));
        publisher.flush();
    }

    #[test]
    fn what_is_staged_is_offered_once_it_is_committed_and_never_once_it_is_cut() {
        let (hub, publisher) = hub();
        let reader = hub.reader();
        assert_eq!((hub.epoch(), hub.log().head(), hub.log().oldest()), ("theirs", 1_000, 1_001));
        let stage = publisher.stage().expect("it is the first");
        assert!(publisher.stage().is_none(), "there is one");
        publish(&publisher, &["1", "2", "3"]);
        assert!(stage.published().now_or_never().is_some() && reader.published().now_or_never().is_none());
        assert_eq!((hub.log().head(), stage.entries(), publisher.is_ready()), (1_000, 1_001..1_004, true));
        let (lines, end) = stage.lines(1_002, 1 << 20).expect("they are staged");
        let text = String::from_utf8(lines).unwrap();
        assert!(
            text.starts_with(r#"{"type":"message","seq":1002,"#) && text.ends_with(",\"json\":3}\n"),
            "{text}"
        );
        assert_eq!((text.lines().count(), end, stage.bytes()), (2, 1_004, 3 * (text.len() / 2 + 12)));
        assert_eq!(stage.lines(1_002, 1).map(|(_, end)| end), Some(1_003), "one at least");
        assert_eq!(stage.lines(1_004, 1 << 20), None);

        stage.commit(1_002);
        assert!(reader.published().now_or_never().is_some() && !publisher.is_ready());
        assert_eq!((hub.log().head(), stage.entries()), (1_002, 1_003..1_004));
        assert_eq!(stage.cut(), 1);
        publish(&publisher, &["4"]);
        assert_eq!(stage.entries(), 1_003..1_004, "the next one has its place");
        assert_eq!(publisher.put(1_004, 1, b"{}\n"), Err(NotTaken::Staged));
        drop(stage);
        assert_eq!(hub.log().head(), 1_002, "nobody will commit it");
        publish(&publisher, &["5"]);
        assert_eq!(hub.log().head(), 1_003);
        let line =
            hub.log().line(1_003, Format::Envelope).map(|line| String::from_utf8_lossy(line).into_owned());
        assert!(line.as_deref().is_some_and(|line| line.ends_with(",\"json\":5}\n")), "{line:?}");
    }

    #[test]
    fn an_end_of_the_link_is_staged_like_the_rest() {
        let (hub, publisher) = hub();
        let stage = publisher.stage().unwrap();
        publisher.announce(LinkStatus { state: LinkState::Up, ..LinkStatus::default() });
        drop(publisher);
        assert_eq!((stage.entries(), hub.link().state), (1_001..1_003, LinkState::Closed));
        stage.commit(u64::MAX);
        assert_eq!(hub.log().head(), 1_002);
    }

    #[test]
    fn what_the_link_is_by_the_log_is_told_when_it_is_committed_whatever_it_has_become() {
        let (_hub, publisher) = hub();
        let stage = publisher.stage().unwrap();
        publisher.only_follow();
        let announce = |state, conn| {
            publisher.announce(LinkStatus { state, conn, ..LinkStatus::default() });
        };
        announce(LinkState::Up, 3);
        publish(&publisher, &["1"]);
        announce(LinkState::Waiting, 3);
        announce(LinkState::Up, 4);
        let told = |through| stage.commit(through).map(|status| (status.state, status.conn));
        assert_eq!(told(1_002), Some((LinkState::Up, 3)));
        assert_eq!(told(1_002), None, "that was told");
        assert_eq!(told(1_004), Some((LinkState::Up, 4)));
        stage.hand_over();
        announce(LinkState::Closed, 4);
        drop(publisher); // by which the link is closed, and the log doesn't say so
        assert_eq!(told(1_005), Some((LinkState::Waiting, 4)));
    }

    #[test]
    fn a_value_that_was_cut_is_none_and_told_when_it_comes_again() {
        let (hub, publisher) = hub();
        let value = |json: &str| [("s".to_owned(), json.to_owned())].into();
        publisher.only_follow();
        publisher.set_public(["s".to_owned()].into());
        let stage = publisher.stage().unwrap();
        assert!(publisher.tell_public(value("1")) > 0);
        stage.commit(1_001);
        assert!(publisher.tell_public(value("2")) > 0 && publisher.tell_public(value("3")) > 0);
        assert_eq!((hub.public().0["s"].get(), stage.cut()), ("3", 2));
        assert_eq!(hub.public().0["s"].get(), "1");
        assert!(publisher.tell_public(value("3")) > 0, "nobody has heard of it");
        stage.commit(1_002);
        assert_eq!((stage.cut(), hub.public().0["s"].get()), (0, "3"));
    }

    #[test]
    fn other_names_make_no_entry_of_their_own_in_anothers_log() {
        let (hub, publisher) = hub();
        publisher.only_follow();
        publisher.set_public(["s".to_owned()].into());
        let line = b"{\"type\":\"public\",\"seq\":1001,\"time_us\":5,\"public\":{\"s\":1}}\n";
        publisher.put(1_001, 5, line).unwrap();
        publisher.follow(line);
        assert_eq!(hub.public().0.len(), 1);
        publisher.set_public([].into()); // as a reload may say
        assert_eq!((hub.public().0.len(), hub.log().next()), (0, 1_002));
        publisher
            .put(1_002, 6, b"{\"type\":\"message\",\"seq\":1002,\"time_us\":6,\"text\":\"x\"}\n")
            .unwrap();
    }

    #[test]
    fn what_was_cut_tells_nothing_of_the_link() {
        let (_hub, publisher) = hub();
        let stage = publisher.stage().unwrap();
        publisher.announce(LinkStatus { state: LinkState::Up, ..LinkStatus::default() });
        assert_eq!(stage.cut(), 1);
        publish(&publisher, &["1"]);
        assert_eq!(stage.commit(1_001), None);
    }

    #[test]
    fn a_link_that_is_handed_over_waits_and_is_not_closed() {
        let (hub, publisher) = hub();
        let stage = publisher.stage().unwrap();
        publisher.only_follow();
        publisher.announce(LinkStatus { state: LinkState::Up, ..LinkStatus::default() });
        stage.hand_over();
        publisher.announce(LinkStatus { state: LinkState::Closed, conn: 3, ..LinkStatus::default() });
        assert_eq!((hub.link().state, hub.link().conn), (LinkState::Waiting, 3));
        drop(publisher);
        assert_eq!(stage.entries(), 1_001..1_003, "nothing is added");
        let (lines, _) = stage.lines(1_002, 1 << 20).unwrap();
        assert!(String::from_utf8(lines).unwrap().contains(r#""state":"waiting","conn":3"#));
        drop(stage);
        let (publisher, _) = hub.publisher().unwrap();
        publisher.announce(LinkStatus::default());
        assert_eq!(hub.link().state, LinkState::Closed, "that was for once");
    }

    #[test]
    fn what_another_log_has_had_is_read_here_and_nothing_is_made_up() {
        let (hub, publisher) = hub();
        let reader = hub.reader();
        let line = b"{\"type\":\"message\",\"seq\":1001,\"time_us\":1,\"text\":\"a\\nb\"}\n";
        assert_eq!(publisher.put(1_001, 1, line), Ok(()));
        assert_eq!(publisher.put(1_001, 1, line), Err(NotTaken::Next(1_002)), "it is there");
        assert_eq!(publisher.put(1_002, 1, b"no line"), Err(NotTaken::NoLine));
        assert_eq!(publisher.put(1_002, 1, b"{\"type\":\"link\",\"seq\":1002}\n"), Ok(()));
        publisher.flush();
        assert!(reader.published().now_or_never().is_some());
        let read = |seq, format| hub.log().line(seq, format).map(<[u8]>::to_vec);
        assert_eq!(read(1_001, Format::Envelope).as_deref(), Some(&line[..]));
        assert_eq!(read(1_001, Format::Raw).as_deref(), Some(&b"a b\n"[..]));
        assert_eq!(read(1_002, Format::Raw).as_deref(), Some(&b""[..]), "it is no message");
        assert_eq!(publisher.put(1_010, 1, b"{}\n"), Err(NotTaken::Next(1_003)), "a hole is to be declared");
        assert!(publisher.skip_to(1_010).now_or_never().is_none(), "nothing leaves before it was offered");
        reader.offered(1_002, u64::MAX);
        assert_eq!(publisher.skip_to(1_010).now_or_never(), Some(Ok(7)));
        assert_eq!(publisher.put(1_010, 1, b"{}\n"), Ok(()));
        assert_eq!((hub.log().oldest(), hub.log().head()), (1_010, 1_010));
        publisher.update_link(|link| link.state = LinkState::Up);
        drop(publisher);
        assert_eq!((hub.log().head(), hub.link().state), (1_010, LinkState::Closed), "nothing is made up");
    }

    /// A payload: its text, or bytes.
    #[derive(Debug, Clone)]
    enum Said {
        Text(String),
        Binary(Vec<u8>),
    }

    impl Said {
        fn data(&self) -> Data<'_> {
            match self {
                Said::Text(text) => Data::Text(text),
                Said::Binary(bytes) => Data::Binary(bytes),
            }
        }
    }

    /// JSON with blanks and line breaks in and around it, and what nearly is.
    fn any_said() -> impl Strategy<Value = Said> {
        let blanks = "[ \t\r\n]{0,3}";
        let leaf = prop_oneof![
            Just(r#""\ud800""#.to_owned()),
            Just(r#""a\n\u000a\"""#.to_owned()),
            Just("\"é\u{2028}\"".to_owned()),
            Just("1e400".to_owned()),
            Just("null".to_owned()),
        ];
        let json = leaf.prop_recursive(3, 12, 3, move |inner| {
            let member = (blanks, inner, blanks).prop_map(|(before, json, behind)| before + &json + &behind);
            prop_oneof![
                prop::collection::vec(member.clone(), 0..3).prop_map(|all| format!("[{}]", all.join(","))),
                member.prop_map(|json| format!("{{\"\\ud800\"\n:{json}}}")),
            ]
        });
        let around = (blanks, json, blanks).prop_map(|(before, json, behind)| before + &json + &behind);
        prop_oneof![
            6 => around.prop_map(Said::Text),
            1 => any::<String>().prop_map(Said::Text),
            1 => "[ \r\n\u{1}x\"]{0,6}".prop_map(Said::Text),
            2 => prop::collection::vec(any::<u8>(), 0..20).prop_map(Said::Binary),
        ]
    }

    proptest! {
        #[test]
        fn what_is_staged_has_the_same_lines_where_it_is_put(
            said in prop::collection::vec((any_said(), prop::option::of("[a-z\"]{0,3}")), 1..8),
        ) {
            let ((leader, publisher), (follower, puts)) = (hub(), hub());
            let stage = publisher.stage().unwrap();
            for (said, topic) in &said {
                let topic = topic.clone().map_or(MessageTopic::None, MessageTopic::new);
                publisher.publish(7, said.data(), &topic);
            }
            stage.commit(u64::MAX);
            let line = |hub: &Hub, seq, format| hub.log().line(seq, format).map(<[u8]>::to_vec);
            for seq in 1_001..=leader.log().head() {
                let envelope = line(&leader, seq, Format::Envelope).unwrap();
                puts.put(seq, 7, &envelope).unwrap();
                let raw = line(&follower, seq, Format::Raw).unwrap();
                prop_assert_eq!(line(&follower, seq, Format::Envelope).unwrap(), envelope);
                prop_assert!(raw.ends_with(b"\n") && raw.iter().filter(|byte| **byte == b'\n').count() == 1);
                prop_assert_eq!(line(&leader, seq, Format::Raw).unwrap(), raw);
            }
        }

        #[test]
        fn what_isnt_staged_keeps_its_blanks_in_the_raw_form(
            said in (any_said(), "[ \t\r\n]{0,2}").prop_map(|(said, blanks)| match said {
                Said::Text(text) => text + &blanks,
                Said::Binary(_) => blanks,
            }),
        ) {
            let (hub, publisher) = hub();
            publisher.publish(7, Data::Text(&said), &MessageTopic::None);
            let raw = hub.log().line(1_001, Format::Raw).map(<[u8]>::to_vec).unwrap();
            prop_assert_eq!(raw, (said.replace(['\r', '\n'], " ") + "\n").into_bytes());
        }
    }
}
