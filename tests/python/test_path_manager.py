"""Paths that follow the interfaces."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import tquic
import tquic.sync
from tquic import _manager
from tquic._netlink import interfaces, news
from tquic.multipath import Interface, PathChoice, PathManager, PathPolicy

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="rtnetlink is Linux's")

# The handshake's, by its address; and loopback as if it led elsewhere.
FIRST = Interface(name="eth9", running=True, loopback=False, addresses=("127.0.0.1",))
SECOND = Interface(name="lo", running=True, loopback=False, addresses=("127.0.0.2", "::2"))


def interface(name: str) -> Interface:
    return Interface(name=name, running=True, loopback=False, addresses=("192.0.2.1",))


class Machine:
    """A machine whose interfaces the test decides about."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = [FIRST]
        self._told, self._tell = socket.socketpair()
        self._told.setblocking(False)
        monkeypatch.setattr(_manager, "interfaces", lambda: self.now)
        monkeypatch.setattr(_manager, "news", lambda: self._told)
        # Only what is told counts.
        monkeypatch.setattr(_manager, "_LOOK", 30.0)

    def close(self) -> None:
        self._told.close()
        self._tell.close()

    def becomes(self, *now: Interface) -> None:
        self.now = list(now)
        self._tell.send(b"!")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    made = Machine(monkeypatch)
    yield made
    made.close()


@pytest.fixture
def server_config(identity: Any) -> tquic.Config:
    return tquic.Config(cert=identity.cert, key=identity.key, max_paths=3)


@pytest.fixture
def client_config(identity: Any) -> tquic.Config:
    return tquic.Config(ca=identity.ca, max_paths=3)


async def change(connection: tquic.Connection, what: str, path: int) -> None:
    event = await connection.path_event()
    while (event.change, event.path) != (what, path):
        event = await connection.path_event()


async def opened(manager: PathManager, count: int) -> None:
    while len(manager.paths) < count:
        await asyncio.sleep(0.01)


async def test_paths_follow_the_interfaces(pair: Any, machine: Machine) -> None:
    async with pair() as (client, server), PathManager(client) as manager:
        assert manager.paths == {"eth9": 0}
        machine.becomes(FIRST, SECOND)
        await change(server, "validated", 1)
        await opened(manager, 2)
        assert manager.paths == {"eth9": 0, "lo": 1}
        machine.becomes(FIRST)
        await change(server, "abandoned", 1)
        machine.becomes(FIRST, SECOND)
        await change(server, "validated", 2)
        await opened(manager, 2)
        # The handshake's path goes with its interface, too.
        machine.becomes(SECOND)
        await change(server, "abandoned", 0)
        assert manager.paths == {"lo": 2}
        # The only one stays, whatever is told of interfaces.
        machine.becomes()
        assert await client.ping() < 60


async def test_metered_paths_are_backups(pair: Any, machine: Machine) -> None:
    async with pair() as (client, server), PathManager(client, PathPolicy(metered=["lo"])):
        machine.becomes(FIRST, SECOND)
        await change(server, "backup", 1)


async def test_the_policy_decides(pair: Any, machine: Machine) -> None:
    asked: list[list[str]] = []

    class Never(PathPolicy):
        def choose(self, usable: Any) -> list[PathChoice]:
            asked.append([one.name for one in usable])
            return []

    down = Interface(name="down", running=False, loopback=False, addresses=("192.0.2.1",))
    other = Interface(name="v6", running=True, loopback=False, addresses=("2001:db8::1",))
    async with pair() as (client, _), PathManager(client, Never()) as manager:
        machine.becomes(FIRST, down, other, SECOND)
        while asked[-1:] != [["eth9", "lo"]]:
            await asyncio.sleep(0.01)
        assert manager.paths == {"eth9": 0}
        assert [path.id for path in await client.paths()] == [0]


def test_the_blocking_twin(
    server_config: tquic.Config, client_config: tquic.Config, machine: Machine
) -> None:
    def until(event: str, path: int) -> None:
        told = server.path_event()
        while (told.change, told.path) != (event, path):
            told = server.path_event()

    with (
        tquic.sync.serve("127.0.0.1", 0, config=server_config, timeout=30) as listener,
        tquic.sync.connect(*listener.address, config=client_config, timeout=30) as client,
        listener.accept(30) as server,
    ):
        with tquic.sync.PathManager(client) as manager:
            assert manager.paths == {"eth9": 0}
            machine.becomes(FIRST, SECOND)
            until("validated", 1)
            machine.becomes(FIRST)
            until("abandoned", 1)
            # While another thread waits, and with its timeout untouched.
            machine.becomes(FIRST, SECOND)
            until("validated", 2)
            assert client.gettimeout() == 30
        # Nothing follows any more, and its paths stay.
        assert {path.id for path in client.paths() if path.state == "open"} == {0, 2}
        assert not any(thread.name == "tquic-paths" for thread in threading.enumerate())


def test_the_blocking_twin_ends_with_its_connection(
    server_config: tquic.Config, client_config: tquic.Config, machine: Machine
) -> None:
    with (
        tquic.sync.serve("127.0.0.1", 0, config=server_config, timeout=30) as listener,
        tquic.sync.connect(*listener.address, config=client_config, timeout=30) as client,
        tquic.sync.PathManager(client) as manager,
    ):
        client.close()
        machine.becomes(FIRST, SECOND)
        manager._thread.join(30)
        assert not manager._thread.is_alive()


def test_names_are_patterns() -> None:
    usable = [interface(name) for name in ("wwan0", "docker0", "eth0", "eth1", "wlan0")]
    wired = PathPolicy(include=["eth*", "wwan*"], maximum=3)
    assert wired.choose(usable) == [
        PathChoice(interface="eth0"),
        PathChoice(interface="eth1"),
        PathChoice(interface="wwan0", backup=True),
    ]
    assert [c.interface for c in PathPolicy(maximum=2).choose(usable)] == ["eth0", "eth1"]
    assert [c.interface for c in PathPolicy(exclude=["e*"]).choose(usable)] == [
        "docker0",
        "wlan0",
        "wwan0",
    ]


def test_the_interfaces_of_this_machine() -> None:
    found = {one.name: one for one in interfaces()}
    assert set(found) == {name for _, name in socket.if_nameindex()}
    assert found["lo"].loopback
    assert not found["lo"].running or "127.0.0.1" in found["lo"].addresses
    with news() as told, pytest.raises(BlockingIOError):
        told.recv(1)
