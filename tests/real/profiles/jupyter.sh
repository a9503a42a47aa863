# shellcheck shell=bash
# A Jupyter server with ipykernel: the channels of a kernel, which a command has the server start. Sourced by
# ../profiles.sh.

: "${work:?}" "${binary:?}" "${socket:?}" "${cache:?}" "${day:?}"
jupyter=$cache/jupyter-server-2.21.1
installed "Jupyter Server 2.21.1" "$jupyter" python_packages "$day" jupyter_server==2.21.1 ipykernel==7.4.0
read -r port < <(free_ports 1)
export JUPYTER_TOKEN=t-o-k-e-n
mkdir "$work/jupyter" "$work/jupyter/home" "$work/jupyter/kernels" "$work/jupyter/kernels/python3"
cat >"$work/jupyter/kernels/python3/kernel.json" <<JSON
{"argv": ["$(command -v python3)", "-m", "ipykernel_launcher", "-f", "{connection_file}"], "display_name": "Python", "language": "python"}
JSON
start_jupyter() {
    start jupyter env -u JUPYTER_CONFIG_DIR -u XDG_RUNTIME_DIR HOME="$work/jupyter/home" PYTHONPATH="$jupyter" \
        JUPYTER_PATH="$work/jupyter" python3 -m jupyter_server --ip=127.0.0.1 --port="$port" --port-retries=0 \
        --no-browser --allow-root --ServerApp.root_dir="$work/jupyter/home"
    within 120 kernels || die "Jupyter doesn't answer on port $port"
}
kernels() { curl -fs --noproxy '*' -H "Authorization: token $JUPYTER_TOKEN" "http://127.0.0.1:$port/api/kernels"; }
has_kernels() { equal "$(kernels | python3 -c 'import json, sys; print(len(json.load(sys.stdin)))')" "$1"; }
# execute CODE [MAY_ASK]: prints the reply, or fails
execute() {
    "$binary" request --socket "$socket" --timeout 30s "{\"channel\":\"shell\",\"header\":{\"msg_type\":\"execute_request\",
        \"session\":\"test\",\"username\":\"\",\"version\":\"5.3\",\"date\":\"\"},\"parent_header\":{},\"metadata\":{},
        \"content\":{\"code\":\"$1\",\"silent\":false,\"allow_stdin\":${2:-false}}}"
}
start_jupyter

quick <<TOML
profile = "jupyter"
vars.server = "127.0.0.1:$port"
vars.token = "\${env:JUPYTER_TOKEN}"
TOML

echo "== a kernel"
check "check --live goes the whole way" live
check "the token isn't shown" fails shows "$JUPYTER_TOKEN"
run_wsfan
check "the link comes up" within 20 heard "$(link up)"
client one tail --topic stream --topic execute_result
client two tail --topic stream
check "a program's code runs, and the reply is its own" grep '"status": *"ok"' <<<"$(execute "x = 6 * 7; print('it is', x)")"
check "one program is told what it prints" within 10 gets one "it is 42"
check "and so is the other" within 10 gets two "it is 42"
check "neither has what it didn't ask for" fails gets two execute_input
check "the reply is told to nobody else" fails heard '"execute_reply"'
check "code that fails is a refusal" fails execute "1/0"
check "the kernel keeps what it has" grep '"status": *"ok"' <<<"$(execute "print(x + 1)")"
check "which is told" within 10 gets two "43"
client asked tail --topic input_request
execute "print('hello,', input('who? '))" true >"$work/reply.log" 2>&1 &
asks=$!
check "the kernel asks for input" within 10 gets asked "who? "
# answer TEXT: to what the kernel has asked for
answer() {
    send "$(python3 - "$work/lines.asked" "$1" <<'PYTHON'
import json, sys

lines = [json.loads(line) for line in open(sys.argv[1]) if line.endswith("\n")]
asked = [line["json"]["header"] for line in lines if line["type"] == "message"][-1]
header = {"msg_id": "mine", "msg_type": "input_reply", "session": "test", "username": "", "version": "5.3", "date": ""}
content = {"value": sys.argv[2]}
print(json.dumps({"channel": "stdin", "header": header, "parent_header": asked, "metadata": {}, "content": content}))
PYTHON
    )"
}
check "a program answers" answer wsfan
check "another answer is refused" fails answer nobody
check "the kernel has the first" within 10 gets two "hello, wsfan"
check "and who asked for the code its reply" wait $asks
check "over the one connection" connections 1

echo "== breaks"
check "there are two kernels: this one, and check --live's" has_kernels 2
check "a break of the connection" "$binary" reconnect --socket "$socket"
check "is followed by another" within 20 more "$(link up)" 1
check "to the same kernel, which has what it had" execute "print('still', x)"
check "and says so" within 10 gets one "still 42"
kill_off jupyter
check "the server is killed: the end is told" within 10 heard "$(link waiting)"
start_jupyter
check "the link comes up again by itself" within 60 more "$(link up)" 2
check "to a new kernel, since the server has forgotten the old one" fails execute "x"
check "the only one there is" has_kernels 1
check "which runs code" execute "print('again')"
check "and both programs hear of it: one" within 10 gets one "again"
check "and the other" within 10 gets two "again"
check "the token is never logged" never_said "$JUPYTER_TOKEN"

echo "== refused"
run_wsfan JUPYTER_TOKEN=wrong
check "a wrong token ends the attempts, in the server's words" within 10 heard "$(link failed).*Forbidden"
check "there was one attempt" equal "$(count "$(link connecting)")" 1
check "check --live fails" fails live JUPYTER_TOKEN=wrong
check "in the same words" shows Forbidden
