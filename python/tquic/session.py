"""What a client remembers of servers for its next connections."""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Final

from tquic import _engine
from tquic._store import Claim, StoreFile, Ticket

__all__ = ["SessionStore"]

_TOKENS_PER_SERVER: Final = 4
_CONFIGURATIONS: Final = 16

# Stores with files: what they hold in memory is written when the process ends.
_open: weakref.WeakSet[SessionStore] = weakref.WeakSet()


class SessionStore:
    """Session tickets and address tokens that servers gave, kept in memory or in a file.

    Give one store to several configurations (`Config.session_store`): later connections to a known
    server then resume the TLS session, skip address validation (RFC 9000 section 8.1.3), and may
    send early data (`Config.early_data`). Every ticket and token is used once. Safe to use from
    several threads.

    In memory, a ticket serves only configurations with the same TLS settings as the one it came
    under. From a file, it serves every configuration that trusts the server's certificate, which
    is verified again.

    The file may be shared by several processes: each ticket goes to one of them. It is replaced as
    a whole, so that it is never seen half written, and readable for its owner only: who has it can
    act as this client and read what it sends early. It is written when a connection of `connect`
    ends, by `save`, and when the process ends. One that cannot be understood counts as empty, with
    a warning in the log ``tquic.session``.

    Args:
        servers: servers remembered; the oldest make room. Default 256.
        path: the file. Default none: memory only.
    """

    def __init__(self, servers: int = 256, *, path: str | os.PathLike[str] | None = None) -> None:
        if servers < 1:
            raise ValueError("servers must be at least 1")
        self._servers = servers
        self._file = None if path is None else StoreFile(path, servers)
        self._tickets = _engine.TicketStore(servers, saving=self._file is not None)
        self._lock = threading.Lock()
        self._tokens: OrderedDict[tuple[str, int], deque[bytes]] = OrderedDict()
        # Tickets are bound to the TLS configuration under which they came.
        self._configurations: OrderedDict[Hashable, _engine.ClientTls] = OrderedDict()
        if self._file is not None:
            _open.add(self)

    def __len__(self) -> int:
        """Session tickets that are kept."""
        return len(self._tickets) + (self._file.count() if self._file is not None else 0)

    def __repr__(self) -> str:
        where = f" in {self._file.path}" if self._file is not None else ""
        return f"<SessionStore with {len(self)} tickets{where}>"

    @property
    def problem(self) -> str | None:
        """What is wrong with the file, for people; `None` if nothing is."""
        return self._file.problem if self._file is not None else None

    def clear(self) -> None:
        """Forgets everything: later connections cannot be linked to earlier ones."""
        self._tickets.clear()
        with self._lock:
            self._tokens.clear()
            if self._file is not None:
                self._file.clear()

    def save(self) -> None:
        """Writes to the file what has come since the last time. In memory, it does nothing.

        A file that cannot be written is a warning in the log, see `problem`; nothing is lost then
        but what was not saved.
        """
        if self._file is not None:
            with self._lock:
                self._exchange()

    def _save_all(self) -> None:
        """Also what was meant for connections that never began."""
        with self._lock:
            self._exchange(all=True)

    def knows(self, server_name: str) -> bool:
        """Whether there is a ticket for a server in the file (not: in memory)."""
        return self._file is not None and self._file.knows(server_name)

    def _claim(self, server_name: str, server: tuple[str, int]) -> None:
        """Takes from the file what one connection needs, so that no other does."""
        if self._file is not None:
            with self._lock:
                self._exchange(server_name, server)

    def _exchange(
        self,
        server_name: str | None = None,
        server: tuple[str, int] | None = None,
        *,
        all: bool = False,
    ) -> None:
        assert self._file is not None
        # What was claimed stays: the connections that it is for begin in the engine's threads.
        tickets = [Ticket(*row) for row in self._tickets.take_out(all)]
        tokens = {address: list(queue) for address, queue in self._tokens.items()}
        if not tickets and not tokens and server_name is None:
            return
        self._tokens.clear()
        claim = self._file.exchange(tickets, tokens, Claim(server_name, server), time.time())
        for ticket in claim.tickets:
            self._tickets.put_in(ticket.content)
        for address, queue in claim.tokens.items():
            self._tokens[address] = deque(queue, maxlen=_TOKENS_PER_SERVER)

    def _client_tls(
        self, key: Hashable, make: Callable[[_engine.TicketStore], _engine.ClientTls]
    ) -> _engine.ClientTls:
        with self._lock:
            tls = self._configurations.get(key)
            if tls is None:
                tls = self._configurations[key] = make(self._tickets)
                if len(self._configurations) > _CONFIGURATIONS:
                    self._configurations.popitem(last=False)
            else:
                self._configurations.move_to_end(key)
            return tls

    def _put_token(self, server: tuple[str, int], token: bytes) -> None:
        with self._lock:
            tokens = self._tokens.setdefault(server, deque(maxlen=_TOKENS_PER_SERVER))
            tokens.append(token)
            self._tokens.move_to_end(server)
            if len(self._tokens) > self._servers:
                self._tokens.popitem(last=False)

    def _take_token(self, server: tuple[str, int]) -> bytes:
        with self._lock:
            tokens = self._tokens.get(server)
            return tokens.pop() if tokens else b""


def _save_all() -> None:
    for store in list(_open):
        store._save_all()


atexit.register(_save_all)
