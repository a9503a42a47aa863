//! Rules of a listener, which give some users and groups other rights.

use super::*;

/// What a stranger may do by the groups that it is in: two of them are numbers that no group here has.
const RULES: &str = r#"
[[listener]]
path = "SOCKET"
mode = "0666"
rights = ["receive"]
[[listener.rule]]
groups = ["70001", "70002"]
rights = ["receive", "send", "control"]
ops = ["send", "attach", "status", "reload"]
send_when = { "/type" = ["get", "sub"] }
max_message = 64
rate = "4/1h"
[[listener.rule]]
users = ["nobody"]
groups = ["70003"]
rights = ["receive", "send"]
"#;

#[test]
fn rules_give_some_users_and_groups_other_rights() {
    if !is_root("that rules are for users and groups") {
        return;
    }
    let mut house = House::new(RULES);
    let socket = house.socket("");
    // more supplementary groups than are asked for at first
    let many: Vec<u32> = (80_000..80_200).chain([70_002]).collect();
    let mut operator = Client::on(connect_in(&socket, &many).unwrap());
    assert_eq!(operator.line()["type"], "hello");
    let good = json!({"op": "send", "json": {"type": "get"}});
    assert_eq!(operator.request(good.clone())["result"], "written");
    assert_eq!(house.upstream.message().into_text().unwrap(), r#"{"type":"get"}"#);
    assert_forbidden(&operator.request(json!({"op": "close"})), "close");
    assert_forbidden(&operator.request(json!({"op": "ping"})), "ping");
    for refused in [
        json!({"op": "send", "json": {"type": "set"}}),
        json!({"op": "send", "text": "get"}),
        json!({"op": "send", "messages": [{"json": {"type": "get"}}, {"json": {"type": "set"}}]}),
    ] {
        let answer = operator.request(refused);
        assert_eq!(answer["message"], "this listener lets you send other messages only (send_when)");
        assert_eq!(answer["code"], "forbidden");
    }
    operator.write(b"{\"op\":\"send\",\"id\":\"twice\",\"json\":{\"type\":\"set\",\"type\":\"get\"}}\n");
    let twice = operator.until(|line| line["id"] == "twice");
    assert!(twice["message"].as_str().unwrap().starts_with("a key stands twice"), "{twice}");
    let long = operator.request(json!({"op": "send", "json": {"type": "get", "x": "x".repeat(64)}}));
    assert_eq!(long["code"], "too_large", "{long}");
    assert_eq!(
        long["message"],
        "the message is over the 64 bytes that this listener lets you send (max_message)"
    );
    // a unit counts whole, and over all connections of the user
    let unit =
        |count: usize| json!({"op": "send", "messages": vec![json!({"json": {"type": "sub"}}); count]});
    assert_eq!(operator.request(unit(4))["code"], "rate_limited");
    assert_eq!(operator.request(unit(2))["result"], "written");
    let mut second = Client::on(connect_in(&socket, &[70_001]).unwrap());
    assert_eq!(second.request(good.clone())["result"], "written");
    let refused = second.request(good.clone());
    assert_eq!(refused["message"], "this listener lets you send 4/1h messages (rate): send again later");
    assert_eq!(refused["code"], "rate_limited");
    for _ in 0..3 {
        house.upstream.message();
    }
    house.assert_nothing_was_done();
    // by name, and with what the rule doesn't say as the listener says
    let mut nobody = house.stranger("");
    assert_eq!(nobody.request(json!({"op": "send", "text": "anything"}))["result"], "written");
    assert_eq!(house.upstream.message().into_text().unwrap(), "anything");
    assert_forbidden(&nobody.request(json!({"op": "reload"})), "control");
    let log = house.daemon.logged("refused what a client asked for");
    let line = log.lines().find(|line| line.contains("refused what a client asked for")).expect("it is said");
    assert!(line.contains("uid=65534") && line.contains("op=\"close\""), "{line}");
}

#[test]
fn a_reload_changes_what_a_rule_gives_those_who_are_there() {
    if !is_root("that rules change with a reload") {
        return;
    }
    let house = House::new(RULES);
    let mut client = Client::on(connect_in(&house.socket(""), &[70_001]).unwrap());
    let set = json!({"op": "send", "json": {"type": "set"}});
    assert_eq!(client.request(set.clone())["code"], "forbidden");
    let reload = |from: &str, to: &str| {
        let rules = RULES.replace(from, to);
        assert_ne!(rules, RULES);
        house.daemon.rewrite(&(house.server.config() + &rules));
        house.daemon.client().request(json!({"op": "reload"}))
    };
    let applied = reload(r#"["get", "sub"]"#, r#"["set"]"#);
    assert_eq!(applied["result"], "applied", "{applied}");
    assert!(applied["live"][0].as_str().unwrap().starts_with("[[listener.rule]] of "), "{applied}");
    assert_eq!(client.request(set.clone())["result"], "written");
    assert_eq!(reload("70001", "70009")["result"], "applied");
    assert_eq!(client.request(set.clone())["result"], "written", "now the user's rule is for it");
    let gone = reload("groups = [\"70001\", \"70002\"]", "groups = [\"no-such-group\"]");
    assert_eq!(gone["result"], "partly", "{gone}");
    assert!(gone["error"].as_str().unwrap().contains("no group \"no-such-group\""), "{gone}");
    assert_eq!(client.request(set)["result"], "written", "that part stays as it was");
    let applied = reload(
        "[[listener.rule]]\nusers = [\"nobody\"]\ngroups = [\"70003\"]\nrights = [\"receive\", \"send\"]",
        "[[listener.rule]]\nusers = [\"nobody\"]\nrights = [\"send\"]",
    );
    assert_eq!(applied["result"], "applied", "{applied}");
    let mut nobody = house.stranger("");
    assert_forbidden(&nobody.request(json!({"op": "attach"})), "receive");
    drop(nobody);
    reload("70001", "70009");
    // it is nobody's any more but the user's
    let applied = reload(
        "groups = [\"70001\", \"70002\"]\nrights = [\"receive\", \"send\", \"control\"]",
        "groups = [\"70001\"]\nrights = [\"send\"]",
    );
    assert_eq!(applied["result"], "applied", "{applied}");
    assert_eq!(client.rest().pop().unwrap()["why"], "reconfigured", "who may not receive is told, and goes");
}
