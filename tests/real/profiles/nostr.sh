# shellcheck shell=bash
# Nostr: a relay built of @nostr-relay/core, which wants its challenge signed (NIP-42). Sourced by ../profiles.sh.

: "${here:?}" "${work:?}" "${cache:?}" "${day:?}" "${binary:?}" "${socket:?}"
nostr=$cache/nostr-relay-0.0.40
installed "a Nostr relay (@nostr-relay/core 0.0.40) and nostr-tools 2.25.2" "$nostr" npm_packages "$day" \
    @nostr-relay/core@0.0.40 @nostr-relay/common@0.0.40 @nostr-relay/validator@0.0.40 nostr-tools@2.25.2 ws@8.22.1
read -r port < <(free_ports 1)
start_nostr() {
    start nostr node "$here/profiles/nostr.mjs" "$nostr" relay "$port" "$@"
    listening "$port"
}
start_nostr
NOSTR_KEY=$(printf '%064x' 4711)
export NOSTR_KEY
printf '#!/bin/sh\nexec "%s" "%s" "%s" auth\n' "$(command -v node)" "$here/profiles/nostr.mjs" "$nostr" >"$work/sign"
chmod +x "$work/sign"
# nostr_config RELAY: a login that says it is for this relay
nostr_config() {
    quick <<TOML
profile = "nostr"
[upstream]
url = "ws://127.0.0.1:$port/"
[[script.step]]
name = "challenge"
expect = { "/0" = "AUTH" }
[[script.step]]
name = "log in"
send_command.run = ["$work/sign"]
send_command.stdin = '{"relay":"$1","challenge":"\${field:/1}","key":"\${env:NOSTR_KEY}"}'
expect = { "/0" = "OK", "/2" = true }
reject = { "/0" = "OK", "/2" = false }
on_fail = "stop"
TOML
}
note() { node "$here/profiles/nostr.mjs" "$nostr" note "$1" | send; }
# notes NAME: a program that has subscribed to these, by the name
notes() {
    client "$1" subscribe --payload '{"kinds":[1],"limit":1}' notes
    within 10 grep -F '"result":"subscribed"' "$work/lines.$1" || die "$1 isn't subscribed: $(tail -n 3 "$work/lines.$1")"
}
says_relay() { [ "$(grep -cxF "$1" "$work/nostr.log")" = "$2" ]; }

echo "== logged in, by a program that signs"
nostr_config "ws://127.0.0.1:$port/"
check "check --live goes the whole way" live
check "and names the program that it runs" shows "$work/sign"
run_wsfan
check "the link comes up" within 10 heard "$(link up)"
notes one
notes two
check "two programs' subscription is told once" says_relay "heard REQ notes" 1
check "a program sends an event" note first
check "which the relay has taken" within 10 heard '\["OK","[0-9a-f]{64}",true'
check "it comes to one" within 10 gets one '"content": "first"'
check "and to the other" within 10 gets two '"content": "first"'
check "under the name that they gave" heard '"topic":"notes","json":\["EVENT","notes",'
check "what is no event is told" send '["EVENT",{"kind":1}]'
check "in the relay's words" within 5 heard '"NOTICE"'
check "over the one connection" connections 1

echo "== killed"
kill_off nostr
check "the end is told" within 10 heard "$(link waiting)"
start_nostr
check "the link comes up again by itself, logged in" within 10 more "$(link up)" 1
check "a program sends another event" note second
check "which comes again to one" within 10 gets one '"content": "second"'
check "and to the other" within 10 gets two '"content": "second"'
kill_off one
kill_off two
check "when they have gone, the subscription is ended" within 10 says_relay "heard CLOSE notes" 1
check "the key is never logged" never_said "$NOSTR_KEY"

echo "== refused"
nostr_config "ws://elsewhere.example/"
run_wsfan
check "a login that is for another relay ends the attempts, in this one's words" within 10 \
    heard "$(link failed).*log in.*the relay url is wrong"
check "there was one attempt" equal "$(count "$(link connecting)")" 1
check "check --live fails" fails live
check "in the relay's words" shows "the relay url is wrong"
printf '#!/bin/sh\necho "no key here" >&2\nexit 3\n' >"$work/sign"
nostr_config "ws://127.0.0.1:$port/"
run_wsfan
check "a program that fails ends them as well, in its words" within 10 heard "$(link failed).*log in.*no key here"

echo "== not logged in, and a relay that wants no login"
quick <<TOML
profile = "nostr"
upstream.url = "ws://127.0.0.1:$port/"
TOML
run_wsfan
refused() {
    ! "$binary" subscribe --socket "$socket" --payload '{"kinds":[1]}' notes >"$work/refused" 2>&1 &&
        grep -F -- "$1" "$work/refused"
}
check "who hasn't logged in is refused, in the relay's words" refused "auth-required: log in first"
kill_off nostr
start_nostr open
check "the link comes up again" within 10 more "$(link up)" 1
notes three
check "check --live goes the whole way" live
check "a program sends an event" note third
check "which comes" within 10 gets three '"content": "third"'
