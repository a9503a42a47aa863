# shellcheck shell=bash
# RabbitMQ's Web STOMP: frames of text that end in a NUL, and line ends as heartbeats. Sourced by ../profiles.sh.

: "${work:?}" "${binary:?}" "${socket:?}"
read -r amqp dist epmd stomp websocket < <(free_ports 5)
rabbit=$work/rabbit
mkdir "$rabbit"
echo '[rabbitmq_web_stomp].' >"$rabbit/plugins"
cat >"$rabbit/rabbitmq.conf" <<CONF
listeners.tcp.1 = 127.0.0.1:$amqp
stomp.listeners.tcp.1 = 127.0.0.1:$stomp
web_stomp.tcp.ip = 127.0.0.1
web_stomp.tcp.port = $websocket
log.console = true
log.console.level = info
CONF
# Erlang has a daemon of its own that tells names, which outlives what starts it; this one ends with the test.
export ERL_EPMD_PORT=$epmd ERL_EPMD_ADDRESS=127.0.0.1
start epmd epmd -port "$epmd" -address 127.0.0.1
listening "$epmd"
start_rabbit() {
    # not Debian's script, which changes the user; with input allowed, of which there is none, its own becomes the server
    start rabbit env HOME="$rabbit" RABBITMQ_ALLOW_INPUT=1 RABBITMQ_NODENAME="wsfan-test@localhost" \
        RABBITMQ_BASE="$rabbit" RABBITMQ_MNESIA_BASE="$rabbit/mnesia" RABBITMQ_LOG_BASE="$rabbit/log" RABBITMQ_LOGS=- \
        RABBITMQ_CONFIG_FILE="$rabbit/rabbitmq.conf" RABBITMQ_ENABLED_PLUGINS_FILE="$rabbit/plugins" \
        RABBITMQ_CONF_ENV_FILE="$rabbit/none" RABBITMQ_DIST_PORT="$dist" RABBITMQ_PID_FILE="$rabbit/pid" \
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-noinput -kernel inet_dist_use_interface {127,0,0,1}" \
        /usr/lib/rabbitmq/bin/rabbitmq-server
    within 120 listens "$websocket" || die "RabbitMQ doesn't listen on port $websocket"
}
start_rabbit
# publish TEXT: to /topic/test.a, by STOMP without WebSocket.
publish() {
    python3 - "$stomp" "$1" <<'PYTHON'
import socket, sys

server = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10)
server.sendall(b"CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\n\n\0")
server.sendall(b"SEND\ndestination:/topic/test.a\nreceipt:1\n\n" + sys.argv[2].encode() + b"\0")
answer = b""
while b"RECEIPT\n" not in answer:
    answer += server.recv(65536) or sys.exit("the server has closed")
PYTHON
}

quick <<TOML
profile = "stomp"
[upstream]
url = "ws://127.0.0.1:$websocket/ws"
[vars]
user = "guest"
password = "\${env:STOMP_PASSWORD}"
heartbeat = "1000,1000"
[heartbeat]
interval = "1s"
TOML

echo "== logged in"
check "check --live goes the whole way" live STOMP_PASSWORD=guest
check "and shows the login, without the password" shows "passcode:\${var:password}"
run_wsfan STOMP_PASSWORD=guest
check "the link comes up" within 20 heard "$(link up)"
program one /topic/test.a
program two /topic/test.a /topic/test.b
check "a message comes" publish hello
check "to one program" within 5 gets one $'\n\nhello\0'
check "and to the other" within 5 gets two $'\n\nhello\0'
check "by its topic" heard '"topic":"/topic/test.a".*hello'
printf 'SEND\ndestination:/topic/test.b\n\nhi\0' >"$work/frame"
check "a client of wsfan publishes" send_file "$work/frame" --text
check "to who has subscribed" within 5 gets two $'\n\nhi\0'
since=$SECONDS
idle() { [ $((SECONDS - since)) -ge 9 ]; }
check "nothing is said for longer than both sides stand without a line's end" within 12 idle
check "no client sees these" fails heard '"text":"\\n"'
check "over the one connection" connections 1

check "a destination that the server doesn't know is refused" fails "$binary" subscribe --socket "$socket" -m 1 /nowhere/x
check "in its words, which programs get" within 5 gets one "Unknown destination"
check "a message comes after that" publish after
check "to one program" within 5 gets one after
check "and to the other" within 5 gets two after

echo "== killed"
kill_off rabbit
check "the end is told" within 10 heard "$(link waiting)"
start_rabbit
check "the link comes up again by itself, which doesn't ask for that destination" within 20 more "$(link up)" 1
check "a message comes again" publish again
check "to one program" within 5 gets one "again"
check "and to the other" within 5 gets two "again"

echo "== frozen"
ups=$(count "$(link up)")
freeze rabbit
check "its silence is noticed, by how often it said that it speaks" within 20 heard "$(link waiting).*nothing came in for 7s"
thaw rabbit
check "it thaws: the link comes up again" within 20 more "$(link up)" "$ups"

echo "== refused"
run_wsfan STOMP_PASSWORD=wrong
check "a wrong password ends the attempts, in the server's words" within 10 heard "$(link failed).*CONNECT.*Bad CONNECT"
check "there was one attempt" equal "$(count "$(link connecting)")" 1
check "check --live fails" fails live STOMP_PASSWORD=wrong
check "in the same words" shows "Bad CONNECT"
