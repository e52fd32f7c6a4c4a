"""Plots in SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compare.results import Session

COLOURS = {"tquic": "#0b6e4f", "native": "#8d99ae", "python": "#b8a9c9", "reference": "#d9d9d9"}


def draw(session: Session, folder: Path) -> list[Path]:
    """One picture for each group of works; their files."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # The same session gives the same files, and text stays text.
    mpl.rcParams.update({"svg.hashsalt": "compare", "svg.fonttype": "none", "font.size": 8})
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    groups = dict.fromkeys(work["group"] for work in session.works.values())
    for group in groups:
        works = [name for name, work in session.works.items() if work["group"] == group]
        columns = min(len(works), 3)
        rows = -(-len(works) // columns)
        figure = Figure(figsize=(4.0 * columns, 0.6 + 3.0 * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
        for axis in axes.flat[len(works) :]:
            axis.set_visible(False)
        for work, axis in zip(works, axes.flat, strict=False):
            _bars(session, work, axis)
        path = folder / f"{group}.svg"
        figure.savefig(path, metadata={"Date": None})
        files.append(path)
    return files


def _bars(session: Session, work: str, axis: Any) -> None:
    facts = session.works[work]
    known = [(peer, s) for peer in session.peers if (s := session.spread(work, peer)) is not None]
    known.sort(key=lambda item: item[1].median, reverse=facts["higher_is_better"])
    names = [peer for peer, _ in known]
    medians = [spread.median for _, spread in known]
    low = [spread.median - spread.low for _, spread in known]
    high = [spread.high - spread.median for _, spread in known]
    colours = [COLOURS[session.peers[peer]["family"]] for peer in names]
    axis.barh(names, medians, xerr=[low, high], color=colours, ecolor="#444444", capsize=2)
    axis.invert_yaxis()
    better = "" if facts["higher_is_better"] else ", less is better"
    axis.set_title(facts["title"])
    axis.set_xlabel(f"{facts['unit']}{better}")
    axis.spines[["top", "right"]].set_visible(False)
