"""The rule-breaking peer of `tests/rogue` behind a socket of its own, made for many packets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from ..interop.dissect.headers import is_long, parse_long
from ..rogue import encode
from ..rogue.cases import begin_http
from ..rogue.peer import Closed, Plan, Rogue
from ..rogue.tls import HANDSHAKE, ONE_RTT
from .ports import HOME, Port, loopback

SECONDS = 30.0
PING = b"\x01"
# Packets sent between two looks at what came back.
TURN = 32


class Peer:
    """A client of the server under attack. `say_nothing` keeps it from acknowledging."""

    def __init__(self, port: Port, plan: Plan, original: bytes, source: bytes) -> None:
        self.port, self.source = port, source
        self.rogue = Rogue(plan, original)
        self._hello: list[bytes] = []
        self.flush()

    def flush(self) -> None:
        """Sends what the rogue has."""
        datagrams, self.rogue.outgoing = self.rogue.outgoing, []
        if datagrams and not self.rogue.has_keys(HANDSHAKE):
            self._hello = datagrams
        for datagram in datagrams:
            self.port.send(datagram, self.source)

    def take(self, seconds: float = 0.0) -> bool:
        """Takes what has come and answers; whether anything had."""
        came = False
        for datagram, _ in self.port.receive(seconds):
            came = True
            if is_retry(datagram):
                self._prove_address(datagram)
            else:
                self.rogue.receive(datagram)
        self.flush()
        return came

    def _prove_address(self, retry: bytes) -> None:
        """Begins anew with the token of a Retry packet (RFC 9000 section 17.2.5.2)."""
        header, _ = parse_long(retry)
        if not self.rogue.token:
            self.rogue = Rogue(self.rogue.plan, header.source, token=header.token)

    def until(
        self,
        condition: Callable[[Rogue], object],
        seconds: float = SECONDS,
        again: Callable[[], None] | None = None,
    ) -> bool:
        """Waits until something holds of the rogue; whether it does. The rogue repeats nothing that
        was lost: `again` is called every second."""
        begun = time.monotonic()
        repeated = 0
        while not condition(self.rogue):
            passed = time.monotonic() - begun
            if passed >= seconds:
                return False
            if again and passed > repeated + 1:
                repeated += 1
                again()
            self.take(min(seconds - passed, 0.1))
        return True

    def greet(self) -> bool:
        """Waits until the server has answered; whether it has. One that is flooded may drop a first
        packet, and what clients do then is to send it again."""
        return self.until(
            lambda rogue: rogue.has_keys(HANDSHAKE) or rogue.closed, again=self._greet
        )

    def _greet(self) -> None:
        for datagram in self._hello:
            self.port.send(datagram, self.source)

    def shake_hands(self) -> None:
        """Completes the handshake, or raises."""
        self.greet()
        if not self.until(lambda rogue: rogue.ready or rogue.closed) or self.closed:
            raise AssertionError(f"no handshake: {self.closed}")

    def begin_http(self) -> None:
        """Opens the control stream, as every HTTP/3 client does."""
        begin_http(self.rogue)
        self.flush()

    def say_nothing(self) -> None:
        """Acknowledges nothing from now on."""
        self.rogue.plan.silent = frozenset({ONE_RTT})

    def send(self, payload: bytes) -> None:
        """One 1-RTT packet with this payload."""
        self.rogue.send(ONE_RTT, payload)
        self.flush()

    def send_all(self, payloads: Iterable[bytes]) -> int:
        """A packet for each, as fast as it goes, until the server closes; how many were sent."""
        count = 0
        for payload in payloads:
            self.send(payload)
            count += 1
            if count % TURN == 0:
                self.take()
                if self.closed:
                    break
        return count

    def wander(self, size: int, home: int, turn: Callable[[int], None] = lambda _: None) -> None:
        """Sends packets that each come from another address, but every `home`th from where the peer
        is; calls `turn` with the number of each. In the end it is at home, and settled."""
        for number in range(size):
            turn(number)
            self.source = loopback(number) if number % home else HOME
            self.send(PING)
            if number % TURN == 0:
                self.take()
        self.source = HOME
        self.settle()

    def settle(self, seconds: float = SECONDS) -> bool:
        """Waits until the server has dealt with everything; whether it has."""
        number = self.rogue.last_number
        done = lambda rogue: rogue.closed or rogue.acknowledged >= number  # noqa: E731
        return self.until(done, seconds, again=lambda: self.send(PING))

    def served(self, stream: int = 0) -> bool:
        """Asks for a page on this very connection; whether it came."""
        request = encode.headers([*encode.GET[:3], (b":path", b"/honest.bin")])
        frame = encode.stream(stream, 0, request, end=True)
        self.send(frame)
        done = lambda rogue: rogue.closed or stream in rogue.ended  # noqa: E731
        return self.until(done, again=lambda: self.send(frame)) and not self.closed

    @property
    def closed(self) -> Closed | None:
        """Why the server closed, if it has."""
        return self.rogue.closed


def is_retry(datagram: bytes) -> bool:
    """Whether this is a Retry packet of version 1."""
    return is_long(datagram) and datagram[0] & 0x30 == 0x30 and datagram[1:5] == b"\0\0\0\1"
