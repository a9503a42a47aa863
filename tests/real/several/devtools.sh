# shellcheck shell=bash
# Chromium's DevTools: commands whose answers carry their id, on a page's own URL, which is new with each start.
# Sourced by ../several.sh.

: "${here:?}" "${work:?}" "${socket:?}"
read -r port < <(free_ports 1)
# page: prints the URL of the one page, as GET /json/list has it.
cat >"$work/page" <<PYTHON
#!$(command -v python3)
import json, urllib.request

with urllib.request.urlopen("http://127.0.0.1:$port/json/list", timeout=5) as answer:
    print(next(target["webSocketDebuggerUrl"] for target in json.load(answer) if target["type"] == "page"))
PYTHON
chmod +x "$work/page"
start_chromium() {
    local profile
    profile=$(mktemp -d -p "$work")
    # nothing is kept outside; root has no sandbox; a container has little in /dev/shm
    start chromium env -u XDG_CACHE_HOME -u XDG_CONFIG_HOME HOME="$profile" chromium --headless --no-sandbox \
        --disable-dev-shm-usage --disable-gpu --no-first-run --remote-debugging-address=127.0.0.1 \
        --remote-debugging-port="$port" --user-data-dir="$profile" about:blank
    within 60 "$work/page" || die "Chromium shows no page on port $port"
}
start_chromium
echo "== each counting from 1"
check "on one plain WebSocket, half of what two programs ask is refused, or gets the other's answer" \
    programs plain devtools "$("$work/page")"

# a page's URL holds an id that is new with each start
config <<TOML
[upstream]
url_command = { run = ["$work/page"] }
[reconnect]
initial_delay = "50ms"
max_delay = "200ms"
[requests]
id = "/id"
error = { "/error" = { exists = true } }
[topics]
subscribe = '{"id":\${next_id},"method":"\${topic}.enable"}'
unsubscribe = '{"id":\${next_id},"method":"\${topic}.disable"}'
[topics.answer]
accept = { "/result" = { exists = true } }
reject = { "/error" = { exists = true } }
id = "/id"
TOML
run_wsfan
check "the link comes up" within 20 heard "$(link up)"
check "over wsfan, three programs get their own answers alone" programs requests devtools "$socket"
check "over the one connection" connections 1

echo "== killed"
restarted start_chromium chromium devtools
