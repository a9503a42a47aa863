#!/usr/bin/env python3
"""A WebSocket server of few words, for tests: upstream.py PORT [CERTIFICATE KEY]

It says what happens on each connection, a JSON line each: open (with the Authorization header), ping, text,
close (with the code, or null where the connection just ended). It sends {"tick":N} each half second (or each so
many seconds as ?every=N in the URL says), answers pings, and sends 20 MB at once when a text message says "flood".
With a certificate and its key, in PEM files, it speaks TLS. Python's standard library is all that it needs.
"""

import base64
import hashlib
import json
import socket
import ssl
import struct
import sys
import threading
import time

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


def say(conn, event, **more):
    print(json.dumps({"conn": conn, "event": event, **more}), flush=True)


def frame(opcode, payload):
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", 0x80 | opcode, size) + payload
    return struct.pack("!BBH", 0x80 | opcode, 126, size) + payload  # no test sends more than 64 KiB


def upgrade(sock):
    """Reads the request, answers it, returns the Authorization header and the seconds between ticks."""
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte:
            raise ConnectionError("no request")
        request += byte
    lines = request.decode("latin-1").split("\r\n")[1:]
    headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    key = headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
    sock.sendall(
        f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
    )
    every = request.split()[1].partition(b"?every=")[2]
    return headers.get("authorization"), float(every or 0.5)


def serve(conn, sock, tls):
    buffer, tick, due, code = b"", 0, time.monotonic(), None

    def read(size):
        """Reads so many bytes, or raises TimeoutError with what came so far kept in `buffer`."""
        nonlocal buffer
        while len(buffer) < size:
            data = sock.recv(65536)
            if not data:
                raise ConnectionError("ended")
            buffer += data
        return buffer[:size]

    try:
        sock.settimeout(30)
        if tls:
            sock = tls.wrap_socket(sock, server_side=True)
        authorization, every = upgrade(sock)
        say(conn, "open", authorization=authorization)
        while True:
            if time.monotonic() >= due:
                tick, due = tick + 1, time.monotonic() + every
                sock.settimeout(30)
                sock.sendall(frame(TEXT, b'{"tick":%d}' % tick))
            sock.settimeout(max(due - time.monotonic(), 0.001))
            try:  # a client's frame: two bytes, the long length if any, the mask, the payload
                size, at = read(2)[1] & 0x7F, 2
                if size == 126:
                    size, at = struct.unpack("!H", read(4)[2:])[0], 4
                whole = read(at + 4 + size)
            except TimeoutError:
                continue
            buffer = buffer[len(whole) :]
            opcode, mask = whole[0] & 0x0F, whole[at : at + 4]
            payload = bytes(b ^ mask[i % 4] for i, b in enumerate(whole[at + 4 :]))
            sock.settimeout(30)
            if opcode == CLOSE:
                code = struct.unpack("!H", payload[:2])[0] if payload else 1005
                sock.sendall(frame(CLOSE, payload[:2]))
                break
            if opcode == PING:
                say(conn, "ping")
                sock.sendall(frame(PONG, payload))
            if opcode == TEXT:
                say(conn, "text", text=payload.decode())
                if b"flood" in payload:
                    for _ in range(2000):
                        sock.sendall(frame(TEXT, b'{"flood":"' + b"x" * 10_000 + b'"}'))
    except (OSError, KeyError) as error:
        say(conn, "error", text=repr(error))
    say(conn, "close", code=code)
    sock.close()


def main():
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    tls = None
    if len(sys.argv) > 2:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(sys.argv[2], sys.argv[3])
    conn = 0
    while True:
        sock, _ = listener.accept()
        conn += 1
        threading.Thread(target=serve, args=(conn, sock, tls), daemon=True).start()


main()
