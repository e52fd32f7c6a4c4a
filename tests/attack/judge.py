"""Holds what was measured against the table of bounds."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .field import MIB, Result

TABLE: Final = Path(__file__).with_name("bounds.toml")
# Not judged where other work may be going on.
TIMES: Final = (
    *("cpu", "left", "honest", "after", "slowest", "cost_ratio"),
    *("answered_share", "recovered_share", "refused_share"),
)  # fmt: skip


@dataclass(frozen=True)
class Bound:
    """What must hold."""

    measure: str
    relation: str
    value: float
    source: str

    def holds(self, measured: float) -> bool:
        """Whether it does."""
        return measured <= self.value if self.relation == "<=" else measured >= self.value


@dataclass(frozen=True)
class Finding:
    """A bound and what was measured."""

    bound: Bound
    measured: float

    @property
    def holds(self) -> bool:
        """Whether it is kept."""
        return self.bound.holds(self.measured)

    def __str__(self) -> str:
        bound = self.bound
        sign = "" if self.holds else " BROKEN"
        return f"{bound.measure} {self.measured:.4g} {bound.relation} {bound.value:g}{sign}"


def table() -> dict[str, Any]:
    """The file, as it is."""
    return tomllib.loads(TABLE.read_text())


def bounds(name: str) -> list[Bound]:
    """Those of an attack."""
    found = table()
    own, every = (
        {measure: Bound(measure, *rest) for measure, *rest in found[which]["bounds"]}
        for which in (name, "every")
    )
    # What a row says itself counts, not what holds for all.
    return list((own | every | own).values())


def measures(result: Result) -> dict[str, float]:
    """All that was measured, under the names of the table."""
    traffic = {
        "amplification": result.amplification,
        "cpu": result.cpu / max(result.datagrams, 1) * 1e6,
    }
    return {
        "memory": (result.memory_peak - result.memory_before) / MIB,
        "left": (result.memory_after - result.memory_before) / MIB,
        # Files and honest clients send no datagrams of an attacker.
        **(traffic if result.datagrams else {}),
        "honest_share": min(phase.share for phase in (result.during, result.after)),
        "honest": result.during.median * 1000,
        "after": result.after.median * 1000,
        **result.figures,
    }


def judge(result: Result, *, times: bool) -> list[Finding]:
    """Every bound of the attack; with `times` those of time as well.

    Raises:
        LookupError: something was measured that has no bound, or the other way round.
    """
    known, measured = bounds(result.name), measures(result)
    if missing := {bound.measure for bound in known} ^ set(measured):
        raise LookupError(f"{result.name}: without bound or measure: {', '.join(sorted(missing))}")
    return [
        Finding(bound, measured[bound.measure])
        for bound in known
        if times or bound.measure not in TIMES
    ]
