#!/bin/bash
# Autobahn's test suite for WebSocket clients, through the daemon and its socket: for each case a daemon that calls
# the suite's server, and a program at its socket that sends back what comes. By hand: the suite is Python 2, which
# few machines have.
#
#   tests/autobahn/run.sh [--binary FILE] [--cases LIST]
#
#   --binary FILE   the daemon (default target/release/wsfan of this checkout)
#   --cases LIST    such as '1.* 6.4.*' (default '*': all 517)
#
# PY2 names a Python 2.7 (default: python2.7, or pyenv's). The suite is kept in ${XDG_CACHE_HOME:-~/.cache}/wsfan-tests,
# the report in target/autobahn. It ends with 1 if a case fails that isn't in known.txt, which says why.
set -euo pipefail
cd "$(dirname "$0")/../.."

binary=target/release/wsfan cases='*'
while [ $# -gt 0 ]; do
    case $1 in
        --binary) binary=${2:?a file is missing}; shift 2 ;;
        --cases) cases=${2:?a list is missing}; shift 2 ;;
        *) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2 ;;
    esac
done
fail() { echo "tests/autobahn: $*" >&2; exit 1; }
[ -x "$binary" ] || fail "$binary is missing; build it with 'cargo build --release --locked'"

suite=${XDG_CACHE_HOME:-$HOME/.cache}/wsfan-tests/autobahn
if [ ! -x "$suite/bin/wstest" ]; then
    py2=${PY2:-$(command -v python2.7 || true)}
    # a shim of pyenv's answers only where that version is chosen
    if ! "${py2:-false}" -c 0 2>/dev/null; then
        py2=
        for found in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/2.7.*/bin/python2.7; do
            if [ -x "$found" ]; then py2=$found; fi
        done
    fi
    [ -n "$py2" ] || fail "there is no Python 2.7; PY2 names one"
    rm -rf "$suite" "$suite-tool"
    python3 -m venv "$suite-tool"
    "$suite-tool/bin/pip" install -q virtualenv==20.21.1 # the last that makes environments for 2.7
    "$suite-tool/bin/virtualenv" -q -p "$py2" "$suite"
    rm -rf "$suite-tool"
    "$suite/bin/pip" install -q --no-python-version-warning autobahntestsuite==25.10.1 autobahn==0.10.9 \
        Twisted==19.10.0 cryptography==3.3.2 pyOpenSSL==19.1.0 service-identity==18.1.0 klein==17.10.0 Werkzeug==1.0.1 \
        Jinja2==2.11.3 MarkupSafe==1.1.1 ujson==2.0.3 wsaccel==0.6.6 zope.interface==4.6.0 txaio==2.1.0 \
        incremental==16.10.1
fi

exec python3 tests/autobahn/drive.py "$suite/bin/wstest" "$binary" target/autobahn "$cases"
