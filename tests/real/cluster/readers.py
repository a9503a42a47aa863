"""Local clients of a node: they keep each line, and when a line came that is no message."""

import asyncio
import json
import re
import socket
import time

NUMBER = re.compile(rb'\{"n":(\d+)')
NO_MESSAGE = re.compile(rb'^\{"type":"(?!message").*$', re.M)


class Session:
    """One connection to a listener. Without a file it keeps nothing but the lines that are no messages."""

    def __init__(self, file=None):
        self.file = file
        self.tail = b""
        self.bytes = 0
        self.number = 0  # of the last message
        self.marks = []  # (when it came, the line's object), of lines that are no messages
        self.is_owed = None  # after `up`: when the first message comes is noted
        self.ended = asyncio.Event()
        self.loop = asyncio.get_running_loop()

    async def connect(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.setblocking(False)
        try:
            await self.loop.sock_connect(self.socket, path)
        except OSError:
            self.socket.close()
            raise
        self.loop.add_reader(self.socket, self.readable)
        return self

    def readable(self):
        try:
            data = self.socket.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        now = time.monotonic()
        self.bytes += len(data)
        if self.file:
            self.file.write(data)
        whole, end, tail = data.rpartition(b"\n")
        if not end:
            self.tail += data
            return
        whole, self.tail = self.tail + whole, tail
        last = whole.rfind(b'{"n":')
        if last >= 0:
            self.number = int(NUMBER.match(whole, last)[1])
        at = 0
        for found in NO_MESSAGE.finditer(whole):
            self.pay(now, whole.find(b'{"type":"message"', at, found.start()) >= 0)
            mark = json.loads(found.group())
            self.marks.append((now, mark))
            if mark["type"] == "link" and mark["state"] == "up":
                self.is_owed = mark
            at = found.end()
        self.pay(now, whole.find(b'{"type":"message"', at) >= 0)

    def pay(self, now, has_message):
        if self.is_owed and has_message:
            self.marks.append((now, {"type": "first message", "conn": self.is_owed["conn"]}))
            self.is_owed = None

    def send(self, value):
        self.socket.sendall(json.dumps(value).encode() + b"\n")

    def close(self):
        if not self.ended.is_set():
            self.loop.remove_reader(self.socket)
            self.socket.close()
            if self.file:
                self.file.close()
            self.ended.set()

    def epoch(self):
        hello = next((mark for _, mark in self.marks if mark["type"] == "hello"), None)
        return hello and hello["epoch"]


class Reader:
    """A client that connects again when its connection has ended; with envelopes, it goes on where it was."""

    def __init__(self, work, node, path, is_raw):
        self.name = f"{node}.{'raw' if is_raw else 'envelope'}"
        self.node, self.work, self.path, self.is_raw = node, work, path, is_raw
        self.sessions = []
        self.attached = False  # the newest session has its place
        self.stopping = False
        self.task = asyncio.create_task(self.run())

    def file(self, at):
        return f"{self.work}/lines.{self.name}.{at}"

    def marks(self, since=0.0):
        return [(at, mark) for session in self.sessions for at, mark in session.marks if at >= since]

    async def run(self):
        while not self.stopping:
            session = Session(open(self.file(len(self.sessions)), "wb"))
            try:
                await session.connect(self.path)
            except OSError:
                session.file.close()
                await asyncio.sleep(0.02)  # between two attempts
                continue
            since = self.since()
            self.attached = False
            self.sessions.append(session)
            if self.is_raw:
                self.attached = True
            else:
                await self.attach(session, since)
            await session.ended.wait()

    def since(self):
        """The place to go on from, by the newest session that had one."""
        for at, session in reversed(list(enumerate(self.sessions))):
            if session.epoch():
                entries = scan(self.file(at))
                return {"epoch": session.epoch(), "seq": entries[-1][0] if entries else first_place(session)}
        return None

    async def attach(self, session, since):
        while not session.marks and not session.ended.is_set():
            await asyncio.sleep(0.002)  # the first line comes at once
        if session.ended.is_set() or not session.marks[0][1]["epoch"]:
            return  # it is told when there is a log
        if since:
            session.send({"op": "attach", "id": "here", "since": since})
            while not session.ended.is_set():
                answer = next((mark for _, mark in session.marks if mark.get("id") == "here"), None)
                if answer and answer["type"] != "ok":
                    session.close()
                    await asyncio.sleep(0.05)  # before another attempt
                    return
                if answer:
                    break
                await asyncio.sleep(0.002)  # between two looks
        self.attached = True

    async def stop(self):
        self.stopping = True
        self.task.cancel()
        for session in self.sessions:
            session.close()


def first_place(session):
    """Where a session without an entry stands."""
    answers = [mark for _, mark in session.marks if mark.get("id") == "here" and mark["type"] == "ok"]
    return answers[0]["seq"] if answers else session.marks[0][1]["seq"]


ENTRY = re.compile(rb'^\{"type":"(\w+)","seq":(\d+),[^\n]*\n', re.M)


def scan(path):
    """The entries in a file: (seq, type, line)."""
    with open(path, "rb") as file:
        return [(int(found[2]), found[1], found[0]) for found in ENTRY.finditer(file.read())]
