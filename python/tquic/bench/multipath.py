"""``python -m tquic.bench.multipath``: several paths between two network namespaces, side by side.

Each scenario first downloads over each of its paths alone, then over all of them together. What is
compared is what a program has got, bytes verified.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, get_args

from tquic.bench import network, tunnel
from tquic.bench.network import PORT, SERVER, Link, Network, serving
from tquic.bench.transfer import Action, Course, commands, visit, watched
from tquic.config import Config, Congestion, Scheduler
from tquic.connection import Connection
from tquic.multipath import PathManager

RELAY: Final = "TQUIC_BENCH_RELAY"
"""The variable that names `tquic-relay`, which links with a delay need."""


@dataclass(frozen=True)
class Band:
    """What a figure has to be."""

    low: float = float("-inf")
    high: float = float("inf")

    def holds(self, value: float) -> bool:
        """Whether it is."""
        return self.low <= value <= self.high

    def __str__(self) -> str:
        if self.low == float("-inf"):
            return f"<= {self.high:g}"
        return f">= {self.low:g}" if self.high == float("inf") else f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Figure:
    """Something measured."""

    name: str
    value: float
    unit: str = ""
    band: Band | None = None

    @property
    def holds(self) -> bool:
        """Whether it is as it should be."""
        return self.band is None or self.band.holds(self.value)

    def __str__(self) -> str:
        band = "" if self.band is None else f" ({self.band})"
        return f"{self.name} {self.value:.4g}{' ' if self.unit else ''}{self.unit}{band}"


@dataclass
class Result:
    """A scenario that was played."""

    scenario: str
    what: str
    figures: list[Figure] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether everything is as it should be."""
        return all(figure.holds for figure in self.figures)

    def report(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "scenario": self.scenario,
            "what": self.what,
            "ok": self.holds,
            "figures": {figure.name: figure.value for figure in self.figures},
        }


@dataclass(frozen=True)
class Play:
    """How the scenarios are played."""

    scheduler: Scheduler = "minrtt"
    congestion: Congestion = "cubic"
    seconds: float = 5.0
    """Of each transfer; twice as long where something happens on the way."""
    scale: float = 1.0
    """What the rates of the links are multiplied by."""
    relay: Path | None = None

    @classmethod
    def from_env(cls, **others: Any) -> Play:
        """With the relay that the environment names."""
        relay = os.environ.get(RELAY)
        return cls(relay=Path(relay) if relay else None, **others)


PAUSE: Final = Band(high=100)
"""Milliseconds without a byte when a path fails, its queue included."""

Measure = Callable[["_Stage"], Iterator[Figure]]


@dataclass(frozen=True)
class Scenario:
    """Links, and what is measured on them."""

    name: str
    what: str
    links: tuple[Link, ...]
    measure: Measure
    window: int | None = None
    """Bytes that the server has room for, for uploads."""

    @property
    def needs_relay(self) -> bool:
        """Whether it has links with a delay."""
        return any(link.delay for link in self.links)


@dataclass
class _Stage:
    """A network with a server, and downloads from it."""

    network: Network
    ca: Path
    play: Play

    def watch(
        self,
        links: Sequence[int],
        seconds: float,
        actions: Sequence[tuple[float, Action]] = (),
        **others: Any,
    ) -> Course:
        config = self.config(links, **others)
        done = watched((SERVER, PORT), config, seconds, actions, paths=len(links))
        return asyncio.run(done)

    def config(self, links: Sequence[int], **others: Any) -> Config:
        return Config(
            alpn=("perf",),
            ca=self.ca,
            server_name="localhost",
            paths=tuple(self.network.interfaces[link] for link in links),
            max_paths=8,
            congestion=self.play.congestion,
            **others,
        )

    def rate(self, *links: int) -> float:
        """Mbit/s over these links, slow start left out, which takes longer with delays."""
        slow = any(link.delay for link in self.network.links)
        seconds = self.play.seconds * (2 if slow else 1)
        course = self.watch(links, seconds)
        assert not course.wrong
        return course.rate(seconds * (0.4 if slow else 0.2), seconds)


