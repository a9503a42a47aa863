# shellcheck shell=bash
# NATS over WebSocket: its text protocol in binary messages. wsfan looks at these too, since they are UTF-8, and the
# server takes text messages as well. One message may hold several lines of the protocol. Sourced by ../servers.sh.

: "${work:?}"
read -r nats websocket < <(free_ports 2)
cat >"$work/nats.conf" <<CONF
listen: "127.0.0.1:$nats"
websocket { listen: "127.0.0.1:$websocket", no_tls: true }
authorization { user: "me", password: "p-w", timeout: 2 }
ping_interval: "500ms"
ping_max: 2
CONF
start_nats() {
    start nats nats-server -D -V -c "$work/nats.conf"
    listening "$nats" "$websocket"
}
start_nats

# nats_config [REPLY...]: what else is to be in it
nats_config() {
    config <<TOML
[upstream]
url = "ws://127.0.0.1:$websocket/"
connect_timeout = "3s"
[vars]
user = "me"
password = "\${env:NATS_PASSWORD}"
[[script.step]]
name = "greeting"
expect = "INFO {"
[[script.step]]
name = "log in"
send = "CONNECT {\"verbose\":false,\"pedantic\":false,\"user\":\"\${var:user}\",\"pass\":\"\${var:password}\",\"lang\":\"any\",\"version\":\"1\"}\r\nPING\r\n"
expect = "PONG\r\n"
reject = [
    { match = "-ERR 'Authorization Violation'", then = "stop" },
    "-ERR '",
]
[[script.step]]
name = "subscribe"
send = "SUB test.> 1\r\n"
${1:-}
# the server's pings are the sign of life
[heartbeat]
kind = "off"
idle_timeout = "2s"
[reconnect]
initial_delay = "50ms"
max_delay = "200ms"
TOML
}
reply='[[reply]]
match = "PING\r\n"
send = "PONG\r\n"
publish = false'
# Publishes without WebSocket: text on stdin, the subject as the argument.
publish() {
    python3 - "$nats" "$1" "$2" <<'PYTHON'
import socket, sys

port, subject, text = sys.argv[1:]
data = text.encode()
server = socket.create_connection(("127.0.0.1", int(port)), 10)
login = b'CONNECT {"verbose":false,"user":"me","pass":"p-w"}\r\n'
server.sendall(login + b"PUB %s %d\r\n%s\r\nPING\r\n" % (subject.encode(), len(data), data))
answer = b""
while b"PONG\r\n" not in answer and b"-ERR" not in answer:
    answer += server.recv(65536) or sys.exit("the server has closed")
sys.exit(b"-ERR" in answer)
PYTHON
}
# received TEXT: a client of wsfan has a message with this in it, whatever else came in the same frame.
received() {
    python3 - "$work/lines" "$1" <<'PYTHON'
import base64, json, sys

lines = [json.loads(line) for line in open(sys.argv[1]) if line.endswith("\n")]
texts = [base64.b64decode(line["binary"]).decode() for line in lines if "binary" in line]
sys.exit(not any(sys.argv[2] in text for text in texts))
PYTHON
}
line_end=$'\r\n'

echo "== logged in"
nats_config "$reply"
run_wsfan NATS_PASSWORD=p-w
check "the link comes up" within 10 heard "$(link up)"
check "INFO is a binary line" received 'INFO {"server_id"'
check "what another program publishes comes" publish test.a "hello, wsfan"
check "as MSG" within 5 received "MSG test.a 1 12${line_end}hello, wsfan${line_end}"
check "a client of wsfan publishes" send --text "PUB test.b 2${line_end}hi${line_end}"
check "the server gives it to subscribers" within 5 received "MSG test.b 1 2${line_end}hi${line_end}"
pongs() { [ "$(grep -cE "\\[PONG\\]" "$work/nats.log")" -gt "$1" ]; }
check "the server's pings are answered" within 10 pongs 5
check "over the one connection" connections 1
check "clients don't see them" fails received "PING$line_end"
check "the password is never logged" never_said p-w

echo "== killed, and frozen"
kill_off nats
check "the end is told" within 10 heard "$(link waiting)"
start_nats
check "the link comes up again by itself" within 10 more "$(link up)" 1
check "what is published" publish test.c again
check "comes again" within 5 received "again$line_end"
freeze nats
check "the server is frozen: its silence is noticed" within 10 heard "$(link waiting).*nothing"
thaw nats
check "it thaws: the link comes up again" within 20 more "$(link up)" 2

echo "== refused"
nats_config "$reply"
run_wsfan NATS_PASSWORD=wrong
check "a wrong password ends the attempts, by the server's words" within 10 heard "$(link failed).*Authorization Violation"
check "there was one attempt" equal "$(count "$(link connecting)")" 1
nats_config
run_wsfan NATS_PASSWORD=p-w
check "pings without an answer: the server says that the connection is stale" within 10 received "-ERR 'Stale Connection'"
check "the link comes up anew" within 10 more "$(link up)" 1
