"""NATS elects: what a lease is chosen for."""

import asyncio
import time

from agree import agree
from nodes import Cluster
from processes import Failed, check, ms, say, until
from streams import caught_up

SEQUENCE = '[sequence]\npointer = "/n"\n'
KILLED = 0  # the server
LONG = 15.0
IN_TIME = 8.0  # a leader with that lease has 10.5 s, of which it needs some to find out


async def elects(bed):
    """The NATS server is killed that leads the stream and serves wsfan's leader, with a lease of 2 s and one of 15 s."""
    for _ in range(3):
        if await round_of(bed):
            return
        say("    which is more than such a lease is for: once more")
    raise Failed(f"NATS doesn't elect within {ms(IN_TIME)}, in three rounds")


async def round_of(bed):
    """Whether NATS has elected in time for the long lease."""
    servers = bed.servers
    short = await placed(Cluster(bed, "short", extra=SEQUENCE))
    long = await placed(Cluster(bed, "long", lease=LONG, extra=SEQUENCE))
    for cluster in (short, long):
        await cluster.upstream.say(1000)
        await cluster.flows()
    good = [await is_placed(cluster) for cluster in (short, long)]
    check("one NATS server leads both streams, and serves both leaders", all(good))
    terms = short.term, long.term
    held = len((await long.upstream.stats())["connections"])
    at = time.monotonic()
    servers.kill(KILLED)
    back = await asyncio.gather(*[goes_on(cluster) for cluster in (short, long)])
    elected = max(when for when, _, _ in back) - at
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
    servers.start(KILLED)
    for cluster in (short, long):
        stats = await cluster.upstream.stats()
        check("never two connections upstream", stats["most"] == 1, f"{len(stats['connections'])} one after the other")
        await cluster.settled()
        (walk,) = await agree(cluster, True)
        if cluster is long and elected <= IN_TIME:
            check("with the long one nothing is lost", not walk.holes and not walk.failovers, f"{walk.messages} messages")
        await caught_up(servers, cluster.stream, KILLED)
        await cluster.stop()
    return elected <= IN_TIME


async def goes_on(cluster):
    """When NATS has elected, when a leader's clients have something new, and when all clients have."""
    servers = cluster.bed.servers

    async def has_elected():
        try:
            return await servers.leader(cluster.stream, 0.25) != KILLED
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


async def is_placed(cluster):
    """Whether it is led from the machine that the server serves which leads its stream."""
    leader, servers = cluster.leader(), cluster.bed.servers
    if not leader or servers.serves(f"wsfan {cluster.name} {leader.name}") != KILLED:
        return False
    return await servers.leader(cluster.stream) == KILLED


async def placed(cluster):
    """Starts it so. A node picks one of the servers by chance, and NATS one for the stream's leader."""
    servers = cluster.bed.servers
    cluster.add("n1", "n2", "n3")
    await cluster.upstream.ready()
    first = cluster.nodes["n1"]
    name = f"wsfan {cluster.name} {first.name}"

    def found():
        at = servers.serves(name)
        return None if at is None else [at]

    async def serves():
        if not first.process:
            first.start()
        if await until(found, 20, "a node finds no NATS") == [KILLED]:
            return True
        status = await first.process.end(10)
        first.process = None
        if status:
            raise Failed(f"{first.name} stops with exit status {status}")
        return False

    await until(serves, 60, "the server doesn't get to serve the node")
    await until(cluster.leader, 20, "nobody leads")

    async def leads():
        try:
            if await servers.leader(cluster.stream, 0.25) == KILLED:
                return True
            await servers.ask(f"STREAM.LEADER.STEPDOWN.{cluster.stream}")
        except (TimeoutError, KeyError, ValueError):
            pass  # it elects
        return False

    await until(leads, 60, "the server doesn't get to lead the stream")
    for node in (cluster.nodes["n2"], cluster.nodes["n3"]):
        node.start()
    return cluster
