# shellcheck shell=bash
# graphql-ws, the protocol graphql-transport-ws: a login, subscriptions, pings both ways in JSON, and close codes that
# say what is wrong. Sourced by ../servers.sh.

: "${here:?}" "${work:?}" "${modules:?}"
node_modules
read -r port < <(free_ports 1)
mkdir "$work/graphql"
touch "$work/graphql/good"
start_graphql() {
    start graphql node "$here/servers/graphql-ws.mjs" "$modules" "$port" "$work/graphql"
    listening "$port"
}
start_graphql

# graphql_config TOKEN [MORE...]: steps behind the login, rules
graphql_config() {
    config <<TOML
[upstream]
url = "ws://localhost:$port/graphql"
subprotocols = ["graphql-transport-ws"]
connect_timeout = "3s"
[vars]
token = "$1"
[[script.step]]
name = "log in"
send = '{"type":"connection_init","payload":{"token":"\${var:token}"}}'
expect = { "/type" = "connection_ack" }
${2:-}
[[reply]]
match = { "/type" = "ping" }
send = '{"type":"pong"}'
publish = false
[heartbeat]
kind = "message"
interval = "1s"
message = '{"type":"ping"}'
expect = { "/type" = "pong" }
[reconnect]
initial_delay = "50ms"
max_delay = "200ms"
TOML
}
subscribe() {
    cat <<TOML
[[script.step]]
name = "subscribe"
send = '{"id":"ticks","type":"subscribe","payload":{"query":"subscription { $1 }"}}'
expect = { "/id" = "ticks", "/type" = "next" }
reject = { "/id" = "ticks", "/type" = "error" }
on_fail = "stop"
TOML
}
rule() { printf '[[reconnect.rule]]\n%s\n' "$@"; }
tick='"json":\{"id":"ticks","type":"next","payload":\{"data":\{"tick":'
log_has() { [ "$(grep -cxF "$1" "$work/graphql.log")" -gt "$2" ]; }

echo "== logged in"
graphql_config "\${env:GRAPHQL_TOKEN}" "$(subscribe tick)"
run_wsfan GRAPHQL_TOKEN=good
check "the link comes up" within 10 heard "$(link up)"
check "the server has chosen the subprotocol" heard "$(link up).*\"subprotocol\":\"graphql-transport-ws\""
check "what is subscribed to comes" within 10 more "$tick" 5
check "the server's pings are answered" within 10 log_has "heard pong" 4
check "its answers to wsfan's pings are the heartbeat's" within 10 log_has "heard ping" 2
round_trip() { status | grep -F '"heartbeat_rtt_us":'; }
check "with a round trip that is measured" round_trip
check "clients don't see the server's pings" fails heard '"json":\{"type":"ping"'
check "a client of wsfan asks" send '{"id":"q","type":"subscribe","payload":{"query":"{ hello }"}}'
check "and gets the answer" within 5 heard '"json":\{"id":"q","type":"next".*"hello, wsfan"'
check "over the one connection" connections 1

echo "== by the profile"
# profile_config TOKEN
profile_config() {
    config <<TOML
profile = "graphql-ws"
upstream.url = "ws://localhost:$port/graphql"
[vars]
init = { token = "$1" }
subscribe = { id = "ticks", type = "subscribe", payload = { query = "subscription { tick }" } }
[heartbeat]
interval = "1s"
TOML
}
pongs=$(grep -cxF "heard pong" "$work/graphql.log")
profile_config "\${env:GRAPHQL_TOKEN}"
run_wsfan GRAPHQL_TOKEN=good
check "with wsfan's own profile, what is subscribed to comes" within 10 more "$tick" 5
check "pings are answered both ways" within 10 log_has "heard pong" "$((pongs + 4))"
check "over the one connection" connections 1
profile_config bad
run_wsfan
check "a refused token is final" within 10 heard "$(link failed).*\"code\":4403"

echo "== killed, and frozen"
graphql_config good "$(subscribe tick)"
run_wsfan
check "the link comes up" within 10 heard "$(link up)"
kill_off graphql
check "the end is told" within 10 heard "$(link waiting).*\"code\":1006"
before=$(count "$tick")
start_graphql
check "the link comes up again by itself" within 10 more "$(link up)" 1
check "and is subscribed again" within 10 more "$tick" "$((before + 5))"
freeze graphql
check "the server is frozen: the heartbeat notices" within 10 heard "$(link waiting).*heartbeat"
thaw graphql
check "it thaws: the link comes up again" within 20 more "$(link up)" 2

echo "== refused"
graphql_config bad "$(rule 'codes = [4403]
then = "stop"')"
run_wsfan
check "a token that the server refuses, by 4403, ends the attempts by its rule" within 10 \
    heard "$(link failed).*\"code\":4403,\"reason\":\"Forbidden\""
check "there was one attempt" equal "$(count "$(link connecting)")" 1
# each run prints another one, of which only the second is good
printf '#!/bin/sh\n[ ! -e "%s" ] || { echo good; exit; }\ntouch "%s"\necho old\n' "$work/asked" "$work/asked" >"$work/next-token"
chmod +x "$work/next-token"
graphql_config "\${command:token}" "$(rule 'codes = [4403]
then = "refresh"')
[command.token]
run = [\"$work/next-token\"]"
sed -i 's/^initial_delay.*/initial_delay = "20s"/; s/^max_delay.*/max_delay = "20s"/' "$work/wsfan.toml"
run_wsfan
check "with a rule that says so, a new token is tried at once" within 10 heard "$(link up)"
check "after the old one" grep -xF "login with old" "$work/graphql.log"
graphql_config good "$(subscribe nonsense)"
run_wsfan
check "a subscription that the server can't do ends the attempts, in the server's words" within 10 \
    heard "$(link failed).*subscribe.*Cannot query field"

echo "== out of order"
pause='then = "after"
delay = "1500ms"'
graphql_config good "$(rule "codes = [4401, 4408]
$pause")"
# without a login there is no token either
sed -i '/^\[vars\]$/d; /^token = /d' "$work/wsfan.toml"
sed -i 's/connection_init","payload.*$/subscribe","id":"early","payload":{"query":"{ hello }"}}'"'/" "$work/wsfan.toml"
run_wsfan
check "who asks without a login is closed with 4401" within 10 heard "$(link waiting).*\"code\":4401,\"reason\":\"Unauthorized\""
check "another attempt" within 10 more "$(link connecting)" 1
check "comes after the rule's delay" paused '"code":4401' 1500 4000
sed -i '/^send = .*early/d' "$work/wsfan.toml"
run_wsfan
check "who doesn't log in in time is closed with 4408" within 10 heard "$(link waiting).*\"code\":4408"
check "another attempt" within 10 more "$(link connecting)" 1
check "comes after the rule's delay" paused '"code":4408' 1500 4000
