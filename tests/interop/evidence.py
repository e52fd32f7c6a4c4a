"""What a run left behind for the judge."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from .dissect import Connection, Datagram, Trace


@dataclass
class Evidence:
    """The captured traffic of one run on both sides of the link; without a link they are one."""

    client_side: Trace
    server_side: Trace
    files: int
    # Our own server keeps the letter of the law where the runner forgives.
    strict: bool
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def connections(self) -> list[Connection]:
        """The connections the server took part in."""
        return [c for c in self.server_side.connections if any(c.sent(client=False))]

    def handshakes(self) -> int:
        """Distinct source connection IDs in the server's Initial packets.

        The runner counts so too, but it also takes refusals for handshakes: a damaged token length
        makes a server answer INVALID_TOKEN from yet another connection ID.
        """
        return len(
            {
                p.source
                for p in self.server_side.packets(client=False, kind="initial")
                if p.named("CRYPTO")
            }
        )

    def lost(self) -> int:
        """Datagrams that entered the link and never came out as they were."""
        return sum(self._gone(client=client) for client in (True, False))

    def altered(self) -> int:
        """Datagrams that came out of the link and never entered it."""
        return sum(self._new(client=client) for client in (True, False))

    def _gone(self, *, client: bool) -> int:
        entered, left = self._ends(client=client)
        return (entered - left).total()

    def _new(self, *, client: bool) -> int:
        entered, left = self._ends(client=client)
        return (left - entered).total()

    def _ends(self, *, client: bool) -> tuple[Counter[bytes], Counter[bytes]]:
        near, far = self.client_side, self.server_side
        if not client:
            near, far = far, near
        return (
            Counter(d.data for d in near.datagrams if near.from_client(d) is client),
            Counter(d.data for d in far.datagrams if far.from_client(d) is client),
        )

    def client_addresses(self) -> list[tuple[str, int]]:
        """The client's addresses as the server sees them, in order of appearance."""
        seen: dict[tuple[str, int], None] = {}
        for datagram in self.server_side.datagrams:
            if self.server_side.from_client(datagram):
                seen.setdefault(datagram.source)
        return list(seen)

    def to_server(self) -> list[Datagram]:
        """Datagrams on their way to the server, behind the link."""
        return [d for d in self.server_side.datagrams if self.server_side.from_client(d)]
