"""The benchmark of several paths, each over a link of a known rate: loopback alone would measure
how many paths a processor carries, not what they add up to."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self

from tquic import sync
from tquic.bench._loopback import Loopback, loopback
from tquic.bench._result import Measured, of_samples

__all__ = ["Link", "Links", "multipath"]

# Bits per second of each link, seconds that a packet takes, and seconds of queue at most.
RATE: Final = 25e6
DELAY: Final = 0.005
QUEUE: Final = 0.05
# Seconds between two samples of a rate.
_SAMPLE: Final = 0.1
# Part of the time in which one path is measured alone.
_ALONE: Final = 0.3
# Bytes taken from a stream at a time.
_PIECE: Final = 1 << 18
# Bytes wanted of the perf server: more than any link carries.
_ENDLESS: Final = 1 << 60
_DATAGRAM: Final = 65_536


class _Direction:
    """Datagrams on their way to one side."""

    def __init__(self, out: socket.socket) -> None:
        self.out = out
        self.free = 0.0
        """When the link has sent all that was given to it."""
        self.on_way: deque[tuple[float, bytes]] = deque()
        self.dropped = 0

    def take(self, now: float, datagram: bytes) -> None:
        if self.free - now > QUEUE:
            self.dropped += 1
            return
        self.free = max(self.free, now) + len(datagram) * 8 / RATE
        self.on_way.append((self.free + DELAY, datagram))

    def deliver(self, now: float) -> None:
        while self.on_way and self.on_way[0][0] <= now:
            # A full buffer, or nobody there any more: lost, as on any network.
            with contextlib.suppress(OSError):
                self.out.send(self.on_way.popleft()[1])


class Link:
    """A link to a server: clients send to `address` instead."""

    def __init__(self, server: tuple[str, int]) -> None:
        self.front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.front.bind(("127.0.0.1", 0))
        self.back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.back.connect(server)
        for end in (self.front, self.back):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.up, self.down = _Direction(self.back), _Direction(self.front)
        self._client: tuple[str, int] | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Where clients send to."""
        host, port = self.front.getsockname()
        return host, port

    def from_client(self, now: float) -> None:
        """Takes what a client has sent; a link is one client's."""
        with contextlib.suppress(OSError):
            while True:
                datagram, sender = self.front.recvfrom(_DATAGRAM)
                if self._client is None:
                    self._client = sender
                    self.front.connect(sender)
                self.up.take(now, datagram)

    def from_server(self, now: float) -> None:
        """Takes what the server has sent."""
        with contextlib.suppress(OSError):
            while True:
                self.down.take(now, self.back.recv(_DATAGRAM))

    def close(self) -> None:
        """Closes its sockets."""
        self.front.close()
        self.back.close()


class Links:
    """Links that a thread drives; a context manager."""

    def __init__(self, server: tuple[str, int], count: int) -> None:
        self.links = [Link(server) for _ in range(count)]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._drive, name="tquic-bench-links", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        for link in self.links:
            link.close()

    def _drive(self) -> None:
        directions = [way for link in self.links for way in (link.up, link.down)]
        with selectors.DefaultSelector() as selector:
            for link in self.links:
                selector.register(link.front, selectors.EVENT_READ, link.from_client)
                selector.register(link.back, selectors.EVENT_READ, link.from_server)
            while not self._over.is_set():
                now = time.monotonic()
                waits = [way.on_way[0][0] - now for way in directions if way.on_way]
                for key, _ in selector.select(max(min(waits, default=_SAMPLE), 0.0)):
                    key.data(time.monotonic())
                now = time.monotonic()
                for way in directions:
                    way.deliver(now)


def multipath(paths: int, seconds: float) -> Measured:
    """A download over several links of 25 Mbit/s and 10 ms, after one over the first of them."""
    with loopback(max_paths=max(paths, 2), congestion="cubic") as ends:
        alone, _, _ = _transfer(ends, 1, seconds * _ALONE)
        rates, by_path, spurious = _transfer(ends, paths, seconds * (1 - _ALONE))
    single, total = _goodput(alone), _goodput(rates)
    return Measured(
        unit="Mbit/s",
        samples=len(rates),
        stats=of_samples(rates),
        facts={
            "total_goodput_mbps": round(total, 3),
            "aggregation_efficiency_pct": round(100 * total / (single * paths), 3),
            "reorder_events": spurious,
            "single_path_goodput_mbps": round(single, 3),
            "path_goodputs_mbps": [round(rate, 3) for rate in by_path],
            "link_mbps": RATE / 1e6,
            "link_rtt_ms": 2e3 * DELAY,
        },
    )


def _goodput(rates: list[float]) -> float:
    """The mean without the start, in which windows grow."""
    settled = rates[len(rates) // 4 :] or [0.0]
    return max(sum(settled) / len(settled), 1e-9)


def _transfer(ends: Loopback, paths: int, seconds: float) -> tuple[list[float], list[float], int]:
    """Rates of the stream in Mbit/s, those of each path, and packets that were called lost and were
    only late."""
    with Links((ends.host, ends.port), paths) as network:
        first, *others = (link.address for link in network.links)
        config = ends.config.replace(server_name="localhost")
        with sync.connect(*first, config=config, engine=ends.client) as connection:
            for remote in others:
                connection.add_path(remote=remote)
            stream = connection.open_stream()
            stream.write(_ENDLESS.to_bytes(8, "big"))
            stream.finish()
            begun = time.monotonic()
            rates = list(_rates(stream, seconds))
            took = time.monotonic() - begun
            mine = connection.paths()
            spurious = sum(
                path["spurious_losses"]
                for one in ends.server.snapshot()["connections"]
                for path in one["paths"]
            )
    by_path = [path.bytes_received * 8 / took / 1e6 for path in mine]
    return rates, by_path, spurious


def _rates(stream: sync.Stream, seconds: float) -> Iterator[float]:
    end = time.monotonic() + seconds
    last, received = time.monotonic(), 0
    while (now := time.monotonic()) < end:
        received += len(stream.read(_PIECE))
        if now - last >= _SAMPLE:
            yield received * 8 / (now - last) / 1e6
            last, received = now, 0
