use super::*;

fn told(lines: &[&str]) -> (Story<Vec<u8>>, Vec<String>) {
    let mut story = Story::new(Vec::new());
    let wishes = lines.iter().flat_map(|line| story.line(Actor::Trader, line.as_bytes()).unwrap());
    let wishes = wishes.filter_map(|wish| match wish {
        Do::Ask(Actor::Trader, request) => Some(request),
        Do::Sleep(Actor::Sleeper) => None,
        other => panic!("{other:?}"),
    });
    let wishes = wishes.collect();
    (story, wishes)
}

fn text(story: &Story<Vec<u8>>) -> String {
    anstream::adapter::strip_str(std::str::from_utf8(&story.out).unwrap()).to_string()
}

const HELLO: &str = r#"{"type":"hello","protocol":1,"server":"wsfan/0","epoch":"ab","seq":3,"oldest":1,"link":"up","client":1}"#;
const ATTACHED: &str = r#"{"type":"ok","id":1,"result":"attached","seq":0}"#;

#[test]
fn entries_count_from_the_attach_on() {
    let (story, wishes) = told(&[
        HELLO,
        r#"{"type":"message","seq":4,"time_us":1,"json":1}"#,
        ATTACHED,
        r#"{"type":"link","seq":1,"time_us":1,"state":"connecting","conn":0}"#,
        r#"{"type":"message","seq":2,"time_us":1,"json":1}"#,
    ]);
    assert!(wishes[0].contains(r#""since":{"epoch":"ab","seq":0}"#), "{wishes:?}");
    assert_eq!(story.cast[0].tally, {
        let mut tally = super::super::tally::Tally::default();
        tally.entry(1);
        tally.entry(2);
        tally
    });
    assert_eq!(story.messages, 1);
}

#[test]
fn a_heartbeat_is_explained() {
    let pong = r#"{"type":"message","seq":1,"time_us":1,"json":{"op":"pong"}}"#;
    let status = r#"{"type":"status","id":3,"link":{"state":"up","heartbeat_rtt_us":310}}"#;
    let (story, wishes) = told(&[HELLO, ATTACHED, pong, status]);
    assert!(wishes[1].contains(r#""op":"status""#), "{wishes:?}");
    assert!(text(&story).contains("0.31 ms there and back"), "{}", text(&story));
}

#[test]
fn a_return_is_timed() {
    let link = |seq, time_us, state, conn| {
        format!(r#"{{"type":"link","seq":{seq},"time_us":{time_us},"state":"{state}","conn":{conn}}}"#)
    };
    let lines = [
        link(1, 0, "connecting", 0),
        link(2, 1, "up", 1),
        link(3, 1_000_000, "waiting", 1),
        link(4, 1_500_000, "connecting", 1),
        link(5, 2_200_000, "up", 2),
    ];
    let mut all = vec![HELLO, ATTACHED];
    all.extend(lines.iter().map(String::as_str));
    let (story, _) = told(&all);
    assert_eq!(text(&story).matches("back after").count(), 1);
    assert!(text(&story).contains("back after 1.2 s"), "{}", text(&story));
}

#[test]
fn counts_that_do_not_balance_are_a_failure() {
    let reply = |delivered| {
        format!(
            r#"{{"type":"status","id":4,"clients":[{{"client":1,"ledger":{{"entries":5,"delivered":{delivered},"lost":0,"ahead":1}}}}]}}"#
        )
    };
    assert_eq!(told(&[HELLO, ATTACHED, &reply(4)]).0.verdict(), Ok(()));
    assert!(told(&[HELLO, ATTACHED, &reply(3)]).0.verdict().is_err());
    let (mut story, _) = told(&[HELLO, ATTACHED, r#"{"type":"message","seq":7,"json":1}"#, &reply(4)]);
    assert!(story.has_ledger());
    story.closing().unwrap();
    assert!(text(&story).contains("5 entries = 4 delivered + 0 lost + 1 ahead"), "{}", text(&story));
}

#[test]
fn who_sleeps_through_a_burst_hears_what_it_missed() {
    let mut story = Story::new(Vec::new());
    let hello = |who: Actor| HELLO.replace(r#""client":1"#, &format!(r#""client":{}"#, who as u64 + 1));
    let mut wishes = Vec::new();
    for who in Actor::ALL {
        story.line(who, hello(who).as_bytes()).unwrap();
        story.line(who, ATTACHED.as_bytes()).unwrap();
    }
    story.act(&Act::Login).unwrap();
    story.act(&Act::Login).unwrap();
    let up = r#"{"type":"link","seq":1,"time_us":1,"state":"up","conn":2}"#;
    for who in Actor::ALL {
        wishes.extend(story.line(who, up.as_bytes()).unwrap());
    }
    story.act(&Act::Burst).unwrap();
    for seq in 2..2 + BURST {
        let line = format!(r#"{{"type":"message","seq":{seq},"time_us":1,"json":{{"price":"1"}}}}"#);
        for who in [Actor::Trader, Actor::Logger] {
            wishes.extend(story.line(who, line.as_bytes()).unwrap());
        }
    }
    wishes.retain(|wish| !matches!(wish, Do::SendMore(_)));
    assert_eq!(wishes, [Do::Sleep(Actor::Sleeper), Do::Wake(Actor::Sleeper)]);
    let gap = format!(r#"{{"type":"gap","from":2,"to":{0},"count":{BURST},"why":"slow_client"}}"#, BURST + 1);
    story.line(Actor::Sleeper, gap.as_bytes()).unwrap();
    assert!(text(&story).contains("tells the sleeper what it missed"), "{}", text(&story));
    assert!(text(&story).contains("the sleeper held up"), "{}", text(&story));
    assert!(!text(&story).contains("\"price\""), "the burst itself isn't shown");
    assert!(story.cast.iter().all(Role::is_whole));
    assert_eq!(story.messages, BURST);
}

#[test]
fn the_story_is_told_when_all_was_seen_once() {
    let mut story = Story::new(Vec::new());
    for who in Actor::ALL {
        story.line(who, HELLO.as_bytes()).unwrap();
        story.line(who, ATTACHED.as_bytes()).unwrap();
    }
    // a busy machine may come to the burst before it hears that the link is up again
    let wishes = story.act(&Act::Burst).unwrap();
    assert_eq!(wishes, [Do::Sleep(Actor::Sleeper), Do::SendMore(0)]);
    let mut seq = 0;
    let mut price = |story: &mut Story<Vec<u8>>, whos: &[Actor]| {
        seq += 1;
        let line = format!(r#"{{"type":"message","seq":{seq},"time_us":1,"json":{{"price":"1"}}}}"#);
        whos.iter().flat_map(|who| story.line(*who, line.as_bytes()).unwrap()).collect::<Vec<_>>()
    };
    let ends: Vec<_> = (0..BURST).map(|_| price(&mut story, &[Actor::Trader, Actor::Logger])).collect();
    assert_eq!(ends.last().unwrap(), &[Do::SendMore(BURST), Do::Wake(Actor::Sleeper)]);
    let order = price(&mut story, &[Actor::Trader, Actor::Logger]);
    assert!(matches!(&order[..], [Do::Ask(Actor::Trader, line)] if line.contains("demo-1")), "{order:?}");
    for act in FAULTS {
        story.act(&act).unwrap();
        let up = r#"{"type":"link","seq":20002,"time_us":1,"state":"up","conn":3}"#;
        story.line(Actor::Trader, up.as_bytes()).unwrap();
        assert!(!story.is_told());
    }
    let gap = format!(r#"{{"type":"gap","from":1,"to":{BURST},"count":{BURST},"why":"slow_client"}}"#);
    story.line(Actor::Sleeper, gap.as_bytes()).unwrap();
    assert!(story.is_told());
    story.act(&Act::Silent).unwrap();
    assert!(!story.is_told(), "the way back is part of it");
}

#[test]
fn no_line_is_longer_than_a_terminal_is_wide() {
    let mut story = Story::new(Vec::new());
    let config = "[upstream]\nurl = \"ws://127.0.0.1:1/\"";
    story.opening(Duration::from_secs(20), config, Path::new("/tmp/wsfan-demo-1234567/wsfan.sock")).unwrap();
    for act in [Act::Login, Act::Dropped, Act::Refused, Act::Restarted, Act::Silent, Act::Burst] {
        story.act(&act).unwrap();
    }
    for line in [
        HELLO,
        ATTACHED,
        r#"{"type":"message","seq":4,"time_us":1,"json":{"symbol":"BTC-USD","price":"97243.99","size":"1.007"}}"#,
        r#"{"type":"link","seq":5,"time_us":1,"state":"waiting","conn":1,"http_status":503,"error":"the server answered 503 Service Unavailable: the service is unavailable for now","attempt":2,"retry_in_ms":111}"#,
    ] {
        story.line(Actor::Trader, line.as_bytes()).unwrap();
    }
    story.closing().unwrap();
    let text = text(&story);
    let own = own_command();
    for line in text.lines().filter(|line| !line.contains(&own)) {
        assert!(line.chars().count() <= COLUMNS, "{line}");
    }
}
