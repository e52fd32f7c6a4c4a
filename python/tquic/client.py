"""Beginning connections."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from tquic import _engine
from tquic._hub import Hub
from tquic._opening import Opening
from tquic._wait import Home
from tquic.config import Config
from tquic.connection import Connection
from tquic.engine import Engine
from tquic.errors import ConnectionClosed, EngineError, HandshakeTimeout
from tquic.tls import TlsContext, settled

__all__ = ["Connecting", "connect"]

# RFC 8305 section 5: the Connection Attempt Delay, in seconds.
_ATTEMPT_DELAY: Final = 0.25

ConnectionT = TypeVar("ConnectionT", bound=Connection)


@dataclass(frozen=True)
class Plan:
    """What to connect to, and how."""

    host: str
    port: int
    config: Config
    local: tuple[str, int] | None
    interface: str | None
    wait: bool

    def __post_init__(self) -> None:
        if not 0 < self.port < 1 << 16:
            raise ValueError(f"port must be from 1 to 65535, not {self.port}")

    async def connect(self, home: Home, make: type[ConnectionT]) -> ConnectionT:
        """Makes a connection of a kind that lives at `home`."""
        addresses = await resolve(home, self.host, self.port)
        # Else the engine says what is wrong.
        addresses = self.config._reached(addresses) or addresses
        if not self.wait:
            return self.begin(home, make, addresses[0])
        attempts: list[ConnectionT] = []
        winner = None
        try:
            for number, address in enumerate(addresses, 1):
                attempts.append(self.begin(home, make, address))
                if number == len(addresses):
                    await _decided(home, attempts)
                else:
                    await home.within(_ATTEMPT_DELAY, _decided(home, attempts))
                winner = next((one for one in attempts if one.connected and not one.closed), None)
                if winner is not None:
                    return winner
        finally:
            for attempt in attempts:
                if attempt is not winner:
                    attempt.close()
        raise self._explained(next(one.exception for one in attempts if one.exception))

    def begin(self, home: Home, make: type[ConnectionT], address: tuple[str, int]) -> ConnectionT:
        """The same at one address; nothing is waited for."""
        config = self.config
        store = config.session_store
        server = (self.host, self.port)
        server_name = config.server_name or self.host
        if store is not None:
            store._claim(server_name, server)
        native = home.native.connect(
            address,
            server_name,
            config._transport,
            config._client_tls,
            local=self.local,
            interface=self.interface,
            token=store._take_token(server) if store is not None else b"",
            begin=self.wait,
        )
        if not self.wait:
            # What is written until the caller waits for something goes out with the first packets.
            home.soon(lambda: _begin_native(native))
        connection = make(home, native, config, address)
        if store is not None:
            connection._on_token = lambda token: store._put_token(server, token)
            connection._on_over = store.save
        return connection

    def _explained(self, error: ConnectionClosed) -> ConnectionClosed:
        if isinstance(error, HandshakeTimeout):
            return HandshakeTimeout(
                f"timed out: no handshake with {self.host}:{self.port} within "
                f"{self.config.handshake_timeout:g} s (is there a QUIC server, and does a "
                "firewall let UDP through?)",
                reason=error.reason,
            )
        return error


def plan(
    host: str,
    port: int,
    config: Config,
    local: str | tuple[str, int] | None,
    interface: str | None,
    wait: bool,
) -> Plan:
    """From the arguments of `connect`."""
    address = (local, 0) if isinstance(local, str) else local
    return Plan(host, port, config, address, interface, wait)


class Connecting(Opening[Connection]):
    """What `connect` answers: ``await`` it, or use it with ``async with``."""

    def __init__(self, plan: Plan, engine: Engine | None) -> None:
        self._plan = plan
        self._engine = engine

    async def _open(self) -> Connection:
        return await self._plan.connect(Hub.current(self._engine), Connection)


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
        local: numeric address (and port) to send from, before all of `Config.paths`. Default: a
            socket shared by all.
        interface: network interface to send through.
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
    return Connecting(plan(host, port, config, local, interface, wait), engine)


def _begin_native(native: _engine.Connection) -> None:
    # If the engine has ended, so has the connection: its event is on its way.
    with contextlib.suppress(EngineError):
        native.begin()


async def _decided(home: Home, attempts: Sequence[Connection]) -> None:
    """Waits until one has succeeded, or all have failed."""
    news = home.signal()
    for attempt in attempts:
        attempt._on_progress = news.wake
    while not any(one.connected for one in attempts) and not all(one.closed for one in attempts):
        await news.wait()


async def resolve(home: Home, host: str, port: int) -> list[tuple[str, int]]:
    """The addresses of a host, best first."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return [(host, port)]
    found = await home.resolve(host, port)
    # Each address once, families by turns (RFC 8305 section 4).
    families: dict[int, list[tuple[str, int]]] = {}
    for family, _, _, _, address in found:
        pair = (str(address[0]), int(address[1]))
        if pair not in families.setdefault(family, []):
            families[family].append(pair)
    longest = max(map(len, families.values()))
    turns = ([a[i] for a in families.values() if i < len(a)] for i in range(longest))
    return [address for turn in turns for address in turn]
