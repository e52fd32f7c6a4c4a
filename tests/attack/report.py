"""Writes the page of attacks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from .field import MIB, Honest, Result
from .judge import judge, table

MARKS: Final = ("<!-- attacks: written by make attack -->", "<!-- end of attacks -->")


def results(facts: dict[str, Any]) -> list[Result]:
    """From what was kept of them, in the order of the table of bounds."""
    found = []
    for name in table():
        if name in facts:
            fact = dict(facts[name])
            phases = {phase: Honest(**fact.pop(phase)) for phase in ("before", "during", "after")}
            found.append(Result(**fact, **phases))
    return found


def write(page: Path, facts: dict[str, Any]) -> None:
    """Puts the tables between the marks of a page."""
    text = page.read_text()
    head, rest = text.split(MARKS[0])
    _, tail = rest.split(MARKS[1])
    body = "\n".join(lines(results(facts)))
    page.write_text(f"{head}{MARKS[0]}\n\n{body}\n\n{MARKS[1]}{tail}")


def lines(found: list[Result]) -> Iterator[str]:
    """The tables."""
    yield from _attacks(found)
    yield ""
    yield from _bounds(found)
    yield ""
    yield from _classes(found)


def _attacks(found: list[Result]) -> Iterator[str]:
    yield "| attack | what was sent | memory | CPU | out per in | honest clients | verdict |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | --- |"
    for one in found:
        broken = [finding for finding in judge(one, times=True) if not finding.holds]
        grown = (one.memory_peak - one.memory_before) / MIB
        left = (one.memory_after - one.memory_before) / MIB
        honest = " / ".join(
            f"{phase.median * 1000:.0f}" for phase in (one.before, one.during, one.after)
        )
        share = f"{one.during.served} of {one.during.begun}"
        yield (
            f"| [{one.name}](#{one.name}) | {one.sent} | {grown:.1f}, then {left:.1f} MiB "
            f"| {one.cpu:.1f} of {one.seconds:.1f} s | {one.amplification:.2f} "
            f"| {share}; {honest} ms | {'**broken**' if broken else 'holds'} |"
        )


def _bounds(found: list[Result]) -> Iterator[str]:
    rows = table()
    for one in found:
        yield f"### {one.name}"
        yield ""
        yield (
            f"{rows[one.name]['class']}. {one.datagrams} datagrams, {one.bytes_in} bytes. "
            f"`python -m tests.attack {one.name} --seed {one.seed}`, {one.date}, {one.commit}."
        )
        yield ""
        yield "| measure | found | bound | because |"
        yield "| --- | ---: | ---: | --- |"
        for finding in judge(one, times=True):
            bound = finding.bound
            value = f"{finding.measured:.4g}" if finding.holds else f"**{finding.measured:.4g}**"
            sign = "at most" if bound.relation == "<=" else "at least"
            yield f"| {bound.measure} | {value} | {sign} {bound.value:g} | {bound.source} |"
        yield ""


def _classes(found: list[Result]) -> Iterator[str]:
    rows = table()
    yield "### Classes of attacks"
    yield ""
    yield "| class | attacks, or what there is instead |"
    yield "| --- | --- |"
    measured = {one.name for one in found}
    for name, instead in rows["classes"].items():
        here = [row for row, facts in rows.items() if name in facts.get("class", "").split("; ")]
        links = [f"[{row}](#{row})" if row in measured else f"{row} (not run)" for row in here]
        yield f"| {name} | {', '.join(links) or instead} |"
