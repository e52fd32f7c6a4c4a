"""Probes: what UDP sockets do here, asked by sending a train of datagrams to oneself."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

from tquic._engine import probe_udp
from tquic.cli.doctor import files
from tquic.cli.doctor.finding import Finding, unknown
from tquic.cli.values import show_size

# Bytes that the engine asks for unless told otherwise.
BUFFER = 4 << 20
IPV4 = "127.0.0.1"
IPV6 = "::1"


@cache
def _asked(host: str) -> dict[str, Any]:
    return probe_udp(host, socket_buffer=BUFFER)


def _probe() -> dict[str, Any]:
    """Of whichever loopback address works; raises what IPv4's says if none does."""
    try:
        return _asked(IPV4)
    except OSError:
        try:
            return _asked(IPV6)
        except OSError:
            pass
        raise


def _facts(probe: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: probe[name] for name in names}


def forget() -> None:
    """The next probe asks anew."""
    _asked.cache_clear()


def sockets() -> Finding:
    """Whether datagrams can be sent at all."""
    name = "udp.sockets"
    try:
        probe = _probe()
    except OSError as error:
        return Finding(
            name,
            "error",
            f"no UDP sockets: {error.strerror or error}; QUIC needs them",
            "let this program use UDP on the loopback interface (seccomp profile, firewall, "
            "`ip link set lo up`)",
        )
    facts = _facts(probe, "sent", "received", "send_calls", "receive_calls", "dont_fragment")
    if probe["received"] == 0:
        return Finding(
            name,
            "error",
            f"none of {probe['sent']} UDP datagrams came back over the loopback interface",
            "look for a firewall rule that drops UDP on lo (nft list ruleset)",
            facts,
        )
    if probe["received"] < probe["sent"]:
        return Finding(
            name,
            "warning",
            f"only {probe['received']} of {probe['sent']} UDP datagrams came back over the "
            "loopback interface",
            "see udp.buffers",
            facts,
        )
    if not probe["dont_fragment"]:
        return Finding(
            name,
            "note",
            "UDP works, but datagrams cannot be kept whole (no don't-fragment option): packets "
            "stay at 1200 bytes",
            facts=facts,
        )
    return Finding(name, "ok", "UDP sockets send and receive", facts=facts)


def gso() -> Finding:
    """Whether trains leave in one piece."""
    probe = _probe()
    calls, most = probe["send_calls"], probe["gso_max_segments"]
    rate = probe["sent"] / max(calls, 1)
    facts = {"packets_per_call": rate, **_facts(probe, "gso_max_segments", "sent", "send_calls")}
    # Without GSO several datagrams still share a call, but each takes its own way in the kernel.
    if most > 1:
        return Finding(
            "udp.gso",
            "ok",
            f"GSO: trains of up to {most} packets leave in one piece ({rate:.0f} per call seen)",
            facts=facts,
        )
    return Finding(
        "udp.gso",
        "warning" if sys.platform == "linux" else "note",
        "no GSO (UDP_SEGMENT): every packet goes through the kernel by itself, at several times "
        "the cost",
        "run Linux 4.18 or newer; some sandboxes (gVisor) do not have it",
        facts,
    )


def gro() -> Finding:
    """Whether trains arrive in one piece."""
    probe = _probe()
    most, calls = probe["most_in_slot"], probe["receive_calls"]
    facts = {
        "packets_per_call": probe["received"] / max(calls, 1),
        **_facts(probe, "gro", "most_in_slot", "received", "receive_calls"),
    }
    if most > 1:
        return Finding(
            "udp.gro", "ok", f"GRO: up to {most} packets arrived in one piece", facts=facts
        )
    if probe["gro"]:
        return Finding(
            "udp.gro",
            "note",
            "the kernel knows GRO, but packets came one by one over the loopback interface",
            facts=facts,
        )
    return Finding(
        "udp.gro",
        "warning" if sys.platform == "linux" else "note",
        "no GRO (UDP_GRO): every packet is received by itself, at several times the cost",
        "run Linux 5.0 or newer; some sandboxes (gVisor) do not have it",
        facts,
    )


def ecn() -> Finding:
    """Whether congestion marks are set and seen."""
    probe = _probe()
    facts = _facts(probe, "ecn", "ecn_kept")
    if probe["ecn_kept"]:
        return Finding("udp.ecn", "ok", "ECN: a mark that was sent was received", facts=facts)
    return Finding(
        "udp.ecn",
        "note",
        "ECN marks are "
        + ("lost on the way" if probe["ecn"] else "not reported here")
        + ": congestion is noticed by loss only",
        facts=facts,
    )


