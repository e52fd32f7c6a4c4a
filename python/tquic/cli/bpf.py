"""``tquic bpf``: path schedulers written in C."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

from tquic import bpf
from tquic.cli import output
from tquic.cli.failure import CommandError
from tquic.cli.values import show_size
from tquic.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares both roles and their options."""
    roles = parser.add_subparsers(dest="role", metavar="ROLE", required=True)
    compiling = roles.add_parser(
        "compile",
        help="makes an eBPF object of a scheduler in C",
        description="Makes an eBPF object of a scheduler in C, with clang.",
    )
    compiling.add_argument("source", type=Path, metavar="FILE.c", help="the scheduler")
    compiling.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE.o",
        help="the object (default: beside the scheduler)",
    )
    compiling.add_argument(
        "--clang", default="clang", metavar="NAME", help="the compiler (default: %(default)s)"
    )
    checking = roles.add_parser(
        "check",
        help="loads an object and verifies it",
        description="Loads an object, verifies it as an engine does, and says what it has.",
    )
    checking.add_argument("object", type=Path, metavar="FILE.o", help="the object")
    checking.add_argument(
        "--json", action="store_true", help="print one JSON document instead of text"
    )


def run(options: argparse.Namespace) -> int:
    """Compiles or checks."""
    try:
        return _compile(options) if options.role == "compile" else _check(options)
    except ConfigError as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}") from None


def _compile(options: argparse.Namespace) -> int:
    print(bpf.compile_scheduler(options.source, options.output, clang=options.clang))
    return 0


def _check(options: argparse.Namespace) -> int:
    try:
        program = bpf.load_scheduler(options.object)
    except ConfigError as error:
        raise CommandError(f"{options.object}: {error}") from None
    if options.json:
        told = {one.name: getattr(program, one.name) for one in fields(program) if one.repr}
        output.print_json({"ok": True, **told})
        return 0
    why = program.interpreted_because
    how = "machine code" if why is None else f"interpreted: {why}"
    size = show_size(program.memory)
    print(f"{program.name}: safe")
    print(f"  {program.instructions} instructions, {size} for each connection, {how}")
    for callback, function in program.callbacks.items():
        print(f"  {callback:15}  {function}")
    return 0
