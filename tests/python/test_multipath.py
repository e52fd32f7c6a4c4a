"""Several paths between real sockets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import tquic
from tquic.multipath import PathEvent

SIZE = 20_000_000


@pytest.fixture
def server_config(identity: Any) -> tquic.Config:
    return tquic.Config(cert=identity.cert, key=identity.key, max_paths=3)


@pytest.fixture
def client_config(identity: Any) -> tquic.Config:
    return tquic.Config(ca=identity.ca, max_paths=3)


async def next_event(connection: tquic.Connection, change: str) -> PathEvent:
    while (event := await connection.path_event()).change != change:
        pass
    return event


async def transfer(near: tquic.Connection, far: tquic.Connection) -> None:
    """Moves bytes from the near to the far end."""
    content = bytes(range(251)) * (SIZE // 251)
    stream = near.open_stream(unidirectional=True)

    async def send() -> None:
        await stream.write(content)
        stream.finish()

    sending = asyncio.create_task(send())
    assert await (await far.accept_stream()).read() == content
    await sending


async def test_paths_come_carry_and_go(pair: Any) -> None:
    async with pair() as (client, server):
        assert client.info.multipath
        assert server.info.multipath
        # No waiting for the server's connection IDs: that is done here.
        assert [await client.add_path() for _ in range(2)] == [1, 2]
        for path in (1, 2):
            event = await next_event(server, "validated")
            assert event.path == path
            assert event.remote is not None
        await transfer(client, server)
        paths = await client.paths()
        assert [(path.id, path.state) for path in paths] == [(0, "open"), (1, "open"), (2, "open")]
        total = sum(path.bytes_sent for path in paths)
        assert total > SIZE
        assert len({path.local for path in paths}) == 3
        client.remove_path(1)
        gone = await next_event(server, "abandoned")
        assert (gone.path, gone.error_code, gone.by_peer) == (1, 0x3E, True)
        await transfer(server, client)
        await transfer(client, server)


async def test_the_handshakes_path_can_go(pair: Any) -> None:
    async with pair() as (client, server):
        await client.add_path("127.0.0.1")
        client.remove_path(0)
        with pytest.raises(tquic.PathError, match="only path"):
            client.remove_path(1)
        await transfer(client, server)
        assert (await client.ping()) < 60


async def test_backups(pair: Any) -> None:
    async with pair() as (client, server):
        path = await client.add_path(backup=True)
        event = await next_event(server, "backup")
        assert event.path == path
        await transfer(server, client)
        backup = next(p for p in await server.paths() if p.id == path)
        assert backup.backup
        assert backup.bytes_sent < SIZE / 100
        client.remove_path(0)
        await transfer(client, server)


async def test_what_cannot_be(pair: Any, identity: Any) -> None:
    async with pair() as (client, server):
        with pytest.raises(tquic.PathError, match="only a client"):
            await server.add_path()
        for wrong in (3, 99):
            with pytest.raises(tquic.PathError, match="no open path"):
                client.remove_path(wrong)
            with pytest.raises(tquic.PathError, match="no open path"):
                client.set_path_status(wrong, backup=True)
        with pytest.raises(OSError, match="assign"):
            await client.add_path("192.0.2.1")
        for _ in range(2):
            await client.add_path()
        with pytest.raises(tquic.PathError, match="as many paths"):
            await client.add_path()
        await transfer(client, server)


async def test_peers_without_multipath(identity: Any) -> None:
    serving = tquic.Config(cert=identity.cert, key=identity.key)
    trusting = tquic.Config(ca=identity.ca, max_paths=2)
    async with (
        tquic.serve("127.0.0.1", 0, lambda _: asyncio.sleep(0), config=serving) as server,
        tquic.connect(*server.address, config=trusting) as client,
    ):
        assert not client.info.multipath
        with pytest.raises(tquic.PathError, match="not negotiated"):
            await client.add_path()


async def test_a_path_to_nowhere(pair: Any) -> None:
    async with pair() as (client, _server):
        # Nobody listens there.
        host, _ = client.remote_address
        with pytest.raises(tquic.PathError, match="nothing comes back"):
            await client.add_path(remote=(host, 9))


async def test_paths_of_the_configuration(pair: Any) -> None:
    wanted = {"paths": ("127.0.0.1", "127.0.0.2@lo", "127.0.0.3")}
    async with pair(client=wanted) as (client, server):
        for _ in range(2):
            await next_event(server, "validated")
        await transfer(server, client)
        locals_ = {path.id: path.local[0] for path in await client.paths()}
        assert locals_ == {0: "127.0.0.1", 1: "127.0.0.2", 2: "127.0.0.3"}


async def test_connect_comes_before_the_configuration(identity: Any) -> None:
    serving = tquic.Config(cert=identity.cert, key=identity.key, max_paths=3)
    trusting = tquic.Config(ca=identity.ca, max_paths=3, paths=("127.0.0.2",))
    async with (
        tquic.serve("127.0.0.1", 0, lambda c: c.wait_closed(), config=serving) as server,
        tquic.connect(*server.address, config=trusting, interface="lo") as client,
    ):
        await next_event(client, "validated")
        assert [path.local[0] for path in await client.paths()][1:] == ["127.0.0.2"]


def test_paths_are_checked() -> None:
    config = tquic.Config(paths=["eth0", "::1", "192.0.2.1@eth0"], max_paths=3)
    assert config.paths == ("eth0", "::1", "192.0.2.1@eth0")
    assert tquic.Config.from_env(environ={"TQUIC_PATHS": "eth0"}).paths == ("eth0",)
    for wrong, why in (
        (("eth0", "eth1"), "max_paths must be at least 2"),
        (("",), "neither an address nor"),
        (("eth0@192.0.2.1",), "not a numeric address"),
        (("192.0.2.1@",), "neither an address nor"),
        (("a-name-that-is-too-long",), "neither an address nor"),
    ):
        with pytest.raises(tquic.ConfigError, match=why):
            tquic.Config(paths=wrong)
