# shellcheck shell=bash
# What the scripts share that run one server after another: processes by their names, packages from npm, wsfan with a
# client. To be sourced, after ../checks.sh, with $binary the wsfan to test, and $work a directory that goes at the end
# unless $keep says otherwise.

: "${binary:?}" "${work:?}"
declare -A running=() # process ids, by the names that they were started under
parts=()              # directories that are being made

# Ends what was started here, by its process id.
clean_up() {
    local status=$? pid log
    set +e
    for pid in "${running[@]}"; do kill -KILL "$pid" 2>/dev/null; done
    wait 2>/dev/null
    if [ $status != 0 ]; then
        for log in "$work"/*.log "$work"/lines; do
            [ -s "$log" ] || continue
            echo "---- the end of ${log##*/}"
            tail -n 20 "$log" | cut -c 1-1000
        done
    fi
    [ ${#parts[@]} = 0 ] || rm -rf "${parts[@]}"
    if [ -n "$keep" ]; then echo "kept: $work"; else rm -rf "$work"; fi
    return $status
}
trap clean_up EXIT

# The environment of whoever runs this has no say.
unset http_proxy HTTP_PROXY https_proxy HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY

# ---------------------------------------------------------------- processes

# start NAME COMMAND...: in the background; what it says goes to NAME.log.
start() {
    local name=$1
    shift
    "$@" </dev/null >>"$work/$name.log" 2>&1 &
    running[$name]=$!
}
# kill_off NAME: at once, as in a crash.
kill_off() {
    local pid=${running[$1]}
    unset "running[$1]"
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null || true
}
# A frozen process keeps its connections, and says nothing.
freeze() { kill -STOP "${running[$1]}"; }
thaw() { kill -CONT "${running[$1]}"; }
ends() { ! kill -0 "$1" 2>/dev/null; }

# so many ports that are free, all at once so that they differ
free_ports() {
    python3 -c '
import socket, sys
listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(listener.getsockname()[1] for listener in listeners))' "$1"
}
listens() { python3 -c 'import socket, sys; socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5)' "$1"; }
# listening PORT...: waits until something listens on each.
listening() {
    local port
    for port; do
        within 20 listens "$port" || die "nothing listens on port $port"
    done
}

# ---------------------------------------------------------------- certificates

# An authority, and what it has signed for a server named localhost and for a client: files in $work/tls.
certificates() {
    [ ! -e "$work/tls" ] || return 0
    mkdir "$work/tls"
    local name
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=an authority for tests" \
        -keyout "$work/tls/ca.key" -out "$work/tls/ca.pem" 2>>"$work/openssl.out"
    for name in localhost client; do
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$name" -addext "subjectAltName=DNS:$name" \
            -addext basicConstraints=critical,CA:FALSE -CA "$work/tls/ca.pem" -CAkey "$work/tls/ca.key" \
            -keyout "$work/tls/$name.key" -out "$work/tls/$name.pem" 2>>"$work/openssl.out"
    done
}

# ---------------------------------------------------------------- packages

# installed WHAT DIRECTORY COMMAND...: COMMAND installs in the directory that is its last argument, three times at most.
# What it has made is kept as DIRECTORY, and may be moved there.
installed() {
    local what=$1 directory=$2 part=$2.$$ try
    shift 2
    [ ! -e "$directory/.complete" ] || return 0
    echo "installing $what in $directory"
    parts+=("$part")
    for try in 1 2 3; do
        rm -rf "$part"
        mkdir -p "$part"
        if "$@" "$part" </dev/null; then
            touch "$part/.complete"
            # another run may have been faster
            mv -T "$part" "$directory" 2>/dev/null || rm -rf "$part"
            return
        fi
        echo "try $try of 3 failed"
    done
    rm -rf "$part"
    die "$what could not be installed from the registry"
}
# npm_packages DAY PACKAGE... DIRECTORY: what they depend on is as it was on that day.
npm_packages() {
    timeout 300 npm install --prefix "${*: -1}" --before="$1" --ignore-scripts --omit=dev --no-audit --no-fund \
        --loglevel=error "${@:2:$#-2}"
}
# python_packages DAY PACKAGE... DIRECTORY: the same from PyPI, for PYTHONPATH. uv does it, which knows of days.
python_packages() {
    local directory=${*: -1}
    timeout 120 python3 -m pip install --quiet --root-user-action=ignore --disable-pip-version-check --no-deps \
        --target "$directory/uv" "$uv" &&
        timeout 400 "$directory/uv/bin/uv" pip install --quiet --no-cache --system-certs \
            --python "$(command -v python3)" --exclude-newer "$1" --target "$directory" "${@:2:$#-2}" &&
        rm -rf "$directory/uv"
}
uv=uv==0.13.9

