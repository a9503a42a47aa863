# shellcheck shell=bash
# What the test scripts share. To be sourced, with $work set to a directory that goes at the end.

: "${work:?}"
passed=0
# What is no check must work, too; where it doesn't, it says so.
trap 'echo "FAILED: the preparation \"$BASH_COMMAND\", line $LINENO" >&2' ERR

# check SENTENCE COMMAND...: the first failure ends the run, since what follows builds on it.
check() {
    local sentence=$1
    shift
    if "$@" >"$work/output" 2>&1; then
        echo "ok: $sentence"
        passed=$((passed + 1))
    else
        echo "FAILED: $sentence"
        echo "  $*"
        sed 's/^/  | /' "$work/output"
        echo
        echo "$passed passed, 1 failed"
        exit 1
    fi
}

fails() { ! "$@"; }
equal() { [ "$1" = "$2" ] || { echo "is '$1', should be '$2'"; return 1; }; }

# within SECONDS COMMAND...: waits until COMMAND succeeds; its output is thrown away.
within() {
    local end=$((SECONDS + $1 + 1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.05 # between two looks
    done
}
