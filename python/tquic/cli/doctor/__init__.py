"""``tquic doctor``: what this machine gives, and how to fix what is missing."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import textwrap
from collections.abc import Sequence
from typing import Any, TextIO

from tquic import __version__
from tquic.cli.doctor import measure, network, system, udp
from tquic.cli.doctor.finding import LEVELS, Finding, Probe
from tquic.cli.output import is_coloured, print_json

# Of the JSON document; goes up when a key changes its meaning or goes away.
SCHEMA = "tquic-doctor/1"
WIDTH = 80

PROBES: Sequence[Probe] = (
    Probe("system.kernel", system.kernel),
    Probe("system.python", system.python),
    Probe("engine.build", system.engine),
    Probe("cpu.crypto", system.crypto),
    Probe("cpu.count", system.cpus),
    Probe("cpu.frequency", system.frequency),
    Probe("cpu.clock", system.clock),
    Probe("udp.sockets", udp.sockets),
    Probe("udp.gso", udp.gso),
    Probe("udp.gro", udp.gro),
    Probe("udp.ecn", udp.ecn),
    Probe("udp.pktinfo", udp.pktinfo),
    Probe("udp.ipv6", udp.ipv6),
    Probe("udp.buffers", udp.buffers),
    Probe("udp.drops", udp.drops),
    Probe("network.interfaces", network.interfaces),
    Probe("network.af_xdp", network.xdp),
    Probe("network.txtime", network.txtime),
    Probe("system.io_uring", network.io_uring),
    Probe("system.ebpf", network.bpf),
    Probe("system.tools", network.tools),
)
MEASUREMENTS: Sequence[Probe] = (
    Probe("measure.udp", measure.udp_rate),
    Probe("measure.aead", measure.seal_rate),
)

_COLOURS = {"ok": "32", "note": "36", "warning": "33", "error": "31"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.description = (
        "Says what this machine gives to tquic and how to fix what is missing. The exit status is "
        "1 if something keeps tquic from working, else 0."
    )
    parser.add_argument(
        "--no-measure",
        dest="measure",
        action="store_false",
        help="do not measure UDP and encryption rates, which takes about a second",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(options: argparse.Namespace) -> int:
    """Examines and reports."""
    udp.forget()
    found: list[Finding] = []
    for probe in (*PROBES, *(MEASUREMENTS if options.measure else ())):
        finding = probe.run()
        found.append(finding)
        if not options.json:
            show(finding, sys.stdout)
    if options.json:
        print_json(document(found))
    else:
        print(summary(found))
    return 1 if any(finding.level == "error" for finding in found) else 0


def document(found: Sequence[Finding]) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "schema": SCHEMA,
        "ok": all(finding.level != "error" for finding in found),
        "version": __version__,
        "system": platform.system(),
        "counts": _counts(found),
        "findings": [finding.as_json() for finding in found],
    }


def _counts(found: Sequence[Finding]) -> dict[str, int]:
    return {level: sum(finding.level == level for finding in found) for level in LEVELS}


def show(finding: Finding, stream: TextIO) -> None:
    """One finding, for people."""
    width = max(min(_columns(), 100), 40)
    head = f"{finding.level:7}  "
    # What an option or a command is must stay in one piece, to be copied.
    wrap = textwrap.TextWrapper(
        width, subsequent_indent=" " * 9, break_long_words=False, break_on_hyphens=False
    )
    text = wrap.fill(head + finding.message)
    if is_coloured(stream):
        text = f"\x1b[{_COLOURS[finding.level]}m{text[:7]}\x1b[0m{text[7:]}"
    print(text, file=stream)
    if finding.fix is not None:
        wrap.initial_indent = " " * 9 + "-> "
        wrap.subsequent_indent = " " * 12
        print(wrap.fill(finding.fix), file=stream)


def _columns() -> int:
    try:
        return int(os.environ.get("COLUMNS", "")) or WIDTH
    except ValueError:
        pass
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):
        return WIDTH


def summary(found: Sequence[Finding]) -> str:
    """The last line."""
    counts = _counts(found)
    if counts["error"]:
        return f"{counts['error']} of {len(found)} findings keep tquic from working"
    if counts["warning"]:
        is_one = counts["warning"] == 1
        return f"tquic works here; {counts['warning']} thing{'' if is_one else 's'} to improve"
    return "tquic works here, and nothing needs attention"