def play(scenario: Scenario, how: Play) -> Result:
    """Plays a scenario, within a network namespace of one's own."""
    options = ["--scheduler", how.scheduler, "--congestion", how.congestion]
    links = [link.times(how.scale) for link in scenario.links]
    with (
        Network(links, how.relay) as network,
        serving(network, *options, window=scenario.window) as ca,
    ):
        stage = _Stage(network, ca, how)
        return Result(scenario.name, scenario.what, list(scenario.measure(stage)))


# ---- What is measured ----


def _sum(share: float) -> Measure:
    """All paths together beside each alone."""

    def measure(stage: _Stage) -> Iterator[Figure]:
        alone = [stage.rate(link) for link in range(len(stage.network.links))]
        for number, rate in enumerate(alone):
            yield Figure(f"path {number} alone", rate, "Mbit/s")
        together = stage.rate(*range(len(alone)))
        yield Figure("together", together, "Mbit/s")
        yield Figure("of the sum", 100 * together / sum(alone), "%", Band(low=share))
        yield Figure("of the best", 100 * together / max(alone), "%", Band(low=97))

    return measure


def _cut(stage: _Stage) -> Iterator[Figure]:
    """The first path loses everything, and comes back."""
    seconds = 2 * stage.play.seconds
    cut, mend = seconds * 0.3, seconds * 0.6
    network = stage.network
    actions = [(cut, commands(network.cut(0))), (mend, commands(network.mend(0)))]
    course = stage.watch((0, 1), seconds, actions)
    yield Figure("longest pause", 1e3 * course.longest_pause(cut, mend), "ms", PAUSE)
    yield Figure("wrong bytes", course.wrong, "", Band(high=0))
    other = network.links[1].rate
    meanwhile = course.rate(cut + 0.5, mend) / other * 100
    yield Figure("meanwhile, of the other path", meanwhile, "%", Band(low=80))
    again = _first_use(course, 0, mend)
    yield Figure("used again after", again, "s", Band(high=1.0))


def _first_use(course: Course, path: int, since: float) -> float:
    """Seconds until a path carries data again."""
    begin = course.path_bytes(path, 0, since)
    for at, amounts in course.samples:
        # More than probes.
        if at > since and amounts.get(path, 0) > begin + 20_000:
            return at - since
    return float("inf")


def _unplug(stage: _Stage) -> Iterator[Figure]:
    """The interface of the first path, over which the handshake went, is taken down."""
    seconds = 2 * stage.play.seconds
    begin = seconds * 0.5
    course = stage.watch((0, 1), seconds, [(begin, commands(stage.network.unplug(0)))])
    yield Figure("longest pause", 1e3 * course.longest_pause(begin, seconds), "ms", PAUSE)
    yield Figure("wrong bytes", course.wrong, "", Band(high=0))
    after = course.rate(begin + 0.5, seconds) / stage.network.links[1].rate * 100
    yield Figure("afterwards, of the other path", after, "%", Band(low=80))


def _come_and_go(stage: _Stage) -> Iterator[Figure]:
    """A second path is added on the way, and removed."""
    seconds = 2 * stage.play.seconds
    add, remove = seconds * 0.3, seconds * 0.7
    added: list[int] = []

    async def add_path(connection: Connection) -> None:
        added.append(await connection.add_path(interface="c1"))

    async def remove_path(connection: Connection) -> None:
        connection.remove_path(added[0])

    course = stage.watch((0,), seconds, [(add, add_path), (remove, remove_path)])
    first = course.rate(add * 0.3, add)
    both = course.rate(add + 1, remove)
    last = course.rate(remove + 0.5, seconds)
    yield Figure("before", first, "Mbit/s")
    yield Figure("with both", both, "Mbit/s")
    yield Figure("gain", both / first, "", Band(low=1.8))
    yield Figure("afterwards, of before", 100 * last / first, "%", Band(low=85))
    yield Figure("longest pause", 1e3 * course.longest_pause(add, seconds), "ms", Band(high=250))
    yield Figure("wrong bytes", course.wrong, "", Band(high=0))


