"""qlog files: read them, check them against the drafts, draw them.

`Config.qlog` has connections write such files; see the page on observability.
"""

from __future__ import annotations

from tquic.qlog._plot import Series, collect, plot
from tquic.qlog._read import Log, QlogError, read
from tquic.qlog._schema import EVENTS
from tquic.qlog._validate import Problem, validate

__all__ = ["EVENTS", "Log", "Problem", "QlogError", "Series", "collect", "plot", "read", "validate"]
