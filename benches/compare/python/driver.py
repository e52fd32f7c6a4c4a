"""The perf protocol over the Python stacks, which all look like aioquic: events and protocols.

Runs in the environments of those stacks, so it imports nothing of tquic.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import math
import os
import re
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ALPN = "perf"
HEADER = 8
# Bytes after which the pattern repeats.
PERIOD = 65_537
STREAM_WINDOW = 16 << 20
CONNECTION_WINDOW = 32 << 20
IDLE_TIMEOUT = 120.0
# UDP payload of a full datagram.
DATAGRAM = 1472
SERVER_NAME = "localhost"
# Bytes that are made at a time, where a stack lets its users wait.
PIECE = 256 * 1024


def _pattern() -> bytes:
    """One period of the bytes that `tquic perf` sends, by splitmix64 (Steele, Lea, Flood 2014)."""
    mask, state, made = (1 << 64) - 1, 0x7157_1C00_0000_0001, bytearray()
    while len(made) < PERIOD:
        state = (state + 0x9E37_79B9_7F4A_7C15) & mask
        z = (state ^ (state >> 30)) * 0xBF58_476D_1CE4_E5B9 & mask
        z = (z ^ (z >> 27)) * 0x94D0_49BB_1331_11EB & mask
        made += (z ^ (z >> 31)).to_bytes(8, "little")
    return bytes(made[:PERIOD])


_BLOCK = _pattern() * (PIECE // PERIOD + 2)


def piece(offset: int, size: int) -> bytes:
    """So much of the pattern; at most PIECE bytes."""
    start = offset % PERIOD
    return _BLOCK[start : start + size]


class Checker:
    """Compares what comes with the pattern."""

    def __init__(self) -> None:
        self.offset = 0
        self.mismatches = 0

    def check(self, data: bytes) -> None:
        """Checks the next bytes."""
        for at in range(0, len(data), PIECE):
            now = data[at : at + PIECE]
            self.mismatches += piece(self.offset, len(now)) != now
            self.offset += len(now)


class Request:
    """A stream as the server reads it."""

    def __init__(self) -> None:
        self.header = b""
        self.body = Checker()

    def take(self, data: bytes) -> None:
        """Takes the next bytes."""
        missing = HEADER - len(self.header)
        if missing:
            self.header += data[:missing]
            data = data[missing:]
        self.body.check(data)

    @property
    def wanted(self) -> int:
        """How many bytes the client asked for."""
        return int.from_bytes(self.header, "big") if len(self.header) == HEADER else 0


@dataclass
class Stack:
    """What differs."""

    protocol: type[Any]
    completed: type[Any]
    received: type[Any]
    server: Callable[[argparse.Namespace], Any]
    client: Callable[[argparse.Namespace], Any]
    connect: Callable[..., Any]
    serve: Callable[..., Awaitable[Any]]
    # Sends bytes that end the stream or not; something to wait for if it is a lot.
    send: Callable[[Any, int, bytes, bool], None]
    # Waits for room and sends; `None` where everything is taken at once and kept.
    send_waiting: Callable[[Any, int, bytes, bool], Awaitable[None]] | None = None


def send_pattern(stack: Stack, protocol: Any, stream: int, total: int) -> None:
    """Sends so much of the pattern and the end of the stream."""
    if total <= PIECE:
        stack.send(protocol, stream, piece(0, total), True)
    elif stack.send_waiting is None:
        whole = bytearray()
        while len(whole) < total:
            whole += piece(len(whole), min(PIECE, total - len(whole)))
        stack.send(protocol, stream, bytes(whole), True)
    else:
        task = asyncio.get_running_loop().create_task(_send_pieces(stack, protocol, stream, total))
        _TASKS.add(task)
        task.add_done_callback(_TASKS.discard)


_TASKS: set[asyncio.Task[None]] = set()


async def _send_pieces(stack: Stack, protocol: Any, stream: int, total: int) -> None:
    assert stack.send_waiting is not None
    sent = 0
    while sent < total:
        data = piece(sent, min(PIECE, total - sent))
        sent += len(data)
        await stack.send_waiting(protocol, stream, data, sent == total)


@dataclass
class Totals:
    """What the server has seen."""

    connections: int = 0
    streams: int = 0
    received: int = 0
    mismatches: int = 0
    datagrams: int = 0


def server_protocol(stack: Stack, totals: Totals) -> type[Any]:
    """The stack's protocol class, answering."""

    class Server(stack.protocol):  # type: ignore[name-defined,misc]
        def __init__(self, *arguments: Any, **keywords: Any) -> None:
            super().__init__(*arguments, **keywords)
            self.requests: dict[int, Request] = {}

        def quic_event_received(self, event: Any) -> None:
            if isinstance(event, stack.received):
                request = self.requests.setdefault(event.stream_id, Request())
                request.take(bytes(event.data))
                if event.end_stream:
                    del self.requests[event.stream_id]
                    totals.streams += 1
                    totals.received += request.body.offset
                    totals.mismatches += request.body.mismatches
                    send_pattern(stack, self, event.stream_id, request.wanted)
            elif isinstance(event, stack.completed):
                totals.connections += 1

    return Server


@dataclass
class Done:
    """What the client has done."""

    bytes: int = 0
    count: int = 0
    mismatches: int = 0
    latencies: list[float] = field(default_factory=list)


@dataclass
class Flow:
    """A stream of the client."""

    begun: float
    wanted: int
    upload: int
    checker: Checker = field(default_factory=Checker)


