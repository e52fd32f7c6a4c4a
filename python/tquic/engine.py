"""The threads that do the work. Most programs never name one: there is a default engine."""

from __future__ import annotations

import atexit
import json
import os
import socket
import threading
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

from tquic import _engine, sysctl
from tquic._halves import encode_reason
from tquic._units import duration
from tquic.config import Config
from tquic.errors import ConfigError, EngineError
from tquic.many import (
    ConnectionPlan,
    ConnectionSet,
    EventKind,
    EventName,
    RequestPlan,
    RequestRun,
)
from tquic.stats import ShardStats

__all__ = ["Engine"]


_MOST_SHARDS: Final = 128
# Seconds. Who wants a thread that never sleeps has it with this.
_LONGEST_SPIN: Final = 1.0


class Engine:
    """Threads with connections, shared by any number of event loops and connections.

    `connect` and `serve` use `Engine.default` unless they are given another one.

    Args:
        shards: threads, each with sockets and connections of its own. Default 1; 1 to 128.
        cpus: CPUs to keep the threads on, in order; threads beyond the list roam. Default none.
        spin: seconds that a thread looks for packets before it sleeps: saves tens of microseconds
            per round trip and costs a busy CPU. Default 0; at most 1.
        gso: send trains of packets in one piece where the system can. Default on.
        gro: receive them so. Default on.
        socket_buffer: bytes asked of the system for each socket and direction. Default 4 MiB; Linux
            gives at most ``net.core.rmem_max`` and ``net.core.wmem_max``.
        interface: send and receive past the kernel's network stack through this network interface
            (AF_XDP, on Linux, with the right to); such an engine has one thread, and is the only
            one at that interface. Default: the one that the environment variable ``TQUIC_XDP``
            names, or none; an empty name is none.
        xdp_mode: ``copy``, ``zero-copy`` (an error where the driver cannot), or ``auto``: what the
            driver can.
        zerocopy: have the kernel read long trains of packets from the engine's memory instead of
            copying them (``MSG_ZEROCOPY``, on Linux), where it can; `ShardStats` counts where it
            could not. See the documentation, *Zero copy*, for when that pays. Default off.
        live: let ``tquic top`` and ``tquic stats`` of the same user look in, on Linux. Default:
            yes, unless the environment variable ``TQUIC_LIVE`` is 0.

    Raises:
        ConfigError: a setting is outside its limits.
        OSError: there are no threads or descriptors to be had, or the interface cannot be used; it
            says why.
    """

    _default: Engine | None = None
    _lock = threading.Lock()

    def __init__(
        self,
        shards: int = 1,
        *,
        cpus: Sequence[int] = (),
        spin: float = 0.0,
        gso: bool = True,
        gro: bool = True,
        socket_buffer: int = 4 << 20,
        interface: str | None = None,
        xdp_mode: Literal["auto", "copy", "zero-copy"] = "auto",
        zerocopy: bool = False,
        live: bool | None = None,
    ) -> None:
        if not 1 <= shards <= _MOST_SHARDS:
            raise ConfigError(f"shards must be from 1 to {_MOST_SHARDS}, not {shards}")
        if not 0 <= spin <= _LONGEST_SPIN:
            raise ConfigError(f"spin must be from 0 to {_LONGEST_SPIN:g} s, not {spin!r}")
        interface = os.environ.get("TQUIC_XDP") if interface is None else interface
        if interface and shards != 1:
            raise ConfigError(f"an engine with AF_XDP ({interface}) has one thread, not {shards}")
        self._generation = _generation
        self._native = _engine.Engine(
            shards,
            cpus=list(cpus),
            spin=spin,
            gso=gso,
            gro=gro,
            socket_buffer=socket_buffer,
            live=live,
            interface=interface or None,
            xdp_mode=xdp_mode,
            zerocopy=zerocopy,
        )

    @classmethod
    def _of_several(cls, number: int, engines: int) -> Engine:
        """That of one of several processes which share a port; see `_engine.SharedPort`."""
        engine = cls.__new__(cls)
        engine._generation = _generation
        engine._native = _engine.Engine(1, place=(number, engines))
        return engine

    @classmethod
    def default(cls) -> Engine:
        """The engine of this process, begun when first needed.

        The environment variable ``TQUIC_SHARDS`` sets its number of threads, default 1, and
        ``TQUIC_SPIN`` the time `spin`, like ``100us``, default 0; `gso`, `gro` and `zerocopy` are
        those of `tquic.sysctl`.
        """
        with cls._lock:
            if cls._default is None:
                system = sysctl.read()
                cls._default = Engine(
                    _shards_of_environment(),
                    spin=_spin_of_environment(),
                    gso=bool(system["gso_enable"]),
                    gro=bool(system["gro_enable"]),
                    zerocopy=bool(system["zerocopy_enable"]),
                )
            return cls._default

    @property
    def shards(self) -> int:
        """Number of threads."""
        return self._native.shards

    def _check_process(self) -> None:
        """Raises if a fork made this process later: the threads are those of the parent, and nobody
        would answer."""
        if self._generation != _generation:
            raise EngineError("a fork made this process: the engine is that of the parent")

    def stats(self) -> tuple[ShardStats, ...]:
        """Counters of each thread. Waits a moment for their answers.

        Raises:
            EngineError: it has been shut down.
        """
        self._check_process()
        return tuple(ShardStats.of(shard) for shard in self._native.stats())

    def snapshot(self) -> dict[str, Any]:
        """The engine as it is now: ``shards``, ``connections`` with their ``paths``.

        The same that ``tquic stats PID --json`` prints; times are in seconds, sizes in bytes,
        rates in bytes per second. At most 1000 connections of each thread are described.

        Raises:
            EngineError: it has been shut down.
        """
        self._check_process()
        found: dict[str, Any] = json.loads(self._native.describe())
        return found

    def connect_many(
        self,
        host: str,
        port: int,
        count: int,
        *,
        config: Config | None = None,
        local_addresses: Sequence[str] = (),
        sockets: int = 1,
        handshakes: int = 64,
        rate: float | None = None,
        on: Iterable[EventName] = ("connected", "closed", "response"),
        capacity: int = 65_536,
        http3: bool = False,
    ) -> ConnectionSet:
        """Begins many connections to one server, for load generators::

            with engine.connect_many("127.0.0.1", 4433, 10_000, config=config) as connections:
                connections.wait_connected(timeout=60)
                run = connections.request_many(b"hello", rate=5_000, duration=10)
                run.wait()
                print(run.histogram().quantile_ns(0.99))

        They share a few UDP sockets: for each thread of the engine `sockets` for each local
        address. Returns as soon as the name is resolved (which blocks); only its first address is
        used. See `tquic.many`.

        Args:
            host: name or numeric address.
            port: UDP port.
            count: connections; 1 to 4194304.
            config: settings. Default `Config()`. Connections that nothing is sent on end after
                ``idle_timeout``, unless there is a ``keep_alive``. Without a ``session_store`` each
                connection needs about 10 KiB less.
            local_addresses: numeric addresses to send from, by turns. Default: the system chooses.
            sockets: for each thread and address, each with a port of its own, so that servers
                spread the load over their threads; 1 to 1024.
            handshakes: handshakes under way at most, at least one per thread.
            rate: connections begun per second at most. Default: as fast as `handshakes` allows.
            on: events that are wanted. The end of a run of requests is always told.
            capacity: events that wait for `ConnectionSet.poll_batch` at most, 80 bytes each; more
                are counted in `ConnectionSet.dropped_events`.
            http3: whether the server speaks HTTP/3 (``alpn=("h3",)``): requests are then frames,
                such as `tquic.load.Request.encode` makes them, and of responses status and content
                count.

        Raises:
            ConfigError: a value cannot be used.
            EngineError: the engine has ended.
            OSError: the name is not known.
        """
        connections, _ = self._connect_many(
            host,
            port,
            count,
            config=config or Config(),
            local_addresses=local_addresses,
            sockets=sockets,
            handshakes=handshakes,
            rate=rate,
            on=on,
            capacity=capacity,
            http3=http3,
        )
        return connections

    def _connect_many(
        self,
        host: str,
        port: int,
        count: int,
        *,
        config: Config,
        local_addresses: Sequence[str] = (),
        sockets: int = 1,
        handshakes: int = 64,
        rate: float | None = None,
        on: Iterable[EventName] = (),
        capacity: int = 65_536,
        http3: bool = False,
        variants: Iterable[tuple[float, Config]] = (),
        visit: RequestPlan | None = None,
    ) -> tuple[ConnectionSet, RequestRun | None]:
        """The same; with `visit` each connection does that and goes, and there is a run of it.

        `variants`: other configurations, and the part of the connections that takes each.
        """
        self._check_process()
        if not 1 <= count <= 1 << 22:
            raise ConfigError("count must be from 1 to 4194304")
        if not 1 <= sockets <= 1024:
            raise ConfigError("sockets must be from 1 to 1024")
        if rate is not None and not rate > 0:
            raise ConfigError("rate must be a number of connections per second, above 0")
        kinds = {"connected": EventKind.CONNECTED, "closed": EventKind.CLOSED}
        kinds["response"] = EventKind.RESPONSE
        events = 0
        for name in on:
            if name not in kinds:
                raise ConfigError(f"on: there are no events {name!r}, but {', '.join(kinds)}")
            events |= 1 << kinds[name]
        address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0][4]
        plan = ConnectionPlan(
            count=count,
            server_name=config.server_name or host,
            local_addresses=list(local_addresses),
            sockets=sockets,
            handshakes=max(handshakes, 1),
            rate=rate,
            events=events,
            capacity=max(capacity, 1),
            http=http3,
            variants=[(share, other._transport, other._client_tls) for share, other in variants],
        )
        native, run = _engine.ConnectionSet.connect(
            self._native,
            (str(address[0]), port),
            plan,
            config._transport,
            config._client_tls,
            visit,
        )
        return ConnectionSet(native, count), run and RequestRun(run)

    def shutdown(self, patience: float = 0.0, code: int = 0, reason: str = "") -> None:
        """Closes all connections and ends the threads; the engine cannot be used again.

        Args:
            patience: seconds to wait until every peer knows; 0 tells each once and waits for none.
            code: application error code for the peers.
            reason: for people.
        """
        self._native.shutdown(patience, code, encode_reason(reason))

    def __repr__(self) -> str:
        return f"<Engine with {self.shards} shards>"


