#!/usr/bin/env python3
"""A central system for OCPP 1.6, made of the ocpp library: central-system.py PORT

DataTransfer is answered with the data that it brought. With the vendor `ask`, the central system also sends a call of
its own after that, DataTransfer with that data, and says what it was answered: once, and "again" for each answer more.
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
    def transfer(self, vendor_id, data="", **rest):
        return call_result.DataTransfer(status="Accepted", data=data)

    @after("DataTransfer")
    async def then(self, vendor_id, data="", **rest):
        if vendor_id == "ask":
            await self.call(call.DataTransfer(vendor_id="central", data=data), unique_id=f"call {data}")

    @on("Heartbeat")
    def heartbeat(self):
        return call_result.Heartbeat(current_time="2026-11-01T00:00:00Z")

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
