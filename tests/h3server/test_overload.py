"""A server whose program is behind: what is new is refused, what is there goes on."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Final

import pytest

import tquic
from tquic import _hub
from tquic.h3.server import Request, Response
from tquic.sync import h3

from .conftest import Serve, Site

LONG: Final = 30.0
# Any wait is too long: more than one event that waits is too much.
AT_ONCE: Final = 1e-9

Answer = tuple[int, str | None, bytes]


def fetch(client: h3.ClientConnection, path: str) -> Answer:
    with client.get(path) as response:
        return response.status, response.headers.get("retry-after"), response.read()


def served(client: h3.ClientConnection, path: str) -> Answer:
    """Comes again until it is not refused."""
    while (answer := fetch(client, path))[0] == 503:
        pass
    return answer


class Blocked:
    """A program that stands still when it is asked to."""

    def __init__(self) -> None:
        self.standing, self.go_on = threading.Event(), threading.Event()

    async def __call__(self, request: Request) -> Response:
        if request.path == "/stand":
            self.standing.set()
            # The whole loop with it.
            assert self.go_on.wait(LONG)
        return Response(b"hello")


def visit(site: Site, program: Blocked) -> None:
    config = tquic.Config(ca=site.ca)
    address = ("127.0.0.1", site.port)
    with (
        h3.connect(site.url, config=config, address=address) as client,
        ThreadPoolExecutor(100) as pool,
    ):
        assert served(client, "/") == (200, None, b"hello")
        try:
            waiting: list[Future[Answer]] = [pool.submit(served, client, "/stand")]
            assert program.standing.wait(LONG)
            # Those that come first wait for the program; others do not, as soon as some wait.
            done: set[Future[Answer]] = set()
            while not done:
                waiting.append(pool.submit(fetch, client, "/"))
                done, _ = wait(waiting, 0.05, FIRST_COMPLETED)
            assert {one.result() for one in done} == {(503, "1", b"")}
            with pytest.raises(tquic.ConnectionRefused):
                h3.connect(site.url, config=config, address=address).close()
        finally:
            program.go_on.set()
        assert waiting[0].result(LONG) == (200, None, b"hello")
        answers = {one.result(LONG) for one in waiting[1:]}
        assert answers <= {(200, None, b"hello"), (503, "1", b"")}
        assert served(client, "/") == (200, None, b"hello")


async def test_what_is_new_is_refused_while_the_program_is_behind(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One event at a time: of the two that a request brings, the second always has to wait.
    monkeypatch.setattr(_hub, "_BATCH", 1)
    program = Blocked()
    before = sum(shard.refused_streams for shard in tquic.Engine.default().stats())
    async with serve(program, overload_delay=AT_ONCE) as site:
        await asyncio.to_thread(visit, site, program)
    assert sum(shard.refused_streams for shard in tquic.Engine.default().stats()) > before


async def test_nothing_is_refused_without_a_limit(serve: Serve) -> None:
    program = Blocked()
    async with serve(program, overload_delay=0) as site, site.connect() as client:
        program.go_on.set()
        asked = [client.get("/stand") for _ in range(50)]
        answers = [await response.read() for response in await asyncio.gather(*asked)]
    assert answers == [b"hello"] * 50
