"""Brings a rogue and the package together over UDP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from tquic import Config, h3
from tquic.h3.errors import RequestFailed
from tquic.h3.server import Request, Response

from .peer import Plan, Rogue
from .tls import Identity

SECONDS = 30.0


class Arena(asyncio.DatagramProtocol):
    """A socket with a rogue behind it."""

    rogue: Rogue
    # What became of our client's request.
    failed: RequestFailed | None = None

    def __init__(self, rogue: Rogue | None, begin: Callable[[bytes], Rogue] | None = None) -> None:
        if rogue is not None:
            self.rogue = rogue
        self._begin = begin
        self._changed = asyncio.Event()
        self._peer: Any = None
        self._transport: asyncio.DatagramTransport

    def connection_made(self, transport: Any) -> None:
        """Says hello, as a client."""
        self._transport = transport
        if self._begin is None:
            self.flush()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Hands a datagram to the rogue."""
        self._peer = addr
        if self._begin is not None:
            self.rogue = self._begin(data)
            self._begin = None
        self.rogue.receive(data)
        self.flush()
        self._changed.set()

    def flush(self) -> None:
        """Sends what the rogue has."""
        datagrams, self.rogue.outgoing = self.rogue.outgoing, []
        for datagram in datagrams:
            self._transport.sendto(datagram, self._peer)

    async def until(self, condition: Callable[[Rogue], object]) -> None:
        """Waits until something holds of the rogue."""

        async def wait() -> None:
            while not (hasattr(self, "rogue") and condition(self.rogue)):
                self._changed.clear()
                await self._changed.wait()

        try:
            await asyncio.wait_for(wait(), SECONDS)
        except TimeoutError:
            frames = self.rogue.frames.items() if hasattr(self, "rogue") else ()
            heard = {level: [frame.name for frame in found] for level, found in frames}
            raise AssertionError(f"it did not come; heard: {heard}") from None

    def act(self, act: Callable[[Rogue], None]) -> None:
        """Has the rogue do something."""
        act(self.rogue)
        self.flush()

    async def settle(self) -> None:
        """Waits until the other end has dealt with everything that was sent in 1-RTT packets."""
        number = self.rogue.last_number
        await self.until(lambda rogue: rogue.acknowledged >= number)

    def again(self, rogue: Rogue) -> None:
        """Begins another connection from the same port."""
        self.rogue = rogue
        self.flush()


async def _hello(request: Request) -> Response:
    await request.read()
    return Response(b"hello")


@contextlib.asynccontextmanager
async def against_server(plan: Plan, identity: Identity, **changes: Any) -> AsyncIterator[Arena]:
    """A rogue client, and our HTTP/3 server."""
    config = Config(cert=identity.chain, key=identity.key, **changes)
    loop = asyncio.get_running_loop()
    async with h3.serve(_hello, "127.0.0.1", 0, config=config) as server:
        transport, arena = await loop.create_datagram_endpoint(
            lambda: Arena(Rogue(plan, b"original")), remote_addr=server.address
        )
        try:
            yield arena
        finally:
            transport.close()


@contextlib.asynccontextmanager
async def against_client(
    plan: Plan, identity: Identity, ca: bytes, **changes: Any
) -> AsyncIterator[Arena]:
    """A rogue server, and our HTTP/3 client, which asks it for a page."""
    loop = asyncio.get_running_loop()
    transport, arena = await loop.create_datagram_endpoint(
        lambda: Arena(None, lambda first: Rogue.server(plan, identity, first)),
        local_addr=("127.0.0.1", 0),
    )
    # A key share that the rogue understands.
    config = Config(ca=ca, groups=("x25519",), **changes)
    address = transport.get_extra_info("sockname")

    async def ask() -> None:
        async with h3.connect("https://localhost/", config=config, address=address) as connection:
            try:
                response = await connection.get("/")
                await response.read()
            except RequestFailed as error:
                arena.failed = error
            # The connection stays as it is.
            await asyncio.Event().wait()

    task = asyncio.ensure_future(ask())
    try:
        yield arena
    finally:
        transport.close()
        task.cancel()
        # What the client says of its end is for other tests.
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task
