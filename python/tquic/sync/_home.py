"""Threads that wait: one of them for the engine, the others for that one.

All Python state of a home's connections is guarded by one lock, which nobody holds while waiting.
The first thread that has to wait polls the engine's descriptor; it handles all events, wakes those
whom they concern, and hands over when it has what it wanted. No thread of ours is needed.
"""

from __future__ import annotations

import contextlib
import math
import select
import socket
import threading
import time
import types
import weakref
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final, TypeAlias, TypeVar

from tquic._hub import BaseHub
from tquic._wait import Resolved
from tquic.engine import Engine

__all__ = ["Bell", "Flag", "Threads"]

T = TypeVar("T")

# Where a descriptor cannot be polled, a wait cannot be interrupted: Ctrl-C is looked for so often.
_SLICE: Final = 0.05

# Until when to wait, in the clock's time; `None` is for ever.
_Limit: TypeAlias = "float | None"
# What a coroutine asks of the thread that runs it: to wait for a flag, up to a limit.
_Request: TypeAlias = "tuple[Flag, _Limit]"


class _End(socket.socket):
    """Goes without a warning: until a program has ended, its daemon threads may poll it."""

    def __del__(self) -> None:
        self.close()


class Bell:
    """A descriptor that somebody polls, readable from when it is rung until it is silenced."""

    def __init__(self) -> None:
        self._near, self._far = (_End(fileno=end.detach()) for end in socket.socketpair())
        self._near.setblocking(False)
        self._far.setblocking(False)

    def fileno(self) -> int:
        return self._near.fileno()

    def ring(self) -> None:
        # Full is as good.
        with contextlib.suppress(BlockingIOError):
            self._far.send(b"!")

    def silence(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while len(self._near.recv(4096)) == 4096:
                pass

    def close(self) -> None:
        self._near.close()
        self._far.close()


class _Sleeper:
    """A thread that waits for a flag."""

    __slots__ = ("_lock", "bell", "woken")

    def __init__(self) -> None:
        self.woken = False
        # What wakes it while it polls the engine's descriptor for all.
        self.bell: Bell | None = None
        self._lock = threading.Lock()
        self._lock.acquire()

    def sleep(self, seconds: _Limit) -> None:
        self._lock.acquire(timeout=-1 if seconds is None else min(seconds, threading.TIMEOUT_MAX))

    def rouse(self) -> None:
        if self.bell is not None:
            self.bell.ring()
        elif self._lock.locked():
            self._lock.release()


class Flag:
    """The signal of threads."""

    __slots__ = ("_sleepers",)

    def __init__(self) -> None:
        self._sleepers: set[_Sleeper] = set()

    @types.coroutine
    def wait(self) -> Generator[_Request, bool, None]:
        """Waits until `wake` is called."""
        yield self, None

    def wake(self) -> None:
        """Wakes all who wait."""
        for sleeper in self._sleepers:
            sleeper.woken = True
            sleeper.rouse()


class Threads(BaseHub):
    """Connections and listeners that threads wait for."""

    def __init__(self, engine: Engine | None) -> None:
        super().__init__(engine or Engine.default())
        self.lock = threading.Lock()
        # Somebody polls the descriptor.
        self._led = False
        # For threads that wake the one that polls: a stream is stopped while it is read.
        self._bell = Bell()
        # At the end of the program daemon threads may still poll it.
        weakref.finalize(self, self._bell.close).atexit = False
        # Those who leave that to him.
        self._followers: dict[_Sleeper, None] = {}
        self._soon: list[Callable[[], object]] = []

    # ---- What coroutines ask for ----

    def signal(self) -> Flag:
        return Flag()

    def soon(self, call: Callable[[], object]) -> None:
        self._soon.append(call)

    def run_soon(self) -> None:
        """Does what had to be done before the peer is waited for. Under the lock."""
        while self._soon:
            self._soon.pop()()

    async def within(self, seconds: float, work: Coroutine[Any, Any, None]) -> bool:
        return await _limited(time.monotonic() + seconds, work)

    async def resolve(self, host: str, port: int) -> Resolved:
        return socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)

    def _stand_still(self) -> None:
        # What is dropped at the end still closes its connections.
        self.lock.release()
        super()._stand_still()

    # ---- Waiting ----

    def run(self, work: Coroutine[Any, Any, T], timeout: float | None) -> T:
        """Runs a coroutine in this thread.

        Raises:
            TimeoutError: it was not done within `timeout` seconds, and was cancelled.
            BlockingIOError: the same, if `timeout` is 0.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self.lock:
            try:
                flag, limit = work.send(None)
                self.run_soon()
                while True:
                    try:
                        woken = self._wait(flag, _earlier(limit, deadline))
                        if not woken and (limit is None or _passed(deadline)):
                            raise _too_late(timeout)
                    except BaseException as error:
                        flag, limit = work.throw(error)
                    else:
                        flag, limit = work.send(woken)
            except StopIteration as end:
                result: T = end.value
                return result

    def _wait(self, flag: Flag, limit: _Limit) -> bool:
        """Waits for a flag; false if `limit` passed before. The lock is free meanwhile."""
        sleeper = _Sleeper()
        flag._sleepers.add(sleeper)
        try:
            # It may be here already.
            self.dispatch()
            while not sleeper.woken:
                seconds = None if limit is None else limit - time.monotonic()
                if seconds is not None and seconds <= 0:
                    return False
                if self._led:
                    self._follow(sleeper, seconds)
                else:
                    self._lead(sleeper, seconds)
            return True
        finally:
            flag._sleepers.discard(sleeper)
            if not self._led and self._followers:
                # Not told that anything has come: it takes over.
                next(iter(self._followers)).rouse()

    def _follow(self, sleeper: _Sleeper, seconds: _Limit) -> None:
        self._followers[sleeper] = None
        self.lock.release()
        try:
            sleeper.sleep(seconds)
        finally:
            self._relock()
            del self._followers[sleeper]

    def _lead(self, sleeper: _Sleeper, seconds: _Limit) -> None:
        self._led, sleeper.bell = True, self._bell
        self.lock.release()
        try:
            self._poll(seconds)
        finally:
            self._relock()
            self._led, sleeper.bell = False, None
        if sleeper.woken:
            # By another thread, not by an event.
            self._bell.silence()
        self.dispatch()

    def _relock(self) -> None:
        try:
            self.lock.acquire()
        except BaseException:
            # A second Ctrl-C: whoever runs here believes to have the lock.
            self._relock()
            raise

    def _poll(self, seconds: _Limit) -> None:
        descriptor = self.native.fileno()
        if descriptor < 0:
            self.native.wait(_SLICE if seconds is None else min(seconds, _SLICE))
            return
        # Looked up at each call: gevent replaces it.
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        poller.register(self._bell.fileno(), select.POLLIN)
        poller.poll(None if seconds is None else math.ceil(min(seconds, 86_400) * 1000))


def _earlier(one: _Limit, other: _Limit) -> _Limit:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def _passed(limit: _Limit) -> bool:
    return limit is not None and time.monotonic() >= limit


def _too_late(timeout: float | None) -> OSError:
    if timeout:
        return TimeoutError(f"timed out after {timeout:g} s")
    return BlockingIOError("there is nothing yet")


@types.coroutine
def _limited(limit: float, work: Coroutine[Any, Any, None]) -> Generator[_Request, bool, bool]:
    """Passes on what `work` asks, with a limit; false if that has passed."""
    try:
        flag, own = work.send(None)
        while True:
            try:
                woken = yield flag, _earlier(own, limit)
            except BaseException as error:
                flag, own = work.throw(error)
                continue
            if not woken and _passed(limit):
                work.close()
                return False
            flag, own = work.send(woken)
    except StopIteration:
        return True
