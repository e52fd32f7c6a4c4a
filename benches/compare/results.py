"""The document of a session, and what can be read from it."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from compare.peers import SUBJECT
from compare.runner import Cell

FORMAT = 1


@dataclass(frozen=True)
class Spread:
    """Some numbers in short."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread | None:
        """`None` without values."""
        known = list(values)
        if not known:
            return None
        return cls(statistics.median(known), min(known), max(known), len(known))


def document(
    cells: list[Cell],
    not_run: list[dict[str, str]],
    about: dict[str, Any],
) -> dict[str, Any]:
    """Everything that was measured; schema.json says what is where."""
    works = {cell.work.name: cell.work for cell in cells}
    return {
        "format": FORMAT,
        **about,
        "works": {
            name: {
                "title": work.title,
                "group": work.group,
                "unit": work.unit,
                "higher_is_better": work.higher_is_better,
                "options": work.options,
                "link": list(work.link),
            }
            for name, work in works.items()
        },
        "results": [
            {
                "work": cell.work.name,
                "peer": cell.peer.name,
                "runs": cell.runs,
                "failures": cell.failures,
                "calls": cell.calls,
            }
            for cell in cells
        ],
        "not_run": not_run,
    }


def joined(documents: list[dict[str, Any]]) -> dict[str, Any]:
    """Sessions with different works as one: those on one machine, of one day."""
    whole = dict(documents[0])
    for other in documents[1:]:
        if other["machine"] != whole["machine"]:
            raise ValueError("sessions of different machines have nothing to do with each other")
        if both := whole["works"].keys() & other["works"].keys():
            raise ValueError(f"both sessions have {', '.join(sorted(both))}")
        whole |= {
            "seconds": whole["seconds"] + other["seconds"],
            "command": f"{whole['command']}; {other['command']}",
            "quick": whole["quick"] or other["quick"],
            "rounds": min(whole["rounds"], other["rounds"]),
            "peers": {**whole["peers"], **other["peers"]},
            "works": {**whole["works"], **other["works"]},
            "results": whole["results"] + other["results"],
            "not_run": whole["not_run"] + other["not_run"],
        }
    return whole


class Session:
    """A document, read."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.works: dict[str, dict[str, Any]] = document["works"]
        self.peers: dict[str, dict[str, Any]] = document["peers"]
        self._cells = {(r["work"], r["peer"]): r for r in document["results"]}

    def of(self, groups: Collection[str]) -> Session:
        """The part of it that has to do with works of these groups."""
        works = {name: work for name, work in self.works.items() if work["group"] in groups}
        lists = {
            name: [entry for entry in self.document[name] if entry["work"] in works]
            for name in ("results", "not_run")
        }
        known = {entry["peer"] for entry in lists["results"]}
        peers = {
            name: facts
            for name, facts in self.peers.items()
            if name in known or facts["failure"] is not None
        }
        return Session({**self.document, **lists, "works": works, "peers": peers})

    def cell(self, work: str, peer: str) -> dict[str, Any] | None:
        """What was measured of some work over a peer."""
        return self._cells.get((work, peer))

    def spread(self, work: str, peer: str, key: str = "value") -> Spread | None:
        """One number of all runs; `None` if there are none."""
        cell = self.cell(work, peer)
        runs = cell["runs"] if cell else []
        return Spread.of(float(run[key]) for run in runs if run.get(key) is not None)

    def latency(self, work: str, peer: str, name: str) -> Spread | None:
        """A percentile of latency in microseconds."""
        cell = self.cell(work, peer)
        runs = cell["runs"] if cell else []
        return Spread.of(float(r["latency_us"][name]) for r in runs if r.get("latency_us"))

    def cpu(self, work: str, peer: str, end: str) -> float | None:
        """Median CPU seconds per GB at one end; per event in milliseconds where no bytes count."""
        cell = self.cell(work, peer)
        if not cell or not cell["runs"]:
            return None
        key = {"client": "cpu_seconds", "server": "server_cpu_seconds"}[end]
        in_bytes = self.works[work]["unit"] in {"Gbit/s", "Mbit/s"}
        what, many = ("bytes", 1e9) if in_bytes else ("count", 1e3)
        return statistics.median(
            float(run[key]) / max(float(run[what]) / many, 1e-9) for run in cell["runs"]
        )

    def failures(self, work: str, peer: str) -> list[str]:
        """Why runs gave nothing."""
        cell = self.cell(work, peer)
        return list(cell["failures"]) if cell else []

    def best_other(self, work: str) -> str | None:
        """The best stack that is not ours and is a QUIC stack."""
        others = {
            name: spread.median
            for name, facts in self.peers.items()
            if facts["family"] in {"native", "python"}
            and (spread := self.spread(work, name)) is not None
        }
        if not others:
            return None
        pick = max if self.works[work]["higher_is_better"] else min
        return pick(others, key=lambda name: others[name])

    def ratio(self, work: str, peer: str, other: str) -> float | None:
        """How many times better `peer` is: above 1 is better, whatever the unit."""
        mine, theirs = self.spread(work, peer), self.spread(work, other)
        if mine is None or theirs is None or not mine.median or not theirs.median:
            return None
        if self.works[work]["higher_is_better"]:
            return mine.median / theirs.median
        return theirs.median / mine.median

    def losses(self) -> list[tuple[str, str, float]]:
        """Works where another QUIC stack is better than ours: work, stack, our ratio to it."""
        lost = []
        for work in self.works:
            other = self.best_other(work)
            ratio = None if other is None else self.ratio(work, SUBJECT, other)
            if other is not None and ratio is not None and ratio < 1:
                lost.append((work, other, ratio))
        return lost
