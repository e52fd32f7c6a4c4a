"""Three network namespaces: senders, a router with the bottleneck, receivers.

    sender --- first ---> router --- there: token bucket, rate and queue ---> receiver
       ^------ back: two tunnel devices and a process that holds packets --------+

The queue is the router's: TCP keeps little in a queue of its own host (TCP small queues), and
would never fill it. The whole round-trip time lies on the way back, so that the way there is the
kernel's alone and TCP has the same as QUIC. Kernels with netem could hold packets themselves; many
are without.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

SENDER_ADDRESS, RECEIVER_ADDRESS = "10.99.1.2", "10.99.2.2"
# The router's, with senders and with receivers.
_FIRST_ADDRESS, _THERE_ADDRESS = "10.99.1.1", "10.99.2.1"
# The devices' names, the same at both ends.
FIRST, THERE, BACK = "first", "there", "back"
# Bytes that the token bucket lets pass at once: three packets. Longer trains are cut up.
BURST = 5000
HERE = Path(__file__).resolve().parent


class NetworkError(Exception):
    """No such network can be made here, with the reason."""


@dataclass(frozen=True)
class Bottleneck:
    """What all flows share."""

    # Bits per second.
    rate: int
    # Milliseconds.
    rtt: float
    # Bandwidth-delay products that the queue holds.
    buffer: float

    @property
    def queue(self) -> int:
        """Bytes that the queue holds."""
        return round(self.rate / 8 * self.rtt / 1e3 * self.buffer)


@dataclass(frozen=True)
class Network:
    """A network that is up."""

    sender: str
    router: str
    receiver: str
    link: subprocess.Popen[str]

    def at_sender(self, command: list[str]) -> list[str]:
        """A command in the senders' namespace."""
        return ["ip", "netns", "exec", self.sender, *command]

    def at_receiver(self, command: list[str]) -> list[str]:
        """A command in the receivers' namespace."""
        return ["ip", "netns", "exec", self.receiver, *command]

    def queue(self) -> tuple[int, int, int]:
        """Bytes that wait, packets that came through, packets that were dropped."""
        said = run(["tc", "-n", self.router, "-s", "qdisc", "show", "dev", THERE])
        sent = re.search(r"Sent \d+ bytes (\d+) pkt \(dropped (\d+)", said)
        backlog = re.search(r"backlog (\d+)([KM]?)b", said)
        if sent is None or backlog is None:
            raise NetworkError(f"tc said {said!r}")
        unit = {"": 1, "K": 1000, "M": 1_000_000}[backlog[2]]
        return int(backlog[1]) * unit, int(sent[1]), int(sent[2])


def run(command: list[str]) -> str:
    """Runs a command of the system to its end."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise NetworkError(str(error)) from None
    if done.returncode:
        raise NetworkError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


@contextmanager
def network(name: str, bottleneck: Bottleneck) -> Generator[Network]:
    """A network for as long as the block lasts; `name` tells it from others."""
    sender, router, receiver = (f"{name}-{end}" for end in "smr")
    with ExitStack() as stack:
        for namespace in (sender, router, receiver):
            run(["ip", "netns", "add", namespace])
            stack.callback(run, ["ip", "netns", "delete", namespace])
            # Packets come where answers do not go.
            for setting in ("all.rp_filter=0", "default.rp_filter=0", "all.forwarding=1"):
                sysctl = ["sysctl", "-qw", f"net.ipv4.conf.{setting}"]
                run(["ip", "netns", "exec", namespace, *sysctl])
        connect(FIRST, (sender, SENDER_ADDRESS), (router, _FIRST_ADDRESS))
        connect(THERE, (router, _THERE_ADDRESS), (receiver, RECEIVER_ADDRESS))
        run(["ip", "-n", sender, "route", "add", "default", "via", _FIRST_ADDRESS])
        shape = ["rate", f"{bottleneck.rate}bit", "burst", str(BURST)]
        shape += ["limit", str(bottleneck.queue)]
        run(["tc", "-n", router, "qdisc", "add", "dev", THERE, "root", "tbf", *shape])
        link = subprocess.Popen(
            [sys.executable, "-m", "fairness.link", sender, receiver, str(bottleneck.rtt)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=HERE.parent,
            env=os.environ,
        )
        stack.callback(end, link)
        assert link.stdout is not None
        if link.stdout.readline() != "ready\n":
            raise NetworkError("the way back did not come up")
        for namespace in (sender, receiver):
            run(["ip", "-n", namespace, "link", "set", BACK, "up"])
        route = ["route", "add", f"{SENDER_ADDRESS}/32", "dev", BACK, "src", RECEIVER_ADDRESS]
        run(["ip", "-n", receiver, *route])
        yield Network(sender, router, receiver, link)


def connect(device: str, *ends: tuple[str, str]) -> None:
    """A cable between two namespaces, which have an address each."""
    (namespace, _), (other, _) = ends
    veth = ["ip", "link", "add", device, "netns", namespace, "type", "veth"]
    run([*veth, "peer", "name", device, "netns", other])
    for namespace, address in ends:
        ip = ["ip", "-n", namespace]
        run([*ip, "address", "add", f"{address}/24", "dev", device])
        for each in ("lo", device):
            run([*ip, "link", "set", each, "up"])


def end(process: subprocess.Popen[str]) -> None:
    """Ends a process of ours."""
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
