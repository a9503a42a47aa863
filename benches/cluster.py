#!/usr/bin/env python3
"""What a cluster costs: CPU time per entry on each machine, and the time from the server to a client.

usage: cluster.py BINARY [--rounds N] [--seconds N] [--flood N] [--nats PROGRAM]
       cluster.py BINARY --without

One server, one NATS server, three wsfan of one cluster with a client each, all on this machine; beside them a wsfan
without [cluster], of which the same is asked. First 1,000 messages of 200 B a second, with the time that each takes to
the client; then as many as are read. Figures are medians of the rounds. CPU time is the kernel's account of the process
alone. What is lost, doubled or in another order ends it with 1.

`--without`: what a wsfan without [cluster] has: threads, descriptors by kind, and its calls to the kernel (strace) from
its start to its end, 1,000 messages and five idle seconds among them. To be compared with another BINARY's.
"""
import argparse, collections, glob, json, multiprocessing, os, re, signal, socket, statistics, subprocess, sys, tempfile, time

from count import PATIENCE, accept, frame

SIZE, BATCH, RATE = 200, 250, 1000
AHEAD = 50_000  # of the slowest client, at most: a third of what wsfan holds
MARK = b'"n":'


def message(number):
    """The time is written over the zeros when it goes out."""
    bare = f'{{"n":{number},"t":1{"0" * 15},"pad":""}}'
    return bare.replace('""', '"' + "x" * (SIZE - len(bare)) + '"').encode()


def now_ns():
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def cpu_ns(pid):
    tasks = glob.glob(f"/proc/{pid}/task/*/schedstat")
    return sum(int(open(task).read().split()[0]) for task in tasks)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def until(what, true):
    end = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > end:
            sys.exit(f"waited in vain for {what}")
        time.sleep(0.02)


def client(path):
    """A client of a wsfan that has the log, and what has come in behind its hello."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        stream, heard = socket.socket(socket.AF_UNIX), b""
        stream.settimeout(PATIENCE)
        if stream.connect_ex(path) == 0:
            while b"\n" not in heard and (got := stream.recv(1 << 16)):
                heard += got
            hello, _, rest = heard.partition(b"\n")
            if hello and json.loads(hello)["epoch"]:
                return stream, rest
        stream.close()
        time.sleep(0.02)
    sys.exit(f"{path}: nobody has the log there")


class Server:
    """What wsfan connects to, and its one connection."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"ws://127.0.0.1:{self.listener.getsockname()[1]}/"

    def accept(self):
        self.stream = accept(self.listener)

    def pace(self, first, count):
        frames = [bytearray(frame(message(first + n))) for n in range(count)]
        begin = now_ns()
        for n, one in enumerate(frames):
            wait = begin + n * 1_000_000_000 // RATE - now_ns()
            if wait > 0:
                time.sleep(wait / 1e9)
            start = one.index(b'"t":') + 4
            one[start : start + 16] = b"1%015d" % (now_ns() % 10**15)
            self.stream.sendall(one)

    def flood(self, first, count, readers):
        blocks = [b"".join(frame(message(first + n)) for n in range(at, min(at + BATCH, count))) for at in range(0, count, BATCH)]
        begin = now_ns()
        for n, block in enumerate(blocks):
            while min(reader.seen.value for reader in readers) < first + n * BATCH - AHEAD:
                time.sleep(0.001)
            self.stream.sendall(block)
        return begin


class Daemon:
    """A wsfan: of a cluster, if it is told its NATS server."""

    def __init__(self, binary, place, name, url, nats=None, before=()):
        self.name, self.path = name, f"{place}/{name}.sock"
        with open(f"{place}/{name}.toml", "w") as file:
            file.write(f'[upstream]\nurl = "{url}"\nproxy = "off"\n[heartbeat]\nkind = "off"\n[log]\nlevel = "warn"\n')
            file.write(f'[[listener]]\npath = "{self.path}"\n')
            if nats:
                file.write(f'[cluster]\nname = "cost"\nnode = "{name}"\nurls = ["nats://127.0.0.1:{nats}"]\n')
        log = open(f"{place}/{name}.log", "w")
        command = [*before, binary, "run", "--config", f"{place}/{name}.toml"]
        self.process = subprocess.Popen(command, stderr=log, env={**os.environ, "no_proxy": "*"})

    @property
    def pid(self):
        return self.process.pid

    def end(self):
        self.process.terminate()
        self.process.wait(PATIENCE)


