"""``tquic stats``: the numbers of a running process."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from tquic import _live
from tquic.cli.failure import CommandError
from tquic.cli.output import print_json
from tquic.cli.values import argument, duration, positive
from tquic.metrics import exposition


def add_process_argument(parser: argparse.ArgumentParser) -> None:
    """Adds ``PID``; see `find`."""
    parser.add_argument(
        "pid",
        type=argument(positive),
        nargs="?",
        metavar="PID",
        help="the process; needed only if several run tquic",
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.epilog = "`tquic top` shows the same, again and again, for people."
    add_process_argument(parser)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--json", action="store_true", help="print one JSON document (the default)")
    kind.add_argument(
        "--prometheus", action="store_true", help="print the text format of Prometheus"
    )
    parser.add_argument(
        "--interval",
        type=argument(duration),
        default=0.0,
        metavar="TIME",
        help="look twice, so far apart, and add the rates in between, in bytes per second",
    )


def run(options: argparse.Namespace) -> int:
    """Prints them."""
    process = find() if options.pid is None else options.pid
    snapshot = look(process)
    if options.interval:
        before, began = snapshot, time.monotonic()
        time.sleep(options.interval)
        snapshot = look(process)
        add_rates(before, snapshot, time.monotonic() - began)
    if options.prometheus:
        print(exposition(snapshot), end="")
    else:
        print_json(snapshot)
    return 0


def find() -> int:
    """The only process that there is, or a sentence that names all."""
    found = _live.processes()
    if not found:
        raise CommandError("no process of this user runs an engine of tquic")
    if len(found) > 1:
        listed = "".join(f"\n  {number:>8}  {_command(number)}" for number in found)
        raise CommandError(f"several processes run tquic, name one:{listed}")
    return found[0]


def _command(process: int) -> str:
    """The command line of a process, as far as it fits."""
    try:
        words = Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""
    return words.replace("\0", " ").strip()[:100]


def look(process: int) -> dict[str, Any]:
    """What the process tells, or a sentence."""
    try:
        return _live.ask(process)
    except LookupError:
        raise CommandError(
            f"process {process} does not answer: is it a process of this user that runs an engine "
            "of tquic, without TQUIC_LIVE=0?"
        ) from None


def add_rates(before: dict[str, Any], after: dict[str, Any], seconds: float) -> None:
    """Adds ``rate_sent`` and ``rate_received``, in bytes per second, to each connection."""
    old = {(c["id"], c["role"]): c for c in before["connections"]}
    for connection in after["connections"]:
        earlier = old.get((connection["id"], connection["role"]), {})
        for field in ("sent", "received"):
            gained = connection[f"bytes_{field}"] - earlier.get(f"bytes_{field}", 0)
            connection[f"rate_{field}"] = gained / seconds if seconds > 0 else 0.0
