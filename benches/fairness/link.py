"""The way back of a link, and what comes out of its end: one process for each network.

Usage: python -m fairness.link SENDER RECEIVER DELAY_MS: two namespaces, and how long packets from
the receiver's take to the sender's. The kernel's token bucket is the rate and the queue; what it
cannot do without netem, hold packets, is done here. Writes a line of JSON each STEP: bytes that
have arrived at the receiver, by protocol and port of their sender.
"""

from __future__ import annotations

import collections
import ctypes
import fcntl
import json
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from fairness.network import BACK, THERE

# Seconds between two reports.
STEP = 0.1
# <linux/if_tun.h>, <linux/if_ether.h>, <sched.h>
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
ETH_P_IP = 0x0800
CLONE_NEWNET = 0x40000000
# Room for a packet of any size that the kernel may give.
PACKET = 1 << 16
# As far as ports reach in an IPv4 packet with options.
HEADERS = 64


def enter(namespace: str) -> None:
    """Moves this process into a named network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(Path("/run/netns") / namespace, os.O_RDONLY)
    try:
        if libc.setns(descriptor, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {namespace}")
    finally:
        os.close(descriptor)


def tunnel() -> int:
    """The descriptor of the namespace's device for the way back."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH", BACK.encode(), IFF_TUN | IFF_NO_PI))
    return descriptor


def meter() -> socket.socket:
    """A look at what arrives at the end of the link."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP))
    sock.bind((THERE, ETH_P_IP))
    sock.setblocking(False)
    return sock


def count(packet: bytes, seen: collections.Counter[str]) -> None:
    """Adds an IPv4 packet to what its sender's port has brought."""
    header = (packet[0] & 0x0F) * 4
    length, protocol = int.from_bytes(packet[2:4], "big"), packet[9]
    port = int.from_bytes(packet[header : header + 2], "big")
    seen[f"{protocol}:{port}"] += length


def main() -> None:
    sender, receiver, delay = sys.argv[1], sys.argv[2], float(sys.argv[3]) / 1e3
    enter(sender)
    there = tunnel()
    enter(receiver)
    here, arrivals = tunnel(), meter()
    print("ready", flush=True)
    waiting: collections.deque[tuple[float, bytes]] = collections.deque()
    seen: collections.Counter[str] = collections.Counter()
    report = time.monotonic() + STEP
    while True:
        now = time.monotonic()
        until = min(report, waiting[0][0] if waiting else report)
        readable, _, _ = select.select([here, arrivals.fileno()], [], [], max(until - now, 0.0))
        now = time.monotonic()
        if here in readable:
            for packet in packets(here):
                waiting.append((now + delay, packet))
        while waiting and waiting[0][0] <= now:
            os.write(there, waiting.popleft()[1])
        if arrivals.fileno() in readable:
            for packet, address in looks(arrivals):
                if address[2] != socket.PACKET_OUTGOING:
                    count(packet, seen)
        if now >= report:
            print(json.dumps({"at": now, "bytes": seen}), flush=True)
            report += STEP


def packets(descriptor: int) -> Iterator[bytes]:
    """What waits in a tunnel."""
    while True:
        try:
            yield os.read(descriptor, PACKET)
        except BlockingIOError:
            return


def looks(sock: socket.socket) -> Iterator[tuple[bytes, tuple[str, int, int]]]:
    """What waits at the meter, its beginning only."""
    while True:
        try:
            yield sock.recvfrom(HEADERS)
        except BlockingIOError:
            return


if __name__ == "__main__":
    main()
