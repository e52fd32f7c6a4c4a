"""Two results side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ["compare", "numbers"]

# What says nothing about speed, or is in `stats` already.
_LEFT_OUT: Final = frozenset({"number", "duration_ms", "schema", "environment"})


def numbers(result: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Every number in a result by its name, like ``stats.p99``."""
    for name, value in result.items():
        if name in _LEFT_OUT:
            continue
        if isinstance(value, Mapping):
            yield from numbers(value, f"{prefix}{name}.")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield prefix + name, value


def compare(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """What changed from one result to another of the same benchmark.

    Returns:
        ``benchmark``, ``commands`` and ``environments_differ`` (names of what is not the same
        there), and ``changes``: for each number ``a``, ``b``, ``ratio`` (b / a, or `None`).

    Raises:
        ValueError: they are of different benchmarks.
    """
    names = [result.get("benchmark") for result in (one, other)]
    if names[0] != names[1] or names[0] is None:
        raise ValueError(f"these are results of {names[0]} and {names[1]}: nothing to compare")
    before, after = dict(numbers(one)), dict(numbers(other))
    changes = {}
    for name in before:
        if name in after:
            a, b = before[name], after[name]
            ratio = b / a if a else None
            changes[name] = {
                "a": a,
                "b": b,
                "ratio": None if ratio is None or math.isinf(ratio) else round(ratio, 4),
            }
    old, new = one.get("environment", {}), other.get("environment", {})
    return {
        "benchmark": names[0],
        "commands": [one.get("command"), other.get("command")],
        "environments_differ": sorted(
            name for name in {**old, **new} if name != "time" and old.get(name) != new.get(name)
        ),
        "changes": changes,
    }
