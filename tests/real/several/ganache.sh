# shellcheck shell=bash
# ganache, an Ethereum node for tests: JSON-RPC, whose answers carry the id of the request. Sourced by ../several.sh.

: "${here:?}" "${work:?}" "${socket:?}" "${cache:?}"
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

config <<TOML
[upstream]
url = "ws://127.0.0.1:$port"
[reconnect]
initial_delay = "50ms"
max_delay = "200ms"
[requests]
id = "/id"
error = { "/error" = { exists = true } }
rewrite_sends = true
[[requests.stream]]
when = { "/method" = "eth_subscribe" }
key_from = "/result"
key = "/params/subscription"
cancel = '{"jsonrpc":"2.0","id":\${next_id},"method":"eth_unsubscribe","params":[\${key}]}'
stop = { "/method" = "eth_unsubscribe" }
stop_id = "/params/0"
[topics]
subscribe = '{"jsonrpc":"2.0","id":\${next_id},"method":"eth_subscribe","params":[\${topic}]}'
[topics.answer]
accept = { "/result" = { exists = true } }
reject = { "/error" = { exists = true } }
id = "/id"
[[listener]]
path = "$work/raw.sock"
format = "raw"
TOML
run_wsfan
check "the link comes up" within 20 heard "$(link up)"
check "over wsfan, three programs get their own answers alone" programs requests ganache "$socket"
check "so do stock clients, which write and read JSON-RPC" programs raw ganache "$work/raw.sock"
check "and each is told of new blocks under its own subscription" programs streams ganache "$socket"
check "also where stock clients say so themselves" programs raw-streams ganache "$work/raw.sock"
check "over the one connection" connections 1

echo "== killed"
restarted start_ganache ganache ganache