def _backup(stage: _Stage) -> Iterator[Figure]:
    """The second path is a backup until the first is cut."""
    seconds = 2 * stage.play.seconds
    cut = seconds * 0.5

    async def set_aside(connection: Connection) -> None:
        connection.set_path_status(1, backup=True)

    actions = [(0.0, set_aside), (cut, commands(stage.network.cut(0)))]
    course = stage.watch((0, 1), seconds, actions)
    idle = course.path_bytes(1, cut * 0.5, cut) / max(course.path_bytes(0, cut * 0.5, cut), 1)
    yield Figure("on the backup before", 100 * idle, "%", Band(high=1))
    after = course.rate(cut + 0.5, seconds) / stage.network.links[1].rate * 100
    yield Figure("on it afterwards, of its rate", after, "%", Band(low=80))
    yield Figure("longest pause", 1e3 * course.longest_pause(cut, seconds), "ms", Band(high=500))
    yield Figure("wrong bytes", course.wrong, "", Band(high=0))


def _interfaces(stage: _Stage) -> Iterator[Figure]:
    """A path manager follows the interfaces: the second comes, then the first goes."""
    seconds = 2 * stage.play.seconds
    network, plug, unplug = stage.network, seconds * 0.3, seconds * 0.7
    managers: list[PathManager] = []

    async def manage(connection: Connection) -> None:
        managers.append(await PathManager(connection).__aenter__())

    async def stop(_: Connection) -> None:
        await managers[0].__aexit__(None, None, None)

    network.do(network.unplug(1))
    actions = [
        (0.0, manage),
        (plug, commands(network.plug(1))),
        (unplug, commands(network.unplug(0))),
        (seconds - 0.2, stop),
    ]
    course = stage.watch((0,), seconds, actions)
    yield Figure("second path after", _first_use(course, 1, plug), "s", Band(high=1.5))
    before = course.rate(plug * 0.3, plug)
    gain = course.rate(plug + 1.5, unplug) / before
    yield Figure("gain", gain, "", Band(low=1.8))
    after = 100 * course.rate(unplug + 0.5, seconds) / before
    yield Figure("on the second alone, of before", after, "%", Band(low=85))
    pause = 1e3 * course.longest_pause(plug, seconds)
    yield Figure("longest pause", pause, "ms", Band(high=250))
    states = [path["id"] for path in course.paths if path["state"] == "open"]
    yield Figure("paths left", len(states), "", Band(1, 1))
    yield Figure("wrong bytes", course.wrong, "", Band(high=0))


# Bytes of what pages of the Web are made of, and how often each is sent.
OBJECTS: Final = (30_000, 60_000, 120_000, 250_000)
ROUNDS: Final = 5


def _web(stage: _Stage) -> Iterator[Figure]:
    """Objects of the Web, each over a connection of its own, with each of three schedulers."""
    means = _uploads(stage, OBJECTS * ROUNDS, ("minrtt", "blest", "ecf"))
    for name, mean in means.items():
        yield Figure(f"mean, {name}", mean, "ms")
    yield Figure("blest, of minrtt", 100 * means["blest"] / means["minrtt"], "%", Band(high=105))
    yield Figure("ecf, of minrtt", 100 * means["ecf"] / means["minrtt"], "%", Band(high=95))


# Bytes of an upload that takes some seconds.
LONG: Final = 8_000_000


def _blocked(stage: _Stage) -> Iterator[Figure]:
    """Uploads into a window that the fast path alone can fill."""
    means = _uploads(stage, (LONG,) * 3, ("minrtt", "blest"))
    alone = _uploads(stage, (LONG,) * 3, ("minrtt",), paths=1)["minrtt"]
    yield Figure("over the fast path alone", alone, "ms")
    for name, mean in means.items():
        yield Figure(f"mean, {name}", mean, "ms")
    yield Figure("blest, of minrtt", 100 * means["blest"] / means["minrtt"], "%", Band(high=95))
    yield Figure("blest, of the fast path", 100 * means["blest"] / alone, "%", Band(high=105))


