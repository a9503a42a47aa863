#!/usr/bin/env python3
"""A WebSocket server that numbers what it says and watches who is connected: upstream.py HOST PORT CONTROL [NAME]

It says {"n":NUMBER,"c":CONNECTION,"of":NAME} at a rate that CONTROL sets; the numbers rise whether anybody is connected or
not. It keeps what it was sent. Of its connections it knows when each was opened and closed, the first and the last
number said on it, and how many were open at the same time at most: as the kernel has it, when another one comes, since
an end may have arrived that this program hasn't read yet. Python's standard library is all that it needs.
"""

import asyncio
import base64
import bisect
import hashlib
import json
import socket
import struct
import sys
import time

import control

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
TICK = 0.002  # seconds between two batches
FULL = 64 << 20  # bytes that a connection may leave unread
ESTABLISHED = 1  # the first byte of Linux's TCP_INFO


def frame(opcode, payload):
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", 0x80 | opcode, size) + payload
    if size < 65536:
        return struct.pack("!BBH", 0x80 | opcode, 126, size) + payload
    return struct.pack("!BBQ", 0x80 | opcode, 127, size) + payload


class Upstream:
    def __init__(self, name):
        self.name = name
        self.connections = []
        self.open = []  # those that aren't closed
        self.most = 0
        self.refusing = False
        self.sent = []  # what came in: [connection, text]
        self.said = 0  # the newest number
        self.pad = 0
        self.rate, self.since, self.base = 0, 0.0, 0
        self.ticks = []  # (number, time): so much was said then

    def is_there(self, connection):
        info = connection.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        return info[0] == ESTABLISHED

    def set_rate(self, rate):
        self.rate, self.since, self.base = rate, time.monotonic(), self.said

    async def run(self):
        while True:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            due = self.base + int((now - self.since) * self.rate)
            if due > self.said:
                self.say(now, due)

    def say(self, now, due):
        numbers = range(self.said + 1, due + 1)
        self.said = due
        self.ticks.append((due, now))
        for connection in self.open:
            if connection.is_up:
                tail = b',"c":%d,"of":"%s","pad":"%s"}' % (connection.number, self.name, b"x" * self.pad)
                connection.first = connection.first or numbers[0]
                connection.last = numbers[-1]
                connection.transport.write(b"".join(frame(TEXT, b'{"n":%d' % n + tail) for n in numbers))
                if connection.transport.get_write_buffer_size() > FULL:
                    connection.transport.abort()

    def when(self, number):
        at = bisect.bisect_left(self.ticks, (number, 0.0))
        return self.ticks[at][1] if at < len(self.ticks) else None

    def answer(self, order):
        what = order["do"]
        if what == "rate":
            self.set_rate(order["rate"])
        elif what == "pad":
            self.pad = order["bytes"]
        elif what == "refuse":
            self.refusing = order["on"]
        elif what == "reset":
            self.most = len(self.open)
        elif what == "drop":
            for connection in list(self.open):
                connection.transport.abort()
        elif what == "sent":
            return self.sent
        elif what == "when":
            return self.when(order["number"])
        return {
            "open": len(self.open),
            "most": self.most,
            "said": self.said,
            "connections": [connection.row() for connection in self.connections],
        }


class Connection(asyncio.Protocol):
    def __init__(self, upstream):
        self.upstream = upstream
        self.is_up = False
        self.first = self.last = None
        self.opened = self.closed = None
        self.beside = 0
        self.unread = b""

    def row(self):
        return {
            "number": self.number,
            "opened": self.opened,
            "closed": self.closed,
            "first": self.first,
            "last": self.last,
            "beside": self.beside,
        }

    def connection_made(self, transport):
        up = self.upstream
        self.transport = transport
        self.socket = transport.get_extra_info("socket")
        self.opened = time.monotonic()
        self.beside = sum(up.is_there(other) for other in up.open)
        up.most = max(up.most, 1 + self.beside)
        up.connections.append(self)
        up.open.append(self)
        self.number = len(up.connections)

    def connection_lost(self, _error):
        self.gone()

    def gone(self):
        self.is_up = False
        if self.closed is None:
            self.closed = time.monotonic()
            self.upstream.open.remove(self)

    def data_received(self, data):
        self.unread += data
        if not self.is_up and self.closed is None:
            head, end, rest = self.unread.partition(b"\r\n\r\n")
            if not end:
                return
            self.unread = rest
            self.upgrade(head.decode("latin-1"))
        while self.closed is None and self.frame():
            pass

    def upgrade(self, head):
        headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in head.split("\r\n")[1:])}
        if self.upstream.refusing or "sec-websocket-key" not in headers:
            self.transport.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
            self.transport.close()
            self.gone()
            return
        key = headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest())
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        self.is_up = True

    def frame(self):
        """Takes one frame of a client's, which is masked; false where it isn't whole."""
        data = self.unread
        if len(data) < 2:
            return False
        size, at = data[1] & 0x7F, 2
        if size == 126 and len(data) >= 4:
            size, at = struct.unpack("!H", data[2:4])[0], 4
        elif size == 127 and len(data) >= 10:
            size, at = struct.unpack("!Q", data[2:10])[0], 10
        elif size > 125:
            return False
        end = at + 4 + size
        if len(data) < end:
            return False
        mask = (data[at : at + 4] * (size // 4 + 1))[:size]
        payload = (int.from_bytes(data[at + 4 : end]) ^ int.from_bytes(mask)).to_bytes(size)
        self.unread = data[end:]
        self.take(data[0] & 0x0F, payload)
        return True

    def take(self, opcode, payload):
        if opcode == TEXT:
            text = payload.decode()
            self.upstream.sent.append([self.number, text])
            self.reply(text)
        elif opcode == PING:
            self.transport.write(frame(PONG, payload))
        elif opcode == CLOSE:
            self.transport.write(frame(CLOSE, payload[:2]))
            self.transport.close()
            self.gone()

    def reply(self, text):
        """A request is answered, unless it asks for silence, and so is what is said of topics."""
        try:
            value = json.loads(text)
        except ValueError:
            return
        if not isinstance(value, dict):
            return
        answer = {"id": value.get("id")}
        if "ask" in value and value["ask"] != "silence":
            answer["answer"] = value["ask"]
        for topic in value.get("sub", []):
            answer["refused" if topic == "bad" else "subscribed"] = topic
        if len(answer) > 1:
            self.transport.write(frame(TEXT, json.dumps(answer).encode()))


async def main():
    host, port, path, *name = sys.argv[1:]
    upstream = Upstream((name or ["feed"])[0].encode())
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: Connection(upstream), host, int(port))
    await asyncio.gather(upstream.run(), control.serve(path, upstream.answer))


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    asyncio.run(main())
