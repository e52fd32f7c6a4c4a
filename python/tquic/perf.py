"""Measuring: the perf protocol (draft-banks-quic-performance), native at both ends.

No Python runs while bytes do: what these functions measure is the engine. They block; the GIL is
free meanwhile, so another thread may go on, or end a run with `Engine.shutdown`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, Self, TypeAlias, TypedDict

from tquic import _engine
from tquic.config import Config
from tquic.engine import Engine
from tquic.errors import ConfigError

__all__ = [
    "ALPN",
    "Bulk",
    "Datagrams",
    "Handshakes",
    "Latency",
    "Load",
    "Path",
    "Report",
    "Requests",
    "Server",
    "Totals",
    "run",
]

ALPN: Final = "perf"
"""The protocol's name: `run` and `Server` set it themselves."""


@dataclass(frozen=True, kw_only=True)
class Bulk:
    """Bytes up and down, both at the same time if both are given."""

    download: int | None = None
    """Bytes to get, over all streams. With a duration, `None` is as many as there is time for."""
    upload: int | None = None
    """Bytes to send, over all streams."""
    streams: int = 1
    """Streams at a time."""
    duration: float | None = None
    """Stop after so many seconds."""


@dataclass(frozen=True, kw_only=True)
class Requests:
    """Small exchanges: 8 bytes there, some back, each on a stream of its own."""

    total: int | None = None
    """How many; `None` for as many as `duration` allows."""
    inflight: int = 1
    """How many at a time."""
    response: int = 32
    """Bytes of each answer."""
    duration: float | None = None
    """Begin no more after so many seconds."""


@dataclass(frozen=True, kw_only=True)
class Handshakes:
    """Connections that only begin, one after the other."""

    count: int
    """How many."""
    kind: Literal["full", "resumed", "0rtt"] = "full"
    """Whether sessions are resumed, and whether a request goes out with early data."""


@dataclass(frozen=True, kw_only=True)
class Datagrams:
    """Unreliable datagrams to the server."""

    count: int
    """How many."""
    size: int = 1200
    """Bytes of each; cut down to what a packet takes."""


Load: TypeAlias = Bulk | Requests | Handshakes | Datagrams


class Latency(TypedDict):
    """Latencies in microseconds."""

    p50: float
    p90: float
    p99: float
    p99_9: float
    max: float


class Path(TypedDict):
    """A path at the end of a run."""

    id: int
    local: tuple[str, int]
    remote: tuple[str, int]
    bytes: int
    srtt_us: float
    lost: int
    mtu: int


class Report(TypedDict):
    """What a run measured, under the keys of the command line's JSON."""

    bytes: int
    seconds: float
    gbps: float
    verified: bool
    packets_sent: int
    packets_received: int
    packets_per_send_call: float
    packets_per_receive_call: float
    cpu_seconds: float
    max_rss_bytes: int
    lost_packets: int
    rate_per_second: float
    latency_us: Latency | None
    paths: list[Path]


class Totals(TypedDict):
    """What a server counted."""

    connections: int
    requests: int
    bytes_received: int
    mismatches: int
    datagrams: int
    datagram_bytes: int


def run(
    address: tuple[str, int],
    load: Load,
    *,
    config: Config | None = None,
    engine: Engine | None = None,
    server_name: str | None = None,
    connections: int = 1,
    local: tuple[str, int] | None = None,
    interface: str | None = None,
) -> Report:
    """Runs a load against a perf server and waits for its end.

    Args:
        address: numeric address and port of the server.
        load: what to do.
        config: settings; its `alpn` is replaced. Resumed handshakes need a `session_store`.
        engine: threads to use. Default: those of the process.
        server_name: name that the certificate must be for. Default: that of `config`, else the
            address.
        connections: connections at a time, each with the whole load. Default 1.
        local: numeric address and port to send from.
        interface: network interface to send through; only together with `local`.

    Raises:
        ConnectionClosed: a connection ended early.
        ConfigError: a setting cannot be used.
    """
    if isinstance(load, Bulk) and load.download is load.upload is load.duration is None:
        raise ConfigError("give a download, an upload or a duration")
    early = isinstance(load, Handshakes) and load.kind == "0rtt"
    config = (config or Config()).replace(alpn=(ALPN,))
    if early:
        config = config.replace(early_data=True)
    store = config.session_store
    report: Report = _engine.perf_client(
        (engine or Engine.default())._native,
        address,
        server_name or config.server_name or address[0],
        config._transport,
        config._client_tls,
        load,
        tickets=store._tickets if store is not None else None,
        connections=connections,
        local=local,
        interface=interface,
    )
    return report


class Server:
    """A perf server: it listens from its making until `close`."""

    def __init__(
        self, host: str, port: int, *, config: Config, engine: Engine | None = None
    ) -> None:
        """Listens at a numeric address; port 0 picks a port.

        Args:
            host: numeric address.
            port: UDP port.
            config: settings; its `alpn` is replaced.
            engine: threads to use. Default: those of the process.

        Raises:
            ConfigError: a setting cannot be used.
            OSError: the address is taken, or not ours.
        """
        config = config.replace(alpn=(ALPN,))
        self._native = _engine.PerfServer(
            (engine or Engine.default())._native,
            host,
            port,
            config,
            config._transport,
            config._server_tls,
        )

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return self._native.addresses[0]

    def totals(self) -> Totals:
        """What it has counted so far."""
        totals: Totals = self._native.totals()
        return totals

    def close(self) -> None:
        """Takes no more connections; those that are there go on."""
        self._native.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
