#!/bin/bash
# The systemd unit, tested under a real systemd: a container is booted, wsfan is installed in it as a package
# would do it, and started, reloaded, killed and stopped in front of a small upstream.
#
#   tests/systemd/run.sh [OPTIONS]
#     --binary FILE   the wsfan to test (default target/release/wsfan of this checkout)
#     --suite NAME    the Debian release inside (default: this machine's own)
#     --shell         at the end, or at the first failure, a shell in the container
#     --help          this text
#
# Needs root, and Debian's packages mmdebstrap, systemd, systemd-container, util-linux and python3. It needs
# neither systemd as this machine's PID 1 nor docker. The root file system of the container is made once (half
# a minute) and kept in ${XDG_CACHE_HOME:-~/.cache}/wsfan-tests; what runs in it writes to memory only. The
# container has a loopback device and no other network.
set -euo pipefail
cd "$(dirname "$0")"
project=$(cd ../.. && pwd)

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "run.sh"; }
die() { echo "tests/systemd: $*" >&2; exit 1; }

binary=$project/target/release/wsfan suite='' shell=
while [ $# -gt 0 ]; do
    case $1 in
        --binary) binary=$2; shift 2 ;;
        --suite) suite=$2; shift 2 ;;
        --shell) shell=yes; shift ;;
        -h | --help) usage; exit ;;
        *) usage >&2; exit 2 ;;
    esac
done
[ "$(id -u)" = 0 ] || die "booting a container needs root; run it as root, for example by sudo"
for tool in mmdebstrap systemd-nspawn systemd-analyze nsenter python3; do
    command -v $tool >/dev/null || die "$tool is missing; see --help for the packages"
done
[ -x "$binary" ] || die "$binary is missing; build it with 'cargo build --release --locked'"

# ---------------------------------------------------------------- the container

cache=${XDG_CACHE_HOME:-$HOME/.cache}/wsfan-tests
if [ -z "$suite" ]; then
    # shellcheck source=/dev/null
    suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
fi
root=$cache/root-$suite-1 # the number changes when what is in it does
work=$(mktemp -d)
. ../checks.sh
name=wsfan-test-$$
nspawn='' leader=''

