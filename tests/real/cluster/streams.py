"""What befalls NATS and its stream."""

import time

import log
from agree import agree
from nats import Client
from nodes import Cluster, answer
from processes import check, ms, say, until


async def forged(bed):
    """Appends by others in mid-traffic."""
    cluster = await Cluster(bed, "forged").start(rate=1000)
    client = await bed.servers.client()
    subject, stream = f"wsfan.{cluster.name}.log", cluster.stream
    term = cluster.term
    last = (await client.ask(f"STREAM.INFO.{stream}"))["state"]["last_seq"]
    headers, body = await client.stored(stream, last)
    own = [(name, value) for name, value in headers if name.startswith("Wsfan-")]
    forgery = body.replace(b'"n":', b'"forgery":true,"n":') or b'{"type":"message","seq":1,"json":{"forgery":true}}\n'
    _, answered = await client.request(
        subject, forgery, [*own, ("Nats-Expected-Last-Sequence", str(last - 1))]
    )
    check("a forged append with a stale sequence is refused by the stream", b"10071" in answered, answered.decode()[:100])
    # and what the stream takes, since nothing says where it belongs: only rights could keep it out
    stale = [(name, str(int(value) - 1) if name == "Wsfan-Term" else value) for name, value in own]
    other = [(name, "0123456789abcdef" if name == "Wsfan-Epoch" else value) for name, value in own]
    for what, head in (("a copy", own), ("a stale term", stale), ("another epoch", other), ("no header", [])):
        _, answered = await client.request(subject, forgery, head)
        check(f"one without a sequence ({what}) is stored", b'"seq":' in answered and b"error" not in answered)
        await cluster.flows()
    client.close()
    await cluster.settled()
    (walk,) = await agree(cluster)
    files = [reader.file(at) for node in cluster.nodes.values() for reader in (node.reader, node.raw)
             for at in range(len(reader.sessions))]
    check("it reaches no client", not any(b"forgery" in open(file, "rb").read() for file in files), f"{len(files)} clients")
    check("and costs no term", len(walk.terms()) == 1 and cluster.term == term)

    async def counted():
        strays = [(await node.status())["cluster"]["counters"]["strays"] for node in cluster.nodes.values()]
        return min(strays) >= 4 and strays

    strays = await until(counted, 5, "what was forged isn't counted")  # what status shows may be a part of a lease old
    check("all machines count it", True, strays)
    await cluster.stop()


async def restarted(bed):
    """The one NATS server is restarted."""
    cluster = await Cluster(bed, "restarted").start(rate=5000)
    term = cluster.term
    connections = len((await cluster.upstream.stats())["connections"])
    for how in ("stopped", "killed"):
        at = time.monotonic()
        if how == "killed":
            bed.servers.kill(0)
        else:
            await bed.servers.running.pop(0).end(10)
        down = time.monotonic()
        await until(lambda: time.monotonic() >= down + 0.3, 1, "?")  # what is tried takes that long
        bed.servers.start(0)
        await bed.servers.ready()
        back = time.monotonic()
        await cluster.flows()
        say(f"    {how}: away for {ms(back - at)}, messages again after {ms(time.monotonic() - at)}")
        check(f"NATS is {how} and started: no new term", cluster.term == term, f"term {cluster.term}")
    await cluster.settled()
    (walk,) = await agree(cluster)
    check("nothing is lost", not walk.holes and not walk.failovers, f"{walk.messages} messages")
    stats = await cluster.upstream.stats()
    check("and the connection upstream is the same", len(stats["connections"]) == connections)
    await cluster.stop()


async def quorum(bed):
    """Servers of three go: one that doesn't lead the stream, then two."""
    cluster = await Cluster(bed, "quorum").start(rate=1000)
    term = cluster.term
    servers, stream = bed.servers, cluster.stream
    led = await servers.leader(stream)
    # nor the one without which no consumer has a place until the rest have elected
    other = next(at for at in range(3) if at not in (led, servers.places()))
    at = time.monotonic()
    servers.kill(other)
    await cluster.goes_on(2000)
    check("a server that doesn't lead the stream is killed: no new term", cluster.term == term)
    say(f"    messages reached all clients {ms(max(0, time.monotonic() - at - 2))} late")
    servers.start(other)
    await caught_up(servers, stream, other)

    led = await servers.leader(stream)
    gone = [at for at in range(3) if at != led]
    marks = time.monotonic()
    servers.kill(*gone)

    async def idle():
        return (await cluster.upstream.stats())["open"] == 0

    await until(idle, 10, "the connection upstream stays open without a quorum")
    say(f"    the quorum is lost: the connection is closed after {ms(time.monotonic() - marks)}")

    def told():
        return all(
            any(m["type"] == "link" and "seq" not in m and m["state"] == "waiting" for _, m in node.reader.marks(marks))
            for node in cluster.nodes.values()
        )

    await until(told, 15, "clients aren't told that there is no quorum")
    check("quorum lost: all clients are told, by a link line without seq", True, ms(time.monotonic() - marks))

    async def detached():
        return (await cluster.nodes["n1"].status())["cluster"]["state"] == "detached"

    # the leader's silence may be told before
    await until(detached, 15, "status doesn't say that there is no quorum")
    check("and status says so", True, ms(time.monotonic() - marks))
    at = time.monotonic()
    servers.start(*gone)
    await cluster.next_term(term, 40)
    await cluster.flows(40)
    check("it is back, and so are messages, in the same log", True, f"after {ms(time.monotonic() - at)}")
    stats = await cluster.upstream.stats()
    check("never two connections upstream", stats["most"] == 1)
    await caught_up(servers, stream, *gone)
    await cluster.settled()
    walks = await agree(cluster)
    check("the epoch is the same", len(walks) == 1)
    await cluster.stop()


