"""The server of the QUIC perf protocol, in the engine's threads: something to measure against.

A client opens a bidirectional stream, says in its first eight bytes how many it wants back, and may
send any number of its own (draft-banks-quic-performance-00). `tquic.Engine.connect_many` is a
client, and so is ``tquic perf client``; the protocol's name for ALPN is ``perf``.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tquic import _engine
from tquic.config import Config
from tquic.engine import Engine

__all__ = ["Server", "ServerStats"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerStats:
    """What a server has done so far."""

    connections: int
    """Connections whose handshake is complete."""
    requests: int
    """Streams read to their end."""
    bytes_received: int
    """Bytes of stream data received, without the first eight of each stream."""
    mismatches: int
    """Bytes among them that were not the pattern that `tquic perf` and `tquic.Pattern` send."""
    datagrams: int
    """Datagrams received (RFC 9221)."""
    datagram_bytes: int
    """Bytes of their payload."""


class Server:
    """Answers clients of the perf protocol until it is closed; Python does nothing meanwhile.

    Args:
        host: address to listen at.
        port: UDP port; 0 takes a free one, see `addresses`.
        config: with a certificate, its key, and ``perf`` among `Config.alpn`.
        engine: whose threads do the work. Default: `Engine.default`.

    Raises:
        ConfigError: the configuration is not one of a server.
        OSError: the address cannot be had.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        config: Config,
        engine: Engine | None = None,
    ) -> None:
        self._native = _engine.PerfServer(
            (engine or Engine.default())._native,
            config,
            tls=config._server_tls,
            transport=config._transport,
            host=host,
            port=port,
        )

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens."""
        return self._native.addresses

    def stats(self) -> ServerStats:
        """What it has done so far."""
        return ServerStats(**self._native.stats())

    def close(self) -> None:
        """Accepts no more connections; those that are there go on. Closing twice is fine."""
        self._native.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
