"""`python -m tests.interop.dissect FOLDER`: prints the packets of a run that the harness kept."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..capture import read_pcap
from .frames import Frame
from .keys import read_keylog
from .trace import Trace


def main(arguments: list[str]) -> int:
    """One line per packet, connection by connection."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="with capture.pcap and *.keys")
    parser.add_argument(
        "--port",
        type=int,
        action="append",
        help="the server's; again for each; default: 4433 and the preferred address's 4434",
    )
    options = parser.parse_args(arguments)
    datagrams = read_pcap(options.folder / "capture.pcap")
    ports = set(options.port or (4433, 4434))
    trace = Trace(datagrams, ports, read_keylog(sorted(options.folder.glob("*.keys"))))
    for connection in trace.connections:
        print(f"connection {connection.original_destination.hex()}, TLS: {connection.tls}")
        start = connection.packets[0].datagram.time
        for packet in connection.packets:
            source, destination = (
                f"{a[0]}:{a[1]}" for a in (packet.datagram.source, packet.datagram.destination)
            )
            frames = "sealed" if packet.frames is None else " ".join(map(_told, packet.frames))
            print(
                f"{packet.datagram.time - start:9.4f} {source} > {destination} "
                f"ecn={packet.datagram.ecn} {packet.kind} v{packet.version:x} "
                f"dcid={packet.destination.hex()} pn={packet.number} gen={packet.generation} "
                f"{packet.size}B {frames}"
            )
    print(f"{len(trace.datagrams)} datagrams, {trace.strays} packets of no connection")
    return 0


def _told(frame: Frame) -> str:
    fields = (
        f"{name}={len(value)}B"
        if isinstance(value, bytes) and name == "data" and len(value) > 8
        else f"{name}={value.hex() if isinstance(value, bytes) else value}"
        for name, value in frame.fields.items()
    )
    return f"{frame.name}({','.join(fields)})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
