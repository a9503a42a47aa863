#!/usr/bin/env python3
"""The scenes of tests/real/cluster.sh: run.py WSFAN WORK NATS-OLD NATS-NEW [SCENE...]

Python's standard library is all that it needs.
"""

import asyncio
import os
import signal
import sys
import time

import apart
import credentials
import elections
import failures
import processes
import programs
import questions
import rights
import streams
import stuck
import trouble
from nats import Servers
from processes import Failed, Process, say

# which scene runs with which server, and with how many of them
OLD, NEW = "2.9", "2.15"
SCENES = {
    "kills": (failures.kills, [(OLD, 3), (NEW, 1)]),
    "frozen": (failures.frozen, [(OLD, 3), (NEW, 1)]),
    "term": (failures.term, [(OLD, 3), (NEW, 3)]),
    "proxy": (failures.cut_by_proxy, [(OLD, 1)]),
    "netns": (failures.cut_by_netns, [(NEW, 1)]),
    "forged": (streams.forged, [(OLD, 3), (NEW, 1)]),
    "restarted": (streams.restarted, [(OLD, 1), (NEW, 1)]),
    "quorum": (streams.quorum, [(OLD, 3), (NEW, 3)]),
    "deleted": (streams.deleted, [(OLD, 1), (NEW, 3)]),
    "limits": (streams.limits, [(OLD, 1)]),
    "sends": (programs.sends, [(OLD, 3), (NEW, 1)]),
    "refusals": (programs.sends_without_outbox, [(NEW, 1)]),
    "control": (programs.control, [(OLD, 1)]),
    "questions": (questions.questions, [(NEW, 1)]),
    "two": (apart.two, [(NEW, 3)]),
    "witness": (apart.witness, [(OLD, 1)]),
    "late": (apart.late, [(OLD, 1)]),
    "elects": (elections.elects, [(OLD, 3)]),
    "stuck": (stuck.stuck, [(OLD, 1)]),
    "rights": (rights.rights, [(OLD, 1), (NEW, 1)]),
    "creds": (credentials.credentials, [(NEW, 1)]),
    "trouble": (trouble.trouble, [(NEW, 1)]),
}


class Bed:
    """NATS servers, and where things are."""

    here = os.path.dirname(os.path.abspath(__file__))
    host, enter = "127.0.0.1", ()

    def __init__(self, wsfan, work, nats, servers):
        self.wsfan, self.work, self.nats, self.servers = wsfan, work, nats, servers

    @property
    def certificates(self):
        """Of an authority, ca.pem, and of a server named localhost; cluster.sh has made them."""
        return f"{os.path.dirname(self.work)}/tls"

    def directory(self, name):
        path = f"{self.work}/{name}"
        os.mkdir(path)
        return path

    def beside(self, servers, enter=()):
        """One with other servers, where these are."""
        bed = Bed(self.wsfan, self.work, self.nats, servers)
        bed.host, bed.enter = servers.host, enter
        return bed


async def play(wsfan, work, binaries, names):
    for version, count in [(OLD, 1), (OLD, 3), (NEW, 1), (NEW, 3)]:
        scenes = [name for name in names if (version, count) in SCENES[name][1]]
        if not scenes:
            continue
        say(f"==== NATS {version}, {count} server{'s' * (count > 1)}, replicas = {count}")
        directory = f"{work}/{version}-{count}"
        os.mkdir(directory)
        servers = Servers(directory, binaries[version], count)
        servers.start()
        await servers.ready()
        for name in scenes:
            at = time.monotonic()
            say(f"== {name}: {SCENES[name][0].__doc__ or ''}".strip())
            await SCENES[name][0](Bed(wsfan, directory, binaries[version], servers))
            say(f"    {time.monotonic() - at:.1f} s")
        servers.kill()


def main():
    wsfan, work, old, new, *names = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        asyncio.run(play(wsfan, work, {OLD: old, NEW: new}, names or list(SCENES)))
    except Failed as failed:
        say(f"FAILED: {failed}")
        say(f"\n{processes.passed} passed, 1 failed")
        sys.exit(1)
    finally:
        Process.end_all()
    say(f"\n{processes.passed} passed, 0 failed")


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    main()
