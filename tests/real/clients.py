#!/usr/bin/env python3
"""Many local clients, and what they must have seen. Python's standard library is all that it needs.

clients.py attach SOCKET COUNT DIR   connects COUNT clients, moves all of them to the place where the first one
                                     began, says "attached", and writes what each hears to DIR/lines.N
                                     until the daemon closes
clients.py verify COUNT DIR          checks these files; a line "ok: ..." or "FAILED: ..." for each check
"""

import json
import selectors
import socket
import sys

DEADLINE = 300  # seconds without a line mean that nothing will come any more


def attach(path, count, directory):
    selector = selectors.DefaultSelector()
    sockets = []
    for _ in range(count):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(10)
        client.connect(path)
        sockets.append(client)
    files = [open(f"{directory}/lines.{n}", "wb", buffering=0) for n in range(count)]

    # the first line names the place where a client begins; all go to the first one's
    begun = [b""] * count
    for n, client in enumerate(sockets):
        while b"\n" not in begun[n]:
            begun[n] += client.recv(65536) or sys.exit("a client was closed before its hello")
    hello = json.loads(begun[0].split(b"\n")[0])
    since = {"epoch": hello["epoch"], "seq": hello["seq"]}
    for n, client in enumerate(sockets):
        client.sendall(json.dumps({"op": "attach", "id": "here", "since": since}).encode() + b"\n")
        client.setblocking(False)
        selector.register(client, selectors.EVENT_READ, n)

    waiting = set(range(count))  # for the answer to attach
    tails = [b""] * count  # a line that isn't whole yet

    def take(n, data):
        files[n].write(data)
        if n in waiting:
            tails[n] += data
            if b'"id":"here"' in tails[n]:
                waiting.discard(n)
                if not waiting:
                    print("attached", flush=True)

    for n, data in enumerate(begun):
        take(n, data)
    while selector.get_map():
        ready = selector.select(DEADLINE)
        if not ready:
            sys.exit("nothing came for too long")
        for key, _ in ready:
            data = key.fileobj.recv(1 << 20)
            if data:
                take(key.data, data)
            else:
                selector.unregister(key.fileobj)
    print("ended", flush=True)


def entries(path):
    """The entries of the log in a client's file, whole lines as bytes, and all other lines."""
    with open(path, "rb") as file:
        data = file.read()
    assert data.endswith(b"\n"), f"{path} ends in the middle of a line"
    log, others, attached = [], [], False
    for line in data.splitlines(keepends=True):
        value = json.loads(line)
        if value["type"] in ("message", "link") and "seq" in value:
            log.append((value["seq"], value, line))
        else:
            others.append(value)
            if value.get("id") == "here":
                assert value["type"] == "ok", line
                attached, log = True, []  # what came before comes again
    assert attached, f"{path} has no answer to attach"
    return log, others


def verify(count, directory):
    def check(sentence, good, detail=""):
        print(f"ok: {sentence}" if good else f"FAILED: {sentence} {detail}")

    clients = [entries(f"{directory}/lines.{n}") for n in range(count)]
    first = clients[0][0]
    start = clients[0][1][0]["seq"]
    messages = [value for _, value, _ in first if value["type"] == "message"]
    links = [value for _, value, _ in first if value["type"] == "link"]
    print(f"{len(first)} entries: {len(messages)} messages, {len(links)} changes of the link")

    holes = [(n, seq) for n, (log, _) in enumerate(clients) for at, (seq, _, _) in enumerate(log) if seq != start + 1 + at]
    check("each client's seq rises by one, from the place where all attached", not holes, holes[:3])
    lines = [b"".join(line for _, _, line in log) for log, _ in clients]
    check(f"all {count} saw the same {len(lines[0])} bytes", all(other == lines[0] for other in lines))
    kinds = [[value["type"] for value in others] for _, others in clients]
    check("besides them each saw hello, ok and bye, and no gap or error", all(k == ["hello", "ok", "bye"] for k in kinds), kinds)

    ups = [at for at, link in enumerate(links) if link["state"] == "up"]
    check("the link came up twice", len(ups) == 2, [link["state"] for link in links])
    conns = [links[at]["conn"] for at in ups]
    check("the second connection has the next number", conns[1:] == [conns[0] + 1], conns)
    # after an `up` the link waits before each attempt, and says so
    between = [link["state"] for link in links[ups[0] + 1 : ups[1]]] if len(ups) == 2 else []
    pairs = [between[at : at + 2] for at in range(0, len(between), 2)]
    check("between them it waited and connected in turn", pairs and all(p == ["waiting", "connecting"] for p in pairs), between)
    second = next((seq for seq, value, _ in first if value.get("state") == "up" and value["conn"] == conns[-1]), 0)
    hellos = [seq for seq, value, _ in first if value.get("json", {}).get("name") == "signalk-server"]
    check(
        "each connection began with the server's greeting",
        len(hellos) == 2 and hellos[0] < second < hellos[1],
        (hellos, second),
    )
    check("every message is the server's JSON", all("json" in value for value in messages))


if sys.argv[1:2] == ["attach"] and len(sys.argv) == 5:
    attach(sys.argv[2], int(sys.argv[3]), sys.argv[4])
elif sys.argv[1:2] == ["verify"] and len(sys.argv) == 4:
    verify(int(sys.argv[2]), sys.argv[3])
else:
    sys.exit(__doc__)
