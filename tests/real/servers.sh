#!/bin/bash
# README: real servers upstream, each met by a configuration alone: nginx (TLS, client certificates, tokens, pauses,
# idle cuts), Mosquitto (MQTT over wss with a client certificate), NATS (its own text protocol), graphql-ws and
# socket.io. Does wsfan log in, answer, notice that a connection is dead, and do what the rules say when it is refused?
#
#   tests/real/servers.sh [OPTIONS] [SERVER...]    all of them, or those named
#     --binary FILE   the wsfan to test (default target/release/wsfan of this checkout)
#     --keep          keep the directory with all configurations, lines and logs, and say where it is
#     --help          this text
#
# Needs nginx, mosquitto with its clients, nats-server, openssl, python3 and Node.js 20 or newer with npm. graphql-ws
# and socket.io come from the npm registry the first time (some seconds, 10 MB) and are kept in
# ${XDG_CACHE_HOME:-~/.cache}/wsfan-tests. All listen on the loopback, on ports that were free a moment before;
# everything else stays in a temporary directory.
set -euo pipefail
from=$PWD
cd "$(dirname "$0")"
here=$PWD project=$(cd ../.. && pwd)
# where Debian has servers, which isn't in everybody's PATH
PATH=$PATH:/usr/sbin:/sbin

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' servers.sh; }
die() { echo "tests/real/servers: $*" >&2; exit 1; }

binary=$project/target/release/wsfan keep=
servers=(nginx mosquitto nats graphql-ws socket.io)
named=()
while [ $# -gt 0 ]; do
    case $1 in
        --binary) binary=$(cd "$from" && realpath -- "$2"); shift 2 ;;
        --keep) keep=yes; shift ;;
        -h | --help) usage; exit ;;
        *)
            [[ " ${servers[*]} " == *" $1 "* ]] || { usage >&2; exit 2; }
            named+=("$1")
            shift
            ;;
    esac
done
[ ${#named[@]} = 0 ] || servers=("${named[@]}")
for tool in nginx mosquitto mosquitto_pub nats-server openssl python3 node npm; do
    command -v $tool >/dev/null || die "$tool is missing; see --help"
done
[ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ] || die "Node.js $(node --version) is too old; 20 is needed"
[ -x "$binary" ] || die "$binary is missing; build it with 'cargo build --release --locked'"

# The versions are pinned, and what they depend on is as it was on that day.
packages=(graphql-ws@6.4.1 graphql@16.14.2 ws@8.22.1 socket.io@4.8.4) day=2026-11-01
modules=${XDG_CACHE_HOME:-$HOME/.cache}/wsfan-tests/servers-$day

work=$(mktemp -d)
. ../checks.sh
declare -A running=() # process ids, by the names that they were started under

# Ends what was started here, by its process id.
clean_up() {
    local status=$? pid log
    set +e
    for pid in "${running[@]}"; do kill -KILL "$pid" 2>/dev/null; done
    wait 2>/dev/null
    if [ $status != 0 ]; then
        for log in "$work"/*.log "$work"/lines; do
            [ -s "$log" ] || continue
            echo "---- the end of ${log##*/}"
            tail -n 20 "$log" | cut -c 1-1000
        done
    fi
    rm -rf "$modules.$$"
    if [ -n "$keep" ]; then echo "kept: $work"; else rm -rf "$work"; fi
    return $status
}
trap clean_up EXIT

# The environment of whoever runs this has no say.
unset http_proxy HTTP_PROXY https_proxy HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY

# ---------------------------------------------------------------- processes

# start NAME COMMAND...: in the background; what it says goes to NAME.log.
start() {
    local name=$1
    shift
    "$@" </dev/null >>"$work/$name.log" 2>&1 &
    running[$name]=$!
}
# kill_off NAME: at once, as in a crash.
kill_off() {
    local pid=${running[$1]}
    unset "running[$1]"
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null || true
}
# A frozen process keeps its connections, and says nothing.
freeze() { kill -STOP "${running[$1]}"; }
thaw() { kill -CONT "${running[$1]}"; }
ends() { ! kill -0 "$1" 2>/dev/null; }

# so many ports that are free, all at once so that they differ
free_ports() {
    python3 -c '
import socket, sys
listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(listener.getsockname()[1] for listener in listeners))' "$1"
}
listens() { python3 -c 'import socket, sys; socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5)' "$1"; }
# listening PORT...: waits until something listens on each.
listening() {
    local port
    for port; do
        within 20 listens "$port" || die "nothing listens on port $port"
    done
}

