"""What is measured."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

MEGA = 1_000_000
GIGA = 1_000_000_000

Kind = Literal["bulk", "requests", "handshakes", "datagrams", "idle"]


@dataclass(frozen=True)
class Work:
    """Some work: the numbers of the driver's options, and how its result is read."""

    name: str
    group: str
    title: str
    kind: Kind
    # The options of a driver's client, without the dashes.
    options: dict[str, int | str] = field(default_factory=dict)
    # Options of the project's relay between the two, if there is one.
    link: tuple[str, ...] = ()
    # The unit of the value that is compared.
    unit: str = "Gbit/s"
    higher_is_better: bool = True

    @property
    def bytes(self) -> int:
        """Bytes of the application that are transferred."""
        size = self.number("requests") * self.number("response") or (
            self.number("count") * self.number("size")
        )
        return self.number("download") + self.number("upload") + size

    def number(self, option: str) -> int:
        """An option that is a number; 0 if it is not there."""
        return int(self.options.get(option, 0))

    def scaled(self, share: float) -> Work:
        """The same with less to do: for stacks that would take minutes."""
        scalable = {"download", "upload", "requests", "count"}
        options = {
            name: max(int(value * share), 1)
            if name in scalable and isinstance(value, int) and value
            else value
            for name, value in self.options.items()
        }
        return replace(self, options=options)

    def value(self, run: dict[str, Any]) -> float:
        """What is compared, from the facts of one run."""
        if self.kind == "idle":
            return float(run["idle_bytes"]) / self.number("connections") / 1024
        if self.unit == "Gbit/s":
            return float(run["bytes"]) * 8 / float(run["seconds"]) / GIGA
        if self.unit == "Mbit/s":
            return float(run["bytes"]) * 8 / float(run["seconds"]) / MEGA
        if self.unit == "us":
            return float(run["latency_us"]["p50"])
        return float(run["count"]) / float(run["seconds"])


def _bulk(name: str, title: str, down: int, up: int, streams: int) -> Work:
    options: dict[str, int | str] = {"download": down, "upload": up, "streams": streams}
    return Work(name, "bulk", title, "bulk", options)


def _requests(count: int, response: int, inflight: int) -> Work:
    options: dict[str, int | str] = {
        "requests": count,
        "response": response,
        "inflight": inflight,
    }
    name = f"requests-{response}-{inflight}"
    title = f"responses of {response} bytes, {inflight} in flight"
    return Work(name, "requests", title, "requests", options, unit="per second")


def _handshakes(name: str, title: str, kind: str, count: int, unit: str = "per second") -> Work:
    options: dict[str, int | str] = {"count": count, "kind": kind}
    higher = unit != "us"
    return Work(
        name, "handshakes", title, "handshakes", options, unit=unit, higher_is_better=higher
    )


def _link(name: str, title: str, size: int, *link: str) -> Work:
    options: dict[str, int | str] = {"download": size, "upload": 0, "streams": 1}
    return Work(name, "links", title, "bulk", options, link=link, unit="Mbit/s")


WORKS: tuple[Work, ...] = (
    _bulk("download", "download, one stream", 1 * GIGA, 0, 1),
    _bulk("upload", "upload, one stream", 0, 1 * GIGA, 1),
    _bulk("streams", "download, 100 streams", 1 * GIGA, 0, 100),
    _requests(10_000, 32, 1),
    _requests(80_000, 32, 16),
    _requests(150_000, 32, 256),
    _requests(10_000, 1024, 1),
    _requests(80_000, 1024, 16),
    _requests(150_000, 1024, 256),
    _handshakes("full", "full handshakes, one after another", "full", 500),
    _handshakes("resumed", "resumed handshakes", "resumed", 500),
    _handshakes("0rtt", "0-RTT: connection and answered request", "0rtt", 500),
    _handshakes(
        "first-byte", "time to the first byte, full handshake", "first-byte", 300, unit="us"
    ),
    Work(
        "datagrams",
        "datagrams",
        "datagrams of 1200 bytes, received",
        "datagrams",
        {"count": 500_000, "size": 1200},
        unit="per second",
    ),
    Work(
        "active",
        "connections",
        "1,000 connections active at once, responses of 32 bytes",
        "requests",
        {"requests": 100_000, "response": 32, "inflight": 1, "connections": 1000},
        unit="per second",
    ),
    Work(
        "idle",
        "connections",
        "memory of an idle connection at the server, of 10,000",
        "idle",
        {"connections": 10_000, "seconds": 10},
        unit="KiB",
        higher_is_better=False,
    ),
    _link("100M", "100 Mbit/s, 20 ms", 50 * MEGA, "--rate", "100M", "--delay", "10ms"),
    _link("1G", "1 Gbit/s, 20 ms", 250 * MEGA, "--rate", "1G", "--delay", "10ms"),
    _link(
        "100M-loss",
        "100 Mbit/s, 20 ms, 1 % loss",
        10 * MEGA,
        "--rate",
        "100M",
        "--delay",
        "10ms",
        "--loss",
        "1%",
    ),
)

GROUPS: tuple[str, ...] = tuple(dict.fromkeys(work.group for work in WORKS))

# What a quick run does of everything: seconds instead of minutes.
QUICK_SHARE = 0.1
QUICK_CONNECTIONS = 100


def select(names: list[str], *, quick: bool) -> list[Work]:
    """The works that have these names, or are in these groups; all of them without names."""
    known = {work.name for work in WORKS} | set(GROUPS)
    for name in names:
        if name not in known:
            raise ValueError(f"no work {name!r}; there are {', '.join(sorted(known))}")
    chosen = [w for w in WORKS if not names or w.name in names or w.group in names]
    return [_quick(work) for work in chosen] if quick else chosen


def _quick(work: Work) -> Work:
    work = work.scaled(QUICK_SHARE)
    if work.number("connections") > QUICK_CONNECTIONS:
        options = work.options | {"connections": QUICK_CONNECTIONS}
        title = work.title.replace("10,000", "100").replace("1,000", "100")
        work = replace(work, options=options, title=title)
    if work.number("seconds"):
        work = replace(work, options=work.options | {"seconds": 2})
    return work
