# shellcheck shell=bash
# socket.io, over WebSocket alone: engine.io's version 4, a digit before each message. `2`, `3` and `41` are JSON as
# well, so that a pattern can mean the whole of the message. Sourced by ../servers.sh.

: "${here:?}" "${work:?}" "${modules:?}"
node_modules
read -r port < <(free_ports 1)
start_socketio() {
    start socketio node "$here/servers/socket.io.mjs" "$modules" "$port"
    listening "$port"
}
start_socketio

# socketio_config [REPLY...]: what else is to be in it
socketio_config() {
    config <<TOML
[upstream]
url = "ws://localhost:$port/socket.io/?EIO=4&transport=websocket"
connect_timeout = "3s"
[vars]
token = "\${env:SOCKETIO_TOKEN}"
[[script.step]]
name = "open"
expect = '0{"sid":"'
[[script.step]]
name = "connect"
send = '40{"token":"\${var:token}"}'
expect = '40{"sid":"'
reject = '44{"message":"'
on_fail = "stop"
${1:-}
# the server's pings are the sign of life
[heartbeat]
kind = "off"
idle_timeout = "2s"
[reconnect]
initial_delay = "50ms"
max_delay = "200ms"
# the server has ended the session, and leaves the connection
[[reconnect.rule]]
match = { "" = 41 }
then = "retry"
TOML
}
reply='[[reply]]
match = { "" = 2 }
send = "3"
publish = false'
tick='"text":"42\[\\"tick\\",\{\\"n\\":'

echo "== logged in"
socketio_config "$reply"
run_wsfan SOCKETIO_TOKEN=good-token
check "the link comes up" within 10 heard "$(link up)"
check "the server's hello is a line" heard '"text":"0\{\\"sid\\":'
check "events come" within 10 more "$tick" 30
check "over the one connection, three pings later" connections 1
check "clients don't see the pings" fails heard '"json":2\}'
check "a client of wsfan sends an event" send --text '421["echo","hello, wsfan"]'
check "and gets the acknowledgement" within 5 heard '"text":"431\[\\"hello, wsfan\\"\]"'
check "the token is never logged" never_said good-token

echo "== the session ends, and the server"
check "a client of wsfan leaves" send --text '42["leave"]'
check "the server's word for it is told" within 10 heard "$(link waiting).*the whole = 41"
check "and leads to a new session" within 10 more "$(link up)" 1
kill_off socketio
check "the server is killed: the end is told" within 10 heard "$(link waiting).*\"code\":1006"
start_socketio
check "the link comes up again by itself" within 10 more "$(link up)" 2
freeze socketio
check "the server is frozen: its silence is noticed" within 10 heard "$(link waiting).*nothing"
thaw socketio
check "it thaws: the link comes up again" within 20 more "$(link up)" 3

echo "== refused, and dropped"
socketio_config "$reply"
run_wsfan SOCKETIO_TOKEN=bad
check "a token that the server refuses ends the attempts, in the server's words" within 10 \
    heard "$(link failed).*not authorized"
check "there was one attempt" equal "$(count "$(link connecting)")" 1
socketio_config
run_wsfan SOCKETIO_TOKEN=good-token
check "pings without an answer: the server drops the connection" within 10 \
    grep -F "disconnected: ping timeout" "$work/socketio.log"
check "without a code, which is told" within 10 heard "$(link waiting).*\"code\":100[56]"
check "the link comes up anew" within 10 more "$(link up)" 1
