"""wsfan on several machines, which are several processes here, and a server upstream."""

import json
import os
import signal

from control import Remote
from processes import Failed, Process, command_says, free_ports, until
from readers import Reader, Session


class Upstream:
    def __init__(self, work, here, name, host="127.0.0.1", enter=()):
        (port,) = free_ports(1)
        self.port = port
        self.url = f"ws://{host}:{port}/"
        self.remote = Remote(f"{work}/{name}.control")
        command = [*enter, "python3", f"{here}/upstream.py", host, str(port), self.remote.path, name]
        self.process = Process(work, f"upstream-{name}", command)

    async def ready(self):
        await self.stats()

    async def stats(self):
        return await self.remote.do("stats")

    async def say(self, rate):
        return await self.remote.do("rate", rate=rate)


class Node:
    """One wsfan, and two clients of it: with envelopes, and without."""

    def __init__(self, cluster, name, enter=(), **own):
        self.cluster, self.name, self.enter = cluster, name, enter
        work = cluster.work
        self.path = f"{work}/{name}.sock"
        self.config = f"{work}/{name}.toml"
        self.process = None
        with open(self.config, "w") as file:
            os.chmod(self.config, 0o600)  # it may have passwords in it
            file.write(cluster.toml(name, **own))
            file.write(f'[[listener]]\npath = "{self.path}"\n')
            file.write(f'[[listener]]\npath = "{work}/{name}.raw"\nformat = "raw"\n')
        self.hear()

    def hear(self):
        """With clients that have heard nothing yet."""
        work = self.cluster.work
        self.reader = Reader(work, self.name, self.path, False)
        self.raw = Reader(work, self.name, f"{work}/{self.name}.raw", True)

    async def tool(self, *words):
        """What `wsfan WORDS --config FILE` says: its exit status, stdout and stderr."""
        command = [*self.enter, self.cluster.bed.wsfan, *words, "--config", self.config]
        return await command_says(*command)

    def start(self):
        command = [*self.enter, self.cluster.bed.wsfan, "run", "--config", self.config]
        self.process = Process(self.cluster.work, f"wsfan-{self.name}", command)

    def kill(self):
        self.process.kill()
        self.process = None

    async def stop(self):
        if self.process:
            status = await self.process.end(10)
            if status:
                raise Failed(f"{self.name} stops with exit status {status}")
        self.process = None
        await self.reader.stop()
        await self.raw.stop()

    def freeze(self):
        self.process.signal(signal.SIGSTOP)

    def thaw(self):
        self.process.signal(signal.SIGCONT)

    async def open(self):
        """A client of one's own."""
        return await Session().connect(self.path)

    async def has_done(self, request, result, seconds=20):
        """Has a request done, and says how often it was asked for: a leader that loses its lease, on a machine that is busy
        with other things, leaves it undone."""
        session = await self.open()
        try:
            for count in range(1, 6):
                told = await answer(session, {**request, "id": f"{count}"}, seconds)
                if told.get("result") == result:
                    return count
                if told.get("code") not in ("link_down", "unknown"):
                    break
                print(f"    {self.name} is asked once more, since it said {told['code']}")
                await self.cluster.flows(30)
        finally:
            session.close()
        raise Failed(f"{request} at {self.name}: {told}")

    async def status(self):
        session = await self.open()
        try:
            return await answer(session, {"op": "status", "id": "status"}, 5)
        finally:
            session.close()

    def log(self):
        """What it has said since it was first started."""
        with open(f"{self.cluster.work}/wsfan-{self.name}.log") as file:
            return file.read()


async def answer(session, request, seconds):
    """The line that answers a request."""
    session.send(request)

    def found():
        return next((mark for _, mark in session.marks if mark.get("id") == request["id"]), None)

    return await until(lambda: found() or session.ended.is_set() and {"type": "ended"}, seconds, f"no answer to {request}")


