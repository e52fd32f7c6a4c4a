"""Schedulers in C and in Python, in connections with two paths."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import tquic
from tquic import bpf, qlog
from tquic.multipath import Burst, PathEvent, PathNews, PathState, Scheduler

SIZE = 4_000_000
GUIDE = Path(__file__).parents[2] / "rust/sched/fixtures/guide.o"
NAMES = ("minrtt", "roundrobin", "weighted", "aggregate", "blest", "ecf", "redundant")


@pytest.fixture
def server_config(identity: Any) -> tquic.Config:
    return tquic.Config(cert=identity.cert, key=identity.key, max_paths=2)


@pytest.fixture
def client_config(identity: Any) -> tquic.Config:
    return tquic.Config(ca=identity.ca, max_paths=2)


class Fixed(Scheduler):
    """Everything goes on one path; remembers what it was told."""

    made: Fixed

    def __init__(self) -> None:
        type(self).made = self
        self.sent: dict[int, int] = {}
        self.acked = 0
        self.changes: list[tuple[int, PathNews]] = []
        self.began = False
        self.released = threading.Event()

    def init(self) -> None:
        self.began = True

    def release(self) -> None:
        self.released.set()

    def select_path(self, paths: Any, burst: Burst) -> int | None:
        assert self.began
        assert burst.bytes >= 1200
        usable = [path.id for path in paths if path.usable]
        return max(usable)

    def on_packet_sent(self, path: PathState, bytes: int) -> None:
        self.sent[path.id] = self.sent.get(path.id, 0) + bytes

    def on_packet_acked(self, path: PathState, bytes: int, rtt: float) -> None:
        assert 0 < rtt < 60
        self.acked += bytes

    def on_path_change(self, path: PathState, change: PathNews) -> None:
        self.changes.append((path.id, change))


async def transfer(near: tquic.Connection, far: tquic.Connection, size: int = SIZE) -> None:
    """Moves bytes from the near to the far end."""
    content = bytes(range(251)) * (size // 251)
    stream = near.open_stream(unidirectional=True)
    await stream.write(content)
    stream.finish()
    assert await (await far.accept_stream()).read() == content


async def failed(connection: tquic.Connection) -> PathEvent:
    while (event := await connection.path_event()).change != "scheduler_failed":
        pass
    return event


async def shares(connection: tquic.Connection) -> dict[int, int]:
    return {path.id: path.bytes_sent for path in await connection.paths()}


@pytest.mark.parametrize("name", NAMES)
async def test_every_name_carries_data(pair: Any, name: str) -> None:
    async with pair({"scheduler": name}) as (client, server):
        await client.add_path()
        await transfer(client, server)
        stats = await client.stats()
        assert stats.scheduler_failures == 0
        if name == "redundant":
            assert stats.reinjected_bytes > SIZE // 4


async def test_a_program_in_c_decides(pair: Any) -> None:
    async with pair({"scheduler": str(GUIDE)}) as (client, server):
        await client.add_path()
        await transfer(client, server)
        assert (await client.stats()).scheduler_failures == 0
        client.set_scheduler("roundrobin")
        await transfer(client, server)
        client.set_scheduler(bpf.load_scheduler(GUIDE))
        await transfer(client, server)
        assert all(sent > 100_000 for sent in (await shares(client)).values())


@pytest.mark.skipif(shutil.which("clang") is None, reason="clang is not installed")
async def test_a_program_that_chooses_the_last_path(pair: Any, tmp_path: Path) -> None:
    source = tmp_path / "last.c"
    source.write_text(
        """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

SEC("struct_ops")
struct tquic_path *BPF_PROG(last, struct tquic_scheduler *sched, struct tquic_sched_ctx *ctx)
{
    struct tquic_path *last = NULL;
    for_each_path(sched, path)
        if (bpf_tquic_path_is_usable(path))
            last = path;
    return last;
}

