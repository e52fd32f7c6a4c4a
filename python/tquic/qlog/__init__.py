"""qlog: read files, check them against the drafts, draw them; hear of connections of running
processes; look into the rings of this one.

`Config.qlog` and `Config.qlog_mode` say where events go; see the page on observability.
"""

from __future__ import annotations

from tquic.qlog._listen import Heard, Listener
from tquic.qlog._plot import Series, collect, plot
from tquic.qlog._read import Log, QlogError, read
from tquic.qlog._ring import Ring, dropped, rings
from tquic.qlog._schema import EVENTS
from tquic.qlog._validate import Problem, validate

__all__ = [
    "EVENTS",
    "Heard",
    "Listener",
    "Log",
    "Problem",
    "QlogError",
    "Ring",
    "Series",
    "collect",
    "dropped",
    "plot",
    "read",
    "rings",
    "validate",
]
