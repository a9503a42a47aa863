#!/usr/bin/env python3
"""A user of Home Assistant, without a browser.

home-assistant.py runs PORT         is it there, and has it started?
home-assistant.py token PORT FILE   makes the owner, and writes a long-lived access token of theirs to FILE, once
                                    Home Assistant has written down that there is one (it isn't lost by a kill)

PYTHONPATH names Home Assistant's packages, for aiohttp.
"""

import asyncio
import os
import sys

import aiohttp

CLIENT = "http://127.0.0.1/"  # what OAuth calls the client; it is never asked


async def runs(base):
    async with aiohttp.ClientSession(base, raise_for_status=True) as session:
        async with session.get("/api/onboarding") as answer:
            await answer.json()


async def token(base, file):
    async with aiohttp.ClientSession(base, raise_for_status=True) as session:
        owner = {"client_id": CLIENT, "name": "me", "username": "me", "password": "p-w", "language": "en"}
        async with session.post("/api/onboarding/users", json=owner) as answer:
            code = (await answer.json())["auth_code"]
        grant = {"grant_type": "authorization_code", "client_id": CLIENT, "code": code}
        async with session.post("/auth/token", data=grant) as answer:
            short = (await answer.json())["access_token"]
        async with session.ws_connect("/api/websocket") as socket:
            await socket.receive_json()
            await socket.send_json({"type": "auth", "access_token": short})
            await socket.receive_json()
            ask = {"id": 1, "type": "auth/long_lived_access_token", "client_name": "wsfan", "lifespan": 2}
            await socket.send_json(ask)
            answer = await socket.receive_json()
            assert answer["success"], answer
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as written:
        written.write(answer["result"])


what, port, *rest = sys.argv[1:] or sys.exit(__doc__)
asyncio.run(asyncio.wait_for({"runs": runs, "token": token}[what](f"http://127.0.0.1:{port}", *rest), 30))
