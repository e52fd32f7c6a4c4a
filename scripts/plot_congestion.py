"""Draws what `tquic-congestion --courses` wrote: ``plot_congestion.py COURSES_JSON FOLDER``.

One SVG for each scenario: a column for each controller; rate, window, queue and RTT over time.
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
# The same course gives the same file: no date, no random element names. Text stays text.
matplotlib.rcParams["svg.hashsalt"] = "tquic"
matplotlib.rcParams["svg.fonttype"] = "none"
matplotlib.rcParams["path.simplify_threshold"] = 1.0

import matplotlib.pyplot as plt  # noqa: E402

_ROWS = [
    ("rate_mbps", "rate, Mbit/s"),
    ("window_packets", "window, packets"),
    ("queue_ms", "queue, ms"),
    ("rtt_ms", "RTT, ms"),
]

_PATH = re.compile(r'<path d="[^"]*"')
_DIGITS = re.compile(r"(\d\.\d)\d+")


def draw(scenario: str, courses: list[dict[str, Any]], folder: Path) -> Path:
    """Draws a scenario; returns the file."""
    figure, axes = plt.subplots(
        len(_ROWS),
        len(courses),
        figsize=(2.6 * len(courses) + 0.6, 6.4),
        sharex=True,
        sharey="row",
        squeeze=False,
    )
    for column, entry in enumerate(courses):
        course = entry["course"]
        for row, (key, label) in enumerate(_ROWS):
            axis = axes[row][column]
            lines = [course] if key == "queue_ms" else course["flows"]
            for line in lines:
                axis.plot(course["time_s"], line[key], linewidth=0.7)
            axis.set_ylim(bottom=0)
            axis.grid(visible=True, linewidth=0.3)
            axis.tick_params(labelsize=7)
            if column == 0:
                axis.set_ylabel(label, fontsize=8)
        axes[0][column].set_title(entry["controller"], fontsize=9)
        axes[-1][column].set_xlabel("time, s", fontsize=8)
    # What stands out of a start must not flatten the rest.
    for row in (1, 3):
        values = sorted(
            value
            for entry in courses
            for flow in entry["course"]["flows"]
            for value in flow[_ROWS[row][0]]
        )
        axes[row][0].set_ylim(top=1.3 * values[int(0.99 * (len(values) - 1))] or 1)
    figure.suptitle(f"{scenario}: {courses[0]['about']}", fontsize=10)
    figure.tight_layout()
    path = folder / f"{scenario}.svg"
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    # A tenth of a point is finer than any screen; more digits only make the file larger.
    text = path.read_text(encoding="utf-8")
    text = _PATH.sub(lambda match: _DIGITS.sub(r"\1", match[0]), text)
    path.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", encoding="utf-8")
    return path


def main(arguments: list[str]) -> int:
    """Draws every scenario of a file."""
    source, folder = map(Path, arguments)
    folder.mkdir(parents=True, exist_ok=True)
    scenarios: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in json.loads(source.read_text(encoding="utf-8"))["courses"]:
        scenarios[entry["scenario"]].append(entry)
    size = sum(draw(name, each, folder).stat().st_size for name, each in scenarios.items())
    print(f"{len(scenarios)} drawings in {folder}, {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