# ---------------------------------------------------------------- wsfan

socket=$work/wsfan.sock
: >"$work/all.log" # of all runs before this one; grep says neither yes nor no of a file that isn't there
# config: what comes in on stdin, with a listener, is what wsfan runs with from the next run_wsfan on.
config() {
    cat >"$work/wsfan.toml"
    printf '[[listener]]\npath = "%s"\n' "$socket" >>"$work/wsfan.toml"
}
# run_wsfan [VARIABLE=VALUE...]: with the config as it is. What a client hears goes to the file `lines`.
clients=(tail)
run_wsfan() {
    stop_wsfan
    env "$@" "$binary" run --config "$work/wsfan.toml" </dev/null >>"$work/wsfan.log" 2>&1 &
    running[wsfan]=$!
    within 10 status || die "wsfan doesn't answer: $(tail -n 3 "$work/wsfan.log")"
    : >"$work/lines"
    "$binary" tail --json --since oldest --socket "$socket" </dev/null >"$work/lines" 2>>"$work/tail.log" &
    running[tail]=$!
    within 10 heard '"type":"link"' || die "the client isn't told of the link" # its first line is there in any case
}
# client NAME COMMAND...: another client, whose lines go to the file `lines.NAME`.
client() {
    local name=$1
    shift
    : >"$work/lines.$name" # at once: a client of this name may have been there before
    "$binary" "$@" --json --socket "$socket" </dev/null >"$work/lines.$name" 2>>"$work/$name.log" &
    running[$name]=$!
    clients+=("$name")
}
stop_wsfan() {
    local name pid
    for name in wsfan "${clients[@]}"; do # clients end by themselves when the daemon has said bye
        pid=${running[$name]:-}
        [ -n "$pid" ] || continue
        [ "$name" != wsfan ] || kill -TERM "$pid"
        within 10 ends "$pid" || die "$name doesn't end"
        wait "$pid" || die "$name ended with status $?"
        unset "running[$name]"
    done
    clients=(tail)
    [ ! -e "$work/wsfan.log" ] || cat "$work/wsfan.log" >>"$work/all.log"
    : >"$work/wsfan.log"
}
status() { "$binary" status --json --socket "$socket"; }
send() { "$binary" send --socket "$socket" "$@"; }
send_file() { local file=$1; shift; send "$@" <"$file"; }
reopen() { "$binary" open --socket "$socket"; }

# What clients were told, by patterns of grep -E; and what the daemon's log says, word for word.
count() { grep -cE -- "$1" "$work/lines" || true; }
heard() { grep -E -- "$1" "$work/lines"; }
more() { [ "$(count "$1")" -gt "$2" ]; }
link() { echo "\"type\":\"link\".*\"state\":\"$1\""; }
is() { status | grep -E "\"link\":\\{[^}]*\"state\":\"$1\""; }
says() { grep -F -- "$1" "$work/wsfan.log"; }
never_said() { ! grep -F -- "$1" "$work/wsfan.log" "$work/all.log"; }
connections() { [ "$(count "$(link up)")" = "$1" ]; }
