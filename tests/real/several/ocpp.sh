# shellcheck shell=bash
# OCPP 1.6: a charge point and the central system of the ocpp library, each of which asks and answers the other, one
# call at a time. Sourced by ../several.sh.

: "${here:?}" "${work:?}" "${socket:?}" "${python:?}"
read -r port < <(free_ports 1)
start_central() {
    start central env PYTHONPATH="$python" python3 "$here/several/central-system.py" "$port"
    listening "$port"
}
start_central
# how often the central system has said what matches
central_said() { grep -cE -- "$1" "$work/central.log" || true; }
central_says() { grep -E -- "$1" "$work/central.log"; }
echo "== each counting from 1"
check "on one plain WebSocket, half of what two programs ask gets the other's answer" \
    programs plain ocpp "ws://127.0.0.1:$port/point"
check "and the central system's call is answered twice" within 10 central_says "^call both is answered again"

# wsfan's own profile, which says BootNotification first
config <<TOML
profile = "ocpp"
[upstream]
url = "ws://127.0.0.1:$port/point"
[heartbeat]
interval = "100ms"
publish = false
[reconnect]
initial_delay = "50ms"
max_delay = "200ms"
TOML
run_wsfan
check "the link comes up" within 20 heard "$(link up)"
check "once the central system has accepted the boot" equal "$(central_said "^BootNotification$")" 1
beats=$(central_said "^Heartbeat$") at_once=$(central_said "at once$")
check "over wsfan, three programs get their own answers alone" programs requests ocpp "$socket"
more_beats() { [ "$(central_said "^Heartbeat$")" -gt $((beats + $1)) ]; }
check "with heartbeats among them" within 10 more_beats 2
check "a call of the central system's is answered by one of two programs" programs calls "$socket"
check "once, it says" equal "$(central_said "^call (first|second) is answered")" 2
check "by the first, and by the one who said that it would" \
    equal "$(grep -cE 'is answered: .*(first.*"two"|second.*"one")' "$work/central.log")" 2
check "there was never more than one call under way" equal "$(central_said "at once$")" "$at_once"
check "over the one connection" connections 1

echo "== killed"
kill_off central
check "the end is told" within 10 heard "$(link waiting)"
start_central
check "the link comes up again by itself" within 20 more "$(link up)" 1
check "three programs get their own answers alone" programs requests ocpp "$socket"
