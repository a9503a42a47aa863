#!/bin/bash
# README: real proxies on the way to a server (tinyproxy for HTTP, microsocks for SOCKS5, each with a login): does
# wsfan get through them, to ws:// and wss://, and does it say what is wrong where it doesn't?
#
#   tests/real/proxies.sh [OPTIONS]
#     --binary FILE   the wsfan to test (default target/release/wsfan of this checkout)
#     --help          this text
#
# Needs tinyproxy, microsocks, openssl and python3. All listen on the loopback, on ports that were free a moment
# before; everything else stays in a temporary directory.
set -euo pipefail
cd "$(dirname "$0")"
project=$(cd ../.. && pwd)

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' proxies.sh; }
die() { echo "tests/real/proxies: $*" >&2; exit 1; }

binary=$project/target/release/wsfan
while [ $# -gt 0 ]; do
    case $1 in
        --binary) binary=$2; shift 2 ;;
        -h | --help) usage; exit ;;
        *) usage >&2; exit 2 ;;
    esac
done
for tool in tinyproxy microsocks openssl python3; do
    command -v $tool >/dev/null || die "$tool is missing; see --help"
done
[ -x "$binary" ] || die "$binary is missing; build it with 'cargo build --release --locked'"

work=$(mktemp -d)
. ../checks.sh
started='' wsfan=''

# Ends what was started here, by its process id.
clean_up() {
    local status=$? pid log
    set +e
    for pid in $wsfan $started; do kill -KILL "$pid" 2>/dev/null; done
    wait 2>/dev/null
    if [ $status != 0 ]; then
        for log in "$work"/*.log; do
            echo "---- the end of ${log##*/}"
            tail -n 20 "$log"
        done
    fi
    rm -rf "$work"
    return $status
}
trap clean_up EXIT

# The environment of whoever runs this has no say.
unset http_proxy HTTP_PROXY https_proxy HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY

# start NAME COMMAND...: in the background; what it says goes to NAME.log.
start() {
    local log=$work/$1.log
    shift
    "$@" </dev/null >>"$log" 2>&1 &
    started="$started $!"
}

# five ports that are free, all at once so that they differ
read -r plain secure http picky socks < <(python3 -c '
import socket
listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(5)]
print(*(listener.getsockname()[1] for listener in listeners))')
listens() { python3 -c 'import socket, sys; socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5)' "$1"; }

# ---------------------------------------------------------------- the servers and the proxies

openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
    -addext basicConstraints=critical,CA:FALSE -keyout "$work/key.pem" -out "$work/cert.pem" 2>"$work/openssl.out"
start plain python3 ../systemd/upstream.py "$plain"
start secure python3 ../systemd/upstream.py "$secure" "$work/cert.pem" "$work/key.pem"

# tinyproxy_config PORT LOG [LINE...]
tinyproxy_config() {
    local port=$1 log=$2
    shift 2
    printf '%s\n' "Port $port" "Listen 127.0.0.1" "Timeout 60" "MaxClients 20" "LogLevel Connect" \
        "LogFile \"$work/$log\"" "BasicAuth me p-w" "$@"
}
tinyproxy_config "$http" http.log >"$work/http.conf"
tinyproxy_config "$picky" picky.log "ConnectPort 443" >"$work/picky.conf"
start tinyproxy tinyproxy -d -c "$work/http.conf"
start tinyproxy tinyproxy -d -c "$work/picky.conf"
start microsocks microsocks -i 127.0.0.1 -p "$socks" -u me -P p-w

for port in "$plain" "$secure" "$http" "$picky" "$socks"; do
    check "something listens on port $port" within 10 listens "$port"
done

# ---------------------------------------------------------------- wsfan

socket=$work/wsfan.sock
# config URL [PROXY]
config() {
    cat >"$work/wsfan.toml" <<TOML
[upstream]
url = "$1"
tls = { ca_file = "$work/cert.pem" }
proxy = "${2:-}"
[reconnect]
initial_delay = "50ms"
max_delay = "200ms"
[[listener]]
path = "$socket"
TOML
}
# run_wsfan [VARIABLE=VALUE...]: with the config as it is, until the next one.
run_wsfan() {
    if [ -n "$wsfan" ]; then
        kill -TERM "$wsfan"
        wait "$wsfan" || true
    fi
    if [ -e "$work/wsfan.log" ]; then cat "$work/wsfan.log" >>"$work/all.log"; fi
    : >"$work/wsfan.log"
    env "$@" "$binary" run --config "$work/wsfan.toml" </dev/null >>"$work/wsfan.log" 2>&1 &
    wsfan=$!
}
ticks() { timeout 10 "$binary" tail --raw --messages 2 --socket "$socket" | grep -q tick; }
says() { grep -F "$1" "$work/wsfan.log"; }
count() { grep -cE "$1" "$work/$2" || true; }
# passed_by LOG PATTERN SERVER: the proxy's log names a tunnel to the server.
passed_by() { grep -E "$2.*localhost:$3" "$work/$1"; }
silent() { ! grep -F p-w "$work/wsfan.log" "$work/all.log"; }

