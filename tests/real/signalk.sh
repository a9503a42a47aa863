#!/bin/bash
# README: a real server upstream (Signal K, a marine data server for Node.js, with its recorded NMEA 0183 data),
# ten clients, and the server killed and started again in between: do all ten get the same lines, with no hole?
# Then the same server with a login, by wsfan's profile.
#
#   tests/real/signalk.sh [OPTIONS]
#     --binary FILE   the wsfan to test (default target/release/wsfan of this checkout)
#     --keep          keep the directory with all lines and logs, and say where it is
#     --help          this text
#
# Needs Node.js 20 or newer with npm, and python3. signalk-server comes from the npm registry the first time
# (about 45 s, 270 MB) and is kept in ${XDG_CACHE_HOME:-~/.cache}/wsfan-tests. The server listens on a port
# that was free a moment before; everything else stays in a temporary directory.
set -euo pipefail
cd "$(dirname "$0")"
project=$(cd ../.. && pwd)

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' signalk.sh; }
die() { echo "tests/real/signalk: $*" >&2; exit 1; }

binary=$project/target/release/wsfan keep=
while [ $# -gt 0 ]; do
    case $1 in
        --binary) binary=$2; shift 2 ;;
        --keep) keep=yes; shift ;;
        -h | --help) usage; exit ;;
        *) usage >&2; exit 2 ;;
    esac
done
for tool in node npm python3; do
    command -v $tool >/dev/null || die "$tool is missing; see --help"
done
[ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ] || die "Node.js $(node --version) is too old; 20 is needed"
[ -x "$binary" ] || die "$binary is missing; build it with 'cargo build --release --locked'"

# The version is pinned, and what it depends on is as it was on that day.
version=2.23.0 day=2026-06-01
signalk=${XDG_CACHE_HOME:-$HOME/.cache}/wsfan-tests/signalk-server-$version

work=$(mktemp -d)
. ../checks.sh
server='' wsfan='' clients=''

# Ends what was started here, by its process id.
clean_up() {
    local status=$? pid
    set +e
    for pid in $clients $wsfan $server; do kill -KILL "$pid" 2>/dev/null; done
    wait 2>/dev/null
    if [ $status != 0 ]; then
        local log
        for log in server wsfan clients; do
            [ -s "$work/$log.log" ] || continue
            echo "---- the end of $log.log"
            tail -n 20 "$work/$log.log"
        done
    fi
    rm -rf "$signalk.$$"
    if [ -n "$keep" ]; then echo "kept: $work"; else rm -rf "$work"; fi
    return $status
}
trap clean_up EXIT

# ---------------------------------------------------------------- the server

install_server() {
    [ -e "$signalk/.complete" ] && return
    echo "installing signalk-server $version in $signalk"
    local part=$signalk.$$ try
    for try in 1 2 3; do
        rm -rf "$part"
        mkdir -p "$part"
        if npm install --prefix "$part" --before="$day" --ignore-scripts --omit=dev --no-audit --no-fund \
            --loglevel=error "signalk-server@$version" </dev/null; then
            touch "$part/.complete"
            # another run may have been faster
            mv -T "$part" "$signalk" 2>/dev/null || rm -rf "$part"
            return
        fi
        echo "try $try of 3 failed"
    done
    rm -rf "$part"
    die "signalk-server $version could not be installed from the npm registry"
}

# start_server [VARIABLE=VALUE...]
start_server() {
    env "$@" SIGNALK_DISABLE_SERVER_UPDATES=1 SKIP_ADMINUI_VERSION_CHECK=1 PORT="$port" \
        node "$signalk/node_modules/signalk-server/bin/signalk-server" --sample-nmea0183-data -c "$work/signalk" \
        </dev/null >>"$work/server.log" 2>&1 &
    server=$!
}

install_server
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir "$work/signalk"
# only what the test needs: no discovery on the network, no plugins, no other port
cat >"$work/signalk/settings.json" <<'JSON'
{
  "interfaces": { "appstore": false, "plugins": false, "webapps": false, "nmea-tcp": false, "tcp": false },
  "mdns": false,
  "pipedProviders": []
}
JSON

# ---------------------------------------------------------------- wsfan and its clients

socket=$work/wsfan.sock
cat >"$work/wsfan.toml" <<TOML
[upstream]
url = "ws://127.0.0.1:$port/signalk/v1/stream?subscribe=all"
proxy = "off" # the server is on this machine
[heartbeat]
interval = "1s"
[reconnect]
initial_delay = "100ms"
max_delay = "500ms"
[[listener]]
path = "$socket"
TOML

