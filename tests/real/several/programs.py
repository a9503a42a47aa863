#!/usr/bin/env python3
"""Programs that share one link to a server, each counting its ids from 1, and what each is answered.

programs.py plain SERVER URL              two on one plain WebSocket: succeeds where they get in one another's way, as
                                          SERVER is known for. Needs the package websockets
programs.py requests SERVER SOCKET        three on wsfan's socket, by `request`: each must get its own answers alone
programs.py raw SERVER SOCKET             three on wsfan's raw socket, which write and read what they would without it
programs.py streams SERVER SOCKET         two with requests that have many answers, of which one is cancelled
programs.py raw-streams SERVER SOCKET     the same on wsfan's raw socket, where one ends it as it would without wsfan
programs.py subscriptions SERVER SOCKET   two with the same topic; says "heard", waits until the link is up again,
                                          which whoever runs this sees to, and must hear more without asking for it
programs.py leave SERVER SOCKET           two that get what they have subscribed to alone; one leaves, and the server
                                          must say no more of its topic
programs.py calls SOCKET                  two that answer the same calls of OCPP's central system

SERVER is home-assistant (with a token in HASS_TOKEN), ganache, devtools or ocpp. What was seen is printed.
"""

import concurrent.futures
import json
import socket
import sys
import threading
import time

from known import SERVERS, Refused

DEADLINE = 30  # seconds without a line, or what else is waited for


