# shellcheck shell=bash
# nchan, a channel server within nginx: each message begins with its id, which an expression captures, and another
# connection goes on after it. No profile: it is whatever nginx's configuration makes of it. Sourced by ../profiles.sh.

: "${work:?}" "${binary:?}" "${socket:?}" "${running[*]-}"
read -r port < <(free_ports 1)
mkdir "$work/nginx"
cat >"$work/nginx.conf" <<CONF
daemon off;
worker_processes 1;
pid $work/nginx/pid;
error_log stderr;
load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
events { worker_connections 64; }
$([ "$(id -u)" != 0 ] || echo 'user root;')
http {
    access_log $work/nginx/access.log;
    client_body_temp_path $work/nginx/body;
    proxy_temp_path $work/nginx/proxy;
    fastcgi_temp_path $work/nginx/fastcgi;
    uwsgi_temp_path $work/nginx/uwsgi;
    scgi_temp_path $work/nginx/scgi;
    server {
        listen 127.0.0.1:$port;
        location = /pub {
            nchan_publisher;
            nchan_channel_id news;
            nchan_message_buffer_length 100;
        }
        location = /sub {
            if (\$http_x_key != k-e-y) { return 403; }
            nchan_subscriber websocket;
            nchan_channel_id news;
            nchan_subscriber_first_message newest;
            nchan_subscriber_last_message_id \$arg_last;
        }
    }
}
CONF
start_nginx() {
    start nginx nginx -e stderr -p "$work/nginx" -c "$work/nginx.conf"
    listening "$port"
}
start_nginx
publish() { curl -fsS --noproxy '*' -o /dev/null -H "Content-Type: application/json" --data "{\"n\":$1}" "http://127.0.0.1:$port/pub"; }
# numbers NAME: of the messages that a program has, in order
numbers() {
    python3 - "$work/lines.$1" <<'PYTHON'
import json, re, sys

lines = [json.loads(line) for line in open(sys.argv[1]) if line.endswith("\n")]
texts = [line.get("text", "") for line in lines if line["type"] == "message"]
print(*(n for text in texts for n in re.findall(r'\{"n":(\d+)\}', text)))
PYTHON
}
has_all() { equal "$(numbers "$1")" "$2"; }
# nchan_config KEY
nchan_config() {
    quick <<TOML
[upstream]
url = "ws://127.0.0.1:$port/sub"
resume_url = "ws://127.0.0.1:$port/sub?last=\${capture:id}"
subprotocols = ["ws+meta.nchan"]
headers = { X-Key = "$1" }
[[capture]]
regex = '^id: (?<id>[^\n]+)\n'
[[reconnect.rule]]
statuses = [403]
then = "stop"
TOML
}

echo "== a break"
nchan_config k-e-y
check "check --live goes the whole way" live
run_wsfan
check "the link comes up" within 10 heard "$(link up)"
client one tail
client two tail
for n in 1 2 3; do publish $n; done
check "messages come to one program" within 10 has_all one "1 2 3"
check "and to the other" within 10 has_all two "1 2 3"
check "with their ids before them" heard '"text":"id: [0-9]+:[0-9]+\\n'
check "the link is closed" "$binary" close --socket "$socket"
for n in 4 5 6; do publish $n; done
check "and opened" "$binary" open --socket "$socket"
check "what was published meanwhile comes, and nothing twice" within 10 has_all one "1 2 3 4 5 6"
check "also to the other" within 10 has_all two "1 2 3 4 5 6"

echo "== killed"
check "the worker" test -n "$(pgrep -P "${running[nginx]}")"
kill -KILL "$(pgrep -P "${running[nginx]}")"
check "is killed: the end is told" within 10 more "$(link waiting)" 0
check "nginx starts another, and the link comes up again by itself" within 20 more "$(link up)" 2
publish 7
check "what comes then is heard" within 10 gets one '{"n":7}'
check "by both" within 10 gets two '{"n":7}'

echo "== refused"
nchan_config wrong
run_wsfan
check "a wrong key ends the attempts, by the server's 403" within 10 heard "$(link failed).*\"http_status\":403"
check "check --live fails" fails live
check "and names the status" shows 403
