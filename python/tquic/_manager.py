"""Paths that come and go with the interfaces of this machine; see `tquic.multipath`."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fnmatch
import logging
import socket
from collections.abc import Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from tquic._netlink import Interface, interfaces, news
from tquic.errors import ConnectionClosed, PathError

if TYPE_CHECKING:
    from tquic.config import Config
    from tquic.connection import Connection
    from tquic.stats import PathStats

__all__ = [
    "Follower",
    "PathChoice",
    "PathManager",
    "PathPolicy",
    "interface_to",
    "usable_interfaces",
]

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
    opening: bool = False
    retry_at: float = 0.0
    pause: float = field(default=_RETRY)


class _Managed(Protocol):
    """What a connection must have, whichever way it waits."""

    @property
    def config(self) -> Config: ...

    @property
    def remote_address(self) -> tuple[str, int]: ...

    def remove_path(self, path: int) -> None: ...

    def set_path_status(self, path: int, *, backup: bool) -> None: ...


class Follower:
    """Which interface has which path, and which should have one: what path managers do that does
    not wait."""

    def __init__(self, connection: _Managed, policy: PathPolicy | None) -> None:
        self._managed = connection
        self._policy = policy or PathPolicy()
        self._held: dict[str, _Held] = {}
        self._news = news()

    @property
    def paths(self) -> dict[str, int]:
        """Path IDs of the interfaces that have a path."""
        held = list(self._held.items())
        return {name: one.path for name, one in held if one.path is not None}

    def _begin(self) -> None:
        if first := self._first_interface():
            self._held[first] = _Held(PathChoice(interface=first), path=0)

    def _first_interface(self) -> str | None:
        """The interface of the handshake's path: the one that routes lead through."""
        address = None
        if self._managed.config.paths:
            address, interface = self._managed.config._local_addresses[0]
            if interface is not None:
                return interface
        return interface_to(*self._managed.remote_address, address)

    def _take_news(self) -> None:
        try:
            while self._news.recv(1 << 16):
                pass
        except BlockingIOError:
            pass
        except OSError as error:
            # There was more news than the socket holds: all of it is looked at now.
            if error.errno != errno.ENOBUFS:
                raise

    def _reconcile(
        self, now: float, known: set[int], paths: Sequence[PathStats]
    ) -> list[tuple[_Held, PathChoice]]:
        """Does what the interfaces ask for, but for what is to be opened, which it answers. `known`
        are the paths from before `paths` were asked for: one that came to be since has not ended.
        """
        ended = known - {path.id for path in paths if path.state != "abandoned"}
        usable = usable_interfaces(v6=":" in self._managed.remote_address[0])
        wanted = {choice.interface: choice for choice in self._policy.choose(usable)}
        for name, held in list(self._held.items()):
            if held.path in ended:
                held.path, held.retry_at = None, now + held.pause
            if name not in wanted and not held.opening:
                self._drop(name, held, gone=not any(i.name == name for i in usable))
        missing: list[tuple[_Held, PathChoice]] = []
        for name, choice in wanted.items():
            held = self._held.setdefault(name, _Held(choice))
            if held.path is None and not held.opening and now >= held.retry_at:
                held.opening = True
                missing.append((held, choice))
            elif held.path is not None and held.choice.backup != choice.backup:
                with contextlib.suppress(PathError):
                    self._managed.set_path_status(held.path, backup=choice.backup)
            held.choice = choice
        return missing

    def _drop(self, name: str, held: _Held, *, gone: bool) -> None:
        # The handshake's path may be none of ours to choose: it ends with its interface only.
        if held.path is not None and (held.path != 0 or gone):
            try:
                self._managed.remove_path(held.path)
            except PathError:
                # The only one: perhaps later.
                return
        if held.path != 0 or gone:
            del self._held[name]

    @contextlib.contextmanager
    def _opening(self, held: _Held, clock: Callable[[], float]) -> Generator[None]:
        """While a path is being opened, which may fail."""
        try:
            yield
            held.pause = _RETRY
        except ConnectionClosed:
            pass
        except (PathError, OSError) as error:
            _logger.info("no path through %s: %s", held.choice.interface, error)
            held.retry_at = clock() + held.pause
            held.pause = min(2 * held.pause, _MAX_RETRY)
        finally:
            held.opening = False


def interface_to(host: str, port: int, local: tuple[str, int] | None = None) -> str | None:
    """The interface that routes lead through to a numeric address; nothing is sent."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as asked:
        if local is not None:
            asked.bind(local)
        asked.connect((host, port))
        mine = asked.getsockname()[0]
        return next((one.name for one in interfaces() if mine in one.addresses), None)
    return None


def usable_interfaces(*, v6: bool) -> list[Interface]:
    """Those that run, lead elsewhere, and have an address of the family.

    Raises:
        OSError: this system has no rtnetlink.
    """
    return [
        one
        for one in interfaces()
        if one.running and not one.loopback and any((":" in a) == v6 for a in one.addresses)
    ]


class PathManager(Follower):
    """Client: adds a path for each interface that a policy wants, and removes it with that.

    It is a context manager for as long as the connection is to be managed, in the connection's
    asyncio loop; Linux only::

        async with PathManager(connection, PathPolicy(exclude=["wlan*"])):
            ...

    Only paths that it has opened are removed, and that of the handshake when its interface is gone
    and another path works. `tquic.sync.PathManager` is the same for threads.

    Args:
        connection: both ends must allow several paths.
        policy: which interfaces to use. Default `PathPolicy()`.

    Raises:
        OSError: this system has no rtnetlink.
    """

    def __init__(self, connection: Connection, policy: PathPolicy | None = None) -> None:
        super().__init__(connection, policy)
        self._connection = connection
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._begin()
        self._start(self._run())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._news.close()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                known = set(self.paths.values())
                paths = await self._connection.paths()
                for held, choice in self._reconcile(loop.time(), known, paths):
                    self._start(self._open(held, choice))
                await self._news_or_time(loop)
        except ConnectionClosed:
            pass
        except OSError as error:
            _logger.warning("the interfaces cannot be watched any more: %s", error)

    async def _news_or_time(self, loop: asyncio.AbstractEventLoop) -> None:
        told = asyncio.Event()
        loop.add_reader(self._news, told.set)
        try:
            async with asyncio.timeout(_LOOK):
                await told.wait()
        except TimeoutError:
            pass
        finally:
            loop.remove_reader(self._news)
        self._take_news()

    async def _open(self, held: _Held, choice: PathChoice) -> None:
        with self._opening(held, asyncio.get_running_loop().time):
            held.path = await self._connection.add_path(
                interface=choice.interface, backup=choice.backup, weight=choice.weight
            )
