"""Who sends: tquic with each of its controllers, other stacks, the kernel's TCP."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from compare.peers import GO, PEERS, TQUIC, TQUIC_SETTINGS
from fairness.network import SENDER_ADDRESS

# Bytes that no flow gets through while it is watched.
ENDLESS = 1 << 34
# Protocols of the IP header.
UDP, TCP = 17, 6
LISTEN = ["--listen", f"{SENDER_ADDRESS}:0"]


@dataclass(frozen=True)
class Sender:
    """Somebody who sends, and who receives from it."""

    name: str
    server: tuple[str, ...]
    # With the port it tells flows apart.
    protocol: int
    # What has to be built (`compare.build`).
    builds: tuple[str, ...]

    def server_command(self, cert: Path, key: Path) -> list[str]:
        """Serves as much as it is asked for."""
        return [*self.server, "--cert", str(cert), "--key", str(key)]

    def client_command(self, address: str, ca: Path) -> list[str]:
        """Asks for more than it will get. Of QUIC it is the same for all: who acknowledges, and how
        often, is no part of what is compared."""
        size = str(ENDLESS)
        if self.protocol == TCP:
            options = ["--to", address, "--ca", str(ca), "--work", "bulk", "--download", size]
            return [str(GO), "tcp", "client", *options]
        return [str(TQUIC), "perf", "client", address, "--insecure", "--json", "--download", size]

    @property
    def environment(self) -> dict[str, str]:
        """Settings of both ends."""
        return TQUIC_SETTINGS


CONTROLLERS = ("newreno", "cubic", "bbr", "bbr2", "bbr3", "prague", "copa")


def _tquic(controller: str) -> Sender:
    server = [str(TQUIC), "perf", "server", "--json", "--host", SENDER_ADDRESS, "--port", "0"]
    command = (*server, "--congestion", controller)
    return Sender(f"tquic {controller}", command, UDP, ("tquic",))


def _other(name: str, title: str) -> Sender:
    peer = next(peer for peer in PEERS if peer.name == name)
    return Sender(title, (*peer.server, *LISTEN), UDP, (*peer.builds, "tquic"))


def _tcp(controller: str) -> Sender:
    server = (str(GO), "tcp", "server", *LISTEN, "--congestion", controller)
    return Sender(f"TCP {controller}", server, TCP, ("go",))


OURS = tuple(_tquic(controller) for controller in CONTROLLERS)
# quic-go has its CUBIC grow as Reno does.
OTHERS = (
    _other("quinn", "quinn cubic"),
    _other("quic-go", "quic-go reno"),
    _tcp("cubic"),
    _tcp("bbr"),
)
