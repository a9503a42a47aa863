#!/bin/bash
# README: real servers upstream, each met by a configuration alone: nginx (TLS, client certificates, tokens, pauses,
# idle cuts) and graphql-ws. Does wsfan log in, answer, notice that a connection is dead, and do what the rules say when
# it is refused?
#
#   tests/real/servers.sh [OPTIONS] [SERVER...]    all of them, or those named
#     --binary FILE   the wsfan to test (default target/release/wsfan of this checkout)
#     --keep          keep the directory with all configurations, lines and logs, and say where it is
#     --help          this text
#
# Needs nginx, openssl, python3 and Node.js 20 or newer with npm. graphql-ws comes from the npm registry the first time
# (some seconds, 5 MB) and is kept in ${XDG_CACHE_HOME:-~/.cache}/wsfan-tests. All listen on the loopback,
# on ports that were free a moment before; everything else stays in a temporary directory.
set -euo pipefail
from=$PWD
cd "$(dirname "$0")"
here=$PWD project=$(cd ../.. && pwd)
# where Debian has servers, which isn't in everybody's PATH
PATH=$PATH:/usr/sbin:/sbin

servers=(nginx graphql-ws)
# shellcheck source=SCRIPTDIR/arguments.sh
. ./arguments.sh
for tool in nginx openssl python3 node npm; do
    command -v $tool >/dev/null || die "$tool is missing; see --help"
done
[ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ] || die "Node.js $(node --version) is too old; 20 is needed"
[ -x "$binary" ] || die "$binary is missing; build it with 'cargo build --release --locked'"

# The versions are pinned, and what they depend on is as it was on that day.
packages=(graphql-ws@6.4.1 graphql@16.14.2 ws@8.22.1) day=2026-11-01
modules=${XDG_CACHE_HOME:-$HOME/.cache}/wsfan-tests/servers-$day

work=$(mktemp -d)
. ../checks.sh
# shellcheck source=SCRIPTDIR/rig.sh
. ./rig.sh
node_modules() { installed "${packages[*]}" "$modules" npm_packages "$day" "${packages[@]}"; }

# paused PATTERN MIN MAX: from the first line of the link that matches to the next attempt it took so many ms (the
# wait begins with the end of the connection, and the line is written a moment later).
paused() {
    python3 - "$work/lines" "$@" <<'PYTHON'
import json, re, sys

path, pattern, least, most = sys.argv[1:]
since = None
for line in open(path):
    value = json.loads(line)
    if value["type"] != "link":
        continue
    if since is None and value["state"] == "waiting" and re.search(pattern, line):
        since = value["time_us"]
    elif since is not None and value["state"] == "connecting":
        pause = (value["time_us"] - since) / 1000
        print(f"{pause} ms")
        sys.exit(not int(least) - 50 <= pause <= int(most))
sys.exit("there was no such pause")
PYTHON
}

# ---------------------------------------------------------------- the servers

for server in "${servers[@]}"; do
    echo "==== $server"
    # shellcheck source=/dev/null
    . "$here/servers/$server.sh"
    stop_wsfan
    for name in "${!running[@]}"; do kill_off "$name"; done
done

echo
echo "$passed passed, 0 failed"
