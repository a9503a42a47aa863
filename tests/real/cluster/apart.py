"""What is to stay apart, and what can't begin."""

import time

from agree import agree
from nodes import Cluster
from processes import Process, check, ms, until


async def two(bed):
    """Two clusters on one NATS."""
    one = await Cluster(bed, "one").start(rate=500)
    two = await Cluster(bed, "two").start(rate=500, count=2)
    term = two.term
    leader, former = one.leader(), one.term
    leader.kill()
    await one.next_term(former, 10)
    leader.start()
    await one.flows()
    await two.flows()
    check("of two clusters on one NATS one loses its leader, and the other doesn't notice", two.term == term)
    for cluster in (one, two):
        await cluster.settled()
        await agree(cluster)  # which looks at whose messages they are
        stats = await cluster.upstream.stats()
        check("never two connections to its server", stats["most"] == 1)
    for cluster in (one, two):
        await cluster.stop()


async def witness(bed):
    """A node with candidate = false."""
    cluster = Cluster(bed, "witness", lease=1.0)
    cluster.add("n1", "n2")
    cluster.add("n3", candidate=False)
    await cluster.start(rate=500)
    witness = cluster.nodes["n3"]
    leader, term = cluster.leader(), cluster.term
    check("a node with candidate = false doesn't lead", leader is not witness)
    before = len((await cluster.upstream.stats())["connections"])
    for node in (cluster.nodes["n1"], cluster.nodes["n2"]):
        node.kill()
    at = time.monotonic()
    await until(lambda: time.monotonic() >= at + 4 * cluster.lease, 5, "?")  # a candidate would have come by then
    stats = await cluster.upstream.stats()
    check(
        "alone for four leases, it never connects upstream",
        len(stats["connections"]) == before and stats["open"] == 0,
        f"{before} connections, all of others",
    )
    check("and no term begins", cluster.term == term)
    cluster.nodes["n1"].start()
    await cluster.next_term(term, 10)
    cluster.nodes["n2"].start()
    await cluster.flows()
    check("a candidate comes back, and its clients go on", cluster.leader() is not witness)
    await cluster.settled()
    await agree(cluster)
    await cluster.stop()


async def late(bed):
    """NATS isn't there at the start."""
    cluster = Cluster(bed, "late")
    cluster.add("n1", "n2", "n3")
    await cluster.upstream.ready()
    await cluster.upstream.say(500)
    bed.servers.kill()
    for node in cluster.nodes.values():
        node.start()
    node = cluster.nodes["n1"]

    async def detached():
        try:
            status = await node.status()
        except OSError:
            return None
        return status.get("cluster", {}).get("state") == "detached" and status["cluster"]

    now = await until(detached, 10, "status doesn't say that the node is detached")

    def greeted():
        return node.reader.sessions and node.reader.sessions[0].epoch() == ""

    await until(greeted, 5, "a client isn't greeted with an epoch that isn't known yet")
    check("without NATS clients may attach, and are told", True, now)
    stats = await cluster.upstream.stats()
    check("and nobody connects upstream", not stats["connections"])
    sentence = "NATS"
    await until(lambda: sentence in node.log(), 10, "the log names no NATS")
    bed.servers.start()
    await bed.servers.ready()
    at = time.monotonic()
    await until(cluster.leader, 30, "nobody leads")
    await cluster.flows()
    check("it comes, and so do messages, with nobody's doing", True, ms(time.monotonic() - at))
    await cluster.settled()
    await agree(cluster)
    await cluster.stop()
