"""What the header section of a request says."""

from __future__ import annotations

from tquic.h3.headers import Headers
from tquic.h3.server._exchange import Exchange

__all__ = ["RequestHead"]


class RequestHead:
    """A request's pseudo-fields (RFC 9114 section 4.3.1), its other fields, and who sent it."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._event = exchange.request
        self.headers = Headers(self._event.fields)
        """Its fields, without pseudo-fields."""

    @property
    def authority(self) -> str:
        """Host and port for which the request is meant."""
        return (self._event.authority or b"").decode("latin-1")

    @property
    def target(self) -> str:
        """Path and query, as the client wrote them."""
        return (self._event.path or b"").decode("latin-1")

    @property
    def path(self) -> str:
        """The path, as the client wrote it: percent-encoded."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """What stands behind the question mark."""
        return self.target.partition("?")[2]

    @property
    def client(self) -> tuple[str, int]:
        """The client's address."""
        return self._exchange.connection.remote_address
