"""Drives the daemon through Autobahn's cases: see run.sh."""

import base64
import contextlib
import fnmatch
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

WSTEST, BINARY, REPORT, CASES = sys.argv[1:]
AGENT = "wsfan"
DEADLINE = 90  # seconds for one case


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def process(*command, **options):
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, **options)
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextlib.contextmanager
def suite(port):
    shutil.rmtree(REPORT, ignore_errors=True)
    os.makedirs(REPORT)
    spec = {"url": f"ws://127.0.0.1:{port}", "outdir": REPORT, "cases": CASES.split(), "exclude-cases": []}
    spec["exclude-agent-cases"] = {}
    with open(f"{REPORT}/spec.json", "w") as file:
        json.dump(spec, file)
    with open(f"{REPORT}/log", "w") as log:
        command = (WSTEST, "-m", "fuzzingserver", "-s", f"{REPORT}/spec.json", "--webport=0")
        with process(*command, stdout=log, stderr=log) as child:
            until(lambda: reachable(port) or child.poll() is not None, 20, "the suite's server")
            yield


def reachable(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(condition, seconds, what):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"tests/autobahn: {what} did not come within {seconds} s")
        time.sleep(0.005)


def echo(line):
    """The request that sends a message back, byte for byte; none for another line."""
    if not line.startswith(b'{"type":"message"'):
        return None
    json_at = re.match(rb'\{"type":"message","seq":\d+,"time_us":\d+,"json":', line)
    if json_at:  # never parsed and printed again: the text is what comes back
        text = line[json_at.end() : line.rindex(b"}")].decode()
        return {"op": "send", "text": text}
    message = json.loads(line)
    kind = "text" if "text" in message else "binary"
    return {"op": "send", kind: message[kind]}


def call(path, port, directory, answer):
    """One daemon, one connection to the suite; the messages that came, until the server closed."""
    socket_path = f"{directory}/wsfan.sock"
    config = f"""
[upstream]
url = "ws://127.0.0.1:{port}/{path}"
proxy = "off"
max_message = "64MiB"
compression = true
[reconnect]
initial_delay = "10m"
max_delay = "10m"
[history]
max_bytes = "512MiB"
[[listener]]
path = "{socket_path}"
max_line = "64MiB"
[log]
level = "error"
"""
    with open(f"{directory}/wsfan.toml", "w") as file:
        file.write(config)
    heard = []
    with process(BINARY, "run", "--config", f"{directory}/wsfan.toml") as daemon:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(DEADLINE)
            until(lambda: client.connect_ex(socket_path) == 0 or daemon.poll() is not None, 10, "the daemon")
            lines = client.makefile("rb", buffering=1 << 20)
            hello = json.loads(lines.readline())
            since = {"epoch": hello["epoch"], "seq": 0}
            client.sendall(json.dumps({"op": "attach", "id": 0, "since": since}).encode() + b"\n")
            for line in lines:
                request = echo(line)
                if request is None:
                    if line.startswith(b'{"type":"link"') and json.loads(line)["state"] in ("waiting", "failed"):
                        break
                    continue
                heard.append(request)
                if answer:
                    client.sendall(json.dumps(request).encode() + b"\n")
    return heard


def summary(count):
    with open("tests/autobahn/known.txt") as file:
        lines = [line.split(None, 1) for line in file if line.strip() and not line.startswith("#")]
    known = dict(lines)
    with open(f"{REPORT}/index.json") as file:
        cases = json.load(file)[AGENT]
    bad = ("FAILED", "WRONG CODE", "UNCLEAN", "FAILED BY CLIENT")
    failed = [name for name, case in cases.items() if case["behavior"] in bad or case["behaviorClose"] in bad]
    failed.sort(key=lambda name: [int(part) for part in name.split(".")])
    counts = {}
    for case in cases.values():
        counts[case["behavior"]] = counts.get(case["behavior"], 0) + 1
    print(", ".join(f"{number} {name}" for name, number in sorted(counts.items())))
    unknown = 0
    for name in failed:
        case = cases[name]
        why = next((why for pattern, why in known.items() if fnmatch.fnmatchcase(name, pattern)), None)
        unknown += why is None
        print(f"failed {name}: {case['behavior']}, close {case['behaviorClose']}: {(why or 'unknown').strip()}")
    missing = count - len(cases)
    print(f"{len(cases) - len(failed)} passed, {len(failed) + missing} failed")
    return unknown or missing


def main():
    port = free_port()
    with tempfile.TemporaryDirectory() as root, suite(port):
        def visit(path, answer):
            with tempfile.TemporaryDirectory(dir=root) as directory:
                return call(path, port, directory, answer)

        count = int(visit("getCaseCount", False)[0]["text"])
        for case in range(1, count + 1):
            visit(f"runCase?case={case}&agent={AGENT}", True)
            if case % 50 == 0:
                print(f"{case} of {count}", flush=True)
        visit(f"updateReports?agent={AGENT}", False)
    sys.exit(1 if summary(count) else 0)


main()
