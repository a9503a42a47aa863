"""How the test steers what runs in a process of its own: a JSON line each way over a Unix socket."""

import asyncio
import json

from processes import until


async def serve(path, answer):
    """Answers each line on the socket with what `answer` makes of it, until the process ends."""

    async def take(reader, writer):
        while line := await reader.readline():
            writer.write(json.dumps(answer(json.loads(line))).encode() + b"\n")
            await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(take, path, limit=1 << 26)
    async with server:
        await server.serve_forever()


class Remote:
    """The other side of it."""

    def __init__(self, path):
        self.path = path
        self.streams = None
        self.lock = asyncio.Lock()

    async def open(self):
        """None where the process hasn't got so far."""
        try:
            return await asyncio.open_unix_connection(self.path, limit=1 << 26)
        except OSError:
            return None

    async def do(self, what, **more):
        """What is answered to this."""
        async with self.lock:
            if not self.streams:
                self.streams = await until(self.open, 10, f"nothing listens on {self.path}")
            reader, writer = self.streams
            writer.write(json.dumps({"do": what, **more}).encode() + b"\n")
            line = await asyncio.wait_for(reader.readline(), 10)
            assert line, f"{self.path} has gone"
            return json.loads(line)
