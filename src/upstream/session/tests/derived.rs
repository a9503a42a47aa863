//! What is made of other values, and those that are one for a whole message or connection.

use super::*;

/// The text of the only message that is sent.
fn said(effects: &[Effect]) -> String {
    let sent = effects.iter().filter_map(|effect| match effect {
        Effect::Send(draft, _) => Some(draft.clone().preview(0)),
        _ => None,
    });
    let sent: Vec<_> = sent.collect();
    let [Payload::Text(text)] = &sent[..] else { panic!("not one text: {effects:?}") };
    text.clone()
}

/// The example of the protocol's own document (obs-websocket 5, "Creating an authentication string").
#[test]
fn a_challenge_is_answered_with_hashes_of_hashes() {
    let (mut bench, _) = Bench::started(
        r#"
[derived.answer]
of = "${derived:secret}${capture:challenge}"
hash = "sha256"
as = "base64"
[derived.secret]
of = "supersecretpassword${capture:salt}"
hash = "sha256"
as = "base64"
[[script.step]]
expect = { "/op" = 0 }
capture = { challenge = "/d/authentication/challenge", salt = "/d/authentication/salt" }
[[script.step]]
send = '{"op":1,"d":{"authentication":"${derived:answer}"}}'
"#,
    );
    let hello = r#"{"op":0,"d":{"authentication":{"challenge":"+IxH4CnCiqpX1rM9scsNynZzbOe4KhDeYcTNS3PDaeY=","salt":"lM1GncleQOaCu9lT1yeUZhFYnqhsLLP1G5lAGo3ixaI="}}}"#;
    let answer = said(&bench.hears(hello));
    assert_eq!(answer, r#"{"op":1,"d":{"authentication":"1Ct943GAT+6YQUUX47Ia/ncufilbe6+oD6lY+5kaCu4="}}"#);
}

#[test]
fn what_is_signed_is_what_is_sent() {
    let mut bench = Bench::ready(
        "[derived.echo]\nof = \"${now_ms+5000} ${uuid}\"\n\
         [[reply]]\nmatch = \"?\"\nsend = '{\"at\":${now_ms+5000},\"id\":\"${uuid}\",\"echo\":\"${derived:echo}\"}'",
    );
    let mut says = || serde_json::from_str::<serde_json::Value>(&said(&bench.hears("?"))).unwrap();
    let (one, other) = (says(), says());
    for said in [&one, &other] {
        let echo = format!("{} {}", said["at"], said["id"].as_str().unwrap());
        assert_eq!(said["echo"], echo);
    }
    assert_ne!(one["id"], other["id"], "the next message has another");
}

#[test]
fn a_connection_has_an_id_of_its_own() {
    let text = "[[reply]]\nmatch = \"?\"\nsend = \"${connection_id}\"";
    let mut bench = Bench::ready(text);
    let id = said(&bench.hears("?"));
    assert_eq!((id.len(), &said(&bench.hears("?"))), (36, &id));
    let (mut random, mut memory) = (fastrand::Rng::with_seed(8), Memory::default());
    let mut next = Session::new(Rc::clone(&bench.rules), secrets(), bench.now, bench.now);
    let mut context = Context { now: bench.now, now_ms: 0, random: &mut random, memory: &mut memory };
    next.start(&mut context);
    while next.poll_effect().is_some() {}
    next.heard(&mut context, Data::Text("?"));
    assert_ne!(said(&[next.poll_effect().unwrap()]), id);
}
