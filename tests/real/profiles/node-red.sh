# shellcheck shell=bash
# Node-RED: what its editor hears comes in lists, behind a login; and a flow that opens a WebSocket itself. Sourced by
# ../profiles.sh.

: "${here:?}" "${work:?}" "${cache:?}" "${day:?}"
node_red=$cache/node-red-4.1.15
installed "Node-RED 4.1.15" "$node_red" npm_packages "$day" node-red@4.1.15
read -r port < <(free_ports 1)
mkdir "$work/node-red"
# A token that its own function knows, and one that anybody has who logs in by a password.
cat >"$work/node-red/settings.js" <<JS
module.exports = {
  uiHost: "127.0.0.1",
  uiPort: $port,
  flowFile: "flows.json",
  credentialSecret: false,
  webSocketKeepAliveTime: 500,
  telemetry: { enabled: false, updateNotification: false },
  adminAuth: {
    type: "credentials",
    users: (name) => Promise.resolve(name === "me" ? { username: "me", permissions: "*" } : null),
    authenticate: (name, password) =>
      Promise.resolve(name === "me" && password === "p-w" ? { username: "me", permissions: "*" } : null),
    tokens: (token) => Promise.resolve(token === "good-token" ? { username: "me", permissions: "*" } : null),
    sessionExpiryTime: 2,
  },
};
JS
# Each 200 ms a debug message with the state of its node, and what the flow says on its own WebSocket.
cat >"$work/node-red/flows.json" <<'JSON'
[
  { "id": "f000000000000001", "type": "tab", "label": "ticks" },
  { "id": "a000000000000001", "type": "inject", "z": "f000000000000001", "repeat": "0.2", "once": true,
    "onceDelay": 0.1, "props": [{ "p": "payload" }], "payload": "", "payloadType": "date",
    "wires": [["a000000000000002", "a000000000000003"]] },
  { "id": "a000000000000002", "type": "debug", "z": "f000000000000001", "active": true, "tosidebar": true,
    "tostatus": true, "statusType": "auto", "complete": "payload", "targetType": "msg", "wires": [] },
  { "id": "a000000000000003", "type": "websocket out", "z": "f000000000000001", "server": "a000000000000004" },
  { "id": "a000000000000004", "type": "websocket-listener", "path": "/ticks", "wholemsg": "false" }
]
JSON
start_node_red() {
    start node-red node "$node_red/node_modules/node-red/red.js" --userDir "$work/node-red" \
        --settings "$work/node-red/settings.js"
    within 60 listens "$port" || die "Node-RED doesn't listen on port $port"
}
start_node_red
node_red_config() {
    quick <<TOML
profile = "node-red"
[upstream]
url = "ws://127.0.0.1:$port/comms"
[vars]
token = "$1"
${2:-}
TOML
}
debug='"topic":"debug","json":\{"topic":"debug","data":\{"id":"a000000000000002"'
state='"topic":"status/a000000000000002","json":\{"topic":"status/a000000000000002","data":\{"text":'
hears() { [ "$(grep -cE -- "$2" "$work/lines.$1")" -gt "${3:-0}" ]; }
so_far() { grep -cE -- "$2" "$work/lines.$1" || true; }

echo "== logged in"
node_red_config "\${env:NODE_RED_TOKEN}"
check "check --live goes the whole way" live NODE_RED_TOKEN=good-token
check "and shows the login, without the token" shows "sent {\"auth\":\"\${var:token}\"}"
run_wsfan NODE_RED_TOKEN=good-token
check "the link comes up" within 10 heard "$(link up)"
client debug tail --since oldest --topic debug
client states tail --topic 'status/*' --snapshot
check "what came in lists is a message each, with its topic" within 10 more "$debug" 5
check "one program has the debug messages" within 10 hears debug "$debug"
check "and no others" fails hears debug '"topic":"status/'
check "another has the nodes' states, the last ones first" within 10 hears states "$state"
check "and no others" fails hears states '"topic":"debug"'
check "its heartbeats to its editor, twice a second, don't" fails heard '"topic":"hb"'
check "what the runtime remembers comes, too" heard '"topic":"notification/runtime-state"'
check "over the one connection" connections 1

echo "== killed"
kill_off node-red
check "the end is told" within 10 heard "$(link waiting)"
before=$(count "$debug") states=$(so_far states "$state")
start_node_red
check "the link comes up again by itself" within 20 more "$(link up)" 1
check "what is heard comes again to one" within 10 more "$debug" "$((before + 5))"
check "and to the other" within 10 hears states "$state" "$((states + 5))"
check "the token is never logged" never_said good-token

echo "== refused"
run_wsfan NODE_RED_TOKEN=bad-token
check "a wrong token ends the attempts, in the server's words" within 10 heard "$(link failed).*log in.*fail"
check "there was one attempt" equal "$(count "$(link connecting)")" 1
check "check --live fails" fails live NODE_RED_TOKEN=bad-token
check "at the login, and says what to look at" shows "fails at step \"log in\""
node_red_config ""
run_wsfan
check "no token, where one is wanted, ends them as well" within 10 heard "$(link failed).*notices.*fail"

echo "== a token that expires"
# what a command gets for a password lasts for two seconds, and Node-RED looks at it five seconds later
cat >"$work/node-red-token" <<PYTHON
#!$(command -v python3)
import json, sys, urllib.parse, urllib.request

form = {"client_id": "node-red-admin", "grant_type": "password", "scope": "*", "username": "me"}
form["password"] = sys.stdin.read()
body = urllib.parse.urlencode(form).encode()
with urllib.request.urlopen("http://127.0.0.1:$port/auth/token", body, timeout=5) as answer:
    print(json.load(answer)["access_token"])
PYTHON
chmod +x "$work/node-red-token"
node_red_config "\${command:token}" "[command.token]
run = [\"$work/node-red-token\"]
stdin = \"\${env:NODE_RED_PASSWORD}\""
run_wsfan NODE_RED_PASSWORD=p-w
check "a command's token is taken" within 10 heard "$(link up)"
check "its end is told in the server's words" within 15 heard "$(link waiting).*fail"
check "and another one is fetched for the next connection" within 10 more "$(link up)" 1

echo "== a flow's own WebSocket"
quick <<TOML
upstream.url = "ws://127.0.0.1:$port/ticks"
TOML
check "check --live goes the whole way" live
run_wsfan
check "what the flow says comes" within 10 more '"json":[0-9]{13}\}' 3
