//! Servers that speak JSON-RPC 2.0: an Ethereum node, and Kodi.
//!
//! Rules: <https://www.jsonrpc.org/specification> (Request, Response, Error object);
//! <https://geth.ethereum.org/docs/interacting-with-geth/rpc/pubsub> (Create and Cancel subscriptions: an id of the
//! node's, good on its connection); <https://kodi.wiki/view/JSON-RPC_API> (notifications, without an id).

use std::{cell::Cell, collections::BTreeMap, rc::Rc};

use serde_json::{Value, json};

use super::stage::{Guest, Heard, Order, Peer, Stage};

/// Opens the servers: the node at `/`, Kodi at `/jsonrpc`, and at `/secret` a node that wants `Authorization: Bearer
/// good`. On a node, `Order::Say("KIND JSON")` is news of that kind, for each subscription to it; on Kodi the whole of it
/// is said.
/// Events: `subscribe KIND`, `unsubscribe KIND`, `lost KIND` (the subscription's connection has ended).
pub fn open() -> Stage {
    Stage::open(Cell::new(0_u64), visit)
}

async fn visit(subscriptions: Rc<Cell<u64>>, guest: Guest) {
    let is_kodi = guest.path == "/jsonrpc";
    match guest.path.as_str() {
        "/" | "/jsonrpc" => {}
        "/secret" if guest.header("authorization") == Some("Bearer good") => {}
        "/secret" => {
            guest.violation("a wrong token");
            return guest.answer(401, "", "").await;
        }
        _ => return guest.answer(404, "", "").await,
    }
    let peer = guest.upgrade(None).await;
    Session { peer, is_kodi, given: subscriptions, subscriptions: BTreeMap::new() }.run().await;
}

struct Session {
    peer: Peer,
    is_kodi: bool,
    /// How many ids were given, over all connections.
    given: Rc<Cell<u64>>,
    /// Their kinds, by their ids.
    subscriptions: BTreeMap<String, String>,
}

/// A code and a message.
type Error = (i64, String);

