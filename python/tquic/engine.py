"""The threads that do the work. Most programs never name one: there is a default engine."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Sequence

from tquic import _engine
from tquic.stats import ShardStats

__all__ = ["Engine"]


class Engine:
    """Threads with connections, shared by any number of event loops and connections.

    `connect` and `serve` use `Engine.default` unless they are given another one.

    Args:
        shards: threads, each with sockets and connections of its own. Default 1; 1 to 128.
        cpus: CPUs to keep the threads on, in order; threads beyond the list roam. Default none.
        spin: seconds that a thread looks for packets before it sleeps: saves tens of microseconds
            per round trip and costs a busy CPU. Default 0.
        gso: send trains of packets in one piece where the system can. Default on.
        gro: receive them so. Default on.
        socket_buffer: bytes asked of the system for each socket and direction. Default 4 MiB; Linux
            gives at most ``net.core.rmem_max`` and ``net.core.wmem_max``.

    Raises:
        ConfigError: a setting is outside its limits.
        OSError: there are no threads or descriptors to be had, or `shards` is outside its limits.
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
    ) -> None:
        self._native = _engine.Engine(
            shards, cpus=list(cpus), spin=spin, gso=gso, gro=gro, socket_buffer=socket_buffer
        )

    @classmethod
    def default(cls) -> Engine:
        """The engine of this process, begun when first needed.

        The environment variable ``TQUIC_SHARDS`` sets its number of threads; default 1.
        """
        with cls._lock:
            if cls._default is None:
                cls._default = Engine(int(os.environ.get("TQUIC_SHARDS", "1")))
            return cls._default

    @property
    def shards(self) -> int:
        """Number of threads."""
        return self._native.shards

    def stats(self) -> tuple[ShardStats, ...]:
        """Counters of each thread. Waits a moment for their answers.

        Raises:
            EngineError: it has been shut down.
        """
        return tuple(ShardStats(**shard) for shard in self._native.stats())

    def shutdown(self, patience: float = 0.0, code: int = 0, reason: str = "") -> None:
        """Closes all connections and ends the threads; the engine cannot be used again.

        Args:
            patience: seconds to wait until every peer knows; 0 tells each once and waits for none.
            code: application error code for the peers.
            reason: for people.
        """
        self._native.shutdown(patience, code, reason.encode())

    def __repr__(self) -> str:
        return f"<Engine with {self.shards} shards>"


def _end_default() -> None:
    engine = Engine._default
    if engine is not None:
        engine.shutdown()


def _forget_default() -> None:
    # Threads do not survive a fork: the child begins an engine of its own.
    Engine._default = None
    Engine._lock = threading.Lock()


atexit.register(_end_default)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_default)
