#!/usr/bin/env python3
"""Follows a topic: goes on where it was, hears of what it missed, and asks anew then. Needs no package.

    follow.py SOCKET TOPIC REQUEST FILE
    follow.py /run/wsfan/wsfan.sock btc.trades '{"method":"price","of":"btc"}' ~/follow.place

FILE keeps the place in wsfan's log, also over a restart of the machine.
"""

import asyncio
import itertools
import json
import os
import sys


def load(file):
    try:
        with open(file) as kept:
            return {"since": json.load(kept)}
    except FileNotFoundError:
        return {}  # the first time: what comes from now on


def save(file, place):
    with open(file + ".new", "w") as kept:
        json.dump(place, kept)
    os.replace(file + ".new", file)  # all of it or nothing


async def follow(path, topic, request, file):
    # the longest line that may come is `max_entry` in hello, a hundred megabytes by default
    reader, writer = await asyncio.open_unix_connection(path, limit=128 << 20)
    ids = itertools.count(1)

    async def say(op, **fields):
        writer.write(json.dumps({"op": op, "id": next(ids), **fields}).encode() + b"\n")
        await writer.drain()

    async def hear(*types):
        while line := await reader.readline():
            if (line := json.loads(line))["type"] in types:
                return line
        raise ConnectionError("the connection ended")

    hello = await hear("hello")
    if not hello["epoch"]:  # a machine of a cluster says bye once it knows the log
        return await hear("bye")
    await say("attach", topics=[topic], **load(file))
    attached = await hear("ok", "error")  # entries before it belong to the place before
    seq = attached["seq"] if attached["type"] == "ok" else sys.exit(attached["message"])
    await say("subscribe", topics=[topic])
    await say("request", json=request)
    while line := await hear("message", "gap", "link", "answer", "error", "bye"):
        match line["type"]:
            case "message" | "answer" as kind:
                print(kind, json.dumps(line.get("json", line.get("text"))), flush=True)
            case "gap":
                print("gap", line.get("count"), line["why"], flush=True)
            case "error" | "bye" as kind:
                print(kind, line.get("code") or line["why"], flush=True)
        # what the server said while the link was down is lost; topics come back by themselves
        if line["type"] == "gap" or line["type"] == "link" and line["state"] == "up":
            await say("request", json=request)
        if line["type"] in ("message", "gap", "link"):  # worked off
            save(file, {"epoch": hello["epoch"], "seq": (seq := line.get("seq") or line.get("to") or seq)})


async def main(path, topic, request, file):
    while True:
        try:
            await follow(path, topic, json.loads(request), file)
        except OSError as error:
            print("wsfan is away:", error, file=sys.stderr)
        await asyncio.sleep(1)  # a restart of wsfan is soon over


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:])) if len(sys.argv) == 5 else sys.exit(__doc__)
