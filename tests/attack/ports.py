"""Sockets of an attacker: they send from any address of 127.0.0.0/8, and count every byte."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

Address = tuple[str, int]

# linux/in.h; CPython has no names for them before 3.14.
IP_PKTINFO: Final = 8
_PKTINFO: Final = struct.Struct("=I4s4s")
# Datagrams taken in a row before somebody else has a turn.
BATCH: Final = 256

# Where peers are; every other address of theirs is not proved.
HOME: Final = b"\x7f\0\0\1"


def loopback(number: int) -> bytes:
    """The address 127.x.y.z that has this number, beyond those that anything else uses."""
    return bytes([127]) + (0x010000 + number % 0xFE0000).to_bytes(3)


class Ledger:
    """What was sent to the server and what came back, altogether and by the attacker's address."""

    def __init__(self) -> None:
        self.datagrams = 0
        self.sent = 0
        self.received = 0
        self.answers = 0
        self.sent_by: dict[bytes, int] = defaultdict(int)
        self.received_by: dict[bytes, int] = defaultdict(int)

    @property
    def amplification(self) -> float:
        """Bytes that came for each byte sent."""
        return self.received / self.sent if self.sent else 0.0

    @property
    def worst(self) -> float:
        """The same for the address that got most."""
        return max(
            (count / max(self.sent_by[who], 1) for who, count in self.received_by.items()),
            default=0.0,
        )

    def worst_of_others(self) -> float:
        """The same, but for the one that is proved."""
        return max(
            (count / max(self.sent_by[who], 1) for who, count in self.received_by.items()
             if who != HOME),
            default=0.0,
        )  # fmt: skip


class Port:
    """A UDP socket at every loopback address. What it sends may come from any of them, as if each
    were somebody else; the answers come back to it."""

    def __init__(self, server: Address, ledger: Ledger) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        self._socket.bind(("0.0.0.0", 0))
        self._socket.setblocking(False)
        self._server, self._ledger = server, ledger
        self.number: int = self._socket.getsockname()[1]

    def send(self, datagram: bytes, source: bytes = HOME) -> None:
        """Sends a datagram that seems to come from `source`."""
        info = _PKTINFO.pack(0, source, bytes(4))
        control = [(socket.IPPROTO_IP, IP_PKTINFO, info)]
        while True:
            try:
                self._socket.sendmsg([datagram], control, 0, self._server)
                break
            except BlockingIOError:
                select.select([], [self._socket], [], 1.0)
        ledger = self._ledger
        ledger.datagrams += 1
        ledger.sent += len(datagram)
        ledger.sent_by[source] += len(datagram)

    def receive(self, seconds: float = 0.0) -> Iterator[tuple[bytes, bytes]]:
        """What has come, with the address that it came to; waits for the first that long."""
        if seconds:
            select.select([self._socket], [], [], seconds)
        for _ in range(BATCH):
            try:
                datagram, control, _, _ = self._socket.recvmsg(65_536, 64)
            except (BlockingIOError, ConnectionError):
                return
            (target,) = (_PKTINFO.unpack(data[:12])[2] for _, kind, data in control
                         if kind == IP_PKTINFO)  # fmt: skip
            self._ledger.answers += 1
            self._ledger.received += len(datagram)
            self._ledger.received_by[target] += len(datagram)
            yield datagram, target

    def close(self) -> None:
        """Nothing is sent or received from now on."""
        with contextlib.suppress(OSError):
            self._socket.close()
