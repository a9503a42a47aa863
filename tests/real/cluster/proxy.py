#!/usr/bin/env python3
"""A TCP proxy on whose way things get lost: proxy.py CONTROL PORT:TARGET...

CONTROL sets each port's mode: "pass"; "hole", where nothing comes through any more in either direction and nobody is
told, as when a cable is cut; "deaf", where what the target says is held back alone; or "reset", where connections are
broken and new ones as well. Python's standard library is all that it needs.
"""

import asyncio
import sys

import control


class Way:
    """One port."""

    def __init__(self, target):
        self.target = target
        self.mode = "pass"
        self.changed = asyncio.Event()
        self.pairs = set()

    def set(self, mode):
        self.mode = mode
        self.changed.set()
        self.changed = asyncio.Event()
        if mode == "reset":
            for writer in self.pairs:
                writer.transport.abort()

    async def open_to(self, modes):
        while self.mode not in modes:
            await self.changed.wait()

    async def take(self, reader, writer):
        self.pairs.add(writer)
        try:
            if self.mode == "reset":
                writer.transport.abort()
                return
            await self.open_to(("pass", "deaf"))
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
            self.pairs.add(back)
            await asyncio.gather(
                self.carry(reader, back, ("pass", "deaf")), self.carry(there, writer, ("pass",)), return_exceptions=True
            )
            self.pairs.discard(back)
        except OSError:
            pass
        finally:
            self.pairs.discard(writer)
            writer.close()

    async def carry(self, reader, writer, modes):
        try:
            while data := await reader.read(65536):
                await self.open_to(modes)
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()


async def main():
    path, *pairs = sys.argv[1:]
    ways = {}
    for pair in pairs:
        port, target = map(int, pair.split(":"))
        ways[port] = Way(target)
        await asyncio.start_server(ways[port].take, "127.0.0.1", port)
    await control.serve(path, lambda order: ways[order["port"]].set(order["mode"]))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    asyncio.run(main())
