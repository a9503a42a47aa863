"""A machine that has the link, and no way to the server."""

import time

from agree import agree
from control import Remote
from nodes import Cluster
from processes import Process, check, free_ports, ms, until

NAMES = ["n1", "n2", "n3"]
MOVES_AFTER = 1.0


class Ways:
    """Each machine's own way to the server."""

    def __init__(self, bed, name, **cluster):
        # nothing here waits for a lease, and a long one isn't lost on a busy machine
        self.cluster = Cluster(bed, name, lease=15.0, **cluster)
        self.ports = dict(zip(NAMES, free_ports(len(NAMES))))
        self.remote = Remote(f"{self.cluster.work}/proxy.control")
        pairs = [f"{port}:{self.cluster.upstream.port}" for port in self.ports.values()]
        self.proxy = Process(self.cluster.work, "proxy", ["python3", f"{bed.here}/proxy.py", self.remote.path, *pairs])
        for node, port in self.ports.items():
            self.cluster.add(node, upstream=f"ws://127.0.0.1:{port}/")

    async def set(self, node, mode):
        await self.remote.do("set", port=self.ports[node.name], mode=mode)

    async def end(self):
        await self.cluster.settled()
        await agree(self.cluster)
        await self.cluster.stop()
        self.proxy.kill()


async def stuck(bed):
    """The leader and another machine can't reach the server, and the third one can."""
    await moves(Ways(bed, "moves", step_down_after=f"{MOVES_AFTER:.0f}s"))
    await stays(Ways(bed, "stays", step_down_after="off"))


async def moves(ways):
    cluster = await ways.cluster.start(rate=500)
    leader, term = cluster.leader(), cluster.term
    second, third = cluster.followers()
    at = time.monotonic()
    await ways.set(second, "reset")
    await ways.set(leader, "reset")
    led, up, _ = await cluster.next_term(term, 30)
    check("step_down_after: another machine has the link up, which can reach the server", cluster.leader() is third)
    check("not before that time was over", led - at >= MOVES_AFTER, f"{ms(led - at)}, up after {ms(up - at)}")
    tried = [link for _, link in cluster.links() if link.get("term") == term and link["state"] == "waiting"]
    told = [link["error"] for link in tried if link.get("error")]
    check("until then the leader tried, and its clients were told why not", told, f"{len(tried)} times")
    await cluster.flows()

    async def counted():
        told = (await leader.status())["cluster"]
        return told["counters"]["stepped_down"] and told

    told = await until(counted, 10, "status doesn't say that the leader has stepped down")
    fenced = sum(told["counters"]["fenced"].values())
    check("it has stepped down in order, and goes along", told["state"] == "follower" and not fenced, told["counters"])
    check("its log says why", "hasn't come up for cluster.step_down_after" in leader.log())
    for node in (leader, second):
        await ways.set(node, "pass")
    stats = await cluster.upstream.stats()
    check("never two connections upstream", stats["most"] == 1)
    await ways.end()


async def stays(ways):
    cluster = await ways.cluster.start(rate=500)
    leader, term = cluster.leader(), cluster.term
    at = time.monotonic()
    await ways.set(leader, "reset")

    def tried():
        """For longer than what moves the link elsewhere."""
        newest = cluster.newest()
        return time.monotonic() - at > 3 * MOVES_AFTER and newest["state"] == "waiting" and newest["attempt"]

    attempts = await until(tried, 30, "the leader doesn't try again")
    took = ms(time.monotonic() - at)
    check('step_down_after = "off": the leader keeps the link', cluster.term == term, f"{attempts} attempts, {took}")
    await ways.set(leader, "pass")
    await until(cluster.leader, 15, "the link isn't up again")
    check("and has it up again when it can", cluster.leader() is leader and cluster.term == term)
    await cluster.flows()
    await ways.end()
