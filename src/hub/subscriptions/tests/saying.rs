//! What is said: in which parts, and how often.

use super::*;

#[test]
fn an_id_leads_to_its_topic() {
    let mut terms = config::Subscriptions::new(r#"{"id":${next_id},"of":${topic},"p":${payload}}"#);
    terms.unsubscribe = Some(Template::parse_message(r#"{"end":${subscribed_id}}"#).unwrap());
    terms.id_topic = Some(Pointer::parse("/id").unwrap());
    terms.answer = Some(SubscriptionAnswer {
        reject: Some(Pattern::Text("error".to_owned())),
        end: Some(Pattern::Text("complete".to_owned())),
        ..SubscriptionAnswer::default()
    });
    terms.linger = Duration::ZERO;
    let mut bench = Bench::new(terms);
    bench.table.open(0);
    bench.subscribe(1, "a", &["x"], Some("1"));
    bench.subscribe(1, "b", &["y"], Some("2"));
    bench.subscribe(2, "a", &["y"], Some("3"));
    assert_eq!(bench.why(), "the topic \"y\" is subscribed to with another `json`");
    let sayings: Vec<_> = std::iter::from_fn(|| {
        let saying = bench.table.next(0)?;
        bench.table.said(bench.now, 0, &saying, Some(&format!("\"id-{}\"", saying.topics[0])));
        Some(saying)
    })
    .collect();
    assert_eq!(
        sayings.iter().map(|saying| saying.payload.as_deref()).collect::<Vec<_>>(),
        [Some("1"), Some("2")]
    );
    bench.tell();
    assert_eq!(bench.heard(), ["1.a subscribed", "1.b subscribed"]);
    assert_eq!(bench.table.topic_of(0, "\"id-x\"").map(|topic| &**topic), Some("x"));
    assert_eq!(bench.table.topic_of(0, "\"id-z\""), None);
    let late = |verdict, id: &str| TopicAnswer {
        verdict,
        id: Some(id.to_owned()),
        topic: None,
        taken: None,
        key: None,
        words: "w".to_owned(),
    };
    assert!(!bench.table.heard(0, &late(AnswerKind::Reject, "7")), "somebody else's");
    assert!(bench.table.heard(0, &late(AnswerKind::Reject, "\"id-x\"")));
    bench.tell();
    assert_eq!(bench.heard(), ["1 Refused x"]);
    bench.unsubscribe(1, &["y"]).unwrap();
    let end = bench.table.next(0).unwrap();
    assert_eq!((end.kind, end.subscribed_id.as_deref()), (SayingKind::Unsubscribe, Some("\"id-y\"")));
    assert!(bench.table.next(0).is_none(), "x is gone");
}

/// A bench whose server gives each subscription an id of its own.
fn keyed() -> Bench {
    let mut terms = terms(true);
    let answer = terms.answer.as_mut().expect("it expects answers");
    answer.key_from = Some(Pointer::parse("/result").unwrap());
    (terms.batch, terms.linger) = (1, Duration::ZERO);
    let mut bench = Bench::new(terms);
    bench.table.open(0);
    bench
}

/// The answer to what was said under this id.
fn accepted(id: &str, key: Option<&str>, taken: Option<&[&str]>) -> TopicAnswer {
    TopicAnswer {
        verdict: AnswerKind::Accept,
        id: Some(id.to_owned()),
        topic: None,
        taken: taken.map(|taken| serde_json::to_string(taken).unwrap()),
        key: key.map(str::to_owned),
        words: "not there".to_owned(),
    }
}

#[test]
fn a_topic_goes_by_the_id_that_the_server_gave_it() {
    let mut bench = keyed();
    bench.subscribe(1, "a", &["x"], None);
    let saying = bench.table.next(0).unwrap();
    bench.table.said(bench.now, 0, &saying, Some("7"));
    assert_eq!(bench.table.topic_of(0, "7"), None, "by what it was said nothing comes");
    assert!(bench.table.heard(0, &accepted("7", Some("\"0xcd\""), None)));
    bench.tell();
    assert_eq!(bench.heard(), ["1.a subscribed"]);
    assert_eq!(bench.table.topic_of(0, "\"0xcd\"").map(|topic| &**topic), Some("x"));
    assert_eq!(bench.table.topic_of(0, "7"), None);
    bench.unsubscribe(1, &["x"]).unwrap();
    let end = bench.table.next(0).unwrap();
    assert_eq!((end.kind, end.subscribed_id.as_deref()), (SayingKind::Unsubscribe, Some("\"0xcd\"")));
    assert_eq!(bench.table.topic_of(0, "\"0xcd\""), None);
}

/// A server may count as wsfan does.
#[test]
fn the_ids_that_the_server_gives_are_not_taken_for_those_by_which_it_is_asked() {
    let mut bench = keyed();
    let ask = |bench: &mut Bench, topic: &str, id: &str| {
        bench.subscribe(1, topic, &[topic], None);
        let saying = bench.table.next(0).unwrap();
        bench.table.said(bench.now, 0, &saying, Some(id));
    };
    let of = |bench: &Bench, id: &str| bench.table.topic_of(0, id).map(ToString::to_string);
    ask(&mut bench, "a", "1");
    assert!(bench.table.heard(0, &accepted("1", Some("5"), None)));
    // a program's own requests by that id
    let refused = TopicAnswer { verdict: AnswerKind::Reject, ..accepted("5", None, None) };
    assert!(!bench.table.heard(0, &accepted("5", Some("6"), None)));
    assert!(!bench.table.heard(0, &refused));
    assert_eq!((of(&bench, "5"), of(&bench, "6")), (Some("a".to_owned()), None));
    ask(&mut bench, "e", "5");
    assert_eq!(of(&bench, "5").as_deref(), Some("a"));
    assert!(bench.table.heard(0, &accepted("5", Some("1"), None)));
    assert_eq!((of(&bench, "5").as_deref(), of(&bench, "1").as_deref()), (Some("a"), Some("e")));
    // nor is a live one given another by what comes once more
    bench.table.heard(0, &accepted("5", Some("9"), None));
    assert_eq!((of(&bench, "1").as_deref(), of(&bench, "9")), (Some("e"), None));
    let end = TopicAnswer { verdict: AnswerKind::End, ..accepted("5", None, None) };
    assert!(bench.table.heard(0, &end));
    bench.tell();
    assert_eq!(bench.heard(), ["1 Ended a", "1.a subscribed", "1.e subscribed"]);
    bench.table.open(1);
    bench.table.retire(0);
    assert_eq!((of(&bench, "1").as_deref(), of(&bench, "5")), (Some("e"), None));
}

#[test]
fn a_topic_that_is_given_up_before_its_id_is_known_is_ended_once_it_is() {
    for answers in [true, false] {
        let mut bench = keyed();
        bench.subscribe(1, "a", &["x"], None);
        let saying = bench.table.next(0).unwrap();
        bench.table.said(bench.now, 0, &saying, Some("7"));
        bench.unsubscribe(1, &["x"]).unwrap();
        assert!(!bench.table.has_to_say(0) && bench.table.next(0).is_none(), "by which id?");
        match answers {
            true => drop(bench.table.heard(0, &accepted("7", Some("8"), None))),
            false => bench.wait(Duration::from_secs(600)),
        }
        let end = bench.table.next(0).unwrap();
        // by the id with which it was asked for, somebody else's might be ended
        assert_eq!(
            (end.kind, end.subscribed_id.as_deref()),
            (SayingKind::Unsubscribe, answers.then_some("8"))
        );
        assert!(bench.table.next(0).is_none());
    }
}

#[test]
fn what_an_answer_leaves_out_of_its_list_is_refused() {
    let mut bench = Bench::new(terms(true));
    bench.table.open(0);
    bench.subscribe(1, "a", &["x"], None);
    bench.subscribe(1, "b", &["y"], None);
    bench.subscribe(1, "c", &["z"], None);
    let saying = bench.table.next(0).unwrap();
    assert_eq!(saying.topics.len(), 3);
    bench.table.said(bench.now, 0, &saying, Some("7"));
    assert!(bench.table.heard(0, &accepted("7", None, Some(&["y", "somebody's"]))));
    bench.tell();
    assert_eq!(bench.heard(), ["1.a Refused x", "1.b subscribed", "1.c Refused z"]);
    assert!(bench.table.next(0).is_none(), "and nothing is said again");
    bench.subscribe(1, "d", &["w"], None);
    let saying = bench.table.next(0).unwrap();
    bench.table.said(bench.now, 0, &saying, Some("8"));
    assert!(bench.table.heard(0, &accepted("8", None, Some(&[]))));
    bench.tell();
    assert_eq!(bench.heard(), ["1.d Refused w"]);
}

#[test]
fn a_list_that_a_program_has_asked_for_refuses_no_topics() {
    let mut bench = Bench::new(terms(true));
    bench.table.open(0);
    bench.subscribe(1, "a", &["x", "y"], None);
    let saying = bench.table.next(0).unwrap();
    bench.table.said(bench.now, 0, &saying, Some("4"));
    assert!(bench.table.heard(0, &accepted("4", None, Some(&["x", "y"]))));
    bench.tell();
    assert_eq!(bench.heard(), ["1.a subscribed"]);
    // by an id that was wsfan's once
    let rows = TopicAnswer { taken: Some(r#"[{"price":1},"x"]"#.to_owned()), ..accepted("4", None, None) };
    assert!(!bench.table.heard(0, &rows), "the program gets it");
    bench.tell();
    assert_eq!(bench.heard(), [""; 0]);
    assert!(["x", "y"].iter().all(|topic| bench.table.is_live(&(*topic).into())));
    // nor does one that names one topic, and has a list of others
    let one = TopicAnswer { id: None, topic: Some("x".to_owned()), ..rows };
    bench.table.heard(0, &one);
    bench.table.heard(0, &TopicAnswer { taken: Some("[]".to_owned()), ..one });
    bench.tell();
    assert_eq!(bench.heard(), [""; 0]);
}

/// The work is that of reading it once, however many topics were asked for.
#[test]
fn a_long_list_in_an_answer_is_read_once() {
    let mut terms = terms(true);
    (terms.batch, terms.max) = (5_000, 10_000);
    let mut bench = Bench::new(terms);
    bench.table.open(0);
    let topics: Vec<_> = (0..5_000).map(|number| format!("a.b.{number}")).collect();
    let names: Vec<_> = topics.iter().map(String::as_str).collect();
    bench.subscribe(1, "a", &names, None);
    let saying = bench.table.next(0).unwrap();
    assert_eq!(saying.topics.len(), 5_000);
    bench.table.said(bench.now, 0, &saying, Some("7"));
    let mut list = "[".to_owned();
    (0..200_000).for_each(|_| list.push_str("\"\",0,{\"a\":[]},\"b.1x\","));
    // by its name, its ends, and as text that is written otherwise
    list.push_str(r#""a.b.1","b.2","3","\u0034",".5","b","a.b.1"]"#);
    let answer = TopicAnswer { taken: Some(list), ..accepted("7", None, None) };
    let started = Instant::now();
    assert!(bench.table.heard(0, &answer));
    // each of the list against each topic would be thousands of millions
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    bench.tell();
    let live = |number: usize| bench.table.is_live(&topics[number].as_str().into());
    assert_eq!((0..5_000).filter(|number| live(*number)).collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[test]
fn what_is_refused_after_its_last_holder_has_gone_refuses_nothing_that_is_asked_for_since() {
    for (batch, verdict) in [(1, AnswerKind::Reject), (3, AnswerKind::Reject), (1, AnswerKind::End)] {
        let mut bench = keyed();
        let mut terms = bench.table.terms().map(|terms| (**terms).clone()).unwrap();
        terms.subscribe =
            Template::parse_message(r#"{"sub":[${topics}],"p":${payload},"id":${next_id}}"#).unwrap();
        terms.batch = batch;
        bench.table.set_terms(Some(terms));
        let topics = if batch == 1 { &["x"][..] } else { &["x", "y"] };
        bench.subscribe(1, "a", topics, Some("1"));
        let saying = bench.table.next(0).unwrap();
        bench.table.said(bench.now, 0, &saying, Some("7"));
        if verdict == AnswerKind::End {
            assert!(bench.table.heard(0, &accepted("7", Some("70"), None)));
        }
        bench.table.leave(bench.now, 1);
        bench.subscribe(2, "a", topics, Some("2"));
        let id = if verdict == AnswerKind::End { "70" } else { "7" };
        let answer = TopicAnswer { verdict, ..accepted(id, None, None) };
        assert!(bench.table.heard(0, &answer));
        bench.tell();
        assert!(bench.heard().iter().all(|heard| !heard.starts_with('2')), "it waits for its own answer");
        let saying = bench.table.next(0).unwrap();
        assert_eq!((saying.kind, saying.payload.as_deref()), (SayingKind::Subscribe, Some("2")));
        assert_eq!(saying.topics.len(), topics.len());
        bench.table.said(bench.now, 0, &saying, Some("8"));
        bench.table.heard(0, &accepted("8", Some("80"), None));
        bench.tell();
        assert_eq!(bench.heard(), ["2.a subscribed"]);
        assert!(bench.table.next(0).is_none());
    }
}

#[test]
fn a_connection_that_is_only_read_still_knows_its_topics() {
    let mut bench = Bench::new(terms(true));
    bench.table.open(0);
    bench.subscribe(1, "a", &["x"], None);
    let saying = bench.table.next(0).unwrap();
    bench.table.said(bench.now, 0, &saying, Some("7"));
    bench.table.open(1);
    assert_eq!(bench.say(1), ["+x"]);
    bench.table.retire(0);
    assert!(!bench.table.is_open(0) && bench.table.is_retired(0));
    bench.subscribe(1, "b", &["y"], None);
    assert_eq!((bench.say(0), bench.say(1)), (vec![], vec!["+y".to_owned()]));
    assert_eq!(bench.table.topic_of(0, "7").map(|topic| &**topic), Some("x"));
    bench.table.close(0);
    assert_eq!((bench.table.topic_of(0, "7"), bench.table.is_retired(0)), (None, false));
    bench.table.open(0);
    bench.table.retire(0);
    bench.table.open(0);
    assert!(bench.table.is_open(0) && !bench.table.is_retired(0));
}

#[test]
fn what_is_too_large_is_said_in_parts_and_what_cannot_be_said_is_refused() {
    let mut bench = Bench::new(terms(true));
    bench.table.open(0);
    bench.subscribe(1, "a", &["x", "y", "zz"], None);
    let saying = bench.table.next(0).unwrap();
    bench.table.too_large(0, &saying, "too large");
    assert_eq!(bench.table.next(0).unwrap().topics, ["x".into()] as [Topic; 1]);
    let rest = bench.table.next(0).unwrap();
    bench.table.too_large(0, &rest, "too large");
    bench.table.next(0).unwrap();
    let last = bench.table.next(0).unwrap();
    bench.table.too_large(0, &last, "too large");
    assert!(bench.table.next(0).is_none());
    for number in bench.table.seats[0].as_ref().unwrap().messages.keys().copied().collect::<Vec<_>>() {
        let message = bench.table.seats[0].as_mut().unwrap().messages.get_mut(&number).unwrap();
        message.id = Some(number.to_string().into());
    }
    bench.answer(0, AnswerKind::Accept, None);
    bench.answer(0, AnswerKind::Accept, None);
    assert_eq!(bench.heard(), ["1.a Refused zz"]);
    assert_eq!(bench.say(0), [] as [&str; 0], "what wasn't said isn't taken back");
}

#[test]
fn a_topic_is_asked_for_with_other_json_once_nobody_holds_it() {
    let mut terms = config::Subscriptions::new(r#"{"of":${topic},"p":${payload},"id":${next_id}}"#);
    terms.unsubscribe = Some(Template::parse_message(r#"{"end":${topic}}"#).unwrap());
    terms.answer = self::terms(true).answer;
    let mut bench = Bench::new(terms);
    bench.table.open(0);
    bench.subscribe(1, "a", &["x"], Some("1"));
    assert_eq!(bench.say(0), ["+x"]);
    bench.answer(0, AnswerKind::Accept, None);
    bench.heard();
    bench.subscribe(2, "a", &["x"], Some("2"));
    assert_eq!(bench.heard(), ["2.a BadRequest x"], "somebody holds it");
    bench.unsubscribe(1, &["x"]).unwrap();
    bench.subscribe(2, "b", &["x"], Some("2"));
    assert_eq!(bench.heard(), [""; 0], "what lingers is not what it asks for");
    assert_eq!(bench.say(0), ["-x", "+x"]);
    bench.answer(0, AnswerKind::Accept, None);
    bench.answer(0, AnswerKind::Accept, None);
    assert_eq!(bench.heard(), ["2.b subscribed"]);
    // with the same it is taken on
    bench.unsubscribe(2, &["x"]).unwrap();
    bench.subscribe(1, "b", &["x"], Some("2"));
    assert_eq!((bench.heard(), bench.say(0)), (vec!["1.b subscribed".to_owned()], vec![]));
}

#[test]
fn what_cannot_be_taken_back_is_not_said_again() {
    let mut terms = terms(true);
    (terms.unsubscribe, terms.max) = (None, 10);
    let mut bench = Bench::new(terms);
    bench.table.open(0);
    for topic in ["x", "y"] {
        bench.subscribe(1, topic, &[topic], None);
        assert_eq!(bench.say(0), [format!("+{topic}")]);
        bench.answer(0, AnswerKind::Accept, None);
        bench.table.leave(bench.now, 1);
        bench.wait(LINGER);
        assert!(bench.table.is_empty() && !bench.table.has_to_say(0));
    }
    bench.heard();
    bench.subscribe(1, "b", &["x"], None);
    assert_eq!((bench.heard(), bench.say(0)), (vec!["1.b subscribed".to_owned()], vec![]));
    // of so many it is remembered, the latest
    for number in 0..30 {
        let topic = format!("t{number}");
        bench.subscribe(2, "a", &[&topic], None);
        assert_eq!(bench.say(0), [format!("+{topic}")]);
        bench.answer(0, AnswerKind::Accept, None);
        bench.unsubscribe(2, &[&topic]).unwrap();
        bench.wait(LINGER);
    }
    bench.subscribe(2, "b", &["t29"], None);
    assert_eq!(bench.say(0), [""; 0]);
    bench.subscribe(3, "b", &["y"], None);
    assert_eq!(bench.say(0), ["+y"], "that is long ago");
    let seat = bench.table.seats[0].as_ref().unwrap();
    assert!(seat.phases().count() <= 13);
    // a new connection has nothing of it
    bench.table.close(0);
    bench.table.open(0);
    assert_eq!(bench.say(0), ["+t29,x,y"]);
}

#[test]
fn what_is_too_much_to_unsubscribe_from_at_once_is_said_in_parts() {
    let mut bench = Bench::new(terms(false));
    bench.table.open(0);
    bench.subscribe(1, "a", &["x", "y", "z"], None);
    assert_eq!(bench.say(0), ["+x,y,z"]);
    bench.table.leave(bench.now, 1);
    bench.wait(LINGER);
    let saying = bench.table.next(0).unwrap();
    assert_eq!(saying.kind, SayingKind::Unsubscribe);
    bench.table.too_large(0, &saying, "too large");
    assert!(bench.table.has_to_say(0));
    // one is wanted again meanwhile: after that it is gone
    bench.subscribe(2, "a", &["z"], None);
    assert_eq!(bench.say(0), ["-x", "-y,z", "+z"]);
    assert_eq!(
        (bench.heard(), bench.table.len()),
        (vec!["1.a subscribed".into(), "2.a subscribed".into()], 1)
    );
}

#[test]
fn one_that_is_refused_takes_no_others_with_it_where_only_refusals_are_told() {
    let mut terms = terms(true);
    terms.answer = Some(SubscriptionAnswer {
        reject: Some(Pattern::Text("no".to_owned())),
        id: Some(Pointer::parse("/id").unwrap()),
        ..SubscriptionAnswer::default()
    });
    let mut bench = Bench::new(terms);
    bench.table.open(0);
    bench.subscribe(1, "a", &["bad", "x"], None);
    let saying = bench.table.next(0).unwrap();
    let say = |bench: &mut Bench, saying: &Saying, id: &str| {
        bench.table.said(bench.now, 0, saying, Some(id));
        bench.tell();
    };
    say(&mut bench, &saying, "1");
    assert_eq!(bench.heard(), ["1.a subscribed"], "as far as is known");
    let no = |id: &str| TopicAnswer {
        verdict: AnswerKind::Reject,
        id: Some(id.to_owned()),
        topic: None,
        taken: None,
        key: None,
        words: "no".to_owned(),
    };
    assert!(bench.table.heard(0, &no("1")));
    for (id, topic) in [("2", "bad"), ("3", "x")] {
        let saying = bench.table.next(0).unwrap();
        assert_eq!(saying.topics, [topic.into()] as [Topic; 1]);
        say(&mut bench, &saying, id);
    }
    assert!(!bench.table.heard(0, &no("1")), "that is over");
    assert!(bench.table.heard(0, &no("2")));
    bench.tell();
    assert_eq!(bench.heard(), ["1 Refused bad"]);
    assert!(bench.table.is_live(&"x".into()));
}
