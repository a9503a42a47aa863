# shellcheck shell=bash
# Z-Wave JS: its real driver and server, over a stick and a lamp that are mocked. Sourced by ../profiles.sh.

: "${here:?}" "${work:?}" "${cache:?}" "${day:?}" "${binary:?}" "${socket:?}"
zwave=$cache/zwave-js-15.29.0
installed "Z-Wave JS 15.29.0 with its server 3.10.2" "$zwave" npm_packages "$day" zwave-js@15.29.0 \
    @zwave-js/server@3.10.2
read -r port < <(free_ports 1)
mkdir "$work/zwave"
mkfifo "$work/button"
start_zwave() {
    start zwave node "$here/profiles/zwave-js.mjs" "$zwave" "$port" "$work/zwave" "$work/button"
    within 60 listens "$port" || die "Z-Wave JS doesn't listen on port $port"
}
start_zwave
zwave_config() {
    quick <<TOML
profile = "zwave-js"
[upstream]
url = "ws://127.0.0.1:$port"
[vars]
schema = $1
TOML
}
press() { echo >"$work/button"; }
so_far() { grep -cE -- "$2" "$work/lines.$1" || true; }
hears() { [ "$(grep -cE -- "$2" "$work/lines.$1")" -gt "${3:-0}" ]; }
request() { "$binary" request --socket "$socket" "$@"; }
updated='"topic":"node.2.value updated","json":\{"type":"event"'
set_lamp='{"command":"node.set_value","nodeId":2,"valueId":{"commandClass":37,"property":"targetValue"},"value":'

echo "== listening"
zwave_config 40
check "check --live goes the whole way" live
check "and shows the steps" shows "listen"
run_wsfan
check "the link comes up" within 20 heard "$(link up)"
check "the state of all nodes is a line" heard '"type":"result","success":true,"messageId":"2","result":\{"state":'
client one tail --since oldest --topic 'node.2.*'
client two tail --since oldest --topic 'node.2.*'
press
check "the lamp's button is pressed: one program hears it" within 10 hears one "$updated.*\"newValue\":true"
check "and the other" within 10 hears two "$updated.*\"newValue\":true"
check "a program switches it off, and gets the result" request "${set_lamp}false}"
check "what that changed comes to one" within 10 hears one "$updated.*\"newValue\":false"
check "and to the other" within 10 hears two "$updated.*\"newValue\":false"
check "who comes late asks for the state, and gets it alone" request '{"command":"start_listening"}'
check "which nobody else sees" fails heard '"messageId":"[3-9]"'
refused() { ! request "$1" >"$work/refused" 2>&1 && grep -F -- "$2" "$work/refused"; }
check "what the server can't do is told, in its words" refused '{"command":"nonsense"}' unknown_command
check "over the one connection" connections 1

echo "== killed"
kill_off zwave
check "the end is told" within 10 heard "$(link waiting)"
one=$(so_far one "$updated") two=$(so_far two "$updated")
start_zwave
check "the link comes up again by itself" within 20 more "$(link up)" 1
# the driver asks the lamp anew, and what it doesn't know yet is added, not updated
press_and_hear() { press; hears "$@"; }
check "events come again to one" within 20 press_and_hear one "$updated" "$one"
check "and to the other" within 10 hears two "$updated" "$two"

echo "== refused"
zwave_config 9999
run_wsfan
check "a schema that the server doesn't know ends the attempts, in its words" within 10 \
    heard "$(link failed).*schema.*schema_incompatible"
check "there was one attempt" equal "$(count "$(link connecting)")" 1
check "check --live fails" fails live
check "at its step" shows "fails at step \"schema\""