# An authority, and what it has signed for a server named localhost and for a client: files in $work/tls.
certificates() {
    [ ! -e "$work/tls" ] || return 0
    mkdir "$work/tls"
    local name
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=an authority for tests" \
        -keyout "$work/tls/ca.key" -out "$work/tls/ca.pem" 2>>"$work/openssl.out"
    for name in localhost client; do
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$name" -addext "subjectAltName=DNS:$name" \
            -addext basicConstraints=critical,CA:FALSE -CA "$work/tls/ca.pem" -CAkey "$work/tls/ca.key" \
            -keyout "$work/tls/$name.key" -out "$work/tls/$name.pem" 2>>"$work/openssl.out"
    done
}

# What comes from the npm registry, once.
node_modules() {
    [ -e "$modules/.complete" ] && return
    echo "installing ${packages[*]} in $modules"
    local part=$modules.$$ try
    for try in 1 2 3; do
        rm -rf "$part"
        mkdir -p "$part"
        if timeout 300 npm install --prefix "$part" --before="$day" --ignore-scripts --omit=dev --no-audit --no-fund \
            --loglevel=error "${packages[@]}" </dev/null; then
            touch "$part/.complete"
            # another run may have been faster
            mv -T "$part" "$modules" 2>/dev/null || rm -rf "$part"
            return
        fi
        echo "try $try of 3 failed"
    done
    rm -rf "$part"
    die "${packages[*]} could not be installed from the npm registry"
}

# ---------------------------------------------------------------- wsfan

socket=$work/wsfan.sock
# config: what comes in on stdin, with a listener, is what wsfan runs with from the next run_wsfan on.
config() {
    cat >"$work/wsfan.toml"
    printf '[[listener]]\npath = "%s"\n' "$socket" >>"$work/wsfan.toml"
}
# run_wsfan [VARIABLE=VALUE...]: with the config as it is. What a client hears goes to the file `lines`.
run_wsfan() {
    stop_wsfan
    env "$@" "$binary" run --config "$work/wsfan.toml" </dev/null >>"$work/wsfan.log" 2>&1 &
    running[wsfan]=$!
    within 10 status || die "wsfan doesn't answer: $(tail -n 3 "$work/wsfan.log")"
    : >"$work/lines"
    "$binary" tail --json --since oldest --socket "$socket" </dev/null >"$work/lines" 2>>"$work/tail.log" &
    running[tail]=$!
    within 10 heard '"type":"link"' || die "the client isn't told of the link" # its first line is there in any case
}
stop_wsfan() {
    local name pid
    for name in wsfan tail; do # the client ends by itself when the daemon has said bye
        pid=${running[$name]:-}
        [ -n "$pid" ] || continue
        [ $name = tail ] || kill -TERM "$pid"
        within 10 ends "$pid" || die "$name doesn't end"
        wait "$pid" || die "$name ended with status $?"
        unset "running[$name]"
    done
    [ ! -e "$work/wsfan.log" ] || cat "$work/wsfan.log" >>"$work/all.log"
    : >"$work/wsfan.log"
}
status() { "$binary" status --json --socket "$socket"; }
send() { "$binary" send --socket "$socket" "$@"; }
send_file() { local file=$1; shift; send "$@" <"$file"; }
reopen() { "$binary" open --socket "$socket"; }

# What clients were told, by patterns of grep -E; and what the daemon's log says, word for word.
count() { grep -cE -- "$1" "$work/lines" || true; }
heard() { grep -E -- "$1" "$work/lines"; }
more() { [ "$(count "$1")" -gt "$2" ]; }
link() { echo "\"type\":\"link\".*\"state\":\"$1\""; }
is() { status | grep -E "\"link\":\\{[^}]*\"state\":\"$1\""; }
says() { grep -F -- "$1" "$work/wsfan.log"; }
never_said() { ! grep -F -- "$1" "$work/wsfan.log" "$work/all.log"; }
connections() { [ "$(count "$(link up)")" = "$1" ]; }

# paused PATTERN MIN MAX: from the first line of the link that matches to the next attempt it took so many ms (the
# wait begins with the end of the connection, and the line is written a moment later).
paused() {
    python3 - "$work/lines" "$@" <<'PYTHON'
import json, re, sys

path, pattern, least, most = sys.argv[1:]
since = None
for line in open(path):
    value = json.loads(line)
    if value["type"] != "link":
        continue
    if since is None and value["state"] == "waiting" and re.search(pattern, line):
        since = value["time_us"]
    elif since is not None and value["state"] == "connecting":
        pause = (value["time_us"] - since) / 1000
        print(f"{pause} ms")
        sys.exit(not int(least) - 50 <= pause <= int(most))
sys.exit("there was no such pause")
PYTHON
}

# ---------------------------------------------------------------- the servers

for server in "${servers[@]}"; do
    echo "==== $server"
    # shellcheck source=/dev/null
    . "$here/servers/$server.sh"
    stop_wsfan
    for name in "${!running[@]}"; do kill_off "$name"; done
done

echo
echo "$passed passed, 0 failed"
