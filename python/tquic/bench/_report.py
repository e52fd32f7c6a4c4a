"""Results as one HTML page with drawings, which needs nothing else."""

from __future__ import annotations

import html as escape
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from tquic.bench._compare import numbers

__all__ = ["html"]

_WIDTH: Final = 640
_BAR: Final = 22
_LABEL: Final = 90
_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; margin: 1em 0 } td, th { padding: .2em .8em; text-align: right }
td:first-child, th:first-child { text-align: left } tr { border-bottom: 1px solid #8884 }
svg text { font: 12px system-ui, sans-serif; fill: currentColor } rect { fill: #3b7dd8 }
polyline { fill: none; stroke: #3b7dd8; stroke-width: 2 } .axis { stroke: #8888 }
:root { color-scheme: light dark } pre { overflow: auto }
"""
_QUANTILES: Final = ("min", "p50", "p90", "p95", "p99", "p999", "p9999", "max")


def html(results: Iterable[Mapping[str, Any]]) -> str:
    """A page of results: distributions of each, and the course of benchmarks that ran again."""
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        by_name.setdefault(str(result["benchmark"]), []).append(result)
    parts = [_section(name, several) for name, several in by_name.items()]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>tquic benchmarks</title><style>{_STYLE}</style></head><body>"
        f"<h1>tquic benchmarks</h1>{''.join(parts) or '<p>No results.</p>'}</body></html>\n"
    )


def _section(name: str, results: Sequence[Mapping[str, Any]]) -> str:
    last = results[-1]
    unit, stats = str(last.get("unit", "")), last.get("stats", {})
    bars = [(quantile, float(stats[quantile])) for quantile in _QUANTILES if quantile in stats]
    rows = "".join(
        f"<tr><td>{_text(key)}</td><td>{value:,.6g}</td></tr>"
        for key, value in numbers({name: last.get(name, {})})
    )
    course = ""
    if len(results) > 1:
        values = [float(one["stats"]["p50"]) for one in results if "p50" in one.get("stats", {})]
        course = f"<h3>Median of {len(values)} runs, {_text(unit)}</h3>{_line(values)}"
    where = json.dumps(last.get("environment", {}), indent=2)
    return (
        f"<h2>{_text(str(last.get('command', name)))}</h2>"
        f"<p>{_text(str(last.get('time', '')))}, {last.get('samples', 0):,} samples</p>"
        f"<h3>Distribution, {_text(unit)}</h3>{_bars(bars)}{course}<table>{rows}</table>"
        f"<details><summary>Environment</summary><pre>{_text(where)}</pre></details>"
    )


def _text(text: str) -> str:
    return escape.escape(text)


def _bars(bars: Sequence[tuple[str, float]]) -> str:
    longest = max((value for _, value in bars), default=0.0) or 1.0
    room = _WIDTH - 2 * _LABEL
    drawn = "".join(
        f'<text x="0" y="{at * _BAR + 15}">{_text(label)}</text>'
        f'<rect x="{_LABEL}" y="{at * _BAR + 4}" width="{max(value / longest, 0) * room:.1f}" '
        f'height="14"/><text x="{_LABEL + max(value / longest, 0) * room + 6:.1f}" '
        f'y="{at * _BAR + 15}">{value:,.6g}</text>'
        for at, (label, value) in enumerate(bars)
    )
    return f'<svg width="{_WIDTH}" height="{len(bars) * _BAR + 4}" role="img">{drawn}</svg>'


def _line(values: Sequence[float]) -> str:
    height, longest = 120, max(values, default=0.0) or 1.0
    step = (_WIDTH - _LABEL) / max(len(values) - 1, 1)
    points = " ".join(
        f"{_LABEL + at * step:.1f},{height - value / longest * (height - 20):.1f}"
        for at, value in enumerate(values)
    )
    return (
        f'<svg width="{_WIDTH + 10}" height="{height + 4}" role="img">'
        f'<line class="axis" x1="{_LABEL}" y1="{height}" x2="{_WIDTH}" y2="{height}"/>'
        f'<text x="0" y="24">{longest:,.6g}</text><text x="0" y="{height}">0</text>'
        f'<polyline points="{points}"/></svg>'
    )
