"""Benchmarks of this machine, in one process over loopback: what ``/proc/tquic_bench`` is to the
kernel module. The command is ``tquic bench``; `run` takes the same lines."""

from tquic.bench._compare import compare
from tquic.bench._parse import BENCHMARKS, BenchmarkError, parse
from tquic.bench._report import html
from tquic.bench._result import SCHEMA, run
from tquic.bench._store import Store

__all__ = ["BENCHMARKS", "SCHEMA", "BenchmarkError", "Store", "compare", "html", "parse", "run"]