class Reader:
    """A client in a process of its own. It tells of each load what it has seen."""

    def __init__(self, path):
        self.pipe, far = multiprocessing.Pipe()
        self.seen = multiprocessing.Value("q", 0, lock=False)
        self.process = multiprocessing.Process(target=self.run, args=(path, far, self.seen), daemon=True)
        self.process.start()
        self.hear()

    def hear(self):
        if not self.pipe.poll(PATIENCE):
            sys.exit("a client hears nothing more")
        return self.pipe.recv()

    def await_(self, first, count, paced):
        """Has it wait for so many, from this one on."""
        self.pipe.send((first, count, paced))
        self.hear()

    @staticmethod
    def run(path, pipe, seen):
        stream, rest = client(path)
        pipe.send("there")
        while True:
            first, count, paced = pipe.recv()
            pipe.send("ready")
            expected, received, odd, ages = first, 0, 0, []
            while expected < first + count:
                got = stream.recv(1 << 20)
                if not got:
                    sys.exit(f"{path}: it is the end")
                heard = now_ns() % 10**15
                whole, _, rest = (rest + got).rpartition(b"\n")
                odd += whole.count(b'"type":"gap"')
                if not paced:
                    received += whole.count(b'"type":"message"')
                for line in whole.split(b"\n") if paced else [whole[whole.rfind(b"\n") + 1 :]]:
                    if line.startswith(b'{"type":"message"') and (at := line.find(MARK)) > 0:
                        number = int(line[at + 4 : line.index(b",", at)])
                        if paced:
                            odd += number != expected
                            received += 1
                            at = line.index(b'"t":1', at) + 5
                            ages.append(heard - int(line[at : at + 15]))
                        expected = seen.value = number + 1
            ages.sort()
            part = lambda share: ages[min(int(len(ages) * share), len(ages) - 1)] / 1e3 if ages else 0.0
            pipe.send({"received": received, "odd": odd, "end": now_ns(), "p50": part(0.5), "p99": part(0.99)})