def _schedulers(stage: _Stage) -> Iterator[Figure]:
    """Each scheduler that is to use the best of what there is, beside the best path alone."""
    names: tuple[Scheduler, ...] = ("minrtt", "aggregate", "weighted", "blest", "ecf")
    alone = _uploads(stage, (LONG,) * 2, ("minrtt",), paths=1)["minrtt"]
    yield Figure("over the best path alone", alone, "ms")
    for name, mean in _uploads(stage, (LONG,) * 2, names).items():
        yield Figure(f"{name}, speed of the best path", 100 * alone / mean, "%", Band(low=97))


def _uploads(
    stage: _Stage, sizes: Sequence[int], schedulers: Sequence[Scheduler], *, paths: int = 2
) -> dict[str, float]:
    """Mean milliseconds of uploads of these sizes, over the first path or over both."""
    times: dict[str, list[float]] = {name: [] for name in schedulers}
    # By turns, so that what else the machine does falls on all of them.
    for size in sizes:
        for name in schedulers:
            config = stage.config(range(paths), scheduler=name)
            times[name].append(asyncio.run(visit((SERVER, PORT), config, size, paths=paths)))
    return {name: 1e3 * sum(each) / len(each) for name, each in times.items()}


def _tunnel(stage: _Stage) -> Iterator[Figure]:
    """A TCP connection through `tquic tunnel`."""
    alone, wrong = tunnel.rate(stage.network, (0,), stage.play.seconds)
    together, more = tunnel.rate(stage.network, (0, 1), stage.play.seconds)
    yield Figure("over one path", alone, "Mbit/s")
    yield Figure("over both", together, "Mbit/s")
    yield Figure("gain", together / alone, "", Band(low=1.8))
    yield Figure("wrong bytes", wrong + more, "", Band(high=0))


def _two(rate: float) -> tuple[Link, ...]:
    return (Link(rate), Link(rate))


# Rates are small, so that the machine is not what is measured; `Play.scale` makes them larger.
SCENARIOS: Final = (
    Scenario("equal-2", "two paths of 30 Mbit/s", _two(30), _sum(95)),
    Scenario("equal-3", "three paths of 20 Mbit/s", (Link(20),) * 3, _sum(95)),
    Scenario("equal-4", "four paths of 15 Mbit/s", (Link(15),) * 4, _sum(95)),
    Scenario("rates-4-to-1", "40 and 10 Mbit/s", (Link(40), Link(10)), _sum(90)),
    Scenario(
        "rtts-3-to-1",
        "20 Mbit/s each, 10 and 30 ms there and back",
        (Link(20, delay=5), Link(20, delay=15)),
        _sum(90),
    ),
    Scenario(
        "lte-and-dsl",
        "16 Mbit/s with 50 ms, 24 Mbit/s with 20 ms there and back, 4 Mbit/s up",
        (Link(16, delay=25, upload=4), Link(24, delay=10, upload=4)),
        _sum(90),
    ),
    Scenario(
        "web",
        "20 Mbit/s each, 10 and 100 ms there and back; uploads of 30 to 250 KB",
        (Link(20, delay=5), Link(20, delay=50)),
        _web,
    ),
    Scenario(
        "small-window",
        "20 and 5 Mbit/s, 20 and 150 ms there and back; uploads of 8 MB into a window of 200 KB",
        (Link(20, delay=10), Link(5, delay=75)),
        _blocked,
        window=200_000,
    ),
    Scenario(
        "schedulers",
        "40 and 10 Mbit/s, 10 and 60 ms there and back; uploads of 8 MB",
        (Link(40, delay=5), Link(10, delay=30)),
        _schedulers,
    ),
    Scenario("cut", "two paths of 20 Mbit/s; the first loses all, and comes back", _two(20), _cut),
    Scenario(
        "unplug", "two paths of 20 Mbit/s; the first's interface goes down", _two(20), _unplug
    ),
    Scenario(
        "come-and-go",
        "20 Mbit/s; a second path of 20 is added, and removed",
        _two(20),
        _come_and_go,
    ),
    Scenario(
        "backup", "two paths of 20 Mbit/s; one a backup until the other is cut", _two(20), _backup
    ),
    Scenario(
        "interfaces",
        "a path manager; an interface of 20 Mbit/s, a second comes up, the first goes down",
        _two(20),
        _interfaces,
    ),
    Scenario(
        "tunnel", "a TCP connection through a tunnel over 20 and 20 Mbit/s", _two(20), _tunnel
    ),
)
"""In the order in which they are played."""


