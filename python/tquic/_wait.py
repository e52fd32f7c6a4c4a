"""How tasks and threads wait, told apart from what they wait for.

Connections and streams are coroutines over two things only: a `Signal`, and what the `Home` of
their connection offers. An asyncio loop, an anyio event loop and threads each bring their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from tquic import _engine

__all__ = ["Home", "Listening", "Relay", "Resolved", "Signal", "Waiters"]

Resolved: TypeAlias = list[tuple[Any, Any, Any, str, Any]]
"""What `socket.getaddrinfo` answers."""


class Signal(Protocol):
    """Something may have changed: those who wait look for themselves what it was."""

    def wait(self) -> Awaitable[None]:  # pyright: ignore[reportReturnType]
        """Waits until `wake` is called."""

    def wake(self) -> None:
        """Wakes all who wait."""


class _Handled(Protocol):
    def _on_event(self, kind: int, a: Any, b: Any, c: Any) -> None: ...


class Listening(Protocol):
    """Where connections come in."""

    def _accept(self, native: _engine.Connection, remote: tuple[str, int]) -> None:
        """There is a new one."""

    def _on_unlistened(self) -> None:
        """No more will come."""


class Home(Protocol):
    """Where connections live: it brings their events, and lets their users wait."""

    @property
    def native(self) -> _engine.Hub: ...

    def add_connection(self, key: int, connection: _Handled) -> None: ...

    def remove_connection(self, key: int) -> None: ...

    def add_listener(self, number: int, listener: Listening) -> None:
        """It stays until the engine says that no more connections will come."""

    def signal(self) -> Signal:  # pyright: ignore[reportReturnType]
        """A new signal."""

    def soon(self, call: Callable[[], object]) -> None:
        """Calls something before anybody here waits for the peer."""

    async def within(self, seconds: float, work: Coroutine[Any, Any, None]) -> bool:  # pyright: ignore[reportReturnType]
        """Runs something for some seconds at most: false if it was cancelled then."""

    async def resolve(self, host: str, port: int) -> Resolved:  # pyright: ignore[reportReturnType]
        """Looks a name up."""


class Waiters:
    """The signal of an asyncio loop."""

    __slots__ = ("_futures", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # Made by who waits first: a stream has two signals, and often nobody waits for either.
        self._futures: set[asyncio.Future[None]] | None = None

    async def wait(self) -> None:
        """Waits until `wake` is called."""
        futures = self._futures
        if futures is None:
            futures = self._futures = set()
        future = self._loop.create_future()
        futures.add(future)
        try:
            await future
        finally:
            futures.discard(future)

    def wake(self) -> None:
        """Wakes all who wait."""
        for future in self._futures or ():
            if not future.done():
                future.set_result(None)


class Relay:
    """A signal that makes a call as well."""

    __slots__ = ("_call", "_signal")

    def __init__(self, signal: Signal, call: Callable[[], object]) -> None:
        self._signal = signal
        self._call = call

    async def wait(self) -> None:
        """Waits until `wake` is called."""
        await self._signal.wait()

    def wake(self) -> None:
        """Wakes all who wait, and calls."""
        self._signal.wake()
        self._call()
