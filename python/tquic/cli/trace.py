"""``tquic trace``: runs a bpftrace script on the probes of tquic."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from tquic import _engine, _live, probes
from tquic.cli.failure import CommandError, UsageError
from tquic.cli.values import argument, positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.description = (
        "Runs a bpftrace script that is written for the tracepoints of the TQUIC kernel module on "
        "the probes of this tquic: `tracepoint:tquic:NAME` and `args->FIELD` mean the same. Needs "
        "bpftrace and the rights to use it, usually those of root."
    )
    parser.epilog = (
        f"scripts that come with tquic: {', '.join(sorted(probes.scripts()))}\n"
        "examples:\n"
        "  tquic trace throughput 1234\n"
        "  tquic trace my.bt\n"
        "  tquic trace my.bt --print | less"
    )
    parser.add_argument("script", metavar="FILE.bt", help="the script, or the name of one of ours")
    parser.add_argument(
        "pid",
        nargs="?",
        type=argument(positive),
        metavar="PID",
        help="only this process (default: the only one that runs tquic)",
    )
    parser.add_argument(
        "--print", action="store_true", help="print the script as bpftrace gets it, and end"
    )


def run(options: argparse.Namespace) -> int:
    """Translates the script and becomes bpftrace."""
    path = probes.scripts().get(options.script, Path(options.script))
    try:
        text = path.read_text()
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from None
    try:
        script = probes.translate(text, _engine.__file__)
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from None
    if options.print:
        print(script, end="")
        return 0
    process = _find() if options.pid is None else options.pid
    program = shutil.which("bpftrace")
    if program is None:
        raise CommandError(
            "there is no bpftrace here; Debian and Ubuntu have a package of the name"
        )
    if os.geteuid() != 0:
        raise CommandError("bpftrace needs the rights of root")
    with tempfile.NamedTemporaryFile("w", suffix=".bt", prefix="tquic-") as file:
        file.write(script)
        file.flush()
        child = subprocess.Popen([program, "-p", str(process), file.name])
        # Ctrl-C is for bpftrace, which prints its maps and ends; so is SIGTERM.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: child.send_signal(signal.SIGINT))
        return child.wait()


def _find() -> int:
    found = _live.processes()
    if len(found) != 1:
        known = f": {', '.join(map(str, found))}" if found else ""
        raise CommandError(f"name a process that runs tquic{known}")
    return found[0]
