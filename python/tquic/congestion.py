"""Congestion controllers written in Python, for experiments.

Slow: each batch of acknowledgements crosses into Python and waits for the interpreter. See
`tquic.Connection.set_congestion`.
"""

from __future__ import annotations

import logging
import operator
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tquic.errors import ConnectionClosed, EngineError

if TYPE_CHECKING:
    from tquic import _engine

__all__ = ["AckBatch", "Controller"]

_logger = logging.getLogger("tquic.congestion")

_LARGEST: Final = 1 << 62


@dataclass(frozen=True, kw_only=True, slots=True)
class AckBatch:
    """What happened on a path since the batch before."""

    sequence: int
    """Number of the batch."""
    time: float
    """When the newest of it happened, in seconds on the engine's clock."""
    acked_bytes: int
    """Bytes acknowledged."""
    lost_bytes: int
    """Bytes declared lost."""
    lost_packets: int
    """Packets declared lost."""
    ce_packets: int
    """Packets that were marked by the network (ECN-CE)."""
    ect_packets: int
    """Packets that could have been marked and were not."""
    acks: int
    """ACK frames; 0 if a timer declared packets lost."""
    rounds: int
    """Round trips that began."""
    rtt: float | None
    """The newest sample, as measured, in seconds."""
    smoothed_rtt: float
    """Smoothed round-trip time, in seconds."""
    min_rtt: float
    """Smallest round-trip time seen, in seconds."""
    delivery_rate: int | None
    """The newest delivery rate, in bytes per second."""
    app_limited: bool
    """Whether that was while the application had little to send."""
    persistent_congestion: bool
    """Everything was lost for long (RFC 9002 section 7.6): the window is at its minimum until the
    answer."""
    bytes_in_flight: int
    """Bytes sent and neither acknowledged nor lost."""
    window: int
    """The window in force, in bytes."""
    datagram_size: int
    """Bytes of a full packet."""


class Controller(ABC):
    """Decides how much of a path may be in flight. Subclasses say so in `on_ack`.

    It is called in a thread of its connection, never in parallel, and may take its time: what
    happens meanwhile comes as one batch. While it has not decided for the first time, after it
    raised, or when an answer is a second late, NewReno controls the path.
    """

    window: int = 0
    """Bytes that may be in flight; two packets to 1 GiB hold. `on_ack` sets it."""
    pacing_rate: int | None = None
    """Bytes per second. Default: 1.25 windows per round trip."""

    @abstractmethod
    def on_ack(self, batch: AckBatch) -> None:
        """Sets `window`, and `pacing_rate` if it wants to, from what happened."""


def start(native: _engine.Connection, make: Callable[[], Controller], path: int | None) -> None:
    """Puts controllers that `make` makes in place, one for each path, in a thread of their own."""
    ticket = native.control_congestion(path)
    # A daemon: an experiment that hangs must not keep the program from ending.
    name = f"tquic-congestion-{native.key:x}"
    threading.Thread(target=_serve, args=(native, ticket, make), name=name, daemon=True).start()


def _serve(native: _engine.Connection, ticket: int, make: Callable[[], Controller]) -> None:
    controllers: dict[int, Controller] = {}
    told = False
    while (news := native.next_batch(ticket)) is not None:
        path, fields = news
        batch = AckBatch(**fields)
        window: int | None = None
        rate: int | None = None
        try:
            if path not in controllers:
                controllers[path] = make()
            window, rate = _decide(controllers[path], batch)
        except Exception:
            # The engine counts; a log line for each batch would drown everything else.
            if not told:
                _logger.exception("a congestion controller failed; NewReno takes its place")
            told = True
        try:
            native.decide(path, batch.sequence, window, rate)
        except (ConnectionClosed, EngineError):
            return


def _decide(controller: Controller, batch: AckBatch) -> tuple[int, int | None]:
    controller.on_ack(batch)
    window = operator.index(controller.window)
    rate = None if controller.pacing_rate is None else operator.index(controller.pacing_rate)
    if not 0 < window < _LARGEST:
        raise ValueError(f"window must be a positive number of bytes, not {window}")
    if rate is not None and not 0 < rate < _LARGEST:
        raise ValueError(f"pacing_rate must be a positive number of bytes per second, not {rate}")
    return window, rate
