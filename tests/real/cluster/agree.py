"""What holds after everything that happened to a cluster."""

import log
from processes import Failed, check


def declared_exactly(walk, connections, sequence):
    """All that is missing was said between two connections, and is declared where the configuration counts it."""
    rows = {row["number"]: row for row in connections}
    for begin, end, before, after, term in walk.holes:
        if before == after:
            raise Failed(f"{begin} to {end} is missing within connection {before}, term {term}")
        if rows[after]["first"] != end + 1:
            raise Failed(f"connection {after} began with {rows[after]['first']}, and the log with {end + 1}")
    if sequence:
        holes = [[begin, end, end - begin + 1] for begin, end, *_ in walk.holes]
        if walk.declared != holes:
            raise Failed(f"declared is {walk.declared}, and missing {holes}")


async def agree(cluster, sequence=False):
    """Checks the lines of all clients, and gives what they say, epoch by epoch."""
    stats = await cluster.upstream.stats()
    nodes = list(cluster.nodes.values())
    logs = log.read(nodes)
    walks = [each.walk() for each in logs]
    entries = sum(len(each.lines) for each in logs)
    check(
        f"clients of {len(nodes)} machines have the same line for each (epoch, seq), rising by one",
        all(len(each.readers) == len(nodes) for each in logs),
        f"{entries} entries, {len(logs)} epoch{'s' * (len(logs) > 1)}",
    )
    raw = sum(log.raw_agree(nodes, walk) for walk in walks)
    check("and so have raw clients, byte for byte, without envelopes", raw > 0, f"{raw} lines")
    told = [mark for mark in log.losses(nodes) if mark["why"] != "epoch"]
    check("no client was told of a loss", not told, *told[:1])
    for walk in walks:
        terms = walk.terms()
        if len(walk.failovers) != len(terms) - 1:
            raise Failed(f"{len(walk.failovers)} failover gaps in terms {terms}")
        declared_exactly(walk, stats["connections"], sequence)
        if walk.names != {cluster.name}:
            raise Failed(f"messages of {walk.names} are in the log")
    holes = [hole for walk in walks for hole in walk.holes]
    missing = sum(end - begin + 1 for begin, end, *_ in holes)
    check(
        "nothing twice; what is missing is what the server said between two connections"
        + (", declared number by number" if sequence else ""),
        True,
        f"{missing} of {stats['said']} in {len(holes)} hole{'s' * (len(holes) != 1)}, "
        f"{sum(len(walk.failovers) for walk in walks)} failover gaps",
    )
    return walks
