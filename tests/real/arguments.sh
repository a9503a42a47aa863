# shellcheck shell=bash
# The options of the scripts that run one server after another. To be sourced in the script's own directory, with its
# arguments, $from the directory that it was called in, $project the checkout, and the known servers in $servers.

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${0##*/}"; }
name=${0##*/}
die() { echo "tests/real/${name%.sh}: $*" >&2; exit 1; }

: "${from:?}" "${project:?}"
binary=$project/target/release/wsfan keep=
named=()
while [ $# -gt 0 ]; do
    case $1 in
        --binary) binary=$(cd "$from" && realpath -- "${2:?a file is missing}"); shift 2 ;;
        --keep) keep=yes; shift ;;
        -h | --help) usage; exit ;;
        *)
            [[ " ${servers[*]} " == *" $1 "* ]] || { usage >&2; exit 2; }
            named+=("$1")
            shift
            ;;
    esac
done
[ ${#named[@]} = 0 ] || servers=("${named[@]}")
: "$binary" "$keep" "${servers[@]}" # for the script
