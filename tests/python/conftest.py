"""Certificates, configurations and connections for the tests of the asyncio interface.

Nothing here sleeps: tests wait for what they mean, and the time limit only ends what hangs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trustme

import tquic


class Identity:
    """A CA with a server's certificate and a client's."""

    def __init__(self, *names: str) -> None:
        self.authority = trustme.CA()
        self.ca = self.authority.cert_pem.bytes()
        self.cert, self.key = self.issue(*names)
        self.client_cert, self.client_key = self.issue("client@example.org")

    def issue(self, *names: str, **options: Any) -> tuple[bytes, bytes]:
        """A certificate and its key."""
        leaf = self.authority.issue_cert(*names, **options)
        chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
        return chain, leaf.private_key_pem.bytes()


@pytest.fixture(scope="session")
def identity() -> Identity:
    return Identity("localhost", "127.0.0.1", "::1")


@pytest.fixture(scope="session")
def stranger() -> Identity:
    """Of a CA that nobody trusts."""
    return Identity("localhost", "127.0.0.1")


@pytest.fixture
def server_config(identity: Identity) -> tquic.Config:
    return tquic.Config(cert=identity.cert, key=identity.key)


@pytest.fixture
def client_config(identity: Identity) -> tquic.Config:
    return tquic.Config(ca=identity.ca)


@pytest.fixture
def pair(server_config: tquic.Config, client_config: tquic.Config) -> Any:
    """Makes both ends of a connection: (client, server)."""

    @contextlib.asynccontextmanager
    async def make(
        client: dict[str, Any] | None = None,
        server: dict[str, Any] | None = None,
        engine: tquic.Engine | None = None,
    ) -> AsyncIterator[tuple[tquic.Connection, tquic.Connection]]:
        accepted: asyncio.Future[tquic.Connection] = asyncio.get_running_loop().create_future()

        async def handler(connection: tquic.Connection) -> None:
            accepted.set_result(connection)
            await connection.wait_closed()

        ours, theirs = client_config.replace(**client or {}), server_config.replace(**server or {})
        async with (
            tquic.serve("127.0.0.1", 0, handler, config=theirs, engine=engine) as listening,
            tquic.connect(*listening.address, config=ours, engine=engine) as connection,
        ):
            yield connection, await accepted

    return make


@pytest.fixture
def echo() -> Any:
    """A handler that sends back what it gets, stream by stream."""

    async def one(stream: tquic.Stream) -> None:
        async for chunk in stream:
            await stream.write(chunk)
        stream.finish()

    async def handler(connection: tquic.Connection) -> None:
        async with asyncio.TaskGroup() as tasks:
            async for stream in connection:
                tasks.create_task(one(stream))

    return handler
