#!/bin/bash
# Follows a topic: goes on where it was, hears of what it missed, and asks anew then. Needs socat and jq.
#
#     follow.sh SOCKET TOPIC REQUEST NAME
#     follow.sh /run/wsfan/wsfan.sock btc.trades '{"method":"price","of":"btc"}' board
#
# NAME is that under which wsfan itself keeps the place, for an hour unless it is configured otherwise (names.keep).
set -euo pipefail
[ $# = 4 ] || { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2; }
socket=$1 topic=$2 request=$3 name=$4

# What wsfan says as a type, a place and a word or a payload: one jq for all lines. (jq rounds numbers beyond 2^53.)
# shellcheck disable=SC2016 # jq's own
words='[.type, (.seq // 0 | tostring),
    if .type == "gap" then "\(.count) \(.why)"
    elif has("json") then .json | tojson
    elif has("text") then .text | tojson
    else .code // .result // .state // .why // "-" end,
    .message // (if .new then "new" else "" end)] | join("\t")'

# say OP JQ-ARGUMENT...: a line to wsfan, where standard output goes.
say() { jq -cn --arg op "$1" "${@:2}" '{$op, id: $op} + $ARGS.named'; }
ask() { say request --argjson json "$request" --arg id "ask $((asked += 1))"; }
show() { echo "$*" >&3; }

follow() {
    local type seq what message topics attached='' asked=0
    topics=$(jq -cn --arg topic "$topic" '[$topic]')
    # a program of this name that hangs has to go
    say attach --arg name "$name" --argjson takeover true --argjson topics "$topics"
    while IFS=$'\t' read -r type seq what message; do
        case $attached,$type,$what in
            ,error,*) echo "$message" >&2; return 3 ;;
            ,ok,attached)
                attached=yes
                # nothing was kept under the name: the first time, or wsfan has begun a new log
                [ -z "$message" ] || show "$message"
                say subscribe --argjson topics "$topics"
                ask
                continue
                ;;
            ,*) continue ;; # entries before that belong to the place before
            *,gap,*) show gap "$what"; ask ;;
            # what the server said while the link was down is lost; topics come back by themselves
            *,link,up) ask ;;
            *,message,* | *,answer,* | *,error,* | *,bye,*) show "$type" "$what" ;;
        esac
        # worked off: under its name it goes on after this entry. Without an id, nothing is answered
        [ "$type" = ok ] || [ "$seq" = 0 ] || echo "{\"op\":\"ack\",\"seq\":$seq}"
    done
}

work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
mkfifo "$work/says"
exec 3>&1
while :; do
    # shellcheck disable=SC2094 # a pipe: one end writes, and the other reads
    socat - "UNIX-CONNECT:$socket" <"$work/says" | jq --unbuffered -r "$words" | follow >"$work/says" ||
        [ $? != 3 ] || exit 1
    sleep 1 # a restart of wsfan is soon over
done
