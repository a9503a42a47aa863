"""NATS servers with JetStream, and as much of a client as the test needs to look at a stream and to forge."""

import asyncio
import base64
import json
import os
import socket
import urllib.request

from processes import Process, free_ports, until


class Client:
    """One connection, for requests."""

    @staticmethod
    async def over(sock, tls=None, inbox="_INBOX", **login):
        """`tls`: what encrypts it. Answers come to an address below `inbox`."""
        self = Client()
        self.reader, self.writer = await asyncio.open_connection(sock=sock, limit=1 << 24)
        self.inbox = f"{inbox}.{os.urandom(8).hex()}"
        self.count = 0
        await self.reader.readline()  # INFO
        if tls:
            await self.writer.start_tls(tls, server_hostname="localhost")
        options = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True, "name": "the test"}
        options |= {"lang": "python", "version": "1", "protocol": 1, **login}
        self.writer.write(f"CONNECT {json.dumps(options)}\r\nSUB {self.inbox}.* 1\r\n".encode())
        return self

    def close(self):
        self.writer.close()

    async def request(self, subject, payload=b"", headers=(), timeout=2.0):
        """The headers' text and the payload of the answer."""
        self.count += 1
        reply = f"{self.inbox}.{self.count}"
        head = ("NATS/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers) + "\r\n").encode()
        sizes = f"{len(head)} {len(head) + len(payload)}"
        self.writer.write(f"HPUB {subject} {reply} {sizes}\r\n".encode() + head + payload + b"\r\n")
        async with asyncio.timeout(timeout):
            while True:
                line = (await self.reader.readline()).decode()
                if not line:
                    raise ConnectionError("NATS has closed")
                kind, *words = line.split()
                if kind == "PING":
                    self.writer.write(b"PONG\r\n")
                if kind not in ("MSG", "HMSG"):
                    continue
                size = int(words[-1])
                data = (await self.reader.readexactly(size + 2))[:size]
                at = int(words[-2]) if kind == "HMSG" else 0
                if words[0] == reply:
                    return data[:at].decode(), data[at:]

    async def ask(self, what, timeout=2.0, **more):
        """An answer of JetStream's API."""
        _, payload = await self.request(f"$JS.API.{what}", json.dumps(more).encode() if more else b"", timeout=timeout)
        if not payload:
            raise ConnectionError("no JetStream answers")
        return json.loads(payload)

    async def tried(self, command):
        """What the server complains of when it is told this."""
        self.writer.write(f"{command}\r\nPING\r\n".encode())
        complaints = []
        async with asyncio.timeout(5.0):
            while (line := await self.reader.readline()) != b"PONG\r\n":
                if not line:
                    raise ConnectionError("NATS has closed")
                if line.startswith(b"-ERR"):
                    complaints.append(line[4:].decode().strip())
        return complaints

    async def stored(self, stream, place):
        """A message of the stream: its headers, each by its name, and its body."""
        message = (await self.ask(f"STREAM.MSG.GET.{stream}", seq=place))["message"]
        lines = base64.b64decode(message.get("hdrs", "")).decode().split("\r\n")[1:]
        headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines if ":" in line]
        return headers, base64.b64decode(message.get("data", ""))


def dial(port):
    return socket.create_connection(("127.0.0.1", port), 5)


class Servers:
    """One NATS server, or several that have their streams in common."""

    def __init__(self, work, binary, count, host="127.0.0.1", enter=(), dial=dial, jetstream=True, more="", tls="", verify=False):
        """`more`: of the configuration. `tls`: where the certificate of a server named localhost is. `verify`: clients
        must have certificates as well."""
        self.work, self.binary, self.host, self.enter, self.dial = work, binary, host, enter, dial
        self.jetstream, self.more, self.tls, self.verify = jetstream, more, tls, verify
        self.ports, self.routes, self.monitors = (free_ports(count) for _ in range(3))
        self.running = {}
        for at in range(count):
            self.write(at)

    def write(self, at):
        text = f"server_name: s{at}\nlisten: {self.host}:{self.ports[at]}\n{self.more}"
        text += f"http: 127.0.0.1:{self.monitors[at]}\n"
        if self.jetstream:
            text += f'jetstream {{ store_dir: "{self.work}/s{at}" }}\n'
        if self.tls:
            text += f'tls {{ cert_file: "{self.tls}/localhost.pem", key_file: "{self.tls}/localhost.key"'
            text += f', ca_file: "{self.tls}/ca.pem", verify: true }}\n' if self.verify else " }\n"
        if len(self.ports) > 1:
            routes = ", ".join(f"nats://127.0.0.1:{port}" for port in self.routes)
            text += f"cluster {{ name: c, listen: 127.0.0.1:{self.routes[at]}, routes: [{routes}] }}\n"
        with open(self.file(at), "w") as file:
            file.write(text)

    def urls(self):
        start = "tls://localhost" if self.tls else f"nats://{self.host}"
        return [f"{start}:{port}" for port in self.ports]

    def file(self, at=0):
        return f"{self.work}/s{at}.conf"

    def log(self, at=0):
        with open(f"{self.work}/nats-s{at}.log") as file:
            return file.read()

    async def listening(self):
        """Something listens on each port."""

        def all_listen():
            try:
                for port in self.ports:
                    self.dial(port).close()
            except OSError:
                return False
            return True

        await until(all_listen, 20, "no NATS server listens")

    def start(self, *which):
        for at in which or range(len(self.ports)):
            command = [*self.enter, self.binary, "-c", self.file(at)]
            self.running[at] = Process(self.work, f"nats-s{at}", command)

    def kill(self, *which):
        for at in which or list(self.running):
            self.running.pop(at).kill()

    async def client(self, at=None):
        """A client of this server, or any that is there."""
        return await Client.over(self.dial(self.ports[next(iter(self.running)) if at is None else at]))

    async def ask(self, what, at=None, **more):
        client = await self.client(at)
        try:
            return await client.ask(what, **more)
        finally:
            client.close()

    async def ready(self, seconds=30, *which):
        """JetStream can be used, by each of these servers, or any."""

        async def answers():
            try:
                return all(["error" not in await self.ask("INFO", at) for at in which or [None]])
            except (OSError, TimeoutError):
                return False

        await until(answers, seconds, "JetStream doesn't answer")

    async def remove(self, stream):
        """Whatever becomes of it at the moment."""

        async def is_gone():
            try:
                answer = await self.ask(f"STREAM.DELETE.{stream}", timeout=1.0)
            except (OSError, TimeoutError):
                return False
            return answer.get("success") or answer["error"]["code"] == 404

        await until(is_gone, 20, f"the stream {stream} can't be removed")

    def monitor(self, at, what):
        """A page of a server's monitoring. `None`: it isn't there."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.monitors[at]}/{what}", timeout=5) as page:
                return json.load(page)
        except OSError:
            return None

    def serves(self, name):
        """Which server has a client of this name, if any."""
        for at in self.running:
            page = self.monitor(at, "connz?limit=1000")
            if page and any(client.get("name") == name for client in page["connections"]):
                return at
        return None

    def places(self):
        """Which server gives streams and consumers their places, if any does."""
        pages = [self.monitor(at, "jsz") or {} for at in self.running]
        leaders = [page.get("meta_cluster", {}).get("leader") for page in pages]
        return next((int(leader[1:]) for leader in leaders if leader), None)

    async def leader(self, stream, timeout=2.0):
        """Which server leads the stream's Raft group. While they elect, nobody answers."""
        info = await self.ask(f"STREAM.INFO.{stream}", timeout=timeout)
        return int(info["cluster"]["leader"][1:])
