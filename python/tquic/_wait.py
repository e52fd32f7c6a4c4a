"""Tasks that wait for the same thing."""

from __future__ import annotations

import asyncio

__all__ = ["Waiters"]


class Waiters:
    """Futures of tasks that wait; woken, they look for themselves whether it has come."""

    __slots__ = ("_futures", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._futures: set[asyncio.Future[None]] = set()

    async def wait(self) -> None:
        """Waits until `wake` is called."""
        future = self._loop.create_future()
        self._futures.add(future)
        try:
            await future
        finally:
            self._futures.discard(future)

    def wake(self) -> None:
        """Wakes all who wait."""
        for future in self._futures:
            if not future.done():
                future.set_result(None)
