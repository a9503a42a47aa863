#!/usr/bin/env python3
"""Programs that share one link to a server, each counting its ids from 1, and what each is answered.

programs.py plain SERVER URL   two programs on one plain WebSocket: succeeds where they get in one another's way as
                               SERVER is known for. Needs the package websockets

SERVER is home-assistant (with a token in HASS_TOKEN), ganache, devtools or ocpp. What was seen is printed.
"""

import json
import os
import sys

DEADLINE = 30  # seconds without anything that is waited for


class HomeAssistant:
    subprotocols = None
    # what the manifest of an integration says is the answer, and there are enough of them
    integrations = (
        "api auth automation backup blueprint config counter device_automation diagnostics file_upload frontend "
        "hardware homeassistant http image_upload input_boolean input_button input_datetime input_number input_select "
        "input_text logger lovelace network onboarding person persistent_notification recorder repairs scene schedule "
        "script search sun system_health system_log tag timer trace websocket_api zone cast demo hue light"
    ).split()

    @staticmethod
    def greet(say, hear):
        hear()
        say({"type": "auth", "access_token": os.environ["HASS_TOKEN"]})
        assert hear()["type"] == "auth_ok"

    @classmethod
    def ask(cls, program, n, number):
        """What a program asks n-th, with which id; and what the answer to it must be."""
        name = cls.integrations[(program * 7 + n) % len(cls.integrations)]
        return {"id": number, "type": "manifest/get", "integration": name}, name

    @staticmethod
    def number(message):
        return message.get("id") if message.get("type") == "result" else None

    @staticmethod
    def said(answer):
        """What an answer says; an error where it is a refusal."""
        if not answer["success"]:
            raise Refused(answer["error"]["code"])
        return answer["result"]["domain"]

    @staticmethod
    def in_the_way(refused, swapped, asked):
        return refused == {"id_reuse": asked // 2}


class JsonRpc:
    """Two programs with the same id: each sees both answers, and takes the first."""

    subprotocols = None

    @staticmethod
    def greet(say, hear):
        pass

    @staticmethod
    def number(message):
        return message.get("id")

    @staticmethod
    def in_the_way(refused, swapped, asked):
        return not refused and swapped == asked // 2


class Ganache(JsonRpc):
    @staticmethod
    def ask(program, n, number):
        # a small program of the machine's own: push the number, store it, return it
        value = 1000 * program + n
        code = f"0x61{value:04x}60005260206000f3"
        ask = {"jsonrpc": "2.0", "id": number, "method": "eth_call", "params": [{"data": code}, "latest"]}
        return ask, value

    @staticmethod
    def said(answer):
        if "error" in answer:
            raise Refused(answer["error"]["message"])
        return int(answer["result"], 16)


class DevTools(JsonRpc):
    @staticmethod
    def ask(program, n, number):
        said = f"program {program}, {n}"
        return {"id": number, "method": "Runtime.evaluate", "params": {"expression": repr(said)}}, said

    @staticmethod
    def said(answer):
        if "error" in answer:
            raise Refused(answer["error"]["message"])
        return answer["result"]["result"]["value"]

    @staticmethod
    def in_the_way(refused, swapped, asked):
        # an id is refused while the command that has it is under way
        return sum(refused.values()) + swapped >= asked // 2


class Ocpp(JsonRpc):
    subprotocols = ["ocpp1.6"]

    @staticmethod
    def ask(program, n, number):
        said = f"program {program}, {n}"
        return [2, str(number), "DataTransfer", {"vendorId": "several", "data": said}], said

    @staticmethod
    def number(message):
        return int(message[1]) if message[0] in (3, 4) else None

    @staticmethod
    def said(answer):
        if answer[0] == 4:
            raise Refused(answer[2])
        return answer[2]["data"]


SERVERS = {"home-assistant": HomeAssistant, "ganache": Ganache, "devtools": DevTools, "ocpp": Ocpp}


class Refused(Exception):
    pass


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
        if server is Ocpp:
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


match sys.argv[1:]:
    case ["plain", server, url]:
        plain(SERVERS[server], url)
    case _:
        sys.exit(__doc__)
