"""Both ends of a measurement, in this process."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from tquic._engine import make_certificates, perf_run
from tquic.config import Config
from tquic.engine import Engine
from tquic.perf import Server

__all__ = ["Loopback", "Transfer", "loopback"]

ALPN = "perf"
# Enough for any number of handshakes, and for connections that rest.
_IDLE = 600.0
# Streams that a client may have open at a time.
_STREAMS = 1024


@dataclass
class Transfer:
    """A download over one stream, as the engine reads it."""

    duration: float
    upload: int | None = None
    download: int | None = None
    requests: int | None = None
    handshakes: int | None = None
    datagrams: int | None = None
    streams: int = 1
    inflight: int = 1
    response: int = 0
    handshake_kind: str = "full"
    datagram_size: int = 0
    connections: int = 1


@dataclass
class Loopback:
    """A perf server and an engine for clients, in threads of this process."""

    client: Engine
    server: Engine
    config: Config
    host: str
    port: int
    _errors: list[BaseException] = field(default_factory=list)

    def download(self, seconds: float, look: Callable[[], None]) -> dict[str, Any]:
        """Downloads for so long; calls `look` again and again meanwhile, which waits a little."""
        reports: list[dict[str, Any]] = []

        def work() -> None:
            try:
                reports.append(
                    perf_run(
                        self.client._native,
                        Transfer(seconds),
                        tls=self.config._client_tls,
                        transport=self.config._transport,
                        server_name=self.host,
                        host=self.host,
                        port=self.port,
                    )
                )
            except BaseException as error:
                self._errors.append(error)

        thread = threading.Thread(target=work, name="tquic-bench")
        thread.start()
        while thread.is_alive():
            look()
        thread.join()
        if self._errors:
            raise self._errors.pop()
        return reports[0]


@contextlib.contextmanager
def loopback(**settings: Any) -> Generator[Loopback, None, None]:
    """Both ends; `settings` are for both, too."""
    blobs = [text.encode() for text in make_certificates(["localhost", "127.0.0.1"], 2)]
    (key,) = (blob for blob in blobs if b"PRIVATE KEY" in blob)
    ca, cert = (blob for blob in blobs if blob is not key)
    common: dict[str, Any] = {"alpn": (ALPN,), "idle_timeout": _IDLE, **settings}
    serving = Config(cert=cert, key=key, max_bidi_streams=_STREAMS, **common)
    server, client = Engine(live=False), Engine(live=False)
    try:
        host, port = Server(config=serving, engine=server).addresses[0]
        yield Loopback(client, server, Config(ca=ca, **common), host, port)
    finally:
        client.shutdown()
        server.shutdown()
