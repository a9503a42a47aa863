"""What keeps a node from the log: it is told in a sentence, with what to do."""

from nats import Servers
from nodes import Cluster
from processes import check, until


async def trouble(bed):
    """No JetStream, a wrong password, a stream that is another's, two nodes with one name."""
    plain = Servers(bed.directory("plain"), bed.nats, 1, jetstream=False)
    plain.start()
    await told(bed.beside(plain), "no JetStream", ["JetStream is off", "jetstream { store_dir"])
    plain.kill()

    guarded = Servers(bed.directory("guarded"), bed.nats, 1, more="authorization { user: wsfan, password: right }\n")
    guarded.start()
    await told(bed.beside(guarded), "no password", ["wants to know who this is", "cluster.user"])
    wrong = {"user": "wsfan", "password": "wrong"}
    await told(bed.beside(guarded), "a wrong password", ["refuses this login", "cluster.password"], **wrong)
    guarded.kill()

    cluster = Cluster(bed, "another")
    cluster.add("n1")
    settings = {"subjects": [f"wsfan.{cluster.name}.log", "orders"], "retention": "limits", "discard": "old"}
    made = await bed.servers.ask(f"STREAM.CREATE.{cluster.stream}", name=cluster.stream, storage="file", **settings)
    assert "error" not in made, made
    await tell(cluster, "a stream with other subjects", ["can't be the log", "its subjects are", "nats stream rm"])
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
    cluster.add("n1")
    await tell(cluster, what, parts)
    await cluster.stop(gone=True)


async def tell(cluster, what, parts):
    await cluster.upstream.ready()
    node = cluster.nodes["n1"]
    node.start()

    def is_told():
        return all(part in (said(node, parts[0]) or "") for part in parts)

    await until(is_told, 15, f"{what}: the log doesn't say {parts}")
    check(f"{what}: one sentence says what to do", True, said(node, parts[0]))
    stats = await cluster.upstream.stats()
    check("and nobody connects upstream", not stats["connections"])


def said(node, words):
    return next((line[28:].strip() for line in node.log().splitlines() if words in line), None)
