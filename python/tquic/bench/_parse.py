"""The lines that name a benchmark: ``throughput 10``, ``multipath 4 10``."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Final, NamedTuple

__all__ = ["BENCHMARKS", "Argument", "Benchmark", "BenchmarkError", "Line", "parse"]


class BenchmarkError(ValueError):
    """A line that names no benchmark, or gives it what it does not take."""


class Argument(NamedTuple):
    """A number behind the name of a benchmark."""

    name: str
    default: float
    low: float
    high: float
    whole: bool


def _seconds(default: float) -> Argument:
    return Argument("SECONDS", default, 0.1, 3600, False)


def _count(name: str, default: int, high: int) -> Argument:
    return Argument(name, default, 1, high, True)


class Benchmark(NamedTuple):
    """What it measures, in a few words, and its arguments."""

    summary: str
    arguments: tuple[Argument, ...]


BENCHMARKS: Final[Mapping[str, Benchmark]] = {
    "throughput": Benchmark("bytes over one stream", (_seconds(10),)),
    "latency": Benchmark("small requests and handshakes, one by one", (_count("N", 1000, 10**7),)),
    "crypto": Benchmark("packet protection alone, by one thread", (_seconds(10),)),
    "multipath": Benchmark(
        "bytes over several paths, each of 25 Mbit/s", (_count("PATHS", 4, 8), _seconds(10))
    ),
    "rtt": Benchmark("PING frames, one after another", (_count("N", 1000, 10**6),)),
    "handshake": Benchmark("full handshakes, one after another", (_count("N", 500, 10**6),)),
    "stream_open": Benchmark(
        "streams opened, used for 8 bytes and closed", (_count("N", 20_000, 10**7),)
    ),
    "packet_proc": Benchmark("CPU time for each packet of a transfer", (_seconds(5),)),
    "scalability": Benchmark(
        "requests over 1, 10, 100 ... CONNECTIONS",
        (_count("CONNECTIONS", 1000, 1 << 20), _seconds(2)),
    ),
    "memory": Benchmark("resident memory of idle connections", (_count("N", 2000, 1 << 20),)),
}
"""Those that there are, by name."""


class Line(NamedTuple):
    """A benchmark and its arguments; seconds are floats, counts are ints."""

    name: str
    arguments: tuple[float, ...]

    def __str__(self) -> str:
        return " ".join([self.name, *(f"{argument:g}" for argument in self.arguments)])


def parse(text: str) -> Line:
    """What a line asks for; arguments that are left off have their defaults.

    Raises:
        BenchmarkError: there is no such benchmark, or it does not take that.
    """
    name, *words = text.split() or [""]
    if name not in BENCHMARKS:
        near = difflib.get_close_matches(name, BENCHMARKS, 1)
        hint = f"; did you mean {near[0]}?" if near else f": {', '.join(BENCHMARKS)}"
        raise BenchmarkError(f"there is no benchmark {name!r}{hint}")
    known = BENCHMARKS[name].arguments
    if len(words) > len(known):
        takes = " ".join(argument.name for argument in known)
        raise BenchmarkError(f"{name} takes {takes} and no more")
    values = [_value(name, argument, word) for argument, word in zip(known, words, strict=False)]
    values += [argument.default for argument in known[len(words) :]]
    return Line(name, tuple(values))


def _value(name: str, argument: Argument, word: str) -> float:
    try:
        value: float = int(word) if argument.whole else float(word)
    except ValueError:
        value = -1.0
    if not argument.low <= value <= argument.high:
        limits = f"from {argument.low:g} to {argument.high:.0f}"
        raise BenchmarkError(f"{name}: {argument.name} is a number {limits}, not {word!r}")
    return value
