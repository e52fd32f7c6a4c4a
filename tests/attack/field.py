"""Brings server, attacker and honest clients together, and measures."""

from __future__ import annotations

import random
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ..rogue.peer import Plan
from .peer import Peer
from .ports import HOME, Ledger, Port
from .row import Row
from .server import Server

MIB: Final = 1 << 20
# Honest clients to see before, during and after an attack, and seconds to wait for them.
VISITS: Final = 3
PATIENCE: Final = 30.0
# MiB that may be left of an attack, and seconds until no more is: idle timeouts (30 s) of the
# attacker's connections, and some for the engine, which gives memory back every ten seconds.
LEFT, GIVING_BACK = 16, 60.0


@dataclass
class Honest:
    """What became of the honest clients of one phase."""

    begun: int
    served: int
    median: float
    """Seconds until a client was served; of those who were."""
    worst: float

    @property
    def share(self) -> float:
        """Of those who came, how many were served."""
        return self.served / self.begun if self.begun else 0.0

    @classmethod
    def of(cls, begun: int, done: list[list[float]]) -> Honest:
        """Sums them up."""
        times = [seconds for _, seconds, served in done if served]
        median = statistics.median(times) if times else float("inf")
        return cls(begun, len(times), median, max(times, default=float("inf")))


@dataclass
class Result:
    """What was measured."""

    name: str
    size: int
    seed: int
    sent: str
    datagrams: int
    bytes_in: int
    bytes_out: int
    amplification: float
    worst_address: float
    """Bytes out per byte in at the address that got most."""
    memory_before: int
    memory_peak: int
    memory_after: int
    cpu: float
    seconds: float
    before: Honest
    during: Honest
    after: Honest
    figures: dict[str, float] = field(default_factory=dict)
    """What the attack itself looked at."""
    date: str = ""
    commit: str = ""


class Field:
    """What an attack is given."""

    def __init__(self, server: Server, honest: Path, seed: int) -> None:
        self.server, self._honest = server, honest
        self.random = random.Random(seed)
        self.seed = seed
        self.ledger = Ledger()
        self.figures: dict[str, float] = {}
        self._ports: list[Port] = []
        self._begun = self._cpu = 0.0

    # ---- For attacks ----

    def prepared(self) -> None:
        """What came before was preparation; time and CPU count from now on."""
        self._begun, self._cpu = time.monotonic(), self.server.cpu()

    def port(self) -> Port:
        """A new socket."""
        self._ports.append(Port(self.server.address, self.ledger))
        return self._ports[-1]

    def begin(self, plan: Plan | None = None, source: bytes = HOME) -> Peer:
        """A client that has sent its first packet."""
        original = self.random.randbytes(8)
        return Peer(self.port(), Plan() if plan is None else plan, original, source)

    def connect(self, plan: Plan | None = None) -> Peer:
        """A client with a connection."""
        peer = self.begin(plan)
        peer.shake_hands()
        return peer

    def note(self, name: str, value: float) -> None:
        """A figure to be held against its bound."""
        self.figures[name] = value

    # ---- Measuring ----

    def run(self, row: Row, size: int) -> Result:
        """Does it."""
        server = self.server
        before = self._phase(time.monotonic())
        counters = server.counters()
        server.reset_peak()
        resident = server.memory()
        self.prepared()
        try:
            sent = row.act(self, size)
            seconds = time.monotonic() - self._begun
            # What it holds is still held.
            during = self._phase(self._begun)
        finally:
            for port in self._ports:
                port.close()
        spent, peak = server.cpu() - self._cpu, server.memory("VmHWM")
        after = self._phase(time.monotonic())
        left = self._left(resident) if size >= row.full else server.memory()
        self.note("panics", server.counters()["panics"] - counters["panics"])
        ledger = self.ledger
        return Result(
            row.name, size, self.seed, sent, ledger.datagrams, ledger.sent, ledger.received,
            ledger.amplification, ledger.worst, resident, peak, left, spent, seconds,
            before, during, after, self.figures,
        )  # fmt: skip

    def _left(self, before: int) -> int:
        """Resident memory when the attacker's connections are gone and what they held was given
        back, or when that should have been."""
        deadline = time.monotonic() + GIVING_BACK
        while True:
            held = self.server.memory()
            if held - before <= LEFT * MIB or time.monotonic() > deadline:
                return held
            time.sleep(0.2)

    def _phase(self, begun: float) -> Honest:
        """The honest clients that came since then and until now, when all are done; waits until
        there are a few."""
        deadline = time.monotonic() + PATIENCE
        while True:
            came = [moment for moment in self._moments("begin") if moment[0] >= begun]
            if len(came) >= VISITS or time.monotonic() > deadline:
                break
            time.sleep(0.02)
        end = time.monotonic()
        while True:
            done = [moment for moment in self._moments("end") if begun <= moment[0] <= end]
            if len(done) >= len(came) or time.monotonic() > deadline:
                return Honest.of(len(came), done)
            time.sleep(0.02)

    def _moments(self, kind: str) -> list[list[float]]:
        """What honest clients wrote down so far."""
        lines = self._honest.read_text().splitlines(keepends=True)
        return [
            [float(word) for word in line.split()[1:]]
            for line in lines
            if line.startswith(kind) and line.endswith("\n")
        ]
