# shellcheck shell=bash
# Home Assistant: the ids of one connection must rise, whoever sends. Sourced by ../several.sh.

: "${here:?}" "${work:?}" "${cache:?}"
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
