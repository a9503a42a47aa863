# shellcheck shell=bash
# Chromium's DevTools, by the browser's own URL, which is new with each start: sessions of pages within one connection,
# and commands whose answers carry their id. Sourced by ../profiles.sh.

: "${work:?}" "${binary:?}" "${socket:?}"
read -r port < <(free_ports 1)
start_chromium() {
    local profile
    profile=$(mktemp -d -p "$work")
    # nothing is kept outside; root has no sandbox; a container has little in /dev/shm
    start chromium env -u XDG_CACHE_HOME -u XDG_CONFIG_HOME HOME="$profile" chromium --headless --no-sandbox \
        --disable-dev-shm-usage --disable-gpu --no-first-run --remote-debugging-address=127.0.0.1 \
        --remote-debugging-port="$port" --user-data-dir="$profile" about:blank
    within 60 curl -fs --noproxy '*' "http://127.0.0.1:$port/json/version" || die "Chromium doesn't answer on port $port"
}
start_chromium
# evaluate EXPRESSION [SESSION]: in the newest page, or in another.
evaluate() {
    "$binary" request --socket "$socket" "{\"method\":\"Runtime.evaluate\",\"sessionId\":\"${2:-$(session)}\",
        \"params\":{\"expression\":\"$1\"}}"
}
# the newest page's session, as clients are told
session() {
    python3 - "$work/lines.one" <<'PYTHON'
import json, sys

lines = [json.loads(line) for line in open(sys.argv[1]) if line.endswith("\n")]
print([line["public"] for line in lines if "session" in line.get("public", {})][-1]["session"])
PYTHON
}

quick <<TOML
profile = "chrome-devtools"
vars.browser = "http://127.0.0.1:$port"
TOML

echo "== attached"
check "check --live goes the whole way" live
check "and says with what" shows Target.setAutoAttach
run_wsfan
check "the link comes up" within 20 heard "$(link up)"
program one Runtime
program two Runtime Page
check "a program's command is answered" grep '"value":42' <<<"$(evaluate 6*7)"
check "one that is refused fails" fails "$binary" request --socket "$socket" '{"method":"None.such"}'
check "what happens in the page" evaluate "console.log('once')"
check "is told to one program" within 5 gets one '"value": "once"'
check "and to the other" within 5 gets two '"value": "once"'
check "under the domain's topic" heard '"topic":"Runtime".*consoleAPICalled'
check "answers are nobody else's" fails gets two '"value": 42'
before=$(session)
check "another page is opened" "$binary" request --socket "$socket" '{"method":"Target.createTarget","params":{"url":"about:blank"}}'
another() { [ "$(session)" != "$before" ]; }
check "programs are told its session" within 10 another
check "both pages answer: the new one" grep '"value":1' <<<"$(evaluate "1")"
check "and the first" grep '"value":2' <<<"$(evaluate "2" "$before")"
check "over the one connection" connections 1

echo "== killed"
kill_off chromium
check "the end is told" within 10 heard "$(link waiting)"
start_chromium
check "the link comes up again by itself, by another URL" within 20 more "$(link up)" 1
check "what happens in the new page" evaluate "console.log('again')"
check "is told to one program, with nothing said by it" within 5 gets one '"value": "again"'
check "and to the other" within 5 gets two '"value": "again"'

echo "== not there"
quick <<TOML
profile = "chrome-devtools"
vars.browser = "http://127.0.0.1:1"
TOML
run_wsfan
check "no browser: the link waits, and curl's words are told" within 10 heard "$(link waiting).*curl: "
check "check --live fails" fails live
check "in the same words" shows "curl: "
