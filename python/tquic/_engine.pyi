from collections.abc import Sequence
from typing import Any, Final, TypeAlias, TypedDict, final, type_check_only

from _typeshed import ReadableBuffer, StrPath

from tquic.config import ClientMaterial, Config, ServerMaterial

__all__ = [
    "ACCEPTED",
    "CLOSED",
    "CONNECTED",
    "DATA",
    "DATAGRAM",
    "DATAGRAMS_WRITABLE",
    "FINISHED",
    "LOG",
    "MIGRATED",
    "NEW_TOKEN",
    "PATH",
    "PATHS_AVAILABLE",
    "PATH_FAILED",
    "PING_ACKED",
    "PUMPED",
    "RESET",
    "STATS",
    "STOPPED",
    "STREAM_OPENED",
    "STREAM_READY",
    "TICKET_RECEIVED",
    "WRITABLE",
    "ZERO_RTT_REJECTED",
    "ClientTls",
    "Connection",
    "ConnectionSet",
    "Engine",
    "Histogram",
    "HqFetch",
    "HqPipe",
    "HqServer",
    "Hub",
    "PerfServer",
    "RequestRun",
    "ServerTls",
    "TicketStore",
    "Transport",
    "__version__",
    "build_info",
    "cpu_features",
    "crypto_backends",
    "held_buffers",
    "make_certificates",
    "perf_mismatches",
    "perf_pattern",
    "perf_run",
    "probe_udp",
    "public_key_pin",
    "raw_udp_rate",
    "seal_rates",
]

_Address: TypeAlias = tuple[str, int]
# The connection's key, the kind, and what belongs to it.
_Event: TypeAlias = tuple[int, int, Any, Any, Any]

@type_check_only
class _BuildInfo(TypedDict):
    version: str
    debug: bool
    target: str

__version__: Final[str]
"""The version of the package, such as ``"0.1.0"``."""

LOG: Final[int]
ACCEPTED: Final[int]
CONNECTED: Final[int]
ZERO_RTT_REJECTED: Final[int]
STREAM_OPENED: Final[int]
STREAM_READY: Final[int]
DATA: Final[int]
WRITABLE: Final[int]
FINISHED: Final[int]
RESET: Final[int]
STOPPED: Final[int]
PUMPED: Final[int]
DATAGRAM: Final[int]
DATAGRAMS_WRITABLE: Final[int]
MIGRATED: Final[int]
PATH: Final[int]
PATHS_AVAILABLE: Final[int]
PATH_FAILED: Final[int]
NEW_TOKEN: Final[int]
STATS: Final[int]
CLOSED: Final[int]
TICKET_RECEIVED: Final[int]
PING_ACKED: Final[int]

def build_info() -> _BuildInfo:
    """What this binary is: `version`, `debug` (compiled with debug assertions) and `target` (the
    Rust target triple it was compiled for).
    """

def cpu_features() -> dict[str, bool]: ...
def crypto_backends() -> dict[str, str]: ...
def held_buffers() -> int: ...
def make_certificates(names: list[str], days: int) -> tuple[str, str, str]: ...
def perf_mismatches(data: ReadableBuffer, offset: int, /) -> int: ...
def perf_pattern() -> bytes: ...
def public_key_pin(certificate: bytes, /) -> str: ...
def perf_run(
    engine: Engine,
    task: Any,
    /,
    *,
    tls: ClientTls,
    transport: Transport,
    server_name: str,
    host: str,
    port: int,
    tickets: TicketStore | None = None,
) -> dict[str, Any]: ...
def probe_udp(host: str, *, socket_buffer: int = ...) -> dict[str, Any]: ...
def raw_udp_rate(seconds: float) -> dict[str, Any]: ...
def seal_rates(seconds: float) -> dict[str, float | None]: ...

@final
class Transport:
    def __new__(cls, config: Config, /) -> Transport: ...