async def caught_up(servers, stream, *started):
    """All servers have what the stream has, those that were started, too."""
    await servers.ready(30, *started)

    async def is_whole():
        try:
            info = (await servers.ask(f"STREAM.INFO.{stream}"))["cluster"]
        except (OSError, TimeoutError, KeyError):
            return False
        replicas = info.get("replicas", [])
        return "leader" in info and len(replicas) == 2 and all(each["current"] for each in replicas)

    await until(is_whole, 40, "the stream's servers don't catch up")


async def deleted(bed):
    """The stream is deleted."""
    cluster = await Cluster(bed, "deleted").start(rate=1000)
    before = {node.name: node.reader.sessions[-1] for node in cluster.nodes.values()}
    epoch = before["n1"].epoch()
    at = time.monotonic()
    await bed.servers.ask(f"STREAM.DELETE.{cluster.stream}")

    def told():
        return all(any(m["type"] == "bye" and m["why"] == "epoch" for _, m in each.marks) for each in before.values())

    await until(told, 15, "clients aren't told that the epoch is over")
    check("the stream is deleted: bye epoch to all clients", True, ms(time.monotonic() - at))
    await until(cluster.leader, 20, "nobody leads")
    await cluster.flows()
    check("and they resume under a new epoch", True, ms(time.monotonic() - at))
    epochs = {node.reader.sessions[-1].epoch() for node in cluster.nodes.values()}
    check("which is the same on all machines", len(epochs) == 1 and epoch not in epochs, f"{epoch}, then {epochs}")
    gaps = [mark for mark in log.losses(cluster.nodes.values()) if mark["why"] == "epoch"]
    check("who goes on from a place in the former one is told of a gap", len(gaps) >= len(before), len(gaps))
    stats = await cluster.upstream.stats()
    check("never two connections upstream", stats["most"] == 1)
    await cluster.settled()
    await agree(cluster)
    await cluster.stop()


async def limits(bed):
    """A follower falls out of what the stream holds."""
    cluster = Cluster(bed, "limits", extra='[history]\nmax_bytes = "2MiB"\n')
    await cluster.upstream.ready()
    await cluster.upstream.remote.do("pad", bytes=1000)
    await cluster.start(rate=200)
    follower = cluster.followers()[0]
    session = await follower.open()
    await until(lambda: session.number, 5, "no message comes")
    raw = follower.raw.sessions[-1]
    follower.freeze()
    await cluster.upstream.say(5000)

    async def passed():
        """The stream holds no more what comes after all that was given to the follower, in which it hasn't looked."""
        consumers = (await bed.servers.ask(f"CONSUMER.LIST.{cluster.stream}"))["consumers"]
        given = next(each["delivered"]["stream_seq"] for each in consumers if each["name"].startswith(follower.name))
        first = (await bed.servers.ask(f"STREAM.INFO.{cluster.stream}"))["state"]["first_seq"]
        return first > given + 10

    at = time.monotonic()
    await until(passed, 60, "the stream discards nothing that a frozen follower wasn't given")
    say(f"    what a frozen follower wasn't given was discarded after {ms(time.monotonic() - at)}")
    await cluster.upstream.say(200)
    follower.thaw()

    def told():
        return [m for _, m in session.marks if m["type"] == "gap" and "seq" not in m]

    def discarded():
        return [m for m in told() if m["why"] == "discarded"]

    await until(discarded, 20, "the follower's client isn't told of what was discarded")
    gap = discarded()[0]
    good = gap["count"] == gap["to"] - gap["from"] + 1
    check("a follower past the stream's limits: a counted gap", good, f"{gap['why']}, {gap['count']} entries")
    await until(raw.ended.is_set, 10, "a raw client isn't cut off")
    check("a raw client, which can't be told, is cut off", True)
    await cluster.flows(30)
    await cluster.settled(30, raw=False)
    status = await answer(session, {"op": "status", "id": "status"}, 5)
    ledger = next(row for row in status["clients"] if row.get("you"))["ledger"]
    check(
        "and its client's ledger balances",
        ledger["entries"] == ledger["delivered"] + ledger["lost"] + ledger["passed"] + ledger["ahead"]
        and ledger["lost"] == sum(m["count"] for m in told()),
        ledger,
    )
    counters = status["counters"]
    # raw clients that read slowly what came after may have gone for that
    cut = counters["cut_off"]["discarded"] + counters["cut_off"]["slow_client"]
    check("status counts it", counters["gaps"]["discarded"] and cut, counters["gaps"])
    session.close()
    log.read(cluster.nodes.values())  # which says what isn't the same
    check("what clients have is the same for each (epoch, seq), and rises by one but for declared gaps", True)
    await cluster.stop()
