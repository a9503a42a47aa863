"""A .creds file, as nsc makes it: an operator, an account and a user, with openssl for the signatures."""

import base64
import json
import os
import re
import subprocess
import time

from agree import agree
from nats import Servers
from nodes import Cluster
from processes import check
from trouble import misfit

OPERATOR, ACCOUNT, USER, SEED = 14 << 3, 0, 20 << 3, 18 << 3  # what the first letter of a key stands for
PKCS8 = bytes.fromhex("302e020100300506032b657004220420")  # before an Ed25519 key's seed


class Key:
    """An nkey."""

    def __init__(self, work, kind):
        self.kind, self.seed = kind, os.urandom(32)
        self.file = f"{work}/key-{os.urandom(4).hex()}.der"
        with open(self.file, "wb") as file:
            file.write(PKCS8 + self.seed)
        command = ["openssl", "pkey", "-inform", "DER", "-in", self.file, "-pubout", "-outform", "DER"]
        self.public = encode(bytes([kind]) + subprocess.run(command, check=True, capture_output=True).stdout[-32:])

    def secret(self):
        """The seed, as a .creds file has it."""
        return encode(bytes([SEED | self.kind >> 5, (self.kind & 31) << 3]) + self.seed)

    def sign(self, data):
        with open(f"{self.file}.in", "wb") as file:
            file.write(data)
        key = ["-keyform", "DER", "-inkey", self.file]
        command = ["openssl", "pkeyutl", "-sign", "-rawin", *key, "-in", f"{self.file}.in"]
        return subprocess.run(command, check=True, capture_output=True).stdout

    def token(self, subject, name, expires=None, **claims):
        """A JWT about this subject, which this key has signed."""
        head = {"typ": "JWT", "alg": "ed25519-nkey"}
        body = {"jti": os.urandom(16).hex(), "iat": int(time.time()), "iss": self.public, "sub": subject.public}
        if expires:
            body["exp"] = int(expires)
        body |= {"name": name, "nats": {"version": 2, **claims}}
        text = ".".join(base64url(json.dumps(part).encode()) for part in (head, body))
        return f"{text}.{base64url(self.sign(text.encode()))}"


def base64url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def encode(data):
    """As all nkeys are written: in base 32, with a CRC-16 (XMODEM) at the end."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return base64.b32encode(data + crc.to_bytes(2, "little")).decode().rstrip("=")


class Operator:
    """One with an account that has JetStream."""

    def __init__(self, work):
        self.work, self.key = work, Key(work, OPERATOR)
        self.users = {}  # the newest of each name
        self.account, system = Key(work, ACCOUNT), Key(work, ACCOUNT)
        limits = dict.fromkeys(["subs", "data", "payload", "imports", "exports", "conn", "leaf"], -1) | {"wildcards": True}
        stored = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
        own = self.key.token(self.account, "wsfan", type="account", limits={**limits, **stored})
        other = self.key.token(system, "SYS", type="account", limits=limits)
        operator = self.key.token(self.key, "operator", type="operator", system_account=system.public)
        self.configuration = (
            f"operator: {operator}\nresolver: MEMORY\nsystem_account: {system.public}\n"
            f"resolver_preload: {{ {self.account.public}: {own}, {system.public}: {other} }}\n"
        )

    def credentials(self, name, publish=(), subscribe=(), expires=None):
        """A user's file. Who isn't allowed anything by name is allowed all."""
        user = Key(self.work, USER)
        self.users[name] = user.public
        rights = {"pub": {"allow": [*publish]}, "sub": {"allow": [*subscribe]}}
        jwt = self.account.token(user, name, expires, type="user", subs=-1, data=-1, payload=-1, **rights)
        path = f"{self.work}/{name}.creds"
        with open(path, "w") as file:
            os.chmod(path, 0o600)
            file.write(
                f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
                f"-----BEGIN USER NKEY SEED-----\n{user.secret()}\n------END USER NKEY SEED------\n"
            )
        return path


def printed_rights(text, inbox):
    """What `wsfan cluster init` prints of the user who listens there: what it may publish to, and subscribe to."""
    lists = re.findall(r"publish: \[(.*?)\].*?subscribe: \[(.*?)\]", text, re.S)
    users = [[re.findall('"([^"]+)"', part) for part in user] for user in lists]
    return next(user for user in users if inbox in user[1])


async def credentials(bed):
    """Certificates of nodes, and logins by .creds files, whose rights are what `wsfan cluster init` prints."""
    work = bed.directory("operator")
    operator, another = Operator(work), Operator(work)
    servers = Servers(work, bed.nats, 1, more=operator.configuration, tls=bed.certificates, verify=True)
    servers.start()
    await servers.listening()
    files = {"ca_file": "ca.pem", "cert_file": "client.pem", "key_file": "client.key"}
    tls = {f"tls.{key}": f"{bed.certificates}/{name}" for key, name in files.items()}
    cluster = Cluster(bed.beside(servers), "creds", **tls)
    first = []
    for name in ("n1", "n2"):
        cluster.add(name, candidate=name == "n1", credentials=f"{work}/{name}.creds")
        operator.credentials(name, ["nothing"], ["nothing"])  # a user who is there, and has no rights yet
        first.append(operator.users[name])
        status, text, _ = await cluster.nodes[name].tool("cluster", "init")
        good = status == 1 and all(line.startswith("#") for line in text.splitlines())
        check("with credentials init prints the permissions as comments, before it tries anything", good)
        operator.credentials(name, *printed_rights(text, f"_INBOX_{cluster.name}.{name}.>"))
    await cluster.upstream.ready()

    words = ["TLS with the NATS server", "a certificate of this node: set cluster.tls.cert_file and key_file"]
    none = {"tls.cert_file": None, "tls.key_file": None, "credentials": f"{work}/n1.creds"}
    await misfit(cluster, "no certificate of the node", words, (1, words), **none)
    words = ["refuses the user of cluster.credentials", "which account that is for, and whether it has expired"]
    old = operator.credentials("old", expires=time.time() - 60)
    await misfit(cluster, "credentials that have expired", words, (1, words), credentials=old)
    other = another.credentials("other")
    await misfit(cluster, "credentials of another operator's", words, (1, words), credentials=other)
    words = ["cluster.credentials holds no JWT and seed of a NATS user", "as nsc makes it"]
    with open(f"{work}/none.creds", "w") as file:
        os.chmod(file.name, 0o600)
        file.write("a password\n")
    await misfit(cluster, "a file that is none", words, (1, words), credentials=file.name)

    status, _, error = await cluster.nodes["n1"].tool("check", "--live")
    check("check --live with credentials: all is well", status == 0, error.strip())
    await cluster.start(rate=500)
    await cluster.nodes["n2"].has_done({"op": "send", "text": "by credentials"}, "written")
    check("a send from a node that may not lead is written", True)
    lacking = [line for line in servers.log().splitlines() if "Violation" in line]
    kept = any(key in line for line in lacking for key in first)
    check("who had no rights is in the NATS server's log", kept, len(lacking))
    lacking = [line for line in lacking if any(key in line for key in operator.users.values())]
    check("and no node lacked any in all that", not lacking, *lacking[:1])
    await cluster.settled()
    await agree(cluster)
    await cluster.stop(gone=True)
    servers.kill()
