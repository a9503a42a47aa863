#!/usr/bin/env python3
"""Counts what wsfan does for a message, by figures that don't depend on what else the machine does.

usage: count.py BINARY instructions|calls|cpu none|all|name|pattern CLIENTS ROUNDS BATCH

In lockstep: a server sends BATCH messages of 200 B and a ping in one write, and waits until all clients have theirs and
the ping is answered. Counted are ROUNDS of these, by a daemon that is warm: its instructions in user space (valgrind's
callgrind), its calls to the kernel (strace), or its CPU time. `none` has no [topics], `all` has, with 100 of them; by
`name` and by `pattern` each client wants one of these.
"""
import base64, glob, hashlib, json, os, re, resource, select, signal, socket, struct, subprocess, sys, tempfile, time

TOPIC_END = "abcdefghij"
PATIENCE = 120


def frame(payload):
    n = len(payload)
    return (bytes([0x81, n]) if n < 126 else bytes([0x81, 126]) + struct.pack(">H", n)) + payload


def message(number):
    bare = json.dumps({"n": number, "topic": f"t{number % 100:02}.{TOPIC_END}", "pad": ""})
    return bare.replace('"pad": ""', f'"pad": "{"x" * (200 - len(bare))}"').encode()


def pattern(wish, client):
    wild = f"*{client % 100:02}.{TOPIC_END[: client // 100 % 10]}**"
    return f"t{client % 100:02}.{TOPIC_END}" if wish == "name" else wild


def accept(server):
    server.settimeout(PATIENCE)
    stream, _ = server.accept()
    stream.settimeout(PATIENCE)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    request = b""
    while b"\r\n\r\n" not in request:
        request += stream.recv(4096)
    key = re.search(rb"(?i)sec-websocket-key: *(\S+)", request)[1]
    answer = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
    stream.sendall(head + answer + b"\r\n\r\n")
    return stream


def client(path, wish, number):
    stream, end = socket.socket(socket.AF_UNIX), time.monotonic() + PATIENCE
    while stream.connect_ex(path):
        if time.monotonic() > end:
            sys.exit(f"{path}: nobody listens")
        time.sleep(0.01)  # until the daemon takes another
    stream.settimeout(PATIENCE)
    heard, until = b"", b"\n"
    if wish in ("name", "pattern"):
        attach = {"op": "attach", "id": 1, "topics": [pattern(wish, number)]}
        stream.sendall(json.dumps(attach).encode() + b"\n")
        until = b'"id":1'
    while until not in heard:
        heard += stream.recv(1 << 16)
    if b'"type":"error"' in heard:
        sys.exit(heard.decode())
    return stream


def main(binary, how, wish, clients, rounds, batch):
    with open(binary, "rb") as file:
        if how == "instructions" and b"DID_PAUSE_CLOCK" in file.read():
            sys.exit(f"{binary} has tokio's clock for tests in it, which costs much: build it by cargo build --release alone")
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
    place = tempfile.mkdtemp(prefix="wsfan-count-")
    server, path = socket.create_server(("127.0.0.1", 0)), place + "/socket"
    with open(place + "/wsfan.toml", "w") as file:
        file.write(f'[upstream]\nurl = "ws://127.0.0.1:{server.getsockname()[1]}/"\n[heartbeat]\nkind = "off"\n')
        file.write("" if wish == "none" else '[topics]\npointer = "/topic"\n')
        file.write(f'[[listener]]\npath = "{path}"\nmax_clients = 5000\n')
    tool = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={place}/callgrind"]
    command = (tool if how == "instructions" else []) + [binary, "run", "--config", place + "/wsfan.toml"]
    environment = {**os.environ, "no_proxy": "*"}
    with open(place + "/log", "w") as log:
        daemon = subprocess.Popen(command, env=environment, stderr=log)
    try:
        upstream = accept(server)
        streams = {stream.fileno(): stream for stream in (client(path, wish, n) for n in range(clients))}
        watch = select.epoll()
        for fd in [upstream.fileno(), *streams]:
            watch.register(fd, select.EPOLLIN)
        frames = [frame(message(number)) for number in range(100)]
        sent = got = pongs = 0
        share = 1 if wish in ("none", "all") else 100

        def go(rounds):
            nonlocal sent, got, pongs
            for _ in range(rounds):
                upstream.sendall(b"".join(frames[(sent + n) % 100] for n in range(batch)) + b"\x89\x00")
                sent += batch
                while got < sent * clients // share or pongs < sent // batch:
                    ready = watch.poll(PATIENCE)
                    if not ready:
                        sys.exit(f"stuck: {got} lines, {pongs} pongs, {sent} messages")
                    for fd, _ in ready:
                        if fd == upstream.fileno():
                            pongs += len(upstream.recv(1 << 16)) // 6
                        else:
                            got += streams[fd].recv(1 << 20).count(b'"type":"message"')

        def cpu_us():
            tasks = glob.glob(f"/proc/{daemon.pid}/task/*/schedstat")
            return sum(int(open(task).read().split()[0]) for task in tasks) / 1e3

        go(max(200 // batch, 5))
        what = f"{os.path.basename(binary)}, {wish}, {clients} clients, {rounds} times {batch}:"
        if how == "instructions":
            control = ["callgrind_control", str(daemon.pid)]
            subprocess.run(control + ["-z"], check=True, capture_output=True)
            go(rounds)
            subprocess.run(control + ["-d"], check=True, capture_output=True)
            last = max(glob.glob(place + "/callgrind.*"), key=lambda name: int(name.rsplit(".", 1)[1]))
            count = int(re.search(r"^(?:summary|totals): (\d+)", open(last).read(), re.M)[1])
            print(what, f"{count / rounds / batch:.0f} instructions a message; callgrind_annotate {last}")
        elif how == "calls":
            table = place + "/calls"
            tracer = subprocess.Popen(["strace", "-c", "-f", "-o", table, "-p", str(daemon.pid)], stderr=subprocess.PIPE)
            next(line for line in tracer.stderr if b"attached" in line)
            go(rounds)
            tracer.send_signal(signal.SIGINT)
            tracer.wait()
            rows = [line.split() for line in open(table) if re.match(r"\s*\d", line) and "total" not in line]
            print(what, ", ".join(f"{int(row[3]) / rounds:.2f} {row[-1]}" for row in rows), "a round")
        else:
            before = cpu_us()
            go(rounds)
            print(what, f"{(cpu_us() - before) / rounds / batch:.2f} µs a message")
    finally:
        daemon.kill()
        daemon.wait()


if __name__ == "__main__":
    if len(sys.argv) != 7:
        sys.exit(__doc__)
    main(*sys.argv[1:4], *map(int, sys.argv[4:]))
