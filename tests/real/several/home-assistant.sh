# shellcheck shell=bash
# Home Assistant: the ids of one connection must rise, whoever sends. Sourced by ../several.sh.

: "${here:?}" "${work:?}" "${socket:?}" "${cache:?}"
# The newest that Python 3.11 can run, with what its default integrations need, as they were then.
hass=$cache/home-assistant-2024.3.3
installed "Home Assistant 2024.3.3" "$hass" python_packages 2024-04-01 homeassistant==2024.3.3 \
    home-assistant-frontend==20240307.0 janus==1.0.0 securetar==2024.2.1 psutil-home-assistant==0.0.1 Pillow==10.2.0 \
    SQLAlchemy==2.0.27 fnv-hash-fast==0.5.0
read -r port < <(free_ports 1)
mkdir "$work/hass"
cat >"$work/hass/configuration.yaml" <<YAML
homeassistant:
  name: here
  time_zone: UTC
http:
  server_host: 127.0.0.1
  server_port: $port
YAML
hass_python() { PYTHONPATH=$hass python3 "$here/several/home-assistant.py" "$@"; }
start_hass() {
    start hass env PYTHONPATH="$hass" python3 -m homeassistant --config "$work/hass" --skip-pip
    within 120 hass_python runs "$port" || die "Home Assistant doesn't answer on port $port"
}
start_hass
echo "== each counting from 1"
check "a user is made, and a token that lasts" within 60 hass_python token "$port" "$work/hass-token"
HASS_TOKEN=$(cat "$work/hass-token")
export HASS_TOKEN
check "on one plain WebSocket, half of what two programs ask is refused" \
    programs plain home-assistant "ws://127.0.0.1:$port/api/websocket"

# wsfan's own profile; with a heartbeat that has ids as well, and hears of few events by itself
config <<TOML
profile = "home-assistant"
[upstream]
url = "ws://127.0.0.1:$port/api/websocket"
[vars]
token = "\${env:HASS_TOKEN}"
subscribe = { id = 1, type = "subscribe_events", event_type = "core_config_updated" }
[heartbeat]
kind = "message"
interval = "1s"
message = '{"id":\${next_id},"type":"ping"}'
expect = { "/type" = "pong" }
publish = false
[reconnect]
initial_delay = "50ms"
max_delay = "200ms"
[[listener]]
path = "$work/raw.sock"
format = "raw"
TOML
run_wsfan
check "the link comes up" within 20 heard "$(link up)"
check "over wsfan, with a heartbeat that has ids, three programs get their own answers alone" \
    programs requests home-assistant "$socket"
check "so do programs that know nothing of wsfan" programs raw home-assistant "$work/raw.sock"
check "and events under the ids of their own subscriptions" programs streams home-assistant "$socket"
check "also where they know nothing of wsfan" programs raw-streams home-assistant "$work/raw.sock"
check "who narrows gets its own topic alone, and one that leaves is unsubscribed from it" \
    programs leave home-assistant "$socket"
check "over the one connection" connections 1

echo "== killed"
restarted start_hass hass home-assistant
check "the token is never logged" never_said "$HASS_TOKEN"
