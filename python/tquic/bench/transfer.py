"""A download that is watched while it runs, and to which something happens."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import subprocess
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tquic._engine import perf_mismatches
from tquic.client import connect
from tquic.config import Config
from tquic.connection import Connection
from tquic.errors import StreamError
from tquic.stream import Stream

# Bytes that are read at a time.
PIECE = 64 * 1024

Action = Callable[[Connection], Awaitable[object]]
"""What happens to the connection."""


@dataclass
class Course:
    """What came when."""

    started: float
    arrivals: list[tuple[float, int]] = field(default_factory=list)
    """Seconds since the start, and bytes in all by then."""
    wrong: int = 0
    """Bytes that were not what was sent."""
    paths: list[dict[str, Any]] = field(default_factory=list)
    """Counters of the paths at the end."""
    samples: list[tuple[float, dict[int, int]]] = field(default_factory=list)
    """Seconds since the start, and bytes of each path in both directions by then."""

    @property
    def bytes(self) -> int:
        """Bytes that came in all."""
        return self.arrivals[-1][1] if self.arrivals else 0

    def rate(self, begin: float, end: float) -> float:
        """Mbit/s of payload between two times."""
        return (self._by(end) - self._by(begin)) * 8 / 1e6 / (end - begin)

    def _by(self, when: float) -> int:
        return max((amount for at, amount in self.arrivals if at <= when), default=0)

    def longest_pause(self, begin: float, end: float) -> float:
        """The longest time between two times in which nothing came, in seconds."""
        inside = [at for at, _ in self.arrivals if begin < at < end]
        edges = [begin, *inside, end]
        return max(b - a for a, b in itertools.pairwise(edges))

    def path_bytes(self, path: int, begin: float, end: float) -> int:
        """Bytes that a path carried between two times."""
        values = [(at, amounts.get(path, 0)) for at, amounts in self.samples]
        by = [max((n for at, n in values if at <= when), default=0) for when in (begin, end)]
        return by[1] - by[0]


def commands(lines: Sequence[Sequence[str]]) -> Action:
    """An action that changes the network."""

    async def run(connection: Connection) -> None:
        for line in lines:
            process = await asyncio.create_subprocess_exec(*line, stderr=subprocess.PIPE)
            said = (await process.communicate())[1]
            if process.returncode:
                raise RuntimeError(f"{' '.join(line)}: {said.decode().strip()}")

    return run


async def watched(
    server: tuple[str, int],
    config: Config,
    seconds: float,
    actions: Sequence[tuple[float, Action]] = (),
    *,
    paths: int = 1,
) -> Course:
    """Downloads for some seconds, counted from when so many paths are open."""
    async with connect(*server, config=config) as connection:
        await _opened(connection, paths)
        course = Course(time.monotonic())
        stream = connection.open_stream()
        await stream.write((2**64 - 1).to_bytes(8, "big"))
        stream.finish()
        async with asyncio.TaskGroup() as group:
            sampling = group.create_task(_sample(connection, course))
            group.create_task(_act(connection, course, actions))
            await _read(stream, course, seconds)
            sampling.cancel()
        course.paths = [
            {"id": path.id, "state": path.state, "bytes": path.bytes_received, "srtt": path.srtt}
            for path in await connection.paths()
        ]
        connection.close()
    return course


async def visit(server: tuple[str, int], config: Config, size: int, *, paths: int) -> float:
    """Seconds from when so many paths are open until the server has acknowledged an object of this
    size."""
    async with connect(*server, config=config) as connection:
        await _opened(connection, paths)
        started = time.monotonic()
        stream = connection.open_stream()
        # Nothing is to come back.
        await stream.write(bytes(8) + bytes(size))
        stream.finish()
        await connection.flush()
        took = time.monotonic() - started
        connection.close()
    return took


async def _opened(connection: Connection, paths: int) -> None:
    while sum(path.state == "open" for path in await connection.paths()) < paths:
        event = await connection.path_event()
        if event.change == "abandoned":
            raise RuntimeError(f"path {event.path} cannot be used")


async def _read(stream: Stream, course: Course, seconds: float) -> None:
    amount = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(course.started + seconds - time.monotonic()):
            while data := await stream.read_chunk(PIECE):
                course.wrong += perf_mismatches(data, amount)
                amount += len(data)
                course.arrivals.append((time.monotonic() - course.started, amount))
    with contextlib.suppress(StreamError):
        stream.stop()


async def _sample(connection: Connection, course: Course) -> None:
    while True:
        amounts = {p.id: p.bytes_sent + p.bytes_received for p in await connection.paths()}
        course.samples.append((time.monotonic() - course.started, amounts))
        await asyncio.sleep(0.05)


async def _act(
    connection: Connection, course: Course, actions: Sequence[tuple[float, Action]]
) -> None:
    for at, action in actions:
        await asyncio.sleep(course.started + at - time.monotonic())
        await action(connection)
