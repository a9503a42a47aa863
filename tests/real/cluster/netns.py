"""Machines of their own, as network namespaces: a hub that has the servers, and one for each node. They have no way out.

All reach the hub at one address. What is lost is dropped where it comes in, so that the sender sees nothing, as on a
path that is dead.
"""

import ctypes
import os
import socket
import subprocess
import threading

ADDRESS = "10.231.0.1"
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


def run(*command):
    subprocess.run(command, check=True, capture_output=True, text=True)


class Net:
    def __init__(self, nodes):
        self.name = f"wsfan-{os.getpid()}"
        self.spaces = {}
        self.add("hub")
        self.ip("hub", "addr", "add", f"{ADDRESS}/32", "dev", "lo")
        for at, node in enumerate(nodes, 1):
            self.add(node)
            hub, space = self.spaces["hub"], self.spaces[node]
            # both ends are made where they belong: this machine's own namespace never sees them
            run("ip", "link", "add", f"v{at}", "netns", hub, "type", "veth", "peer", "name", "v0", "netns", space)
            self.ip("hub", "addr", "add", f"10.231.{at}.1/24", "dev", f"v{at}")
            self.ip(node, "addr", "add", f"10.231.{at}.2/24", "dev", "v0")
            self.ip("hub", "link", "set", f"v{at}", "up")
            self.ip(node, "link", "set", "v0", "up")
            self.ip(node, "route", "add", "default", "via", f"10.231.{at}.1")

    def add(self, name):
        self.spaces[name] = f"{self.name}-{name}"
        run("ip", "netns", "add", self.spaces[name])
        self.ip(name, "link", "set", "lo", "up")
        self.nft(name, "add table inet lost")
        self.nft(name, "add chain inet lost in { type filter hook input priority -300; policy accept; }")

    def enter(self, name):
        """What comes before a command that is to run there."""
        return ("ip", "netns", "exec", self.spaces[name])

    def ip(self, name, *words):
        run("ip", "-n", self.spaces[name], *words)

    def nft(self, name, rule):
        run(*self.enter(name), "nft", rule)

    def cut(self, at, node, port):
        """Nothing comes through between this node, the `at`th, and a port of the hub."""
        self.nft("hub", f"add rule inet lost in iifname v{at} tcp dport {port} drop")
        self.deafen(node, port)

    def deafen(self, node, port):
        """Nothing that a port of the hub says comes through to this node."""
        self.nft(node, f"add rule inet lost in iifname v0 tcp sport {port} drop")

    def mend(self):
        for name in self.spaces:
            self.nft(name, "flush chain inet lost in")

    def socket(self, name, port):
        """A connection to a port of the hub from there."""
        made = []

        def connect():
            with open(f"/run/netns/{self.spaces[name]}") as space:
                if LIBC.setns(space.fileno(), CLONE_NEWNET):
                    made.append(OSError(ctypes.get_errno(), "setns"))
                    return
            try:
                made.append(socket.create_connection((ADDRESS, port), 5))
            except OSError as error:
                made.append(error)

        # a thread has a namespace of its own, and a socket stays in the one that it was made in
        thread = threading.Thread(target=connect)
        thread.start()
        thread.join()
        if isinstance(made[0], OSError):
            raise made[0]
        return made[0]

    def remove(self):
        for space in self.spaces.values():
            subprocess.run(("ip", "netns", "del", space), check=False, capture_output=True)
