"""Processes, which end with the test; waiting, which has a deadline; checks."""

import asyncio
import ctypes
import inspect
import os
import signal
import socket
import subprocess
import sys
import time

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


def with_parent():
    """A child goes when this program does, however that ends."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """A program in the background; what it says goes to NAME.log."""

    all = []

    def __init__(self, work, name, command, **environment):
        with open(f"{work}/{name}.log", "ab") as log:
            self.child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **environment},
                preexec_fn=with_parent,
            )
        self.name = name
        Process.all.append(self)

    def signal(self, number):
        self.child.send_signal(number)

    def kill(self):
        """At once, as in a crash."""
        self.child.kill()
        self.child.wait()
        Process.all.remove(self)

    async def end(self, seconds):
        """SIGTERM; the exit status."""
        self.child.terminate()
        return await self.ended(seconds)

    async def ended(self, seconds):
        await until(lambda: self.child.poll() is not None, seconds, f"{self.name} doesn't end")
        Process.all.remove(self)
        return self.child.returncode

    @staticmethod
    def end_all():
        for process in list(Process.all):
            process.kill()


async def command_says(*command):
    """A program's exit status, stdout and stderr, when it has ended."""
    program = await asyncio.create_subprocess_exec(
        *command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=with_parent,
    )
    try:
        out, error = await asyncio.wait_for(program.communicate(), 30)
    except TimeoutError:
        program.kill()
        raise Failed(f"{' '.join(command)} doesn't end, after 30 s") from None
    return program.returncode, out.decode(), error.decode()


given = set()  # ports, of which some may not be listened on yet


def free_ports(count):
    """Ports that are free, none of which is given twice."""
    listeners, ports = [], []
    while len(ports) < count:
        listeners.append(socket.create_server(("127.0.0.1", 0)))
        port = listeners[-1].getsockname()[1]
        if port not in given:
            ports.append(port)
            given.add(port)
    for listener in listeners:
        listener.close()
    return ports


class Failed(Exception):
    """What went wrong, in a sentence."""


async def until(condition, seconds, sentence):
    """Waits for what the condition gives, once that is true."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"{sentence}, after {seconds} s")
        await asyncio.sleep(0.005)  # between two looks


passed = 0


def check(sentence, good, measured=""):
    """Says what was looked at and measured; the first failure ends the run, since what follows builds on it."""
    global passed
    detail = f" ({measured})" if measured != "" else ""
    if not good:
        raise Failed(f"{sentence}{detail}")
    passed += 1
    print(f"ok: {sentence}{detail}", flush=True)


def say(line):
    print(line, flush=True)


def ms(seconds):
    return f"{seconds * 1000:.0f} ms" if seconds < 10 else f"{seconds:.1f} s"


def die(sentence):
    sys.exit(f"tests/real/cluster: {sentence}")
