"""Where qlog events go besides files: rings, listeners at Unix sockets, the netlink group."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tquic
from tquic import qlog

linux = pytest.mark.skipif(sys.platform != "linux", reason="on Linux only")
PATIENCE = 30.0


async def exchange(client: tquic.Connection, server: tquic.Connection, size: int = 10_000) -> None:
    stream = client.open_stream()
    await stream.write(bytes(size))
    stream.finish()
    received = await server.accept_stream()
    assert len(await received.read()) == size


def ring_of(connection: tquic.Connection, role: str) -> qlog.Ring | None:
    name = connection.info.original_dcid.hex()
    found = [ring for ring in qlog.rings() if (ring.id, ring.role) == (name, role)]
    assert len(found) <= 1
    return found[0] if found else None


async def test_a_ring_can_be_read_while_the_connection_lives(pair: Any) -> None:
    ring = {"qlog_mode": "ring"}
    async with pair(ring, ring) as (client, server):
        await exchange(client, server)
        for connection, role in ((client, "client"), (server, "server")):
            ours = ring_of(connection, role)
            assert ours is not None
            assert not ours.failed
            log = ours.log()
            assert qlog.validate(log) == []
            assert log.vantage_point == role
            names = {event["name"] for event in log.events}
            assert {"quic:packet_sent", "quic:packet_received", "quic:alpn_information"} <= names
        stats = await client.stats()
        assert stats.qlog_events > 50
        assert stats.qlog_dropped == 0
    # A connection that was closed has nothing to explain.
    await asyncio.to_thread(until, lambda: ring_of(client, "client") is None)


async def test_a_small_ring_says_what_is_missing(pair: Any) -> None:
    async with pair({"qlog_mode": "ring", "qlog_buffer": 64 << 10}) as (client, server):
        await exchange(client, server, 2_000_000)
        ring = ring_of(client, "client")
        assert ring is not None
        assert len(ring.text()) < 70 << 10
        log = ring.log()
        assert qlog.validate(log) == []
        assert log.events[0]["name"] == "loglevel:warning"
        assert 0 < log.events[0]["data"]["code"] <= (await client.stats()).qlog_dropped


async def test_the_ring_of_a_connection_that_fails_is_written_down(
    client_config: tquic.Config, tmp_path: Path
) -> None:
    config = client_config.replace(
        qlog_mode="ring", qlog=tmp_path / "dumps", handshake_timeout=0.2, initial_rtt=0.05
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        with pytest.raises(tquic.QuicError):
            async with tquic.connect(*deaf.getsockname(), config=config):
                pass
    await asyncio.to_thread(until, lambda: list((tmp_path / "dumps").glob("*_client.sqlog")))
    [file] = (tmp_path / "dumps").glob("*_client.sqlog")
    name = file.name.partition("_")[0]
    log = qlog.read(file)
    assert qlog.validate(log) == []
    assert log.events[-1]["name"] == "quic:connection_closed"
    [ring] = [ring for ring in qlog.rings() if ring.id == name]
    assert ring.failed
    assert ring.text() == file.read_text()


def until(holds: Callable[[], object]) -> None:
    """Waits for something that another thread does."""
    done = threading.Event()
    for _ in range(int(PATIENCE / 0.02)):
        if holds():
            return
        done.wait(0.02)
    raise AssertionError("it did not come true")


class Ear(threading.Thread):
    """Keeps what a listener hears."""

    def __init__(self, listener: qlog.Listener) -> None:
        super().__init__(daemon=True)
        self._listener = listener
        self._over = threading.Event()
        self.heard: list[qlog.Heard] = []

    def run(self) -> None:
        while not self._over.is_set():
            self.heard += self._listener.hear(0.05)

    def of(self, connection: tquic.Connection, role: str) -> list[qlog.Heard]:
        name = connection.info.original_dcid.hex()
        return [heard for heard in self.heard if (heard.id, heard.role) == (name, role)]

    def end(self) -> None:
        self._over.set()
        self.join()


@contextlib.contextmanager
def hearing(listener: qlog.Listener) -> Iterator[Ear]:
    with listener:
        ear = Ear(listener)
        ear.start()
        try:
            yield ear
        finally:
            ear.end()


@linux
async def test_a_listener_at_a_unix_socket(pair: Any, tmp_path: Path) -> None:
    place = tmp_path / "qlog.sock"
    settings = {"qlog_mode": "unix", "qlog": place}
    with hearing(qlog.Listener.unix(place)) as ear:
        assert place.stat().st_mode & 0o077 == 0
        with pytest.raises(OSError, match="in use"):
            qlog.Listener.unix(place)
        async with pair(settings, settings) as (client, server):
            await exchange(client, server)
            told = (await client.stats()).qlog_events
        for role in ("client", "server"):
            await asyncio.to_thread(
                until, lambda role=role: any(heard.over for heard in ear.of(client, role))
            )
            first, *_ = ours = ear.of(client, role)
            assert first.header is not None
            assert first.header["trace"]["vantage_point"]["type"] == role
            events = [event for heard in ours for event in heard.events]
            assert events[-1]["name"].startswith("quic:")
            assert {"quic:connection_closed", "quic:packet_sent"} <= {e["name"] for e in events}
            assert all(heard.dropped == 0 for heard in ours)
            if role == "client":
                assert len(events) >= told
    assert not place.exists()


@linux
async def test_a_listener_that_comes_late_misses_nothing(pair: Any, tmp_path: Path) -> None:
    place = tmp_path / "qlog.sock"
    async with pair({"qlog_mode": "unix", "qlog": place}) as (client, server):
        await exchange(client, server)
        with hearing(qlog.Listener.unix(place)) as ear:
            await asyncio.to_thread(until, lambda: ear.of(client, "client"))
            [header] = [heard.header for heard in ear.of(client, "client") if heard.header]
            assert header["trace"]["vantage_point"]["type"] == "client"
        # Another one gets the header, too.
        await exchange(client, server)
        with hearing(qlog.Listener.unix(place)) as ear:
            await asyncio.to_thread(until, lambda: ear.of(client, "client"))
            assert ear.of(client, "client")[0].header == header


@linux
async def test_without_a_listener_what_is_lost_is_counted(pair: Any, tmp_path: Path) -> None:
    settings = {"qlog_mode": "unix", "qlog": tmp_path / "nobody", "qlog_buffer": 64 << 10}
    before = qlog.dropped()
    async with pair(settings) as (client, server):
        await exchange(client, server, 2_000_000)
        stats = await client.stats()
        assert 0 < stats.qlog_dropped < stats.qlog_events
        assert qlog.dropped() - before >= stats.qlog_dropped


def netlink() -> qlog.Listener:
    try:
        return qlog.Listener.netlink()
    except OSError as error:
        pytest.skip(f"no netlink group for this user: {error}")


@linux
async def test_the_netlink_group(pair: Any) -> None:
    with hearing(netlink()) as ear:
        async with pair({"qlog_mode": "netlink"}) as (client, server):
            await exchange(client, server)
            told = (await client.stats()).qlog_events
            await asyncio.to_thread(until, lambda: len(ear.of(client, "client")) > told)
        first, *rest = ear.of(client, "client")
        assert first.header is not None
        assert {"quic:packet_sent", "quic:packet_received"} <= {
            event["name"] for heard in rest for event in heard.events
        }
        assert ear._listener.lost == 0
        assert rest[-1].dropped == 0


def test_modes_come_from_the_environment() -> None:
    environ = {"TQUIC_QLOG_MODE": "ring"}
    assert tquic.Config.load(environ=environ).qlog_mode == "ring"
    with pytest.raises(tquic.ConfigError, match="qlog_mode"):
        tquic.Config(qlog_mode="printer")  # type: ignore[arg-type]
