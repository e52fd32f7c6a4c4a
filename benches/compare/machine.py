"""The machine: what it is, and whether it is quiet."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")
# Busy share of one core by others that a run may suffer.
QUIET = 0.12
# Seconds of one look at the load.
LOOK = 0.25


@dataclass(frozen=True)
class Load:
    """CPU time that all processes together have used since the start of the machine."""

    busy: float
    stolen: float
    at: float

    @classmethod
    def now(cls) -> Load:
        """Reads it; without /proc nothing is ever busy."""
        try:
            line = Path("/proc/stat").read_text().split("\n", 1)[0]
        except OSError:
            return cls(0.0, 0.0, time.monotonic())
        return cls.parse(line, time.monotonic())

    @classmethod
    def parse(cls, line: str, at: float) -> Load:
        """From the first line of /proc/stat."""
        user, nice, system, _idle, _iowait, irq, softirq, steal = (
            int(ticks) / TICKS for ticks in line.split()[1:9]
        )
        return cls(user + nice + system + irq + softirq, steal, at)

    def foreign(self, before: Load, own: float) -> float:
        """CPUs that others kept busy since then, with the seconds that we used ourselves."""
        elapsed = max(self.at - before.at, 1e-9)
        return max((self.busy - before.busy) + (self.stolen - before.stolen) - own, 0.0) / elapsed


def wait_until_quiet(patience: float) -> bool:
    """Whether others left the machine alone within so many seconds."""
    deadline = time.monotonic() + patience
    while patience > 0:
        before = Load.now()
        time.sleep(LOOK)
        if Load.now().foreign(before, 0.0) <= QUIET:
            return True
        if time.monotonic() >= deadline:
            return False
    return False


def describe() -> dict[str, Any]:
    """What a reader needs to judge the figures."""
    return {
        "cpu": _cpu(),
        "cpus": os.cpu_count() or 1,
        "features": _features(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": f"{platform.system()} {platform.release()}",
        "socket_buffer_max": _number("/proc/sys/net/core/rmem_max"),
        "python": platform.python_version(),
    }


def _cpu() -> str:
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _features() -> list[str]:
    """Those that packet protection depends on."""
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("flags"):
            flags = set(line.split(":", 1)[1].split())
            wanted = ("aes", "avx2", "vaes", "vpclmulqdq", "avx512f")
            return [name for name in wanted if name in flags]
    return []


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _number(path: str) -> int | None:
    lines = _lines(path)
    return int(lines[0]) if lines else None
