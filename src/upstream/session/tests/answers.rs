//! What the server answers about topics.

use super::*;
use crate::hub::AnswerKind;

const TOPICS: &str = r#"
[topics]
subscribe = '{"id":${next_id},"of":${topic}}'
[topics.answer]
id = "/id"
accept = { "/result" = { exists = true } }
reject = { "/error" = { exists = true } }
"#;

fn answers(more: &str, message: &str) -> (AnswerKind, Option<String>, Option<String>) {
    let mut bench = Bench::ready(&format!("{TOPICS}{more}"));
    bench.hear(message);
    let (answer, _) = bench.session.take_topics().answer.expect("it is an answer");
    assert_eq!(answer.id.as_deref(), Some("1"), "{message}");
    (answer.verdict, answer.taken, answer.key)
}

#[test]
fn an_answer_has_the_servers_id_of_a_subscription() {
    let key =
        |result: &str| answers("key_from = \"/result\"", &format!("{{\"id\":1,\"result\":{result}}}")).2;
    assert_eq!(key("\"0xcd\"").as_deref(), Some("\"0xcd\""));
    assert_eq!(key("7").as_deref(), Some("7"));
    assert_eq!(key("-1.5").as_deref(), Some("-1.5"));
    for other in ["null", "true", "{\"id\":7}", "[7]"] {
        assert_eq!(key(other), None, "{other}");
    }
    assert_eq!(key(&format!("\"{}\"", "x".repeat(254))).map(|key| key.len()), Some(256));
    assert_eq!(key(&format!("\"{}\"", "x".repeat(255))), None, "which is too long to be kept");
}

#[test]
fn an_answer_lists_what_was_taken() {
    let listed = |message: &str| answers("topic = \"/result\"", message);
    let taken = Some(r#"["a",2,"b"]"#.to_owned());
    assert_eq!(listed(r#"{"id":1,"result":["a",2,"b"]}"#), (AnswerKind::Accept, taken, None));
    assert_eq!(listed(r#"{"id":1,"result":[]}"#), (AnswerKind::Accept, Some("[]".to_owned()), None));
    assert_eq!(listed(r#"{"id":1,"result":"a"}"#), (AnswerKind::Accept, None, None));
    assert_eq!(listed(r#"{"id":1,"error":{}}"#), (AnswerKind::Reject, None, None));
}

#[test]
fn an_answer_may_have_the_id_elsewhere() {
    let mut bench = Bench::ready(&format!("{TOPICS}answer_id = \"/re\""));
    for (message, id) in [(r#"{"re":7,"id":1,"result":0}"#, Some("7")), (r#"{"id":1,"result":0}"#, None)] {
        bench.hear(message);
        let (answer, _) = bench.session.take_topics().answer.expect("it is an answer");
        assert_eq!(answer.id.as_deref(), id, "{message}");
    }
}
