# shellcheck shell=bash
# Prosody, by RFC 7395: XMPP's stanzas, each a message of text. Sourced by ../profiles.sh.

: "${work:?}"
read -r port c2s < <(free_ports 2)
data=$work/prosody
mkdir -p "$data/data/localhost/accounts"
for user in me you; do
    echo 'return { ["password"] = "h-u-s-h" };' >"$data/data/localhost/accounts/$user.dat"
done
cat >"$data/prosody.cfg.lua" <<LUA
pidfile = "$data/pid"
data_path = "$data/data"
run_as_root = true
modules_enabled = { "roster", "saslauth", "disco", "ping", "websocket", "presence", "message", "iq" }
modules_disabled = { "s2s", "tls" }
authentication = "internal_plain"
allow_unencrypted_plain_auth = true
c2s_require_encryption = false
consider_websocket_secure = true
interfaces = { "127.0.0.1" }
c2s_ports = { $c2s }
http_ports = { $port }
https_ports = { }
http_default_host = "localhost"
log = { debug = "*console" }
VirtualHost "localhost"
LUA
start_prosody() {
    start prosody prosody -F --config "$data/prosody.cfg.lua"
    within 30 listens "$port" || die "Prosody doesn't listen on port $port"
}
start_prosody
# says_to_me TEXT [ADDRESS]: the user you says so to the user me, without WebSocket; and pings an address of its.
says_to_me() {
    python3 - "$c2s" "$1" "${2:-localhost}" <<'PYTHON'
import base64, socket, sys

server = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10)
heard = b""

def until(word):
    global heard
    while word not in heard:
        heard += server.recv(65536) or sys.exit(f"the server has closed: {heard}")
    answer, heard = heard, b""
    return answer

def say(text):
    server.sendall(text.encode())

stream = "<stream:stream to='localhost' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
say("<?xml version='1.0'?>" + stream)
until(b"</stream:features>")
login = base64.b64encode(b"\0you\0h-u-s-h").decode()
say(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{login}</auth>")
until(b"<success")
say(stream)
until(b"</stream:features>")
say("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
until(b"<jid>")
say(f"<message to='me@localhost' type='chat'><body>{sys.argv[2]}</body></message>")
say(f"<iq type='get' id='p' to='{sys.argv[3]}'><ping xmlns='urn:xmpp:ping'/></iq>")
answer = until(b"id='p'")
assert b"type='result'" in answer, answer
PYTHON
}

quick <<TOML
profile = "xmpp"
upstream.url = "ws://127.0.0.1:$port/xmpp-websocket"
[vars]
domain = "localhost"
user = "me"
password = "\${env:XMPP_PASSWORD}"
[heartbeat]
interval = "1s"
TOML

echo "== logged in"
check "check --live goes the whole way" live XMPP_PASSWORD=h-u-s-h
check "and shows the login, without the password" shows "\${derived:login}"
run_wsfan XMPP_PASSWORD=h-u-s-h
check "the link comes up" within 20 heard "$(link up)"
check "programs are told the address" heard '"public":\{.*"jid":"me@localhost/'
client one tail --topic you@localhost
client two tail
check "another user says something" says_to_me hello
check "one program hears it" within 5 gets one "<body>hello</body>"
check "and so does the other" within 5 gets two "<body>hello</body>"
check "a program says something to this very user" send --text "<message xmlns='jabber:client' to='me@localhost' type='chat'><body>to myself</body></message>"
check "which comes" within 5 gets two "<body>to myself</body>"
check "but not to who asked for another's" fails gets one "to myself"
address=$(grep -o "me@localhost/[^\"]*" "$work/lines" | head -n 1)
check "another user pings this very connection, and is answered" says_to_me ping "$address"
pings() { [ "$(grep -c "wsfan-ping-" "$work/prosody.log")" -gt "$1" ]; }
check "pings are said and answered" within 15 pings 4
check "over the one connection" connections 1
check "which no client sees" fails heard wsfan-ping

echo "== killed"
kill_off prosody
check "the end is told" within 10 heard "$(link waiting)"
start_prosody
check "the link comes up again by itself" within 20 more "$(link up)" 1
check "another user says something" says_to_me again
check "one program hears it" within 5 gets one "<body>again</body>"
check "and so does the other" within 5 gets two "<body>again</body>"
check "the password is never logged" never_said h-u-s-h

echo "== refused"
run_wsfan XMPP_PASSWORD=wrong
check "a wrong password ends the attempts, in the server's words" within 10 heard "$(link failed).*log in.*not-authorized"
check "there was one attempt" equal "$(count "$(link connecting)")" 1
check "check --live fails" fails live XMPP_PASSWORD=wrong
check "in the same words" shows not-authorized