def page(results: Sequence[Result], how: Play) -> str:
    """The figures as a page of the documentation."""
    lines = [
        "# Several paths, measured",
        "",
        "<!-- Written by `make multipath`: change tquic/bench/multipath.py. -->",
        "",
        "`python -m tquic.bench.multipath`: two network namespaces on one machine, links with "
        "token buckets, and `tquic-relay` where a",
        "link has a delay. Rates are those of the links with all headers, figures those of the "
        "bytes that a program has got,",
        f"all verified. Scheduler `{how.scheduler}`, congestion control `{how.congestion}`, "
        f"downloads of {how.seconds:g} s.",
        "",
        "| scenario | links, and what happens | measured | wanted |",
        "|---|---|---|---|",
    ]
    for result in results:
        for number, figure in enumerate(result.figures):
            first = (f"`{result.scenario}`", result.what) if number == 0 else ("", "")
            value = f"{figure.name}: {figure.value:.4g} {figure.unit}".strip()
            wanted = "" if figure.band is None else str(figure.band)
            missed = "" if figure.holds else ", not met"
            lines.append(f"| {first[0]} | {first[1]} | {value} | {wanted}{missed} |")
    return "\n".join(lines) + "\n"


def _parser() -> argparse.ArgumentParser:
    paths = argparse.ArgumentParser(
        prog="python -m tquic.bench.multipath",
        description="Several paths between two network namespaces with links of known rates.",
    )
    paths.add_argument(
        "scenarios",
        nargs="*",
        choices=[*(scenario.name for scenario in SCENARIOS), []],
        metavar="SCENARIO",
        help=f"default: all; {', '.join(scenario.name for scenario in SCENARIOS)}",
    )
    paths.add_argument("--scheduler", choices=get_args(Scheduler), default="minrtt", metavar="NAME")
    paths.add_argument(
        "--congestion", choices=get_args(Congestion), default="cubic", metavar="NAME"
    )
    paths.add_argument(
        "--duration",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="of each transfer (default: 5)",
    )
    paths.add_argument(
        "--scale",
        type=float,
        default=1.0,
        metavar="FACTOR",
        help="multiply all rates by this (default: %(default)s)",
    )
    paths.add_argument(
        "--markdown", type=Path, metavar="FILE", help="write the figures as a page as well"
    )
    paths.add_argument("--json", action="store_true", help="print one JSON document")

    return paths


def main(arguments: Sequence[str]) -> int:
    """Measures; the exit status is 1 if a figure is outside its band."""
    options = _parser().parse_args(arguments)
    try:
        inside = network.enter("tquic.bench.multipath", arguments)
        return _run(options) if inside is None else inside
    except network.NoNetworkError as error:
        print(f"tquic.bench.multipath: {error}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    how = Play.from_env(
        scheduler=options.scheduler,
        congestion=options.congestion,
        seconds=options.duration,
        scale=options.scale,
    )
    results = []
    for scenario in SCENARIOS:
        if options.scenarios and scenario.name not in options.scenarios:
            continue
        if scenario.needs_relay and how.relay is None:
            print(f"{scenario.name} left out: {RELAY} names no tquic-relay", file=sys.stderr)
            continue
        result = play(scenario, how)
        results.append(result)
        if not options.json:
            print(f"{result.scenario}: {result.what}")
            for figure in result.figures:
                print(f"  {figure}{'' if figure.holds else '  NOT MET'}", flush=True)
    if options.markdown is not None:
        options.markdown.write_text(page(results, how))
    if options.json:
        print(json.dumps({"results": [result.report() for result in results]}, indent=2))
    return 0 if all(result.holds for result in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
