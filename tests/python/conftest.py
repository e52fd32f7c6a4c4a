"""Certificates, configurations and a server for the tests of the asyncio interface.

Nothing here sleeps: tests wait for what they mean, and `asyncio.timeout` only ends what hangs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
import trustme

import tquic


class Identity:
    """A CA with a server's certificate and a client's."""

    def __init__(self, *names: str) -> None:
        self.authority = trustme.CA()
        self.ca = self.authority.cert_pem.bytes()
        server = self.authority.issue_cert(*names)
        self.cert = b"".join(blob.bytes() for blob in server.cert_chain_pems)
        self.key = server.private_key_pem.bytes()
        client = self.authority.issue_cert("client@example.org")
        self.client_cert = b"".join(blob.bytes() for blob in client.cert_chain_pems)
        self.client_key = client.private_key_pem.bytes()


@pytest.fixture(scope="session")
def identity() -> Identity:
    return Identity("localhost", "127.0.0.1", "::1")


@pytest.fixture(scope="session")
def other_identity() -> Identity:
    return Identity("localhost", "127.0.0.1")


@pytest.fixture
def server_config(identity: Identity) -> tquic.Config:
    return tquic.Config(cert=identity.cert, key=identity.key)


@pytest.fixture
def client_config(identity: Identity) -> tquic.Config:
    return tquic.Config(ca=identity.ca)


@pytest.fixture(autouse=True)
async def end_what_hangs() -> AsyncIterator[None]:
    """A test that waits for something that never comes fails instead of blocking the others."""
    task = asyncio.current_task()
    assert task is not None
    handle = asyncio.get_running_loop().call_later(60, task.cancel, "the test hangs")
    yield
    handle.cancel()


Pair = Callable[..., contextlib.AbstractAsyncContextManager[tuple[tquic.Connection, tquic.Connection]]]


@pytest.fixture
def pair(server_config: tquic.Config, client_config: tquic.Config) -> Pair:
    """Makes both ends of a connection: (client, server)."""

    @contextlib.asynccontextmanager
    async def make(
        client: dict[str, object] | None = None, server: dict[str, object] | None = None
    ) -> AsyncIterator[tuple[tquic.Connection, tquic.Connection]]:
        accepted: asyncio.Future[tquic.Connection] = asyncio.get_running_loop().create_future()

        async def handler(connection: tquic.Connection) -> None:
            accepted.set_result(connection)
            await connection.wait_closed()

        async with (
            tquic.serve(
                "127.0.0.1", 0, handler, config=server_config.replace(**server or {})
            ) as listening,
            tquic.connect(
                *listening.address, config=client_config.replace(**client or {})
            ) as connection,
        ):
            yield connection, await accepted

    return make


async def echo(connection: tquic.Connection) -> None:
    """A handler that sends back what it gets, stream by stream."""

    async def one(stream: tquic.Stream) -> None:
        async for chunk in stream:
            await stream.write(chunk)
        stream.finish()

    async with asyncio.TaskGroup() as tasks:
        async for stream in connection:
            tasks.create_task(one(stream))