answers() { "$binary" status --json --socket "$socket"; }
# How many lines the first client has that match; and whether there are more than so many.
count() { grep -cE "$1" "$work/lines.0" || true; }
more() { [ "$(count "$1")" -gt "$2" ]; }
ends() { ! kill -0 "$1" 2>/dev/null; }
ledgers_balance() {
    answers | python3 -c '
import json, sys
ledgers = [client["ledger"] for client in json.load(sys.stdin)["clients"] if not client["you"]]
for ledger in ledgers: print(ledger)
assert len(ledgers) == 10, f"{len(ledgers)} clients"
for ledger in ledgers:
    assert ledger["entries"] == ledger["delivered"] + ledger["lost"] + ledger["passed"] + ledger["ahead"], ledger
    assert ledger["delivered"] > 0 and ledger["lost"] == 0, ledger'
}

message='"type":"message"'
link() { echo "\"type\":\"link\".*\"state\":\"$1\""; }

echo "== before the server is there"
"$binary" run --config "$work/wsfan.toml" </dev/null >"$work/wsfan.log" 2>&1 &
wsfan=$!
check "wsfan runs and answers" within 10 answers
python3 clients.py attach "$socket" 10 "$work" >"$work/clients.log" 2>&1 &
clients=$!
check "ten clients attach at the same entry" within 10 grep -x attached "$work/clients.log"
check "the link is not up" fails more "$(link up)" 0

echo "== the server starts"
start_server
check "the link comes up" within 60 more "$(link up)" 0
check "messages flow" within 60 more "$message" 50
check "the server is Signal K, which says so first" \
    grep -qE "$message.*\"json\":\\{\"name\":\"signalk-server\"" "$work/lines.0"

echo "== kill -9"
waits=$(count "$(link waiting)")
kill -KILL $server
wait $server 2>/dev/null || true
check "the fall is in the lines" within 10 more "$(link waiting)" "$waits"
waits=$(count "$(link waiting)")
check "attempts go on while it is gone" within 10 more "$(link waiting)" $((waits + 2))
messages=$(count "$message")
start_server
check "the link comes up again by itself" within 60 more "$(link up)" 1
check "messages flow again" within 60 more "$message" $((messages + 50))

echo "== the balance"
check "the ledgers of all ten balance, and nothing is lost" ledgers_balance
kill -TERM $wsfan
check "wsfan stops within 5 s" within 5 ends $wsfan
check "with exit status 0" wait $wsfan
wsfan=
check "all ten clients hear bye and see the end" within 10 ends $clients
check "their lines are well-formed to the last" wait $clients
clients=
python3 clients.py verify 10 "$work" >"$work/verify" || true
cat "$work/verify"
verified=$(grep -c '^ok: ' "$work/verify" || true) failed=$(grep -c '^FAILED: ' "$work/verify" || true)
[ "$verified" -gt 0 ] || failed=1
[ "$failed" = 0 ] || { echo "$((passed + verified)) passed, $failed failed"; exit 1; }

echo "== by the profile, with a login"
kill -KILL $server
wait $server 2>/dev/null || true
start_server SECURITYSTRATEGY=./tokensecurity ADMINUSER=me:p-w
cat >"$work/wsfan.toml" <<TOML
profile = "signalk"
[upstream]
url = "ws://127.0.0.1:$port/signalk/v1/stream?subscribe=none"
proxy = "off"
[vars]
username = "me"
password = "\${env:SIGNALK_PASSWORD}"
[reconnect]
initial_delay = "100ms"
max_delay = "500ms"
[[listener]]
path = "$socket"
TOML
: >"$work/wsfan.log"
# run_wsfan PASSWORD: what a client hears goes to lines.0.
run_wsfan() {
    SIGNALK_PASSWORD=$1 "$binary" run --config "$work/wsfan.toml" </dev/null >>"$work/wsfan.log" 2>&1 &
    wsfan=$!
    within 10 answers
    : >"$work/lines.0"
    "$binary" tail --json --since oldest --socket "$socket" >"$work/lines.0" 2>>"$work/clients.log" &
    clients=$!
}
stop_wsfan() {
    local pid
    kill -TERM $wsfan
    for pid in $wsfan $clients; do
        within 10 ends "$pid" || die "wsfan and its client don't end"
        wait "$pid"
    done
    wsfan='' clients=''
}
run_wsfan p-w
check "the link comes up" within 60 more "$(link up)" 0
check "what the profile subscribes to comes" within 30 more "$message.*\"updates\":" 20
check "clients don't see the login's answer, which holds a token" equal "$(count requestId)" 0
stop_wsfan
run_wsfan wrong
check "a wrong password is final" within 60 more "$(link failed).*log in" 0
check "no password is logged" fails grep -E 'p-w|wrong' "$work/wsfan.log"
stop_wsfan

echo
echo "$((passed + verified)) passed, 0 failed"
