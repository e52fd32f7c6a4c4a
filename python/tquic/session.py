"""What a client remembers of servers for its next connections."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable

from tquic import _engine

__all__ = ["SessionStore"]

_TOKENS_PER_SERVER = 4
_CONFIGURATIONS = 16


class SessionStore:
    """Session tickets and address tokens that servers gave, kept in memory.

    Give one store to several configurations (`Config.session_store`): later connections to a known
    server then resume the TLS session, skip address validation (RFC 9000 section 8.1.3), and may
    send early data (`Config.early_data`). Every ticket and token is used once.

    A ticket serves only configurations with the same TLS settings as the one it came under. Safe
    to use from several threads.

    Args:
        servers: servers remembered; the oldest make room. Default 256.
    """

    def __init__(self, servers: int = 256) -> None:
        if servers < 1:
            raise ValueError("servers must be at least 1")
        self._servers = servers
        self._tickets = _engine.TicketStore(servers)
        self._lock = threading.Lock()
        self._tokens: OrderedDict[tuple[str, int], deque[bytes]] = OrderedDict()
        # Tickets are bound to the TLS configuration under which they came.
        self._configurations: OrderedDict[Hashable, _engine.ClientTls] = OrderedDict()

    def __len__(self) -> int:
        """Session tickets that are kept."""
        return len(self._tickets)

    def __repr__(self) -> str:
        return f"<SessionStore with {len(self)} tickets>"

    def clear(self) -> None:
        """Forgets everything: later connections cannot be linked to earlier ones."""
        self._tickets.clear()
        with self._lock:
            self._tokens.clear()

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
