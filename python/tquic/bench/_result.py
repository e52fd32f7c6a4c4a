"""A benchmark's result: one JSON document."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tquic._engine import Histogram
from tquic.bench._parse import Line, parse
from tquic.load._result import environment

__all__ = ["SCHEMA", "Measured", "of_histogram", "of_samples", "run"]

SCHEMA: Final = "tquic-bench-1"
# The kernel module's names, and one more.
_QUANTILES: Final = {
    "p50": 0.5,
    "p90": 0.9,
    "p95": 0.95,
    "p99": 0.99,
    "p999": 0.999,
    "p9999": 0.9999,
}


@dataclass
class Measured:
    """What a benchmark found."""

    unit: str
    """Of `stats`."""
    samples: int
    stats: dict[str, float]
    facts: dict[str, Any]
    """The object that has the benchmark's name."""
    more: dict[str, Any] = field(default_factory=dict)
    """Beside it."""


def of_samples(values: Sequence[float]) -> dict[str, float]:
    """``min``, ``max``, ``mean``, ``stddev`` and quantiles of some values."""
    ordered = sorted(values) or [0.0]
    mean = math.fsum(ordered) / len(ordered)
    variance = math.fsum((value - mean) ** 2 for value in ordered) / len(ordered)

    def quantile(fraction: float) -> float:
        return ordered[max(math.ceil(fraction * len(ordered)), 1) - 1]

    found = {
        "min": ordered[0],
        "max": ordered[-1],
        "mean": mean,
        "stddev": math.sqrt(variance),
        **{name: quantile(fraction) for name, fraction in _QUANTILES.items()},
    }
    return {name: round(value, 3) for name, value in found.items()}


def of_histogram(histogram: Histogram) -> dict[str, float]:
    """The same of durations, in microseconds."""
    found = {
        "min": histogram.min_ns,
        "max": histogram.max_ns,
        "mean": histogram.mean_ns,
        "stddev": histogram.stddev_ns,
        **{name: histogram.quantile_ns(fraction) for name, fraction in _QUANTILES.items()},
    }
    return {name: round(nanos / 1e3, 3) for name, nanos in found.items()}


def run(line: str | Line) -> dict[str, Any]:
    """Runs a benchmark, such as ``"throughput 10"``: its result, ready for JSON.

    Raises:
        BenchmarkError: the line names none.
        QuicError: a connection failed.
    """
    # Not at import: the command's options need the names only.
    from tquic.bench._benchmarks import FUNCTIONS

    asked = parse(line) if isinstance(line, str) else line
    begun = time.monotonic()
    measured = FUNCTIONS[asked.name](*asked.arguments)
    return {
        "schema": SCHEMA,
        "benchmark": asked.name,
        "command": str(asked),
        "status": "complete",
        "duration_ms": round((time.monotonic() - begun) * 1e3),
        "samples": measured.samples,
        "unit": measured.unit,
        "stats": measured.stats,
        asked.name: measured.facts,
        **measured.more,
        "environment": environment(),
    }
