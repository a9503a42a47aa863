"""What befalls machines: killed, frozen, stopped, cut off."""

import signal
import time

from agree import agree
from nats import Servers
from netns import ADDRESS, Net
from nodes import Cluster
from processes import Process, check, free_ports, ms, say, until
from control import Remote

SEQUENCE = '[sequence]\npointer = "/n"\n'


async def kills(bed, times=10, sequence=True):
    """The leader killed, again and again, in a flood."""
    cluster = await Cluster(bed, "kills", extra=SEQUENCE * sequence).start(rate=5000)
    waits, flows, kept = [], [], []
    for _ in range(times):
        leader, term = cluster.leader(), cluster.term
        at = time.monotonic()
        leader.kill()
        led, _, mark = await cluster.next_term(term, 10)
        waits.append(led - at)
        survivor = next(node for node in cluster.nodes.values() if node.process)

        def first():
            marks = survivor.reader.marks(led)
            return next((t for t, m in marks if m["type"] == "first message" and m["conn"] == mark["conn"]), None)

        flows.append(await until(first, 10, "the new leader's link is silent") - at)
        kept.append((term, at))
        leader.start()
        await cluster.flows()
        await cluster.goes_on(2500)
    check(f"killed {times} times under 5,000/s: a new leader within 3 s", max(waits) <= 3, listed(waits))
    say(f"    until the first message of the new connection: {listed(flows)}")
    stats = await cluster.upstream.stats()
    check("never two connections upstream", stats["most"] == 1, f"{stats['most']} of {len(stats['connections'])} at once")
    await cluster.settled()
    (walk,) = await agree(cluster, sequence)
    check("exactly one failover gap for each new term", len(walk.failovers) == len(walk.terms()) - 1 == times)
    early = []
    for (term, at), gap in zip(kept, walk.failovers):
        said = await cluster.upstream.remote.do("when", number=gap["after"] + 1)
        early.append(max(0.0, at - said))
    check("what a killed leader took with it was said in its last moment", max(early) <= 0.5, listed(early))
    await cluster.stop()


def listed(seconds):
    return ", ".join(ms(each) for each in seconds)


async def frozen(bed):
    """SIGSTOP for 5 s, then SIGCONT."""
    cluster = await Cluster(bed, "frozen").start(rate=1000)
    leader, term = cluster.leader(), cluster.term
    old = (await cluster.upstream.stats())["connections"][-1]["number"]
    at = time.monotonic()
    leader.freeze()
    led, _, _ = await cluster.next_term(term, 10)
    check("a frozen leader is replaced within 3 s", led - at <= 3, ms(led - at))
    before = leader.reader.sessions[-1]
    await until(lambda: time.monotonic() >= at + 5, 6, "?")  # what is tried takes that long
    woken = time.monotonic()
    leader.thaw()

    async def closed():
        return (await cluster.upstream.stats())["connections"][old - 1]["closed"]

    gone = await until(closed, 5, "the former leader keeps its connection upstream")
    check("it wakes, and drops its connection at once", gone - woken <= 0.5, ms(gone - woken))
    await cluster.flows()
    check("its clients kept their connection, and go on in the same log", leader.reader.sessions[-1] is before)
    await until(lambda: led_by_other(cluster, leader), 1, "the former leader leads again")
    await cluster.settled()
    (walk,) = await agree(cluster)
    # within a term all is said on one connection, and the former one never comes again
    check("nothing of the former leader's reached anyone", len(walk.terms()) == 2, f"terms of {list(walk.terms().values())}")
    await cluster.stop()


def led_by_other(cluster, node):
    return cluster.leader() not in (None, node)