def nats_server(program, place):
    port = free_port()
    command = [program, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", place + "/nats"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=open(place + "/nats.log", "w"))
    until("the NATS server", lambda: not socket.socket().connect_ex(("127.0.0.1", port)))
    return process, port


def load(server, daemons, readers, others, first, count, paced):
    """What each process has cost for each message, and what each client has seen."""
    for reader in readers:
        reader.await_(first, count, paced)
    pids = [daemon.pid for daemon in daemons] + others
    before, begin = [cpu_ns(pid) for pid in pids], now_ns()
    if paced:
        server.pace(first, count)
    else:
        begin = server.flood(first, count, readers)
    seen = [reader.hear() for reader in readers]
    cost = [(cpu_ns(pid) - was) / 1e3 / count for pid, was in zip(pids, before)]
    return cost, [{**one, "rate": count / ((one["end"] - begin) / 1e9)} for one in seen]


def stage(binary, place, nats, daemons):
    """The processes of one round: without a cluster, or the first one leads."""
    server = Server()
    for name in "abc" if nats else "a":
        daemons.append(Daemon(binary, place, name, server.url, nats))
        if name == "a":
            server.accept()
    readers = [Reader(daemon.path) for daemon in daemons]
    # each is warm, and has all that was before
    for reader in readers:
        reader.await_(0, 1000, False)
    server.flood(0, 1000, readers)
    for reader in readers:
        reader.hear()
    return server, readers


def cost(binary, rounds, seconds, flood, nats_program):
    rows = collections.defaultdict(lambda: collections.defaultdict(list))
    odd = 0
    for _ in range(rounds):
        for clustered in (False, True):
            directory = tempfile.TemporaryDirectory(prefix="wsfan-cluster-")
            place, nats, others, names = directory.name, None, [], ["alone"]
            processes, daemons = [], []
            try:
                if clustered:
                    process, nats = nats_server(nats_program, place)
                    processes, others, names = [process], [process.pid], ["leader", "follower", "follower"]
                server, readers = stage(binary, place, nats, daemons)
                first = 1000
                for paced, count in ((True, RATE * seconds), (False, flood)):
                    spent, seen = load(server, daemons, readers, others, first, count, paced)
                    first += count
                    for name, cpu in zip(names + ["NATS server"], spent):
                        rows[name][paced, "cpu"].append(cpu)
                    for name, one in zip(names, seen):
                        odd += one["odd"] + count - one["received"]
                        for what in ("p50", "p99", "rate"):
                            rows[name][paced, what].append(one[what])
                for reader in readers:
                    reader.process.terminate()
            finally:
                for daemon in daemons:
                    daemon.end()
                for process in processes:
                    process.terminate()
                    process.wait(PATIENCE)
            directory.cleanup()
    of = lambda name, what: statistics.median(rows[name][what]) if rows[name][what] else float("nan")
    head = f"{'':<12} {'CPU µs an entry':>16} {'p50 µs':>8} {'p99 µs':>8} {'flood: CPU µs':>14} {'entries/s':>10}"
    print(f"{SIZE} B, {RATE}/s for {seconds} s, and a flood of {flood}; medians of {rounds} rounds\n\n{head}")
    for name in ("alone", "leader", "follower", "NATS server"):
        figures = [(16, 1, (True, "cpu")), (8, 0, (True, "p50")), (8, 0, (True, "p99")), (14, 2, (False, "cpu")), (10, 0, (False, "rate"))]
        print(f"{name:<12} " + " ".join(f"{of(name, what):>{width}.{digits}f}" for width, digits, what in figures))
    print(f"lost, doubled, reordered, or told of by a gap: {odd}")
    return 1 if odd else 0


def without(binary):
    place, server = tempfile.mkdtemp(prefix="wsfan-cluster-"), Server()
    table = place + "/calls"
    daemon = Daemon(binary, place, "a", server.url, before=["strace", "-f", "-c", "-U", "calls,name", "-o", table])
    server.accept()
    reader = Reader(daemon.path)
    reader.await_(0, RATE, False)
    server.pace(0, RATE)
    reader.hear()
    time.sleep(5)  # the idle seconds that are measured
    traced = int(open(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read().split()[0])
    threads = len(os.listdir(f"/proc/{traced}/task"))
    kinds = collections.Counter(re.sub(r"^/.*", "file", re.sub(r":?\[.*", "", os.readlink(fd))) for fd in glob.glob(f"/proc/{traced}/fd/*"))
    reader.process.terminate()
    os.kill(traced, signal.SIGTERM)
    daemon.process.wait(PATIENCE)
    calls = sorted((row.split() for row in open(table) if re.match(r"\s*\d+ (?!total)\w+$", row)), key=lambda row: row[1])
    print(f"threads {threads}; descriptors {dict(sorted(kinds.items()))}")
    print(", ".join(f"{count} {name}" for count, name in calls))


if __name__ == "__main__":
    options = argparse.ArgumentParser(usage=__doc__)
    options.add_argument("binary")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=int, default=10)
    options.add_argument("--flood", type=int, default=300_000)
    options.add_argument("--nats", default="nats-server")
    options.add_argument("--without", action="store_true")
    chosen = options.parse_args()
    if chosen.without:
        without(chosen.binary)
    else:
        sys.exit(cost(chosen.binary, chosen.rounds, chosen.seconds, chosen.flood, chosen.nats))
