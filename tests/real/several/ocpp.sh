# shellcheck shell=bash
# OCPP 1.6: a charge point and the central system of the ocpp library, each of which asks and answers the other, one
# call at a time. Sourced by ../several.sh.

: "${here:?}" "${work:?}" "${python:?}"
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
