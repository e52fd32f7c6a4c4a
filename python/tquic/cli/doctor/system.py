"""Probes: kernel, Python, engine, processors, clock."""

from __future__ import annotations

import os
import platform
import sys
import sysconfig
from pathlib import Path

from tquic._engine import build_info, cpu_features, crypto_backends
from tquic.cli.doctor import files
from tquic.cli.doctor.finding import Finding, unknown

# The oldest kernel with UDP_SEGMENT, and with UDP_GRO.
GSO_KERNEL = (4, 18)
GRO_KERNEL = (5, 0)
FAST_CLOCKS = ("tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page", "timebase")


def kernel() -> Finding:
    """Which system this is."""
    release = platform.release()
    facts = {"system": platform.system(), "release": release, "machine": platform.machine()}
    if sys.platform != "linux":
        return Finding(
            "system.kernel",
            "note",
            f"{platform.system()} {release}: tquic works here, but datagrams go one by one; trains "
            "(GSO, GRO) and AF_XDP are Linux's",
            facts=facts,
        )
    parts = release.split("-")[0].split(".")
    try:
        version = (int(parts[0]), int(parts[1]))
    except (IndexError, ValueError):
        return Finding("system.kernel", "note", f"Linux {release}", facts=facts)
    if version < GRO_KERNEL:
        return Finding(
            "system.kernel",
            "warning",
            f"Linux {release} is too old for {'GSO and GRO' if version < GSO_KERNEL else 'GRO'}: "
            "every packet costs a system call",
            "run Linux 5.0 or newer",
            facts,
        )
    return Finding("system.kernel", "ok", f"Linux {release} on {facts['machine']}", facts=facts)


def python() -> Finding:
    """Which Python this is."""
    is_free = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    has_gil = bool(getattr(sys, "_is_gil_enabled", lambda: True)())
    version = platform.python_version()
    name = f"{platform.python_implementation()} {version}"
    facts = {
        "version": version,
        "implementation": platform.python_implementation(),
        "free_threaded": is_free,
        "gil_enabled": has_gil,
    }
    if is_free and has_gil:
        return Finding(
            "system.python",
            "note",
            f"{name} is free-threaded, but its GIL was switched on by a module or PYTHON_GIL",
            "run with PYTHON_GIL=0",
            facts,
        )
    return Finding(
        "system.python", "ok", name + (", free-threaded" if is_free else ""), facts=facts
    )


def engine() -> Finding:
    """How the engine was compiled."""
    info = build_info()
    facts = dict(info)
    if info["debug"]:
        return Finding(
            "engine.build",
            "warning",
            f"tquic {info['version']} was compiled for debugging: many times slower",
            "install a wheel, or build in release profile: pip install .",
            facts,
        )
    return Finding(
        "engine.build", "ok", f"tquic {info['version']} for {info['target']}, release", facts=facts
    )


def crypto() -> Finding:
    """What the processor does for packet protection."""
    has = cpu_features()
    backends = crypto_backends()
    preferred, by = next(iter(backends.items()))
    facts = {"features": has, "backends": backends, "preferred": preferred}
    there = [name for name, is_there in has.items() if is_there]
    multiplies = has.get("pclmulqdq") or has.get("pmull")
    if not has:
        return Finding(
            "cpu.crypto",
            "note",
            f"which instructions for cryptography a {platform.machine()} has cannot be told",
            facts=facts,
        )
    if has.get("aes") and multiplies:
        how = "tquic's own VAES code" if by == "vaes" else f"{by}'s code"
        return Finding(
            "cpu.crypto",
            "ok",
            f"AES-GCM runs in hardware by {how}; {preferred} is offered first (the processor has "
            f"{', '.join(there)})",
            facts=facts,
        )
    return Finding(
        "cpu.crypto",
        "warning",
        "the processor has no AES instructions (or a virtual machine hides them): AES-GCM is slow",
        'prefer ChaCha20: Config(ciphers=("TLS_CHACHA20_POLY1305_SHA256",)), or let the virtual '
        "machine see the host's processor",
        facts,
    )


