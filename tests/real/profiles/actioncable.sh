# shellcheck shell=bash
# Action Cable, as Rails has it, in puma: channels by their identifiers, which are JSON in text. Sourced by
# ../profiles.sh.

: "${here:?}" "${work:?}" "${binary:?}" "${socket:?}"
read -r port < <(free_ports 1)
start_cable() {
    start cable puma --bind "tcp://127.0.0.1:$port" --threads 1:4 --environment production --config /dev/null \
        "$here/profiles/actioncable.ru"
    listening "$port"
}
start_cable
quick <<TOML
profile = "actioncable"
upstream.url = "ws://127.0.0.1:$port/cable?token=\${env:CABLE_TOKEN}"
upstream.hide = "pings are to be seen here"
topics.answer.timeout = "1s"
TOML
ticks='{"channel":"TicksChannel","room":"1"}'
log_has() { [ "$(grep -cE -- "$1" "$work/cable.log")" -gt "${2:-0}" ]; }
refused() { ! "$binary" subscribe --socket "$socket" "$1" >"$work/refused" 2>&1 && grep -F -- "$2" "$work/refused"; }

echo "== logged in"
check "check --live goes the whole way" live CABLE_TOKEN=good-token
check "without showing the token" fails shows good-token
run_wsfan CABLE_TOKEN=good-token
check "the link comes up" within 10 heard "$(link up).*\"subprotocol\":\"actioncable-v1-json\""
program one "$ticks"
program two "$ticks"
check "two programs' channel is subscribed to" within 10 gets one '"tick": 2'
check "for both" within 10 gets two '"tick": 2'
check "once, so that the server has one of it" equal "$(grep -c 'TicksChannel is transmitting the subscription confirmation' "$work/cable.log")" 1
check "a client of wsfan performs an action" send \
    '{"command":"message","identifier":"{\"channel\":\"TicksChannel\",\"room\":\"1\"}","data":"{\"action\":\"speak\",\"text\":\"hello, wsfan\"}"}'
check "which one hears" within 5 gets one '"said": "hello, wsfan"'
check "and the other" within 5 gets two '"said": "hello, wsfan"'
check "a channel that rejects is refused" refused '{"channel":"TicksChannel","room":"closed"}' refused
check "one that there isn't is never answered, which is told" refused '{"channel":"None"}' "hasn't answered"
check "pings come, three seconds apart, over the one connection" within 10 more '"type":"ping"' 2
check "which it is" connections 1

echo "== killed"
kill_off cable
check "the end is told" within 10 heard "$(link waiting)"
start_cable
check "the link comes up again by itself" within 10 more "$(link up)" 1
check "an action is performed in the channel that wsfan has subscribed to again" send \
    '{"command":"message","identifier":"{\"channel\":\"TicksChannel\",\"room\":\"1\"}","data":"{\"action\":\"speak\",\"text\":\"again\"}"}'
check "which one hears" within 5 gets one '"said": "again"'
check "and the other" within 5 gets two '"said": "again"'
kill_off one
kill_off two
check "when they have gone, the channel is unsubscribed from" within 10 log_has 'TicksChannel stopped streaming from room 1'
check "the token is never logged" never_said good-token

echo "== refused"
run_wsfan CABLE_TOKEN=bad-token
check "a wrong token ends the attempts, in the server's words" within 10 heard "$(link failed).*unauthorized"
check "there was one attempt" equal "$(count "$(link connecting)")" 1
check "check --live fails" fails live CABLE_TOKEN=bad-token
check "in the server's words" shows unauthorized
