"""An anyio event loop as the home of connections."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, cast

import anyio
import anyio.abc

from tquic._hub import BaseHub
from tquic._wait import Resolved
from tquic.engine import Engine

__all__ = ["Home", "at_home"]


class Signal:
    """The signal of an anyio event loop."""

    __slots__ = ("_events",)

    def __init__(self) -> None:
        self._events: set[anyio.Event] = set()

    async def wait(self) -> None:
        event = anyio.Event()
        self._events.add(event)
        try:
            await event.wait()
        finally:
            self._events.discard(event)

    def wake(self) -> None:
        for event in self._events:
            event.set()


class Home(BaseHub):
    """Connections and listeners whose events one task of a task group handles."""

    def __init__(self, engine: Engine | None, tasks: anyio.abc.TaskGroup) -> None:
        super().__init__(engine or Engine.default())
        self.tasks = tasks
        tasks.start_soon(self._handle_events)

    def signal(self) -> Signal:
        return Signal()

    def soon(self, call: Callable[[], object]) -> None:
        async def later() -> None:
            call()

        self.tasks.start_soon(later)

    async def within(self, seconds: float, work: Coroutine[Any, Any, None]) -> bool:
        with anyio.move_on_after(seconds) as scope:
            await work
        return not scope.cancelled_caught

    async def resolve(self, host: str, port: int) -> Resolved:
        found: Any = await anyio.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        return cast(Resolved, found)

    async def _handle_events(self) -> None:
        while True:
            await anyio.wait_readable(self.native.fileno())
            self.dispatch()


@contextlib.asynccontextmanager
async def at_home(engine: Engine | None) -> AsyncGenerator[Home, None]:
    """A home as long as the body runs; its errors come out as they are, in no group."""
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        try:
            yield Home(engine, tasks)
        except Exception as error:
            failure = error
        finally:
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
