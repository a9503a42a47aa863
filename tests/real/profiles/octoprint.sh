# shellcheck shell=bash
# OctoPrint with the printer that it simulates: a session that a command asks for. Sourced by ../profiles.sh.

: "${work:?}" "${cache:?}" "${day:?}"
octoprint=$cache/octoprint-1.11.8
installed "OctoPrint 1.11.8" "$octoprint" python_packages "$day" OctoPrint==1.11.8
read -r port < <(free_ports 1)
export OCTOPRINT_KEY=0123456789ABCDEF0123456789ABCDEF
mkdir "$work/octoprint"
cat >"$work/octoprint/config.yaml" <<YAML
server: { firstRun: false, onlineCheck: { enabled: false }, pluginBlacklist: { enabled: false } }
serial: { autoconnect: true, port: VIRTUAL }
plugins:
  virtual_printer: { enabled: true }
  _disabled: [softwareupdate, tracking, announcements, pluginmanager, discovery, backup, errortracking, pi_support]
YAML
cat >"$work/octoprint/users.yaml" <<YAML
_version: 2
me:
  { active: true, apikey: $OCTOPRINT_KEY, groups: [admins], password: none, permissions: [], roles: [user, admin], settings: {} }
YAML
start_octoprint() {
    start octoprint env HOME="$work/octoprint" PYTHONPATH="$octoprint" python3 -m octoprint serve \
        --basedir "$work/octoprint" --iknowwhatimdoing --host 127.0.0.1 --port "$port"
    within 120 api version || die "OctoPrint doesn't answer on port $port"
}
# api PATH [OPTION...]: of curl
api() { curl -fsS --noproxy '*' --max-time 5 -H "X-Api-Key: $OCTOPRINT_KEY" "${@:2}" "http://127.0.0.1:$port/api/$1"; }
start_octoprint

quick <<TOML
profile = "octoprint"
vars.server = "127.0.0.1:$port"
vars.key = "\${env:OCTOPRINT_KEY}"
TOML

echo "== logged in"
check "check --live goes the whole way" live
check "and shows the login, without the session" shows "\${command:login/session}"
run_wsfan
check "the link comes up" within 20 heard "$(link up)"
client one tail --topic 'event.*'
client two tail --topic event.FolderAdded --topic current
check "the printer's state comes" within 20 gets two '"current"'
check "under its topic" heard '"topic":"current"'
check "a folder is made" api files/local -F foldername=first
check "which one program hears" within 10 gets one '"first"'
check "and the other, too" within 10 gets two '"first"'
check "who asked for events hears nothing else" fails gets one '"current"'
check "over the one connection" connections 1

echo "== killed"
kill_off octoprint
check "the end is told" within 10 heard "$(link waiting)"
start_octoprint
check "the link comes up again by itself, with another session" within 20 more "$(link up)" 1
check "a folder is made" api files/local -F foldername=second
check "which one program hears" within 10 gets one '"second"'
check "and the other, too" within 10 gets two '"second"'
check "the key is never logged" never_said "$OCTOPRINT_KEY"

echo "== refused"
run_wsfan OCTOPRINT_KEY=wrong
check "a wrong key ends the attempts, in the server's words" within 10 heard "$(link failed).*CSRF validation failed"
check "there was one attempt" equal "$(count "$(link connecting)")" 1
check "check --live fails" fails live OCTOPRINT_KEY=wrong
check "in the same words" shows "CSRF validation failed"
