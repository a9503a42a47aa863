# shellcheck shell=bash
# NATS over WebSocket: its text protocol in binary messages, of which each may hold several lines. Sourced by
# ../profiles.sh.

: "${work:?}"
read -r nats websocket < <(free_ports 2)
cat >"$work/nats.conf" <<CONF
listen: "127.0.0.1:$nats"
websocket { listen: "127.0.0.1:$websocket", no_tls: true }
authorization {
    timeout: 2
    users: [{ user: "me", password: "h-u-s-h", permissions: { subscribe: { deny: "secret.>" } } }]
}
ping_interval: "500ms"
ping_max: 2
CONF
start_nats() {
    start nats nats-server -D -V -c "$work/nats.conf"
    listening "$nats" "$websocket"
}
start_nats
# publish SUBJECT TEXT [TIMES]: without WebSocket.
publish() {
    python3 - "$nats" "$@" <<'PYTHON'
import socket, sys

port, subject, text, *times = sys.argv[1:]
data, times = text.encode(), int(times[0]) if times else 1
server = socket.create_connection(("127.0.0.1", int(port)), 10)
login = b'CONNECT {"verbose":false,"user":"me","pass":"h-u-s-h"}\r\n'
server.sendall(login + b"PUB %s %d\r\n%s\r\n" % (subject.encode(), len(data), data) * times + b"PING\r\n")
answer = b""
while b"PONG\r\n" not in answer and b"-ERR" not in answer:
    answer += server.recv(65536) or sys.exit("the server has closed")
sys.exit(b"-ERR" in answer)
PYTHON
}
server_says() { [ "$(grep -cE -- "$1" "$work/nats.log")" -gt "${2:-0}" ]; }
line_end=$'\r\n'

quick <<TOML
profile = "nats"
[upstream]
url = "ws://127.0.0.1:$websocket/"
[vars]
user = "me"
password = "\${env:NATS_PASSWORD}"
TOML

echo "== logged in"
check "check --live goes the whole way" live NATS_PASSWORD=h-u-s-h
check "and shows the login, without the password" shows "\"pass\":\"\${var:password}\""
run_wsfan NATS_PASSWORD=h-u-s-h
check "the link comes up" within 10 heard "$(link up)"
program one 'test.*'
program two 'test.*' other
check "two programs' subscriptions are told once each" within 5 server_says '\[SUB other '
check "none of them twice" equal "$(grep -cE '\[SUB test\.\* ' "$work/nats.log")" 1
check "what another program publishes comes" publish test.a "hello, wsfan"
check "to one" within 5 gets one "MSG test.a 1 12${line_end}hello, wsfan${line_end}"
check "and to the other" within 5 gets two "MSG test.a 1 12${line_end}hello, wsfan${line_end}"
check "a client of wsfan publishes" send --text "PUB other 2${line_end}hi${line_end}"
check "the server gives it to subscribers" within 5 gets two "MSG other 2 2${line_end}hi${line_end}"
check "the server's pings are answered" within 10 server_says '\[PONG\]' 5
check "100,000 messages come" publish test.flood flood 100000
flooded() { equal "$(times one "MSG test.flood")" 100000; }
check "all of them" within 30 flooded
check "with pings among them, over the one connection" connections 1
check "clients don't see them where they stand alone" fails grep -F "\"binary\":\"$(printf 'PING\r\n' | base64)\"" "$work/lines.one"
check "a subject that the user may not have is told" send --text "SUB secret.x 77${line_end}"
check "in the server's words" within 5 gets one "-ERR 'Permissions Violation for Subscription to \"secret.x\"'"
kill_off two
check "when its last program has gone, a subject is unsubscribed from" within 10 server_says '\[UNSUB 2\]'

echo "== killed"
program three 'test.*'
kill_off nats
check "the end is told" within 10 heard "$(link waiting)"
start_nats
check "the link comes up again by itself" within 10 more "$(link up)" 1
check "what is published" publish test.c again
check "comes again to one" within 5 gets one "again$line_end"
check "and to the other" within 5 gets three "again$line_end"
check "the password is never logged" never_said h-u-s-h

echo "== refused"
run_wsfan NATS_PASSWORD=wrong
check "a wrong password ends the attempts, by the server's words" within 10 heard "$(link failed).*Authorization Violation"
check "there was one attempt" equal "$(count "$(link connecting)")" 1
check "check --live fails" fails live NATS_PASSWORD=wrong
check "at the login, in the server's words" shows "Authorization Violation"
