"""The USDT probes of the engine, for bpftrace and its like.

bpftrace knows the arguments of such probes by number only. Scripts that are written for the
tracepoints of the TQUIC kernel module name them: `translate` makes one of the other.
"""

from __future__ import annotations

import re
from pathlib import Path

from tquic import _engine

__all__ = ["names", "scripts", "translate"]

_SCRIPTS = Path(__file__).with_name("bpftrace")
# What is no code: comments and strings.
_OTHER = r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\])*\""
_PROBE = r"tracepoint\s*:\s*tquic\s*:\s*(?P<probe>[\w*]+)"
_FIELD = r"\bargs\s*(?:->|\.)\s*(?P<field>\w+)"
_OPEN, _CLOSE = r"(?P<open>\{)", r"(?P<close>\})"
_WORDS = re.compile("|".join((_OTHER, _PROBE, _FIELD, _OPEN, _CLOSE)), re.DOTALL)


def names() -> dict[str, tuple[str, ...]]:
    """The probes, with the names of their arguments in order.

    All arguments are 64-bit integers; ``scid``, ``dcid``, ``local_addr`` and ``remote_addr`` are
    addresses in memory, of as many bytes as the argument after them says, or of 16 (IPv6, or IPv4
    mapped to it).
    """
    return {name: tuple(arguments) for name, arguments in _engine.probes()}


def scripts() -> dict[str, Path]:
    """The bpftrace scripts that come with tquic, by name."""
    return {path.stem: path for path in sorted(_SCRIPTS.glob("*.bt"))}


def translate(script: str, binary: str) -> str:
    """The script with our probes in the place of the module's tracepoints.

    ``tracepoint:tquic:packet_sent`` becomes ``usdt:BINARY:tquic:packet_sent``, and ``args->size``
    in its filter and block becomes ``arg3``.

    Args:
        script: a bpftrace script.
        binary: the path of the engine's compiled module, ``tquic._engine.__file__``.

    Raises:
        ValueError: there is no such probe or field, or a field is not in the same place of all
            probes of a block.
    """
    known = names()
    # Probes of the block that is read, and how deep in it we are.
    current: list[str] = []
    depth = 0

    def replace(match: re.Match[str]) -> str:
        nonlocal current, depth
        text = match[0]
        if match["probe"]:
            name = match["probe"]
            if name not in known:
                raise ValueError(f"there is no probe {name}; there are {', '.join(known)}")
            current.append(name)
            return f"usdt:{binary}:tquic:{name}"
        if match["open"]:
            depth += 1
        elif match["close"]:
            depth -= 1
            if depth == 0:
                current = []
        elif match["field"] and current:
            return _argument(match["field"], current, known)
        return text

    return _WORDS.sub(replace, script)


def _argument(field: str, current: list[str], known: dict[str, tuple[str, ...]]) -> str:
    places = set()
    for probe in current:
        if field not in known[probe]:
            have = ", ".join(known[probe])
            raise ValueError(f"the probe {probe} has no field {field}; it has {have}")
        places.add(known[probe].index(field))
    if len(places) > 1:
        raise ValueError(f"{field} is another argument of each of {', '.join(current)}")
    return f"arg{places.pop()}"
