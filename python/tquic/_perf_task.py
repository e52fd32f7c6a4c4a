"""What a client of the perf protocol does."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PerfTask"]


@dataclass
class PerfTask:
    """What `tquic._engine.perf_run` reads: exactly one kind of work."""

    requests: int | None = None
    handshakes: int | None = None
    datagrams: int | None = None
    download: int | None = None
    upload: int | None = None
    duration: float | None = None
    streams: int = 1
    inflight: int = 1
    response: int = 0
    handshake_kind: str = "full"
    datagram_size: int = 0
    connections: int = 1
