"""Connections: what they agree on, datagrams, paths, keys, and how they are closed."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

import pytest

import tquic
from tquic._hub import Hub


async def test_what_was_agreed_on(pair: Any) -> None:
    async with pair() as (client, server):
        assert (client.is_client, server.is_client) == (True, False)
        assert client.alpn == server.alpn == "tquic"
        assert client.info.cipher == "TLS_AES_128_GCM_SHA256"
        assert client.info.group == "X25519MLKEM768"
        assert client.info.version == 1
        assert client.info.original_dcid == server.info.original_dcid
        assert client.info.peer_certificates
        assert not server.info.peer_certificates
        assert client.remote_address[0] == "127.0.0.1"
        assert client.zero_rtt is None
        assert not client.info.resumed


@pytest.mark.parametrize(
    ("ours", "theirs", "field", "value"),
    [
        (
            {"ciphers": ("TLS_CHACHA20_POLY1305_SHA256",)},
            {},
            "cipher",
            "TLS_CHACHA20_POLY1305_SHA256",
        ),
        ({}, {"ciphers": ("TLS_AES_256_GCM_SHA384",)}, "cipher", "TLS_AES_256_GCM_SHA384"),
        ({"groups": ("x25519",)}, {}, "group", "x25519"),
        ({"versions": ("v2",)}, {}, "version", 0x6B3343CF),
        ({}, {"versions": ("v2", "v1")}, "version", 0x6B3343CF),
        ({"alpn": ("a", "b")}, {"alpn": ("b", "c")}, "alpn", "b"),
        ({}, {"retry": "always"}, "alpn", "tquic"),
        ({"congestion": "newreno", "grease": False, "ecn": False}, {}, "alpn", "tquic"),
    ],
)
async def test_settings_of_both_ends(
    pair: Any, ours: dict[str, Any], theirs: dict[str, Any], field: str, value: object
) -> None:
    async with pair(client=ours, server=theirs) as (client, server):
        assert getattr(client.info, field) == getattr(server.info, field) == value


async def test_a_coroutine_that_is_thrown_away_closes_its_connection(pair: Any) -> None:
    async with pair() as (client, server):

        async def use() -> None:
            async with client:
                await asyncio.get_running_loop().create_future()

        coroutine = use()
        coroutine.send(None)
        coroutine.close()
        await server.wait_closed()
        assert server.exception.code == 0


async def test_both_ends_learn_who_closed(pair: Any) -> None:
    async with pair() as (client, server):
        server.close(0x1234, "that will do")
        await client.wait_closed()
        await server.wait_closed()
        mine, theirs = client.exception, server.exception
        assert isinstance(mine, tquic.ApplicationClosed)
        assert (mine.by, mine.code, mine.reason) == ("peer", 0x1234, "that will do")
        assert not mine.clean
        assert isinstance(theirs, tquic.ApplicationClosed)
        assert (theirs.by, theirs.code_name) == ("local", "0x1234")
        assert client.closed
        with pytest.raises(tquic.ApplicationClosed, match="that will do"):
            client.open_stream()
        with pytest.raises(tquic.ApplicationClosed):
            await client.stats()
        client.close()
        with pytest.raises(ValueError, match="code"):
            client.close(1 << 62)


async def test_iteration_ends_with_the_connection(pair: Any) -> None:
    async with pair() as (client, server):
        client.open_stream().write(b"1")
        client.open_stream().write(b"2")

        async def collect() -> list[bytes]:
            return [await stream.read(1) async for stream in server]

        collecting = asyncio.create_task(collect())
        await client.flush()
        client.close()
        assert await collecting == [b"1", b"2"]

    async with pair() as (client, server):
        client.close(3)
        with pytest.raises(tquic.ApplicationClosed):
            async for _ in server:
                pass


async def test_leaving_delivers_what_was_written(
    server_config: tquic.Config, client_config: tquic.Config
) -> None:
    data = bytes(range(256)) * 20_000
    got = asyncio.get_running_loop().create_future()

    async def handler(connection: tquic.Connection) -> None:
        stream = await connection.accept_stream()
        got.set_result(await stream.readexactly(len(data)))

    async with tquic.serve("127.0.0.1", 0, handler, config=server_config) as server:
        async with tquic.connect(*server.address, config=client_config) as connection:
            # Neither awaited nor finished.
            connection.open_stream().write(data)
        assert connection.exception is not None
        assert connection.exception.clean
        assert await got == data


async def test_what_arrived_can_be_read_after_the_end(pair: Any) -> None:
    # More than the engine hands over before somebody reads.
    data = bytes(range(256)) * 5_000
    async with pair() as (client, server):
        finished = client.open_stream()
        finished.write(data)
        finished.finish()
        open_still = client.open_stream()
        open_still.write(data)
        await client.flush()
        # Behind the bulk, which may overrun a socket's buffer: nobody sends a datagram again.
        client.send_datagram(b"datagram")
        await client.ping()
        client.close()
        await server.wait_closed()
        stream = await server.accept_stream()
        assert await stream.read() == data
        stream = await server.accept_stream()
        assert await stream.readexactly(len(data)) == data
        with pytest.raises(tquic.ApplicationClosed):
            await stream.read(1)
        assert await server.recv_datagram() == b"datagram"
        with pytest.raises(tquic.ApplicationClosed):
            await server.accept_stream()


async def test_an_exception_closes_at_once(pair: Any) -> None:
    async with pair(client={"linger": 3600}, server={"stream_window": 1024}) as (client, server):

        async def fail() -> None:
            async with client:
                client.open_stream().write(bytes(10_000_000))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        await server.wait_closed()
        assert server.exception is not None
        assert server.exception.code == 1


async def test_handlers(
    server_config: tquic.Config, client_config: tquic.Config, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(connection: tquic.Connection) -> None:
        stream = await connection.accept_stream()
        if await stream.read() == b"fail":
            raise ZeroDivisionError
        stream.write(b"answer")
        stream.finish()

    async with tquic.serve("127.0.0.1", 0, handler, config=server_config) as server:
        async with tquic.connect(*server.address, config=client_config) as connection:
            stream = connection.open_stream()
            stream.write(b"work")
            stream.finish()
            # The handler returns before this has come: the connection closes behind it.
            assert await stream.read() == b"answer"
            await connection.wait_closed()
            assert connection.exception is not None
            assert connection.exception.clean
        with caplog.at_level(logging.ERROR, "tquic.server"):
            async with tquic.connect(*server.address, config=client_config) as connection:
                stream = connection.open_stream()
                stream.write(b"fail")
                stream.finish()
                with pytest.raises(tquic.ApplicationClosed) as caught:
                    await stream.read()
                assert caught.value.code == 1
        assert "handler" in caplog.text


async def test_servers_close(
    echo: Any, server_config: tquic.Config, client_config: tquic.Config
) -> None:
    engine = tquic.Engine()
    server = await tquic.serve("localhost", 0, echo, config=server_config, engine=engine)
    host, port = server.address
    connection = await tquic.connect(host, port, config=client_config)
    stream = connection.open_stream()
    await stream.write(b"x")
    assert await stream.readexactly(1) == b"x"
    assert len(server.connections) == 1
    server.stop_accepting()
    assert not server.accepting
    # Connections go on without the listener.
    await stream.write(b"y")
    assert await stream.readexactly(1) == b"y"
    server.close(7, "going down")
    await server.wait_closed()
    await connection.wait_closed()
    assert connection.exception is not None
    assert (connection.exception.code, connection.exception.reason) == (7, "going down")
    assert not server.connections
    engine.shutdown()
    # The address is free again.
    async with tquic.serve(host, port, echo, config=server_config) as again:
        assert again.address == (host, port)
        with pytest.raises(OSError, match="in use"):
            await tquic.serve(host, port, echo, config=server_config)


async def test_a_name_is_resolved(
    echo: Any, server_config: tquic.Config, client_config: tquic.Config
) -> None:
    async with (
        tquic.serve("127.0.0.1", 0, echo, config=server_config) as server,
        # Where localhost is ::1 as well, nobody answers there.
        tquic.connect("localhost", server.address[1], config=client_config) as connection,
    ):
        assert connection.remote_address == server.address


async def test_datagrams(pair: Any) -> None:
    async with pair() as (client, server):
        assert client.max_datagram_size > 1000
        assert client.send_datagram(b"there")
        assert await server.recv_datagram() == b"there"
        assert server.send_datagram(bytearray(b"and back"))
        assert await client.recv_datagram() == b"and back"
        with pytest.raises(tquic.DatagramError, match="at most") as caught:
            client.send_datagram(bytes(client.max_datagram_size + 1))
        assert caught.value.max_size == client.max_datagram_size
        receiving = asyncio.create_task(client.recv_datagram())
        await asyncio.sleep(0)
        server.close()
        with pytest.raises(tquic.ConnectionClosed):
            await receiving


async def test_datagrams_are_bounded(pair: Any) -> None:
    async with pair() as (client, server):
        data = bytes(1000)
        sent = 0
        while client.send_datagram(data):
            sent += 1
        assert 100 < sent < 20_000
        await client.drain_datagrams()
        assert client.send_datagram(data)
        # The peer has not read one of them.
        assert await server.recv_datagram() == data


async def test_both_queues_of_datagrams_have_bounds_of_their_own(pair: Any) -> None:
    settings = {"datagram_queue": 4096, "datagram_receive_queue": 2048}
    async with pair(client=settings, server=settings) as (client, server):
        data = bytes(1000)
        for _ in range(20):
            sent = 0
            while client.send_datagram(data):
                sent += 1
                assert sent < 1000, "the queue has no end"
            await client.drain_datagrams()
        # What was taken for sending is sent, or waits.
        stream = client.open_stream(unidirectional=True)
        stream.write(b"behind them")
        stream.finish()
        assert await (await server.accept_stream()).read() == b"behind them"
        assert (await client.stats()).datagrams_dropped == 0
        # Nobody has read: a few stay, the newest among them.
        stats = await server.stats()
        kept = stats.datagrams_received - stats.datagrams_dropped
        assert 0 < kept <= 4 < stats.datagrams_received


async def test_datagrams_can_be_refused(pair: Any) -> None:
    async with pair(server={"max_datagram_frame_size": 0}) as (client, _):
        assert client.max_datagram_size == 0
        with pytest.raises(tquic.DatagramError, match="does not accept") as caught:
            client.send_datagram(b"x")
        assert caught.value.max_size is None


async def talk(client: tquic.Connection, server: tquic.Connection, size: int = 100_000) -> None:
    """Bytes there and back: afterwards the handshake is confirmed."""
    stream = client.open_stream()
    stream.write(bytes(size))
    stream.finish()
    there = await server.accept_stream()
    there.write(await there.read())
    there.finish()
    assert len(await stream.read()) == size


async def test_migration(pair: Any) -> None:
    async with pair() as (client, server):
        await talk(client, server)
        (before,) = await client.paths()
        await client.migrate("127.0.0.2")
        (after,) = await client.paths()
        assert (after.local[0], after.remote) == ("127.0.0.2", before.remote)
        await talk(client, server)
        (seen,) = await server.paths()
        assert seen.remote == after.local
        # To a port of its own at the same address.
        await client.migrate(("127.0.0.2", 0))
        await talk(client, server)
        (again,) = await client.paths()
        assert again.local[0] == "127.0.0.2"
        assert again.local != after.local


async def test_migration_that_cannot_be(pair: Any) -> None:
    async with pair(server={"migration": False}) as (client, server):
        await talk(client, server)
        with pytest.raises(tquic.MigrationError, match="forbids"):
            await client.migrate("127.0.0.2")
        with pytest.raises(tquic.MigrationError, match="only a client"):
            await server.migrate("127.0.0.2")
        with pytest.raises(OSError, match="assign"):
            await client.migrate("192.0.2.1")
        await talk(client, server)


async def test_the_preferred_address(pair: Any) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.3", 0))
        preferred = free.getsockname()
    async with pair(server={"preferred_address": (preferred,)}) as (client, server):
        while client.remote_address != preferred:
            await talk(client, server, 100)
        (path,) = await client.paths()
        assert path.remote == preferred


async def test_key_updates(pair: Any) -> None:
    async with pair() as (client, server):
        await talk(client, server)
        assert client.update_keys()
        # Once more only after a while (RFC 9001 section 6.1).
        assert not client.update_keys()
        await talk(client, server)
        assert (await client.stats()).key_updates == 1
        assert (await server.stats()).key_updates == 1

    async with pair(client={"key_update_interval": 50}) as (client, server):
        for _ in range(10):
            await talk(client, server)
        assert (await client.stats()).key_updates >= 1


async def test_statistics(pair: Any) -> None:
    async with pair() as (client, server):
        await talk(client, server, 1_000_000)
        assert 0 < await client.ping() < 60
        stats, paths = await asyncio.gather(client.stats(), client.paths())
        assert stats.bytes_sent > 1_000_000
        assert stats.bytes_received > 1_000_000
        assert stats.packets_sent >= stats.udp_datagrams_sent > 0
        (path,) = paths
        assert 0 < path.min_rtt <= path.srtt < 60
        assert path.cwnd > 10_000
        assert 1200 <= path.mtu <= 1472
        assert path.remote == client.remote_address


async def test_engines_of_several_threads(pair: Any) -> None:
    engine = tquic.Engine(2)
    assert engine.shards == 2
    async with pair(engine=engine) as (client, server):
        await talk(client, server)
        stats = engine.stats()
        assert len(stats) == 2
        assert sum(shard.connections for shard in stats) == 2
        assert sum(shard.accepted for shard in stats) == 1
        assert sum(shard.panics for shard in stats) == 0
    engine.shutdown()
    with pytest.raises(tquic.EngineError, match="shut down"):
        engine.stats()


async def test_the_end_of_an_engine_ends_its_connections(pair: Any) -> None:
    engine = tquic.Engine()
    async with pair(engine=engine) as (client, server):
        waiting = asyncio.create_task(client.accept_stream())
        await asyncio.sleep(0)
        engine.shutdown(code=9, reason="over")
        with pytest.raises(tquic.ConnectionClosed):
            await waiting
        await server.wait_closed()


async def test_cancelled_connects_leave_nothing(
    echo: Any, server_config: tquic.Config, client_config: tquic.Config
) -> None:
    engine = tquic.Engine()
    async with tquic.serve("127.0.0.1", 0, echo, config=server_config) as server:
        connecting = asyncio.ensure_future(
            tquic.connect(*server.address, config=client_config, engine=engine)
        )
        await asyncio.sleep(0)
        hub = Hub.current(engine)
        assert hub._connections
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        while hub._connections:
            await asyncio.sleep(0)
    engine.shutdown()
