"""What keeps a node from the log: it is told in a sentence, with what to do."""

import asyncio
import json

from nats import Servers
from nodes import Cluster, Node
from processes import check, until


async def trouble(bed):
    """No JetStream, a wrong password, an old server, a stream that is another's, two nodes with one name."""
    plain = Servers(bed.directory("plain"), bed.nats, 1, jetstream=False)
    plain.start()
    await plain.listening()
    await told(bed.beside(plain), "no JetStream", ["JetStream is off", "jetstream { store_dir"])
    plain.kill()

    guarded = Servers(bed.directory("guarded"), bed.nats, 1, more="authorization { user: wsfan, password: right }\n")
    guarded.start()
    await guarded.listening()
    await told(bed.beside(guarded), "no password", ["wants to know who this is", "cluster.user"])
    wrong = {"user": "wsfan", "password": "wrong"}
    await told(bed.beside(guarded), "a wrong password", ["refuses this login", "cluster.password"], **wrong)
    guarded.kill()

    await too_old(bed)

    cluster = Cluster(bed, "another")
    await cluster.upstream.ready()
    settings = {"subjects": [f"wsfan.{cluster.name}.log", "orders"], "retention": "limits", "discard": "old"}
    made = await bed.servers.ask(f"STREAM.CREATE.{cluster.stream}", name=cluster.stream, storage="file", **settings)
    assert "error" not in made, made
    parts = ["can't be the log", "its subjects are", "nats stream rm"]
    await misfit(cluster, "a stream with other subjects", parts, (1, parts))
    await cluster.stop()

    cluster = Cluster(bed, "twins")
    cluster.add("n1")
    cluster.add("n2", node="n1")
    await cluster.upstream.ready()
    for node in cluster.nodes.values():
        node.start()
    logs = list(cluster.nodes.values())
    await until(lambda: any("cluster.node" in node.log() for node in logs), 15, "two nodes with one name aren't told")
    check("two nodes with one name", True, next(said(node, "cluster.node") for node in logs if "cluster.node" in node.log()))
    await cluster.stop()


async def told(bed, what, parts, **keys):
    cluster = Cluster(bed, "trouble", **keys)
    await cluster.upstream.ready()
    await misfit(cluster, what, parts, (1, parts))
    await cluster.stop(gone=True)


async def misfit(cluster, what, parts, live, tried=None, **keys):
    """A node that can't get at the log. `parts`: of the daemon's sentence; `live`: the exit status of `check --live`, and
    of its. `tried`: how often the node has tried."""
    misfit.count += 1
    node = Node(cluster, f"misfit{misfit.count}", **{"node": "n1", **keys})
    before = len((await cluster.upstream.stats())["connections"])
    node.start()

    def warned():
        return [line[28:].strip() for line in node.log().splitlines() if all(part in line for part in parts)]

    await until(warned, 15, f"{what}: the log doesn't say {parts}")

    async def shown():
        try:
            told = (await node.status())["cluster"]
        except OSError:
            return None
        return all(part in told.get("error", "") for part in parts) and told

    if tried:
        enough = tried() + 3
        await until(lambda: tried() >= enough, 15, f"{what}: the node doesn't try again")
    told = await until(shown, 15, f"{what}: status doesn't say {parts}")
    check(f"{what}: the log says what to do, once", len(warned()) == 1, warned()[0])
    check("and so does status", told["state"] != "leader", told["state"])
    stats = await cluster.upstream.stats()
    check("and it doesn't connect upstream", len(stats["connections"]) == before)
    status, out, error = await node.tool("check", "--live")
    due, words = live
    sentence = error.removeprefix("wsfan: ").strip() if due else out
    good = status == due and all(word in sentence for word in words) and (not due or "\n" not in sentence)
    check(f"check --live {'fails with it' if due else 'says'}", good, sentence if due else words)
    await node.stop()


misfit.count = 0


async def too_old(bed):
    """A server that says that it is older than what a cluster needs; and one beside it that isn't."""
    count = 0

    async def pretend(reader, writer):
        nonlocal count
        count += 1
        info = {"server_id": "OLD", "server_name": "old", "version": "2.8.4", "proto": 1, "go": "go1.17.10"}
        info |= {"host": "127.0.0.1", "port": port, "headers": True, "max_payload": 1 << 20, "jetstream": True}
        writer.write(f"INFO {json.dumps(info)}\r\n".encode())
        while line := await reader.readline():
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
        writer.close()

    server = await asyncio.start_server(pretend, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    urls = [f"nats://127.0.0.1:{port}"]
    parts = [f"the NATS server {urls[0]} is version 2.8.4", "a cluster needs 2.9 or newer", "update nats-server"]
    cluster = Cluster(bed, "old", urls=urls)
    await cluster.upstream.ready()
    await misfit(cluster, "a server that is too old", parts, (1, parts), lambda: count)
    await cluster.stop(gone=True)

    cluster = Cluster(bed, "newer", urls=urls + bed.servers.urls())
    cluster.add("n1")
    await cluster.start(rate=100)
    check("where another of the URLs is new enough, that one is used", cluster.leader() is not None)
    await cluster.stop()
    server.close()


def said(node, words):
    return next((line[28:].strip() for line in node.log().splitlines() if words in line), None)
