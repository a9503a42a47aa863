#!/usr/bin/env python3
"""A local client: client.py SOCKET [LINE]

Connects, sends LINE if there is one, and prints each line that comes until the daemon closes; then "end".
With --stuck before SOCKET it reads nothing at all and stays.
"""

import signal
import socket
import sys

arguments = sys.argv[1:]
stuck = arguments[0] == "--stuck"
if stuck:
    arguments.pop(0)
client = socket.socket(socket.AF_UNIX)
client.connect(arguments[0])
if len(arguments) > 1:
    client.sendall(arguments[1].encode() + b"\n")
if stuck:
    print("attached", flush=True)
    signal.pause()
try:
    for line in client.makefile("r", encoding="utf-8", newline="\n"):
        print(line, end="", flush=True)
except ConnectionResetError:
    print("reset", flush=True)
print("end", flush=True)
