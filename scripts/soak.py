"""Mixed load with churn for as long as asked: ``soak.py [--seconds N] [--write docs/soak.md]``.

A server in a process of its own, and clients here: streams, datagrams, HTTP/3 requests, resets,
migrations, several paths, and connections that come and go as fast as they can. Every byte that
comes back is compared. Both processes are watched: resident memory, descriptors, processor time.
The facts go to ``reports/soak.json``; with ``--write`` the table of the page is written anew.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import platform
import random
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tquic
import tquic.h3
from page import write_table
from server_process import ServerProcess, serving
from tquic.h3.server import Request, Response

ROOT = Path(__file__).resolve().parents[1]
REPORT = ROOT / "reports" / "soak.json"
MARK = "<!-- soak: written by scripts/soak.py -->"
# What answers are made of, at both ends.
BLOCK = random.Random(1).randbytes(256 << 10)
# Connections that come and go together, and handshakes among them at a time.
CHURN, HANDSHAKES = 200, 32
# The load stops so often, in seconds, for a look at what is left of it: in the midst of it memory
# goes up and down with what happens to be in flight.
ROUND = 60.0
# The part of the run before the slope of memory is measured, and from how many seconds on it is
# judged: below, what caches and allocators take at first is most of it.
WARM_UP, JUDGED = 0.25, 1500.0
SLOPE_LIMIT = 1.0
# Seconds in which the server forgets connections that are closed, and then those in which the
# engine has given their memory back (rust/engine/src/shard/trim.rs).
FORGETTING, GIVING_BACK = 30.0, 12.0


# ---- The server ----


async def echo(connection: tquic.Connection) -> None:
    """Sends back streams and datagrams."""

    async def one(stream: tquic.Stream) -> None:
        with contextlib.suppress(tquic.StreamError, tquic.ConnectionClosed):
            async for chunk in stream:
                await stream.write(chunk)
            stream.finish()

    async def datagrams() -> None:
        with contextlib.suppress(tquic.ConnectionClosed):
            while True:
                connection.send_datagram(await connection.recv_datagram())

    async with asyncio.TaskGroup() as tasks:
        answering = tasks.create_task(datagrams())
        async for stream in connection:
            tasks.create_task(one(stream))
        answering.cancel()


async def answer(request: Request) -> Response:
    """The first bytes of the block, as many as the path says; or what was sent."""
    if request.method == "POST":
        return Response(await request.read())
    return Response(BLOCK[: int(request.path.removeprefix("/"))])


async def serve(folder: Path) -> None:
    """Serves until standard input ends; tells its state for each line of it."""
    http = tquic.Config(cert=folder / "cert.pem", key=folder / "key.pem")
    config = http.replace(max_paths=4, max_datagram_frame_size=65_535)
    async with (
        tquic.serve("127.0.0.1", 0, echo, config=config) as plain,
        tquic.h3.serve(answer, "127.0.0.1", 0, config=http) as pages,
    ):
        print(json.dumps({"plain": plain.address[1], "http": pages.address[1]}), flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            gc.collect()
            shards = tquic.Engine.default().stats()
            state = {
                "connections": sum(shard.connections for shard in shards),
                "accepted": sum(shard.accepted for shard in shards),
                "panics": sum(shard.panics for shard in shards),
            }
            print(json.dumps(state), flush=True)


# ---- The load ----


@dataclass
class Tally:
    """What the clients did."""

    opened: int = 0
    closed: int = 0
    bytes: int = 0
    """Sent, come back and compared."""
    done: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    """What should not have happened."""

    def did(self, what: str, count: int = 1) -> None:
        """Counts it."""
        self.done[what] = self.done.get(what, 0) + count


class Load:
    """The clients, until it is time to stop."""

    def __init__(self, far: ServerProcess, ca: bytes, seed: int) -> None:
        self.far = far
        self.tally = Tally()
        self.random = random.Random(seed)
        self.over = threading.Event()
        self.config = tquic.Config(ca=ca, max_paths=4, max_datagram_frame_size=65_535)
        self.http = tquic.Config(ca=ca)

    @contextlib.asynccontextmanager
    async def connected(self) -> Any:
        """One connection, from its beginning to its end."""
        async with tquic.connect(
            "127.0.0.1", self.far.ports["plain"], config=self.config
        ) as connection:
            self.tally.opened += 1
            yield connection
        self.tally.closed += 1

    async def exchange(self, connection: tquic.Connection, most: int = len(BLOCK)) -> None:
        """One stream there and back."""
        size = self.random.randrange(1, most)
        stream = connection.open_stream()
        await stream.write(BLOCK[:size])
        stream.finish()
        if await stream.read() != BLOCK[:size]:
            raise AssertionError(f"an echo of {size} bytes differs")
        self.tally.bytes += 2 * size
        self.tally.did("streams")

    async def streams(self) -> None:
        """Streams side by side on one connection."""
        async with self.connected() as connection:
            for _ in range(4):
                await asyncio.gather(*(self.exchange(connection) for _ in range(4)))

    async def datagrams(self) -> None:
        """Datagrams, some of which may get lost."""
        async with self.connected() as connection:
            sent = {n.to_bytes(4) + BLOCK[:1000] for n in range(100)}
            for one in sent:
                connection.send_datagram(one)
            await connection.drain_datagrams()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    while sent:
                        sent.remove(await connection.recv_datagram())
                        self.tally.did("datagrams")

    async def resets(self) -> None:
        """Streams that either end gives up; what follows them is whole."""
        async with self.connected() as connection:
            for _ in range(20):
                stream = connection.open_stream()
                await stream.write(BLOCK[: self.random.randrange(1, 5000)])
                if self.random.random() < 0.5:
                    stream.reset(1)
                stream.stop(2)
                if not stream.at_eof():
                    stream.reset(3)
                self.tally.did("resets")
            await self.exchange(connection)

    async def moves(self) -> None:
        """Connections that change their addresses, paths and keys."""
        async with self.connected() as connection:
            await self.exchange(connection, 50_000)
            await connection.migrate()
            self.tally.did("migrations")
            await self.exchange(connection, 50_000)
            path = await connection.add_path()
            self.tally.did("paths")
            await self.exchange(connection, 50_000)
            connection.remove_path(path)
            self.tally.did("key updates", connection.update_keys())
            await self.exchange(connection, 50_000)

    async def requests(self) -> None:
        """HTTP/3 requests over one connection."""
        url = f"https://127.0.0.1:{self.far.ports['http']}"
        async with tquic.h3.connect(url, config=self.http) as client:
            self.tally.opened += 1

            async def one(number: int) -> None:
                size = self.random.randrange(1, 20_000)
                content = BLOCK[:size]
                if number % 2:
                    response = await client.post("/", content)
                else:
                    response = await client.get(f"/{size}")
                if await response.read() != content:
                    raise AssertionError(f"a response of {size} bytes differs")
                self.tally.bytes += size
                self.tally.did("requests")

            for _ in range(5):
                await asyncio.gather(*map(one, range(6)))
        self.tally.closed += 1

    def churn(self) -> None:
        """Handshakes, and nothing else; in a thread of its own."""
        engine = tquic.Engine.default()
        while not self.over.is_set():
            with engine.connect_many(
                "127.0.0.1",
                self.far.ports["plain"],
                CHURN,
                config=self.config,
                handshakes=HANDSHAKES,
                on=(),
            ) as connections:
                counts = connections.wait_connected(timeout=60)
                if counts.open != CHURN:
                    self.tally.failures.append(f"churn: {counts}, {connections.reasons()}")
                self.tally.opened += counts.open
                self.tally.did("handshakes alone", counts.open)
            self.tally.closed += counts.open

    async def again_and_again(self, work: Callable[[], Awaitable[None]]) -> None:
        """Does it until it is time to stop, whatever comes of it."""
        while not self.over.is_set():
            await self.once(work)

    async def once(self, work: Callable[[], Awaitable[None]]) -> None:
        """Does it, and notes a failure."""
        try:
            async with asyncio.timeout(120):
                await work()
        except (Exception, BaseExceptionGroup) as error:
            name = getattr(work, "__name__", "work")
            self.tally.failures.append(f"{name}: {type(error).__name__}: {error}")

    async def run(self) -> None:
        """All of it at once."""
        works = (self.streams, self.datagrams, self.resets, self.moves, self.requests)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.to_thread(self.churn))
            for work in works:
                tasks.create_task(self.again_and_again(work))

    def run_to_end(self) -> None:
        """The same in a thread; what nobody else has caught is a failure too."""
        try:
            asyncio.run(self.run())
        except (Exception, BaseExceptionGroup) as error:
            self.tally.failures.append(f"load: {error!r}")

    async def warm_up(self) -> None:
        """Each kind once, for what the first of them brings."""
        for work in (self.streams, self.datagrams, self.resets, self.moves, self.requests):
            await self.once(work)


# ---- What is watched ----


@dataclass(frozen=True)
class Sample:
    """Both processes at a time; sizes in bytes, times in seconds. Client first, then server."""

    at: float
    resident: tuple[int, int]
    descriptors: tuple[int, int]
    cpu: tuple[float, float]
    opened: int


def sample(begun: float, far: ServerProcess, tally: Tally) -> Sample:
    """A look at both processes (Linux)."""
    folders = (Path("/proc/self"), Path(f"/proc/{far.pid}"))
    page, tick = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
    times = [(folder / "stat").read_text().rpartition(")")[2].split()[11:13] for folder in folders]
    near_resident, far_resident = (
        int((folder / "statm").read_text().split()[1]) * page for folder in folders
    )
    # Listing takes one itself, here.
    near_open, far_open = (len(list((folder / "fd").iterdir())) for folder in folders)
    near_cpu, far_cpu = (sum(map(int, pair)) / tick for pair in times)
    return Sample(
        time.monotonic() - begun,
        (near_resident, far_resident),
        (near_open - 1, far_open),
        (near_cpu, far_cpu),
        tally.opened,
    )


def slope(rests: Sequence[Sample], end: int) -> float:
    """Growth of memory at rest at one end, in percent of its mean per hour (least squares)."""
    late = [one for one in rests if one.at >= WARM_UP * rests[-1].at]
    times = [one.at for one in late]
    sizes = [one.resident[end] for one in late]
    middle, mean = sum(times) / len(times), sum(sizes) / len(sizes)
    spread = sum((at - middle) ** 2 for at in times)
    if not spread:
        return 0.0
    both = zip(times, sizes, strict=True)
    rise = sum((at - middle) * (size - mean) for at, size in both) / spread
    return rise * 3600 / mean * 100


@dataclass
class Soak:
    """What came of a run."""

    seconds: float
    seed: int
    version: str
    machine: str
    python: str
    date: str
    tally: Tally
    accepted: int
    """Connections that the server saw."""
    left: int
    """Of them at the end, which must be none."""
    panics: int
    descriptors: tuple[tuple[int, int], tuple[int, int]]
    """Of client and server, at rest: before and after."""
    slopes: tuple[float, float]
    """Growth of memory at rest in percent per hour: client, server."""
    rests: list[Sample]
    """After each round."""
    samples: list[Sample]
    """In the midst of the load."""

    def problems(self) -> list[str]:
        """What should not be."""
        found = list(self.tally.failures)
        if self.tally.opened != self.tally.closed:
            found.append(f"{self.tally.opened} connections opened, {self.tally.closed} closed")
        if self.left:
            found.append(f"the server still has {self.left} connections")
        if self.panics:
            found.append(f"{self.panics} panics")
        before, after = self.descriptors
        if any(late > early for early, late in zip(before, after, strict=True)):
            found.append(f"descriptors before and after: {before}, {after}")
        if self.seconds >= JUDGED and max(self.slopes) >= SLOPE_LIMIT:
            found.append(f"memory grows: {self.slopes} % per hour")
        return found


def soak(seconds: float, seed: int, shown: bool = True) -> Soak:
    """Runs the load for so long, and looks at what is left."""
    with serving(__file__) as (far, ca):
        load = Load(far, ca, seed)
        asyncio.run(load.warm_up())
        begun = time.monotonic()
        rests = [_rest(load, begun)]
        samples: list[Sample] = []
        done = 0.0
        while done < seconds:
            one = min(ROUND, seconds - done)
            samples += _round(load, begun, one, max(0.5, seconds / 400))
            done += one
            rests.append(_rest(load, begun))
            if shown:
                print(_line(rests[-1], load.tally), file=sys.stderr, flush=True)
        state = far.ask()
        return Soak(
            seconds=seconds,
            seed=seed,
            version=tquic.__version__,
            machine=f"{platform.machine()}, {os.cpu_count()} CPUs, {platform.system()}",
            python=platform.python_version(),
            date=datetime.now(UTC).date().isoformat(),
            tally=load.tally,
            accepted=state["accepted"],
            left=state["connections"],
            panics=state["panics"] + sum(s.panics for s in tquic.Engine.default().stats()),
            descriptors=(rests[0].descriptors, rests[-1].descriptors),
            slopes=(slope(rests[1:], 0), slope(rests[1:], 1)),
            rests=rests,
            samples=samples,
        )


def _round(load: Load, begun: float, seconds: float, pause: float) -> list[Sample]:
    """The load for so long, looked at so often."""
    samples = []
    load.over.clear()
    thread = threading.Thread(target=load.run_to_end)
    thread.start()
    until = time.monotonic() + seconds
    try:
        while (left := until - time.monotonic()) > 0 and thread.is_alive():
            time.sleep(min(pause, left))
            samples.append(sample(begun, load.far, load.tally))
    finally:
        load.over.set()
        thread.join()
    return samples


def _rest(load: Load, begun: float) -> Sample:
    """Both processes when nothing is left to be done, and memory was given back."""
    deadline = time.monotonic() + FORGETTING

    def busy() -> int:
        ours = sum(shard.connections for shard in tquic.Engine.default().stats())
        return ours + load.far.ask()["connections"]

    while busy() and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(GIVING_BACK)
    gc.collect()
    return sample(begun, load.far, load.tally)


def _line(one: Sample, tally: Tally) -> str:
    near, far = (size / 2**20 for size in one.resident)
    counts = f"{one.opened} connections, {len(tally.failures)} failures"
    return f"{one.at:.0f} s: {near:.1f} + {far:.1f} MiB, {one.descriptors} descriptors, {counts}"


# ---- What is told ----


def table(result: Soak) -> str:
    """The facts as the page shows them."""
    tally, last = result.tally, result.samples[-1]
    done = ", ".join(f"{count:,} {name}" for name, count in sorted(tally.done.items()))
    memory, first_rest, last_rest = (
        " and ".join(f"{size / 2**20:.1f} MiB" for size in one.resident)
        for one in (last, result.rests[1], result.rests[-1])
    )
    at_rest = f"{first_rest}; {last_rest}"
    grown = " and ".join(f"{one:+.2f} %" for one in result.slopes)
    before, after = (" and ".join(map(str, pair)) for pair in result.descriptors)
    rows = [
        ("seconds of load", f"{result.seconds:,.0f}"),
        ("connections opened, closed", f"{tally.opened:,}, {tally.closed:,}"),
        ("connections left at the server", str(result.left)),
        ("bytes that came back and were compared", f"{tally.bytes:,}"),
        ("of them wrong or lost", "0" if not tally.failures else "see the failures"),
        ("done", done),
        ("failures", str(len(tally.failures))),
        ("panics", str(result.panics)),
        ("descriptors at rest, client and server, before", before),
        ("the same after", after),
        ("resident memory at the end of the load, client and server", memory),
        ("the same at rest, after the first round and after the last", at_rest),
        ("growth of memory at rest per hour, client and server", grown),
        ("processor seconds, client and server", " and ".join(f"{s:.0f}" for s in last.cpu)),
    ]
    lines = ["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)]
    where = (
        f"`make soak SOAK_SECONDS={result.seconds:.0f}`, seed {result.seed}, {result.date}, "
        f"tquic {result.version}, CPython {result.python}, {result.machine}."
    )
    return "\n".join([*lines, "", where, ""])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: 1 if something was not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=1800, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="write the table into this page")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options: Any = parser.parse_args(arguments)
    if options.serve is not None:
        asyncio.run(serve(options.serve))
        return 0
    result = soak(options.seconds, options.seed)
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(asdict(result), indent=1) + "\n")
    text = table(result)
    print(text, end="")
    problems = result.problems()
    for problem in problems[:20]:
        print(f"soak: {problem}", file=sys.stderr)
    if options.write is not None and not problems:
        write_table(options.write, MARK, text)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
