"""The perf client through the package's asyncio streams: what a Python program gets.

It speaks the same protocol, verifies the same bytes and reports the same keys as the client inside
the engine (`tquic._engine.perf_run`).
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from typing import TYPE_CHECKING, Any

from tquic._engine import perf_mismatches, perf_pattern
from tquic.cli.client import path_reports
from tquic.client import connect
from tquic.config import Config
from tquic.connection import Connection
from tquic.engine import Engine
from tquic.errors import StreamError
from tquic.stream import Stream

if TYPE_CHECKING:
    from tquic._perf_task import PerfTask

# An answer without end.
UNLIMITED = (1 << 64) - 1
# Bytes written, and read, at a time.
PIECE = 256 * 1024

_PERIOD = len(perf_pattern())
# Any piece at any place of the pattern is one slice of this, referenced and not copied.
_PATTERN = memoryview(perf_pattern() * (PIECE // _PERIOD + 2))


def run(server: tuple[str, int], config: Config, task: PerfTask, spin: float) -> dict[str, Any]:
    """Does the task and gives the report."""
    return asyncio.run(_run(server, config, task, Engine(spin=spin)))


def _max_rss() -> int:
    """Largest resident memory of this process, in bytes; 0 where the system does not tell."""
    if sys.platform == "win32":
        return 0
    import resource

    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024


class _Tally:
    def __init__(self) -> None:
        self.bytes = 0
        self.events = 0
        self.wrong = 0
        self.latencies: list[float] = []


async def _run(
    server: tuple[str, int], config: Config, task: PerfTask, engine: Engine
) -> dict[str, Any]:
    tally = _Tally()
    try:
        async with connect(*server, config=config, engine=engine) as connection:
            cpu, started = time.process_time(), time.perf_counter()
            if task.requests is not None:
                await _requests(connection, task, tally)
            else:
                await _bulk(connection, task, tally)
            seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
            report = await _report(connection, engine, tally)
    finally:
        engine.shutdown()
    report["seconds"] = seconds
    report["cpu_seconds"] = cpu
    report["gbps"] = tally.bytes * 8 / seconds / 1e9
    report["rate_per_second"] = tally.events / seconds
    return report


async def _bulk(connection: Connection, task: PerfTask, tally: _Tally) -> None:
    down, up = task.download, task.upload
    if down is None and up is None:
        down = UNLIMITED
    deadline = None if task.duration is None else time.perf_counter() + task.duration
    streams = range(max(task.streams, 1))
    async with asyncio.TaskGroup() as group:
        for n in streams:
            wanted, size = (_share(total, n, len(streams)) for total in (down, up))
            group.create_task(_transfer(connection, wanted, size, deadline, tally))


def _share(total: int | None, n: int, streams: int) -> int:
    if total is None or total == UNLIMITED:
        return total or 0
    return total // streams + (n < total % streams)


async def _transfer(
    connection: Connection, wanted: int, size: int, deadline: float | None, tally: _Tally
) -> None:
    stream = connection.open_stream()
    await stream.write(wanted.to_bytes(8, "big"))
    sending = asyncio.create_task(_send(stream, size, deadline))
    received = await _receive(stream, wanted, deadline if wanted else None, tally)
    sent = await sending
    tally.bytes += sent + received
    tally.events += 1
    whole = received == wanted and sent == size
    tally.wrong += not whole and deadline is None


async def _send(stream: Stream, size: int, deadline: float | None) -> int:
    sent = 0
    while sent < size and (deadline is None or time.perf_counter() < deadline):
        start = sent % _PERIOD
        piece = _PATTERN[start : start + min(PIECE, size - sent)]
        await stream.write(piece)
        sent += len(piece)
    stream.finish()
    return sent


async def _receive(stream: Stream, wanted: int, deadline: float | None, tally: _Tally) -> int:
    """Reads to the end of the stream, or of the time; bytes received."""
    received = 0
    try:
        async with asyncio.timeout(None if deadline is None else deadline - time.perf_counter()):
            while data := await stream.read_chunk(PIECE):
                tally.wrong += perf_mismatches(data, received)
                received += len(data)
    except TimeoutError:
        with contextlib.suppress(StreamError):
            stream.stop()
    return received


async def _answer(stream: Stream, size: int, tally: _Tally) -> int:
    """Reads an answer of so many bytes; bytes received."""
    if size > PIECE:
        return await _receive(stream, size, None, tally)
    data = await stream.read()
    tally.wrong += perf_mismatches(data, 0)
    return len(data)


async def _requests(connection: Connection, task: PerfTask, tally: _Tally) -> None:
    left = task.requests or 0
    deadline = None if task.duration is None else time.perf_counter() + task.duration
    header = task.response.to_bytes(8, "big")

    async def worker() -> None:
        nonlocal left
        while left > 0 and (deadline is None or time.perf_counter() < deadline):
            left -= 1
            begun = time.perf_counter()
            stream = connection.open_stream()
            stream.write(header, finish=True)
            received = await _answer(stream, task.response, tally)
            tally.latencies.append(time.perf_counter() - begun)
            tally.wrong += received != task.response
            tally.bytes += received
            tally.events += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(task.inflight):
            group.create_task(worker())


async def _report(connection: Connection, engine: Engine, tally: _Tally) -> dict[str, Any]:
    stats, shards = await connection.stats(), engine.stats()
    sent, send_calls, received, receive_calls = (
        sum(getattr(shard, name) for shard in shards)
        for name in ("datagrams_sent", "send_calls", "datagrams_received", "receive_calls")
    )
    return {
        "bytes": tally.bytes,
        "verified": tally.wrong == 0,
        "packets_sent": stats.packets_sent,
        "packets_received": stats.packets_received,
        "packets_per_send_call": sent / max(send_calls, 1),
        "packets_per_receive_call": received / max(receive_calls, 1),
        "max_rss_bytes": _max_rss(),
        "lost_packets": sum(path.lost_packets for path in stats.paths),
        "latency_us": _latency(tally.latencies),
        "paths": path_reports(stats),
    }


def _latency(latencies: list[float]) -> dict[str, float] | None:
    if not latencies:
        return None
    ordered = sorted(latencies)

    def quantile(share: float) -> float:
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1e6

    return {
        "p50": quantile(0.5),
        "p90": quantile(0.9),
        "p99": quantile(0.99),
        "p99_9": quantile(0.999),
        "max": ordered[-1] * 1e6,
    }
