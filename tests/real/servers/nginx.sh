# shellcheck shell=bash
# nginx between wsfan and a server of few words: TLS, client certificates, tokens that end, pauses, idle cuts.
# Sourced by ../servers.sh.

: "${here:?}" "${work:?}"
certificates
read -r backend plain secure picky < <(free_ports 4)
mkdir "$work/nginx" "$work/tokens"
printf old >"$work/key"
cat >"$work/nginx.conf" <<CONF
daemon off;
master_process off; # one process, which is easy to freeze and to kill
worker_processes 1;
pid $work/nginx/pid;
error_log stderr;
events { worker_connections 64; }
http {
    access_log $work/nginx/access.log;
    client_body_temp_path $work/nginx/body;
    proxy_temp_path $work/nginx/proxy;
    fastcgi_temp_path $work/nginx/fastcgi;
    uwsgi_temp_path $work/nginx/uwsgi;
    scgi_temp_path $work/nginx/scgi;
    map \$http_authorization \$token {
        "~^Bearer (?<named>[a-z0-9]+)\$" \$named;
        default none;
    }
    proxy_http_version 1.1;
    proxy_set_header Upgrade \$http_upgrade;
    proxy_set_header Connection upgrade;
    proxy_set_header Authorization \$http_authorization;
    server {
        listen 127.0.0.1:$plain;
        location / { proxy_pass http://127.0.0.1:$backend; }
        location /token {
            if (!-f $work/tokens/\$token) { return 401; }
            proxy_pass http://127.0.0.1:$backend;
        }
        location /key {
            if (\$http_x_key != new) { return 403; }
            proxy_pass http://127.0.0.1:$backend;
        }
        location /busy {
            add_header Retry-After 3 always;
            if (-f $work/busy) { return 503; }
            proxy_pass http://127.0.0.1:$backend;
        }
        location /idle {
            proxy_read_timeout 3s;
            proxy_pass http://127.0.0.1:$backend;
        }
    }
    server {
        listen 127.0.0.1:$secure ssl;
        ssl_certificate $work/tls/localhost.pem;
        ssl_certificate_key $work/tls/localhost.key;
        location / { proxy_pass http://127.0.0.1:$backend; }
    }
    server {
        listen 127.0.0.1:$picky ssl;
        ssl_certificate $work/tls/localhost.pem;
        ssl_certificate_key $work/tls/localhost.key;
        ssl_client_certificate $work/tls/ca.pem;
        ssl_verify_client on;
        location / { proxy_pass http://127.0.0.1:$backend; }
    }
}
CONF
start_backend() { start backend python3 "$here/../systemd/upstream.py" "$backend"; }
start_backend
start nginx nginx -e stderr -p "$work/nginx" -c "$work/nginx.conf"
listening "$backend" "$plain" "$secure" "$picky"
tick='"json":\{"tick":'
# a quick link, with more keys on stdin
quick() {
    config <<TOML
[upstream]
url = "$1"
connect_timeout = "2s"
$(cat)
[reconnect]
initial_delay = "50ms"
max_delay = "200ms"
${2:-}
TOML
}

echo "== TLS"
quick "wss://localhost:$secure/" <<<"tls = { ca_file = \"$work/tls/ca.pem\" }"
run_wsfan
check "with the authority's file, messages come" within 10 heard "$tick"
quick "wss://localhost:$secure/" </dev/null
run_wsfan
check "without it, the certificate isn't trusted, and where to name the authority is told" within 10 says "upstream.tls.ca_file"
quick "wss://127.0.0.1:$secure/" <<<"tls = { ca_file = \"$work/tls/ca.pem\" }"
run_wsfan
check "a certificate for another name is told" within 10 says "is not for 127.0.0.1 but for localhost"
quick "wss://localhost:$picky/" <<<"tls = { ca_file = \"$work/tls/ca.pem\" }"
run_wsfan
check "a server that wants a client certificate refuses one without: 400, and where to name it is told" within 10 \
    heard '"http_status":400.*upstream\.tls\.cert_file'
quick "wss://localhost:$picky/" <<TOML
tls = { ca_file = "$work/tls/ca.pem", cert_file = "$work/tls/client.pem", key_file = "$work/tls/client.key" }
TOML
run_wsfan
check "with the client certificate, messages come" within 10 heard "$tick"

echo "== a token that ends"
# Each run makes a new one. While `withheld` is there, the next one isn't known to the server: it ended too soon.
cat >"$work/new-token" <<SH
#!/bin/sh
echo run >>"$work/tokens.made"
token=t\$(wc -l <"$work/tokens.made")
if [ -e "$work/withheld" ]; then rm "$work/withheld"; else touch "$work/tokens/\$token"; fi
echo "\$token"
SH
chmod +x "$work/new-token"
made() { equal "$(wc -l <"$work/tokens.made")" "$1"; }
touch "$work/withheld"
config <<TOML
[upstream]
url = "ws://localhost:$plain/token"
headers = { Authorization = "Bearer \${command:token}" }
[command.token]
run = ["$work/new-token"]
[reconnect]
initial_delay = "20s"
max_delay = "20s"
[[reconnect.rule]]
statuses = [401]
then = "refresh"
TOML
run_wsfan
check "a 401 is followed at once by an attempt with a new token, and messages come" within 10 heard "$tick"
check "the 401 is in the lines" heard '"http_status":401'
check "the program ran once for each attempt" made 2
check "the server has the second token" within 5 grep -F '"authorization": "Bearer t2"' "$work/backend.log"
check "no token is logged" never_said "Bearer t"

echo "== a key that is refused"
config <<TOML
[upstream]
url = "ws://localhost:$plain/key"
headers = { X-Key = "\${file:$work/key}" }
[reconnect]
initial_delay = "50ms"
max_delay = "100ms"
[[reconnect.rule]]
statuses = [403]
then = "stop"
TOML
run_wsfan
check "a 403 ends the attempts, by its rule" within 10 heard "$(link failed).*\"http_status\":403"
attempts=$(grep -c ' /key ' "$work/nginx/access.log")
check "there was one attempt" equal "$attempts" 1
printf new >"$work/key"
check "with the key renewed, 'wsfan open' is taken" reopen
check "and messages come" within 10 heard "$tick"

echo "== pauses"
touch "$work/busy"
quick "ws://localhost:$plain/busy" </dev/null
run_wsfan
check "a 503 is told" within 10 heard "$(link waiting).*\"http_status\":503"
rm "$work/busy"
check "after the pause messages come" within 20 heard "$tick"
check "the pause was as long as Retry-After says, 3 s, and not much longer" paused '"http_status":503' 3000 6000
quick "ws://localhost:$plain/" '[[reconnect.rule]]
statuses = ["500-599"]
then = "after"
delay = "1500ms"' </dev/null
run_wsfan
check "messages come" within 10 heard "$tick"
kill_off backend
check "the server behind nginx dies: the end without a close frame is told" within 10 heard '"code":1006'
check "nginx says 502" within 10 heard '"http_status":502'
start_backend
check "the server is back: the link comes up by itself" within 20 more "$(link up)" 1
check "the pause was as the rule says" paused '"http_status":502' 1500 4000

echo "== an idle connection is cut"
quick "ws://localhost:$plain/idle?every=60" '[heartbeat]
kind = "off"' </dev/null
run_wsfan
check "without heartbeats the connection is cut without a close frame, and another one comes up" \
    within 20 more "$(link up)" 1
check "the cut is told" heard '"code":1006'
pings() { [ "$(grep -cF '"event": "ping"' "$work/backend.log")" -gt "$1" ]; }
before=$(grep -cF '"event": "ping"' "$work/backend.log" || true)
quick "ws://localhost:$plain/idle?every=60" '[heartbeat]
interval = "1s"' </dev/null
run_wsfan
check "with heartbeats it stays: five pass by in 5 s" within 20 pings $((before + 4))
check "over the one connection" connections 1

echo "== a connection that is dead without a word"
quick "ws://localhost:$plain/" '[heartbeat]
interval = "1s"' </dev/null
run_wsfan
check "messages come" within 10 heard "$tick"
freeze nginx
check "nginx is frozen: the heartbeat notices" within 10 heard "$(link waiting)"
thaw nginx
check "it thaws: the link comes up again" within 20 more "$(link up)" 1
