#!/bin/bash
# README: several programs on one link to real servers that want ids: Home Assistant, ganache (an Ethereum node),
# Chromium's DevTools, and the central system of the ocpp library. On one plain WebSocket, programs that each count
# from 1 get in one another's way, as each server shows first. Do they over wsfan? Nobody may get another's answer,
# nothing may be refused, and what is subscribed to must come again after the server was killed and started.
#
#   tests/real/several.sh [OPTIONS] [SERVER...]    all of them, or those named
#     --binary FILE   the wsfan to test (default target/release/wsfan of this checkout)
#     --keep          keep the directory with all configurations, lines and logs, and say where it is
#     --help          this text
#
# Needs Python 3.11 or 3.12 with pip, Node.js 20 or newer with npm, and chromium. Home Assistant (the newest that
# Python 3.11 can run), ocpp and websockets come from PyPI, and ganache from the npm registry, the first time (half a
# minute, 720 MB); they are kept in ${XDG_CACHE_HOME:-~/.cache}/wsfan-tests. All listen on the loopback, on ports that
# were free a moment before; everything else stays in a temporary directory.
set -euo pipefail
from=$PWD
cd "$(dirname "$0")"
here=$PWD project=$(cd ../.. && pwd)

servers=(home-assistant ganache devtools ocpp)
# shellcheck source=SCRIPTDIR/arguments.sh
. ./arguments.sh
for tool in python3 node npm chromium; do
    command -v $tool >/dev/null || die "$tool is missing; see --help"
done
python3 -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' ||
    die "$(python3 --version) can't run Home Assistant as it is pinned here; 3.11 or 3.12 can"
python3 -m pip --version >/dev/null || die "pip is missing; see --help"
[ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ] || die "Node.js $(node --version) is too old; 20 is needed"
[ -x "$binary" ] || die "$binary is missing; build it with 'cargo build --release --locked'"

cache=${XDG_CACHE_HOME:-$HOME/.cache}/wsfan-tests
work=$(mktemp -d)
. ../checks.sh
# shellcheck source=SCRIPTDIR/rig.sh
. ./rig.sh

# What talks to servers and to wsfan as programs do; the packages are for plain WebSockets, and for OCPP's server.
day=2026-11-01 packages=(ocpp==2.1.0 websockets==15.0.1)
python=$cache/several-$day
installed "${packages[*]}" "$python" python_packages "$day" "${packages[@]}"
programs() { PYTHONPATH=$python python3 "$here/several/programs.py" "$@"; }

# restarted START NAME SERVER: two programs have subscribed when the server NAME is killed, and once START has started
# it again they hear what they heard before.
restarted() {
    local programs heard="$work/programs.$3.log"
    programs subscriptions "$3" "$socket" >"$heard" 2>&1 &
    programs=$!
    running[programs]=$programs
    check "two programs hear of the same topic" within 60 grep -x heard "$heard"
    kill_off "$2"
    check "the server is killed: the end is told" within 20 heard "$(link waiting)"
    "$1"
    check "it starts: the link comes up again" within 60 more "$(link up)" 1
    check "and both hear of the topic again, with nothing said by them" within 60 grep -x "heard again" "$heard"
    check "once each" wait $programs
    unset "running[programs]"
}

# ---------------------------------------------------------------- the servers

for server in "${servers[@]}"; do
    echo "==== $server"
    # shellcheck source=/dev/null
    . "$here/several/$server.sh"
    stop_wsfan
    for name in "${!running[@]}"; do kill_off "$name"; done
done

echo
echo "$passed passed, 0 failed"