@final
class TicketStore:
    def __new__(cls, servers: int, /, *, saving: bool = False) -> TicketStore: ...
    def take_out(self) -> list[tuple[str, int, int, bytes]]: ...
    def put_in(self, ticket: bytes, /) -> bool: ...
    def __len__(self) -> int: ...
    def clear(self) -> None: ...

@final
class ClientTls:
    def __new__(cls, config: Config, material: ClientMaterial, /) -> ClientTls: ...

@final
class ServerTls:
    def __new__(cls, config: Config, material: ServerMaterial, /) -> ServerTls: ...

@final
class Engine:
    def __new__(
        cls,
        shards: int = 1,
        *,
        cpus: list[int] = ...,
        spin: float = 0.0,
        gso: bool = True,
        gro: bool = True,
        socket_buffer: int = ...,
    ) -> Engine: ...
    @property
    def shards(self) -> int: ...
    def take_messages(self) -> list[str]: ...
    def stats(self) -> list[dict[str, Any]]: ...
    def shutdown(self, patience: float = 0.0, code: int = 0, reason: bytes = ...) -> None: ...

@final
class Hub:
    def __new__(cls, engine: Engine, /) -> Hub: ...
    def fileno(self) -> int: ...
    def poll(self, max: int, /) -> list[_Event]: ...
    def wait(self, timeout: float | None = None, /) -> bool: ...
    def connect(
        self,
        remote: _Address,
        server_name: str,
        transport: Transport,
        tls: ClientTls,
        /,
        *,
        local: _Address | None = None,
        interface: str | None = None,
        token: bytes = ...,
        begin: bool = True,
    ) -> Connection: ...
    def listen(
        self,
        host: str,
        port: int,
        config: Config,
        transport: Transport,
        tls: ServerTls,
        /,
    ) -> tuple[int, list[_Address]]: ...
    def unlisten(self, listener: int, /) -> None: ...

@final
class Connection:
    @property
    def key(self) -> int: ...
    @property
    def is_client(self) -> bool: ...
    @property
    def max_datagram(self) -> int: ...
    def begin(self) -> None: ...
    def open(self, bidirectional: bool, /) -> int: ...
    def write(self, stream: int, data: ReadableBuffer, /, share: bool = False) -> int: ...
    def buffered(self, stream: int, /) -> int: ...
    def notify_below(self, stream: int, bytes: int, /) -> bool: ...
    def finish(self, stream: int, /) -> None: ...
    def reset(self, stream: int, code: int, /) -> None: ...
    def stop(self, stream: int, code: int, /) -> None: ...
    def set_priority(self, stream: int, urgency: int, incremental: bool, /) -> None: ...
    def consumed(self, stream: int, bytes: int, /) -> None: ...
    def send_file(self, stream: int, path: StrPath, offset: int, size: int | None, /) -> int: ...
    def recv_to_file(self, stream: int, path: StrPath, offset: int, position: int, /) -> None: ...
    def send_datagram(self, data: ReadableBuffer, /) -> bool: ...
    def consumed_datagrams(self, count: int, bytes: int, /) -> None: ...
    def ping(self) -> None: ...
    def hurry(self) -> None: ...
    def change_connection_id(self) -> None: ...
    def set_congestion(self, name: str, path: int | None, /) -> None: ...
    def control_congestion(self, path: int | None, /) -> int: ...
    def next_batch(self, ticket: int, /) -> tuple[int, dict[str, Any]] | None: ...
    def decide(
        self, path: int, sequence: int, window: int | None, pacing_rate: int | None, /
    ) -> None: ...
    def request_stats(self, tag: int, /) -> None: ...
    def close(self, code: int, reason: bytes, /) -> None: ...
    def migrate(self, local: _Address | None, interface: str | None, /) -> None: ...
    def open_path(
        self, local: _Address | None, interface: str | None, remote: _Address | None, /
    ) -> int | None: ...
    def abandon_path(self, id: int, code: int, /) -> None: ...
    def set_path_backup(self, id: int, backup: bool, /) -> None: ...
    def update_keys(self) -> bool: ...

