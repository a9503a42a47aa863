"""What clients heard, laid side by side: one log, the same on all machines, with each loss declared."""

import json
import re

from processes import Failed
from readers import ENTRY, scan

NUMBERED = re.compile(rb'\{"n":(\d+),"c":(\d+),"of":"([^"]*)"')


class Log:
    """The entries of one epoch, as all clients with envelopes had them."""

    def __init__(self, epoch):
        self.epoch = epoch
        self.lines = {}  # by seq
        self.readers = set()
        self.greeted = {}  # terms that clients were told of as they came, with their leaders

    def take(self, name, entries):
        for seq, _, line in entries:
            other = self.lines.setdefault(seq, line)
            if other != line:
                raise Failed(f"{name} has {line!r} where another has {other!r}")
        self.readers.add(name)

    def walk(self):
        """What the entries say."""
        seqs = sorted(self.lines)
        if seqs != list(range(seqs[0], seqs[0] + len(seqs))):
            raise Failed("an entry is missing in all clients' lines")
        walk = Walk(self.greeted)
        for seq in seqs:
            walk.take(self.lines[seq])
        return walk


class Walk:
    def __init__(self, greeted):
        self.greeted = greeted
        self.messages = 0
        self.numbers = []  # of the messages, in their order
        self.payloads = []
        self.names = set()
        self.links = []
        self.failovers = []  # the gaps
        self.holes = []  # [from, to, the connection before, the one after, the term]
        self.declared = []  # [from, to, count] by `upstream` gaps
        self.newest = (0, 0)  # number and connection

    def take(self, line):
        if not line.startswith(b'{"type":"message"'):
            self.take_other(json.loads(line))
            return
        found = NUMBERED.search(line)
        if not found:  # an answer
            return
        number, connection = int(found[1]), int(found[2])
        before, on = self.newest
        if number <= before:
            raise Failed(f"{number} comes after {before}: {line!r}")
        if connection < on:
            raise Failed(f"connection {connection} speaks after {on}: {line!r}")
        if before and number != before + 1:
            term = self.links[-1]["term"] if self.links else None
            self.holes.append([before + 1, number - 1, on, connection, term])
        self.newest = number, connection
        self.messages += 1
        self.numbers.append(number)
        self.payloads.append(line[line.index(b',"json":') + 8 : -2])
        self.names.add(found[3].decode())

    def take_other(self, entry):
        if entry["type"] == "link":
            self.links.append(entry)
        elif entry["type"] == "gap" and entry["why"] == "failover":
            self.failovers.append({**entry, "after": self.newest[0]})
        elif entry["type"] == "gap" and entry["why"] == "upstream":
            self.declared.append([entry["from"], entry["to"], entry["count"]])

    def terms(self):
        """Each term that clients heard of, with the node that led it."""
        found = dict(self.greeted)
        for link in self.links:
            if found.setdefault(link["term"], link["node"]) != link["node"]:
                raise Failed(f"term {link['term']} is of two nodes")
        return found


def read(nodes):
    """The logs of all epochs, in their order. Each client's entries are without a hole but those that it was told of."""
    logs = {}
    for node in nodes:
        place = None  # the next entry, in the present epoch
        for at, session in enumerate(node.reader.sessions):
            epoch = session.epoch()
            if not epoch:
                continue
            if not session.ended.is_set():
                session.file.flush()
            entries = scan(node.reader.file(at))
            log = logs.setdefault(epoch, Log(epoch))
            log.take(node.reader.name, entries)
            greeting = next(mark["cluster"] for _, mark in session.marks if mark["type"] == "hello")
            if "leader" in greeting:
                log.greeted[greeting["term"]] = greeting["leader"]
            told = {mark["from"]: mark["to"] for _, mark in session.marks if is_loss(mark)}
            if place and place[0] != epoch:
                place = None
            for seq, _, line in entries[skipped(node.reader.file(at)) :]:
                if place:
                    due = place[1]
                    while due in told:  # one loss may follow another
                        due = told[due] + 1
                    if seq != due:
                        raise Failed(f"{node.reader.name} has {line!r} where {due} is due")
                place = epoch, seq + 1
    return list(logs.values())


def skipped(path):
    """How many entries came before the client had its place: a node that goes along a stream has older ones for it."""
    with open(path, "rb") as file:
        data = file.read()
    return len(ENTRY.findall(data, 0, max(0, data.find(b'{"type":"ok","id":"here"'))))


def is_loss(mark):
    return mark["type"] == "gap" and "seq" not in mark and mark.get("from") is not None


def losses(nodes):
    """What clients were told that they won't get."""
    return [mark for node in nodes for _, mark in node.reader.marks() if mark["type"] == "gap" and "seq" not in mark]


def raw_agree(nodes, walk):
    """How many lines clients without envelopes had; each connection's are messages of the log, one after another."""
    places = {number: at for at, number in enumerate(walk.numbers)}
    count = 0
    for node in nodes:
        for at, session in enumerate(node.raw.sessions):
            if not session.ended.is_set():
                session.file.flush()
            with open(node.raw.file(at), "rb") as file:
                lines = file.read().split(b"\n")[:-1]
            lines = [line for line in lines if NUMBERED.match(line)]
            # it may have come before the others, and may be of another epoch
            numbers = [int(NUMBERED.match(line)[1]) for line in lines]
            known = next((at for at, number in enumerate(numbers) if number in places), None)
            if known is None:
                continue
            lines, begin = lines[known:], places[numbers[known]]
            if lines != walk.payloads[begin : begin + len(lines)]:
                raise Failed(f"{node.raw.name}'s lines aren't the log's messages")
            count += len(lines)
    return count
