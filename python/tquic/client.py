"""Beginning connections."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Generator
from types import TracebackType
from typing import Any, ClassVar, Final

from tquic import _engine
from tquic._hub import Hub
from tquic.config import Config
from tquic.connection import Connection
from tquic.engine import Engine
from tquic.errors import ConnectionClosed, EngineError, HandshakeTimeout
from tquic.tls import TlsContext, settled

__all__ = ["Connecting", "connect"]

# RFC 8305 section 5: the Connection Attempt Delay, in seconds.
_ATTEMPT_DELAY: Final = 0.25


class Connecting:
    """What `connect` answers: ``await`` it, or use it with ``async with``."""

    _connection_class: ClassVar[type[Connection]] = Connection

    def __init__(
        self,
        host: str,
        port: int,
        config: Config,
        engine: Engine | None,
        local: str | tuple[str, int] | None,
        interface: str | None,
        wait: bool,
    ) -> None:
        self._host = host
        self._port = port
        self._config = config
        self._engine = engine
        self._local = (local, 0) if isinstance(local, str) else local
        self._interface = interface
        self._wait = wait
        self._connection: Connection | None = None

    def __await__(self) -> Generator[Any, None, Connection]:
        return self._connect().__await__()

    async def __aenter__(self) -> Connection:
        self._connection = await self._connect()
        return await self._connection.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._connection is not None:
            await self._connection.__aexit__(kind, error, traceback)

    async def _connect(self) -> Connection:
        hub = Hub.current(self._engine)
        addresses = await _resolve(self._host, self._port)
        if not self._wait:
            return self._begin(hub, addresses[0])
        attempts: dict[asyncio.Task[None], Connection] = {}
        failures: list[ConnectionClosed] = []
        try:
            for address in addresses:
                connection = self._begin(hub, address)
                attempts[hub.loop.create_task(connection.wait_connected())] = connection
                last = address is addresses[-1]
                winner = await _settle(attempts, failures, None if last else _ATTEMPT_DELAY)
                if winner is not None:
                    return winner
        finally:
            for task, connection in attempts.items():
                task.cancel()
                connection.close()
        raise self._explained(failures[0])

    def _begin(self, hub: Hub, address: tuple[str, int]) -> Connection:
        config = self._config
        store = config.session_store
        server = (self._host, self._port)
        server_name = config.server_name or self._host
        if store is not None:
            store._claim(server_name, server)
        native = hub.native.connect(
            address,
            server_name,
            config._transport,
            config._client_tls,
            local=self._local,
            interface=self._interface,
            token=store._take_token(server) if store is not None else b"",
            begin=self._wait,
        )
        if not self._wait:
            # What is written until the caller waits for something goes out with the first packets.
            hub.loop.call_soon(_begin_native, native)
        connection = self._connection_class(hub, native, config, address)
        if store is not None:
            connection._on_token = lambda token: store._put_token(server, token)
            connection._on_over = store.save
        return connection

    def _explained(self, error: ConnectionClosed) -> ConnectionClosed:
        if isinstance(error, HandshakeTimeout):
            return HandshakeTimeout(
                f"timed out: no handshake with {self._host}:{self._port} within "
                f"{self._config.handshake_timeout:g} s (is there a QUIC server, and does a "
                "firewall let UDP through?)",
                reason=error.reason,
            )
        return error


def connect(
    host: str,
    port: int,
    *,
    config: Config | None = None,
    tls: TlsContext | None = None,
    engine: Engine | None = None,
    local: str | tuple[str, int] | None = None,
    interface: str | None = None,
    wait: bool = True,
) -> Connecting:
    """Connects to a server::

        async with tquic.connect("example.com", 4433, config=config) as conn:
            stream = conn.open_stream()
            await stream.write(b"hello")
            stream.finish()
            print(await stream.read())

    ``conn = await tquic.connect(...)`` works as well; then close it with `Connection.close`. A host
    with several addresses is tried at all of them, a little apart (RFC 8305).

    Args:
        host: name or numeric address.
        port: UDP port.
        config: settings. Default `Config()`.
        tls: TLS settings, which come before those in `config`.
        engine: threads to use. Default: those of the process.
        local: numeric address (and port) to send from. Default: a socket shared by all.
        interface: network interface to send through; only together with `local`.
        wait: wait until the handshake is complete. Without it the connection is there at once, and
            what is written before the next ``await`` goes out with the first packets, as early data
            (0-RTT) if a ticket allows it.

    Raises:
        ConnectionClosed: the handshake failed. The subclass says how: `HandshakeTimeout`,
            `UntrustedCertificate`, `CertificateNameMismatch`, `AlpnError`, `ConnectionRefused`,
            `VersionError`, ...
        ConfigError: a setting cannot be used.
        OSError: the name is not known, or the local address is not ours.
    """
    config = settled(config, tls, server_side=False)
    return Connecting(host, port, config, engine, local, interface, wait)


def _begin_native(native: _engine.Connection) -> None:
    # If the engine has ended, so has the connection: its event is on its way.
    with contextlib.suppress(EngineError):
        native.begin()


async def _settle(
    attempts: dict[asyncio.Task[None], Connection],
    failures: list[ConnectionClosed],
    patience: float | None,
) -> Connection | None:
    """Waits for the first success; `None` if all failed, or none succeeded in time."""
    while attempts:
        done, _ = await asyncio.wait(
            attempts, timeout=patience, return_when=asyncio.FIRST_COMPLETED
        )
        if not done:
            return None
        for task in done:
            connection = attempts.pop(task)
            error = task.exception()
            if error is None:
                return connection
            if not isinstance(error, ConnectionClosed):
                raise error
            failures.append(error)
    return None


async def _resolve(host: str, port: int) -> list[tuple[str, int]]:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return [(host, port)]
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    # Each address once, families by turns (RFC 8305 section 4).
    families: dict[int, list[tuple[str, int]]] = {}
    for family, _, _, _, address in found:
        pair = (str(address[0]), int(address[1]))
        if pair not in families.setdefault(family, []):
            families[family].append(pair)
    longest = max(map(len, families.values()))
    turns = ([a[i] for a in families.values() if i < len(a)] for i in range(longest))
    return [address for turn in turns for address in turn]