class Cluster:
    """All nodes of one cluster, with a server of their own upstream."""

    count = 0

    def __init__(self, bed, name, lease=2.0, extra="", urls=None, **cluster):
        Cluster.count += 1
        self.bed, self.lease, self.extra = bed, lease, extra
        self.name = f"{name}{Cluster.count}"
        self.work = bed.directory(self.name)
        self.urls = urls or bed.servers.urls()
        self.keys = cluster
        self.nodes = {}
        self.upstream = Upstream(self.work, bed.here, self.name, bed.host, bed.enter)

    @property
    def stream(self):
        return f"WSFAN_{self.name}"

    def toml(self, name, urls=None, upstream=None, **own):
        keys = {
            "name": self.name,
            "node": name,
            "urls": urls or self.urls,
            "lease": f"{int(self.lease * 1000)}ms",
            "replicas": len(self.bed.servers.ports),
            "storage": "file",
            **self.keys,
            **own,
        }
        lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items() if value is not None)
        return (
            f'[upstream]\nurl = "{upstream or self.upstream.url}"\n'
            '[reconnect]\ninitial_delay = "50ms"\nmax_delay = "200ms"\n'
            f"{self.extra}\n[cluster]\n{lines}"
        )

    def add(self, *names, **own):
        for name in names:
            self.nodes[name] = Node(self, name, **own)

    async def start(self, rate=0, count=3):
        """Starts all; then there is a leader whose link is up."""
        if not self.nodes:
            self.add(*[f"n{at + 1}" for at in range(count)])
        await self.upstream.ready()
        if rate:
            await self.upstream.say(rate)
        for node in self.nodes.values():
            node.start()
        await until(self.leader, 20, "nobody leads")
        await self.flows()
        return self

    async def stop(self, gone=False):
        """`gone`: there is no stream."""
        for node in self.nodes.values():
            await node.stop()
        self.upstream.process.kill()
        if not gone:
            await self.bed.servers.remove(self.stream)

    # ---------------------------------------------------------------- who leads

    def links(self):
        """Each change of the link, in the log's order: when a client heard of it first."""
        found, epochs = {}, {}
        for node in self.nodes.values():
            for session in node.reader.sessions:
                epoch = session.epoch()
                for at, mark in session.marks:
                    if mark["type"] == "link" and "seq" in mark:
                        epochs[epoch] = min(at, epochs.get(epoch, at))
                        key = (epoch, mark["seq"])
                        if key not in found or at < found[key][0]:
                            found[key] = (at, mark)
                    elif mark["type"] == "hello" and mark["cluster"]["state"] in ("follower", "leader"):
                        # who comes later hears here that it is up; of any other state it may be told in a moment
                        told = mark["cluster"]
                        if told.get("leader") and mark["link"] == "up":
                            epochs[epoch] = min(at, epochs.get(epoch, at))
                            link = {"state": mark["link"], "node": told["leader"], "term": told["term"]}
                            found.setdefault((epoch, mark["seq"]), (at, link))
        return [found[key] for key in sorted(found, key=lambda key: (epochs[key[0]], key[1]))]

    def newest(self):
        """The newest change of the link."""
        links = self.links()
        return links[-1][1] if links else None

    @property
    def term(self):
        newest = self.newest()
        return newest.get("term", 0) if newest else 0

    def leader(self):
        """The node that leads with its link up."""
        newest = self.newest()
        return self.nodes.get(newest.get("node")) if newest and newest["state"] == "up" else None

    def followers(self):
        leader = self.leader()
        return [node for node in self.nodes.values() if node is not leader]

    async def next_term(self, term, seconds):
        """After this term: when a client heard of the next one, of its link, and of its first message."""

        def begun():
            return next(((at, mark) for at, mark in self.links() if mark["term"] > term), None)

        def up():
            return next(((at, mark) for at, mark in self.links() if mark["term"] > term and mark["state"] == "up"), None)

        led, _ = await until(begun, seconds, "there is no new leader")
        went_up, mark = await until(up, seconds, "the new leader's link isn't up")
        return led, went_up, mark

    async def flows(self, seconds=15):
        """Each client of each node that runs has its place, and new messages reach it."""
        session = {}

        def behind():
            for node in self.nodes.values():
                if not node.process:
                    continue
                for reader in (node.reader, node.raw):
                    now = reader.sessions[-1] if reader.sessions else None
                    before = session.setdefault(reader.name, (now, now.bytes if now else 0))
                    if not now or now.ended.is_set() or not reader.attached:
                        yield reader.name
                    elif before[0] is not now:
                        session[reader.name] = (now, now.bytes)
                        yield reader.name
                    elif now.bytes <= before[1] + 200:
                        yield reader.name

        try:
            await until(lambda: not list(behind()), seconds, "?")
        except Failed:
            raise Failed(f"no messages reach {', '.join(behind())}, after {seconds} s") from None

    async def goes_on(self, messages, seconds=30):
        """So many more messages reach all clients of the nodes that run."""
        target = (await self.upstream.stats())["said"] + messages
        running = [node for node in self.nodes.values() if node.process]

        def behind():
            return [
                reader.name
                for node in running
                for reader in (node.reader, node.raw)
                if not reader.sessions or reader.sessions[-1].number < target
            ]

        try:
            await until(lambda: not behind(), seconds, "?")
        except Failed:
            raise Failed(f"messages don't go on for {', '.join(behind())}, after {seconds} s") from None

    async def settled(self, seconds=15, raw=True):
        """The upstream is silent, and all clients, or those with envelopes, have all that it said."""
        said = 0

        def behind():
            for node in self.nodes.values():
                for reader in (node.reader, node.raw)[: 1 + raw] if node.process else ():
                    if not reader.sessions or reader.sessions[-1].number != said:
                        yield f"{reader.name} ({reader.sessions[-1].number if reader.sessions else None} of {said})"

        for _ in range(3):
            said, term = (await self.upstream.say(0))["said"], self.term
            try:
                await until(lambda: not list(behind()) or self.term != term, seconds, "?")
            except Failed:
                raise Failed(f"what was said doesn't reach {', '.join(behind())}, after {seconds} s") from None
            if not list(behind()):
                return
            # a leader that lost its lease took the last of it along: something more is said to the next one
            print(f"    the term {term} is over, though nothing was done to its leader")
            await self.upstream.say(200)
            await self.flows(30)
        raise Failed("each leader loses its lease")
