# shellcheck shell=bash
# Mosquitto, by MQTT 3.1.1 over WebSocket: with a client certificate over TLS, and with a name and a password. MQTT is
# binary: what wsfan says is base64 in the configuration, and what it hears it looks for as bytes. The server drops who is
# silent for one and a half of the keep-alive. Sourced by ../profiles.sh.

: "${work:?}"
certificates
read -r mqtt wss ws < <(free_ports 3)
mosquitto_passwd -b -c "$work/passwords" me h-u-s-h
cat >"$work/mosquitto.conf" <<CONF
per_listener_settings true
# else it becomes a user who cannot read the files
$([ "$(id -u)" != 0 ] || echo user root)
# for mosquitto_pub and mosquitto_sub
listener $mqtt 127.0.0.1
allow_anonymous true
listener $wss 127.0.0.1
protocol websockets
certfile $work/tls/localhost.pem
keyfile $work/tls/localhost.key
cafile $work/tls/ca.pem
require_certificate true
use_identity_as_username true
listener $ws 127.0.0.1
protocol websockets
password_file $work/passwords
CONF
start_mosquitto() {
    start mosquitto mosquitto -v -c "$work/mosquitto.conf"
    listening "$mqtt" "$wss" "$ws"
}
start_mosquitto

base64_of() { printf '%b' "$1" | base64 -w 0; }
publish() { timeout 10 mosquitto_pub -h 127.0.0.1 -p "$mqtt" -q 0 "$@"; }
# subscriber_gets TOPIC TEXT: what the server keeps of a topic.
subscriber_gets() { equal "$(timeout 10 mosquitto_sub -h 127.0.0.1 -p "$mqtt" -t "$1" -C 1)" "$2"; }
# published FIRST_BYTE TOPIC TEXT: a message of QoS 0, as bytes in the notation of printf: what it is, the length of
# what follows, the topic's length, the topic, the text.
published() {
    local LC_ALL=C # lengths in bytes
    printf '\\x%s\\x%02x\\x00\\x%02x%s%s' "$1" $((2 + ${#2} + ${#3})) ${#2} "$2" "$3"
}
# received NAME FIRST_BYTE TOPIC TEXT: a program has it.
received() { grep -F "\"binary\":\"$(base64_of "$(published "${@:2}")")\"" "$work/lines.$1"; }
received_of_all() { heard "\"binary\":\"$(base64_of "$(published "$@")")\""; }
# mqtt_config [KEYS...]: over TLS, with a quick heartbeat, which is the profile's else
mqtt_config() {
    quick <<TOML
profile = "mqtt"
[upstream]
url = "wss://localhost:$wss/mqtt"
[upstream.tls]
ca_file = "$work/tls/ca.pem"
${1:-}
[heartbeat]
interval = "1s"
[vars]
topics = ["test/#", "other/+/x"]
TOML
}
identity="cert_file = \"$work/tls/client.pem\"
key_file = \"$work/tls/client.key\""

echo "== logged in by the certificate"
publish -t test/kept -m before -r
mqtt_config "$identity"
check "check --live goes the whole way" live
check "through both steps" shows SUBSCRIBE
run_wsfan
check "the link comes up" within 10 heard "$(link up)"
client one tail --since oldest
client two tail --since oldest
check "the server has chosen the subprotocol" heard "$(link up).*\"subprotocol\":\"mqtt\""
check "the server takes the certificate's name for the user" within 5 grep -E "as auto-.*u'client'" "$work/mosquitto.log"
check "CONNACK is a binary line" heard "\"binary\":\"$(base64_of '\x20\x02\x00\x00')\""
check "so is SUBACK, which isn't UTF-8" within 5 heard "\"binary\":\"$(base64_of '\x90\x04\x00\x01\x00\x00')\""
check "a message that was kept for subscribers comes" within 5 received one 31 test/kept before
publish -t test/new -m "21.5 °C"
check "a new message comes to one program" within 5 received one 30 test/new "21.5 °C"
check "and to the other" within 5 received two 30 test/new "21.5 °C"
printf '%b' "$(published 31 from/wsfan hello)" >"$work/hello"
check "a client of wsfan publishes" send_file "$work/hello" --binary
check "a subscriber gets it" subscriber_gets from/wsfan hello
pings() { [ "$(grep -c "Received PINGREQ from auto-" "$work/mosquitto.log")" -gt "$1" ]; }
check "PINGREQ goes out, and the answer is looked for" within 15 pings 4
check "over the one connection" connections 1
check "clients don't see the answers" fails heard "\"binary\":\"$(base64_of '\xd0\x00')\""

echo "== killed, and frozen"
kill_off mosquitto
check "the end is told" within 10 heard "$(link waiting)"
start_mosquitto
check "the link comes up again by itself" within 10 more "$(link up)" 1
publish -t test/new -m again -r
check "and is subscribed again, for one program" within 5 received one 30 test/new again
check "and for the other" within 5 received two 30 test/new again
freeze mosquitto
check "the server is frozen: the heartbeat notices" within 10 heard "$(link waiting).*heartbeat"
thaw mosquitto
check "it thaws: the link comes up again" within 20 more "$(link up)" 2
check "and is subscribed again" within 5 received one 31 test/new again

echo "== refused"
mqtt_config
run_wsfan
check "without the certificate, the link waits" within 10 heard "$(link waiting)"
check "and says that the server wants one, and where to name it" within 10 says "upstream.tls.cert_file"
quick <<TOML
profile = "mqtt"
upstream.url = "ws://127.0.0.1:$ws/mqtt"
[vars]
user = "me"
password = "\${env:MQTT_PASSWORD}"
topics = ["test/#"]
TOML
run_wsfan MQTT_PASSWORD=h-u-s-h
check "with a name and a password, the link comes up" within 10 heard "$(link up)"
check "and hears what is kept" within 5 received_of_all 31 test/new again
check "the password is never logged" never_said h-u-s-h
run_wsfan MQTT_PASSWORD=wrong
check "a wrong password ends the attempts, in the server's bytes" within 10 \
    heard "$(link failed).*CONNECT.*the bytes \[20 02 00 05\]"
check "there was one attempt" equal "$(count "$(link connecting)")" 1
check "check --live fails" fails live MQTT_PASSWORD=wrong
check "at CONNECT, in the same bytes" shows "[20 02 00 05]"