class Program:
    """A client of wsfan's socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(DEADLINE)
        self.socket.connect(path)
        self.lines = self.socket.makefile("rb")

    def say(self, line):
        self.socket.sendall(json.dumps(line).encode() + b"\n")

    def hear(self):
        return json.loads(self.lines.readline() or sys.exit("the connection ended"))

    def until(self, wanted, passed_over=lambda line: True):
        """The next line that is wanted; those before it must be such as may be passed over."""
        while True:
            line = self.hear()
            if wanted(line):
                return line
            assert passed_over(line), line

    def reply(self, number, passed_over=lambda line: True):
        """What comes of the line with the id."""
        fates = ("ok", "error", "answer")
        return self.until(lambda line: line.get("id") == number and line["type"] in fates, passed_over)

    def done(self, line, passed_over=lambda line: True):
        """Says a line, and waits for its `ok`."""
        self.say(line)
        reply = self.reply(line["id"], passed_over)
        assert reply["type"] == "ok", reply

    def request(self, payload, number, passed_over=lambda line: True):
        """A request with one answer: what that is."""
        self.say({"op": "request", "id": number, "json": payload})
        reply = self.reply(number, passed_over)
        assert reply["type"] == "answer" and "more" not in reply and "failed" not in reply, reply
        return reply["json"]

    def nothing_more(self, passed_over):
        """All that wsfan had for it before now may be passed over."""
        self.done({"op": "ping", "id": "now"}, passed_over)


def together(programs, run):
    """run(program's number, a barrier) for each at the same time."""
    barrier = threading.Barrier(programs, timeout=DEADLINE)

    def one(program):
        try:
            return run(program, barrier)
        except BaseException:
            barrier.abort()
            raise

    with concurrent.futures.ThreadPoolExecutor(programs) as pool:
        running = [pool.submit(one, program) for program in range(1, programs + 1)]
        broken = [one.exception() for one in running if one.exception() is not None]
        # those who only waited for others have less to say
        for error in sorted(broken, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
            raise error


def answers_somebody(server, line):
    """Whether a line holds the server's answer to something, or wsfan's line for it."""
    return line["type"] == "answer" or ("json" in line and server.number(line["json"]) is not None)


def plain(server, url, each=20):
    from websockets.sync.client import connect

    with connect(url, subprotocols=server.subprotocols, max_size=None, proxy=None) as socket:
        server.greet(lambda message: socket.send(json.dumps(message)), lambda: json.loads(socket.recv(DEADLINE)))
        wanted = {}
        for n in range(1, each + 1):
            for program in (1, 2):
                ask, wanted[program, n] = server.ask(program, n, n)
                socket.send(json.dumps(ask))
        answers = {}  # by their ids, in the order in which they come
        for _ in range(2 * each):
            message = json.loads(socket.recv(DEADLINE))
            number = server.number(message)
            assert number is not None, message
            answers.setdefault(number, []).append(message)
        if server is SERVERS["ocpp"]:
            # the server's call, which both programs answer, as each would on a connection of its own
            socket.send(json.dumps([2, "last", "DataTransfer", {"vendorId": "ask", "data": "both"}]))
            socket.recv(DEADLINE)
            call = json.loads(socket.recv(DEADLINE))
            assert call[0] == 2, call
            for program in (1, 2):
                socket.send(json.dumps([3, call[1], {"status": "Accepted", "data": f"program {program}"}]))
    refused, swapped = {}, 0
    for numbered in answers.values():
        for answer in numbered:
            try:
                server.said(answer)
            except Refused as refusal:
                refused[str(refusal)] = refused.get(str(refusal), 0) + 1
    for (program, n), want in wanted.items():
        try:
            swapped += server.said(answers[n][0]) != want  # both take the first with their id
        except Refused:
            pass
    print(f"of {len(wanted)}: refused {refused}, {swapped} took the other's answer")
    sys.exit(not server.in_the_way(refused, swapped, len(wanted)))


def requests(server, path, programs=3, each=20):
    def run(number, barrier):
        program, wanted = Program(path), {}
        not_others = lambda line: not answers_somebody(server, line)
        barrier.wait()
        for n in range(1, each + 1):
            ask, wanted[n] = server.ask(number, n, n)
            program.say({"op": "request", "id": n, "json": ask})
        while wanted:
            line = program.until(lambda line: line.get("id") in wanted, not_others)
            assert line["type"] == "answer" and "more" not in line and "failed" not in line, line
            assert server.number(line["json"]) == line["id"], f"not the id that was written: {line}"
            want = wanted.pop(line["id"])
            assert server.said(line["json"]) == want, f"should say {want!r}: {line}"
        barrier.wait()
        program.nothing_more(not_others)

    together(programs, run)
    print(f"{programs * each} of {programs * each}: each program got its own answers")


def raw(server, path, programs=3, each=20):
    def run(number, barrier):
        program, wanted = Program(path), {}
        barrier.wait()
        for n in range(1, each + 1):
            ask, wanted[n] = server.ask(number, n, n)
            program.say(ask)
        while wanted:
            message = program.until(lambda message: server.number(message) is not None)
            want = wanted.pop(server.number(message), None)
            assert want is not None and server.said(message) == want, f"should say {want!r}: {message}"
        # whatever was answered to others has come before the answer to this
        barrier.wait()
        ask, want = server.ask(number, each + 1, each + 1)
        program.say(ask)
        message = program.until(lambda message: server.number(message) is not None)
        assert server.number(message) == each + 1 and server.said(message) == want, message

    together(programs, run)
    print(f"{programs * (each + 1)} of {programs * (each + 1)}: each program got its own answers")


def streams(server, path):
    one, two, other = (Program(path) for _ in range(3))
    topics = {}
    for number, program in ((1, one), (2, two)):
        ask, topics[program] = server.stream(number)
        program.say({"op": "request", "id": "stream", "json": ask})
        line = program.reply("stream")
        assert line["type"] == "answer" and line.get("more") is True and server.number(line["json"]) == 1, line

    def happens(n):
        for topic in sorted(set(topics.values())):
            other.request(server.event(n, topic), n)

    def hears(program, n):
        told = lambda line: line["type"] == "answer" or server.happened(line.get("json", {})) is not None
        line = program.until(told, lambda line: True)
        assert line["type"] == "answer" and line["id"] == "stream" and line.get("more") is True, line
        assert server.happened(line["json"]) == (n, topics[program]), line
        assert line["json"].get("id", 1) == 1, f"not the id that was written: {line}"

    happens(1)
    hears(one, 1)
    hears(two, 1)
    one.say({"op": "cancel", "id": "enough", "request": "stream"})
    ends = {}
    while {"stream", "enough"} - ends.keys():
        line = one.until(lambda line: line.get("id") in ("stream", "enough"))
        ends[line["id"]] = line
    assert ends["stream"]["type"] == "error" and ends["stream"]["code"] == "cancelled", ends
    assert ends["enough"]["type"] == "ok", ends
    # once this is answered, the server has read the message that cancels
    one.request(server.ask(1, 1, 1)[0], "read")
    happens(2)
    hears(two, 2)
    for program in (one, two):
        quiet = lambda line: line["type"] != "answer" and server.happened(line.get("json", {})) is None
        program.request(server.ask(1, 2, 2)[0], "last", quiet)
        program.nothing_more(quiet)
    print("each heard of its own subscription, under the id that it wrote; the one that cancelled heard no more")


def raw_streams(server, path):
    one, two, other = (Program(path) for _ in range(3))
    asked = dict.fromkeys((one, two, other), 0)

    def ask(program, payload, passed_over):
        """The answer to what a program asks next."""
        asked[program] += 1
        program.say({**payload, "id": asked[program]})
        answer = program.until(lambda message: server.number(message) is not None, passed_over)
        assert server.number(answer) == asked[program] and "error" not in answer, answer
        return answer

    anything = lambda message: True
    topics, firsts = {}, {}
    for number, program in ((1, one), (2, two)):
        payload, topics[program] = server.stream(number)
        firsts[program] = ask(program, payload, anything)

    def happens(n):
        for topic in sorted(set(topics.values())):
            ask(other, server.event(n, topic), anything)

    def hears(program, n):
        message = program.until(lambda message: server.happened(message) is not None)
        assert server.happened(message) == (n, topics[program]), message
        assert message.get("id", 1) == 1, f"not the id that was written: {message}"
        if "params" in message:
            assert message["params"]["subscription"] == firsts[program]["result"], message

    quiet = lambda message: server.happened(message) is None
    happens(1)
    for program in (one, two):
        hears(program, 1)
    ask(one, server.end(firsts[one], 0), quiet)
    happens(2)
    hears(two, 2)
    for program in (one, two, other):
        ask(program, server.ask(1, 1, 1)[0], quiet)
    print("each heard of its own subscription, under the id that it wrote; the one that ended it heard no more")


def subscriptions(server, path):
    one, two, other = (Program(path) for _ in range(3))
    for program in (one, two):
        program.done({"op": "subscribe", "id": "topic", "topics": [server.topic]})

    def happens(n):
        other.request(server.event(n, server.topic), n)
        for program in (one, two):
            told = lambda line: server.happened(line.get("json", {}))
            line = program.until(told)
            assert line["type"] == "message" and told(line) == (n, server.topic), line
            # its own answer comes behind what was told already
            program.request(server.ask(1, 1, 1)[0], f"after {n}", lambda line: not told(line))

    happens(1)
    print("heard", flush=True)
    other.until(lambda line: line["type"] == "link" and line["state"] == "waiting")
    fate = {"link_down", "unknown"}
    other.say({"op": "request", "id": "meanwhile", "json": server.ask(1, 1, 1)[0]})
    meanwhile = other.reply("meanwhile")
    assert meanwhile["type"] == "error" and meanwhile["code"] in fate, meanwhile
    other.until(lambda line: line["type"] == "link" and line["state"] == "up")
    happens(2)
    print("heard again", flush=True)


def leave(server, path):
    one, two, witness, other = (Program(path) for _ in range(4))
    topics = {program: f"{server.topic}_{name}" for program, name in ((one, "one"), (two, "two"))}
    for program, topic in topics.items():
        program.done({"op": "attach", "id": "narrow", "topics": []})
        program.done({"op": "subscribe", "id": "topic", "topics": [topic]})

    def happens(n):
        for topic in topics.values():
            other.request(server.event(n, topic), n)

    def told(program):
        """What it is told of next."""
        line = program.until(lambda line: line["type"] == "message" and server.happened(line["json"]) is not None)
        assert line["topic"] == server.happened(line["json"])[1], line
        return server.happened(line["json"])

    for n in (1, 2):
        happens(n)
        for program, topic in topics.items():
            assert told(program) == (n, topic), "what another has subscribed to"
        assert [told(witness) for _ in topics] == [(n, topic) for topic in topics.values()]
    one.socket.shutdown(socket.SHUT_RDWR)
    end = time.monotonic() + DEADLINE
    while topics[one] in subscribed(other):
        assert time.monotonic() < end, "who has gone holds its topic"
        time.sleep(0.05)
    # what is said of topics takes turns with requests: it is out before the second of these
    for n in (3, 4):
        other.request(server.ask(1, n, n)[0], n)
    happens(5)
    assert told(two) == (5, topics[two])
    assert told(witness) == (5, topics[two]), "the server still tells of a topic that nobody wants"
    print("each got its own topic alone, and the server heard when the one that left had gone")


def subscribed(program):
    """The topics that somebody holds, or held a moment ago."""
    program.say({"op": "status", "id": "status"})
    status = program.until(lambda line: line["type"] == "status")
    return [row["topic"] for row in status["subscriptions"]["rows"]]


def calls(path):
    server = SERVERS["ocpp"]
    one, two = Program(path), Program(path)

    def called(data, number):
        ask = [2, str(number), "DataTransfer", {"vendorId": "ask", "data": data}]
        one.request(ask, number)
        for program in (one, two):
            program.until(lambda line: line["type"] == "message" and line["json"][:2] == [2, f"call {data}"])

    def answers(program, data, who):
        answer = [3, f"call {data}", {"status": "Accepted", "data": who}]
        program.say({"op": "send", "id": who, "json": answer})
        reply = program.reply(who)
        return reply.get("code", reply["type"])

    called("first", 1)
    fates = [answers(two, "first", "two"), answers(one, "first", "one")]
    assert fates == ["ok", "answered"], fates
    one.done({"op": "attach", "id": "claim", "answers": True})
    two.say({"op": "attach", "id": "claim", "answers": True})
    line = two.reply("claim")
    assert line["type"] == "error" and line["code"] == "answerer_taken", line
    called("second", 2)
    fates = [answers(two, "second", "two"), answers(one, "second", "one")]
    assert fates[0] != "ok" and fates[1] == "ok", fates
    # the server reads in order: what it was told before, it has heard
    one.request(server.ask(1, 3, 3)[0], 3)
    print(f"the second answer is refused, and that of one who isn't the answerer: {fates[0]}")


match sys.argv[1:]:
    case ["plain", server, url]:
        plain(SERVERS[server], url)
    case [("requests" | "raw" | "streams" | "raw-streams" | "subscriptions" | "leave") as what, server, path]:
        globals()[what.replace("-", "_")](SERVERS[server], path)
    case ["calls", path]:
        calls(path)
    case _:
        sys.exit(__doc__)
