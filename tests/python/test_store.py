"""Session tickets in a file."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import tquic
from tquic._store import Claim, StoreFile, Ticket


async def exchange(connection: tquic.Connection) -> None:
    stream = connection.open_stream()
    stream.write(b"x")
    stream.finish()
    assert await stream.read() == b"x"


@pytest.fixture
async def server(echo: Any, server_config: Any) -> AsyncIterator[tquic.Server]:
    config = server_config.replace(early_data=True)
    async with tquic.serve("127.0.0.1", 0, echo, config=config) as running:
        yield running


async def visit(server: tquic.Server, config: tquic.Config) -> bool:
    """A connection; whether it resumed a session. It stays until a ticket has come."""
    async with tquic.connect(*server.address, config=config) as connection:
        await exchange(connection)
        while not len(config.session_store or ()):
            await exchange(connection)
        return connection.info.resumed


async def test_a_later_run_resumes(server: Any, client_config: Any, tmp_path: Path) -> None:
    path = tmp_path / "tickets"
    first = tquic.SessionStore(path=path)
    assert not await visit(server, client_config.replace(session_store=first))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kept = len(first)
    assert kept >= 1
    assert first.knows("127.0.0.1")
    assert str(path) in repr(first)
    # Nothing stays in memory: a store of another process knows the same.
    second = tquic.SessionStore(path=path)
    assert len(second) == kept
    config = client_config.replace(session_store=second, idle_timeout=5)
    assert await visit(server, config)
    second.clear()
    assert len(first) == 0
    assert not await visit(server, config)


async def test_early_data_in_a_later_run(server: Any, client_config: Any, tmp_path: Path) -> None:
    config = client_config.replace(
        session_store=tquic.SessionStore(path=tmp_path / "f"), early_data=True
    )
    await visit(server, config)
    config = config.replace(session_store=tquic.SessionStore(path=tmp_path / "f"))
    async with tquic.connect(*server.address, config=config, wait=False) as connection:
        stream = connection.open_stream()
        assert stream.early
        stream.write(b"at once")
        stream.finish()
        assert await stream.read() == b"at once"
        assert connection.zero_rtt is True


async def test_trust_is_checked_again(
    server: Any, client_config: Any, stranger: Any, tmp_path: Path
) -> None:
    store = tquic.SessionStore(path=tmp_path / "f")
    config = client_config.replace(session_store=store)
    await visit(server, config)
    with pytest.raises(tquic.UntrustedCertificate):
        await visit(server, config.replace(ca=stranger.ca))
    await visit(server, config)
    pins = (tquic.public_key_pin(stranger.cert),)
    with pytest.raises(tquic.PinMismatch):
        await visit(server, config.replace(pins=pins))


async def test_tokens_are_kept(server: Any, client_config: Any, tmp_path: Path) -> None:
    path = tmp_path / "f"
    store = tquic.SessionStore(path=path)
    async with tquic.connect(
        *server.address, config=client_config.replace(session_store=store)
    ) as connection:
        while not store._tokens:
            await exchange(connection)
    tokens = json.loads(path.read_text())["tokens"]
    host, port = server.address
    assert [(token["host"], token["port"]) for token in tokens] == [(host, port)]
    other = tquic.SessionStore(path=path)
    other._claim(host, (host, port))
    assert other._take_token((host, port))
    assert json.loads(path.read_text())["tokens"] == []


def test_each_ticket_goes_to_one_process(tmp_path: Path) -> None:
    """Several processes empty and fill one file at a time: nothing is lost or given twice."""
    path = tmp_path / "f"
    tickets = [Ticket("a", 1, 4_000_000_000, bytes([n])) for n in range(8)]
    StoreFile(path, 10).exchange(tickets, {}, Claim(None, None), 0)
    script = """
import sys
from tquic._store import Claim, StoreFile, Ticket
file = StoreFile(sys.argv[1], 10)
for _ in range(60):
    claimed = file.exchange([], {}, Claim("a", None), 0)
    for ticket in claimed.tickets:
        print(ticket.content.hex())
    file.exchange([Ticket("b" + sys.argv[2], 1, 4000000000, b"x")], {}, Claim(None, None), 0)
