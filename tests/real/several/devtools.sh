# shellcheck shell=bash
# Chromium's DevTools: commands whose answers carry their id, on a page's own URL, which is new with each start.
# Sourced by ../several.sh.

: "${here:?}" "${work:?}"
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
    # root has no sandbox; a container has little in /dev/shm
    start chromium chromium --headless --no-sandbox --disable-dev-shm-usage --disable-gpu --no-first-run \
        --remote-debugging-address=127.0.0.1 --remote-debugging-port="$port" --user-data-dir="$profile" about:blank
    within 60 "$work/page" || die "Chromium shows no page on port $port"
}
start_chromium
echo "== each counting from 1"
check "on one plain WebSocket, half of what two programs ask is refused, or gets the other's answer" \
    programs plain devtools "$("$work/page")"
