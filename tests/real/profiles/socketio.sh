# shellcheck shell=bash
# socket.io: events with their names as topics, pings of its own, and a session that ends before its connection. Sourced
# by ../profiles.sh.

: "${here:?}" "${work:?}" "${cache:?}" "${day:?}"
socketio=$cache/socket.io-4.8.4
installed "socket.io 4.8.4" "$socketio" npm_packages "$day" socket.io@4.8.4
read -r port < <(free_ports 1)
start_socketio() {
    start socketio node "$here/profiles/socketio.mjs" "$socketio" "$port"
    listening "$port"
}
start_socketio
# socketio_config [MORE...]
socketio_config() {
    quick <<TOML
profile = "socketio"
[upstream]
url = "ws://127.0.0.1:$port/socket.io/?EIO=4&transport=websocket"
[vars]
auth = { token = "\${env:SOCKETIO_TOKEN}" }
${1:-}
TOML
}
socketio_config
tick='"topic":"tick","text":"42\[\\"tick\\",\{\\"n\\":'
so_far() { grep -cE -- "$2" "$work/lines.$1" || true; }
hears() { [ "$(grep -cE -- "$2" "$work/lines.$1")" -gt "${3:-0}" ]; }

echo "== logged in"
check "check --live goes the whole way" live SOCKETIO_TOKEN=good-token
check "and shows the login, without the token" shows 'sent 40'
check "nowhere" fails shows good-token
run_wsfan SOCKETIO_TOKEN=good-token
check "the link comes up" within 10 heard "$(link up)"
client one tail --since oldest --topic tick
client two tail --since oldest --topic tick
check "events come to one, with their names as topics" within 10 hears one "$tick" 30
check "and to the other" within 10 hears two "$tick" 30
check "over the one connection, three pings later" connections 1
check "clients don't see the pings" fails heard '"json":2\}'
check "a client of wsfan sends an event" send --text '421["echo","hello, wsfan"]'
check "and gets the acknowledgement" within 5 heard '"text":"431\[\\"hello, wsfan\\"\]"'
check "which those who have narrowed don't" fails hears one "hello, wsfan"
check "the token is never logged" never_said good-token

echo "== the session ends, and the server"
check "a client of wsfan leaves" send --text '42["leave"]'
check "the server's word for it is told" within 10 heard "$(link waiting).*the whole = 41"
check "and leads to a new session" within 10 more "$(link up)" 1
kill_off socketio
one=$(so_far one "$tick") two=$(so_far two "$tick")
check "the server is killed: the end is told" within 10 heard "$(link waiting).*\"code\":1006"
start_socketio
check "the link comes up again by itself" within 10 more "$(link up)" 2
check "events come again to one" within 10 hears one "$tick" "$((one + 3))"
check "and to the other" within 10 hears two "$tick" "$((two + 3))"
freeze socketio
check "the server is frozen: its silence is noticed, by what it said of its pings" within 10 \
    heard "$(link waiting).*nothing"
thaw socketio
check "it thaws: the link comes up again" within 20 more "$(link up)" 3

echo "== refused, and dropped"
run_wsfan SOCKETIO_TOKEN=bad-token
check "a wrong token ends the attempts, in the server's words" within 10 heard "$(link failed).*connect.*not authorized"
check "there was one attempt" equal "$(count "$(link connecting)")" 1
check "check --live fails" fails live SOCKETIO_TOKEN=bad-token
check "in the server's words" shows "not authorized"
socketio_config '[[reply]]
match = "nothing is this"
send = "3"'
run_wsfan SOCKETIO_TOKEN=good-token
check "pings without an answer: the server drops the connection" within 10 \
    grep -F "disconnected: ping timeout" "$work/socketio.log"
check "without a code, which is told" within 10 heard "$(link waiting).*\"code\":100[56]"
check "the link comes up anew" within 10 more "$(link up)" 1
