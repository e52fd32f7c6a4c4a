"""Where an event loop and the engine meet: one descriptor, batches of events."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from tquic import _engine
from tquic._kinds import check_kind
from tquic._wait import Listening, Resolved, Waiters
from tquic.engine import Engine, generation, is_left_behind
from tquic.errors import EngineError

__all__ = ["BaseHub", "Hub"]

_logger = logging.getLogger("tquic.engine")

# Events handled before the loop has its turn again.
_BATCH: Final = 512

_hubs: dict[tuple[asyncio.AbstractEventLoop, Engine], Hub] = {}
# Loops run in any number of threads.
_hubs_lock = threading.Lock()


class _Connection(Protocol):
    def _on_event(self, kind: int, a: Any, b: Any, c: Any) -> None: ...


class BaseHub:
    """Connections and listeners whose events come through one queue; who empties it, subclasses
    know."""

    def __init__(self, engine: Engine) -> None:
        check_kind("engine", engine, Engine)
        engine._check_process()
        self.engine = engine
        self.native: _engine.Hub = _engine.Hub(engine._native)
        self._generation = generation()
        self._connections: dict[int, _Connection] = {}
        self._listeners: dict[int, Listening] = {}

    def add_connection(self, key: int, connection: _Connection) -> None:
        self._connections[key] = connection
        self._watch()

    def remove_connection(self, key: int) -> None:
        self._connections.pop(key, None)
        self._rest()

    def add_listener(self, number: int, listener: Listening) -> None:
        self._listeners[number] = listener
        self._watch()

    def _watch(self) -> None:
        """There are events to be expected."""

    def _rest(self) -> None:
        """There may be none to be expected any more."""

    def _failed(self, error: Exception) -> None:
        _logger.error("an event could not be handled", exc_info=error)

    def dispatch(self) -> bool:
        """Handles a batch of events; false if there were none."""
        if is_left_behind():
            self._stand_still()
        if self._generation != generation():
            # It would wait for ever, and take from the parent what wakes that.
            raise EngineError("a fork made this process: its connections are those of the parent")
        events = self.native.poll(_BATCH)
        connections = self._connections
        # What is answered at once goes to the engine in one batch.
        self.native.hold()
        try:
            # The descriptor stays readable while more events wait.
            for key, kind, a, b, c in events:
                try:
                    if (connection := connections.get(key)) is not None:
                        connection._on_event(kind, a, b, c)
                    else:
                        self._on_event(kind, a, b, c)
                except Exception as error:
                    # One connection's failure is not another's.
                    self._failed(error)
        finally:
            self._release()
        return bool(events)

    def _stand_still(self) -> None:
        """For ever, as in any call that blocks: that connections end at the end of the program is
        nothing to tell a daemon thread about, which would tell the user."""
        threading.Event().wait()

    def _release(self) -> None:
        self.native.release()

    def _on_event(self, kind: int, a: Any, b: Any, c: Any) -> None:
        """Of no connection, or of one that is not here (any more)."""
        if kind == _engine.LOG:
            _logger.warning("%s", a)
        elif kind == _engine.ACCEPTED:
            self._listeners[b]._accept(a, c)
        elif kind == _engine.UNLISTENED:
            self._listeners.pop(a)._on_unlistened()
            self._rest()


class Hub(BaseHub):
    """The connections and listeners of one asyncio loop on one engine."""

    def __init__(self, loop: asyncio.AbstractEventLoop, engine: Engine) -> None:
        super().__init__(engine)
        self.loop = loop
        self._watching = False
        self._gathers = False

    @classmethod
    def current(cls, engine: Engine | None) -> Hub:
        """That of the running loop."""
        loop = asyncio.get_running_loop()
        key = (loop, engine or Engine.default())
        with _hubs_lock:
            for other in [other for other in _hubs if other[0].is_closed()]:
                del _hubs[other]
            hub = _hubs.get(key)
            if hub is None:
                hub = _hubs[key] = cls(*key)
        return hub

    def gather(self) -> None:
        """What was called back by the events of this batch runs soon: what it says to the engine
        goes in the same batch, too."""
        self._gathers = True

    def _release(self) -> None:
        if self._gathers:
            self._gathers = False
            self.loop.call_soon(self.native.release)
        else:
            self.native.release()

    def signal(self) -> Waiters:
        return Waiters(self.loop)

    def soon(self, call: Callable[[], object]) -> None:
        self.loop.call_soon(call)

    async def within(self, seconds: float, work: Coroutine[Any, Any, None]) -> bool:
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                await work
        except TimeoutError:
            if not limit.expired():
                raise
            return False
        return True

    async def resolve(self, host: str, port: int) -> Resolved:
        return await self.loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)

    def _watch(self) -> None:
        if not self._watching:
            self._watching = True
            self.loop.add_reader(self.native.fileno(), self.dispatch)

    def _rest(self) -> None:
        if self._watching and not self._connections and not self._listeners:
            self._watching = False
            self.loop.remove_reader(self.native.fileno())
            with _hubs_lock:
                _hubs.pop((self.loop, self.engine), None)

    def _failed(self, error: Exception) -> None:
        self.loop.call_exception_handler(
            {"message": "tquic: an event could not be handled", "exception": error}
        )
