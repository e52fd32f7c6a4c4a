"""Both ends of a measurement, in this process."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from tquic._engine import make_certificates, perf_run
from tquic._perf_task import PerfTask
from tquic.config import Config
from tquic.engine import Engine
from tquic.perf import Server

__all__ = ["Loopback", "loopback"]

ALPN = "perf"
# Enough for any number of handshakes, and for connections that rest.
_IDLE = 600.0
# Streams that a client may have open at a time.
_STREAMS = 1024


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
                        PerfTask(duration=seconds),
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
    ca, cert, key = (text.encode() for text in make_certificates(["localhost", "127.0.0.1"], 2))
    common: dict[str, Any] = {"alpn": (ALPN,), "idle_timeout": _IDLE, **settings}
    serving = Config(cert=cert, key=key, max_bidi_streams=_STREAMS, **common)
    server, client = Engine(live=False), Engine(live=False)
    try:
        host, port = Server(config=serving, engine=server).addresses[0]
        yield Loopback(client, server, Config(ca=ca, **common), host, port)
    finally:
        client.shutdown()
        server.shutdown()
