"""A server to try generators of load on."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from tquic import _engine
from tquic.config import Config
from tquic.engine import Engine
from tquic.h3._wire import ALPN
from tquic.h3.headers import HeadersLike, as_fields
from tquic.h3.prepared import prepare_response

__all__ = ["Responder"]


class Responder:
    """An HTTP/3 server that answers every request with the same response, in the engine's threads:
    faster than any server that does something. A context manager.

    Args:
        config: settings, with a certificate.
        body: content of the response.
        status: its status.
        headers: its fields.
        host: numeric address to listen at.
        port: UDP port; 0 takes a free one.
        shards: threads.

    Raises:
        OSError: the address cannot be had.
    """

    def __init__(
        self,
        config: Config,
        body: bytes = b"",
        *,
        status: int = 200,
        headers: HeadersLike | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        shards: int = 1,
    ) -> None:
        fields = [
            (b":status", b"%d" % status),
            (b"content-length", b"%d" % len(body)),
            *as_fields(headers),
        ]
        response = prepare_response(fields, body).data
        config = config.replace(alpn=(ALPN,), max_bidi_streams=1 << 12, early_data=True)
        self._engine = Engine(shards)
        try:
            self._server = _engine.H3Responder(
                self._engine._native,
                config,
                response,
                tls=config._server_tls,
                transport=config._transport,
                host=host,
                port=port,
            )
        except BaseException:
            self._engine.shutdown()
            raise

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return self._server.addresses[0]

    def close(self) -> None:
        """Closes all connections and stops listening."""
        self._engine.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
