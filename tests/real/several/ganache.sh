# shellcheck shell=bash
# ganache, an Ethereum node for tests: JSON-RPC, whose answers carry the id of the request. Sourced by ../several.sh.

: "${here:?}" "${work:?}" "${cache:?}"
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
