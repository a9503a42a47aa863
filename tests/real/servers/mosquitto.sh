# shellcheck shell=bash
# Mosquitto, by MQTT 3.1.1 over wss with a client certificate. MQTT is binary: what wsfan says is base64 in the
# configuration, and what it hears is looked at where it is UTF-8, as CONNACK and most messages of QoS 0 are. MQTT's
# PINGREQ is the heartbeat; the server drops who is silent for one and a half of the keep-alive. Sourced by ../servers.sh.

: "${work:?}"
certificates
read -r mqtt wss < <(free_ports 2)
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
CONF
start_mosquitto() {
    start mosquitto mosquitto -v -c "$work/mosquitto.conf"
    listening "$mqtt" "$wss"
}
start_mosquitto

base64_of() { printf '%b' "$1" | base64 -w 0; }
# CONNECT with a clean session, a keep-alive of 2 s and the client id `wsfan`; behind the name is the protocol's level
connect=$(base64_of '\x10\x11\x00\x04MQTT\x04\x02\x00\x02\x00\x05wsfan')
of_the_future=$(base64_of '\x10\x11\x00\x04MQTT\x09\x02\x00\x02\x00\x05wsfan')
subscribe=$(base64_of '\x82\x0b\x00\x01\x00\x06test/#\x00')
# mqtt_config CONNECT [TLS...]
mqtt_config() {
    config <<TOML
[upstream]
url = "wss://localhost:$wss/mqtt"
subprotocols = ["mqtt"]
connect_timeout = "3s"
[upstream.tls]
ca_file = "$work/tls/ca.pem"
${2:-}
[[script.step]]
name = "CONNECT"
send_binary = "$1"
# CONNACK: 0 is accepted, the others are reasons of refusal
expect = " \u0002\u0000\u0000"
reject = [
    { match = " \u0002\u0000\u0003", then = "retry" }, # the server is unavailable
    { match = [" \u0002\u0000\u0001", " \u0002\u0000\u0002", " \u0002\u0000\u0004", " \u0002\u0000\u0005"], then = "stop" },
]
[[script.step]]
name = "SUBSCRIBE"
send_binary = "$subscribe"
[heartbeat]
kind = "message"
interval = "1s"
message_binary = "$(base64_of '\xc0\x00')"
[reconnect]
initial_delay = "50ms"
max_delay = "200ms"
TOML
}
identity="cert_file = \"$work/tls/client.pem\"
key_file = \"$work/tls/client.key\""
publish() { timeout 10 mosquitto_pub -h 127.0.0.1 -p "$mqtt" -q 0 "$@"; }
# subscriber_gets TOPIC TEXT: what the server keeps of a topic.
subscriber_gets() { equal "$(timeout 10 mosquitto_sub -h 127.0.0.1 -p "$mqtt" -t "$1" -C 1)" "$2"; }
# published FIRST_BYTE TOPIC TEXT: a message of QoS 0, as bytes in the notation of printf: what it is, the length of
# what follows, the topic's length, the topic, the text.
published() {
    local LC_ALL=C # lengths in bytes
    printf '\\x%s\\x%02x\\x00\\x%02x%s%s' "$1" $((2 + ${#2} + ${#3})) ${#2} "$2" "$3"
}
# received FIRST_BYTE TOPIC TEXT: a client of wsfan has it.
received() { heard "\"binary\":\"$(base64_of "$(published "$@")")\""; }

echo "== logged in by the certificate"
publish -t test/kept -m before -r
mqtt_config "$connect" "$identity"
run_wsfan
check "the link comes up" within 10 heard "$(link up)"
check "the server has chosen the subprotocol" heard "$(link up).*\"subprotocol\":\"mqtt\""
check "the server takes the certificate's name for the user" within 5 grep -E "as wsfan .*u'client'" "$work/mosquitto.log"
check "CONNACK is a binary line" heard "\"binary\":\"$(base64_of '\x20\x02\x00\x00')\""
check "so is SUBACK, which isn't UTF-8" within 5 heard "\"binary\":\"$(base64_of '\x90\x03\x00\x01\x00')\""
check "a message that was kept for subscribers comes" within 5 received 31 test/kept before
publish -t test/new -m "21.5 °C"
check "a new message comes" within 5 received 30 test/new "21.5 °C"
printf '%b' "$(published 31 from/wsfan hello)" >"$work/hello"
check "a client of wsfan publishes" send_file "$work/hello" --binary
check "a subscriber gets it" subscriber_gets from/wsfan hello
pingresp="\"binary\":\"$(base64_of '\xd0\x00')\""
check "PINGREQ is answered, for longer than the keep-alive" within 15 more "$pingresp" 4
check "over the one connection" connections 1

echo "== killed, and frozen"
kill_off mosquitto
check "the end is told" within 10 heard "$(link waiting)"
start_mosquitto
check "the link comes up again by itself" within 10 more "$(link up)" 1
publish -t test/new -m again -r
check "and is subscribed again" within 5 received 30 test/new again
freeze mosquitto
check "the server is frozen: the heartbeat notices" within 10 heard "$(link waiting).*heartbeat"
thaw mosquitto
check "it thaws: the link comes up again" within 20 more "$(link up)" 2
check "and is subscribed again" within 5 received 31 test/new again

echo "== refused"
mqtt_config "$of_the_future" "$identity"
run_wsfan
check "a CONNECT that the server refuses ends the attempts, as the script says" within 10 \
    heard "$(link failed).*CONNECT.*the bytes \[20 02 00 01\]"
mqtt_config "$connect"
run_wsfan
check "without the certificate, the link waits" within 10 heard "$(link waiting)"
check "and says that the server wants one, and where to name it" within 10 says "upstream.tls.cert_file"
