#!/usr/bin/env python3
"""Reads a public and a private stream that belong together, each from a wsfan of its own, and says when both can be
relied on. Needs no package.

    both.py PUBLIC PRIVATE REQUEST
    both.py /run/wsfan-public/wsfan.sock /run/wsfan-private/wsfan.sock '{"method":"open_orders"}'

REQUEST is asked on the private stream at the begin and after each loss: its answer stands for what was missed.
"""

import asyncio
import itertools
import json
import sys


class Both:
    def __init__(self, request):
        self.request, self.ids = json.loads(request), itertools.count(1)
        self.up, self.asked, self.known, self.was = set(), None, False, None

    async def read(self, side, path):
        while True:
            try:
                # the longest line that may come is `max_entry` in hello, a hundred megabytes by default
                reader, writer = await asyncio.open_unix_connection(path, limit=128 << 20)
                while line := await reader.readline():
                    self.hear(side, json.loads(line), writer)
            except OSError as error:
                print(side, "is away:", error, file=sys.stderr)
            self.hear(side, {"type": "away"}, None)
            await asyncio.sleep(1)  # a restart of wsfan is soon over

    def hear(self, side, line, writer):
        kind = line["type"]
        is_own = side == "private" and self.asked is not None and line.get("id") == self.asked
        if kind in ("hello", "link", "away"):
            is_up = line.get("link", line.get("state")) == "up"
            (self.up.add if is_up else self.up.discard)(side)
        if kind in ("hello", "link", "away", "gap") and side == "private":
            self.asked, self.known = None, False  # what was known of one's orders may be old
            if side in self.up:
                self.ask(writer)
        match kind:
            case "message":
                # which came first? each daemon's `time_us` is of this machine's one clock
                print(side, json.dumps(line.get("json", line.get("text"))))
            case "gap":
                print("gap", side, line.get("count"), line["why"])
            case "answer" if is_own and not line.get("failed"):
                print("orders", json.dumps(line["json"]))
                self.known = True
            case "answer" | "error" if is_own:
                print("refused", line.get("code") or json.dumps(line["json"]))
                asyncio.get_running_loop().call_later(1, self.ask_again, line["id"], writer)
        missing = sorted({"public", "private"} - self.up) or ([] if self.known else ["orders"])
        if missing != self.was:
            print(*(["wait", *missing] if missing else ["ready"]))
            self.was = missing
        sys.stdout.flush()

    def ask(self, writer):
        self.asked = next(self.ids)
        writer.write(json.dumps({"op": "request", "id": self.asked, "json": self.request}).encode() + b"\n")

    def ask_again(self, asked, writer):
        if self.asked == asked:  # nothing has happened since
            self.ask(writer)


async def main(public, private, request):
    both = Both(request)
    await asyncio.gather(both.read("public", public), both.read("private", private))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:])) if len(sys.argv) == 4 else sys.exit(__doc__)
