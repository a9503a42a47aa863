"""Requests and subscriptions over machines: as on one."""

import json
import time

from agree import agree
from nodes import Cluster, answer
from processes import check, ms, until

CONFIG = """
[requests]
id = "/id"
timeout = "20s"
rewrite_when = { "/ask" = { exists = true } }
answer = { "/answer" = { exists = true } }
[topics]
pointer = "/topic"
subscribe = '{"sub":[${topics}],"id":${next_id}}'
unsubscribe = '{"unsub":[${topics}],"id":${next_id}}'
linger = "0s"
[topics.answer]
accept = { "/subscribed" = { exists = true } }
reject = { "/refused" = { exists = true } }
id = "/id"
"""


async def questions(bed):
    """Requests and subscriptions from any machine."""
    cluster = await Cluster(bed, "questions", extra=CONFIG).start(rate=100)
    leader, term = cluster.leader(), cluster.term
    one, two = cluster.followers()
    sessions = {node: await node.open() for node in (leader, one, two)}

    for node, session in sessions.items():
        told = await answer(session, {"op": "request", "id": "q1", "json": {"id": 7, "ask": node.name}}, 5)
        where = "the leader" if node is leader else "a follower"
        good = told["type"] == "answer" and told["json"]["answer"] == node.name and told["json"]["id"] == 7
        check(f"a request on {where} is answered, with its own id", good, told)
    answers = [m for session in sessions.values() for _, m in session.marks if m["type"] == "answer"]
    check("each answer comes to who asked alone", len(answers) == 3)

    for node in (one, two):
        told = await answer(sessions[node], {"op": "subscribe", "id": "s1", "topics": ["gold"]}, 5)
        check("a subscription on a follower is accepted by the server", told.get("result") == "subscribed", told)
    check("the server has heard of the topic once", await said(cluster, "sub") == ["gold"])
    told = await answer(sessions[one], {"op": "subscribe", "id": "s2", "topics": ["bad"]}, 5)
    check("and a topic that it refuses is told who asked", told.get("code") == "refused", told)

    # one that the server won't answer is under way when the leader goes
    sessions[one].send({"op": "request", "id": "q2", "json": {"id": 8, "ask": "silence"}})

    async def asked():
        return any('"silence"' in text for _, text in await cluster.upstream.remote.do("sent"))

    await until(asked, 5, "the request doesn't reach the server")
    before = len(await said(cluster, "sub"))
    at = time.monotonic()
    leader.kill()
    await cluster.next_term(term, 10)

    def told_unknown():
        return next(((t, m) for t, m in sessions[one].marks if m.get("id") == "q2"), None)

    when, mark = await until(told_unknown, cluster.lease + 5, "a request isn't told that its leader is lost")
    check(
        "a request whose leader is killed is told so within lease + 1 s",
        mark.get("code") in ("unknown", "link_down") and when - at <= cluster.lease + 1,
        f"{mark.get('code')} after {ms(when - at)}",
    )

    async def again():
        return (await said(cluster, "sub"))[before:]

    again = await until(again, 10, "the new leader doesn't subscribe")
    check("a new leader subscribes again to what is wanted", again == ["gold"], again)
    leader.start()
    await cluster.flows()
    told = await answer(sessions[one], {"op": "unsubscribe", "id": "u1", "topics": ["gold"]}, 5)
    check("one gives it up", told.get("result") == "unsubscribed", told)
    sessions[two].close()  # who goes gives up all

    async def given_up():
        return await said(cluster, "unsub")

    check("with the last of all machines' subscribers the server hears of it", await until(given_up, 10, "it doesn't") == ["gold"])
    for session in sessions.values():
        session.close()
    await cluster.settled()
    await agree(cluster)
    await cluster.stop()


async def said(cluster, what):
    """The topics that the server was told by these messages."""
    texts = [text for _, text in await cluster.upstream.remote.do("sent") if text.startswith("{")]
    return [topic for text in texts for topic in json.loads(text).get(what, []) if topic != "bad"]
