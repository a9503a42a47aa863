"""NATS with TLS, and with no right more than wsfan asks for."""

import json
import ssl

from agree import agree
from nats import Client, Servers
from nodes import Cluster, Node
from processes import check, command_says, until
from trouble import misfit

NAMES = ["n1", "n2", "n3"]
WITNESS = "n3"  # may not lead
OTHER = "n4"  # neither; what goes wrong is done with its login
ACCOUNT = "accounts {\n  wsfan {\n    jetstream: enabled\n    users: [\n"


async def rights(bed):
    """TLS, and users with exactly the rights that `wsfan cluster init` prints."""
    servers = Servers(bed.directory("tls"), bed.nats, 1, tls=bed.certificates)
    cluster = Cluster(bed.beside(servers), "rights", **{"tls.ca_file": f"{bed.certificates}/ca.pem"})
    for name in NAMES:
        cluster.add(name, candidate=name != WITNESS, **login(name))
    other = Node(cluster, OTHER, candidate=False, **login(OTHER))
    printed = {node.name: (await node.tool("cluster", "init"))[1] for node in (*cluster.nodes.values(), other)}
    await write(servers, printed)
    servers.start()
    await servers.listening()
    await cluster.upstream.ready()
    await misfits(cluster, servers, other)
    for node in cluster.nodes.values():
        status, out, error = await node.tool("check", "--live", "--json")
        rows = {row["stage"]: row for row in map(json.loads, out.splitlines()) if row["type"] == "stage"}
        check(f"check --live on {node.name}: all is well", status == 0, rows.get("rights", error))
    await works(cluster)
    await keeps_out(cluster, servers)
    await cluster.settled()
    await agree(cluster)
    await cluster.stop(gone=True)
    servers.kill()


def login(name):
    return {"user": f"user-{name}", "password": f"password of {name}"}


async def write(servers, printed):
    """The account, of what was printed for each node."""

    async def tried(text):
        servers.write(0)
        with open(servers.file(), "a") as file:
            file.write(text)
        status, out, error = await command_says(servers.binary, "-t", "-c", servers.file())
        return status, (out + error).strip()

    status, said = await tried(printed["n1"])
    check("nats-server takes no permissions before passwords are written", status and "PASSWORD" in said, said)
    users = [block(printed[name], f"user-{name}") for name in [*NAMES, OTHER]] + [block(printed["n1"], "onlooker")]
    status, said = await tried(ACCOUNT + "".join(users) + "    ]\n  }\n}\n")
    check("with them it takes what init has printed for each node", status == 0, said)


def block(text, user):
    """A user's, of what `wsfan cluster init` prints."""
    at = text.index(f'user: "{user}"')
    begin, end = text.rindex("\n      {\n", 0, at) + 1, text.index("\n      }\n", at) + 9
    return text[begin:end].replace("$WRITE_A_PASSWORD", f'"password of {user.removeprefix("user-")}"')


async def misfits(cluster, servers, other):
    """Each is told in a sentence what is wrong, by `check --live` and by the daemon."""
    certificates, permissions = cluster.bed.certificates, "wsfan cluster init prints"
    _, version, _ = await command_says(servers.binary, "-v")
    tells = "v2.9" not in version  # what a user may

    async def both(what, words, **keys):
        await misfit(cluster, what, words, (1, words), **keys)

    async def lacking(what, subject, **keys):
        live = (1, ["this user may not", f"publish {subject}", permissions]) if tells else (0, ["left out  rights"])
        await misfit(cluster, what, [f"denies this node the right to publish to {subject}", permissions], live, **keys)

    if tells:  # TLS and logins are the same in the older one
        issuer = ["TLS with the NATS server tls://localhost", "UnknownIssuer", "cluster.tls.ca_file"]
        await both("no CA", issuer, **{"tls.ca_file": None}, **login("n1"))
        await both("another CA", issuer, **{"tls.ca_file": f"{certificates}/client.pem"}, **login("n1"))
        address = [f"tls://127.0.0.1:{servers.ports[0]}"]
        name = ["certificate not valid for name", "in cluster.urls"]
        await both("a certificate for another name", name, urls=address, **login("n1"))
        refused = ["refuses this login", "cluster.user and cluster.password"]
        await both("another's password", refused, **{**login("n1"), "user": "user-n2"})
        await both("no such user", refused, **login("nobody"))
    named = ["the right to subscribe to", "another node's name, and here cluster.node is n2", permissions]
    await both("another node's user", named, node="n2", **login(OTHER))
    witness = {"node": OTHER, "candidate": True, **login(OTHER)}
    await lacking("no right to make the stream", "$JS.API.STREAM.CREATE", **witness)
    missing = ["isn't there, and a node with candidate = false doesn't make it", "wsfan cluster init"]
    live = (0, ["isn't there yet", "wsfan cluster init"])
    await misfit(cluster, "no stream yet", missing, live, **{**witness, "candidate": False})

    status, _, error = await other.tool("cluster", "init")
    check(
        "init by a node that may not lead makes no stream, and says what to do",
        status == 1 and "STREAM.CREATE" in error and "run it with a candidate's login" in error,
        error.strip(),
    )
    await other.stop()
    status, _, error = await cluster.nodes["n1"].tool("cluster", "init")
    check("and init by a candidate makes it", status == 0 and "is made" in error, error.strip())
    await lacking("no right to write to the log", f"wsfan.{cluster.name}.log", **witness)


