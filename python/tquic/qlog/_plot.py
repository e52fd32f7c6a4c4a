"""Draws a qlog file: window and bytes in flight, round-trip times, what was sent and lost."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tquic.qlog._read import Log, times

__all__ = ["Series", "collect", "plot"]

_Line: TypeAlias = tuple[list[float], list[float]]


def _line() -> _Line:
    return [], []


@dataclass
class Series:
    """What is drawn; times in seconds, sizes in bytes, round trips in milliseconds."""

    window: _Line = field(default_factory=_line)
    in_flight: _Line = field(default_factory=_line)
    threshold: _Line = field(default_factory=_line)
    smoothed: _Line = field(default_factory=_line)
    latest: _Line = field(default_factory=_line)
    least: _Line = field(default_factory=_line)
    sent: _Line = field(default_factory=_line)
    acked: _Line = field(default_factory=_line)
    lost: list[float] = field(default_factory=list)
    states: list[tuple[float, str]] = field(default_factory=list)


_METRICS = {
    "congestion_window": "window",
    "bytes_in_flight": "in_flight",
    "ssthresh": "threshold",
    "latest_rtt": "latest",
    "smoothed_rtt": "smoothed",
    "min_rtt": "least",
}


def collect(log: Log) -> Series:
    """The lines to draw."""
    series, sent, received, end = Series(), 0.0, 0.0, 0.0
    for at, event in times(log):
        name, data = str(event.get("name", "")).partition(":")[2], event.get("data", {})
        if name in ("metrics_updated", "recovery_metrics_updated"):
            for key, line in _METRICS.items():
                if (value := data.get(key)) is not None and _is_measured(key, value, series):
                    _add(getattr(series, line), at, float(value))
        elif name == "packet_sent":
            sent += _length(data)
            _add(series.sent, at, sent)
        elif name == "packet_received":
            received += _length(data)
            _add(series.acked, at, received)
        elif name == "packet_lost":
            series.lost.append(at)
        elif name == "congestion_state_updated":
            series.states.append((at, str(data.get("new", ""))))
        end = at
    # Values hold until the next is told, the last to the end.
    for line in _METRICS.values():
        times_of, values = getattr(series, line)
        if values:
            _add((times_of, values), end, values[-1])
    return series


def _is_measured(key: str, value: float, series: Series) -> bool:
    """Round trips are zero, or only assumed, before the first sample."""
    if key == "smoothed_rtt":
        return bool(series.latest[0])
    return value > 0 or key == "bytes_in_flight"


def _add(line: _Line, at: float, value: float) -> None:
    line[0].append(at)
    line[1].append(value)


def _length(data: dict[str, Any]) -> float:
    raw = data.get("raw")
    return float(raw.get("length", 0)) if isinstance(raw, dict) else 0.0


def plot(log: Log, out: str | os.PathLike[str]) -> Series:
    """Draws `log` into the file `out`; its ending says which kind: ``.png``, ``.svg``, ``.pdf``.

    Needs matplotlib, which ``pip install "tquic[plot]"`` brings.

    Raises:
        ImportError: there is no matplotlib.
    """
    # No window is opened, whatever matplotlib is set to.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    series = collect(log)
    figure = Figure(figsize=(10, 9), layout="constrained")
    FigureCanvasAgg(figure)
    window, rtt, data = figure.subplots(3, 1, sharex=True)
    for line, label, style in (
        (series.window, "congestion window", {"color": "tab:blue"}),
        (series.in_flight, "bytes in flight", {"color": "tab:orange", "linewidth": 0.8}),
        (series.threshold, "ssthresh", {"color": "tab:gray", "linestyle": "--"}),
    ):
        if line[0]:
            window.step(line[0], [v / 1024 for v in line[1]], where="post", label=label, **style)
    window.set_ylabel("KiB")
    for at in series.lost:
        window.axvline(at, color="tab:red", alpha=0.25, linewidth=0.6)
    for line, label, colour in (
        (series.latest, "latest", "tab:cyan"),
        (series.smoothed, "smoothed", "tab:blue"),
        (series.least, "smallest", "tab:green"),
    ):
        if line[0]:
            rtt.step(*line, where="post", label=label, color=colour, linewidth=0.9)
    rtt.set_ylabel("round trip, ms")
    for line, label in ((series.sent, "sent"), (series.acked, "received")):
        if line[0]:
            data.step(line[0], [v / 1024 for v in line[1]], where="post", label=label)
    if series.lost:
        levels = _levels(series)
        data.plot(series.lost, levels, "x", color="tab:red", label=f"{len(series.lost)} lost", ms=4)
    data.set_ylabel("KiB of packets")
    data.set_xlabel("seconds")
    for axes in (window, rtt, data):
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="best", fontsize="small")
    figure.suptitle(f"{log.path.name} ({log.vantage_point})")
    figure.savefig(out)
    return series


def _levels(series: Series) -> list[float]:
    """Where on the line of what was sent each loss stands."""
    levels, at = [], 0
    moments, totals = series.sent
    for lost in series.lost:
        while at + 1 < len(moments) and moments[at + 1] <= lost:
            at += 1
        levels.append(totals[at] / 1024 if totals else 0.0)
    return levels
