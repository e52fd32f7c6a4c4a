"""Somebody on the way between honest clients and the server, who sees everything and adds to it."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator

from .ports import Address, Ledger

SECONDS = 120.0
# What to add to a datagram: those to send before it, and those after it.
Extra = Callable[[bytes], tuple[list[bytes], list[bytes]]]


class Relay:
    """Passes datagrams on, and to clients more than came."""

    def __init__(self, server: Address, ledger: Ledger) -> None:
        self._server, self._ledger = server, ledger
        self._front = self._socket()
        self._front.bind(("127.0.0.1", 0))
        self.address: Address = self._front.getsockname()
        self._back: dict[Address, socket.socket] = {}

    @staticmethod
    def _socket() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setblocking(False)
        return made

    def clients(self) -> list[Address]:
        """Those who have come so far."""
        return list(self._back)

    def run(self, done: Callable[[], bool], to_server: Extra, to_client: Extra) -> None:
        """Passes on until it is done, or nobody comes any more. `to_server` and `to_client` say
        what clients get when something goes there; nothing is added to what the server gets."""
        deadline = time.monotonic() + SECONDS
        while not done() and time.monotonic() < deadline:
            ready, _, _ = select.select([self._front, *self._back.values()], [], [], 0.1)
            for one in ready:
                if one is self._front:
                    self._outward(to_server)
                else:
                    self._inward(one, to_client)

    def _outward(self, extra: Extra) -> None:
        for datagram, client in self._all(self._front):
            if client not in self._back:
                self._back[client] = self._socket()
                self._back[client].connect(self._server)
            before, after = extra(datagram)
            self._add(before, client)
            self._back[client].send(datagram)
            self._add(after, client)

    def _inward(self, back: socket.socket, extra: Extra) -> None:
        client = next(address for address, one in self._back.items() if one is back)
        for datagram, _ in self._all(back):
            before, after = extra(datagram)
            self._add(before, client)
            self._front.sendto(datagram, client)
            self._add(after, client)

    def _add(self, datagrams: list[bytes], client: Address) -> None:
        for datagram in datagrams:
            self._front.sendto(datagram, client)
            self._ledger.datagrams += 1
            self._ledger.sent += len(datagram)

    @staticmethod
    def _all(one: socket.socket) -> Iterator[tuple[bytes, Address]]:
        while True:
            try:
                yield one.recvfrom(65_536)
            except (BlockingIOError, ConnectionError):
                return

    def close(self) -> None:
        """Nothing passes from now on."""
        for one in (self._front, *self._back.values()):
            one.close()