async def works(cluster):
    """Hand-over, a death, sends and orders from any machine, `cluster status`."""
    onlooker = Node(cluster, "looks", node="onlooker", user="onlooker", password="password of onlooker")
    witness = cluster.nodes[WITNESS]
    await cluster.start(rate=500)
    await says_who(cluster, onlooker)
    texts, count = [], 0
    for how in ("stopped", "killed"):
        await until(cluster.leader, 20, "nobody leads")
        other = next(node for node in cluster.followers() if node is not witness)
        for node in (witness, other):
            texts.append(f"{node.name}, before the leader is {how}")
            count += await node.has_done({"op": "send", "text": texts[-1]}, "written")
            check(f"a send from {node.name} is written", True)
        leader, term = await until(cluster.leader, 20, "nobody leads"), cluster.term
        if how == "stopped":
            await leader.process.end(10)
            leader.process = None
        else:
            leader.kill()
        await cluster.next_term(term, 20)
        now = await until(cluster.leader, 20, "nobody leads")
        check(f"the leader is {how}: another one leads", now not in (leader, witness), f"{now.name} after {leader.name}")
        leader.start()
        await cluster.flows()
    await witness.has_done({"op": "reconnect"}, "accepted")
    check("`reconnect` on a node that may not lead is accepted", True)
    await until(cluster.leader, 20, "the link isn't up again")
    await cluster.flows()
    await says_who(cluster, onlooker)
    sent = [text for _, text in await cluster.upstream.remote.do("sent")]
    check("each send went out, and not more often than it was given", set(sent) == set(texts) and len(sent) <= count, sent)
    await onlooker.stop()


async def says_who(cluster, onlooker):
    """The nodes beat every third of a lease, and one that was just started may not know who leads."""

    async def all_told():
        status, out, error = await onlooker.tool("cluster", "status", "--json")
        nodes = json.loads(out)["nodes"] if status == 0 else []
        states = {node["node"]: node["state"] for node in nodes}
        return sorted(states) == NAMES and sorted(states.values()) == ["follower", "follower", "leader"] and states

    states = await until(all_told, 30, "cluster status doesn't show all nodes")
    check("cluster status, with a login that may only look, shows all nodes", True, states)


async def keeps_out(cluster, servers):
    """What the permissions are for."""
    lacking = [line for line in servers.log().splitlines() if "Violation" in line]
    check("who lacked a right is in the NATS server's log", any('user-n4"' in line for line in lacking), len(lacking))
    lacking = [line for line in lacking if 'user-n4"' not in line]
    check("and no node lacked any in all that", not lacking, *lacking[:1])
    log, stream = f"wsfan.{cluster.name}.log", cluster.stream
    tls = ssl.create_default_context(cafile=f"{cluster.bed.certificates}/ca.pem")
    for name, commands in {
        "user-n3": [f"PUB {log} 0\r\n", f"PUB $JS.API.STREAM.CREATE.{stream} 0\r\n", f"SUB wsfan.{cluster.name}.*.send 9"],
        "onlooker": [f"PUB {log} 0\r\n", f"PUB wsfan.{cluster.name}.t1.send 0\r\n", f"SUB wsfan.{cluster.name}.here 9"],
        "user-n1": [f"PUB $JS.API.STREAM.DELETE.{stream} 0\r\n", f"SUB _INBOX_{cluster.name}.n2.> 9", "SUB > 9"],
    }.items():
        own = {"user": name, "pass": f"password of {name.removeprefix('user-')}"}
        inbox = f"_INBOX_{cluster.name}.{name.removeprefix('user-')}"
        client = await Client.over(servers.dial(servers.ports[0]), tls, inbox, **own)
        check(f"{name} may listen below {inbox}", not await client.tried("PUB $JS.API.INFO 0\r\n"))
        for command in commands:
            said = await client.tried(command)
            good = any("Permissions Violation" in each and command.split()[1] in each for each in said)
            check(f"{name} may not {command.strip()}", good, *said[:1])
        client.close()
