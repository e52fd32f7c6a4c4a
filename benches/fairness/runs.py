"""Runs flows over a bottleneck and measures them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fairness.flows import Sender
from fairness.network import Bottleneck, Network, NetworkError, end, network

# Seconds between two looks at the queue.
LOOK = 0.5


@dataclass(frozen=True)
class Files:
    """The certificates of a session."""

    ca: Path
    cert: Path
    key: Path


@dataclass(frozen=True)
class Times:
    """Seconds."""

    warm_up: float
    measured: float


@dataclass(frozen=True)
class Result:
    """What came of a run, while it was measured."""

    flows: tuple[str, ...]
    # Bits per second of IP packets that arrived, flow by flow.
    rates: tuple[float, ...]
    # The mean delay of the queue, in milliseconds.
    queue_ms: float
    # Part of the packets that the queue dropped.
    loss: float

    def document(self, bottleneck: Bottleneck) -> dict[str, Any]:
        """For a report."""
        return {**asdict(self), "utilization": sum(self.rates) / bottleneck.rate}


def run(
    name: str, senders: list[Sender], bottleneck: Bottleneck, times: Times, files: Files
) -> Result:
    """Lets flows send at the same time."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        net = stack.enter_context(network(name, bottleneck))
        arrived = Arrivals(net)
        keys, commands = [], []
        for index, sender in enumerate(senders):
            log = folder / f"server-{index}"
            server = start(net.at_sender(sender.server_command(files.cert, files.key)), sender, log)
            stack.callback(end, server)
            address = listening(server, log)
            keys.append(f"{sender.protocol}:{address.rpartition(':')[2]}")
            commands.append((net.at_receiver(sender.client_command(address, files.ca)), sender))
        clients = []
        for index, (command, sender) in enumerate(commands):
            client = start(command, sender, folder / f"client-{index}")
            stack.callback(end, client)
            clients.append(client)
        time.sleep(times.warm_up)
        before, dropped = arrived.now(keys), net.queue()
        backlog = watch(net, times.measured)
        after, (_, sent, lost) = arrived.now(keys), net.queue()
        for index, client in enumerate(clients):
            if client.poll() is not None:
                said = (folder / f"client-{index}").read_text().strip()
                raise NetworkError(f"{senders[index].name} ended early: {said}")
        offered = sent - dropped[1] + lost - dropped[2]
        seconds = after[0] - before[0]
        rates = [(b - a) * 8 / seconds for a, b in zip(before[1], after[1], strict=True)]
        return Result(
            tuple(sender.name for sender in senders),
            tuple(rates),
            backlog * 8 / bottleneck.rate * 1e3,
            (lost - dropped[2]) / max(offered, 1),
        )


def start(command: list[str], sender: Sender, log: Path) -> subprocess.Popen[str]:
    """Starts an end of a flow; what it says of errors goes to a file."""
    with log.open("w") as errors:
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, **sender.environment},
        )


def listening(server: subprocess.Popen[str], log: Path) -> str:
    """The address that a server says it listens on."""
    assert server.stdout is not None
    line = server.stdout.readline()
    if found := re.match(r"listening on (\S+)", line):
        return found[1]
    raise NetworkError(f"a server did not start: {line.strip() or log.read_text().strip()}")


def watch(net: Network, seconds: float) -> float:
    """The mean of the bytes that wait in the queue."""
    looks, until = [], time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        looks.append(net.queue()[0])
        time.sleep(min(LOOK, left))
    return sum(looks) / len(looks)


class Arrivals:
    """What the process at the end of the link has counted so far."""

    def __init__(self, net: Network) -> None:
        self._newest: dict[str, Any] = {"at": 0.0, "bytes": {}}
        self._stream = net.link.stdout
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        assert self._stream is not None
        try:
            for line in self._stream:
                self._newest = json.loads(line)
        except ValueError:
            # Closed with the network.
            return

    def now(self, keys: list[str]) -> tuple[float, list[int]]:
        """When it was counted, and the bytes of each flow."""
        newest = self._newest
        return newest["at"], [newest["bytes"].get(key, 0) for key in keys]


def session(
    plans: list[list[Sender]],
    jobs: int,
    one: Callable[[str, list[Sender]], Result],
    tell: Callable[[str], None],
) -> tuple[list[Result], list[str]]:
    """Runs plans, so many at a time, each in namespaces of its own; results and failures."""
    left = list(enumerate(plans))
    results: dict[int, Result] = {}
    failures: list[str] = []

    def work(worker: int) -> None:
        while True:
            try:
                index, plan = left.pop(0)
            except IndexError:
                return
            title = " and ".join(sender.name for sender in plan)
            try:
                result = one(f"tquic-fairness-{os.getpid()}-{worker}", plan)
            except NetworkError as error:
                failures.append(f"{title}: {error}")
                tell(failures[-1])
                continue
            results[index] = result
            rates = ", ".join(f"{rate / 1e6:.2f}" for rate in result.rates)
            tell(f"{title}: {rates} Mbit/s, {result.queue_ms:.1f} ms, {result.loss:.4f} lost")

    workers = [threading.Thread(target=work, args=(number,)) for number in range(jobs)]
    for worker in workers:
        worker.start()
    try:
        for worker in workers:
            worker.join()
    except BaseException:
        # The runs under way end by themselves and take their networks down.
        left.clear()
        raise
    return [results[index] for index in sorted(results)], failures
