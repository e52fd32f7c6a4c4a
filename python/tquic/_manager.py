"""Paths that come and go with the interfaces of this machine; see `tquic.multipath`."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fnmatch
import logging
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from tquic._netlink import Interface, interfaces, news
from tquic.errors import ConnectionClosed, PathError

if TYPE_CHECKING:
    from tquic.connection import Connection

__all__ = ["PathChoice", "PathManager", "PathPolicy"]

_logger = logging.getLogger("tquic.multipath")

# Seconds between two looks without news: a path may end for other reasons.
_LOOK: Final = 1.0
# Seconds until an interface whose path failed is tried again; twice as long each time.
_RETRY, _MAX_RETRY = 2.0, 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class PathChoice:
    """A path that there should be."""

    interface: str
    """The interface to send through."""
    backup: bool = False
    """See `Connection.add_path`."""
    weight: int | None = None
    """See `Connection.add_path`."""


@dataclass(frozen=True, kw_only=True)
class PathPolicy:
    """Which interfaces carry paths: by their names, as patterns of `fnmatch`.

    A subclass with another `choose` may decide by anything: addresses, time of day, price.
    """

    include: Sequence[str] = ("*",)
    """Interfaces to use. Default all."""
    exclude: Sequence[str] = ("docker*", "veth*", "virbr*", "br-*", "tun*", "tap*", "wg*")
    """Interfaces not to use, although they are included. Default: those of containers, virtual
    machines and tunnels. Loopback is never used."""
    metered: Sequence[str] = ("wwan*", "ppp*", "rmnet*")
    """Interfaces that cost money: their paths are backups. Default: mobile networks."""
    maximum: int = 4
    """Paths at a time. Default 4."""

    def choose(self, usable: Sequence[Interface]) -> Sequence[PathChoice]:
        """The paths that there should be, the most wanted first.

        Args:
            usable: the interfaces that run and have an address of the server's family; loopback is
                not among them.
        """
        included = [i.name for i in usable if _matches(i.name, self.include)]
        names = [name for name in included if not _matches(name, self.exclude)]
        # Metered ones last: the others come first where there are too many.
        names.sort(key=lambda name: _matches(name, self.metered))
        return [
            PathChoice(interface=name, backup=_matches(name, self.metered))
            for name in names[: self.maximum]
        ]


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


@dataclass
class _Held:
    """An interface and its path."""

    choice: PathChoice
    path: int | None = None
    opening: asyncio.Task[None] | None = None
    retry_at: float = 0.0
    pause: float = field(default=_RETRY)


class PathManager:
    """Client: adds a path for each interface that a policy wants, and removes it with that.

    It is a context manager for as long as the connection is to be managed, in the connection's
    asyncio loop; Linux only::

        async with PathManager(connection, PathPolicy(exclude=["wlan*"])):
            ...

    Only paths that it has opened are removed, and that of the handshake when its interface is gone
    and another path works.

    Args:
        connection: both ends must allow several paths.
        policy: which interfaces to use. Default `PathPolicy()`.

    Raises:
        OSError: this system has no rtnetlink.
    """

    def __init__(self, connection: Connection, policy: PathPolicy | None = None) -> None:
        self._connection = connection
        self._policy = policy or PathPolicy()
        self._held: dict[str, _Held] = {}
        self._news = news()
        self._task: asyncio.Task[None] | None = None

    @property
    def paths(self) -> dict[str, int]:
        """Path IDs of the interfaces that have a path."""
        return {name: held.path for name, held in self._held.items() if held.path is not None}

    async def __aenter__(self) -> Self:
        if first := self._first_interface():
            self._held[first] = _Held(PathChoice(interface=first), path=0)
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        tasks = [self._task, *(held.opening for held in self._held.values())]
        for task in tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*(t for t in tasks if t is not None), return_exceptions=True)
        self._news.close()

    def _first_interface(self) -> str | None:
        """The interface of the handshake's path: the one that routes lead through."""
        host, port = self._connection.remote_address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with (
            contextlib.suppress(OSError),
            socket.socket(family, socket.SOCK_DGRAM) as asked,
        ):
            if self._connection.config.paths:
                address, interface = self._connection.config._local_addresses[0]
                if interface is not None:
                    return interface
                if address is not None:
                    asked.bind(address)
            asked.connect((host, port))
            local = asked.getsockname()[0]
            return next((i.name for i in interfaces() if local in i.addresses), None)
        return None

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._reconcile(loop.time())
                await self._news_or_time(loop)
        except ConnectionClosed:
            pass
        except OSError as error:
            _logger.warning("the interfaces cannot be watched any more: %s", error)

    async def _news_or_time(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            async with asyncio.timeout(_LOOK):
                await loop.sock_recv(self._news, 1 << 16)
        except TimeoutError:
            pass
        except OSError as error:
            # There was more news than the socket holds: all of it is looked at now.
            if error.errno != errno.ENOBUFS:
                raise

    async def _reconcile(self, now: float) -> None:
        # One that comes to be while they are asked for has not ended.
        known = set(self.paths.values())
        alive = {p.id for p in await self._connection.paths() if p.state != "abandoned"}
        v6 = ":" in self._connection.remote_address[0]
        usable = [
            i
            for i in interfaces()
            if i.running and not i.loopback and any((":" in a) == v6 for a in i.addresses)
        ]
        wanted = {choice.interface: choice for choice in self._policy.choose(usable)}
        for name, held in list(self._held.items()):
            if held.path in known - alive:
                held.path, held.retry_at = None, now + held.pause
            if name not in wanted and held.opening is None:
                self._drop(name, held, gone=not any(i.name == name for i in usable))
        for name, choice in wanted.items():
            held = self._held.setdefault(name, _Held(choice))
            if held.path is None and held.opening is None and now >= held.retry_at:
                held.opening = asyncio.create_task(self._open(held, choice))
            elif held.path is not None and held.choice.backup != choice.backup:
                with contextlib.suppress(PathError):
                    self._connection.set_path_status(held.path, backup=choice.backup)
            held.choice = choice

    async def _open(self, held: _Held, choice: PathChoice) -> None:
        options: dict[str, Any] = {"backup": choice.backup, "weight": choice.weight}
        try:
            held.path = await self._connection.add_path(interface=choice.interface, **options)
            held.pause = _RETRY
        except ConnectionClosed:
            pass
        except (PathError, OSError) as error:
            _logger.info("no path through %s: %s", choice.interface, error)
            held.retry_at = asyncio.get_running_loop().time() + held.pause
            held.pause = min(2 * held.pause, _MAX_RETRY)
        finally:
            held.opening = None

    def _drop(self, name: str, held: _Held, *, gone: bool) -> None:
        # The handshake's path may be none of ours to choose: it ends with its interface only.
        if held.path is not None and (held.path != 0 or gone):
            try:
                self._connection.remove_path(held.path)
            except PathError:
                # The only one: perhaps later.
                return
        if held.path != 0 or gone:
            del self._held[name]
