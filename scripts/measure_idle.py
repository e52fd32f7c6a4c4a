"""What idle connections cost: ``measure_idle.py [--connections N] [--write PAGE]``.

Begins N client connections in one process against a server in another, both on this machine, and
tells what each end needs for a connection: resident memory, descriptors, threads, what all of them
need of a processor while nothing happens, and what memory is left when they are gone. With
``--write`` the table in the page is written anew; the facts go to ``reports/idle.json`` in any
case.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import server_process
from page import commit, write_table
from server_process import ServerProcess
from tquic import Config, ConnectionSet, Engine, __version__, perf

ROOT = Path(__file__).resolve().parents[1]
REPORT = ROOT / "reports" / "idle.json"
MARK = "<!-- idle: written by scripts/measure_idle.py -->"
# Long enough for any number of handshakes; nothing is sent meanwhile.
IDLE_TIMEOUT = 1800.0
# Seconds without traffic, after which connections have given back what only busy ones need.
REST = 3.0
# Seconds without traffic for which the use of the processor is watched.
WATCH = 30.0
# Bytes left of a connection that is gone, and seconds until no more is: engines wait before they
# give memory back, and longer the longer it takes.
LEFT, GIVING_BACK = 2048, 90.0
# Connections that are closed together: of too many at once the server's socket loses the packets
# that say so, and a server at rest learns it no other way.
TOGETHER = 2000


def resident_bytes() -> int:
    """Resident memory of this process, in bytes (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> int:
    """Open descriptors of this process (Linux)."""
    return len(list(Path("/proc/self/fd").iterdir()))


def threads() -> int:
    """Threads of this process, those of the engine included (Linux)."""
    return len(list(Path("/proc/self/task").iterdir()))


@dataclass(frozen=True)
class Idle:
    """What was measured. Sizes in bytes, times in seconds."""

    connections: int
    shards: int
    client_bytes: float
    """Resident memory for each connection, at the client."""
    server_bytes: float
    """The same at the server."""
    client_left: float
    """Resident memory that is left of each connection when all are closed, at the client."""
    server_left: float
    """The same at the server."""
    client_descriptors: int
    """Descriptors that all the connections need, those of the engine included."""
    client_threads: int
    """The same for threads."""
    client_cpu: float
    """Of one processor, while nothing happens: 1 is all of it."""
    server_cpu: float
    """The same at the server."""
    connect_seconds: float
    date: str
    commit: str
    version: str
    machine: str
    python: str


@contextlib.contextmanager
def serving() -> Iterator[tuple[ServerProcess, Config]]:
    """A perf server in a process of its own, and the configuration of its clients."""
    with server_process.serving(__file__) as (server, ca):
        yield server, Config(ca=ca, alpn=("perf",), idle_timeout=IDLE_TIMEOUT)


def _serve(folder: Path) -> None:
    config = Config(
        cert=folder / "cert.pem",
        key=folder / "key.pem",
        alpn=("perf",),
        idle_timeout=IDLE_TIMEOUT,
        max_connections=1 << 20,
    )
    engine = Engine()
    server = perf.Server(config=config, engine=engine)
    print(json.dumps({"perf": server.addresses[0][1]}), flush=True)
    for _ in sys.stdin:
        held = sum(shard.connections for shard in engine.stats())
        state = {
            "connections": held,
            "resident": resident_bytes(),
            "cpu_us": time.process_time_ns() // 1000,
        }
        print(json.dumps(state), flush=True)
    engine.shutdown()


def measure(connections: int, shards: int = 1, watch: float = WATCH) -> Idle:
    """Opens them, lets them rest, and measures both ends; the processor for `watch` seconds.

    Raises:
        RuntimeError: not every connection was there at the end.
    """
    before = (descriptors(), threads())
    with serving() as (server, config):
        engine = Engine(shards)
        # Memory that the first connections bring, and thousands share.
        with engine.connect_many("127.0.0.1", server.ports["perf"], 10, config=config) as first:
            first.wait_connected(timeout=60)
        del first
        ours, theirs = resident_bytes(), server.ask()["resident"]
        begun = time.monotonic()
        with engine.connect_many(
            "127.0.0.1", server.ports["perf"], connections, config=config, on=()
        ) as many:
            counts = many.wait_connected(timeout=IDLE_TIMEOUT)
            seconds = time.monotonic() - begun
            time.sleep(REST)
            begun, ours_before, theirs_before = time.monotonic(), time.process_time(), server.ask()
            time.sleep(watch)
            held, ours_after = server.ask(), time.process_time()
            watched = time.monotonic() - begun
            if counts.open != connections or held["connections"] < connections:
                raise RuntimeError(f"{counts}, server {held}: {many.reasons()}")
            needed = descriptors() - before[0] - 2, threads() - before[1]
            near, far = resident_bytes() - ours, held["resident"] - theirs
            _close(many, server, connections)
        del many
        left = _left(server, (ours, theirs), connections)
        idle = Idle(
            connections=connections,
            shards=shards,
            client_bytes=near / connections,
            server_bytes=far / connections,
            client_left=left[0] / connections,
            server_left=left[1] / connections,
            client_descriptors=needed[0],
            client_threads=needed[1],
            client_cpu=(ours_after - ours_before) / watched,
            server_cpu=(held["cpu_us"] - theirs_before["cpu_us"]) / 1e6 / watched,
            connect_seconds=seconds,
            date=f"{datetime.now(UTC):%Y-%m-%d}",
            commit=commit(),
            version=__version__,
            machine=f"{platform.machine()}, {os.cpu_count()} CPUs, {platform.system()}",
            python=platform.python_version(),
        )
        engine.shutdown()
    return idle


def _close(many: ConnectionSet, server: ServerProcess, connections: int) -> None:
    """Closes them at both ends."""
    deadline = time.monotonic() + GIVING_BACK
    for first in range(0, connections, TOGETHER):
        end = min(first + TOGETHER, connections)
        many.close(connections=range(first, end))
        while server.ask()["connections"] > connections - end and time.monotonic() < deadline:
            time.sleep(0.05)


def _left(server: ServerProcess, before: tuple[int, int], connections: int) -> tuple[int, int]:
    """Resident bytes above those before, at client and server, when all connections are gone."""
    deadline = time.monotonic() + GIVING_BACK
    while True:
        state = server.ask()
        left = resident_bytes() - before[0], state["resident"] - before[1]
        if max(left) <= LEFT * connections or time.monotonic() > deadline:
            return left
        time.sleep(0.25)


def table(idle: Idle) -> str:
    """The facts as the guide shows them."""
    many = idle.connections
    rows = [
        ("resident memory of a connection at the client", f"{idle.client_bytes / 1024:.1f} KiB"),
        ("the same at the server", f"{idle.server_bytes / 1024:.1f} KiB"),
        ("of all connections at the server", f"{idle.server_bytes * many / 2**30:.2f} GiB"),
        ("left of each at the client when all are closed", f"{idle.client_left / 1024:.2f} KiB"),
        ("the same at the server", f"{idle.server_left / 1024:.2f} KiB"),
        ("of one processor at rest, client", f"{idle.client_cpu * 100:.1f} %"),
        ("the same at the server", f"{idle.server_cpu * 100:.1f} %"),
        ("descriptors of the client, all together", str(idle.client_descriptors)),
        ("threads of the engine", str(idle.client_threads)),
        ("connections per second, set-up", f"{many / idle.connect_seconds:.0f}"),
    ]
    head = [f"| {many} idle connections, {idle.shards} shard | |", "| --- | ---: |"]
    lines = [*head, *(f"| {name} | {value} |" for name, value in rows)]
    where = (
        f"`make idle IDLE_CONNECTIONS={many}`, {idle.date}, {idle.commit}: tquic {idle.version}, "
        f"CPython {idle.python}, {idle.machine}; both ends on one machine."
    )
    return "\n".join([*lines, "", where, ""])


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--connections", type=int, default=10_000, metavar="N")
    parser.add_argument("--shards", type=int, default=1, metavar="N")
    parser.add_argument(
        "--write", type=Path, metavar="GUIDE", help="write the table into this file"
    )
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options: Any = parser.parse_args(arguments)
    if options.serve is not None:
        _serve(options.serve)
        return
    idle = measure(options.connections, options.shards)
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(asdict(idle), indent=2) + "\n")
    text = table(idle)
    if options.write is not None:
        write_table(options.write, MARK, text)
    print(text, end="")


if __name__ == "__main__":
    main()
