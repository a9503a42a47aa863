use super::*;
use crate::config::{Config, Environment};

const SERVER: &str = "[requests.server]\nwhen = { \"/0\" = 2 }\nid = \"/1\"\nanswer = { \"/0\" = [3, 4] }\n";

fn rules(keys: &str) -> RequestRules {
    let text = format!("upstream.url = \"ws://a\"\n[requests]\n{keys}");
    let config = Config::parse(&text, &Environment::fixed([])).unwrap_or_else(|why| panic!("{why}"));
    RequestRules::new(&config.terms.requests.unwrap(), &mut Slots::default())
}

fn kind(rules: &RequestRules, text: &str, how: How) -> Result<Kind, NoAnswer> {
    rules.kind(&Payload::Text(text.to_owned()), how)
}

fn unfit(why: Unfit) -> Result<Kind, NoAnswer> {
    Err(NoAnswer::Fate(Fate::Unfit(why)))
}

#[test]
fn what_goes_out_is_a_request_or_not_and_what_nobody_can_read_is_refused() {
    let rules = rules("id = \"/id\"\nrewrite_when = { \"/method\" = { exists = true } }\n");
    let long = format!(r#"{{"method":1,"id":"{}"}}"#, "x".repeat(1023));
    let (plain, request) = (Ok(Kind::Plain), Ok(Kind::Request));
    for (text, as_plain, rewritten, asked) in [
        (r#"{"id":1,"method":"a"}"#, &request, &request, &request),
        (r#"{"\u0069d":1,"method":"a"}"#, &request, &request, &request),
        (r#"{"id":12345678901234567890123,"method":"a"}"#, &request, &request, &request),
        (r#"{"id":1}"#, &plain, &plain, &request),
        (r#"{"id":null,"method":"a"}"#, &plain, &plain, &request),
        (r#"{"method":"a"}"#, &plain, &plain, &request),
        ("[1]", &plain, &plain, &Err(NoAnswer::NoPlace)),
        ("7", &plain, &plain, &Err(NoAnswer::NoPlace)),
        ("no JSON", &plain, &plain, &Err(NoAnswer::NoPlace)),
        (
            r#"{"id":1,"method":"a","id":2}"#,
            &unfit(Unfit::Doubled),
            &unfit(Unfit::Doubled),
            &unfit(Unfit::Doubled),
        ),
        (
            r#"{"id":1,"\u0069d":null}"#,
            &unfit(Unfit::Doubled),
            &unfit(Unfit::Doubled),
            &unfit(Unfit::Doubled),
        ),
        (r#"{"id":1,"method":"a","x":1,"x":2}"#, &request, &request, &request),
        (
            r#" [{"method":"a","id":1},{"method":"b","id":2}]"#,
            &plain,
            &unfit(Unfit::List),
            &unfit(Unfit::List),
        ),
        (r#"[{"method":"a"}]"#, &plain, &plain, &Err(NoAnswer::NoPlace)),
        (&long, &request, &unfit(Unfit::LongId), &unfit(Unfit::LongId)),
    ] {
        let all = [How::Plain, How::Rewritten, How::Request].map(|how| kind(&rules, text, how));
        assert_eq!(all.each_ref(), [as_plain, rewritten, asked], "{text}");
    }
}

#[test]
fn where_messages_are_lists_a_list_is_one() {
    let rules = rules(&format!("id = \"/1\"\nrewrite_when = {{ \"/0\" = 2 }}\n{SERVER}"));
    for (text, rewritten, asked) in [
        (r#"[2,"a","Boot",{}]"#, Ok(Kind::Request), Ok(Kind::Request)),
        (r#"[2,7,[{"1":3}]]"#, Ok(Kind::Request), Ok(Kind::Request)),
        (r#"[3,"a",{}]"#, Ok(Kind::Answer("a".into())), unfit(Unfit::Answers)),
        (r#"[3,"\u0061",{}]"#, Ok(Kind::Answer("a".into())), unfit(Unfit::Answers)),
        (r#"[3]"#, Ok(Kind::Plain), Err(NoAnswer::NoPlace)),
        (r#"[2]"#, Ok(Kind::Plain), Err(NoAnswer::NoPlace)),
        (r#"[]"#, Ok(Kind::Plain), Err(NoAnswer::NoPlace)),
    ] {
        assert_eq!(
            (kind(&rules, text, How::Rewritten), kind(&rules, text, How::Request)),
            (rewritten, asked),
            "{text}"
        );
    }
}