impl Session {
    async fn run(&mut self) {
        loop {
            match self.peer.hear(None).await {
                Heard::Close(_) | Heard::Gone => return,
                Heard::Text(text) => {
                    let request: Value = serde_json::from_str(&text).unwrap_or_default();
                    // Notification: what has no id has no answer
                    if let Some(answer) = self.answered(&request) {
                        self.peer.say(answer).await;
                    }
                }
                Heard::Binary(_) => self.peer.violation("a binary message"),
                Heard::Ping => self.peer.event("ping"),
                Heard::Pong | Heard::Late => {}
                Heard::Order(Order::Say(text)) if !self.is_kodi => {
                    let (kind, result) = text.split_once(' ').expect("KIND JSON");
                    for (id, _) in self.subscriptions.iter().filter(|(_, its)| *its == kind) {
                        let params = format!(r#"{{"subscription":"{id}","result":{result}}}"#);
                        self.peer
                            .say(format!(
                                r#"{{"jsonrpc":"2.0","method":"eth_subscription","params":{params}}}"#
                            ))
                            .await;
                    }
                }
                Heard::Order(order) => {
                    if !self.peer.obey(order).await {
                        return;
                    }
                }
            }
        }
    }

    fn answered(&mut self, request: &Value) -> Option<Value> {
        let result = match request["jsonrpc"] == "2.0" && request["method"].is_string() {
            true => self.answer(request),
            false => Err((-32600, "Invalid Request".to_owned())),
        };
        let id = request.get("id")?;
        Some(match result {
            Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
            Err((code, message)) => {
                self.peer.violation(format!("{code} {message}: {request}"));
                json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
            }
        })
    }

    fn answer(&mut self, request: &Value) -> Result<Value, Error> {
        let method = request["method"].as_str().unwrap_or("");
        let params = request["params"].as_array().cloned().unwrap_or_default();
        match (method, self.is_kodi) {
            ("JSONRPC.Ping", true) => Ok("pong".into()),
            ("eth_blockNumber", false) => Ok("0x4b7".into()),
            ("eth_subscribe", false) => {
                let kind = params.first().and_then(Value::as_str).unwrap_or("");
                let most = match kind {
                    "newHeads" => 1,
                    "newPendingTransactions" | "logs" => 2,
                    _ => return Err((-32602, format!("no {kind:?} subscription in eth namespace"))),
                };
                if params.len() > most {
                    return Err((-32602, format!("too many arguments, want at most {most}")));
                }
                self.given.set(self.given.get() + 1);
                let id = format!("{:#x}", self.given.get());
                self.subscriptions.insert(id.clone(), kind.to_owned());
                self.peer.event(format!("subscribe {kind}"));
                Ok(id.into())
            }
            ("eth_unsubscribe", false) => {
                let id = params.first().and_then(Value::as_str).unwrap_or("");
                let Some(kind) = self.subscriptions.remove(id) else {
                    return Err((-32000, "subscription not found".to_owned()));
                };
                self.peer.event(format!("unsubscribe {kind}"));
                Ok(true.into())
            }
            _ => Err((-32601, format!("the method {method} does not exist/is not available"))),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.subscriptions.values().for_each(|kind| self.peer.event(format!("lost {kind}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulators::visitor::Visitor;

    fn ask(visitor: &mut Visitor, method: &str, params: Value) -> Value {
        visitor.say(json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}));
        visitor.until(|message| message["id"] == 7)
    }

    #[test]
    fn a_subscription_has_an_id_that_is_good_on_its_connection() {
        let stage = open();
        let mut visitor = Visitor::enter(&stage, "/");
        assert_eq!(ask(&mut visitor, "eth_subscribe", json!(["newHeads"]))["result"], "0x1");
        stage.order(Order::Say(r#"newHeads {"number":"0x1"}"#.into()));
        assert_eq!(visitor.json()["params"], json!({"subscription": "0x1", "result": {"number": "0x1"}}));
        assert_eq!(ask(&mut visitor, "eth_unsubscribe", json!(["0x1"]))["result"], true);
        assert_eq!(ask(&mut visitor, "eth_unsubscribe", json!(["0x1"]))["error"]["code"], -32000);
        assert_eq!(
            ask(&mut Visitor::enter(&stage, "/"), "eth_subscribe", json!(["logs", {}]))["result"],
            "0x2"
        );
    }

    #[test]
    fn what_is_wrong_has_its_code() {
        for (path, method, params, code) in [
            ("/", "eth_subscribe", json!(["nothing"]), -32602),
            ("/", "eth_subscribe", json!(["newHeads", {}]), -32602),
            ("/", "eth_fly", json!([]), -32601),
            ("/jsonrpc", "eth_subscribe", json!(["newHeads"]), -32601),
        ] {
            let stage = open();
            assert_eq!(ask(&mut Visitor::enter(&stage, path), method, params)["error"]["code"], code);
            assert_eq!(stage.violations().len(), 1);
        }
        let stage = open();
        let mut visitor = Visitor::enter(&stage, "/");
        visitor.say(r#"{"id":1,"method":"eth_blockNumber"}"#);
        assert_eq!(visitor.json()["error"]["code"], -32600);
        assert_eq!(Visitor::try_enter(&stage, "/secret", &[]).err(), Some(401));
        let good = ("authorization", "Bearer good");
        assert!(Visitor::try_enter(&stage, "/secret", &[good]).is_ok());
    }

    #[test]
    fn a_notification_has_no_answer() {
        let stage = open();
        let mut visitor = Visitor::enter(&stage, "/jsonrpc");
        visitor.say(r#"{"jsonrpc":"2.0","method":"JSONRPC.Ping"}"#);
        assert_eq!(ask(&mut visitor, "JSONRPC.Ping", json!([]))["result"], "pong");
        stage.assert_no_violations();
    }
}
