"""The command ``tquic``.

Each subcommand is a module of this package, named in `COMMANDS` and imported only when it runs,
so that ``tquic --version`` stays quick however many there are. Such a module has two functions:

``add_arguments(parser: argparse.ArgumentParser) -> None``
    declares its options;
``run(options: argparse.Namespace) -> int``
    does the work and returns the exit status: 0 success, 1 the work failed. Raises `CommandError`
    or `UsageError` with a sentence that is printed.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import NoReturn

from tquic import _startup
from tquic._startup import INTERRUPTED
from tquic.cli import output
from tquic.cli.failure import CommandError, UsageError
from tquic.cli.parser import Parser, did_you_mean, make

# Subcommand -> the line that `tquic --help` shows for it. Its module is `tquic.cli.<subcommand>`.
COMMANDS: Mapping[str, str] = {
    "cert": "makes certificates for development",
    "serve": "serves a folder, or an ASGI application",
    "get": "downloads files",
    "put": "uploads a file",
    "perf": "measures throughput, request and handshake rates",
    "load": "loads an HTTP/3 server, and tells how it fared",
    "bench": "runs the benchmarks of this machine, and compares results",
    "tunnel": "forwards TCP ports over one connection",
    "top": "shows what a running process does, again and again",
    "stats": "prints the numbers of a running process",
    "qlog": "checks and draws qlog files",
    "trace": "runs a bpftrace script on the engine's probes",
    "run": "runs a C program that uses QUIC sockets",
    "sysctl": "shows and sets what holds for all connections",
    "doctor": "says what this machine gives, and how to fix what is missing",
    "bpf": "compiles and checks path schedulers written in C",
    "completion": "prints a script with which a shell completes this command",
}


def main(arguments: Sequence[str] | None = None, commands: Mapping[str, str] = COMMANDS) -> int:
    """Runs the command line and returns its exit status; wrong usage exits with status 2."""
    try:
        _startup.over()
        output.begin()
        try:
            return _main(sys.argv[1:] if arguments is None else arguments, commands)
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # `tquic ... | head`
        output.abandon()
        return 1
    except OSError as error:
        output.abandon()
        output.note(f"cannot write the output: {error.strerror}")
        return 1


def _main(arguments: Sequence[str], commands: Mapping[str, str]) -> int:
    name = arguments[0] if arguments else None
    parser, parsers = make(commands)
    if name is None:
        parser.print_help(sys.stderr)
        return 2
    if name not in commands:
        if not name.startswith("-"):
            parser.error(f"there is no command {name}{did_you_mean(name, commands)}")
        # An option of `tquic` itself, which exits, or a mistake, which argparse explains.
        parser.parse_args(arguments)
        return 2
    module = importlib.import_module(f"tquic.cli.{name}")
    module.add_arguments(parsers[name])
    options = parsers[name].parse_args(arguments[1:])
    try:
        status: int = module.run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        _fail(options, "interrupted")
        return INTERRUPTED
    except UsageError as error:
        _usage(parsers[name], options, str(error))
    except CommandError as error:
        return _fail(options, str(error), f"tquic {name}: {error}")
    except (BrokenPipeError, SystemExit):
        raise
    except OSError as error:
        # If it was standard output that failed, it fails again.
        sys.stdout.flush()
        # A full disk, no descriptors left: the machine's doing, not a bug of ours.
        return _fail(options, str(error), f"tquic {name}: {error}")
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        hint = "" if _is_debugging() else " (TQUIC_DEBUG=1 shows where)"
        return _fail(options, what, f"tquic {name}: this should not have happened: {what}{hint}")
    return status


def _usage(parser: Parser, options: argparse.Namespace, why: str) -> NoReturn:
    if _is_debugging():
        traceback.print_exc()
    role = getattr(options, "role", None)
    parser.roles().get(role or "", parser).error(why)


def _fail(options: argparse.Namespace, why: str, line: str | None = None) -> int:
    if _is_debugging():
        traceback.print_exc()
    # Exactly one document, whatever happens.
    if getattr(options, "json", False) and not output.is_printed():
        output.print_json({"ok": False, "error": why})
    if line is not None:
        print(line, file=sys.stderr)
    return 1


def _is_debugging() -> bool:
    return os.environ.get("TQUIC_DEBUG", "") not in ("", "0")
