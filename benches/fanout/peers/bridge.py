"""A bridge as one writes it in an afternoon: a WebSocket in, a Unix socket out, for every client."""
import asyncio
import sys

import websockets

clients = set()


async def attach(reader, writer):
    clients.add(writer)
    try:
        while line := await reader.readline():
            await upstream.send(line.decode().rstrip("\n"))
    finally:
        clients.discard(writer)
        writer.close()


async def main(url, path):
    global upstream
    server = await asyncio.start_unix_server(attach, path, backlog=1000)
    async with server:
        async for upstream in websockets.connect(url, max_size=2**24, compression=None):
            try:
                async for message in upstream:
                    line = message.encode() + b"\n"
                    for writer in list(clients):
                        writer.write(line)
                    # the slowest sets the pace
                    for writer in list(clients):
                        await writer.drain()
            except websockets.ConnectionClosed:
                continue


asyncio.run(main(sys.argv[1], sys.argv[2]))
