"""Ctrl-C while the command ``tquic`` is still imported, when `tquic.cli.main` cannot catch it yet.

The first thing that the package imports. Nothing happens in programs which are not the command.
"""

from __future__ import annotations

import os
import signal
import sys
from itertools import pairwise

# What a shell reports for a program ended by Ctrl-C: 128 + SIGINT.
INTERRUPTED = 130


def _leave(*_: object) -> None:
    # As `main` does, without the traceback of an import.
    os._exit(INTERRUPTED)


def _is_command() -> bool:
    name = os.path.basename(sys.argv[0]) if getattr(sys, "argv", None) else ""  # noqa: PTH119
    if name != "-m":
        return name in ("tquic", "tquic.exe")
    # `python -m`, whose program is not found yet; `-m` may stand behind other letters.
    words = pairwise(sys.orig_argv)
    return any(a[:1] == "-" and a[-1:] == "m" and b == "tquic" for a, b in words)


def over() -> None:
    """Gives Ctrl-C its usual meaning back."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# A shell has commands in the background ignore it, which stays so.
if _is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _leave)
