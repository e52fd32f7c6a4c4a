"""``tquic run``: C programs with the socket interface of the TQUIC kernel API guide."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import tquic
from tquic.cli.failure import CommandError, UsageError

LIBRARY = Path(tquic.__file__).with_name("libtquic-preload.so")
"""What the program is run with."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.description = (
        "Runs a C program that is written to the TQUIC kernel API guide: socket(AF_INET, "
        "SOCK_DGRAM, IPPROTO_QUIC) works in it, all other sockets are left alone."
    )
    parser.add_argument("program", metavar="PROGRAM", help="the program, with its path or in PATH")
    parser.add_argument(
        "arguments", nargs=argparse.REMAINDER, metavar="ARGS", help="the program's own arguments"
    )
    parser.epilog = (
        "A server reads its certificate from the files TQUIC_CERT_FILE and\n"
        "TQUIC_KEY_FILE, a client its CAs from SSL_CERT_FILE, unless the program sets\n"
        "them. TQUIC_SOCKET_DEBUG=1 says why calls fail.\n"
        "to compile one:\n"
        "  cc -I$(python -c 'import tquic; print(tquic.get_include())') program.c"
    )


def run(options: argparse.Namespace) -> int:
    """Becomes the program."""
    if not LIBRARY.exists():
        raise CommandError(f"{LIBRARY.name} is not in this package: it is built on Linux only")
    before = os.environ.get("LD_PRELOAD")
    os.environ["LD_PRELOAD"] = f"{LIBRARY}:{before}" if before else str(LIBRARY)
    try:
        os.execvp(options.program, [options.program, *options.arguments])
    except OSError as error:
        raise UsageError(f"cannot run {options.program}: {error.strerror}") from None
    # Nothing comes back from there.
    return 0