@final
class Histogram:
    def __new__(cls) -> Histogram: ...
    @staticmethod
    def from_bytes(data: bytes, /) -> Histogram: ...
    def to_bytes(self) -> bytes: ...
    def record_ns(self, nanos: int, /) -> None: ...
    def merge(self, other: Histogram, /) -> None: ...
    def quantile_ns(self, quantile: float, /) -> int: ...
    @property
    def max_ns(self) -> int: ...
    @property
    def mean_ns(self) -> float: ...
    def buckets(self) -> list[tuple[int, int]]: ...
    def __len__(self) -> int: ...

@final
class ConnectionSet:
    def __new__(
        cls,
        engine: Engine,
        remote: _Address,
        count: int,
        server_name: str,
        transport: Transport,
        tls: ClientTls,
        /,
        *,
        local_addresses: list[str],
        sockets: int,
        handshakes: int,
        rate: float | None,
        events: int,
        capacity: int,
    ) -> ConnectionSet: ...
    def fileno(self) -> int: ...
    def poll(self, max: int, /) -> memoryview: ...
    def wait(self, timeout: float | None = None, /) -> bool: ...
    def wait_connected(self, timeout: float | None = None, /) -> bool: ...
    def counts(self) -> tuple[int, int, int, int, int]: ...
    def dropped(self) -> int: ...
    def handshakes(self) -> Histogram: ...
    def reasons(self) -> dict[str, int]: ...
    def requests(
        self,
        requests: Sequence[tuple[ReadableBuffer, int]],
        /,
        *,
        connections: list[int] | None,
        count: int | None,
        duration: float | None,
        rate: float | None,
        poisson: bool,
        seed: int,
        in_flight: int,
        response: str,
        expect: int | None,
        latencies: int,
    ) -> RequestRun: ...
    def close(self, code: int, reason: bytes, connections: list[int] | None, /) -> None: ...

@final
class RequestRun:
    @property
    def number(self) -> int: ...
    @property
    def done(self) -> bool: ...
    def wait(self, timeout: float | None = None, /) -> bool: ...
    def stop(self) -> None: ...
    def stats(self) -> dict[str, Any]: ...
    def histogram(self) -> Histogram: ...
    def service_histogram(self) -> Histogram: ...
    def latencies(self) -> memoryview: ...

@final
class PerfServer:
    def __new__(
        cls,
        engine: Engine,
        config: Config,
        /,
        *,
        tls: ServerTls,
        transport: Transport,
        host: str,
        port: int,
    ) -> PerfServer: ...
    @property
    def addresses(self) -> list[_Address]: ...
    def stats(self) -> dict[str, int]: ...

@final
class HqServer:
    def __new__(
        cls,
        engine: Engine,
        config: Config,
        /,
        *,
        tls: ServerTls,
        transport: Transport,
        host: str,
        port: int,
        root: StrPath,
    ) -> HqServer: ...
    @property
    def addresses(self) -> list[_Address]: ...
    def stats(self) -> dict[str, int]: ...
    def drain(self, seconds: float) -> bool: ...

@final
class HqPipe:
    def __new__(cls) -> HqPipe: ...
    def read(self, seconds: float) -> bytes | None: ...
    def abandon(self) -> None: ...

@final
class HqFetch:
    def __new__(
        cls,
        engine: Engine,
        /,
        *,
        tls: ClientTls,
        transport: Transport,
        server_name: str,
        addresses: list[_Address],
        files: list[tuple[str, StrPath | HqPipe | None, bytes | None]],
        parallel: int = 128,
        update_keys: bool = False,
        await_ticket: TicketStore | None = None,
        origins: list[str] = ...,
    ) -> HqFetch: ...
    def wait(self, seconds: float) -> bool: ...
    def progress(self) -> tuple[int, int]: ...
    def cancel(self) -> None: ...
    def migrate(self) -> bool: ...
    def results(self) -> list[dict[str, Any] | None]: ...
    def ending(self) -> dict[str, Any] | None: ...