async def term(bed, times=3):
    """SIGTERM."""
    cluster = await Cluster(bed, "term").start(rate=5000)
    waits, ups = [], []
    for _ in range(times):
        leader, term = cluster.leader(), cluster.term
        at = time.monotonic()
        leader.process.signal(signal.SIGTERM)
        led, up, _ = await cluster.next_term(term, 10)
        waits.append(led - at)
        ups.append(up - at)
        status = await leader.process.ended(10)
        leader.process = None
        check("a leader that is stopped ends with exit status 0", status == 0, status)
        leader.start()
        await cluster.flows()
    check("SIGTERM: handed over within half a second", max(waits) <= 0.5, listed(waits))
    say(f"    until the new leader's link was up: {listed(ups)}")
    stats = await cluster.upstream.stats()
    check("never two connections upstream", stats["most"] == 1)
    await cluster.settled()
    await agree(cluster)
    await cluster.stop()


async def cut_by_proxy(bed):
    """The leader is cut off from NATS, by a proxy between them."""
    (target,) = bed.servers.ports
    names = ["n1", "n2", "n3"]
    ports = dict(zip(names, free_ports(len(names))))
    cluster = Cluster(bed, "proxied")
    pairs = [f"{port}:{target}" for port in ports.values()]
    remote = Remote(f"{cluster.work}/proxy.control")
    proxy = Process(cluster.work, "proxy", ["python3", f"{bed.here}/proxy.py", remote.path, *pairs])
    for name, port in ports.items():
        cluster.add(name, urls=[f"nats://127.0.0.1:{port}"])
    await cluster.start(rate=1000)
    for mode in ("hole", "deaf", "reset"):

        async def set_mode(node, mode=mode):
            await remote.do("set", port=ports[node.name], mode=mode)

        async def mend(node):
            await remote.do("set", port=ports[node.name], mode="pass")

        await cut(cluster, f"a proxy ({mode})", set_mode, mend)
    await cluster.settled()
    await agree(cluster)
    await cluster.stop()
    proxy.kill()


async def cut_by_netns(bed):
    """The same with machines of their own, of which one loses its way to NATS, and keeps that to the server."""
    names = ["n1", "n2", "n3"]
    net = Net(names)
    try:
        work = bed.directory("netns")
        servers = Servers(work, bed.nats, 1, ADDRESS, net.enter("hub"), lambda port: net.socket("hub", port))
        servers.start()
        await servers.ready()
        cluster = Cluster(bed.beside(servers, net.enter("hub")), "netns")
        for name in names:
            cluster.add(name, enter=net.enter(name))
        await cluster.start(rate=1000)

        async def cut_off(node):
            net.cut(names.index(node.name) + 1, node.name, servers.ports[0])

        async def deafen(node):
            net.deafen(node.name, servers.ports[0])

        async def mend(_):
            net.mend()

        await cut(cluster, "its network (both ways)", cut_off, mend)
        await cut(cluster, "its network (what NATS says)", deafen, mend)
        await cluster.settled()
        await agree(cluster)
        await cluster.stop()
        servers.kill()
    finally:
        net.remove()


async def cut(cluster, by, break_off, mend):
    """The leader can't reach NATS, and can reach the server."""
    leader, term = cluster.leader(), cluster.term
    await cluster.upstream.remote.do("reset")
    old = (await cluster.upstream.stats())["connections"][-1]["number"]
    at = time.monotonic()
    await break_off(leader)
    led, _, _ = await cluster.next_term(term, 10)
    stats = await cluster.upstream.stats()
    former, newer = stats["connections"][old - 1], stats["connections"][old]
    check(
        f"the leader cut off from NATS by {by}: its connection is closed before the next one opens",
        former["closed"] and former["closed"] <= newer["opened"] and stats["most"] == 1,
        f"closed after {ms((former['closed'] or newer['opened']) - at)}, {ms(newer['opened'] - former['closed'])} before",
    )
    check("and a new leader is there within 3 s", led - at <= 3, ms(led - at))

    def told():
        return any(m["type"] == "link" and "seq" not in m for _, m in leader.reader.marks(at))

    await until(told, 5, "its clients aren't told that it is detached")
    check("its clients are told by a link line without seq", True)
    await mend(leader)
    await cluster.flows(20)
