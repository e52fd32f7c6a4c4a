"""A client and a server in network namespaces of their own, and some links between them.

The server has one address, `SERVER`, that every link leads to; which one is taken is for the client
to say, by the interface ``c0``, ``c1``, ... Rates are those of token buckets (tbf) at both ends.
Kernels without netem cannot delay packets: a link with a delay leads through a third namespace in
which ``tquic-relay`` holds them back.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

SERVER = "10.99.0.1"
PORT = 4433
# Of a process that has been brought into the namespaces already.
INSIDE = "TQUIC_BENCH_NAMESPACE"
# Bytes that a bucket lets through at once, and how long a packet may wait in its queue.
BURST, QUEUE = "32kb", "40ms"
# Variables that set the receive windows of a server: what it begins with is also the most.
WINDOWS = tuple(
    f"TQUIC_{which}_WINDOW" for which in ("STREAM", "MAX_STREAM", "CONNECTION", "MAX_CONNECTION")
)
# Seconds for a relay to listen.
START = 5.0


class NoNetworkError(Exception):
    """There can be no such network here, with the reason."""


@dataclass(frozen=True)
class Link:
    """A link between the two."""

    rate: float
    """Mbit/s from the server to the client, counted with all headers."""
    delay: float = 0.0
    """Milliseconds one way."""
    upload: float | None = None
    """Mbit/s to the server, if that differs."""

    def times(self, factor: float) -> Link:
        """The same, so many times as fast."""
        upload = None if self.upload is None else self.upload * factor
        return replace(self, rate=self.rate * factor, upload=upload)


def enter(module: str, arguments: Sequence[str]) -> int | None:
    """Runs `python -m module` again in a namespace of its own: its exit status, or `None` in there.

    Raises:
        NoNetworkError: that is not possible.
    """
    if os.environ.get(INSIDE):
        return None
    for tool in ("unshare", "nsenter", "ip", "tc"):
        if shutil.which(tool) is None:
            raise NoNetworkError(f"{tool} is needed (util-linux, iproute2)")
    own = ["unshare", "--net"]
    if os.geteuid() != 0:
        own += ["--user", "--map-root-user"]
    tried = subprocess.run([*own, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        raise NoNetworkError(f"no network namespace: {tried.stderr.strip()}")
    command = [*own, sys.executable, "-m", module, *arguments]
    return subprocess.run(command, env=os.environ | {INSIDE: "1"}, check=False).returncode


class _Namespace:
    """One that ends with this process at the latest."""

    def __init__(self) -> None:
        # `cat` ends when nobody can write to it any more.
        self._holder = subprocess.Popen(
            ["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        self.pid = str(self._holder.pid)
        # It has its namespace once it is `cat`.
        deadline = time.monotonic() + START
        while Path(f"/proc/{self.pid}/comm").read_text() != "cat\n":
            if self._holder.poll() is not None or time.monotonic() > deadline:
                raise NoNetworkError("no second network namespace")
            time.sleep(0.005)
        self.run("ip", "link", "set", "lo", "up")

    def command(self, *arguments: str) -> list[str]:
        return ["nsenter", "-t", self.pid, "-n", *arguments]

    def run(self, *arguments: str) -> None:
        _run(*self.command(*arguments))

    def end(self) -> None:
        if self._holder.stdin is not None:
            self._holder.stdin.close()
        self._holder.wait()


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoNetworkError(f"{' '.join(command)}: {done.stderr.strip()}")


def shape(interface: str, rate: float) -> list[str]:
    """The command that gives an interface its rate."""
    bucket = ["rate", f"{rate}mbit", "burst", BURST, "latency", QUEUE]
    return ["tc", "qdisc", "replace", "dev", interface, "root", "tbf", *bucket]


def swallow(interface: str) -> list[str]:
    """The command that makes an interface lose everything, without a word."""
    bucket = ["rate", "8bit", "burst", "1600", "limit", "1"]
    return ["tc", "qdisc", "replace", "dev", interface, "root", "tbf", *bucket]


class Network:
    """The two and their links; a context manager. The client's namespace is this process's own."""

    def __init__(self, links: Sequence[Link], relay: Path | None = None) -> None:
        self.links = tuple(links)
        self._relay = relay
        self._server: _Namespace | None = None
        self._middles: list[_Namespace] = []
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def server(self) -> _Namespace:
        """The server's namespace."""
        assert self._server is not None
        return self._server

    @property
    def interfaces(self) -> list[str]:
        """The client's, one for each link."""
        return [f"c{number}" for number in range(len(self.links))]

    def __enter__(self) -> Self:
        try:
            _run("ip", "link", "set", "lo", "up")
            self._server = _Namespace()
            self.server.run("ip", "address", "add", f"{SERVER}/32", "dev", "lo")
            for number, link in enumerate(self.links):
                self._connect(number, link)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Takes all of it down."""
        for process in self._processes:
            process.terminate()
            process.wait()
        for namespace in [*self._middles, *([self._server] if self._server else [])]:
            namespace.end()
        self._processes, self._middles, self._server = [], [], None
        for interface in self.interfaces:
            # Without its other end it may be gone already.
            with contextlib.suppress(NoNetworkError):
                _run("ip", "link", "delete", interface)

    def _connect(self, number: int, link: Link) -> None:
        near, far = f"c{number}", f"s{number}"
        here, there = f"10.77.{number}.1", f"10.77.{number}.2"
        if link.delay:
            middle, into = _Namespace(), f"m{number}"
            self._middles.append(middle)
            _cable(None, near, middle, into, here, there)
            other = f"n{number}"
            behind, end = f"10.78.{number}.1", f"10.78.{number}.2"
            _cable(middle, other, self.server, far, behind, end)
            middle.run("ip", "address", "add", f"{SERVER}/32", "dev", "lo")
            self._delay(middle, end, link.delay)
        else:
            _cable(None, near, self.server, far, here, there)
        _run(*_route(number))
        _run(*shape(near, link.upload or link.rate))
        self.server.run(*shape(far, link.rate))

    def _delay(self, middle: _Namespace, to: str, delay: float) -> None:
        if self._relay is None:
            raise NoNetworkError("links with a delay need tquic-relay; TQUIC_BENCH_RELAY names it")
        command = [str(self._relay), "--listen", f"{SERVER}:{PORT}", "--to", f"{to}:{PORT}"]
        process = subprocess.Popen(
            middle.command(*command, "--delay", f"{delay}ms", "--summary", os.devnull),
            stdout=subprocess.PIPE,
        )
        self._processes.append(process)
        assert process.stdout is not None
        if not process.stdout.readline().startswith(b"listening"):
            raise NoNetworkError("tquic-relay does not start")

    def cut(self, number: int) -> list[list[str]]:
        """The commands after which a link carries nothing, and nobody is told."""
        return [swallow(f"c{number}"), self.server.command(*swallow(f"s{number}"))]

    def mend(self, number: int) -> list[list[str]]:
        """Those that undo it."""
        link = self.links[number]
        near = shape(f"c{number}", link.upload or link.rate)
        return [near, self.server.command(*shape(f"s{number}", link.rate))]

    def unplug(self, number: int) -> list[list[str]]:
        """Those that take the interface down."""
        return [["ip", "link", "set", f"c{number}", "down"]]

    def plug(self, number: int) -> list[list[str]]:
        """Those that bring it up again."""
        return [["ip", "link", "set", f"c{number}", "up"], _route(number)]

    def do(self, commands: Sequence[Sequence[str]]) -> None:
        """Runs commands now."""
        for command in commands:
            _run(*command)


def _route(number: int) -> list[str]:
    # The first link has the smallest metric.
    to = ["via", f"10.77.{number}.2", "dev", f"c{number}", "metric", str(100 + number)]
    return ["ip", "route", "replace", f"{SERVER}/32", *to]


def _cable(
    one: _Namespace | None, near: str, other: _Namespace, far: str, here: str, there: str
) -> None:
    run = one.run if one is not None else _run
    run("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", other.pid)
    run("ip", "address", "add", f"{here}/24", "dev", near)
    run("ip", "link", "set", near, "up")
    other.run("ip", "address", "add", f"{there}/24", "dev", far)
    other.run("ip", "link", "set", far, "up")


@contextlib.contextmanager
def serving(network: Network, *options: str, window: int | None = None) -> Generator[Path]:
    """A perf server that takes several paths, with a fixed receive window if one is given (bytes);
    the file with its CA."""
    command = [sys.executable, "-m", "tquic", "perf", "server", "--host", "0.0.0.0"]
    command += ["--port", str(PORT), "--multipath", *options]
    process = subprocess.Popen(
        network.server.command(*command),
        env={**os.environ, **({} if window is None else dict.fromkeys(WINDOWS, str(window)))},
        stdout=subprocess.PIPE,
        stderr=sys.stderr,
        text=True,
    )
    try:
        assert process.stdout is not None
        if not process.stdout.readline().startswith("listening"):
            raise NoNetworkError("the perf server does not start")
        yield Path(process.stdout.readline().rpartition("--cacert ")[2].strip())
    finally:
        process.terminate()
        process.wait()