def _shards_of_environment() -> int:
    given = os.environ.get("TQUIC_SHARDS") or "1"
    try:
        return int(given)
    except ValueError:
        raise ConfigError(f"TQUIC_SHARDS must be a number of threads, not {given!r}") from None


def _spin_of_environment() -> float:
    given = os.environ.get("TQUIC_SPIN") or "0s"
    try:
        return duration(given)
    except ValueError as error:
        raise ConfigError(f"TQUIC_SPIN: {error}") from None


# The program ends: this thread runs the last of it, the others are daemons.
_last_thread: threading.Thread | None = None


def is_left_behind() -> bool:
    """Whether the program ends and this thread is a daemon that has nothing to do with it."""
    return _last_thread is not None and _last_thread is not threading.current_thread()


def _end_default() -> None:
    global _last_thread
    _last_thread = threading.current_thread()
    engine = Engine._default
    if engine is not None:
        engine.shutdown()


# How often this process is a child by a fork: what was made before has its engine elsewhere.
_generation = 0


def generation() -> int:
    """Changes with a fork, in the child."""
    return _generation


def _forget_default() -> None:
    # Threads do not survive a fork: the child begins an engine of its own.
    global _generation
    _generation += 1
    Engine._default = None
    Engine._lock = threading.Lock()


atexit.register(_end_default)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_default)
