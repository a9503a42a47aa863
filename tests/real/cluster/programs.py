"""What programs say, from any machine: sends, and ops of control."""

import asyncio
import time

from agree import agree
from nodes import Cluster, answer
from processes import check, ms, until

OUTBOX = '[outbox]\nmax_messages = 10000\nttl = "60s"\n'


class Program:
    """A client that sends at a rate, and keeps each fate that it is told."""

    def __init__(self, node):
        self.node = node
        self.sent = {}  # id: when
        self.session = None

    async def open(self):
        self.session = await self.node.open()
        return self

    async def send_for(self, seconds, every):
        begin = time.monotonic()
        while time.monotonic() < begin + seconds:
            self.send()
            await asyncio.sleep(every)  # the rate

    def send(self):
        name = f"{self.node.name}-{id(self)}-{len(self.sent)}"
        self.sent[name] = time.monotonic()
        self.session.send({"op": "send", "id": name, "text": name})
        return name

    def fates(self):
        """Of each send, all that was told of it, with the time of the last."""
        fates = {name: [] for name in self.sent}
        for at, mark in self.session.marks:
            if mark.get("id") in fates:
                fates[mark["id"]].append((mark.get("result") or mark.get("code"), at))
        return fates

    def has_written(self):
        return any(told and told[0][0] == "written" for told in self.fates().values())

    def untold(self):
        return [name for name, told in self.fates().items() if not told or told[-1][0] == "queued"]


def balance(programs, sent):
    """Each fate once, and each true. How many there were of each."""
    texts = [text for _, text in sent]
    counts = {}
    for program in programs:
        for name, told in program.fates().items():
            fate = [what for what, _ in told]
            final = [what for what in fate if what != "queued"]
            check_fate(name, fate, len(final) == 1 and fate.count("queued") <= 1 and fate[-1] != "queued")
            arrived = texts.count(name)
            fits = {"written": arrived == 1, "unknown": arrived <= 1}.get(final[0], arrived == 0)
            check_fate(name, [*fate, f"arrived {arrived} times"], fits)
            key = " then ".join(fate)
            counts[key] = counts.get(key, 0) + 1
    return ", ".join(f"{count} {fate}" for fate, count in sorted(counts.items()))


def check_fate(name, fate, good):
    if not good:
        check(f"the fates of {name}", False, fate)


def order_broken(programs, sent):
    """What one client sent comes in its order: the first that doesn't."""
    for program in programs:
        newest = -1
        for at, (connection, text) in enumerate(sent):
            if text in program.sent:
                number = int(text.rsplit("-", 1)[1])
                if number < newest:
                    fates = program.fates()
                    before = text.rsplit("-", 1)[0] + f"-{newest}"
                    return f"{text} {fates[text]} on {connection} after {before} {fates[before]} on {sent[at - 1][0]}"
                newest = number
    return None


async def sends(bed, outbox=True):
    """Sends from followers, with the leader killed in flight."""
    cluster = await Cluster(bed, "sends", extra=OUTBOX * outbox).start(rate=200)
    for _ in range(2):
        leader, term = cluster.leader(), cluster.term
        programs = [await Program(node).open() for node in cluster.followers()]
        tasks = [asyncio.create_task(program.send_for(2.5, 0.004)) for program in programs]
        await until(lambda: all(program.has_written() for program in programs), 5, "no send of a follower's is written")
        at = time.monotonic()
        leader.kill()
        led, _, _ = await cluster.next_term(term, 10)
        await asyncio.gather(*tasks)
        await until(
            lambda: not any(program.untold() for program in programs),
            15,
            "sends aren't told their fate",
        )
        leader.start()
        await cluster.flows()
        sent = await cluster.upstream.remote.do("sent")
        check(
            "sends from followers, the leader killed in flight: each fate once, and true of what the server got",
            True,
            balance(programs, sent),
        )
        broken = order_broken(programs, sent)
        check("what one program sent came in its order", not broken, broken or "")
        unknown = [told[-1][1] - at for each in programs for told in each.fates().values() if told[-1][0] == "unknown"]
        check(
            "`unknown` is told within lease + 1 s of the loss",
            max(unknown, default=0) <= cluster.lease + 1,
            ms(max(unknown, default=0)),
        )
        queued = [name for each in programs for name, told in each.fates().items() if told[0][0] == "queued"]
        if outbox:
            down = [name for each in programs for name, told in each.fates().items() if told[0][0] == "link_down"]
            check("none is refused, since there is an outbox", not down, len(down))
            check("those `queued` went out once, through the next leader", queued, f"{len(queued)} sends")
        else:
            check("without an outbox none is queued", not queued)
        for program in programs:
            program.session.close()
    await cluster.settled()
    await agree(cluster)
    await cluster.stop()


async def sends_without_outbox(bed):
    """The same without an outbox."""
    await sends(bed, outbox=False)


async def control(bed):
    """`close`, `open` and `reconnect` on any machine; what was closed stays so."""
    cluster = await Cluster(bed, "control").start(rate=200)
    leader, term = cluster.leader(), cluster.term
    follower = cluster.followers()[0]
    session = await follower.open()

    def state():
        return cluster.newest()["state"]

    told = await answer(session, {"op": "reconnect", "id": "r"}, 5)
    check("`reconnect` on a follower is accepted", told.get("result") == "accepted", told)

    async def second():
        return len((await cluster.upstream.stats())["connections"]) == 2

    await until(second, 5, "there is no second connection")
    await until(cluster.leader, 5, "the link isn't up again")
    check("and there is a second connection, of the same term", cluster.term == term)
    told = await answer(session, {"op": "close", "id": "c"}, 5)
    check("`close` on a follower is accepted", told.get("result") == "accepted", told)
    await until(lambda: state() == "closed", 5, "the link isn't closed")
    leader.kill()
    at = time.monotonic()

    def closed_anew():
        newest = cluster.newest()
        return newest["term"] > term and newest

    newest = await until(closed_anew, 10, "there is no new leader")
    check("what was closed stays closed under the next leader", newest["state"] == "closed", ms(time.monotonic() - at))
    count = len((await cluster.upstream.stats())["connections"])
    check("which opens no connection", count == 2, count)
    leader.start()
    other = next(node for node in cluster.followers() if node not in (leader, follower) or node is follower)
    opener = await other.open()
    told = await answer(opener, {"op": "open", "id": "o"}, 5)
    check("`open` on a machine is accepted", told.get("result") == "accepted", told)
    await until(cluster.leader, 10, "the link isn't opened")
    await cluster.flows()
    check("and messages come to all machines again", True)
    session.close()
    opener.close()
    await cluster.settled()
    await agree(cluster)
    await cluster.stop()