build_root() {
    [ -e "$root/.complete" ] && return
    echo "making the root file system of $suite in $root"
    local mirror part=$root.$$
    # where this machine has its own packages from
    # shellcheck disable=SC2016 # apt's own variable
    mirror=$(apt-get indextargets --format '$(SITE)' | head -n 1)
    [ -n "$mirror" ] || die "apt knows no packages; run 'apt-get update' first"
    mkdir -p "$cache"
    mmdebstrap --quiet --variant=apt --include=systemd,systemd-sysv,dbus,passwd,procps,python3 \
        --dpkgopt=force-unsafe-io --aptopt='Acquire::Languages "none"' \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/doc/*' "$suite" "$part" "$mirror" >&2
    # timers that fetch, and a console to log in: nothing that a test wants
    local unit
    for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
        systemd-networkd.socket systemd-timesyncd.service console-getty.service; do
        ln -sf /dev/null "$part/etc/systemd/system/$unit"
    done
    : >"$part/etc/machine-id" # each boot makes one
    touch "$part/.complete"
    # another run may have been faster
    mv -T "$part" "$root" 2>/dev/null || rm -rf "$part"
}

# The cgroup trees that systemd inside may use: version 2 alone, or beside version 1.
cgroups() {
    local tree
    for tree in /sys/fs/cgroup /sys/fs/cgroup/unified; do
        if [ -e $tree/cgroup.controllers ]; then echo $tree; fi
    done
    if [ -d /sys/fs/cgroup/systemd ]; then echo /sys/fs/cgroup/systemd; fi
}

# The container's PID 1, as this machine sees it: the one child of systemd-nspawn.
find_leader() { leader=$(awk '{ print $1 }' "/proc/$nspawn/task/$nspawn/children" 2>/dev/null) && [ -n "$leader" ]; }

# Runs a command in the container.
inside() {
    nsenter --target "$leader" --mount --uts --ipc --net --pid --cgroup \
        env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
        SYSTEMD_COLORS=0 SYSTEMD_PAGER=cat "$@"
}

# put FILE MODE: standard input becomes a file in the container.
# shellcheck disable=SC2016 # for the shell inside
put() { inside sh -c 'mkdir -p "$(dirname "$1")" && cat >"$1" && chmod "$2" "$1"' sh "$1" "$2"; }

is_running() { find_leader && inside systemctl is-system-running 2>/dev/null | grep -qxE 'running|degraded'; }
nspawn_ended() { ! kill -0 "$nspawn" 2>/dev/null; }

boot() {
    local tree
    for tree in $(cgroups); do mkdir -p "$tree/$name"; done
    (
        for tree in $(cgroups); do echo $BASHPID >"$tree/$name/cgroup.procs"; done
        # systemd needs bpf for the units' device rules; older versions of nspawn don't give it by themselves
        SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 exec setsid systemd-nspawn --quiet --register=no --keep-unit \
            --machine="$name" --directory="$root" --volatile=overlay --link-journal=no --console=pipe \
            --capability=CAP_BPF,CAP_PERFMON --system-call-filter=bpf --private-network \
            --boot </dev/null >"$work/console" 2>&1
    ) &
    nspawn=$!
    if ! within 60 is_running; then
        cat "$work/console" >&2
        die "the container didn't boot within a minute"
    fi
}

clean_up() {
    local status=$? tree
    set +e
    if [ $status != 0 ] && [ -n "$leader" ]; then
        echo "---- the journal of wsfan"
        inside journalctl --no-pager --output=short-precise --unit=wsfan | tail -n 100
        echo "---- what the upstream saw"
        inside tail -n 30 /run/upstream.log
    fi
    if [ -n "$shell" ] && [ -n "$leader" ]; then
        echo "A shell in the container; it goes when you leave."
        inside TERM="${TERM:-dumb}" bash
    fi
    if [ -n "$leader" ]; then
        kill -s RTMIN+4 "$leader" # systemd: power off
        within 20 nspawn_ended || kill -KILL "$leader" "$nspawn"
        wait "$nspawn"
    elif [ -n "$nspawn" ]; then
        kill -KILL "$nspawn"
    fi
    for tree in $(cgroups); do
        if [ -d "$tree/$name" ]; then find "$tree/$name" -depth -type d -exec rmdir {} +; fi
    done
    rm -rf "$work" "$root.$$"
    return $status
}

trap clean_up EXIT

# ---------------------------------------------------------------- the checks

unit() { inside systemctl show --value --property="$1" wsfan; }
unit_is() { equal "$(unit "$1")" "$2"; }
unit_has() { unit "$1" | grep -E "$2"; }
# What `wsfan status --json` says under a key, wherever it stands in it.
status_of() {
    inside wsfan status --json --socket /run/wsfan/wsfan.sock | python3 -c '
import json, sys
def find(value):
    if isinstance(value, dict) and sys.argv[1] in value: yield value[sys.argv[1]]
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else (): yield from find(part)
print(next(find(json.load(sys.stdin))))' "$1"
}
status_is() { equal "$(status_of "$1")" "$2"; }
journal_has() { inside journalctl --no-pager --output=cat --unit=wsfan | grep -E "$1"; }
# upstream_saw EVENT [AFTER]: among the lines of the upstream's log after the first AFTER ones.
upstream_saw() { inside tail -n "+$((${2:-0} + 1))" /run/upstream.log | grep -E "$1"; }
upstream_lines() { inside sh -c 'wc -l </run/upstream.log'; }
link_is_up() { unit_has StatusText '\bup\b'; }
# active with another process than that; asked in one question, for one moment's answer
restarted_after() {
    local now
    now=$(inside systemctl show --property=MainPID,ActiveState wsfan | sort | tr '\n' ' ')
    [[ $now =~ ^ActiveState=active\ MainPID=([1-9][0-9]*)\ $ ]] && [ "${BASH_REMATCH[1]}" != "$1" ]
}

# attach NAME USER ARGUMENTS...: a client of its own, as a unit, whose lines go to /run/NAME.lines.
attach() {
    inside systemd-run --quiet --collect --unit="$1" --uid="$2" --property=StandardOutput="file:/run/$1.lines" \
        python3 -u /opt/client.py "${@:3}"
}
client_saw() { inside grep -E "$2" "/run/$1.lines"; }
client_ticks() { inside grep -c '"tick"' "/run/$1.lines"; }
more_ticks() { [ "$(client_ticks "$1")" -gt "$2" ]; }

# config [LINE...]: the config, with more lines at the end; the upstream is at $host.
host=127.0.0.1
config() {
    {
        cat <<TOML
[upstream]
url = "ws://$host:9000/feed"
headers = { Authorization = "Bearer \${credential:token}" }
[reconnect]
initial_delay = "100ms"
max_delay = "500ms"
TOML
        printf '%s\n' "$@"
    } | put /etc/wsfan/wsfan.toml 640
    inside chgrp wsfan /etc/wsfan/wsfan.toml
}

# A wsfan that wrote the secret anywhere would be caught by these two.
secret=s3cret-$RANDOM$RANDOM
no_secret_in_journal() { fails journal_has "$secret"; }
no_secret_in_status() { inside wsfan status --json >"$work/status" && ! grep "$secret" "$work/status"; }

echo "== the unit file"
mkdir -p "$work/unit/user"
for file in wsfan.service wsfan@.service user/wsfan.service; do
    sed "s|/usr/bin/wsfan|$binary|" "$project/systemd/$file" >"$work/unit/$file"
done
verify() { # complaints don't always change the exit status
    systemd-analyze verify --man=no "$@" >"$work/verify" 2>&1 && fails grep wsfan "$work/verify"
}
check "systemd-analyze verify has nothing to say" verify "$work/unit/wsfan.service"
check "nor of an instance" verify "$work/unit/wsfan@.service"
# without a user's manager it can't look further than at the keys
verify_keys() {
    systemd-analyze verify --user --man=no "$1" >"$work/verify" 2>&1 || true
    fails grep -iE 'unknown|ignor|invalid|failed to parse' "$work/verify"
}
check "nor of the keys of the user's unit" verify_keys "$work/unit/user/wsfan.service"
check "its exposure is 1.5 at most, of 10" \
    systemd-analyze security --no-pager --offline=true --threshold=15 "$work/unit/wsfan.service"

build_root
boot
echo "== installed under systemd $(inside systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p') ($suite)"
put /usr/bin/wsfan 755 <"$binary"
put /usr/lib/systemd/system/wsfan.service 644 <"$project/systemd/wsfan.service"
put /usr/lib/systemd/system/wsfan@.service 644 <"$project/systemd/wsfan@.service"
put /usr/lib/sysusers.d/wsfan.conf 644 <"$project/systemd/wsfan.sysusers"
put /opt/upstream.py 644 <upstream.py
put /opt/client.py 644 <client.py
check "the binary runs there" inside wsfan --version
check "systemd-sysusers makes the user and the group" inside sh -c \
    'systemd-sysusers wsfan.conf && id wsfan && getent group wsfan'
# Clients: alice is a member of the group, mallory is not.
inside useradd --groups wsfan alice
inside useradd mallory
# The secret, as an administrator would install it.
echo "$secret" | put /etc/wsfan/token 600
printf '[Service]\nLoadCredential=token:/etc/wsfan/token\n' | put /etc/systemd/system/wsfan.service.d/token.conf 644
inside systemctl daemon-reload

echo "== a bad config"
config '[heartbeat]' 'intervall = "1h"'
check "the start fails" fails inside systemctl start wsfan
check "with exit status 78" unit_is ExecMainStatus 78
check "and stays failed: no restart is due" unit_is SubState failed
check "no restart was tried" unit_is NRestarts 0
check "the journal names the file and the key" journal_has '/etc/wsfan/wsfan\.toml.*intervall|intervall.*/etc/wsfan/wsfan\.toml'
inside systemctl reset-failed wsfan

echo "== what this machine hasn't"
config '[[listener]]' 'group = "nobody-there"'
check "check warns of it, and finds the config right" inside sh -c \
    'wsfan check >/tmp/checked 2>&1 && grep "warning.*no group .nobody-there" /tmp/checked'
check "the start fails" fails inside systemctl start wsfan
check "with exit status 78" unit_is ExecMainStatus 78
check "and stays failed: no restart is due" unit_is SubState failed
check "no restart was tried" unit_is NRestarts 0
check "the journal has it as an error" inside sh -c \
    'journalctl --no-pager --output=cat --priority=err --unit=wsfan | grep "no group .nobody-there"'
inside systemctl reset-failed wsfan

echo "== start"
config '[heartbeat]' 'interval = "1h"'
check "the start succeeds while the upstream is down" inside timeout 10 systemctl start wsfan
check "it is active, said so itself" unit_is ActiveState active
check "STATUS tells that the link is not up" unit_has StatusText 'waiting|connecting'
check "the socket is the user's and the group's, mode 660" \
    equal "$(inside stat --format='%U:%G %a %F' /run/wsfan/wsfan.sock)" "wsfan:wsfan 660 socket"
check "anyone may enter its directory" equal "$(inside stat --format='%U:%G %a' /run/wsfan)" "wsfan:wsfan 755"
restart_and_connect() { # each time: once systemctl returns, a client needs no second try
    local i
    for i in 1 2 3 4 5; do
        inside timeout 10 systemctl restart wsfan || return 1
        inside timeout 10 wsfan status --json >/dev/null || { echo "no answer in round $i"; return 1; }
    done
}
check "READY comes when clients can attach: five restarts, each answered at once" restart_and_connect

journal_from() { inside journalctl --no-pager --output=cat --unit=wsfan --priority="$1"; }
check "the journal has it as a warning that the link is down" within 10 eval 'journal_from warning | grep "link down"'
check "without the marks of the priority" fails eval 'journal_from debug | grep "^<[0-9]>"'
check "what is no trouble is none there" fails eval 'journal_from warning | grep listening'
check "but is there" eval 'journal_from info | grep listening'

inside systemd-run --quiet --unit=upstream --property=StandardOutput=file:/run/upstream.log \
    python3 -u /opt/upstream.py 9000
check "the link comes up with the upstream" within 10 link_is_up
check "systemctl status shows it" inside sh -c 'systemctl status wsfan | grep -E "Status: .*up"'
check "the header carries the credential" upstream_saw "\"Bearer $secret\""
check "the secret is not in the journal" no_secret_in_journal
check "nor in the status" no_secret_in_status

attach alice alice /run/wsfan/wsfan.sock
check "a member of the group gets messages" within 10 client_saw alice '"type":"message".*"json":\{"tick":'
check "another user is refused" inside sh -c \
    '! runuser -u mallory -- python3 /opt/client.py /run/wsfan/wsfan.sock 2>/tmp/refused && grep PermissionError /tmp/refused'

echo "== reload"
pid=$(unit MainPID) conn=$(status_of conn) ticks=$(client_ticks alice) lines=$(upstream_lines)
config '[heartbeat]' 'interval = "200ms"'
check "no heartbeat so far: its interval is an hour" fails upstream_saw '"ping"'
check "reload succeeds" inside timeout 10 systemctl reload wsfan
check "the new interval is in force" within 10 upstream_saw '"ping"' "$lines"
check "the process is the same" unit_is MainPID "$pid"
check "the connection is the same" status_is conn "$conn"
check "the upstream saw no other" fails upstream_saw '"open"|"close"' "$lines"
check "the client goes on" within 10 more_ticks alice "$((ticks + 1))"
check "it is active again" within 10 unit_is ActiveState active

lines=$(upstream_lines) ticks=$(client_ticks alice)
config '[heartbeat]' 'timeuot = "1h"'
check "a reload of a bad config fails" fails inside timeout 10 systemctl reload wsfan
check "the journal names the key" within 10 journal_has 'timeuot'
reload_is_over() { unit_is ActiveState active && unit_has StatusText '\bup\b'; }
check "it is active again" within 10 reload_is_over
check "the process is the same" unit_is MainPID "$pid"
check "the connection is the same" status_is conn "$conn"
check "the old interval stays in force" within 10 upstream_saw '"ping"' "$lines"
check "the client goes on" within 10 more_ticks alice "$((ticks + 1))"
check "the client was never cut off" fails client_saw alice '^end'
config '[heartbeat]' 'interval = "200ms"'
check "a good one is taken after it" inside timeout 10 systemctl reload wsfan
inside systemctl kill --kill-whom=main --signal=HUP wsfan
check "SIGHUP reloads as well" within 10 journal_has 'reloaded the configuration: nothing has changed'
config '[heartbeat]' 'interval = "200ms"' '[[listener]]' '[[listener]]' 'path = "/run/wsfan/second.sock"' 'mode = "0600"'
check "a reload adds a listener" inside timeout 10 systemctl reload wsfan
check "with its mode" equal "$(inside stat --format='%U:%G %a' /run/wsfan/second.sock)" "wsfan:wsfan 600"
config '[heartbeat]' 'interval = "200ms"' '[[listener]]' 'path = "/run/wsfan/other.sock"'
check "a reload moves all of them" inside timeout 10 systemctl reload wsfan
check "the new one answers" within 10 inside wsfan status --json --socket /run/wsfan/other.sock
config '[heartbeat]' 'interval = "200ms"'
check "and back" inside timeout 10 systemctl reload wsfan
check "the old socket is gone" within 10 fails inside test -e /run/wsfan/other.sock
attach carol alice /run/wsfan/wsfan.sock
check "a client attaches again" within 10 client_saw carol '"tick"'

echo "== kill -9"
inode=$(inside stat --format=%i /run/wsfan/wsfan.sock)
inside systemctl kill --kill-whom=main --signal=KILL wsfan
check "the client sees the end" within 10 client_saw carol '^end'
check "the socket is left behind" equal "$(inside stat --format=%i /run/wsfan/wsfan.sock)" "$inode"
check "systemd starts it again" within 20 restarted_after "$pid"
check "once" unit_is NRestarts 1
check "the link comes up again" within 10 link_is_up
check "the stale socket was taken over" inside timeout 10 wsfan status --json
check "with the same owner and mode" \
    equal "$(inside stat --format='%U:%G %a %F' /run/wsfan/wsfan.sock)" "wsfan:wsfan 660 socket"

echo "== a hang"
printf '[Service]\nWatchdogSec=2s\n' | put /etc/systemd/system/wsfan.service.d/watchdog.conf 644
inside systemctl daemon-reload
inside systemctl restart wsfan
check "the link is up" within 10 link_is_up
pid=$(unit MainPID)
# it lives for longer than the watchdog's limit, since it says that it does
check "a watchdog of 2 s is satisfied" fails within 4 restarted_after "$pid"
inside systemctl kill --kill-whom=main --signal=STOP wsfan
check "a daemon that stands still is ended and started again" within 20 restarted_after "$pid"
check "the link comes up again" within 10 link_is_up

echo "== stop"
stop_within() { # milliseconds
    local from to
    from=$(date +%s%3N)
    inside systemctl stop wsfan
    to=$(date +%s%3N)
    echo "took $((to - from)) ms"
    [ $((to - from)) -lt "$1" ]
}
attach bob alice /run/wsfan/wsfan.sock
check "a client is attached" within 10 client_saw bob '"tick"'
lines=$(upstream_lines)
check "the stop takes less than the grace time" stop_within 2000
check "it ended well" unit_is Result success
check "with exit status 0" unit_is ExecMainStatus 0
check "the client's last line is bye" within 5 client_saw bob '^end'
check "which tells why" equal "$(inside tail -n 2 /run/bob.lines | head -n 1)" '{"type":"bye","why":"shutdown"}'
check "the upstream got a close frame" within 5 upstream_saw '"close", "code": 100[01]' "$lines"
check "the socket is gone" fails inside test -e /run/wsfan/wsfan.sock
check "its directory is kept, for those who have it open" inside test -d /run/wsfan

check "it starts again" inside timeout 10 systemctl start wsfan
check "the link is up" within 10 link_is_up
attach stuck alice --stuck /run/wsfan/wsfan.sock '{"op":"send","text":"flood"}'
check "a client that never reads is attached, with 20 MB to come" within 10 upstream_saw '"flood"'
check "the stop takes the grace time of 2 s at most, and no kill" stop_within 3500
check "it ended well" unit_is Result success

echo "== another group, and a name to look up, in the sandbox"
inside groupadd feed
inside usermod --append --groups feed mallory
printf '[Service]\nSupplementaryGroups=feed\n' | put /etc/systemd/system/wsfan.service.d/group.conf 644
echo '127.0.0.1 localhost' | put /etc/hosts 644
host=localhost config '[[listener]]' 'path = "/run/wsfan/feed.sock"' 'mode = "0660"' 'group = "feed"'
inside systemctl daemon-reload
check "it starts" inside timeout 10 systemctl start wsfan
check "the socket is the other group's" \
    equal "$(inside stat --format='%U:%G %a %F' /run/wsfan/feed.sock)" "wsfan:feed 660 socket"
check "the name is found, the link is up" within 10 link_is_up
attach mallory mallory /run/wsfan/feed.sock
check "a member of that group gets messages" within 10 client_saw mallory '"tick"'
check "one of the first group alone is refused" inside sh -c \
    '! runuser -u alice -- python3 /opt/client.py /run/wsfan/feed.sock 2>/tmp/refused && grep PermissionError /tmp/refused'

echo "== instances"
inside systemctl stop wsfan
for name_of in one two; do
    host=127.0.0.1 config
    inside mv /etc/wsfan/wsfan.toml "/etc/wsfan/$name_of.toml"
    printf '[Service]\nLoadCredential=token:/etc/wsfan/token\n' | put "/etc/systemd/system/wsfan@$name_of.service.d/token.conf" 644
done
inside systemctl daemon-reload
check "two start side by side" inside timeout 20 systemctl start wsfan@one wsfan@two
check "each has its socket" inside sh -c 'test -S /run/wsfan-one/wsfan.sock && test -S /run/wsfan-two/wsfan.sock'
# shellcheck disable=SC2016 # for the shell inside
check "each answers by its name, and says which file it runs" inside sh -c \
    'for one in one two; do wsfan status --json -i $one | grep "/etc/wsfan/$one.toml" || exit 1; done'
check "one reloads" inside timeout 10 systemctl reload wsfan@one
printf 'bad' | put /etc/wsfan/two.toml 644
check "the other one's file is bad, and its reload fails" fails inside timeout 10 systemctl reload wsfan@two
check "it runs on" inside systemctl is-active wsfan@two
inside systemctl stop wsfan@one wsfan@two

echo
echo "$passed passed, 0 failed"
