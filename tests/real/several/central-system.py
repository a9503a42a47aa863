#!/usr/bin/env python3
"""A central system for OCPP 1.6, made of the ocpp library: central-system.py PORT

DataTransfer is answered after some milliseconds, with the data that it brought. With the vendor `ask`, the central
system also sends a call of its own after that, DataTransfer with that data. It says what it was answered, and "again"
for each answer more; and how many calls are under way where that is more than one.
"""

import asyncio
import json
import logging
import sys

import ocpp.charge_point
import websockets
from ocpp.routing import after, on
from ocpp.v16 import ChargePoint, call, call_result

logging.basicConfig(level=logging.WARNING)


class Point(ChargePoint):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.answered = {}  # how often, by the call's id

    @on("DataTransfer")
    async def transfer(self, vendor_id, data="", **rest):
        await asyncio.sleep(0.01)  # what the work would take
        return call_result.DataTransfer(status="Accepted", data=data)

    @after("DataTransfer")
    async def then(self, vendor_id, data="", **rest):
        if vendor_id == "ask":
            await self.call(call.DataTransfer(vendor_id="central", data=data), unique_id=f"call {data}")

    @on("BootNotification")
    def boot(self, **rest):
        print("BootNotification", flush=True)
        now = "2026-11-01T00:00:00Z"
        return call_result.BootNotification(current_time=now, interval=60, status="Accepted")

    @on("Heartbeat")
    def heartbeat(self):
        print("Heartbeat", flush=True)
        return call_result.Heartbeat(current_time="2026-11-01T00:00:00Z")

    async def start(self):
        # reads on while calls are under way, to see whether there are more than one
        under_way = set()
        async for raw in self._connection:
            call = asyncio.create_task(self.route_message(raw))
            if json.loads(raw)[0] != 2:
                continue
            under_way.add(call)
            call.add_done_callback(under_way.discard)
            if len(under_way) > 1:
                print(f"{len(under_way)} calls at once", flush=True)

    async def route_message(self, raw):
        message = json.loads(raw)
        if message[0] in (3, 4):
            times = self.answered[message[1]] = self.answered.get(message[1], 0) + 1
            print(f"{message[1]} is answered{' again' if times > 1 else ''}: {json.dumps(message)}", flush=True)
        await super().route_message(raw)


async def serve(connection):
    try:
        await Point("point", connection).start()
    except websockets.ConnectionClosed as error:
        print(f"closed: {error}", flush=True)


async def main():
    async with websockets.serve(serve, "127.0.0.1", int(sys.argv[1]), subprotocols=["ocpp1.6"], ping_interval=None):
        await asyncio.get_running_loop().create_future()


asyncio.run(main())