def pktinfo() -> Finding:
    """Whether the address is known that a datagram was sent to."""
    probe = _probe()
    facts = _facts(probe, "pktinfo", "local_known")
    if probe["local_known"]:
        return Finding(
            "udp.pktinfo",
            "ok",
            "packet information: a server on several addresses answers from the right one",
            facts=facts,
        )
    return Finding(
        "udp.pktinfo",
        "note",
        "the address a packet was sent to is not reported",
        "on a machine with several addresses let servers listen on one of them (--host ADDRESS)",
        facts,
    )


def ipv6() -> Finding:
    """Whether there is IPv6."""
    try:
        probe = _asked(IPV6)
    except OSError as error:
        return Finding(
            "udp.ipv6",
            "note",
            f"no IPv6 on the loopback interface ({error.strerror or error}): IPv4 only",
            "sudo sysctl -w net.ipv6.conf.all.disable_ipv6=0"
            if files.sysctl("net.ipv6.conf.all.disable_ipv6")
            else None,
        )
    facts = _facts(probe, "sent", "received")
    if probe["received"] < probe["sent"]:
        return Finding("udp.ipv6", "warning", "IPv6 loses datagrams on loopback", facts=facts)
    return Finding("udp.ipv6", "ok", "IPv6 works", facts=facts)


def buffers() -> Finding:
    """Whether sockets get the buffers that the engine asks for."""
    probe = _probe()
    granted = {
        "net.core.rmem_max": probe["recv_buffer"][1],
        "net.core.wmem_max": probe["send_buffer"][1],
    }
    limits = {name: files.sysctl(name) for name in granted}
    facts: dict[str, Any] = {
        "wished": BUFFER,
        "receive_granted": granted["net.core.rmem_max"],
        "send_granted": granted["net.core.wmem_max"],
        **limits,
    }
    small = {name: BUFFER for name, size in granted.items() if size < BUFFER}
    if not small:
        return Finding(
            "udp.buffers",
            "ok",
            f"sockets get the {show_size(BUFFER)} of buffer that tquic asks for",
            facts=facts,
        )
    what = " and ".join(
        f"{'receive' if 'rmem' in name else 'send'} buffers get {show_size(granted[name])}"
        for name in small
    )
    if sys.platform == "linux":
        fix = files.sysctl_fix(small)
        facts["sysctl"] = small
        facts["sysctl_d"] = "".join(f"{name} = {value}\n" for name, value in small.items())
        if any(limits[name] is None for name in small):
            fix += " (in a container: on the host)"
    else:
        fix = "sudo sysctl -w kern.ipc.maxsockbuf=8388608 (macOS, FreeBSD)"
    return Finding(
        "udp.buffers",
        "warning",
        f"{what} instead of {show_size(BUFFER)}: bursts are lost at high rates",
        fix,
        facts,
    )


def drops() -> Finding:
    """Datagrams that the kernel threw away since it started."""
    counters = _udp_counters()
    if not counters:
        return unknown("udp.drops", "how many datagrams the kernel dropped")
    lost, received = counters["receive_buffer_errors"], counters["received"]
    share = lost / max(lost + received, 1)
    facts = {**counters, "share": share}
    if lost == 0:
        return Finding(
            "udp.drops",
            "ok",
            "no UDP datagram was dropped for want of room since the start (all programs)",
            facts=facts,
        )
    return Finding(
        "udp.drops",
        "note",
        f"since the start {lost} UDP datagrams, {share:.1%} of those that came, were dropped "
        "because some program's receive buffer was full",
        "if the number grows while tquic runs: larger buffers (udp.buffers), more --workers; "
        "`ss -uamn` shows drops (d) for each socket",
        facts,
    )


def _udp_counters() -> dict[str, int]:
    lines = [
        line.split()[1:]
        for line in (files.text("/proc/net/snmp") or "").splitlines()
        if line.startswith("Udp:")
    ]
    if len(lines) != 2:
        return {}
    v4 = dict(zip(lines[0], map(int, lines[1]), strict=False))
    v6 = {
        line.split()[0].removeprefix("Udp6"): int(line.split()[1])
        for line in (files.text("/proc/net/snmp6") or "").splitlines()
        if line.startswith("Udp6")
    }
    wanted = {
        "received": "InDatagrams",
        "receive_buffer_errors": "RcvbufErrors",
        "send_buffer_errors": "SndbufErrors",
        "checksum_errors": "InCsumErrors",
    }
    return {name: v4.get(key, 0) + v6.get(key, 0) for name, key in wanted.items()}
