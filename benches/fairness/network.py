"""Two network namespaces with a bottleneck between them.

    sender --- there: the kernel's token bucket, its rate and its queue ---> receiver
       ^------ back: two tunnel devices and a process that holds packets -------+

The whole round-trip time lies on the way back, so that the way there is the kernel's alone and TCP
has the same as QUIC. Kernels with netem could hold packets themselves; many are without.
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

SENDER_ADDRESS, RECEIVER_ADDRESS = "10.99.0.1", "10.99.0.2"
# The devices' names, the same in both namespaces.
THERE, BACK = "there", "back"
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
        said = run(["tc", "-n", self.sender, "-s", "qdisc", "show", "dev", THERE])
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
    sender, receiver = f"{name}-s", f"{name}-r"
    with ExitStack() as stack:
        for namespace in (sender, receiver):
            run(["ip", "netns", "add", namespace])
            stack.callback(run, ["ip", "netns", "delete", namespace])
        veth = ["ip", "link", "add", THERE, "netns", sender, "type", "veth"]
        run([*veth, "peer", "name", THERE, "netns", receiver])
        for namespace, address in ((sender, SENDER_ADDRESS), (receiver, RECEIVER_ADDRESS)):
            ip = ["ip", "-n", namespace]
            run([*ip, "address", "add", f"{address}/24", "dev", THERE])
            # Packets come where answers do not go.
            for device in ("all", "default"):
                setting = f"net.ipv4.conf.{device}.rp_filter=0"
                run(["ip", "netns", "exec", namespace, "sysctl", "-qw", setting])
            for device in ("lo", THERE):
                run([*ip, "link", "set", device, "up"])
        shape = ["rate", f"{bottleneck.rate}bit", "burst", str(BURST)]
        shape += ["limit", str(bottleneck.queue)]
        run(["tc", "-n", sender, "qdisc", "add", "dev", THERE, "root", "tbf", *shape])
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
        yield Network(sender, receiver, link)


def end(process: subprocess.Popen[str]) -> None:
    """Ends a process of ours."""
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
