"""A network namespace of our own: nobody else's traffic, free ports, packets below 1500 bytes.

Root makes one directly; anybody else gets one inside a user namespace, if the kernel allows that.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

INSIDE = "TQUIC_INTEROP_NAMESPACE"
LOOPBACK_MTU = "1500"


class NoNamespaceError(Exception):
    """No network namespace can be had, with the reason."""


def inside() -> str | None:
    """What the process outside told; None when this one is not in the harness's namespace."""
    return os.environ.get(INSIDE)


def command() -> list[str]:
    """The prefix that starts a program in a fresh namespace."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        raise NoNamespaceError("unshare (util-linux) and ip (iproute2) are needed")
    own = ["unshare", "--net"]
    if os.geteuid() != 0:
        own += ["--user", "--map-root-user"]
    tried = subprocess.run([*own, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        raise NoNamespaceError(f"no network namespace: {tried.stderr.strip()}")
    return own


def reexec(module: str, arguments: list[str], told: str) -> int:
    """Runs `python -m module arguments` inside a namespace; `told` is what it finds there."""
    environment = os.environ | {INSIDE: told}
    return subprocess.run(
        [*command(), sys.executable, "-m", module, *arguments], env=environment, check=False
    ).returncode


def bring_up() -> None:
    """Makes loopback usable, with the packet size of Ethernet."""
    subprocess.run(["ip", "link", "set", "lo", "mtu", LOOPBACK_MTU, "up"], check=True)


def bound_udp_ports() -> set[int]:
    """Ports with a UDP socket in this namespace."""
    ports = set()
    for table in ("/proc/net/udp", "/proc/net/udp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            ports.add(int(line.split()[1].rpartition(":")[2], 16))
    return ports


def wait_for_port(port: int, process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Waits until a UDP port is bound; False when the process ended or the time is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if port in bound_udp_ports():
            return True
        if process.poll() is not None:
            return False
        time.sleep(0.01)
    return False
