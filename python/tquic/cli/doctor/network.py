"""Probes: interfaces, and ways around the kernel's own UDP."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import struct
import sys
from pathlib import Path
from typing import Any

from tquic.cli.doctor import files, syscalls
from tquic.cli.doctor.finding import Finding, unknown

# Smallest packets that QUIC needs a path to carry: 1200 bytes (RFC 9000 section 14), UDP and IPv4.
MIN_MTU = 1228
ETHERNET_MTU = 1500
AF_XDP = 44
SO_TXTIME = 61
CLOCK_MONOTONIC = 1
# Drivers that let AF_XDP read and write the card's own memory; the others copy.
ZERO_COPY = frozenset({"gve", "i40e", "ice", "igb", "igc", "ixgbe", "mlx5_core", "stmmac"})


def interfaces() -> Finding:
    """Largest packets of the interfaces that are up, and their drivers."""
    name = "network.interfaces"
    folder = Path("/sys/class/net")
    if not folder.is_dir():
        found = ", ".join(entry for _, entry in socket.if_nameindex())
        return Finding(name, "note", f"interfaces: {found}; their MTUs cannot be told here")
    table: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.iterdir()):
        state, mtu = files.text(path / "operstate"), files.number(path / "mtu")
        if mtu is None or state == "down":
            continue
        table[path.name] = {"mtu": mtu, "state": state, "driver": _driver(path)}
    facts = {"interfaces": table}
    others = {entry: each for entry, each in table.items() if entry != "lo"}
    shown = ", ".join(f"{entry} {each['mtu']}" for entry, each in table.items())
    small = [entry for entry, each in others.items() if each["mtu"] < MIN_MTU]
    if small:
        return Finding(
            name,
            "warning",
            f"MTU: {shown}; QUIC needs packets of {MIN_MTU} bytes and does not work over "
            f"{', '.join(small)}",
            f"sudo ip link set {small[0]} mtu {ETHERNET_MTU}, if its link carries that",
            facts,
        )
    if not others:
        return Finding(
            name, "note", f"MTU: {shown or 'none'}; no interface but loopback is up", facts=facts
        )
    tight = [entry for entry, each in others.items() if each["mtu"] < ETHERNET_MTU]
    if tight:
        return Finding(
            name,
            "note",
            f"MTU: {shown}; below {ETHERNET_MTU} on {', '.join(tight)} (a tunnel?), which path MTU "
            "discovery finds out by itself",
            facts=facts,
        )
    return Finding(name, "ok", f"MTU: {shown}", facts=facts)


def _driver(path: Path) -> str | None:
    try:
        return (path / "device" / "driver").readlink().name
    except OSError:
        return None


def xdp() -> Finding:
    """Whether packets can go around the kernel's network stack."""
    name = "network.af_xdp"
    if sys.platform != "linux":
        return unknown(name, "AF_XDP, which is Linux's,")
    may, built = files.capabilities(), files.kernel_option("CONFIG_XDP_SOCKETS")
    drivers = {
        path.name: driver
        for path in Path("/sys/class/net").glob("*")
        if (driver := _driver(path)) is not None
    }
    facts = {"capabilities": may, "CONFIG_XDP_SOCKETS": built, "drivers": drivers}
    try:
        socket.socket(AF_XDP, socket.SOCK_RAW, 0).close()
    except OSError as error:
        return _no_xdp(name, error, facts)
    fast = [f"{entry} ({driver})" for entry, driver in drivers.items() if driver in ZERO_COPY]
    how = f"without copying on {', '.join(fast)}" if fast else "with a copy for each packet here"
    can_attach = may is not None and (
        may["CAP_SYS_ADMIN"] or (may["CAP_BPF"] and may["CAP_NET_ADMIN"])
    )
    if not can_attach:
        return Finding(
            name,
            "note",
            f"AF_XDP sockets open, {how}; attaching a program to an interface needs CAP_BPF and "
            "CAP_NET_ADMIN, which this process does not have",
            "run as root, or with these capabilities (systemd AmbientCapabilities=, docker "
            "--cap-add)",
            facts,
        )
    return Finding(name, "ok", f"AF_XDP sockets open, {how}", facts=facts)