echo "== an HTTP proxy"
config "ws://localhost:$plain/" "http://127.0.0.1:$http"
run_wsfan
check "without a login it says what to write where" within 10 says "wants a user name and a password (407 Proxy Authentication Required): write them into upstream.proxy"
config "ws://localhost:$plain/" "http://me:wrong@127.0.0.1:$http"
run_wsfan
check "with a wrong password it says so" within 10 says "http://127.0.0.1:$http refuses the user name or the password"
config "ws://localhost:$plain/" "http://me:p-w@127.0.0.1:$http"
kill -HUP "$wsfan"
check "after a reload with the right one, messages come" within 20 ticks
check "through the tunnel" passed_by http.log CONNECT "$plain"
config "wss://localhost:$secure/" "http://me:\${env:PROXY_PASSWORD}@127.0.0.1:$http"
run_wsfan PROXY_PASSWORD=p-w
check "messages come from a server with TLS" within 20 ticks
check "through the tunnel as well" passed_by http.log CONNECT "$secure"
config "ws://localhost:$plain/" "http://me:p-w@127.0.0.1:$picky"
run_wsfan
check "a port that the proxy doesn't allow is told" within 10 says "refuses a tunnel to localhost:$plain (403"
config "ws://localhost:1/" "http://me:p-w@127.0.0.1:$http"
run_wsfan
check "a server that the proxy can't reach is told" within 10 says "could not reach localhost:1 (50"
check "the password is never logged" silent

echo "== a SOCKS5 proxy"
config "ws://localhost:$plain/" "socks5://127.0.0.1:$socks"
run_wsfan
check "without a login it says what to write where" within 10 says "wants a login: write a user name and a password into upstream.proxy"
config "ws://localhost:$plain/" "socks5://me:wrong@127.0.0.1:$socks"
run_wsfan
check "with a wrong password it says so" within 10 says "socks5://127.0.0.1:$socks refuses the user name or the password"
config "ws://localhost:1/" "socks5://me:p-w@127.0.0.1:$socks"
run_wsfan
check "a server that the proxy can't reach is told" within 10 says "could not reach localhost:1: connection refused"
for url in "ws://localhost:$plain/" "wss://localhost:$secure/"; do
    config "$url" "socks5h://me:p-w@127.0.0.1:$socks"
    run_wsfan
    check "messages come from $url" within 20 ticks
    port=${url##*:}
    check "through the proxy" passed_by microsocks.log connected "${port%/}"
done
config "ws://localhost:$plain/" "http://127.0.0.1:$socks"
run_wsfan
check "a proxy of the other kind is told" within 10 says "check the scheme and the port in upstream.proxy"
config "ws://localhost:$plain/" "socks5://127.0.0.1:$http"
run_wsfan
check "and the other way round" within 10 says "the proxy socks5://127.0.0.1:$http"

echo "== the environment"
login="me:p-w@127.0.0.1:$http"
config "wss://localhost:$secure/"
before=$(count CONNECT http.log)
run_wsfan https_proxy="http://$login" no_proxy=example.com
check "https_proxy is taken for wss://" within 20 ticks
check "and a tunnel is opened" [ "$(count CONNECT http.log)" -gt "$before" ]
config "ws://localhost:$plain/"
before=$(count CONNECT http.log)
run_wsfan HTTP_PROXY="$login"
check "HTTP_PROXY is taken for ws://" within 20 ticks
check "and a tunnel is opened" [ "$(count CONNECT http.log)" -gt "$before" ]
run_wsfan all_proxy="socks5://me:wrong@127.0.0.1:$socks"
check "all_proxy is taken, and named where it is wrong" within 10 says "correct them in the environment's all_proxy"
run_wsfan all_proxy="socks5://me:wrong@127.0.0.1:$socks" no_proxy="example.com,localhost"
check "no_proxy excepts a server" within 20 ticks
config "ws://localhost:$plain/" off
run_wsfan all_proxy="socks5://me:wrong@127.0.0.1:$socks"
check "and so does proxy = \"off\"" within 20 ticks
check "the password is never logged" silent

kill -TERM "$wsfan"
check "wsfan stops with exit status 0" wait "$wsfan"
wsfan=
echo
echo "$passed passed, 0 failed"