def client_protocol(stack: Stack) -> type[Any]:
    """The stack's protocol class, asking."""

    class Client(stack.protocol):  # type: ignore[name-defined,misc]
        def __init__(self, *arguments: Any, **keywords: Any) -> None:
            super().__init__(*arguments, **keywords)
            self.flows: dict[int, Flow] = {}
            self.done = Done()
            self.left = 0
            self.response = 0
            self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def begin(self, wanted: int, upload: int) -> None:
            stream = self._quic.get_next_available_stream_id()
            self.flows[stream] = Flow(time.perf_counter(), wanted, upload)
            stack.send(self, stream, wanted.to_bytes(HEADER, "big"), not upload)
            if upload:
                send_pattern(stack, self, stream, upload)

        def quic_event_received(self, event: Any) -> None:
            if not isinstance(event, stack.received):
                return
            flow = self.flows[event.stream_id]
            flow.checker.check(bytes(event.data))
            if event.end_stream:
                del self.flows[event.stream_id]
                self.finished(flow)

        def finished(self, flow: Flow) -> None:
            done = self.done
            done.latencies.append(time.perf_counter() - flow.begun)
            done.bytes += flow.upload + flow.checker.offset
            done.count += 1
            done.mismatches += flow.checker.mismatches + (flow.checker.offset != flow.wanted)
            if self.left:
                self.left -= 1
                self.begin(self.response, 0)
            elif not self.flows and not self.over.done():
                self.over.set_result(None)

        async def wait(self) -> Done:
            # Outside of its callbacks a stack of this kind sends when it is told to.
            if hasattr(self, "transmit"):
                self.transmit()
            await self.over
            self.over = asyncio.get_running_loop().create_future()
            done, self.done = self.done, Done()
            return done

    return Client


def main(stack: Stack) -> None:
    """Plays the role that the command line names."""
    options = _options()
    asyncio.run(_serve(stack, options) if options.role == "server" else _work(stack, options))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    roles = parser.add_subparsers(dest="role", required=True)
    server = roles.add_parser("server")
    server.add_argument("--cert", required=True)
    server.add_argument("--key", required=True)
    client = roles.add_parser("client")
    client.add_argument("--to", required=True)
    client.add_argument("--ca", required=True)
    client.add_argument("--work", required=True, choices=("bulk", "requests", "handshakes"))
    client.add_argument("--kind", default="full", choices=("full", "first-byte"))
    for name, default in (
        ("download", 0),
        ("upload", 0),
        ("streams", 1),
        ("requests", 1),
        ("inflight", 1),
        ("response", 32),
        ("count", 1),
    ):
        client.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


async def _serve(stack: Stack, options: argparse.Namespace) -> None:
    totals = Totals()
    # Not every stack tells which port it got.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = await stack.serve(
        "127.0.0.1",
        port,
        configuration=stack.server(options),
        create_protocol=server_protocol(stack, totals),
    )
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    print(f"listening on 127.0.0.1:{port}", flush=True)
    await told.wait()
    print(json.dumps(totals.__dict__), flush=True)
    del server
    # Without waiting for connections that nobody closes.
    os._exit(0)


async def _work(stack: Stack, options: argparse.Namespace) -> None:
    host, port = options.to.rsplit(":", 1)

    def connect() -> Any:
        return stack.connect(
            host,
            int(port),
            configuration=stack.client(options),
            create_protocol=client_protocol(stack),
        )

    if options.work == "handshakes":
        await _handshakes(connect, options)
    else:
        # Kept: the connection ends with it.
        context = connect()
        client = await context.__aenter__()
        cpu, start = time.process_time(), time.perf_counter()
        if options.work == "bulk":
            for index in range(options.streams):
                down, up = (
                    _share(total, options.streams, index)
                    for total in (options.download, options.upload)
                )
                client.begin(down, up)
        else:
            first = min(options.requests, options.inflight)
            client.left, client.response = options.requests - first, options.response
            for _ in itertools.repeat(None, first):
                client.begin(options.response, 0)
        done = await client.wait()
        if options.work == "bulk":
            done.latencies = []
        _print(done, start, cpu)
    # Closing takes some of them seconds, which are not measured.
    os._exit(0)


async def _handshakes(connect: Callable[[], Any], options: argparse.Namespace) -> None:
    done, kept = Done(), []
    cpu, start = time.process_time(), time.perf_counter()
    for _ in range(options.count):
        begun = time.perf_counter()
        context = connect()
        client = await context.__aenter__()
        if options.kind == "first-byte":
            client.begin(1, 0)
            done.mismatches += (await client.wait()).mismatches
        done.latencies.append(time.perf_counter() - begun)
        done.count += 1
        client.close()
        kept.append(context)
    _print(done, start, cpu)


def _share(total: int, parts: int, index: int) -> int:
    return total // parts + (index < total % parts)


def _print(done: Done, start: float, cpu: float) -> None:
    report: dict[str, Any] = {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu,
        "bytes": done.bytes,
        "count": done.count,
        "mismatches": done.mismatches,
        "peak_memory": peak_memory(),
    }
    if done.latencies:
        ordered = sorted(done.latencies)

        def at(quantile: float) -> float:
            rank = max(math.ceil(len(ordered) * quantile), 1)
            return ordered[rank - 1] * 1e6

        names = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99_9": 0.999, "max": 1.0}
        report["latency_us"] = {name: at(quantile) for name, quantile in names.items()}
    print(json.dumps(report), flush=True)


def peak_memory() -> int:
    """Largest resident memory of this process, in bytes."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.M)
    return int(found[1]) * 1024 if found else 0