def _no_xdp(name: str, error: OSError, facts: dict[str, Any]) -> Finding:
    if error.errno in (errno.EPERM, errno.EACCES):
        return Finding(
            name,
            "note",
            "AF_XDP is there, but not for this process: it needs CAP_NET_RAW, CAP_BPF and "
            "CAP_NET_ADMIN",
            "run as root, or with these capabilities (systemd AmbientCapabilities=, docker "
            "--cap-add)",
            facts,
        )
    if error.errno in (errno.EAFNOSUPPORT, errno.ESOCKTNOSUPPORT):
        return Finding(
            name,
            "note",
            "the kernel was built without AF_XDP: packets take the ordinary way through it",
            "a kernel with CONFIG_XDP_SOCKETS=y; those of distributions have it",
            facts,
        )
    return Finding(name, "note", f"no AF_XDP: {error.strerror or error}", facts=facts)


def txtime() -> Finding:
    """Whether the kernel can send at a time."""
    name = "network.txtime"
    if sys.platform != "linux":
        return unknown(name, "SO_TXTIME, which is Linux's,")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            # struct sock_txtime: clock, flags.
            sock.setsockopt(socket.SOL_SOCKET, SO_TXTIME, struct.pack("iI", CLOCK_MONOTONIC, 0))
        except OSError as error:
            return Finding(
                name,
                "note",
                f"no SO_TXTIME ({error.strerror}): pacing is left to timers",
                "Linux 4.19 or newer",
            )
    queue = files.text("/proc/sys/net/core/default_qdisc")
    fair = queue in ("fq", "etf")
    return Finding(
        name,
        "ok",
        "SO_TXTIME is taken"
        + ("" if fair else f"; interfaces obey it with the fq queue only (default: {queue})"),
        None if fair else "to use it: sudo tc qdisc replace dev INTERFACE root fq",
        {"default_qdisc": queue},
    )


def io_uring() -> Finding:
    """Whether io_uring may be used."""
    name = "system.io_uring"
    if not syscalls.can_call():
        return unknown(name, "io_uring, which is Linux's,")
    code = syscalls.io_uring()
    facts: dict[str, Any] = {"errno": errno.errorcode.get(code) if code else None}
    if code == 0:
        return Finding(name, "ok", "io_uring is there (tquic does not need it)", facts=facts)
    disabled = files.sysctl("kernel.io_uring_disabled")
    facts["kernel.io_uring_disabled"] = disabled
    why = "not in this kernel" if code == errno.ENOSYS else f"forbidden ({os.strerror(code)})"
    return Finding(
        name,
        "note",
        f"io_uring is {why}; tquic does not need it",
        "sudo sysctl -w kernel.io_uring_disabled=0" if disabled else None,
        facts,
    )


def bpf() -> Finding:
    """Whether eBPF may be used."""
    name = "system.ebpf"
    code = syscalls.bpf() if syscalls.can_call() else None
    if code is None:
        return unknown(name, "whether eBPF may be used")
    facts = {
        "errno": errno.errorcode.get(code) if code else None,
        "kernel.unprivileged_bpf_disabled": files.sysctl("kernel.unprivileged_bpf_disabled"),
    }
    if code == 0:
        return Finding(name, "ok", "eBPF may be used", facts=facts)
    if code == errno.ENOSYS:
        return Finding(name, "note", "the kernel was built without eBPF", facts=facts)
    return Finding(
        name,
        "note",
        f"this process may not use the kernel's eBPF ({os.strerror(code)})",
        "run as root or with CAP_BPF, for AF_XDP and for tracing",
        facts,
    )


def tools() -> Finding:
    """Programs that look into a running tquic."""
    found = {tool: shutil.which(tool) for tool in ("bpftrace", "perf", "tcpdump", "tshark", "ss")}
    there = [tool for tool, path in found.items() if path]
    missing = [tool for tool, path in found.items() if not path]
    paranoid = files.sysctl("kernel.perf_event_paranoid")
    facts = {"tools": found, "kernel.perf_event_paranoid": paranoid}
    if not missing:
        return Finding("system.tools", "ok", f"tools for tracing: {', '.join(there)}", facts=facts)
    return Finding(
        "system.tools",
        "note",
        f"tools for tracing: {', '.join(there) or 'none'}; not found: {', '.join(missing)}",
        "bpftrace for probes in a running process, perf for profiles: install them where you need "
        "them",
        facts,
    )
