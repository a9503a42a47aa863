#!/bin/bash
# `wsfan demo`, as a newcomer runs it: it shows messages, a heartbeat, a link that falls and comes back, and the
# count that proves that nothing was lost; it ends when asked, and leaves nothing behind.
#
#   tests/demo.sh [--binary FILE]     (default target/release/wsfan of this checkout)
set -euo pipefail
cd "$(dirname "$0")"

binary=../target/release/wsfan
case ${1:-} in
    '') ;;
    --binary) binary=$2 ;;
    *) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' demo.sh; exit 2 ;;
esac
[ -x "$binary" ] || { echo "tests/demo: $binary is missing; build it with 'cargo build --release --locked'" >&2; exit 1; }

work=$(mktemp -d)
. ./checks.sh
demo=''
clean_up() {
    local status=$?
    if [ -n "$demo" ]; then kill -KILL "$demo" 2>/dev/null || true; fi
    [ $status = 0 ] || tail -n 30 "$work/out" "$work/err"
    rm -rf "$work"
}
trap clean_up EXIT

# What the demo leaves behind would be in here.
mkdir "$work/tmp"
export TMPDIR=$work/tmp XDG_RUNTIME_DIR=$work/tmp

says() { grep -E "$1" "$work/out"; }
ends() { ! kill -0 "$1" 2>/dev/null; }
summary_is_good() {
    local summary='^([0-9,]+) messages over ([0-9]+) connections, in spite of ([0-9]+) faults?\.$'
    [[ $(says "$summary") =~ $summary ]] || { echo "no line of messages, connections and faults"; return 1; }
    [ "${BASH_REMATCH[1]//,/}" -ge 20000 ] && [ "${BASH_REMATCH[2]}" -ge 2 ] && [ "${BASH_REMATCH[3]}" -ge 1 ]
}
# ledger_balances PROGRAM
ledger_balances() {
    local ledger="^  $1 +"'([0-9]+) entries = ([0-9]+) delivered \+ ([0-9]+) lost \+ ([0-9]+) ahead'
    [[ $(says "$ledger") =~ $ledger ]] || { echo "no ledger"; return 1; }
    [ "${BASH_REMATCH[1]}" = $((BASH_REMATCH[2] + BASH_REMATCH[3] + BASH_REMATCH[4])) ] &&
        [ "${BASH_REMATCH[1]}" -gt 0 ] && lost=${BASH_REMATCH[3]}
}
ledger_without_loss() { ledger_balances "$1" && [ "$lost" = 0 ]; }
ledger_with_loss() { ledger_balances "$1" && [ "$lost" -gt 0 ]; }
# but for paths, which are longer here than where a person tries it
wide_lines() { grep -vF -e "$work" -e "${binary##../}" "$work/out" | LC_ALL=C.UTF-8 grep -E '.{81,}'; }
leaves_nothing() { equal "$(ls -A "$work/tmp")" ''; }

start() {
    : >"$work/out" # at once: what the one before said must not be taken for this one's
    "$binary" demo "$@" </dev/null >"$work/out" 2>"$work/err" &
    demo=$!
}

start --duration 12s
# a busy machine takes longer until all was seen
check "it ends by itself" within 150 ends "$demo"
check "with exit status 0" wait "$demo"
check "it showed a heartbeat's answer" says 'answer to a heartbeat'
check "and a link that came back" says 'back after'
check "it counts messages, two connections at least, and faults" summary_is_good
check "the trader's ledger balances, and nothing is lost" ledger_without_loss trader
check "nor to the logger" ledger_without_loss logger
check "the sleeper lost some, which was told" ledger_with_loss sleeper
check "by name, when it woke" says 'tells the sleeper what it missed'
check "the programs' own counts agree" says 'each came once, in order, and'
check "no line is wider than a terminal" fails wide_lines
check "nothing was complained about" fails grep -iE 'panic|error' "$work/err"
check "nothing is left behind" leaves_nothing

start --duration 1h
check "an endless one runs" within 10 says '"symbol":'
kill -TERM "$demo"
check "it ends when asked" within 5 ends "$demo"
check "with exit status 0" wait "$demo"
check "nothing is left behind" leaves_nothing
demo=''

echo
echo "$passed passed, 0 failed"