assert file.problem is None
"""
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(path), str(n)], stdout=subprocess.PIPE, text=True
        )
        for n in range(3)
    ]
    outputs = [run.communicate(timeout=60)[0].split() for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0]
    assert sorted(itertools.chain(*outputs)) == [f"{n:02x}" for n in range(8)]
    rest = json.loads(path.read_text())["tickets"]
    assert sorted({ticket["server"] for ticket in rest}) == ["b0", "b1", "b2"]
    # No half-written copies are left behind.
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["f", "f.lock"]


def test_files_are_bounded(tmp_path: Path) -> None:
    file = StoreFile(tmp_path / "f", 2)
    now = 1000
    for name in "abc":
        tickets = [Ticket(name, 1, 2000 + n, bytes([n])) for n in range(20)]
        tokens = {(name, 1): [bytes([n]) for n in range(20)]}
        file.exchange(tickets, tokens, Claim(None, None), now)
    document = json.loads(file.path.read_text())
    assert [row["server"] for row in document["tickets"]] == ["b"] * 8 + ["c"] * 8
    assert [row["host"] for row in document["tokens"]] == ["b"] * 4 + ["c"] * 4
    # The newest comes first.
    claimed = file.exchange([], {}, Claim("c", ("c", 1)), now)
    assert [ticket.content for ticket in claimed.tickets] == [bytes([19])]
    assert claimed.tokens == {("c", 1): [bytes([19])]}
    # What is too old goes.
    file.exchange([], {}, Claim("x", None), 3000)
    assert file.count() == 0


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\x00",
        b"",
        b"[]",
        b'{"format": 2}',
        b'{"format": 1}',
        b'{"format": 1, "tickets": [{"server": 5}], "tokens": []}',
        b'{"format": 1, "tickets": 7, "tokens": []}',
        b'{"format": 1, "tickets": [{"server": "a", "version": 1, "expires": 1, "ticket": "?"}],'
        b' "tokens": []}',
    ],
)
def test_a_damaged_file_is_an_empty_one(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "f"
    path.write_bytes(content)
    store = tquic.SessionStore(path=path)
    with caplog.at_level(logging.WARNING, "tquic.session"):
        assert len(store) == 0
        assert len(store) == 0
    assert store.problem is not None
    assert len(caplog.records) == 1
    assert "taken for empty" in caplog.text
    store._put_token(("h", 1), b"token")
    store.save()
    assert json.loads(path.read_text())["tokens"]


async def test_a_damaged_ticket_does_no_harm(
    server: Any, client_config: Any, tmp_path: Path
) -> None:
    path = tmp_path / "f"
    config = client_config.replace(session_store=tquic.SessionStore(path=path))
    await visit(server, config)
    document = json.loads(path.read_text())
    for row in document["tickets"]:
        row["ticket"] = "AAAA" + row["ticket"][4:]
    path.write_text(json.dumps(document))
    assert not await visit(server, config)


def test_a_file_that_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = tquic.SessionStore(path=tmp_path / "none" / "f")
    store._put_token(("h", 1), b"token")
    store.save()
    assert "cannot open" in str(store.problem)
    # Nothing is lost.
    assert store._take_token(("h", 1)) == b"token"


def test_another_process_holds_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr("tquic._store._PATIENCE", 0.01)
    store = tquic.SessionStore(path=tmp_path / "f")
    descriptor = os.open(tmp_path / "f.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        store._put_token(("h", 1), b"token")
        store.save()
    finally:
        os.close(descriptor)
    assert "does not let go" in str(store.problem)
    store.save()
    assert json.loads((tmp_path / "f").read_text())["tokens"]


async def test_it_is_written_when_the_process_ends(
    server: Any, identity: Any, tmp_path: Path
) -> None:
    (tmp_path / "ca").write_bytes(identity.ca)
    script = """
import asyncio, sys, tquic

async def main():
    store = tquic.SessionStore(path=sys.argv[1])
    config = tquic.Config(ca=sys.argv[2], session_store=store)
    connection = await tquic.connect("127.0.0.1", int(sys.argv[3]), config=config)
    while not len(store):
        stream = connection.open_stream()
        stream.write(b"x")
        stream.finish()
        await stream.read()
    # It ends in the middle of the connection.

asyncio.run(main())
"""
    arguments = [str(tmp_path / "f"), str(tmp_path / "ca"), str(server.address[1])]
    run = await asyncio.create_subprocess_exec(sys.executable, "-c", script, *arguments)
    assert await run.wait() == 0
    assert tquic.SessionStore(path=tmp_path / "f").knows("127.0.0.1")
