"""What the servers are like that programs.py talks to: what it may ask, and what it must be answered."""

import json
import os


class Refused(Exception):
    """An answer that is a refusal, in the server's words."""


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

    topic = "several_all"

    @staticmethod
    def event(n, topic=topic):
        """Makes the n-th thing happen, of which those are told who have subscribed to the topic."""
        return {"id": 1, "type": "fire_event", "event_type": topic, "event_data": {"n": n}}

    @staticmethod
    def happened(message):
        """Which thing a message tells of, and of which topic; None if it is about something else."""
        if message.get("type") != "event" or "n" not in message["event"].get("data", {}):
            return None
        return message["event"]["data"]["n"], message["event"]["event_type"]

    @staticmethod
    def stream(program):
        """A request with more than one answer, and what program's things are of."""
        topic = f"several_{program}"
        return {"id": 1, "type": "subscribe_events", "event_type": topic}, topic

    @staticmethod
    def end(first, number):
        """The request that ends it, of a program that has had this first answer."""
        return {"id": number, "type": "unsubscribe_events", "subscription": first["id"]}


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
    topic = "newHeads"
    first = 4_000_000_000  # the time of block 0, if there were one

    @classmethod
    def event(cls, n, topic=None):
        return {"jsonrpc": "2.0", "id": 1, "method": "evm_mine", "params": [cls.first + n]}

    @classmethod
    def happened(cls, message):
        if message.get("method") != "eth_subscription":
            return None
        return int(message["params"]["result"]["timestamp"], 16) - cls.first, cls.topic

    @classmethod
    def stream(cls, program):
        return {"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": [cls.topic]}, cls.topic

    @staticmethod
    def end(first, number):
        return {"jsonrpc": "2.0", "id": number, "method": "eth_unsubscribe", "params": [first["result"]]}

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
    topic = "Runtime"

    @staticmethod
    def event(n, topic=None):
        return {"id": 1, "method": "Runtime.evaluate", "params": {"expression": f"console.log({n})"}}

    @classmethod
    def happened(cls, message):
        if message.get("method") != "Runtime.consoleAPICalled":
            return None
        return message["params"]["args"][0]["value"], cls.topic

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
