"""Path schedulers written in Python: they plan ahead, in a thread of their own."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from tquic.errors import ConnectionClosed, EngineError

if TYPE_CHECKING:
    from tquic import _engine

__all__ = ["Burst", "PathNews", "PathState", "Scheduler", "start"]

_logger = logging.getLogger("tquic.multipath")

PathNews: TypeAlias = Literal[
    "added", "removed", "active", "standby", "failed", "recovered", "migrated"
]
"""What schedulers are told of a path."""

# A scheduler is asked about so many bursts ahead, of so many packets.
_BURSTS: Final = 16
_BURST_PACKETS: Final = 10


@dataclass(kw_only=True, slots=True)
class PathState:
    """A path as a scheduler sees it."""

    id: int
    """Path ID."""
    weight: int | None
    """Its capacity in Mbit/s, if somebody set it."""
    usable: bool
    """It may be chosen: validated, not abandoned, not silent while others answer."""
    backup: bool
    """Either end wants it used only when no other can be."""
    srtt: float
    """Smoothed round-trip time, in seconds."""
    min_rtt: float
    """Smallest round-trip time seen, in seconds."""
    bandwidth: int
    """Delivery rate, in bytes per second."""
    cwnd: int
    """Congestion window, in bytes."""
    bytes_in_flight: int
    """Bytes in flight; what was decided before for the same plan counts."""
    loss_rate: float
    """The part of the packets that were declared lost, 0 to 1."""

    def can_send(self, bytes: int) -> bool:
        """Whether it is usable and so many bytes more fit into its congestion window."""
        return self.usable and self.bytes_in_flight + bytes <= self.cwnd


@dataclass(frozen=True, kw_only=True, slots=True)
class Burst:
    """What is about to be sent: some packets in a row, up to 64."""

    stream_id: int | None
    """The stream whose data comes first; `None` if it is a datagram's."""
    bytes: int
    """Bytes of a full packet."""
    retransmission: bool
    """Whether that data was sent before."""


class Scheduler(ABC):
    """Decides which path the next burst takes. Subclasses say so in `select_path`.

    It works in a thread of its connection, never in parallel, and never holds the connection up:
    at most once in a millisecond the engine asks for a plan, some decisions ahead, which it goes
    through again and again until there is the next. What happened meanwhile comes before that, in
    sums. Until the first plan, and after a failure, the named scheduler ``minrtt`` decides; after
    16 failures without a decision in between a scheduler is not asked any more. Each failure counts
    in `ConnectionStats.scheduler_failures`; the first, and the last, are events of
    `Connection.path_event`.
    """

    def init(self) -> None:  # noqa: B027 - optional
        """Called once, before all others."""

    def release(self) -> None:  # noqa: B027 - optional
        """Called at the end of the connection, or when another scheduler takes over."""

    @abstractmethod
    def select_path(self, paths: Sequence[PathState], burst: Burst) -> PathState | int | None:
        """The path for the next burst, or its ID. `None` where a plan begins: nothing is sent until
        the next plan, or until something arrives; later: that was all, begin again.
        """

    def on_packet_sent(self, path: PathState, bytes: int) -> None:  # noqa: B027 - optional
        """So many bytes were sent on a path since the last time."""

    def on_packet_acked(self, path: PathState, bytes: int, rtt: float) -> None:  # noqa: B027 - optional
        """So many bytes were acknowledged; with the newest round-trip time, in seconds."""

    def on_packet_lost(self, path: PathState, bytes: int) -> None:  # noqa: B027 - optional
        """So many bytes were declared lost."""

    def on_path_change(self, path: PathState, change: PathNews) -> None:  # noqa: B027 - optional
        """Something happened to a path."""


def start(native: _engine.Connection, make: Callable[[], Scheduler]) -> None:
    """Puts a scheduler that `make` makes in place, in a thread of its own."""
    name = getattr(make, "__name__", type(make).__name__)
    planner = native.plan_scheduler(name)
    # A daemon: an experiment that hangs must not keep the program from ending.
    arguments = (native, planner, make)
    name = f"tquic-scheduler-{native.key:x}"
    threading.Thread(target=_serve, args=arguments, name=name, daemon=True).start()


def _serve(
    native: _engine.Connection, planner: _engine.Planner, make: Callable[[], Scheduler]
) -> None:
    runner = _Runner(make)
    while (batch := planner.wait()) is not None:
        reports, question = batch
        plan = runner.plan(reports, question)
        if question is None:
            continue
        wanted = planner.fail(plan) if isinstance(plan, str) else planner.answer(plan)
        if wanted:
            try:
                native.poke()
            except (ConnectionClosed, EngineError):
                break
    runner.release()


class _Runner:
    """A scheduler, and what keeps its failures from others."""

    def __init__(self, make: Callable[[], Scheduler]) -> None:
        self._make = make
        self._scheduler: Scheduler | None = None
        self._told = False

    def plan(self, reports: Sequence[Any], question: Any) -> list[int | None] | str:
        """Tells the scheduler what happened and asks it; or says what went wrong."""
        try:
            if self._scheduler is None:
                scheduler = self._make()
                scheduler.init()
                self._scheduler = scheduler
            for report in reports:
                _tell(self._scheduler, *report)
            return [] if question is None else _plan(self._scheduler, *question)
        except Exception as error:
            # The engine counts; a log line for each plan would drown everything else.
            if not self._told:
                _logger.exception("a path scheduler failed; minrtt takes its place")
            self._told = True
            return f"{type(error).__name__}: {error}"

    def release(self) -> None:
        """The scheduler is done."""
        if self._scheduler is not None:
            try:
                self._scheduler.release()
            except Exception:
                _logger.exception("a path scheduler failed in its end")


def _tell(
    scheduler: Scheduler,
    fields: dict[str, Any],
    sent: int,
    acked: int,
    rtt: float | None,
    lost: int,
    changes: list[PathNews],
) -> None:
    path = PathState(**fields)
    for change in changes:
        scheduler.on_path_change(path, change)
    if sent:
        scheduler.on_packet_sent(path, sent)
    if acked:
        scheduler.on_packet_acked(path, acked, path.srtt if rtt is None else rtt)
    if lost:
        scheduler.on_packet_lost(path, lost)


def _plan(
    scheduler: Scheduler,
    fields: Sequence[dict[str, Any]],
    stream_id: int | None,
    bytes: int,
    retransmission: bool,
) -> list[int | None]:
    paths = [PathState(**path) for path in fields]
    known = {path.id: path for path in paths}
    burst = Burst(stream_id=stream_id, bytes=bytes, retransmission=retransmission)
    plan: list[int | None] = []
    for _ in range(_BURSTS):
        chosen = scheduler.select_path(paths, burst)
        if chosen is None:
            return plan or [None]
        path = known.get(chosen.id if isinstance(chosen, PathState) else chosen)
        if path is None or not path.usable:
            raise ValueError(f"select_path chose {chosen!r}, which cannot be used")
        path.bytes_in_flight += _BURST_PACKETS * bytes
        plan.append(path.id)
    return plan
