"""``tquic get`` over HTTP/3: one connection for each server, all at the same time."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import http
import os
import re
import select
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from pathlib import Path
from typing import Any, Self, TypeAlias

from tquic.cli import client
from tquic.cli.client import Address
from tquic.cli.download import Download
from tquic.cli.failure import CommandError
from tquic.cli.fetch import Run, ServerRun
from tquic.cli.output import STEP, note
from tquic.cli.part import PartFile
from tquic.cli.values import show_address
from tquic.errors import QuicError
from tquic.h3._wire import ALPN
from tquic.h3.client import ClientConnection, Response, connect
from tquic.session import SessionStore
from tquic.stats import ConnectionStats

PROTOCOL = "HTTP/3"
# Requests on one connection at a time.
PARALLEL = 32
# What a pipe takes without waiting once it is writable.
PIPE = getattr(select, "PIPE_BUF", 512)
# What is hashed at a time, and how long what has come may wait for that, in seconds.
BLOCK = 1 << 20
FOLLOW = 0.01
# Seconds to wait for a session ticket, which comes a little behind the handshake.
TICKET = 1.0

_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/")

Write: TypeAlias = Callable[[bytes | memoryview], Coroutine[Any, Any, None]]


class Refused(Exception):  # noqa: N818 - what happened
    """The server does not give the file."""


class H3ServerRun(ServerRun):
    """Over HTTP/3."""

    def __init__(
        self, run: H3Run, server: Address, downloads: list[Download], parallel: int
    ) -> None:
        super().__init__(run.options, server, downloads, ALPN)
        self.run = run
        self.slots = asyncio.Semaphore(parallel)

    async def fetch(self) -> None:
        """Fetches all of them."""
        for number, batch in enumerate(self.batches, 1):
            wants_ticket = self.options.tickets is not None or number < len(self.batches)
            try:
                await self._fetch(batch, wants_ticket=wants_ticket)
            except (CommandError, QuicError, OSError) as error:
                why = client.explain(error, self.target, PROTOCOL)
                self.failures.append(why)
                for download in batch:
                    if download.error is not None:
                        download.result["error"] = why

    async def _fetch(self, batch: list[Download], *, wants_ticket: bool) -> None:
        client.resolve(*self.target, self.config)
        host, port = self.server
        started = time.monotonic()
        connection = await connect(
            f"https://{show_address(host, port)}/",
            config=self.config,
            engine=self.run.engine,
            address=self.target,
        )
        try:
            handshake = asyncio.create_task(_handshake(connection, started))
            async with asyncio.TaskGroup() as group:
                for download in batch:
                    group.create_task(self._one(connection, download))
            if wants_ticket and connection.available:
                await _ticket(connection, self.store)
            await self._note(connection, handshake)
        finally:
            connection.close()
            with contextlib.suppress(asyncio.CancelledError):
                await connection.wait_closed()

    async def _note(
        self, connection: ClientConnection, handshake: asyncio.Task[float | None]
    ) -> None:
        """What JSON says about a connection."""
        quic = connection.quic
        if not quic.connected:
            handshake.cancel()
            if quic.exception is not None:
                raise quic.exception
            return
        info = quic.info
        stats: ConnectionStats | None = None
        with contextlib.suppress(QuicError):
            stats = await quic.stats()
        error = quic.exception
        why = None
        # Servers may close when all is said; each download knows whether it is whole.
        if error is not None and not error.clean:
            why = client.explain(error, self.target, PROTOCOL)
            self.failures.append(why)
        path = stats.paths[0] if stats is not None and stats.paths else None
        self.connections.append(
            {
                "server": show_address(*self.target),
                "remote": show_address(*quic.remote_address),
                "error": why,
                "handshake_seconds": await handshake,
                "cipher": info.cipher,
                "resumed": info.resumed,
                "early_data": info.early_data,
                "version": info.version,
                "packets_sent": None if stats is None else stats.packets_sent,
                "packets_received": None if stats is None else stats.packets_received,
                "lost_packets": None if path is None else path.lost_packets,
                "srtt_us": None if path is None else path.srtt * 1e6,
                "mtu": None if path is None else path.mtu,
                "paths": [] if stats is None else client.path_reports(stats),
            }
        )

    async def _one(self, connection: ClientConnection, download: Download) -> None:
        """One URL; why it failed is its result."""
        async with self.slots, self.run.turn(download):
            started = time.monotonic()
            why: str | None = None
            try:
                await Fetching(self.options, connection, download).run(self.run.write)
            except (CommandError, Refused) as error:
                why = str(error)
            except QuicError as error:
                why = client.explain(error, self.target, PROTOCOL)
            except OSError as error:
                why = f"cannot write {download.part}: {error.strerror or error}"
            download.result["error"] = why
            download.result["seconds"] = time.monotonic() - started


class Fetching:
    """One request and what becomes of its response."""

    def __init__(
        self, options: argparse.Namespace, connection: ClientConnection, download: Download
    ) -> None:
        self.options = options
        self.connection = connection
        self.download = download
        download.result = {"error": "interrupted", "bytes": 0}

    async def run(self, write: Write) -> None:
        """Fetches it; raises `Refused` or `CommandError` with a sentence."""
        download = self.download
        if self.options.head_only or download.to_stdout or download.target is None:
            async with await self._request({}) as response:
                await self._stream(response, write)
            return
        part = PartFile(download.target, download.origin)
        try:
            await self._into(part, write)
        finally:
            part.close()

    async def _request(self, more: dict[str, str]) -> Response:
        headers = [*self.options.headers, *more.items()]
        method = "HEAD" if self.options.head_only else "GET"
        return await self.connection.request(method, self.download.request, headers=headers)

    async def _accepted(self, response: Response, write: Write) -> None:
        """Shows the header section where that was asked for, and looks at the status."""
        self.download.result["status"] = response.status
        if self.options.head_only or self.options.include:
            self.download.result["headers"] = [
                [name.decode("latin-1"), value.decode("latin-1")]
                for name, value in response.headers.fields
            ]
            if not self.options.json:
                await write(_shown(response))
        if response.status >= 300 and not self.options.head_only:
            raise Refused(_refusal(response))

    async def _stream(self, response: Response, write: Write) -> None:
        await self._accepted(response, write)
        digest = hashlib.sha256() if self.download.sha256 is not None else None
        self.download.received = lambda: response.received
        async for piece in response:
            if digest is not None:
                digest.update(piece)
            if self.download.to_stdout:
                await write(piece)
        self.download.result["bytes"] = response.received
        self._check(None if digest is None else digest.digest())

    async def _into(self, part: PartFile, write: Write) -> None:
        offset, more = 0, dict[str, str]()
        if self.options.resume and (size := part.size):
            if validator := part.validator:
                offset, more = size, {"range": f"bytes={size}-", "if-range": validator}
            else:
                note(f"{part.path}: the server has not said how to go on; it begins anew")
        response = await self._request(more)
        if response.status == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            # There is nothing behind what was there: it may be whole, or of another file.
            response.close()
            offset, response = 0, await self._request({})
        async with response:
            try:
                await self._accepted(response, write)
            except Refused:
                if not part.size:
                    part.discard()
                raise
            if response.status != http.HTTPStatus.PARTIAL_CONTENT:
                offset = 0
            elif _start(response) != offset:
                raise Refused("the server sends another part of the file than was asked for")
            if not offset:
                part.begin(_validator(response))
            self.download.received = lambda: part.size
            with _Digest(part.path, wanted=self.download.sha256 is not None) as digest:
                try:
                    await response.recv_to_file(part.path, offset=offset)
                finally:
                    size = self.download.result["bytes"] = part.size
                    self.download.received = lambda: size
                    if self.options.resume:
                        self.download.result["resumed_at"] = offset
                content = await digest.whole()
        try:
            self._check(content)
        except Refused:
            part.discard()
            raise
        part.finish()

    def _check(self, digest: bytes | None) -> None:
        wanted = self.download.sha256
        if digest is None or wanted is None:
            return
        self.download.result["sha256"] = digest.hex()
        if wanted != digest:
            raise Refused(f"its SHA-256 is {digest.hex()}, not {wanted.hex()}")


class _Digest:
    """The SHA-256 of a file that is being written, made by a thread that follows: it costs as much
    as all of QUIC."""

    def __init__(self, path: Path, *, wanted: bool) -> None:
        self._path = path
        self._wanted = wanted
        self._grown = threading.Event()
        self._over = False
        self._content: bytes | None = None
        self._thread = threading.Thread(target=self._follow, name="tquic-sha256", daemon=True)

    def __enter__(self) -> Self:
        if self._wanted:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        self._over = True
        self._grown.set()

    async def whole(self) -> bytes | None:
        """Behind the last byte: the digest, if one is wanted."""
        self._end()
        if self._wanted:
            await asyncio.to_thread(self._thread.join)
        return self._content

    def _follow(self) -> None:
        digest = hashlib.sha256()
        with self._path.open("rb") as file:
            while True:
                # Asked first: what is there then is all.
                over = self._over
                while block := file.read(BLOCK):
                    digest.update(block)
                if over:
                    break
                self._grown.wait(FOLLOW)
        self._content = digest.digest()


def _validator(response: Response) -> str | None:
    """For If-Range: RFC 9110 section 13.1.5 wants a strong one."""
    tag = response.headers.get("etag")
    if tag is not None and not tag.startswith("W/"):
        return tag
    return response.headers.get("last-modified")


def _start(response: Response) -> int | None:
    found = _CONTENT_RANGE.match(response.headers.get("content-range", ""))
    return int(found[1]) if found else None


def _shown(response: Response) -> bytes:
    lines = [b"HTTP/3 %d" % response.status]
    lines += [name + b": " + value for name, value in response.headers.fields]
    return b"\n".join(lines) + b"\n\n"


def _refusal(response: Response) -> str:
    """Why there is no file, for people."""
    if response.status == http.HTTPStatus.NOT_FOUND:
        return "the server refused: it has no such file"
    with contextlib.suppress(ValueError):
        phrase = http.HTTPStatus(response.status).phrase
        location = response.headers.get("location")
        if response.status < 400 and location is not None:
            return f"the server refused: {response.status} {phrase}, to {location}"
        return f"the server refused: {response.status} {phrase}"
    return f"the server refused: status {response.status}"


class H3Run(Run[H3ServerRun]):
    """One call of the command."""

    alpn = ALPN

    def __init__(self, options: argparse.Namespace, downloads: list[Download]) -> None:
        super().__init__(options, downloads)
        self.ordered = options.output == "-" or options.head_only or options.include
        # Output in the order of the URLs: what cannot be printed yet would only fill windows.
        parallel = 1 if self.ordered else PARALLEL
        self.servers = [
            H3ServerRun(self, server, group, parallel) for server, group in self.by_server().items()
        ]
        # What each has to wait for if they are printed in their order.
        self.turns = [asyncio.Event() for _ in downloads]
        self.places = {id(download): place for place, download in enumerate(downloads)}

    @property
    def received(self) -> int:
        return sum(download.received() for download in self.downloads)

    def fetch(self) -> None:
        asyncio.run(self._fetch())

    def give_up(self) -> None:
        # The loop has been cancelled, and every part keeps what came.
        for download in self.downloads:
            download.result.setdefault("error", "interrupted")

    async def _fetch(self) -> None:
        watching = asyncio.create_task(self._watch())
        self.turns[0].set()
        try:
            async with asyncio.TaskGroup() as group:
                for server in self.servers:
                    group.create_task(self._serve(server))
        except* OutputError as failed:
            self.nobody_reads()
            if why := str(_first(failed)):
                self.output_failures = [f"cannot write the output: {why}"]
        finally:
            watching.cancel()

    async def _serve(self, server: H3ServerRun) -> None:
        await server.fetch()
        # Those that never had a turn let the others go on.
        for batch in server.batches:
            for download in batch:
                self._done(download)

    async def _watch(self) -> None:
        while True:
            self.bar.show(self.received, sum(download.error is None for download in self.downloads))
            await asyncio.sleep(STEP)

    @contextlib.asynccontextmanager
    async def turn(self, download: Download) -> AsyncGenerator[None, None]:
        """Waits until those before it are printed."""
        if self.ordered:
            await self.turns[self.places[id(download)]].wait()
        try:
            yield
        finally:
            self._done(download)

    def _done(self, download: Download) -> None:
        following = self.places[id(download)] + 1
        if following < len(self.turns):
            self.turns[following].set()

    async def write(self, data: bytes | memoryview) -> None:
        """Writes to standard output, without keeping the loop from Ctrl-C while nobody reads."""
        sys.stdout.flush()
        descriptor = sys.stdout.fileno()
        view = memoryview(data)
        while view:
            try:
                await _writable(descriptor)
                view = view[os.write(descriptor, view[:PIPE]) :]
            except BrokenPipeError:
                raise OutputError from None
            except OSError as error:
                raise OutputError(error.strerror) from None


class OutputError(Exception):
    """Standard output takes nothing; why, if it is not that nobody reads it."""


def _first(group: BaseExceptionGroup[OutputError]) -> BaseException:
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


async def _writable(descriptor: int) -> None:
    """Waits until a pipe or terminal takes something; files always do."""
    try:
        poller = select.poll()
    except AttributeError:
        # Windows
        return
    poller.register(descriptor, select.POLLOUT)
    if poller.poll(0):
        return
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(descriptor)


async def _handshake(connection: ClientConnection, started: float) -> float | None:
    with contextlib.suppress(QuicError):
        await connection.quic.wait_connected()
        return time.monotonic() - started
    return None


async def _ticket(connection: ClientConnection, store: SessionStore) -> None:
    """Waits for the ticket that a later connection needs."""
    with contextlib.suppress(QuicError, TimeoutError):
        async with asyncio.timeout(TICKET):
            while not len(store._tickets):
                await connection.quic.ping()
