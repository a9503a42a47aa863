"""NATS elects: what a lease is chosen for."""

import asyncio
import time

from agree import agree
from nodes import Cluster
from processes import Failed, check, ms, say, until
from streams import caught_up

SEQUENCE = '[sequence]\npointer = "/n"\n'
LONG = 15.0
IN_TIME = 8.0  # a leader with that lease has 10.5 s, of which it needs some to find out


async def elects(bed):
    """The NATS server is killed that leads the stream and serves wsfan's leader, with a lease of 2 s and one of 15 s."""
    for _ in range(5):
        if await is_shown(bed):
            return
        say("    once more")
    raise Failed(f"NATS doesn't elect within {ms(IN_TIME)}, or nothing stays where it is, in five rounds")


async def is_shown(bed):
    """Whether all was in its place, and NATS has elected in time for the long lease."""
    servers = bed.servers
    short = Cluster(bed, "short", extra=SEQUENCE)
    long = Cluster(bed, "long", lease=LONG, extra=SEQUENCE)
    server = await placed(short)
    await placed(long, server)
    for cluster in (short, long):
        await cluster.upstream.say(1000)
        await cluster.flows()
    if not all([await is_placed(cluster, server) for cluster in (short, long)]):
        for cluster in (short, long):
            await cluster.stop()
        return False
    check("one NATS server leads both streams, and serves both leaders", True)
    terms = short.term, long.term
    held = len((await long.upstream.stats())["connections"])
    at = time.monotonic()
    servers.kill(server)
    back = await asyncio.gather(*[goes_on(cluster, server) for cluster in (short, long)])
    elected = back[1][0] - at
    for cluster, (when, led, all_have) in zip((short, long), back):
        say(
            f"    a lease of {ms(cluster.lease)}: elected after {ms(when - at)}, the leader goes on {ms(led - when)} later, "
            f"and all have it {ms(all_have - when)} later"
        )
    check("with either messages go on, on all machines", True, f"{short.term - terms[0]} new terms with the short one")
    if elected <= IN_TIME:
        check("with the long one under the same term", long.term == terms[1])
        stats = await long.upstream.stats()
        check("and on the same connection upstream", len(stats["connections"]) == held and stats["open"] == 1)
    servers.start(server)
    for cluster in (short, long):
        await caught_up(servers, cluster.stream, server)
    for cluster in (short, long):
        await cluster.flows(30)  # one that comes back may cost a short lease, too
        stats = await cluster.upstream.stats()
        check("never two connections upstream", stats["most"] == 1, f"{len(stats['connections'])} one after the other")
        await cluster.settled()
        (walk,) = await agree(cluster, True)
        if cluster is long and elected <= IN_TIME:
            check("with the long one nothing is lost", not walk.holes and not walk.failovers, f"{walk.messages} messages")
        await cluster.stop()
    return elected <= IN_TIME


async def goes_on(cluster, killed):
    """When NATS has elected, when a leader's clients have something new, and when all clients have."""
    servers = cluster.bed.servers

    async def has_elected():
        try:
            return await servers.leader(cluster.stream, 0.25) != killed
        except (OSError, TimeoutError, KeyError, ValueError):
            return False

    await until(has_elected, 60, "NATS doesn't elect")
    elected = time.monotonic()
    target = (await cluster.upstream.stats())["said"] + 1

    def has_it():
        leader = cluster.leader()
        return leader and leader.reader.sessions[-1].number >= target

    await until(has_it, 30, "no leader goes on")
    led = time.monotonic()
    await cluster.goes_on(1)
    return elected, led, time.monotonic()


async def is_placed(cluster, server):
    """Whether it is led from a machine that this server serves, which leads its stream, too."""
    leader, servers = cluster.leader(), cluster.bed.servers
    if not leader or servers.serves(f"wsfan {cluster.name} {leader.name}") != server:
        return False
    try:
        return await servers.leader(cluster.stream) == server
    except (TimeoutError, KeyError):
        return False  # it elects


async def placed(cluster, server=None):
    """Starts it so, and tells on which server. A node picks one by chance, and NATS one for the stream's leader."""
    servers = cluster.bed.servers
    cluster.add("n1", "n2", "n3")
    await cluster.upstream.ready()
    first = cluster.nodes["n1"]
    name = f"wsfan {cluster.name} {first.name}"

    def found():
        at = servers.serves(name)
        return None if at is None else [at]

    async def serves():
        first.start()
        at = await until(found, 20, "a node finds no NATS")
        if server in (None, *at):
            return at
        # as if it had never been
        await first.stop()
        await servers.remove(cluster.stream)
        first.hear()
        return None

    (server,) = await until(serves, 60, "the server doesn't get to serve the node")
    await until(cluster.leader, 20, "nobody leads")

    async def leads():
        try:
            if await servers.leader(cluster.stream, 0.25) == server:
                return True
            await servers.ask(f"STREAM.LEADER.STEPDOWN.{cluster.stream}")
        except (TimeoutError, KeyError, ValueError):
            pass  # it elects
        return False

    await until(leads, 60, "the server doesn't get to lead the stream")
    for node in (cluster.nodes["n2"], cluster.nodes["n3"]):
        node.start()
    return server