def cpus() -> Finding:
    """How many processors may be used, and how much of them."""
    total = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else total
    limit = cgroup_cpus()
    facts = {"cpus": total, "allowed": allowed, "cgroup_limit": limit}
    text = f"{total} CPU{'s' * (total != 1)}"
    if limit is not None and limit < allowed:
        return Finding(
            "cpu.count",
            "warning",
            f"{text}, but a control group grants only {limit:g} of them: threads beyond are "
            "stopped in the middle of their work",
            f"use at most {max(int(limit), 1)} engine threads (--workers), or raise the limit "
            "(docker run --cpus, Kubernetes resources.limits.cpu)",
            facts,
        )
    if allowed < total:
        text += f", {allowed} of them for this process"
    if allowed == 1:
        return Finding(
            "cpu.count", "note", f"{text}: client and server on it take turns", facts=facts
        )
    return Finding("cpu.count", "ok", text, facts=facts)


def cgroup_cpus() -> float | None:
    """CPUs that the control group of this process, or one above it, grants; None: no limit."""
    limits: list[float] = []
    for line in (files.text("/proc/self/cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if number == "0":
            root, read = Path("/sys/fs/cgroup"), _cpu_max
        elif "cpu" in names.split(","):
            root, read = Path("/sys/fs/cgroup", names), _cpu_quota
        else:
            continue
        folder = root / path.lstrip("/")
        while folder.is_relative_to(root):
            if (limit := read(folder)) is not None:
                limits.append(limit)
            if folder == root:
                break
            folder = folder.parent
    return min(limits, default=None)


def _cpu_max(folder: Path) -> float | None:
    quota, _, period = (files.text(folder / "cpu.max") or "max").partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _cpu_quota(folder: Path) -> float | None:
    quota, period = (files.number(folder / f"cpu.cfs_{what}_us") for what in ("quota", "period"))
    return quota / period if quota and period and quota > 0 else None


def frequency() -> Finding:
    """Whether the processors are kept slow."""
    folder = Path("/sys/devices/system/cpu")
    found = sorted(
        {files.text(path) or "" for path in folder.glob("cpu*/cpufreq/scaling_governor")}
    )
    driver = files.text(folder / "cpu0/cpufreq/scaling_driver")
    facts = {"governors": found, "driver": driver}
    if not found:
        return Finding(
            "cpu.frequency",
            "note",
            "the CPU frequency is not governed here (usual in virtual machines), or cannot be read",
            facts=facts,
        )
    names = ", ".join(found)
    # With these drivers "powersave" is the usual one and goes up under load.
    if "powersave" in found and driver not in ("intel_pstate", "amd-pstate-epp"):
        return Finding(
            "cpu.frequency",
            "warning",
            "the CPU frequency governor is powersave, which keeps the processor at its slowest",
            "sudo cpupower frequency-set -g schedutil (or performance)",
            facts,
        )
    if found != ["performance"]:
        return Finding(
            "cpu.frequency",
            "note",
            f"the CPU frequency governor is {names}: fine for work; measurements vary less with "
            "performance",
            "for measurements: sudo cpupower frequency-set -g performance",
            facts,
        )
    return Finding("cpu.frequency", "ok", f"the CPU frequency governor is {names}", facts=facts)


def clock() -> Finding:
    """Whether reading the time is cheap."""
    folder = Path("/sys/devices/system/clocksource/clocksource0")
    current = files.text(folder / "current_clocksource")
    if current is None:
        return unknown("cpu.clock", "the clock source")
    others = (files.text(folder / "available_clocksource") or "").split()
    facts = {"current": current, "available": others}
    if current in FAST_CLOCKS:
        return Finding("cpu.clock", "ok", f"the clock source is {current}, read without the kernel",
                       facts=facts)  # fmt: skip
    fast = [name for name in others if name in FAST_CLOCKS]
    return Finding(
        "cpu.clock",
        "warning",
        f"the clock source is {current}: each look at the time is a slow system call",
        f"echo {fast[0]} | sudo tee {folder}/current_clocksource"
        if fast
        else "the kernel's log says why it does not trust the processor's counter: "
        "dmesg | grep -i tsc",
        facts,
    )
