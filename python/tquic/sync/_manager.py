"""Paths that come and go with the interfaces of this machine, for connections that block."""

from __future__ import annotations

import logging
import select
import threading
import time
from types import TracebackType
from typing import Self

from tquic import _manager
from tquic._manager import Follower, PathPolicy
from tquic.errors import ConnectionClosed
from tquic.sync._home import Bell
from tquic.sync.connection import Connection

__all__ = ["PathManager"]

_logger = logging.getLogger("tquic.multipath")


class PathManager(Follower):
    """Client: adds a path for each interface that a policy wants, and removes it with that.

    The twin of `tquic.multipath.PathManager`, with a thread of its own; Linux only::

        with PathManager(connection, PathPolicy(exclude=["wlan*"])):
            ...

    Leaving it waits for a path that is just being opened: three seconds at most, or three probe
    timeouts where those are longer.

    Args:
        connection: both ends must allow several paths.
        policy: which interfaces to use. Default `PathPolicy()`.

    Raises:
        OSError: this system has no rtnetlink.
    """

    def __init__(self, connection: Connection, policy: PathPolicy | None = None) -> None:
        super().__init__(connection, policy)
        self._connection = connection
        self._over = False
        self._bell = Bell()
        self._thread = threading.Thread(target=self._run, name="tquic-paths", daemon=True)

    def __enter__(self) -> Self:
        self._begin()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over = True
        self._bell.ring()
        self._thread.join()
        self._bell.close()
        self._news.close()

    def _run(self) -> None:
        # Timeouts of the connection are those of its user's calls.
        connection, inner = self._connection, self._connection._inner
        run = connection._home.run
        try:
            while not self._over:
                known = set(self.paths.values())
                paths = run(inner.paths(), None)
                for held, choice in self._reconcile(time.monotonic(), known, paths):
                    with self._opening(held, time.monotonic):
                        held.path = run(
                            inner.add_path(
                                interface=choice.interface,
                                backup=choice.backup,
                                weight=choice.weight,
                            ),
                            None,
                        )
                self._news_or_time()
        except ConnectionClosed:
            pass
        except OSError as error:
            _logger.warning("the interfaces cannot be watched any more: %s", error)

    def _news_or_time(self) -> None:
        # Looked up at each call: gevent replaces it.
        poller = select.poll()
        poller.register(self._news, select.POLLIN)
        poller.register(self._bell, select.POLLIN)
        poller.poll(_manager._LOOK * 1000)
        self._take_news()
