# shellcheck shell=bash
# ganache, an Ethereum node for tests: JSON-RPC, whose answers carry the id of the request. Sourced by ../several.sh.

: "${here:?}" "${work:?}" "${socket:?}" "${cache:?}" "${binary:?}"
ganache=$cache/ganache-7.9.2
installed "ganache 7.9.2" "$ganache" npm_packages 2026-11-01 ganache@7.9.2
read -r port < <(free_ports 1)
start_ganache() {
    start ganache node "$ganache/node_modules/ganache/dist/node/cli.js" --server.host 127.0.0.1 --server.port "$port" \
        --wallet.deterministic --logging.quiet
    within 60 listens "$port" || die "ganache doesn't listen on port $port"
}
start_ganache
echo "== each counting from 1"
check "on one plain WebSocket, half of what two programs ask gets the other's answer" \
    programs plain ganache "ws://127.0.0.1:$port"

# wsfan's own profile
config <<TOML
profile = "jsonrpc"
[upstream]
url = "ws://127.0.0.1:$port"
[reconnect]
initial_delay = "50ms"
max_delay = "200ms"
[[listener]]
path = "$work/raw.sock"
format = "raw"
TOML
check "check --live goes the whole way" "$binary" check --live --config "$work/wsfan.toml"
run_wsfan
check "the link comes up" within 20 heard "$(link up)"
check "over wsfan, three programs get their own answers alone" programs requests ganache "$socket"
check "so do stock clients, which write and read JSON-RPC" programs raw ganache "$work/raw.sock"
check "and each is told of new blocks under its own subscription" programs streams ganache "$socket"
check "also where stock clients say so themselves" programs raw-streams ganache "$work/raw.sock"
refused() { ! "$binary" subscribe --socket "$socket" "$1" >"$work/refused" 2>&1 && grep -F -- "$2" "$work/refused"; }
check "what the node doesn't tell of is refused, in its words" refused nonsense "nonsense"
check "over the one connection" connections 1

echo "== killed"
restarted start_ganache ganache ganache
