"""Load for HTTP/3 servers: requests that are made and read in the engine's threads.

::

    result = tquic.load.run("https://localhost:4433/", connections=100, rate=5_000, duration=10)
    print(result.rate, result.latency.quantile_ns(0.99))

`start` begins the same and returns at once; the command is ``tquic load``.
"""

from tquic.load._options import Options
from tquic.load._request import Request
from tquic.load._responder import Responder
from tquic.load._result import QUANTILES, Result, summary
from tquic.load._run import Load, LoadError, run, start
from tquic.load._write import CSV_FIELDS, HlogWriter, csv_rows

__all__ = [
    "CSV_FIELDS",
    "QUANTILES",
    "HlogWriter",
    "Load",
    "LoadError",
    "Options",
    "Request",
    "Responder",
    "Result",
    "csv_rows",
    "run",
    "start",
    "summary",
]
