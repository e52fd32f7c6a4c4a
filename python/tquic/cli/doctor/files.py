"""Small files in which Linux says what it is and does."""

from __future__ import annotations

import gzip
import platform
from pathlib import Path

SYSCTL_FILE = "/etc/sysctl.d/90-tquic.conf"


def text(path: str | Path) -> str | None:
    """The content without the white space around it; None if there is no such file for us."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except (OSError, ValueError):
        return None


def number(path: str | Path) -> int | None:
    """The number that a file holds."""
    content = text(path)
    try:
        return None if content is None else int(content)
    except ValueError:
        return None


def sysctl(name: str) -> int | None:
    """A number among the kernel's settings."""
    return number(Path("/proc/sys", *name.split(".")))


def sysctl_fix(settings: dict[str, int]) -> str:
    """How to change settings of the kernel, now and for good."""
    words = " ".join(f"{name}={value}" for name, value in settings.items())
    lines = "\\n".join(f"{name} = {value}" for name, value in settings.items())
    return (
        f"now: sudo sysctl -w {words}; after a restart, too: "
        f"printf '{lines}\\n' | sudo tee {SYSCTL_FILE}"
    )


def kernel_option(name: str) -> str | None:
    """How the kernel was configured: `y`, `m`, `n`; None if its configuration is not to be read."""
    try:
        with gzip.open("/proc/config.gz", "rt") as file:
            lines = file.read().splitlines()
    except (OSError, EOFError):
        content = text(f"/boot/config-{platform.release()}")
        if content is None:
            return None
        lines = content.splitlines()
    for line in lines:
        if line.startswith(f"{name}="):
            return line.partition("=")[2]
    return "n"


# Bits of capability sets (linux/capability.h).
CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13, "CAP_SYS_ADMIN": 21, "CAP_BPF": 39}


def capabilities() -> dict[str, bool] | None:
    """Which of `CAPABILITIES` this process has."""
    for line in (text("/proc/self/status") or "").splitlines():
        if line.startswith("CapEff:"):
            bits = int(line.split()[1], 16)
            return {name: bool(bits >> bit & 1) for name, bit in CAPABILITIES.items()}
    return None