SEC(".struct_ops")
struct tquic_scheduler_ops ops = { .name = "last", .select_path = (void *)last };
"""
    )
    program = bpf.compile_scheduler(source)
    async with pair({"scheduler": program}) as (client, server):
        await client.add_path()
        before = await shares(client)
        await transfer(client, server)
        after = await shares(client)
        assert after[1] - before[1] > SIZE
        assert after[0] - before[0] < SIZE // 10


async def test_a_class_in_python_decides(pair: Any) -> None:
    async with pair({"scheduler": Fixed}) as (client, server):
        await client.add_path()
        await transfer(client, server)
        made = Fixed.made
        # Only what went before its first plan went elsewhere, and what happened is told along with
        # the next question: on a slow machine both take more than one transfer.
        async with asyncio.timeout(60):
            while (sent := await shares(client))[1] <= sent[0] or sum(made.sent.values()) < SIZE:
                await transfer(client, server)
        assert made.acked > 0
        assert (1, "added") in made.changes
        assert (1, "active") in made.changes
        client.set_scheduler("minrtt")
        assert made.released.wait(10)
        await transfer(client, server)
        assert (await client.stats()).scheduler_failures == 0


class Broken(Scheduler):
    def select_path(self, paths: Any, burst: Burst) -> int | None:
        raise KeyError("no such plan")


class Wrong(Scheduler):
    def select_path(self, paths: Any, burst: Burst) -> int | None:
        return 17


class Stubborn(Scheduler):
    def select_path(self, paths: Any, burst: Burst) -> int | None:
        return None


class Unborn(Scheduler):
    def init(self) -> None:
        raise RuntimeError("not today")

    def select_path(self, paths: Any, burst: Burst) -> int | None:
        return 0


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (Broken, "KeyError: 'no such plan'"),
        (Wrong, "chose 17"),
        (Stubborn, "nothing is under way"),
        (Unborn, "not today"),
    ],
)
async def test_a_scheduler_that_fails_stops_nothing(
    pair: Any, broken: type[Scheduler], reason: str
) -> None:
    async with pair({"scheduler": broken}) as (client, server):
        await client.add_path()
        await transfer(client, server)
        while (await client.stats()).scheduler_failures == 0:
            await transfer(client, server)
        event = await failed(client)
        assert reason in str(event.reason)
        await transfer(client, server)


async def test_what_is_no_scheduler_is_refused(pair: Any, tmp_path: Path) -> None:
    with pytest.raises(tquic.ConfigError, match="blest, ecf, redundant"):
        tquic.Config(scheduler="fastest")
    with pytest.raises(tquic.ConfigError, match="scheduler must be"):
        tquic.Config(scheduler=7)  # type: ignore[arg-type]
    with pytest.raises(tquic.ConfigError, match="cannot read"):
        await tquic.connect("127.0.0.1", 9, config=tquic.Config(scheduler="missing.o"))
    junk = tmp_path / "junk.o"
    junk.write_bytes(b"\x7fELF and so on")
    async with pair() as (client, _):
        with pytest.raises(tquic.ConfigError, match=r"junk\.o"):
            client.set_scheduler(junk)
        with pytest.raises(tquic.ConfigError, match="fastest"):
            client.set_scheduler("fastest")


async def test_coupled_congestion_control(pair: Any) -> None:
    async with pair({"congestion": "lia"}) as (client, server):
        await client.add_path()
        await transfer(client, server)
        assert {path.congestion for path in await client.paths()} == {"lia"}
        client.set_congestion("balia")
        await transfer(client, server)
        assert {path.congestion for path in await client.paths()} == {"balia"}


def test_settings_from_text(tmp_path: Path) -> None:
    file = tmp_path / "tquic.toml"
    file.write_text('[tquic]\nscheduler = "own.o"\nreinject_after = "50ms"\n')
    config = tquic.Config.from_toml(file)
    assert config.scheduler == str(tmp_path / "own.o")
    assert config.reinject_after == 0.05
    assert tquic.Config.from_env(environ={"TQUIC_SCHEDULER": "ecf"}).scheduler == "ecf"


@pytest.mark.parametrize("form", ["newest", "0.3"])
async def test_decisions_are_in_qlog(pair: Any, tmp_path: Path, form: str) -> None:
    settings = {"scheduler": str(GUIDE), "qlog": str(tmp_path), "qlog_format": form}
    async with pair(settings) as (client, server):
        await client.add_path()
        await transfer(client, server)
    [file] = tmp_path.glob("*_client.sqlog")
    log = await asyncio.to_thread(settled, file)
    assert qlog.validate(log) == []
    decisions = [e["data"] for e in log.events if e["name"] == "tquic:scheduler_decision"]
    assert {d["path_id"] for d in decisions} == {0, 1}
    assert "user" in {d["reason"] for d in decisions}
    assert all(d["candidates"] == 2 and d["bytes"] > 0 for d in decisions)


def settled(file: Path) -> qlog.Log:
    """The file once the writer is done with it."""
    deadline = time.monotonic() + 30
    while True:
        log = qlog.read(file)
        if any(e["name"].endswith(":connection_closed") for e in log.events):
            return log
        assert time.monotonic() < deadline
        time.sleep(0.1)
